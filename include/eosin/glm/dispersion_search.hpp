#pragma once

// The maximum of a (profile, adjusted) likelihood over the dispersion phi >= 0, given its derivative: bracketed in
// log phi from a moment estimate and found as a root. The likelihood can have a maximum at 0 beside one inside; where
// its derivative at 0 is negative, larger dispersions are probed and the better end is taken.

#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/root.hpp>

#include <algorithm>
#include <cmath>

namespace eosin::glm::detail {

/// `gene` has dispersion_score(phi, factor), the total derivative in phi, adjusted_likelihood(phi, factor), both with
/// the coefficients following phi, and moment_dispersion() about the present fit. Returns phi, relative error about
/// 1e-10.
template <class Gene>
double search_dispersion(Gene& gene, double cox_reid_factor, double largest, DispersionStatus& how) {
  constexpr double smallest_log_dispersion = -32.0, tolerance = 1e-10;
  const auto score = [&](double log_phi) { return gene.dispersion_score(std::exp(log_phi), cox_reid_factor); };
  const double at_zero = gene.dispersion_score(0.0, cox_reid_factor);
  const double upper = std::log(largest);
  double low, low_score, high, high_score;
  if (at_zero > 0.0) {
    low = high = std::log(std::clamp(gene.moment_dispersion(), 1e-6, std::max(1e-6, 0.5 * largest)));
    low_score = high_score = score(low);
    for (double step = 1.0; low_score < 0.0 && low > smallest_log_dispersion; step *= 2.0) {
      high = low;
      high_score = low_score;
      low -= step;
      low_score = score(low);
    }
  } else {
    low = high = 0.0;
    low_score = high_score = at_zero;
    for (const double probe : {0.03, 1.0, 30.0}) {
      if (probe >= largest || low_score > 0.0) break;
      low = high = std::log(probe);
      low_score = high_score = score(low);
    }
  }
  for (double step = 1.0; high_score > 0.0 && high < upper; step *= 2.0) {
    low = high;
    low_score = high_score;
    high = std::min(high + step, upper);
    high_score = score(high);
  }
  if (low_score < 0.0) {
    how = DispersionStatus::zero;
    return 0.0;
  }
  how = high_score > 0.0 ? DispersionStatus::upper_limit : DispersionStatus::maximum;
  const double phi =
      high_score > 0.0 ? largest : std::exp(find_root(score, low, low_score, high, high_score, tolerance));
  if (at_zero <= 0.0 &&
      gene.adjusted_likelihood(0.0, cox_reid_factor) >= gene.adjusted_likelihood(phi, cox_reid_factor)) {
    how = DispersionStatus::zero;
    return 0.0;
  }
  return phi;
}

}  // namespace eosin::glm::detail
