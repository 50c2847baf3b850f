#include <eosin/math/logarithm.hpp>

#include "support/ulp.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;
using testing::UlpRange;

TEST_CASE("math::log: error table") {
  const std::vector<UlpRange> ranges{{0.5, 2, false, 1, 1},         {0.99, 1.01, false, 1, 1},
                                     {1e-37, 3e38, true, 1, 1},     {1e-44, 1e-38, true, 1.1, 1},
                                     {1e-300, 1e-40, true, 1e9, 1}, {1e-320, 1e-307, true, 1e9, 1},
                                     {1e40, 1e308, true, 1e9, 1}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::log(x); }, [](long double x) { return std::log(x); });
}

TEST_CASE("math::log1p: error table") {
  const std::vector<UlpRange> ranges{{-0.999999, -0.5, false, 1.5, 1.5}, {-0.5, 1, false, 1.5, 1.5},
                                     {1e-30, 1e-3, true, 1.5, 1.5},      {1, 1e37, true, 1.5, 1.5},
                                     {1e37, 3e38, true, 1.5, 1.5},       {1e300, 1e308, true, 1.5, 1.5}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::log1p(x); }, [](long double x) { return std::log1p(x); });
}

TEST_CASE_TEMPLATE("math::log, log1p: special values", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  CHECK(math::log(T(0)) == -infinity);
  CHECK(math::log(infinity) == infinity);
  CHECK(math::log(T(1)) == T(0));
  CHECK(std::isnan(math::log(T(-1))));
  CHECK(std::isnan(math::log(nan)));
  CHECK(math::log1p(T(-1)) == -infinity);
  CHECK(math::log1p(infinity) == infinity);
  CHECK(math::log1p(T(0)) == T(0));
  CHECK(std::isnan(math::log1p(T(-2))));
  CHECK(std::isnan(math::log1p(nan)));
}

namespace {

/// Where x is small the difference of the long doubles cancels, and the series takes over.
long double x_minus_log1p_reference(long double x) {
  if (std::abs(x) > 0.01L) return x - std::log1p(x);
  long double sum = 0;
  for (int k = 14; k >= 2; --k) sum = sum * -x + 1.0L / k;
  return sum * x * x;
}

}  // namespace

TEST_CASE("math::x_minus_log1p: error table") {
  const std::vector<UlpRange> ranges{{-0.9, -0.29, false, 12, 12},
                                     {-0.29, 0.41, false, 4, 4},
                                     {0.4, 8, false, 12, 12},
                                     {1e-15, 1e-2, true, 4, 4},
                                     {8, 1e20, true, 4, 4}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::x_minus_log1p(x, decltype(x)(1) + x); }, x_minus_log1p_reference);
  // Near -1 the ratio carries the digits: log(q) with x = -1.
  for (const float q : {1e-3f, 1e-12f, 1e-30f})
    CHECK(testing::ulp_error(math::x_minus_log1p(-1.0f + q, q), -1.0L + q - std::log(static_cast<long double>(q))) < 3);
  CHECK(math::x_minus_log1p(-1.0, 0.0) == std::numeric_limits<double>::infinity());
  CHECK(std::isnan(math::x_minus_log1p(std::nan(""), std::nan(""))));
}
