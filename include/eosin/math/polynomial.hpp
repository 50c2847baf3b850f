#pragma once

// Polynomials with constant coefficients, by Horner's rule.

#include <eosin/math/pack.hpp>

#include <array>
#include <utility>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

template <Number V, class T, std::size_t N, std::size_t... K>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V horner(V x, const std::array<T, N>& c, std::index_sequence<K...>) {
  V sum(c[N - 1]);
  ((sum = multiply_add(sum, x, V(c[N - 2 - K]))), ...);
  return sum;
}

}  // namespace detail

/// c[0] + c[1] x + c[2] x^2 + ...
template <Number V, class T, std::size_t N>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V polynomial(V x, const std::array<T, N>& c) {
  return detail::horner(x, c, std::make_index_sequence<N - 1>{});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
