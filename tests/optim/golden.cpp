// Optimisers, clipping and schedules together against reference numbers.

#include "golden_check/optimizer.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE("optim: golden cases in double and in float") {
  const auto folders = testing::golden_cases("optimizer");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_optimizer<float>(golden, comparison)
             : testing::check_optimizer<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}
