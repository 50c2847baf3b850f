#pragma once

// What a user chooses to see in the report beyond what is always there.

#include <eosin/core/error.hpp>

#include <optional>
#include <string>
#include <vector>

namespace study {

using eosin::Index;

struct ReportChoices {
  std::vector<std::string> show;  ///< genes that are mapped whatever their correlation
  /// Spatial domains per test section, 0 for none. Unset: as many as its annotation has labels, none without one.
  std::optional<Index> domains;
};

}  // namespace study
