#pragma once

// Differences of lgamma and digamma that do not cancel, for y >= 0, theta > 0, n = y + theta:
//
//     lgamma(n) - lgamma(theta)   = y (log n - 1) + (theta - 1/2) log(1 + y/theta) + delta(n) - delta(theta)
//     digamma(n) - digamma(theta) = log(1 + y/theta) + y / (2 n theta) - r(n) + r(theta)
//
// with delta and r of stirling.hpp. Subtracting two calls of std::lgamma in float is off by 56 in 184 at theta = 1e8.

#include <eosin/math/stirling.hpp>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

/// lgamma(y + theta) - lgamma(theta).
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V lgamma_difference(V y, std::type_identity_t<V> theta) {
  const V n = y + theta;
  const V difference = stirling(n).remainder - stirling(theta).remainder;
  // theta log(1 + y/theta) - y = -theta (u - log(1 + u)) with u = y/theta, small beside y where theta is large.
  const V u = y / theta;
  const V bend = x_minus_log1p(u, V(1) + u);
  return y * log(n) - theta * bend - V(0.5) * log1p(u) + difference;
}

/// digamma(y + theta) - digamma(theta).
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V digamma_difference(V y, std::type_identity_t<V> theta) {
  const V n = y + theta;
  const V u = y / theta;
  return log1p(u) + V(0.5) * u / n + (stirling(theta).slope - stirling(n).slope);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
