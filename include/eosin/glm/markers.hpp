#pragma once

// Marker genes of cell types, from a fitted model: for each type t and gene the fold change of its standardised
// prototype p_t against the other types, either the largest of them or their mean,
//
//   log2 p_t - log2 max_{u != t} p_u          or          log2 p_t - log2 mean_{u != t} p_u,
//
// with tests that the type is not above what it is compared with:
//
//   Wald               z = (log fold change) / its standard error (delta method; the batches' part cancels), P(Z > z)
//   likelihood ratio   against the model where type t has the coefficient of the runner-up, the highest other type: the
//                      root of 2 [l(full) - l(merged)], P(Z > root); exists where the other types have no counts at all
//
// p-values are one-sided (markers are genes above), adjusted over the genes of a type (benjamini_hochberg.hpp). For the
// comparison with the largest, the likelihood ratio is the test; for that with the mean, Wald's, and the likelihood
// ratio where all other prototypes are 0. A gene that is not above (fold change <= 0) gets p = 1 without a test: such
// p-values are at least 1/2 and only their number counts in the adjustment. Where the gene's counts do not link the
// types compared there is no test: p is NaN and does not count.
//
// Rows are ordered by p, or by the lower 95 % bound of the log fold change: large and certain first, which prefers
// specific genes of few counts. Where all others are 0 the bound takes their mean as -log(0.05) / (sum of their size
// factors), the largest that a Poisson count of 0 does not contradict.
//
// Derivation: docs/derivations/contrasts.md.

#include <eosin/glm/benjamini_hochberg.hpp>
#include <eosin/glm/contrasts.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

enum class MarkerComparison { largest, mean };
enum class MarkerOrder { significance, lower_bound };

struct MarkerOptions {
  /// With the mean, kindred types share their markers; with the largest, a marker tells a type from each other.
  MarkerComparison comparison = MarkerComparison::mean;
  MarkerOrder order = MarkerOrder::significance;
  double largest_q = 0.05;  ///< rows with an adjusted p above are left out; 1 keeps all that are above 0
  /// Rows at or below are left out: with many cells the smallest change is significant. 0: all that are above.
  double smallest_log2_fold_change = 1.0;
  Index most_per_type = 0;  ///< rows kept for a type, the first by sorting; 0: all
  int max_iterations = 100;
  Index block_genes = 256;
  std::function<void(Index, Index)> progress = {};
  std::stop_token cancellation = {};
};

struct Marker {
  Index type, gene;
  double log_prototype;      ///< natural logarithm
  Index runner_up;           ///< the highest other type
  double log2_over_largest;  ///< fold change against the runner-up; +inf where it has no counts
  double log2_over_mean;     ///< against the mean of the others
  double log2_lower_bound;   ///< one-sided 95 % bound of the fold change compared; NaN where it is not above 0
  double z, wald_p;          ///< of the comparison chosen; NaN where the fold change is infinite
  double ratio, ratio_p;     ///< likelihood ratio statistic, and one-sided p, against the runner-up; NaN not computed
  double p, q;               ///< of the test that decides, and adjusted
  double detected, detected_others;  ///< share of the type's cells, and of all others, with a count
};

namespace detail {

/// What the other types of a gene look like beside type t.
struct OtherTypes {
  Index runner_up = -1;  ///< -1: no other type is estimable
  double log_mean = not_estimable;
  std::vector<double> weights;  ///< of the types in the comparison
};

inline OtherTypes other_types(MatrixView<const double> log_prototypes, Index gene, Index t, MarkerComparison comparison,
                              const std::vector<double>& depth) {
  const Index types = log_prototypes.rows();
  OtherTypes result;
  result.weights.assign(static_cast<std::size_t>(types), 0.0);
  Index estimable = 0;
  for (Index u = 0; u < types; ++u) {
    const double value = log_prototypes(u, gene);
    if (u == t || std::isnan(value)) continue;
    ++estimable;
    if (result.runner_up < 0) {
      result.runner_up = u;
      continue;
    }
    const double best = log_prototypes(result.runner_up, gene);
    // Of types without counts the one that was looked at most says most.
    if (value > best ||
        (value == best && depth[static_cast<std::size_t>(u)] > depth[static_cast<std::size_t>(result.runner_up)]))
      result.runner_up = u;
  }
  if (result.runner_up < 0) return result;
  const double largest = log_prototypes(result.runner_up, gene);
  result.log_mean = largest;
  if (largest == -infinity) return result;
  double sum = 0.0;
  for (Index u = 0; u < types; ++u) {
    const double value = log_prototypes(u, gene);
    if (u != t && !std::isnan(value)) sum += result.weights[static_cast<std::size_t>(u)] = std::exp(value - largest);
  }
  result.log_mean = largest + std::log(sum / static_cast<double>(estimable));
  for (double& w : result.weights) w /= -sum;
  if (comparison == MarkerComparison::largest) {
    std::fill(result.weights.begin(), result.weights.end(), 0.0);
    result.weights[static_cast<std::size_t>(result.runner_up)] = -1.0;
  }
  result.weights[static_cast<std::size_t>(t)] = 1.0;
  return result;
}

}  // namespace detail

/// The markers of each type: rows ordered by type, then by the order chosen, then p, fold change (largest first), gene.
/// `fitted` is the result of fit() on the same counts and design. Types that are not estimable in a gene are left out
/// of its comparisons. Reads the source once; genes in parallel, results independent of the number of threads. Throws
/// ShapeError where lengths differ, ValueError on options out of range and designs with covariates, errors of fit(). Cost of a gene: a fit at its
/// dispersion, and another for each type tested by likelihood ratio (at most one where the comparison is with the
/// largest).
template <GeneBlockSource Source>
std::vector<Marker> find_markers(CpuContext& context, Source&& counts, const Design& design, const FitResults& fitted,
                                 const MarkerOptions& options = {}) {
  const Index genes = counts.genes(), types = design.types();
  require_size("find_markers", "design", "cells", design.cells(), counts.cells(), "cells of counts");
  require_shape("find_markers", "fitted.log_prototypes", fitted.log_prototypes, types, genes);
  require_value(design.factors() == 1, "find_markers", "the design has covariates beside types and batches");
  require_value(options.block_genes > 0 && options.max_iterations > 0 && options.most_per_type >= 0, "find_markers",
                "an option is out of range");
  require_value(options.largest_q >= 0.0 && options.largest_q <= 1.0 && !std::isnan(options.smallest_log2_fold_change),
                "find_markers", "a threshold is out of range");
  const CellGroups groups(design, fitted.size_factors.view());
  const GroupSums sums(context, groups);
  const MergedLevels full = MergedLevels::none(groups.types(), groups.batches());
  std::vector<double> depth(static_cast<std::size_t>(types), 0.0), cells_of(static_cast<std::size_t>(types), 0.0);
  for (Index k = 0; k < groups.groups(); ++k) {
    depth[static_cast<std::size_t>(groups.type(k))] += sums.sum_of_size_factors(k);
    cells_of[static_cast<std::size_t>(groups.type(k))] += static_cast<double>(groups.size_factors(k).size());
  }
  const double all_cells = static_cast<double>(groups.used());
  double all_depth = 0.0;
  for (const double d : depth) all_depth += d;

  std::vector<Marker> rows(static_cast<std::size_t>(types * genes));  // [types x genes]
  struct Worker {
    MergedGene gene;
    std::vector<double> detected;
  };
  const auto test_gene = [&](Worker& worker, const GeneBlock& block, Index r) {
    const Index g = block.first_gene + r;
    const double phi = fitted.dispersion[g];
    const auto cells = block.cells_of(r);
    worker.gene.load(g, cells, block.counts_of(r));
    worker.detected.assign(static_cast<std::size_t>(types), 0.0);
    double detected = 0.0;
    for (Index e = 0; e < cells.size(); ++e)
      if (const Index k = groups.group_of(cells[e]); k >= 0) {
        worker.detected[static_cast<std::size_t>(groups.type(k))] += 1.0;
        detected += 1.0;
      }
    const bool settled = worker.gene.maximise(full, phi);
    bool at_full = settled;
    const double likelihood = settled ? worker.gene.log_likelihood() : detail::not_estimable;
    for (Index t = 0; t < types; ++t) {
      const auto at = static_cast<std::size_t>(t);
      Marker& row = rows[static_cast<std::size_t>(t * genes + g)];
      constexpr double none = detail::not_estimable;
      row = {t, g, fitted.log_prototypes(t, g), -1, none, none, none, none, none, none, none, none, none, none, none};
      row.detected = worker.detected[at] / cells_of[at];
      if (all_cells > cells_of[at]) row.detected_others = (detected - worker.detected[at]) / (all_cells - cells_of[at]);
      const auto others = detail::other_types(fitted.log_prototypes.view(), g, t, options.comparison, depth);
      if (std::isnan(row.log_prototype) || others.runner_up < 0 || !settled) continue;
      constexpr double per_bit = 1.44269504088896340736, one_sided = 1.6448536269514727;
      constexpr double largest_mean_of_zero = 2.9957322735539909;  // -log 0.05
      row.runner_up = others.runner_up;
      row.log2_over_largest = per_bit * (row.log_prototype - fitted.log_prototypes(others.runner_up, g));
      row.log2_over_mean = per_bit * (row.log_prototype - others.log_mean);
      const bool by_largest = options.comparison == MarkerComparison::largest;
      const double change = by_largest ? row.log2_over_largest : row.log2_over_mean;
      if (std::isnan(change)) continue;  // no counts on either side
      if (!(change > 0.0)) {
        row.p = 1.0;
        continue;
      }
      if (std::isfinite(change)) {
        if (!std::exchange(at_full, true)) worker.gene.maximise(full, phi);
        if (std::isnan(worker.gene.estimate(others.weights, {}))) continue;  // not linked: no test
        row.z = change / per_bit / std::sqrt(worker.gene.variance(others.weights, {}));
        row.p = row.wald_p = math::normal_upper_tail(row.z);
        row.log2_lower_bound = change - one_sided / row.z * change;
        if (!by_largest) continue;
      }
      if (!std::exchange(at_full, true)) worker.gene.maximise(full, phi);
      MergedLevels merged = full;
      merged.types[static_cast<std::size_t>(others.runner_up)] = t;
      const auto ratio = detail::test_equality(worker.gene, merged, phi, likelihood,
                                               detail::comparable_types(worker.gene, t, others.runner_up));
      at_full = false;
      row.ratio = ratio.statistic;
      if (std::isinf(change)) {
        const double error = fitted.log_prototype_errors.empty() ? 0.0 : fitted.log_prototype_errors(t, g);
        row.log2_lower_bound = per_bit * (row.log_prototype - one_sided * error -
                                          std::log(largest_mean_of_zero / (all_depth - depth[at])));
      }
      row.p = row.ratio_p = math::normal_upper_tail(std::sqrt(ratio.statistic));
    }
  };
  std::vector<Worker> workers(static_cast<std::size_t>(context.threads()),
                              Worker{MergedGene(groups, sums, options.max_iterations), {}});
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("find_markers: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) +
                      " genes");
  };
  counts.rewind();
  for (GeneBlock block = counts.next(options.block_genes); block.genes() > 0;
       block = counts.next(options.block_genes)) {
    context.pool().run(block.genes(), [&](Index r, int worker) {
      check_cancellation(block.first_gene);
      test_gene(workers[static_cast<std::size_t>(worker)], block, r);
    });
    if (options.progress) options.progress(block.first_gene + block.genes(), genes);
    check_cancellation(block.first_gene + block.genes());
  }
  counts.rewind();

  std::vector<Marker> table;
  std::vector<double> p(static_cast<std::size_t>(genes));
  for (Index t = 0; t < types; ++t) {
    const auto first = rows.begin() + t * genes;
    for (Index g = 0; g < genes; ++g) p[static_cast<std::size_t>(g)] = first[g].p;
    benjamini_hochberg(p, VectorView<double>(p));
    const auto change = [&](const Marker& row) {
      return options.comparison == MarkerComparison::largest ? row.log2_over_largest : row.log2_over_mean;
    };
    std::vector<Marker> kept;
    for (Index g = 0; g < genes; ++g) {
      first[g].q = p[static_cast<std::size_t>(g)];
      if (first[g].q <= options.largest_q && change(first[g]) > std::max(0.0, options.smallest_log2_fold_change))
        kept.push_back(first[g]);
    }
    // Equal p are common far out, where they underflow: z and the statistic still tell them apart.
    const auto strength = [](const Marker& row) { return std::isnan(row.ratio) ? row.z * row.z : row.ratio; };
    std::sort(kept.begin(), kept.end(), [&](const Marker& a, const Marker& b) {
      if (options.order == MarkerOrder::lower_bound && a.log2_lower_bound != b.log2_lower_bound)
        return a.log2_lower_bound > b.log2_lower_bound;
      if (strength(a) != strength(b)) return strength(a) > strength(b);
      if (change(a) != change(b)) return change(a) > change(b);
      return a.gene < b.gene;
    });
    if (options.most_per_type > 0 && static_cast<Index>(kept.size()) > options.most_per_type)
      kept.resize(static_cast<std::size_t>(options.most_per_type));
    table.insert(table.end(), kept.begin(), kept.end());
  }
  return table;
}

/// The same for counts in memory, a SparseMatrix<T> or a dense MatrixView<T>, genes x cells or the other way round.
template <class Counts>
requires(!GeneBlockSource<const Counts&> && !GeneBlockSource<Counts>) std::vector<Marker> find_markers(
    CpuContext& context, const Counts& counts, const Design& design, const FitResults& fitted,
    const MarkerOptions& options = {}, Orientation orientation = Orientation::genes_by_cells) {
  return find_markers(context, gene_blocks(counts, orientation), design, fitted, options);
}

}  // namespace eosin::glm
