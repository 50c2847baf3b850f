#include <eosin/math/gelu.hpp>

#include "support/ulp.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;
using testing::UlpRange;

namespace {

long double cdf_reference(long double x) {
  return 0.5L * std::erfc(-x * std::sqrt(0.5L));
}
long double gelu_reference(long double x) {
  return x * cdf_reference(x);
}
long double slope_reference(long double x) {
  return cdf_reference(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0L));
}

}  // namespace

TEST_CASE("math::gelu: error table") {
  const std::vector<UlpRange> ranges{{-1e-3, 1e-3, false, 8, 8},
                                     {-3, 3, false, 8, 8},
                                     {-6, -3, false, 8, 8},
                                     {-13, -6, false, 8, 8},
                                     {3, 20, false, 1, 1}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::gelu(x); }, gelu_reference);
  const UlpRange far{-37, -13, false, 0, 8};
  CHECK(testing::largest_ulp_error<double>(
            far, [](auto x) { return math::gelu(x); }, gelu_reference) <= far.double_ulp);
}

TEST_CASE("math::normal_cdf: error table") {
  const std::vector<UlpRange> ranges{{-13, 0, false, 8, 8}, {0, 9, false, 4, 4}};
  EOSIN_CHECK_ULP(
      ranges, [](auto x) { return math::normal_cdf(x); }, cdf_reference);
}

TEST_CASE("math::gelu_with_derivative: derivative in the tails and around its zero") {
  const auto slope = [](auto x) { return math::gelu_with_derivative(x).derivative; };
  const std::vector<UlpRange> ranges{{-13, -2, false, 9, 12}, {-0.3, 20, false, 5, 8}};
  EOSIN_CHECK_ULP(ranges, slope, slope_reference);
  // The derivative has a zero at -0.7518: absolute error there.
  for (float x = -1.2f; x < -0.5f; x += 1e-3f) {
    CHECK(std::abs(slope(x) - static_cast<float>(slope_reference(x))) < 1e-7f);
    CHECK(std::abs(slope(static_cast<double>(x)) - static_cast<double>(slope_reference(x))) < 2e-16);
  }
}

TEST_CASE_TEMPLATE("math::gelu: special values", T, float, double) {
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  for (const auto function :
       {+[](T x) { return math::gelu_with_derivative(x); }, +[](T x) { return math::gelu_tanh_with_derivative(x); }}) {
    CHECK(function(T(0)).value == T(0));
    CHECK(function(T(0)).derivative == T(0.5));
    CHECK(function(infinity).value == infinity);
    CHECK(function(infinity).derivative == T(1));
    CHECK(function(-infinity).value == T(0));
    CHECK(function(-infinity).derivative == T(0));
    CHECK(std::isnan(function(nan).value));
    CHECK(std::isnan(function(nan).derivative));
    CHECK(function(T(-1e6)).value == T(0));
    CHECK(function(T(1e6)).value == T(1e6));
  }
}

TEST_CASE("math::gelu: derivatives by six-point differences") {
  const auto derivative = [](auto&& f, double x) {
    const double h = 1e-2;
    return (45 * (f(x + h) - f(x - h)) - 9 * (f(x + 2 * h) - f(x - 2 * h)) + (f(x + 3 * h) - f(x - 3 * h))) / (60 * h);
  };
  for (double x = -8; x <= 8; x += 0.173) {
    CAPTURE(x);
    CHECK(math::gelu_with_derivative(x).derivative ==
          doctest::Approx(derivative([](double v) { return math::gelu(v); }, x)).epsilon(1e-8));
    CHECK(math::gelu_tanh_with_derivative(x).derivative ==
          doctest::Approx(derivative([](double v) { return math::gelu_tanh_with_derivative(v).value; }, x))
              .epsilon(1e-8));
  }
}
