#pragma once

// GELU (Hendrycks and Gimpel 2016), exact and by tanh, with derivatives. Derivation: docs/derivations/gelu.md.
//
//     gelu(x)  = x Phi(x) = x erfc(-x / sqrt 2) / 2        Phi, p: distribution and density of the standard normal
//     gelu'(x) = Phi(x) + x p(x)
//
// With a = |x|, E = exp(-a^2 / 2) and the smooth R(a) = Phi(-a) / E = erfcx(a / sqrt 2) / 2, nothing cancels in either
// tail, and value and derivative share E and R:
//
//     gelu(x)  = max(x, 0) - a E R(a)
//     gelu'(x) = h for x < 0, 1 - h else,  h = E (R(a) - a / sqrt(2 pi))
//
// R(a) = G(t) / (a + K), t = (a - K)/(a + K), G a minimax polynomial (relative error 9e-9 in float, 2e-17 in double)
// over all a for which E does not underflow.

#include <eosin/math/exponential.hpp>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

/// The GELU of PyTorch's approximate="none" and approximate="tanh".
enum class GeluForm { exact, tanh };

template <Number V>
struct ValueAndDerivative {
  V value;
  V derivative;
};

namespace detail {

template <class T>
struct NormalTailCoefficients;
template <>
struct NormalTailCoefficients<float> {
  static constexpr float centre = 4;
  static constexpr float end = 14.6f;
  static constexpr std::array<float, 10> values{0.7552851354f,    -0.6078965866f,   0.3871369038f,    -0.1865234858f,
                                                0.06040376544f,   -0.007525003978f, -0.003512079785f, 0.001569588852f,
                                                0.0001783725605f, -0.0001324325226f};
};
template <>
struct NormalTailCoefficients<double> {
  static constexpr double centre = 5;
  static constexpr double end = 39;
  static constexpr std::array<double, 22> values{
      0.76919304975006295618,     -0.66538250289005660051,   0.4953056159699769961,       -0.31353315667131570405,
      0.16502036617036163039,     -0.069118638705952648886,  0.020795066800240985202,     -0.0029933767756883249043,
      -0.00079786940146666188318, 0.00054489910582093471019, -0.000059375711359405847539, -0.000049763010066331350727,
      0.000016681145117964457215, 3.9814908784927544571e-6,  -2.7690558524284578241e-6,   -3.3774273206156782288e-7,
      4.3268732751766562509e-7,   4.3612200989905684285e-8,  -6.5320520445504553737e-8,   -1.0211009139124687953e-8,
      7.1821951880980148131e-9,   2.0140046562883896067e-9};
};

/// Phi(-a) = exponential * ratio for 0 <= a; a beyond the end of the number format is brought back to it.
template <Number V>
struct NormalTail {
  V a;
  V exponential;
  V ratio;
};

template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE NormalTail<V> normal_tail(V a) {
  using Coefficients = NormalTailCoefficients<ElementOf<V>>;
  const V centre(Coefficients::centre), end(Coefficients::end);
  a = select(a > end, end, a);  // NaN stays
  const V inverse = V(1) / (a + centre);
  constexpr auto values = Coefficients::values;  // a copy: device code has no static members
  const V ratio = inverse * polynomial((a - centre) * inverse, values);
  return {a, exp_minus_half_square(a), ratio};
}

/// 1 / sqrt(2 pi)
inline constexpr double normal_density_at_zero = 0.39894228040143267794;

}  // namespace detail

/// Phi(x), the distribution function of the standard normal, to a few ulp in the lower tail too.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V normal_cdf(V x) {
  const auto tail = detail::normal_tail(absolute(x));
  const V lower = tail.exponential * tail.ratio;
  return select(x < V(0), lower, V(1) - lower);
}

/// gelu(x). NaN gives NaN, -infinity 0, infinity infinity.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V gelu(V x) {
  const auto tail = detail::normal_tail(absolute(x));
  return select(x < V(0), V(0), x) - tail.a * (tail.exponential * tail.ratio);
}

/// gelu(x) and gelu'(x).
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE ValueAndDerivative<V> gelu_with_derivative(V x) {
  const auto tail = detail::normal_tail(absolute(x));
  const auto negative = x < V(0);
  const V h = tail.exponential * multiply_add(tail.a, V(-detail::normal_density_at_zero), tail.ratio);
  return {select(negative, V(0), x) - tail.a * (tail.exponential * tail.ratio), select(negative, h, V(1) - h)};
}

/// The approximation x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3), written with tanh in PyTorch, and its
/// derivative s + 2 x s (1 - s) u'.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE ValueAndDerivative<V> gelu_tanh_with_derivative(V x) {
  constexpr double root = 0.79788456080286535588, cubic = 0.044715;
  // Beyond 20 (float; 60 double) the sigmoid is 0 or 1 and the square would end in infinity times 0.
  const V limit(std::same_as<ElementOf<V>, float> ? 20 : 60);
  V a = absolute(x);
  a = select(a > limit, limit, a);
  const V square = a * a;
  const V u = V(root) * a * multiply_add(square, V(cubic), V(1));
  const V e = exp(V(-2) * u);
  const V upper = V(1) / (V(1) + e);
  const V lower = e * upper;
  const V slope = V(2 * root) * a * multiply_add(square, V(3 * cubic), V(1)) * (lower * upper);
  const auto negative = x < V(0);
  return {select(negative, V(0), x) - a * lower, select(negative, lower - slope, upper + slope)};
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
