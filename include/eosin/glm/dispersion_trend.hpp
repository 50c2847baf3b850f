#pragma once

// Trend of the dispersion over the mean,
//
//   parametric:    phi(m) = a0 + a1 / m, a gamma regression with identity link, repeated without the genes whose
//                  dispersion lies outside 1e-4 .. 15 times the trend, until a0 and a1 stand still (DESeq2: Love, Huber
//                  and Anders, Genome Biology 15, 2014)
//   local median:  weighted median of the dispersions of the genes nearest in mean (glmGamPoi: Ahlmann-Eltze and Huber,
//                  Bioinformatics 36, 2020), where the parametric form does not fit (a coefficient would be negative)
//
// and shrinkage of gene-wise dispersions towards it, empirical Bayes on the log scale:
//
//   log phi_g ~ N(log trend_g + c, tau^2),     log phi-hat_g | phi_g ~ N(log phi_g, v_g),     v_g = 1 / curvature_g
//
// with curvature_g = -d^2 l_A / d (log phi)^2 of the (adjusted) profile likelihood at its maximum. c is the median of
// the residuals; tau^2, the variance in excess of the sampling variances, makes the median of residual^2 / (tau^2 +
// v_g) that of chi-squared with one degree of freedom: both withstand outliers. Derivation:
// docs/derivations/dispersion_shrinkage.md.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/root.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

enum class TrendForm { parametric, local_median };

struct TrendOptions {
  TrendForm form = TrendForm::parametric;  ///< parametric falls back to the local median where it does not fit
  double fraction = 0.1;                   ///< of the genes in the window of the local median, at least `fewest`
  Index fewest = 50;
};

/// phi(mean), for any mean > 0.
class DispersionTrend {
 public:
  /// From genes with a mean > 0 and a dispersion > 0, others (0, NaN, infinite) being left out of the parametric form;
  /// the local median takes dispersions of 0 for what they are, low. Throws ShapeError, ValueError where fewer than 3
  /// genes are of use.
  DispersionTrend(VectorView<const double> mean, VectorView<const double> dispersion,
                  const TrendOptions& options = {}) {
    require_size("DispersionTrend", "dispersion", "elements", dispersion.size(), mean.size(), "means");
    require_value(options.fraction > 0.0 && options.fraction <= 1.0 && options.fewest > 0, "DispersionTrend",
                  "an option is out of range");
    std::vector<Point> points;
    Index positive = 0;
    for (Index g = 0; g < mean.size(); ++g)
      if (mean[g] > 0.0 && std::isfinite(mean[g]) && dispersion[g] >= 0.0 && std::isfinite(dispersion[g])) {
        points.push_back({mean[g], dispersion[g]});
        positive += dispersion[g] > 0.0;
      }
    require_value(positive >= 3, "DispersionTrend", "fewer than 3 genes have a positive mean and dispersion");
    form_ = options.form;
    if (form_ == TrendForm::parametric && !fit_parametric(points)) form_ = TrendForm::local_median;
    if (form_ == TrendForm::local_median) fit_local(std::move(points), options);
  }

  TrendForm form() const { return form_; }
  /// a0 and a1 of the parametric form.
  double asymptote() const { return a0_; }
  double slope() const { return a1_; }

  double operator()(double mean) const {
    if (form_ == TrendForm::parametric) return a0_ + a1_ / mean;
    const double x = std::log(mean);
    const auto after = std::upper_bound(log_mean_.begin(), log_mean_.end(), x);
    if (after == log_mean_.begin()) return value_.front();
    if (after == log_mean_.end()) return value_.back();
    const auto i = static_cast<std::size_t>(after - log_mean_.begin());
    const double share = (x - log_mean_[i - 1]) / (log_mean_[i] - log_mean_[i - 1]);
    return value_[i - 1] + share * (value_[i] - value_[i - 1]);
  }

 private:
  struct Point {
    double mean, dispersion;
  };

  /// False where no trend with a0, a1 >= 0 and one of them > 0 is found.
  bool fit_parametric(const std::vector<Point>& points) {
    double a0 = 0.1, a1 = 1.0;
    for (int round = 0; round < 20; ++round) {
      std::vector<Point> used;
      for (const Point& point : points) {
        const double ratio = point.dispersion / (a0 + a1 / point.mean);
        if (round == 0 ? point.dispersion > 0.0 : ratio > 1e-4 && ratio < 15.0) used.push_back(point);
      }
      if (used.size() < 3) return false;
      const double before0 = a0, before1 = a1;
      if (!fit_gamma(used, a0, a1)) return false;
      const double change = std::abs(std::log(a0 / before0)) + std::abs(std::log(a1 / before1));
      if (round > 0 && change < 1e-6) break;
    }
    a0_ = a0;
    a1_ = a1;
    return true;
  }

  /// Minimum of sum log f + d / f, f = a0 + a1 / m, by scoring with step halving; false where it is not at positive a0
  /// and a1.
  static bool fit_gamma(const std::vector<Point>& points, double& a0, double& a1) {
    const auto objective = [&](double b0, double b1) {
      double sum = 0.0;
      for (const Point& point : points) {
        const double f = b0 + b1 / point.mean;
        sum += std::log(f) + point.dispersion / f;
      }
      return sum;
    };
    double now = objective(a0, a1);
    for (int step = 0; step < 200; ++step) {
      double w = 0.0, wx = 0.0, wxx = 0.0, r0 = 0.0, r1 = 0.0;
      for (const Point& point : points) {
        const double x = 1.0 / point.mean, f = a0 + a1 * x, weight = 1.0 / (f * f), rest = point.dispersion - f;
        w += weight;
        wx += weight * x;
        wxx += weight * x * x;
        r0 += weight * rest;
        r1 += weight * x * rest;
      }
      const double determinant = w * wxx - wx * wx;
      if (!(determinant > 1e-14 * w * wxx)) return false;
      const double d0 = (wxx * r0 - wx * r1) / determinant, d1 = (w * r1 - wx * r0) / determinant;
      double length = 1.0;
      // Never to 0 or below, and never up.
      for (const auto& [a, d] : {std::pair{a0, d0}, std::pair{a1, d1}})
        if (a + length * d <= 0.0) length = -0.9 * a / d;
      double there = objective(a0 + length * d0, a1 + length * d1);
      for (; there > now && length > 1e-10; there = objective(a0 + length * d0, a1 + length * d1)) length *= 0.5;
      a0 += length * d0;
      a1 += length * d1;
      if (a0 < 1e-12 || a1 < 1e-12) return false;
      const double change = std::abs(length * d0) / a0 + std::abs(length * d1) / a1;
      now = there;
      if (change < 1e-10) return true;
    }
    return true;
  }

  /// At some 200 means across the ranks, weights falling as a normal density over three deviations to each side.
  void fit_local(std::vector<Point> points, const TrendOptions& options) {
    std::sort(points.begin(), points.end(), [](const Point& a, const Point& b) {
      return a.mean != b.mean ? a.mean < b.mean : a.dispersion < b.dispersion;
    });
    const auto n = static_cast<Index>(points.size());
    const Index window =
        std::min(n, std::max(options.fewest, static_cast<Index>(options.fraction * static_cast<double>(n))));
    const Index nodes = std::min<Index>(n, 200);
    std::vector<std::pair<double, double>> near;
    for (Index node = 0; node < nodes; ++node) {
      const Index centre = nodes == 1 ? 0 : node * (n - 1) / (nodes - 1);
      const Index begin = std::clamp<Index>(centre - window / 2, 0, n - window);
      near.clear();
      double total = 0.0;
      for (Index i = begin; i < begin + window; ++i) {
        const double u = 6.0 * static_cast<double>(i - centre) / static_cast<double>(window);
        near.push_back({points[static_cast<std::size_t>(i)].dispersion, std::exp(-0.5 * u * u)});
        total += near.back().second;
      }
      std::sort(near.begin(), near.end());
      double below = 0.0, median = near.back().first;
      for (const auto& [value, weight] : near)
        if ((below += weight) >= 0.5 * total) {
          median = value;
          break;
        }
      const double x = std::log(points[static_cast<std::size_t>(centre)].mean);
      if (!log_mean_.empty() && x <= log_mean_.back()) continue;
      log_mean_.push_back(x);
      value_.push_back(median);
    }
    // A window of zeros has no logarithm to shrink towards: the smallest positive value nearby is the trend there.
    double smallest = std::numeric_limits<double>::infinity();
    for (const Point& point : points)
      if (point.dispersion > 0.0) smallest = std::min(smallest, point.dispersion);
    for (double& value : value_) value = std::max(value, smallest);
  }

  TrendForm form_ = TrendForm::parametric;
  double a0_ = 0.0, a1_ = 0.0;
  std::vector<double> log_mean_, value_;
};

/// Prior of log phi about the trend: normal with mean log trend + shift.
struct DispersionPrior {
  double shift = 0.0;
  double variance = 0.0;  ///< tau^2; 0: the scatter is no larger than sampling explains
};

namespace detail {

inline double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

}  // namespace detail

/// From the genes whose dispersion maximises its likelihood inside: `curvature` > 0 and finite marks them, others (0,
/// NaN, for dispersions that are 0, at the upper limit or missing) are left out. Throws ShapeError, ValueError where
/// fewer than 3 genes are of use.
inline DispersionPrior estimate_dispersion_prior(VectorView<const double> dispersion,
                                                 VectorView<const double> curvature, VectorView<const double> trend) {
  require_size("estimate_dispersion_prior", "curvature", "elements", curvature.size(), dispersion.size(), "genes");
  require_size("estimate_dispersion_prior", "trend", "elements", trend.size(), dispersion.size(), "genes");
  std::vector<double> residual, variance;
  for (Index g = 0; g < dispersion.size(); ++g)
    if (dispersion[g] > 0.0 && curvature[g] > 0.0 && std::isfinite(curvature[g]) && trend[g] > 0.0) {
      residual.push_back(std::log(dispersion[g] / trend[g]));
      variance.push_back(1.0 / curvature[g]);
    }
  require_value(residual.size() >= 3, "estimate_dispersion_prior", "fewer than 3 genes have a curvature");
  DispersionPrior prior;
  prior.shift = detail::median_of(residual);
  for (double& r : residual) r -= prior.shift;
  // Median of chi-squared, one degree of freedom.
  constexpr double target = 0.45493642311957275;
  const auto excess = [&](double tau2) {
    std::vector<double> ratio;
    for (std::size_t i = 0; i < residual.size(); ++i) ratio.push_back(residual[i] * residual[i] / (tau2 + variance[i]));
    return detail::median_of(std::move(ratio)) - target;
  };
  double high = 1.0;
  const double at_zero = excess(0.0);
  if (at_zero <= 0.0) return prior;
  while (excess(high) > 0.0 && high < 1e6) high *= 4.0;
  prior.variance = detail::find_root(excess, 0.0, at_zero, high, excess(high), 1e-10);
  return prior;
}

/// Posterior mode of log phi under the normal approximation of a gene's likelihood, as phi:
/// (log phi-hat / v + prior mean / tau^2) / (1 / v + 1 / tau^2). Where curvature is not positive and finite (dispersion
/// 0, at its limit or missing: the likelihood says little about log phi, or only that phi is small) the prior's
/// mean is taken, which for a dispersion of 0 errs towards larger variances; shrunken_dispersion() below is
/// exact there. A gene above the prior by more than `outlier` standard deviations of prior and sampling keeps its own.
inline Vector<double> shrink_dispersions(VectorView<const double> dispersion, VectorView<const double> curvature,
                                         VectorView<const double> trend, const DispersionPrior& prior,
                                         double outlier = std::numeric_limits<double>::infinity()) {
  require_size("shrink_dispersions", "curvature", "elements", curvature.size(), dispersion.size(), "genes");
  require_size("shrink_dispersions", "trend", "elements", trend.size(), dispersion.size(), "genes");
  Vector<double> result(dispersion.size());
  for (Index g = 0; g < dispersion.size(); ++g) {
    const double centre = std::log(trend[g]) + prior.shift;
    if (!(dispersion[g] > 0.0) || !(curvature[g] > 0.0) || !std::isfinite(curvature[g])) {
      result[g] = std::exp(centre);
      continue;
    }
    const double own = std::log(dispersion[g]), v = 1.0 / curvature[g];
    const double share = prior.variance / (prior.variance + v);  // of the gene's own estimate
    result[g] = own - centre > outlier * std::sqrt(prior.variance + v) ? dispersion[g]
                                                                       : std::exp(centre + share * (own - centre));
  }
  return result;
}

/// -d^2 l_A / d (log phi)^2 at a maximum phi > 0 inside, by a central difference of the derivative; `gene` has
/// dispersion_score(phi, factor), as GeneSolver and DenseSolver do.
template <class Gene>
double dispersion_curvature(Gene& gene, double phi, double cox_reid_factor) {
  constexpr double h = 1e-3;
  const double above = phi * std::exp(h), below = phi * std::exp(-h);
  return (below * gene.dispersion_score(below, cox_reid_factor) -
          above * gene.dispersion_score(above, cox_reid_factor)) /
         (2.0 * h);
}

/// The phi that maximises l_A(phi) - (log phi - centre)^2 / (2 tau^2), l_A the gene's own (adjusted) profile likelihood
/// and no approximation of it: also for genes whose own maximum is 0 or at the limit. tau^2 = 0 gives exp(centre).
/// Beside several maxima the one on the way from the centre is found. Some eight evaluations of the derivative.
template <class Gene>
double shrunken_dispersion(Gene& gene, double centre, double variance, double cox_reid_factor) {
  if (!(variance > 0.0)) return std::exp(centre);
  const auto slope = [&](double log_phi) {
    const double phi = std::exp(log_phi);
    return phi * gene.dispersion_score(phi, cox_reid_factor) - (log_phi - centre) / variance;
  };
  double low = centre, low_slope = slope(centre), high = low, high_slope = low_slope;
  for (double step = 0.5; high_slope > 0.0 && high < 40.0; step *= 2.0) {
    low = std::exchange(high, high + step);
    low_slope = std::exchange(high_slope, slope(high));
  }
  for (double step = 0.5; low_slope < 0.0 && low > -60.0; step *= 2.0) {
    high = std::exchange(low, low - step);
    high_slope = std::exchange(low_slope, slope(low));
  }
  if (low_slope < 0.0) return std::exp(low);
  if (high_slope > 0.0) return std::exp(high);
  return std::exp(detail::find_root(slope, low, low_slope, high, high_slope, 1e-10));
}

}  // namespace eosin::glm
