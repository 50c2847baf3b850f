#pragma once

// Quasi-likelihood: Var(y) = s_g^2 (mu + phi mu^2) with phi the trend of the negative binomial dispersion over the
// mean, and s_g^2 what a gene deviates from it. Estimates of s_g^2 on few degrees of freedom are shrunken empirically
// (Lund, Nettleton, McCarthy and Smyth, Stat. Appl. Genet. Mol. Biol. 11, 2012; Smyth, ibid. 3, 2004):
//
//   s_g^2-hat ~ s_g^2 chi^2_df / df,    1 / s_g^2 ~ chi^2_df0 / (df0 s0^2)
//   posterior:  (df0 s0^2 + df s_g^2-hat) / (df0 + df), on df0 + df degrees of freedom
//
// Prior by the moments of e = log s^2-hat - digamma(df/2) + log(df/2), which has mean log s0^2 - digamma(df0/2) +
// log(df0/2) and variance trigamma(df/2) + trigamma(df0/2). With a trend the mean of e is a natural spline in log mean.
// Tests are F tests: F = (likelihood ratio / df_test) / posterior, on (df_test, df0 + df) degrees of freedom, the
// likelihood ratio taken at the trend's phi. Derivation: docs/derivations/quasi_likelihood.md.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/natural_spline.hpp>
#include <eosin/math/distributions.hpp>
#include <eosin/math/polygamma.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace eosin::glm {

struct QuasiLikelihoodOptions {
  bool trend = true;         ///< the prior's s0^2 follows the mean
  Index spline_columns = 4;  ///< of that trend; fewer where there are fewer than 20 genes
};

struct QuasiLikelihood {
  Vector<double> dispersion;        ///< [genes], s^2-hat as given
  Vector<double> prior_dispersion;  ///< [genes], s0^2
  Vector<double> shrunken;          ///< [genes], posterior s^2; s0^2 for genes without degrees of freedom
  Vector<double> total_df;          ///< [genes], df0 + df, at most the sum of all df
  double prior_df = 0.0;            ///< df0; infinite where the genes do not differ beyond sampling
};

/// s^2-hat = deviance / df, the deviance taken at the trend's dispersion. For genes with fitted counts below one or so
/// the deviance is no chi-squared even where the model is true; quasi_dispersion() does better there.
inline Vector<double> deviance_dispersions(VectorView<const double> deviance, VectorView<const double> df) {
  require_size("deviance_dispersions", "df", "elements", df.size(), deviance.size(), "genes");
  Vector<double> result(deviance.size());
  for (Index g = 0; g < deviance.size(); ++g)
    result[g] = df[g] > 0.0 ? deviance[g] / df[g] : std::numeric_limits<double>::quiet_NaN();
  return result;
}

/// s^2-hat = (1 + mean phi) / (1 + mean trend): the gene's variance at its own dispersion over that at the trend's
/// (glmGamPoi's form).
inline double quasi_dispersion(double mean, double dispersion, double trend) {
  return (1.0 + mean * dispersion) / (1.0 + mean * trend);
}

/// Shrinks `dispersion` [genes], estimates s^2-hat >= 0 on `df` [genes] residual degrees of freedom; `mean` [genes] is
/// read where options.trend is set (genes with mean 0 do not take part). Genes with df <= 0 or NaN anywhere take no
/// part in the prior and get s0^2. s^2-hat = 0 counts as 1e-5 of the median, as its logarithm must. Throws ShapeError,
/// ValueError where fewer than 3 genes take part.
inline QuasiLikelihood shrink_quasi_dispersions(VectorView<const double> dispersion, VectorView<const double> df,
                                                VectorView<const double> mean,
                                                const QuasiLikelihoodOptions& options = {}) {
  const Index genes = dispersion.size();
  require_size("shrink_quasi_dispersions", "df", "elements", df.size(), genes, "genes");
  if (options.trend) require_size("shrink_quasi_dispersions", "mean", "elements", mean.size(), genes, "genes");
  require_value(options.spline_columns > 0, "shrink_quasi_dispersions", "spline_columns is not positive");
  std::vector<Index> used;
  std::vector<double> values;
  for (Index g = 0; g < genes; ++g) {
    const bool has_mean = !options.trend || (mean[g] > 0.0 && std::isfinite(mean[g]));
    if (!(dispersion[g] >= 0.0) || std::isinf(dispersion[g]) || !(df[g] > 0.0) || !has_mean) continue;
    used.push_back(g);
    values.push_back(dispersion[g]);
  }
  require_value(used.size() >= 3, "shrink_quasi_dispersions", "fewer than 3 genes take part");
  std::vector<double> sorted = values;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2), sorted.end());
  const double floor = 1e-5 * sorted[sorted.size() / 2];
  require_value(floor > 0.0, "shrink_quasi_dispersions", "half of the dispersions are 0");
  std::vector<double> e(used.size()), x(used.size(), 0.0);
  double sampling = 0.0, all_df = 0.0;
  for (std::size_t i = 0; i < used.size(); ++i) {
    const double half = 0.5 * df[used[i]];
    e[i] = std::log(std::max(values[i], floor)) - math::digamma(half) + std::log(half);
    sampling += math::trigamma(half);
    all_df += df[used[i]];
    if (options.trend) x[i] = std::log(mean[used[i]]);
  }
  const double count = static_cast<double>(used.size());
  sampling /= count;
  const Index columns = !options.trend ? 1 : std::min(options.spline_columns, 1 + static_cast<Index>(used.size()) / 7);
  const NaturalSpline trend(x, e, columns);
  double squares = 0.0;
  for (std::size_t i = 0; i < used.size(); ++i) squares += (e[i] - trend(x[i])) * (e[i] - trend(x[i]));
  const double excess = squares / (count - static_cast<double>(trend.columns())) - sampling;

  QuasiLikelihood result;
  result.prior_df = excess > 0.0 ? 2.0 * math::inverse_trigamma(excess) : std::numeric_limits<double>::infinity();
  const double half = 0.5 * result.prior_df;
  const double offset = std::isinf(half) ? 0.0 : math::digamma(half) - std::log(half);
  result.dispersion = Vector<double>(genes);
  result.prior_dispersion = result.shrunken = result.total_df = result.dispersion;
  double middle = 0.0;  // where a gene without a mean is looked up
  for (const double at : x) middle += at / count;
  for (Index g = 0; g < genes; ++g) {
    const bool has_mean = options.trend && mean[g] > 0.0 && std::isfinite(mean[g]);
    const double prior = std::exp(trend(has_mean ? std::log(mean[g]) : middle) + offset);
    const bool has_own = dispersion[g] >= 0.0 && std::isfinite(dispersion[g]) && df[g] > 0.0;
    result.dispersion[g] = dispersion[g];
    result.prior_dispersion[g] = prior;
    const double share = !has_own || std::isinf(result.prior_df) ? 0.0 : df[g] / (result.prior_df + df[g]);
    result.shrunken[g] = prior + (has_own ? share * (dispersion[g] - prior) : 0.0);
    result.total_df[g] = std::min(result.prior_df + (has_own ? df[g] : 0.0), all_df);
  }
  return result;
}

/// p-values of F tests from likelihood ratio statistics [genes] on df_test > 0 degrees of freedom; NaN stays NaN.
inline Vector<double> quasi_f_tests(VectorView<const double> likelihood_ratio, double df_test,
                                    const QuasiLikelihood& fit) {
  require_size("quasi_f_tests", "likelihood_ratio", "elements", likelihood_ratio.size(), fit.shrunken.size(), "genes");
  require_value(df_test > 0.0, "quasi_f_tests", "df_test is not positive");
  Vector<double> p(likelihood_ratio.size());
  for (Index g = 0; g < p.size(); ++g)
    p[g] = math::f_upper_tail(likelihood_ratio[g] / (df_test * fit.shrunken[g]), df_test, fit.total_df[g]);
  return p;
}

}  // namespace eosin::glm
