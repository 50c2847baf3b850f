#pragma once

// log x, log(1 + x) and x - log(1 + x). All three write the argument as 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2)
// and use one function of f,
//
//     phi(f) = f - log(1 + f) = f^2 (1/2 - f/3 + ...),
//
// in float a minimax polynomial times f^2 (relative error 8e-9), in double phi(f) = s (f - R(s^2)) with
// s = f / (2 + f), R(z) = 2 atanh(s) / s - 2 (the form of fdlibm's log; relative error of R 4e-18).

#include <eosin/math/exponential.hpp>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// f - log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt(2), to a few ulp of itself.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V x_minus_log1p_reduced(V f) {
  if constexpr (std::same_as<ElementOf<V>, float>) {
    constexpr std::array<float, 10> c{0.4999999998f,  -0.3333332263f, 0.250000001f,   -0.2000145541f, 0.1666811697f,
                                      -0.1423257826f, 0.1241069592f,  -0.1180014152f, 0.1161336714f,  -0.06864130847f};
    return f * f * polynomial(f, c);
  } else {
    constexpr std::array<double, 8> c{0.66666666666666666464, 0.400000000000008807,   0.28571428570801545521,
                                      0.22222222392144290434, 0.18181795597477061466, 0.15386241871775817891,
                                      0.13268718479806442195, 0.13087167021034669434};
    const V s = f / (f + V(2));
    const V z = s * s;
    return s * multiply_add(-z, polynomial(z, c), f);
  }
}

/// Exponent k of x = 2^k m with sqrt(1/2) <= m < sqrt(2), for normal x > 0.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE SignedOf<V> binary_exponent(V x) {
  using T = ElementOf<V>;
  constexpr T root_half = T(0.70710678118654752440);
  return (SignedOf<V>)(to_bits(x) - to_bits(root_half)) >> fraction_bits<T>;
}

template <class T>
inline constexpr T smallest_normal = std::numeric_limits<T>::min();

}  // namespace detail

/// log x for normal, finite x > 0; anything else gives an unspecified number.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log_normal(V x) {
  using T = ElementOf<V>;
  using Bits = UnsignedOf<V>;
  const SignedOf<V> k = detail::binary_exponent(x);
  const V f = from_bits<V>(to_bits(x) - ((Bits)k << fraction_bits<T>)) - V(1);
  const V exponent = to_number<V>(k);
  const V low = multiply_add(exponent, V(log2_low<T>), -detail::x_minus_log1p_reduced(f));
  return multiply_add(exponent, V(log2_high<T>), f + low);
}

/// log x for every x: -infinity at 0, NaN below. Largest error 1.1 ulp.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log(V x) {
  using T = ElementOf<V>;
  const V infinity(std::numeric_limits<T>::infinity());
  const auto denormal = x < V(detail::smallest_normal<T>);
  constexpr int shift = fraction_bits<T> + 1;
  const V scaled = select(denormal, x * power_of_two<V>(SignedOf<V>{} + shift), x);
  const V correction = select(denormal, V(shift * 0.69314718055994530942), V(0));
  const V special = select(x == V(0), -infinity, select(x > V(0), x, V(std::numeric_limits<T>::quiet_NaN())));
  return select(x > V(0) && x < infinity, log_normal(scaled) - correction, special);
}

/// log(1 + x) for every x: -infinity at -1, NaN below. Largest error 1.5 ulp.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log1p(V x) {
  using T = ElementOf<V>;
  const V infinity(std::numeric_limits<T>::infinity());
  const V one_plus = V(1) + x;
  const SignedOf<V> k = detail::binary_exponent(one_plus);
  const V scale = power_of_two<V>(-k);
  // Below -1/2 the sum 1 + x is exact; above it f comes from x, whose digits the sum has lost.
  const V f = select(x < V(-0.5), one_plus * scale - V(1), multiply_add(x, scale, scale - V(1)));
  const V exponent = to_number<V>(k);
  const V low = multiply_add(exponent, V(log2_low<T>), -detail::x_minus_log1p_reduced(f));
  const V result = multiply_add(exponent, V(log2_high<T>), f + low);
  const V special = select(x == V(-1), -infinity, select(x > V(0), x, V(std::numeric_limits<T>::quiet_NaN())));
  // 2^126 (float): above it the scale is no normal number, and log(1 + x) = log x.
  const V large(std::same_as<T, float> ? T(0x1p126) : T(0x1p1022));
  const V beyond = select(x < infinity, log_normal(select(x > V(1), x, V(1))), special);
  return select(x > V(-1) && x < large, result, select(x >= large, beyond, special));
}

/// x - log(1 + x) for x > -1, given q = 1 + x beside x, each correct to a few ulp of itself; then the result is
/// correct to some ten ulp of itself.
/// q = 0 gives infinity, q below the smallest normal number counts as that number, NaN in x gives NaN.
/// q < 2^126 (float).
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V x_minus_log1p(V x, std::type_identity_t<V> q) {
  using T = ElementOf<V>;
  const auto zero = q == V(0);
  q = select(q < V(detail::smallest_normal<T>), V(detail::smallest_normal<T>), q);
  const SignedOf<V> k = detail::binary_exponent(q);
  const V scale = power_of_two<V>(-k);
  // k = 0 gives f = x exactly, and the two terms before phi vanish.
  const V f = select(x < V(-0.5), multiply_add(q, scale, V(-1)), multiply_add(x, scale, scale - V(1)));
  const V exponent = to_number<V>(k);
  const V linear = multiply_add(exponent, V(-log2_low<T>), multiply_add(exponent, V(-log2_high<T>), x - f));
  return select(zero, V(std::numeric_limits<T>::infinity()), linear + detail::x_minus_log1p_reduced(f));
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
