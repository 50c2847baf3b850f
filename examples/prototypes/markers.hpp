#pragma once

// Marker genes, from the results of a fit alone:
//
//   types    log2 fold change of the standardised prototype against the mean of the other types' log prototypes
//   batches  the same of the coefficients of a batch against the mean of the other batches
//
// with Wald's test, the estimates of different levels taken as independent. A prototype of exactly 0 among the others
// enters as half a count over the cells of its type, with standard error 1.

#include <eosin/glm/design.hpp>
#include <eosin/glm/fit.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace prototypes {

struct Marker {
  std::string level;  ///< "type:NAME" or "batch:NAME"
  Index gene = 0;
  double log2_fold_change = 0, standard_error = 0;  ///< both to base 2
  double statistic = 0, p_value = 1, adjusted_p = 1;
};

namespace detail {

/// Benjamini and Hochberg's adjustment, in place; `markers` sorted by p-value.
inline void adjust(std::vector<Marker>& markers) {
  double least = 1;
  const auto count = static_cast<double>(markers.size());
  for (std::size_t i = markers.size(); i-- > 0;) {
    least = std::min(least, markers[i].p_value * count / static_cast<double>(i + 1));
    markers[i].adjusted_p = least;
  }
}

/// Markers of the levels, whose log estimates [levels x genes] and standard errors are given by functions; floor(level)
/// stands for an estimate of -inf.
template <class Value, class Error, class Floor>
void add_markers(std::vector<Marker>& out, const std::string& word, const std::vector<std::string>& levels, Index genes,
                 Value&& value, Error&& error, Floor&& floor, double largest_p) {
  const auto count = static_cast<Index>(levels.size());
  for (Index level = 0; level < count; ++level) {
    std::vector<Marker> markers;
    for (Index g = 0; g < genes; ++g) {
      const double own = value(level, g), own_error = error(level, g);
      if (!std::isfinite(own) || !std::isfinite(own_error)) continue;
      double sum = 0, variance = 0;
      Index others = 0;
      for (Index other = 0; other < count; ++other) {
        if (other == level) continue;
        const double log_mean = value(other, g);
        if (std::isnan(log_mean)) continue;
        const bool zero = std::isinf(log_mean);
        const double deviation = zero ? 1.0 : error(other, g);
        sum += zero ? floor(other) : log_mean;
        variance += std::isfinite(deviation) ? deviation * deviation : 1.0;
        ++others;
      }
      if (others == 0) continue;
      const auto n = static_cast<double>(others);
      Marker marker{"", g, (own - sum / n) / std::log(2.0),
                    std::sqrt(own_error * own_error + variance / (n * n)) / std::log(2.0)};
      if (!(marker.standard_error > 0)) continue;
      marker.statistic = marker.log2_fold_change / marker.standard_error;
      marker.p_value = std::erfc(std::abs(marker.statistic) / std::sqrt(2.0));
      markers.push_back(marker);
    }
    std::sort(markers.begin(), markers.end(), [](const Marker& a, const Marker& b) {
      const double x = std::abs(a.statistic), y = std::abs(b.statistic);
      return x != y ? x > y : a.gene < b.gene;
    });
    adjust(markers);
    for (auto& marker : markers)
      if (marker.log2_fold_change > 0 && marker.adjusted_p <= largest_p) {
        marker.level = word + ":" + levels[static_cast<std::size_t>(level)];
        out.push_back(std::move(marker));
      }
  }
}

}  // namespace detail

/// Genes whose expression in a level is above the others' with an adjusted p-value of at most `largest_p`; by level,
/// the surest first. Needs standard errors in `results`.
inline std::vector<Marker> find_markers(const eosin::glm::FitResults& results, const eosin::glm::Design& design,
                                        double largest_p = 0.05) {
  std::vector<double> depth(static_cast<std::size_t>(design.types()), 0.0);
  for (Index cell = 0; cell < design.cells(); ++cell)
    if (design.has(cell)) depth[static_cast<std::size_t>(design.type_of(cell))] += results.size_factors[cell];
  std::vector<Marker> markers;
  const Index genes = results.mean.size();
  detail::add_markers(
      markers, "type", design.type_names(), genes, [&](Index t, Index g) { return results.log_prototypes(t, g); },
      [&](Index t, Index g) { return results.log_prototype_errors(t, g); },
      [&](Index t) { return std::log(0.5 / depth[static_cast<std::size_t>(t)]); }, largest_p);
  if (design.batches() > 1)
    detail::add_markers(
        markers, "batch", design.batch_names(), genes,
        [&](Index b, Index g) {
          const double value = results.batch_coefficients(g, b);
          return std::isinf(value) ? std::nan("") : value;
        },
        [&](Index b, Index g) { return results.batch_standard_errors(g, b); }, [](Index) { return 0.0; }, largest_p);
  return markers;
}

}  // namespace prototypes
