#pragma once

// Combinations of x and log(1 + x), x >= 0, that lose their digits when written out. They are the terms of negative
// binomial likelihoods and of their derivatives in the dispersion.

#include <eosin/math/logarithm.hpp>

#include <cmath>

namespace eosin::glm::detail {

/// [x - log(1 + x)] / x^2, 1/2 at 0.
inline double log1p_defect(double x) {
  return x < 1e-100 ? 0.5 : math::x_minus_log1p(x, 1.0 + x) / (x * x);
}

/// Integral of log(1 + u) over [0, x], divided by x: [(1 + x) log(1 + x) - x] / x.
inline double log1p_integral_ratio(double x) {
  return std::log1p(x) - x * log1p_defect(x);
}

/// log(1 + x) / x, 1 at 0.
inline double log1p_ratio(double x) {
  return x < 1e-100 ? 1.0 : std::log1p(x) / x;
}

/// log(1 + x) - x / (1 + x), a number or a pack of them; x^2/2 near 0. Below 1 as x^2 / (1 + x) - [x - log(1 + x)],
/// where half cancels at most.
template <class V>
EOSIN_ALWAYS_INLINE inline V log1p_excess(V x) {
  const V q = V(1.0) + x;
  return math::select(x < V(1.0), x * x / q - math::x_minus_log1p(x, q), math::log1p(x) - x / q);
}

}  // namespace eosin::glm::detail
