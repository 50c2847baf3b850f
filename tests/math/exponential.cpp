#include <eosin/math/exponential.hpp>

#include "support/ulp.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;
using testing::UlpRange;

TEST_CASE("math::exp: error table") {
  const std::vector<UlpRange> ranges{{-1e-3, 1e-3, false, 0.6, 0.6}, {-1, 1, false, 1, 1},
                                     {-87, 88, false, 1, 1},         {-103, -87, false, 1, 1},
                                     {-707, 709, false, 1e9, 1},     {-744, -708, false, 1e9, 1}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::exp(x); }, [](long double x) { return std::exp(x); });
}

TEST_CASE_TEMPLATE("math::exp: ends and special values", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity();
  CHECK(math::exp(T(0)) == T(1));
  CHECK(math::exp(-infinity) == T(0));
  CHECK(math::exp(infinity) == infinity);
  CHECK(math::exp(T(1000)) == infinity);
  CHECK(math::exp(T(-1000)) == T(0));
  CHECK(std::isnan(math::exp(std::numeric_limits<T>::quiet_NaN())));
}

TEST_CASE("math::exp_minus_half_square: error table") {
  const std::vector<UlpRange> ranges{{0, 3, false, 1.5, 1.5}, {3, 13, false, 1.5, 1.5}, {13, 37.5, false, 1.5, 1.5}};
  const auto reference = [](long double a) { return std::exp(-a * a / 2); };
  for (const auto& range : ranges) {
    CAPTURE(range.low);
    const auto function = [](auto a) { return math::exp_minus_half_square(a); };
    if (range.high <= 15) CHECK(testing::largest_ulp_error<float>(range, function, reference) <= range.float_ulp);
    CHECK(testing::largest_ulp_error<double>(range, function, reference) <= range.double_ulp);
  }
  CHECK(math::exp_minus_half_square(15.0f) == 0.0f);
  CHECK(math::exp_minus_half_square(39.0) == 0.0);
}
