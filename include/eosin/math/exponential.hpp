#pragma once

// exp(x) = 2^k e^r with k = round(x / log 2), r = x - k log 2, and e^r by a minimax polynomial on |r| <= log(2) / 2
// (relative error 3e-9 in float, 4e-18 in double). Largest error 1 ulp. Overflow gives infinity, underflow is gradual.

#include <eosin/math/polynomial.hpp>

#include <limits>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

/// log 2 in two parts, the first with so few digits that its product with an exponent is exact (fdlibm's split).
template <class T>
inline constexpr T log2_high = std::same_as<T, float> ? T(6.9313812256e-01) : T(6.93147180369123816490e-01);
template <class T>
inline constexpr T log2_low = std::same_as<T, float> ? T(9.0580006145e-06) : T(1.90821492927058770002e-10);

namespace detail {

template <class T>
struct ExponentialCoefficients;
/// (e^r - 1 - r) / r^2 in powers of r.
template <>
struct ExponentialCoefficients<float> {
  static constexpr std::array<float, 5> values{0.4999999341f, 0.166665201f, 0.04166839415f, 0.00836878069f,
                                               0.001381447123f};
};
template <>
struct ExponentialCoefficients<double> {
  static constexpr std::array<double, 10> values{
      0.50000000000000106775,   0.16666666666666407012,  0.041666666666529471154, 0.0083333333334976499985,
      0.0013888888943868033486, 0.00019841269500718182,  0.000024801492803937839, 2.7557590616911138021e-6,
      2.7630368031157761595e-7, 2.4999030113561607351e-8};
};

/// e^r for |r| <= log(2) / 2.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V exp_reduced(V r) {
  constexpr auto values = ExponentialCoefficients<ElementOf<V>>::values;  // a copy: device code has no static members
  return V(1) + multiply_add(r * r, polynomial(r, values), r);
}

}  // namespace detail

/// e^x for every x.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V exp(V x) {
  using T = ElementOf<V>;
  // Beyond these the result is 0 or infinity; NaN passes both comparisons.
  const V lowest(std::same_as<T, float> ? -104.0 : -746.0), highest(std::same_as<T, float> ? 89.0 : 710.0);
  x = select(x < lowest, lowest, x);
  x = select(x > highest, highest, x);
  const auto k = round_to_integer(x * V(1.44269504088896340736));
  const V r = multiply_add(k.number, V(-log2_low<T>), multiply_add(k.number, V(-log2_high<T>), x));
  // 2^k in two factors: k itself leaves the range of normal exponents where the result overflows or is denormal.
  const SignedOf<V> half = k.integer >> 1;
  return detail::exp_reduced(r) * power_of_two<V>(half) * power_of_two<V>(k.integer - half);
}

/// e^(-a^2 / 2) for |a| <= 15 (float) or 39 (double), where it is 0. The error of a^2 does not enter: its high part
/// meets k log 2 before it is rounded.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V exp_minus_half_square(V a) {
  using T = ElementOf<V>;
  const V half = V(-0.5) * a;
  const auto k = round_to_integer(half * a * V(1.44269504088896340736));
  const V r = multiply_add(k.number, V(-log2_low<T>), fused_multiply_add(half, a, k.number * V(-log2_high<T>)));
  // The factor 2^(k + shift) is normal for every a above; taking the shift back leaves a gradual underflow.
  constexpr int shift = std::same_as<T, float> ? 64 : 512;
  const V scale = power_of_two<V>(k.integer + typename detail::BitsOf<T>::Signed{shift});
  return detail::exp_reduced(r) * scale * V(std::same_as<T, float> ? T(0x1p-64) : T(0x1p-512));
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
