#pragma once

// The rule of shrinkage for fit() with glm::Shrunken: dispersions of the genes are moved towards their trend over the
// mean, each by as much as its own estimate is uncertain (dispersion_trend.hpp has the mathematics and its sources).

#include <eosin/glm/dispersion_trend.hpp>
#include <eosin/glm/fit.hpp>

#include <vector>

namespace eosin::glm {

struct TrendShrinkage {
  TrendOptions trend = {};
  /// A gene above the trend by more than so many standard deviations of prior and sampling keeps its own dispersion.
  double outlier = 2.0;
};

/// Dispersions for all genes; those without a count get 0. Where fewer than 3 genes have a dispersion inside the bounds
/// there is no trend, and all keep their own.
inline std::vector<double> shrink_to_trend(const GeneDispersions& genes, const TrendShrinkage& options = {}) {
  const Index count = genes.mean.size();
  std::vector<double> result(static_cast<std::size_t>(count));
  for (Index g = 0; g < count; ++g) result[static_cast<std::size_t>(g)] = genes.dispersion[g];
  Index inside = 0;
  for (Index g = 0; g < count; ++g)
    inside += genes.mean[g] > 0.0 && genes.dispersion[g] > 0.0 && genes.precision[g] > 0.0;
  if (inside < 3) return result;
  const DispersionTrend trend(genes.mean, genes.dispersion, options.trend);
  Vector<double> centre(count);
  for (Index g = 0; g < count; ++g) centre[g] = genes.mean[g] > 0.0 ? trend(genes.mean[g]) : 1.0;
  const auto prior = estimate_dispersion_prior(genes.dispersion, genes.precision, centre.view());
  const auto shrunken =
      shrink_dispersions(genes.dispersion, genes.precision, centre.view(), prior, options.outlier);
  for (Index g = 0; g < count; ++g) result[static_cast<std::size_t>(g)] = genes.mean[g] > 0.0 ? shrunken[g] : 0.0;
  return result;
}

/// Cox-Reid estimates shrunken to their trend, as an option of fit().
inline Shrunken shrunken_to_trend(const TrendShrinkage& options = {}) {
  return {[options](const GeneDispersions& genes) { return shrink_to_trend(genes, options); }, CoxReid{}};
}

}  // namespace eosin::glm
