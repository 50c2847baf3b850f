#include <eosin/math/gamma_difference.hpp>

#include "support/ulp.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;
using testing::UlpRange;

namespace {

// References: the asymptotic series from x = 40 on, where ten terms reach the last digit of a long double, and the
// recurrences of the gamma function down from there.

long double delta_series(long double x) {
  const long double z = 1 / (x * x);
  return (1.0L / 12 -
          z * (1.0L / 360 -
               z * (1.0L / 1260 - z * (1.0L / 1680 - z * (1.0L / 1188 - z * (691.0L / 360360 - z * (1.0L / 156))))))) /
         x;
}

long double delta_reference(long double x) {
  long double steps = 0;
  // delta(x) - delta(x + 1) = (x + 1/2) log(1 + 1/x) - 1 = sum over k of u^(2k) / (2k + 1) with u = 1/(2x + 1)
  for (; x < 40; x += 1) {
    const long double u = 1 / (2 * x + 1);
    if (x < 1) {
      steps += (x + 0.5L) * std::log1p(1 / x) - 1;
    } else {
      long double power = u * u, sum = 0;
      for (int k = 1; k < 60; ++k, power *= u * u) sum += power / (2 * k + 1);
      steps += sum;
    }
  }
  return steps + delta_series(x);
}

/// log x - 1/(2 x) - digamma(x) without the difference of the two large terms.
long double slope_reference(long double x) {
  long double steps = 0;
  // r(x) - r(x + 1) = (x + 1/2) / (x (x + 1)) - log(1 + 1/x) = 2 sum over k of u^(2k+1) 2k / (2k + 1)
  for (; x < 40; x += 1) {
    const long double u = 1 / (2 * x + 1);
    if (x < 1) {
      steps += (x + 0.5L) / (x * (x + 1)) - std::log1p(1 / x);
    } else {
      long double power = u * u * u, sum = 0;
      for (int k = 1; k < 60; ++k, power *= u * u) sum += power * (2 * k) / (2 * k + 1);
      steps += 2 * sum;
    }
  }
  const long double z = 1 / (x * x);
  return steps + z * (1.0L / 12 - z * (1.0L / 120 - z * (1.0L / 252 - z * (1.0L / 240 - z * (1.0L / 132)))));
}

}  // namespace

TEST_CASE("math::stirling: error table of the remainder") {
  const std::vector<UlpRange> ranges{
      {1, 4, false, 3, 4}, {4, 1e3, true, 3, 4}, {1e3, 1e10, true, 3, 4}, {1e-6, 1, true, 24, 24}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::stirling(x).remainder; }, delta_reference);
}

TEST_CASE("math::stirling: error table of the slope") {
  const std::vector<UlpRange> ranges{
      {1, 4, false, 5, 8}, {4, 1e3, true, 5, 8}, {1e3, 1e10, true, 5, 8}, {1e-6, 1, true, 24, 24}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::stirling(x).slope; }, slope_reference);
}

TEST_CASE_TEMPLATE("math::lgamma_difference, digamma_difference: against sums over the steps", T, float, double) {
  const double tolerance = std::is_same_v<T, float> ? 1e-6 : 2e-15;
  for (const int y : {0, 1, 2, 17, 1000, 100000})
    for (const double theta : {1e-5, 1e-2, 0.3, 1.0, 3.5, 50.0, 1e4, 1e7}) {
      CAPTURE(y);
      CAPTURE(theta);
      // gamma(y + theta) / gamma(theta) = theta (theta + 1) ... (theta + y - 1)
      const long double t = static_cast<T>(theta);
      long double value = 0, slope = 0;
      for (int k = 0; k < y; ++k) {
        value += std::log(t + k);
        slope += 1 / (t + k);
      }
      const T got = math::lgamma_difference(T(y), T(theta)), got_slope = math::digamma_difference(T(y), T(theta));
      // log theta is a small term beside others of either sign where y is small.
      const long double scale = std::abs(value) + 1;
      CHECK(std::abs(static_cast<double>(got - value)) <= tolerance * static_cast<double>(scale));
      CHECK(std::abs(static_cast<double>(got_slope - slope)) <= tolerance * static_cast<double>(std::abs(slope)));
    }
}

TEST_CASE("math::lgamma_difference: float keeps its digits where theta is large") {
  // For theta -> infinity: y log theta + y (y - 1) / (2 theta).
  const double theta = 1e8, y = 10;
  const double want = y * std::log(theta) + y * (y - 1) / (2 * theta);
  CHECK(math::lgamma_difference(10.0f, 1e8f) == doctest::Approx(want).epsilon(2e-7));
  CHECK(math::digamma_difference(10.0f, 1e8f) == doctest::Approx(y / theta).epsilon(1e-6));
}
