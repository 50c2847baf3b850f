#pragma once

// The remainder of Stirling's series and its slope, for x > 0:
//
//     delta(x) = lgamma(x) - (x - 1/2) log x + x - log(2 pi) / 2    = 1/(12 x) - 1/(360 x^3) + ...
//     r(x)     = log x - 1/(2 x) - digamma(x) = -delta'(x)          = 1/(12 x^2) - 1/(120 x^4) + ...
//
// For x >= 1 minimax polynomials in v = 1/(x + c), delta = v P(v), r = v^2 Q(v), on the whole half-line: relative
// error 3e-8 and 5e-8 in float (c = 0), 1e-17 and 3e-16 in double (c = 3/4, which moves the poles of the gamma function
// away). Below 1 one step of the recurrences that follow from gamma(x + 1) = x gamma(x):
//
//     delta(x) = delta(x + 1) + (x + 1/2) log(1 + 1/x) - 1
//     r(x)     = r(x + 1) - log(1 + 1/x) + (x + 1/2) / (x (x + 1))

#include <eosin/math/logarithm.hpp>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

template <Number V>
struct Stirling {
  V remainder;  ///< delta(x)
  V slope;      ///< r(x) = -delta'(x)
};

namespace detail {

template <class T>
struct StirlingCoefficients;
template <>
struct StirlingCoefficients<float> {
  static constexpr std::array<float, 8> remainder{0.08333333541f,   -3.000912959e-7f, -0.002770664744f,
                                                  -6.44749916e-5f,  0.001080914611f,  -0.0006792336645f,
                                                  0.0001712582068f, -9.365921044e-6f};
  static constexpr std::array<float, 9> slope{0.0833333377f,    -7.49310537e-7f,  -0.008312239904f,
                                              -0.00022668479f,  0.00516010191f,   -0.003282185083f,
                                              -7.085861561e-5f, 0.0009164271497f, -0.0003014882107f};
};
template <>
struct StirlingCoefficients<double> {
  static constexpr std::array<double, 19> remainder{
      0.083333333333333334131,   0.062499999999999188317,  0.044097222222357671743,  0.028906249991376945632,
      0.017785838561174426824,   0.011032826882623530011,  0.0077491620429650493217, 0.005875014606336216555,
      0.003535533911766608872,   0.0013262458711957980679, 0.0010359811612295002826, 0.0071639104581727385348,
      -0.0049136806072387076636, -0.015269813361063511243, 0.059674910425259373117,  -0.09449021838054529876,
      0.08893377043041252498,    -0.047859641682378475916, 0.012073275739445397983};
  static constexpr std::array<double, 19> slope{
      0.083333333333333355636, 0.12499999999997304713,   0.13229166667204616028,  0.11562499957796603678,
      0.088929208740565320112, 0.066196562701680848745,  0.054250730796833008045, 0.046923905716242553844,
      0.032456829479531309352, 0.0093177353337813335319, 0.029761986884118051769, 0.021197872648405096444,
      0.10919491013909355764,  -0.56168110275625447275,  1.4123921668433008271,   -2.063210782902596754,
      1.9101634833515138821,   -1.0360407473225837447,   0.26442994657921704852};
};

}  // namespace detail

/// delta and r for x >= 1 (the lanes below hold no meaning).
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE Stirling<V> stirling_from_one(V x) {
  using T = ElementOf<V>;
  using Coefficients = detail::StirlingCoefficients<T>;
  V v;
  if constexpr (std::same_as<T, float>) {
    v = V(1) / x;
  } else {
    v = V(1) / (x + V(0.75));
  }
  // Copies: device code has no static members.
  constexpr auto remainder = Coefficients::remainder;
  constexpr auto slope = Coefficients::slope;
  return {v * polynomial(v, remainder), v * v * polynomial(v, slope)};
}

/// Adds the step of the recurrence where x < 1; `above` belongs to x + 1 there.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE Stirling<V> stirling_step_down(V x, Stirling<V> above) {
  const auto small = x < V(1);
  const V half_up = x + V(0.5);
  const V logarithm = log1p(V(1) / x);
  return {above.remainder + select(small, multiply_add(half_up, logarithm, V(-1)), V(0)),
          above.slope + select(small, half_up / (x * (x + V(1))) - logarithm, V(0))};
}

/// delta and r for x > 0. The logarithm is taken only if some lane is below 1.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE Stirling<V> stirling(V x) {
  const auto small = x < V(1);
  if (!any(small)) return stirling_from_one(x);
  return stirling_step_down(x, stirling_from_one(select(small, x + V(1), x)));
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
