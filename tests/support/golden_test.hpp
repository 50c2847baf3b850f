#pragma once

// All golden cases of a component, in double and in float, as checks of a test case.

#include "support/golden.hpp"

#include <doctest/doctest.h>

#include <string>

namespace eosin::testing {

using GoldenCheck = void (*)(const GoldenCase&, Comparison&);

inline void check_golden_cases(const std::string& component, GoldenCheck in_double, GoldenCheck in_float) {
  const auto folders = golden_cases(component);
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = load_golden(folder);
    for (const bool single : {false, true}) {
      Comparison comparison(golden, single);
      (single ? in_float : in_double)(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

}  // namespace eosin::testing
