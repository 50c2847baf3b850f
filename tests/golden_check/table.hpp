#pragma once

// Components by name, each with its check in double and in float.

#include "support/golden.hpp"

#include <map>
#include <string>

namespace eosin::testing {

using ComponentCheck = void (*)(const GoldenCase&, Comparison&);

struct ComponentChecks {
  ComponentCheck in_double;
  ComponentCheck in_float;
};

using ComponentTable = std::map<std::string, ComponentChecks>;

}  // namespace eosin::testing
