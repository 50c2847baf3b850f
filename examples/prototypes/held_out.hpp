#pragma once

// Likelihood of held-out cells under two fits of the other cells. From each type and batch the same share of the cells
// is held out, at least one stays; a held-out cell is scored by
//
//   sum over genes of log NB(y; s exp(eta), phi)
//
// with eta of its type (and batch) and phi from the fit, s from the cell's own counts. Where a fitted mean is exactly 0
// (a type or batch without counts of the gene) half a count over the training cells of that level stands for it, in
// both fits alike; where a coefficient is not estimable in one fit, gene and cell are left out of both.

#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/fit.hpp>
#include <eosin/math/negative_binomial.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace prototypes {

using eosin::Index;

/// Labels with those of the held-out cells missing.
struct HeldOut {
  eosin::glm::Categories type, batch;
  std::vector<Index> cells;  ///< held out, ascending
};

inline HeldOut hold_out_cells(const eosin::glm::Categories& type, const eosin::glm::Categories& batch, double share,
                              std::uint64_t seed) {
  HeldOut result{type, batch, {}};
  std::vector<std::vector<Index>> groups(static_cast<std::size_t>(type.levels() * batch.levels()));
  for (Index cell = 0; cell < type.cells(); ++cell)
    groups[static_cast<std::size_t>(type.codes[static_cast<std::size_t>(cell)] * batch.levels() +
                                    batch.codes[static_cast<std::size_t>(cell)])]
        .push_back(cell);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto size = static_cast<Index>(groups[g].size());
    const auto count = std::min(static_cast<Index>(std::lround(share * static_cast<double>(size))), size - 1);
    if (count <= 0) continue;
    const auto order = eosin::RandomStream(seed, g).permutation(size);
    for (Index i = 0; i < count; ++i)
      result.cells.push_back(groups[g][static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  }
  std::sort(result.cells.begin(), result.cells.end());
  for (const Index cell : result.cells)
    result.type.codes[static_cast<std::size_t>(cell)] = result.batch.codes[static_cast<std::size_t>(cell)] =
        eosin::glm::Categories::missing;
  return result;
}

/// Mean log-likelihood per cell of the two fits, and the standard error of the mean difference over cells.
struct HeldOutScore {
  double with = 0, without = 0, difference_error = 0;
  double difference() const { return with - without; }
};

struct HeldOutScores {
  HeldOutScore all, seen;  ///< all genes; those whose coefficients are all finite in both fits
  Index cells = 0, genes = 0, genes_seen = 0;
  Index nonzeros = 0;                           ///< counts of held-out cells that are not 0
  Index on_zero_with = 0, on_zero_without = 0;  ///< of these, where the fitted mean is exactly 0
  Index left_out = 0;                           ///< of these, where a coefficient is not estimable
};

struct FittedModel {
  const eosin::glm::FitResults* results;
  const eosin::glm::Design* design;
};

namespace detail {

inline double log_probability(double y, double mean, double dispersion) {
  if (dispersion < 1e-12) return y * std::log(mean) - mean - std::lgamma(y + 1.0);
  if (y == 0.0) return -std::log1p(dispersion * mean) / dispersion;
  const auto theta = eosin::math::negative_binomial_theta(1.0 / dispersion, 0.0);
  return -eosin::math::negative_binomial(mean, y, theta, 0.0).nll;
}

/// Means at size factor 1 of one gene in a fit, [types x batches of the data].
struct GeneMeans {
  std::vector<double> value;   // NaN where not estimable
  std::vector<char> was_zero;  // replaced
  bool finite = true;          // all coefficients are
};

inline void gene_means(const FittedModel& model, Index gene, Index types, Index batches,
                       const std::vector<double>& depth, GeneMeans& means) {
  const auto& results = *model.results;
  const bool with = model.design->batches() > 1;
  means.value.assign(depth.size(), 0.0);
  means.was_zero.assign(depth.size(), 0);
  means.finite = true;
  const auto over = [&](Index first_type, Index last_type, Index first_batch, Index last_batch) {
    double sum = 0;
    for (Index t = first_type; t < last_type; ++t)
      for (Index b = first_batch; b < last_batch; ++b) sum += depth[static_cast<std::size_t>(t * batches + b)];
    return 0.5 / sum;
  };
  for (Index t = 0; t < types; ++t) {
    const double beta = results.type_coefficients(gene, t);
    means.finite = means.finite && std::isfinite(beta);
    for (Index b = 0; b < batches; ++b) {
      const auto i = static_cast<std::size_t>(t * batches + b);
      const double gamma = with ? results.batch_coefficients(gene, b) : 0.0;
      means.finite = means.finite && std::isfinite(gamma);
      means.value[i] = std::exp(beta + gamma);
      if (std::isinf(beta))
        means.value[i] = over(t, t + 1, 0, batches);
      else if (std::isinf(gamma))
        means.value[i] = over(0, types, b, b + 1);
      means.was_zero[i] = std::isinf(beta) || std::isinf(gamma);
    }
  }
}

inline HeldOutScore summarised(const std::vector<double>& with, const std::vector<double>& without) {
  HeldOutScore score;
  const auto n = static_cast<double>(with.size());
  for (std::size_t i = 0; i < with.size(); ++i) {
    score.with += with[i] / n;
    score.without += without[i] / n;
  }
  double squares = 0;
  for (std::size_t i = 0; i < with.size(); ++i) {
    const double deviation = with[i] - without[i] - score.difference();
    squares += deviation * deviation;
  }
  score.difference_error = n > 1 ? std::sqrt(squares / (n - 1) / n) : std::nan("");
  return score;
}

}  // namespace detail

/// `type` and `batch` are the labels of all cells, the held-out ones included. Throws ValueError where no cell is held
/// out. Cost O(genes x held-out cells).
template <eosin::glm::GeneBlockSource Source>
HeldOutScores score_held_out(Source& counts, eosin::VectorView<const double> size_factors,
                             const eosin::glm::Categories& type, const eosin::glm::Categories& batch,
                             const HeldOut& held, const FittedModel& with, const FittedModel& without) {
  const Index types = type.levels(), batches = batch.levels();
  const auto group_of = [&](Index cell) {
    return static_cast<std::size_t>(type.codes[static_cast<std::size_t>(cell)] * batches +
                                    batch.codes[static_cast<std::size_t>(cell)]);
  };
  std::vector<double> depth(static_cast<std::size_t>(types * batches), 0.0);
  for (Index cell = 0; cell < type.cells(); ++cell)
    if (held.type.codes[static_cast<std::size_t>(cell)] >= 0) depth[group_of(cell)] += size_factors[cell];
  std::vector<Index> scored;
  for (const Index cell : held.cells)
    if (size_factors[cell] > 0) scored.push_back(cell);
  eosin::require_value(!scored.empty(), "evaluate", "no cell is held out; each type and batch keeps at least one");

  HeldOutScores scores;
  scores.cells = static_cast<Index>(scored.size());
  scores.genes = counts.genes();
  std::vector<double> all_with(scored.size()), all_without(scored.size()), seen_with(scored.size()),
      seen_without(scored.size());
  std::vector<double> row(static_cast<std::size_t>(type.cells()), 0.0);
  detail::GeneMeans mean_with, mean_without;
  counts.rewind();
  for (auto block = counts.next(256); block.genes() > 0; block = counts.next(256))
    for (Index r = 0; r < block.genes(); ++r) {
      const Index gene = block.first_gene + r;
      const auto cells = block.cells_of(r);
      const auto values = block.counts_of(r);
      for (Index e = 0; e < cells.size(); ++e) row[static_cast<std::size_t>(cells[e])] = values[e];
      detail::gene_means(with, gene, types, batches, depth, mean_with);
      detail::gene_means(without, gene, types, batches, depth, mean_without);
      const bool seen = mean_with.finite && mean_without.finite;
      scores.genes_seen += seen ? 1 : 0;
      const double phi_with = with.results->dispersion[gene], phi_without = without.results->dispersion[gene];
      for (std::size_t i = 0; i < scored.size(); ++i) {
        const Index cell = scored[i];
        const double y = row[static_cast<std::size_t>(cell)], s = size_factors[cell];
        const std::size_t group = group_of(cell);
        if (y > 0) ++scores.nonzeros;
        if (std::isnan(mean_with.value[group]) || std::isnan(mean_without.value[group])) {
          if (y > 0) ++scores.left_out;
          continue;
        }
        if (y > 0) {
          scores.on_zero_with += mean_with.was_zero[group];
          scores.on_zero_without += mean_without.was_zero[group];
        }
        const double a = detail::log_probability(y, s * mean_with.value[group], phi_with);
        const double b = detail::log_probability(y, s * mean_without.value[group], phi_without);
        all_with[i] += a;
        all_without[i] += b;
        if (seen) {
          seen_with[i] += a;
          seen_without[i] += b;
        }
      }
      for (Index e = 0; e < cells.size(); ++e) row[static_cast<std::size_t>(cells[e])] = 0.0;
    }
  counts.rewind();
  scores.all = detail::summarised(all_with, all_without);
  scores.seen = detail::summarised(seen_with, seen_without);
  return scores;
}

}  // namespace prototypes
