#pragma once

// Upper tails of the normal, chi-squared, t and F distributions, for p-values: accurate relative to themselves however
// small they are, each also as a logarithm, which goes on where the tail itself underflows.
//
// They rest on the regularised incomplete gamma and beta functions,
//
//     Q(a, x) = int_x^inf u^(a-1) e^-u du / Gamma(a)          I_x(a, b) = int_0^x u^(a-1) (1-u)^(b-1) du / B(a, b)
//
// each written as a leading factor times a sum of positive terms (lower tail of gamma: series; upper tail and beta:
// continued fractions by Lentz's method). The leading factors do not cancel, with phi(u) = u - log(1 + u), delta the
// remainder of Stirling's series, n = a + b:
//
//     x^a e^-x / Gamma(a)        = sqrt(a / 2 pi) exp[-a phi((x - a) / a) - delta(a)]
//     x^a (1-x)^b / B(a, b)      = sqrt(a b / 2 pi n) exp[-a phi((b x - a y) / a) - b phi((a y - b x) / b)
//                                                         + delta(n) - delta(a) - delta(b)],   y = 1 - x
//
// Relative error of a tail p: about 1e-13 for half-integer parameters up to 1e4 and p down to 1e-300, growing with
// |log p|; the number of terms grows with the square root of the parameters. Derivation:
// docs/derivations/distributions.md.

#include <eosin/math/gelu.hpp>
#include <eosin/math/stirling.hpp>

#include <cmath>
#include <limits>

namespace eosin::math {

namespace detail {

inline constexpr double log_two_pi = 1.83787706640934548356;
inline constexpr double tiny = 1e-300;
inline constexpr double term_accuracy = 0.5 * std::numeric_limits<double>::epsilon();
inline constexpr long most_terms = 100000000;  // reached by no parameter below 1e14

/// log(1 - e^x) for x <= 0.
inline double log_one_minus_exp(double x) {
  return x > -0.6931471805599453 ? std::log(-std::expm1(x)) : std::log1p(-std::exp(x));
}

/// A tail and its complement, as logarithms.
struct LogTails {
  double lower, upper;
};
inline LogTails from_lower(double log_lower) {
  log_lower = log_lower < 0.0 ? log_lower : 0.0;
  return {log_lower, log_one_minus_exp(log_lower)};
}
inline LogTails from_upper(double log_upper) {
  const LogTails turned = from_lower(log_upper);
  return {turned.upper, turned.lower};
}

/// Modified Lentz evaluation of b0 + a1/(b1 + a2/(b2 + ...)); term(i) gives (a_i, b_i), i >= 1.
template <class Term>
double continued_fraction(double b0, Term&& term) {
  double f = b0 == 0.0 ? tiny : b0, c = f, d = 0.0;
  for (long i = 1; i < most_terms; ++i) {
    const auto [a, b] = term(i);
    d = b + a * d;
    if (d == 0.0) d = tiny;
    c = b + a / c;
    if (c == 0.0) c = tiny;
    d = 1.0 / d;
    const double change = c * d;
    f *= change;
    if (std::abs(change - 1.0) <= 2.0 * term_accuracy) break;
  }
  return f;
}

/// Incomplete gamma function, a > 0, x >= 0.
inline LogTails log_gamma_tails(double a, double x) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (x <= 0.0) return {-infinity, 0.0};
  if (std::isinf(x)) return {0.0, -infinity};
  const double lead = -a * x_minus_log1p((x - a) / a, x / a) + 0.5 * (std::log(a) - log_two_pi) - stirling(a).remainder;
  if (x < a + 1.0) {
    // Q = 1 - P; P = lead (1 + x/(a+1) + x^2/((a+1)(a+2)) + ...) / a
    double sum = 1.0, term = 1.0;
    for (double n = a + 1.0; term > term_accuracy * sum; n += 1.0) sum += term *= x / n;
    return from_lower(lead + std::log(sum / a));
  }
  struct Pair {
    double a, b;
  };
  const double fraction = continued_fraction(x + 1.0 - a, [&](long i) {
    const double n = static_cast<double>(i);
    return Pair{-n * (n - a), x + 2.0 * n + 1.0 - a};
  });
  return from_upper(lead - std::log(fraction));
}

/// Incomplete beta function at x with y = 1 - x given beside it, a, b > 0: log I_x(a, b) and its complement.
inline LogTails log_beta_tails(double a, double b, double x, double y) {
  const double infinity = std::numeric_limits<double>::infinity();
  if (x <= 0.0) return {-infinity, 0.0};
  if (y <= 0.0) return {0.0, -infinity};
  const double n = a + b, off = b * x - a * y;
  const double lead = -a * x_minus_log1p(off / a, x * n / a) - b * x_minus_log1p(-off / b, y * n / b) +
                      0.5 * (std::log(a) + std::log(b / n) - log_two_pi) + stirling(n).remainder -
                      stirling(a).remainder - stirling(b).remainder;
  // I_x(p, q) = lead / fraction, the even part of the usual continued fraction: here p y - q x, the difference of two
  // numbers that nearly agree where p is large, comes in from outside. Quick for x below (p + 1) / (p + q + 2).
  struct Pair {
    double a, b;
  };
  const auto fraction = [](double p, double q, double z, double beside, double excess) {
    return continued_fraction(p / (p + 1.0) * (excess + 1.0), [=](long i) {
      const double m = static_cast<double>(i), p2m = p + 2.0 * m;
      const double share = m * (q - m) * z / (p2m - 1.0);
      return Pair{(p + m - 1.0) * (p + q + m - 1.0) / (p2m - 1.0) * share * z,
                  m + share + (p + m) / (p2m + 1.0) * (excess + 1.0 + m * (1.0 + beside))};
    });
  };
  if (off < y - x) return from_lower(lead - std::log(fraction(a, b, x, y, -off)));
  return from_upper(lead - std::log(fraction(b, a, y, x, off)));
}

}  // namespace detail

/// log P(Z > z), Z standard normal.
inline double log_normal_upper_tail(double z) {
  if (std::isnan(z)) return z;
  if (z < 0.0) return std::log1p(-0.5 * std::erfc(-z * 0.70710678118654752440));
  if (z > detail::NormalTailCoefficients<double>::end) {
    // The asymptotic series of Mills' ratio: its fourth term is below 1e-13 here.
    const double w = 1.0 / (z * z);
    return -0.5 * z * z - 0.5 * detail::log_two_pi - std::log(z) + std::log1p(-w * (1.0 - w * (3.0 - w * 15.0)));
  }
  return -0.5 * z * z + std::log(detail::normal_tail(z).ratio);
}
/// P(Z > z).
inline double normal_upper_tail(double z) {
  return 0.5 * std::erfc(z * 0.70710678118654752440);
}
/// P(|Z| > |z|): the p-value of Wald's test.
inline double normal_two_sided(double z) {
  return std::erfc(std::abs(z) * 0.70710678118654752440);
}

/// Regularised incomplete gamma functions P(a, x) and Q(a, x) = 1 - P(a, x), a > 0. NaN outside.
inline double gamma_p(double a, double x) {
  if (!(a > 0.0) || std::isnan(x)) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(detail::log_gamma_tails(a, x).lower);
}
inline double gamma_q(double a, double x) {
  if (!(a > 0.0) || std::isnan(x)) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(detail::log_gamma_tails(a, x).upper);
}

/// Regularised incomplete beta function I_x(a, b), a, b > 0, 0 <= x <= 1. NaN outside.
inline double beta_i(double a, double b, double x) {
  if (!(a > 0.0) || !(b > 0.0) || !(x >= 0.0) || x > 1.0) return std::numeric_limits<double>::quiet_NaN();
  return std::exp(detail::log_beta_tails(a, b, x, 1.0 - x).lower);
}

/// log P(X > x) for chi-squared with df > 0 degrees of freedom.
inline double log_chi_squared_upper_tail(double x, double df) {
  if (!(df > 0.0) || std::isnan(x)) return std::numeric_limits<double>::quiet_NaN();
  return detail::log_gamma_tails(0.5 * df, 0.5 * x).upper;
}
inline double chi_squared_upper_tail(double x, double df) {
  return std::exp(log_chi_squared_upper_tail(x, df));
}

/// log P(X > f) for the F distribution; either of df1, df2 > 0 may be infinite.
inline double log_f_upper_tail(double f, double df1, double df2) {
  if (!(df1 > 0.0) || !(df2 > 0.0) || std::isnan(f)) return std::numeric_limits<double>::quiet_NaN();
  if (!(f > 0.0)) return 0.0;
  if (std::isinf(f)) return -f;
  if (std::isinf(df1) && std::isinf(df2)) return f < 1.0 ? 0.0 : -std::numeric_limits<double>::infinity();
  if (std::isinf(df2)) return log_chi_squared_upper_tail(f * df1, df1);
  if (std::isinf(df1)) return detail::log_gamma_tails(0.5 * df2, 0.5 * df2 / f).lower;
  // 1 / (1 + q) and q / (1 + q), q = df1 f / df2, without overflow.
  const double q = f * (df1 / df2);
  const double x = 1.0 / (1.0 + q), y = q > 1.0 ? 1.0 / (1.0 + 1.0 / q) : q / (1.0 + q);
  return detail::log_beta_tails(0.5 * df2, 0.5 * df1, x, y).lower;
}
inline double f_upper_tail(double f, double df1, double df2) {
  return std::exp(log_f_upper_tail(f, df1, df2));
}

/// log P(T > t) for Student's t with df > 0 degrees of freedom; infinite df is the normal.
inline double log_t_upper_tail(double t, double df) {
  if (!(df > 0.0) || std::isnan(t)) return std::numeric_limits<double>::quiet_NaN();
  if (std::isinf(df)) return log_normal_upper_tail(t);
  const double two_sided = log_f_upper_tail(t * t, 1.0, df);
  return t > 0.0 ? two_sided - 0.69314718055994530942 : std::log1p(-0.5 * std::exp(two_sided));
}
inline double t_upper_tail(double t, double df) {
  return std::exp(log_t_upper_tail(t, df));
}

}  // namespace eosin::math
