#pragma once

// Combinations of x and log(1 + x), x >= 0, that lose their digits when written out: the terms of negative binomial
// likelihoods and of their derivatives in the dispersion. Numbers or packs of them.

#include <eosin/math/logarithm.hpp>

#include <cmath>

namespace eosin::glm::detail {

/// [x - log(1 + x)] / x^2, 1/2 at 0.
template <class V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log1p_defect(V x) {
  const V safe = math::select(x < V(1e-100), V(1.0), x);
  return math::select(x < V(1e-100), V(0.5), math::x_minus_log1p(safe, V(1.0) + safe) / (safe * safe));
}

/// Integral of log(1 + u) over [0, x], divided by x: [(1 + x) log(1 + x) - x] / x.
template <class V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log1p_integral_ratio(V x) {
  return math::log1p(x) - x * log1p_defect(x);
}

/// log(1 + x) / x, 1 at 0.
template <class V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log1p_ratio(V x) {
  const V safe = math::select(x < V(1e-100), V(1.0), x);
  return math::select(x < V(1e-100), V(1.0), math::log1p(safe) / safe);
}

/// log(1 + x) - x / (1 + x); x^2/2 near 0. Below 1 as x^2 / (1 + x) - [x - log(1 + x)], where half cancels at most.
template <class V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log1p_excess(V x) {
  const V q = V(1.0) + x;
  return math::select(x < V(1.0), x * x / q - math::x_minus_log1p(x, q), math::log1p(x) - x / q);
}

}  // namespace eosin::glm::detail
