#include <eosin/eval/metrics.hpp>

#include "golden_check/metrics.hpp"
#include "support/golden.hpp"
#include "support/skip.hpp"

#include <doctest/doctest.h>

TEST_CASE("metrics: golden cases in double and in float") {
  using namespace eosin::testing;
  const auto cases = golden_cases("metrics");
  if (cases.empty()) EOSIN_SKIP("no golden cases of metrics");
  for (const auto& folder : cases) {
    const GoldenCase golden = load_golden(folder);
    Comparison in_double(golden, false), in_float(golden, true);
    check_metrics<double>(golden, in_double);
    check_metrics<float>(golden, in_float);
    CHECK_MESSAGE(in_double.ok(), golden.name, ": ", in_double.summary());
    CHECK_MESSAGE(in_float.ok(), golden.name, " (float): ", in_float.summary());
  }
}
