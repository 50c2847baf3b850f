#pragma once

// Errors of elementary functions in units in the last place, against a reference in long double, for the scalar
// and the pack form of a function at the same points.

#include <eosin/math/pack.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace eosin::testing {

/// |got - want| in units of the spacing of T at want; 0 for two NaN or two equal infinities, infinity for one of them.
template <class T>
double ulp_error(T got, long double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : std::numeric_limits<double>::infinity();
  if (std::isnan(got)) return std::numeric_limits<double>::infinity();
  if (static_cast<long double>(got) == want) return 0;
  const long double rounded = static_cast<long double>(static_cast<T>(want));
  if (std::isinf(got) || std::isinf(rounded))
    return static_cast<long double>(got) == rounded ? 0 : std::numeric_limits<double>::infinity();
  const int exponent = want == 0 ? std::numeric_limits<T>::min_exponent : std::ilogb(want) + 1;
  const int last = std::max(exponent, std::numeric_limits<T>::min_exponent) - std::numeric_limits<T>::digits;
  return static_cast<double>(std::abs(static_cast<long double>(got) - want) / std::ldexp(1.0L, last));
}

/// A range of arguments, how its points are spaced, and the largest error allowed there in float and in double.
struct UlpRange {
  double low;
  double high;
  bool logarithmic;
  double float_ulp;
  double double_ulp;
};

/// Largest error of `function` (generic over the number type) on 20,000 points of the range.
template <class T, class Function, class Reference>
double largest_ulp_error(const UlpRange& range, Function&& function, Reference&& reference) {
  constexpr Index lanes = math::Pack<T>::size;
  constexpr int points = 20000;
  std::array<T, static_cast<std::size_t>(lanes)> x{}, y{};
  double largest = 0;
  int next = 0;
  while (next < points) {
    for (auto& value : x) {
      const double u = std::min(1.0, next++ / (points - 1.0));
      value = static_cast<T>(range.logarithmic ? range.low * std::pow(range.high / range.low, u)
                                               : range.low + (range.high - range.low) * u);
    }
    const math::FullLanes<T> all{0};
    all.store(y.data(), function(all.load(x.data())));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double want = reference(static_cast<long double>(x[i]));
      largest = std::max({largest, ulp_error(y[i], want), ulp_error(function(x[i]), want)});
    }
  }
  return largest;
}

}  // namespace eosin::testing

/// Checks a function, generic over the number type, against the ranges in float and in double.
#define EOSIN_CHECK_ULP(ranges, function, reference)                                                        \
  for (const auto& range : (ranges)) {                                                                      \
    CAPTURE(range.low);                                                                                     \
    CAPTURE(range.high);                                                                                    \
    CHECK(::eosin::testing::largest_ulp_error<float>(range, (function), (reference)) <= range.float_ulp);   \
    CHECK(::eosin::testing::largest_ulp_error<double>(range, (function), (reference)) <= range.double_ulp); \
  }
