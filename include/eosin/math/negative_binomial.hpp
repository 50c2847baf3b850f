#pragma once

// Negative log-likelihood of a count y under the negative binomial with mean mu and inverse dispersion theta
// (variance mu + mu^2 / theta), and its derivatives by mu and log theta, without cancellation from theta = 1e-6 to the
// Poisson limit. Derivation: docs/derivations/negative_binomial.md.
//
//     nll = -[ theta (log(theta + eps) - log(theta + mu + eps)) + y (log(mu + eps) - log(theta + mu + eps))
//              + lgamma(y + theta) - lgamma(theta) - lgamma(y + 1) ]
//
// With m = mu + eps, s = theta + m, n = y + theta, phi(x) = x - log(1 + x), delta and r of stirling.hpp:
//
//     y > 0:  d = (y - m)/s, e = -theta d / y
//             nll = theta phi(d) + y phi(e) + log(2 pi y n / theta)/2 + delta(theta) + delta(y) - delta(n)
//                   - theta log(1 + eps/theta)
//             d nll / d mu        = theta (m - y) / (m s)
//             d nll / d log theta = theta (phi(d) - y/(2 n theta) + r(n) - r(theta) - phi(-eps/(theta + eps)))
//     y = 0:  d = -mu/s
//             nll = theta (phi(d) - d), d nll / d mu = theta/s,
//             d nll / d log theta = theta (phi(d) - d eps/(theta + eps))

#include <eosin/math/stirling.hpp>

namespace eosin::math {
inline namespace EOSIN_ISA_NAMESPACE {

/// What depends on theta and eps alone: once per gene where theta is per gene.
template <Number V>
struct NegativeBinomialTheta {
  V theta;
  V inverse;       ///< 1 / theta
  V padded;        ///< theta + eps
  V eps_fraction;  ///< eps / (theta + eps)
  V value_term;    ///< delta(theta) - theta log(1 + eps/theta)
  V slope_term;    ///< r(theta) + phi(-eps/(theta + eps))
};

template <Number V>
struct NegativeBinomialResult {
  V nll;
  V gradient_mu;
  V gradient_log_theta;
};

/// theta > 0, eps >= 0.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE NegativeBinomialTheta<V> negative_binomial_theta(V theta,
                                                                                              ElementOf<V> eps) {
  const V inverse = V(1) / theta;
  const V padded = theta + V(eps);
  const V fraction = V(eps) / padded;
  const auto series = stirling(theta);
  return {theta,
          inverse,
          padded,
          fraction,
          series.remainder - theta * log1p(V(eps) * inverse),
          series.slope + x_minus_log1p(-fraction, theta / padded)};
}

/// mu >= 0, y >= 0 (not only integers). mu + eps = 0 with y > 0 gives infinity, NaN in gives NaN. Of the result,
/// what the caller does not use costs nothing.
template <Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE NegativeBinomialResult<V> negative_binomial(
    std::type_identity_t<V> mu, std::type_identity_t<V> y, const NegativeBinomialTheta<V>& t, ElementOf<V> eps) {
  const auto zero = y == V(0);
  const V count = select(zero, V(1), y);  // keeps the lanes without counts finite until they are chosen
  const V m = mu + V(eps);
  const V n = y + t.theta;
  const V inverse_s = V(1) / (t.theta + m);
  const V inverse_count = V(1) / count, inverse_n = V(1) / n;

  const V d = select(zero, -mu, y - m) * inverse_s;
  const V ratio = select(zero, t.padded, n) * inverse_s;  // 1 + d
  const V phi_d = x_minus_log1p(d, ratio);
  const V theta_d = t.theta * d;
  const V phi_e = x_minus_log1p(-theta_d * inverse_count, ratio * (m * inverse_count));

  Stirling<V> at_count = stirling_from_one(count);
  Stirling<V> at_n = stirling_from_one(n);
  const auto small = count < V(1);
  if (any(small)) {  // fractional counts only
    at_count = stirling(count);
    at_n = stirling(n);
  }

  const V theta_phi = t.theta * phi_d;
  const V level = V(0.5) * log_normal(V(6.2831853071795864769) * count * (n * t.inverse));
  const V counted = multiply_add(y, phi_e, level + (t.value_term + (at_count.remainder - at_n.remainder)));
  const V bend = multiply_add(t.theta, at_n.slope - t.slope_term, V(-0.5) * y * inverse_n);
  return {theta_phi + select(zero, -theta_d, counted), t.theta * inverse_s * select(zero, V(1), (m - y) / m),
          theta_phi + select(zero, -theta_d * t.eps_fraction, bend)};
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::math
