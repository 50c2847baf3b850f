#pragma once

// Contrasts between coefficients of a fitted gene: between two types, a type and the mean of the others (in log space),
// two batches (a stimulation against its control), or any linear combination w'theta.
//
//   Wald:              z = w'theta / sqrt(w' Cov w), p = P(|Z| > |z|), Cov the inverse observed information
//   likelihood ratio:  2 [l(full) - l(the two levels merged)], chi-squared with one degree of freedom,
//
// both at the same dispersion. What has no finite estimate is decided as follows.
//
//   - A level without counts has coefficient -inf. A contrast with weight on it has an infinite estimate, no standard
//     error and no Wald p; where infinities of both signs meet (two types without counts) it is not estimable.
//     The likelihood ratio exists and is the test to use: its limit distribution at the boundary puts half its mass on
//     0, which makes the p given here conservative.
//   - A contrast across parts of the gene's levels that its counts do not link is not estimable: all NaN. The status
//     `not_converged` (all NaN) is Newton's method not settling.
//
// The likelihood ratio is given for contrasts of one level against one of the same factor and is NaN for others.
// Derivation: docs/derivations/contrasts.md.

#include <eosin/core/context.hpp>
#include <eosin/glm/fit.hpp>
#include <eosin/glm/merged_gene.hpp>
#include <eosin/math/distributions.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

/// Weights of the coefficients; an empty vector is all 0.
struct Contrast {
  std::string name;
  std::vector<double> types = {};    ///< [types]
  std::vector<double> batches = {};  ///< [batches]
};

/// Type t against type u: beta_t - beta_u.
inline Contrast type_against_type(const Design& design, Index t, Index u) {
  require_value(t >= 0 && u >= 0 && t < design.types() && u < design.types() && t != u, "type_against_type",
                "expected two different types");
  Contrast result{
      design.type_names()[static_cast<std::size_t>(t)] + " / " + design.type_names()[static_cast<std::size_t>(u)],
      std::vector<double>(static_cast<std::size_t>(design.types()), 0.0)};
  result.types[static_cast<std::size_t>(t)] = 1.0;
  result.types[static_cast<std::size_t>(u)] = -1.0;
  return result;
}
/// Type t against the mean of the other types in log space (their geometric mean).
inline Contrast type_against_others(const Design& design, Index t) {
  require_value(t >= 0 && t < design.types() && design.types() > 1, "type_against_others",
                "expected a type beside which there are others");
  Contrast result{
      design.type_names()[static_cast<std::size_t>(t)] + " / others",
      std::vector<double>(static_cast<std::size_t>(design.types()), -1.0 / static_cast<double>(design.types() - 1))};
  result.types[static_cast<std::size_t>(t)] = 1.0;
  return result;
}
/// Batch b against batch a: gamma_b - gamma_a.
inline Contrast batch_against_batch(const Design& design, Index b, Index a) {
  require_value(a >= 0 && b >= 0 && a < design.batches() && b < design.batches() && a != b, "batch_against_batch",
                "expected two different batches");
  Contrast result{
      design.batch_names()[static_cast<std::size_t>(b)] + " / " + design.batch_names()[static_cast<std::size_t>(a)],
      {},
      std::vector<double>(static_cast<std::size_t>(design.batches()), 0.0)};
  result.batches[static_cast<std::size_t>(b)] = 1.0;
  result.batches[static_cast<std::size_t>(a)] = -1.0;
  return result;
}

enum class ContrastStatus { finite, infinite, not_estimable, not_converged };

struct WaldTest {
  double estimate = detail::not_estimable;  ///< natural logarithm
  double standard_error = detail::not_estimable;
  double z = detail::not_estimable;
  double p = detail::not_estimable;  ///< two-sided
  ContrastStatus status = ContrastStatus::not_estimable;
};

/// From the estimate (NaN: not estimable) and a callable that gives its variance and is called where it is finite.
template <class Variance>
WaldTest wald_test(double estimate, Variance&& variance) {
  WaldTest result;
  result.estimate = estimate;
  if (std::isnan(estimate)) return result;
  if (std::isinf(estimate)) {
    result.status = ContrastStatus::infinite;
    return result;
  }
  result.status = ContrastStatus::finite;
  result.standard_error = std::sqrt(variance());
  result.z = estimate / result.standard_error;
  result.p = math::normal_two_sided(result.z);
  return result;
}

struct LikelihoodRatioTest {
  double statistic = detail::not_estimable;  ///< >= 0
  double p = detail::not_estimable;
};

struct ContrastOptions {
  bool likelihood_ratio = true;
  int max_iterations = 100;
  Index block_genes = 256;
  std::function<void(Index, Index)> progress = {};
  std::stop_token cancellation = {};
};

struct ContrastResults {
  std::vector<std::string> names;                      ///< of the contrasts
  Matrix<double> estimate, standard_error, z, wald_p;  ///< [contrasts x genes]
  Matrix<double> ratio, ratio_p;                       ///< [contrasts x genes], likelihood ratio and its p
  std::vector<ContrastStatus> status;                  ///< [contrasts x genes]
};

namespace detail {

/// The two levels of a contrast w (e_t - e_u), or -1, -1.
inline std::pair<Index, Index> compared_levels(const std::vector<double>& weights) {
  Index first = -1, second = -1;
  double sum = 0.0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0.0) continue;
    sum += weights[i];
    if (first < 0) {
      first = static_cast<Index>(i);
    } else if (second < 0) {
      second = static_cast<Index>(i);
    } else {
      return {-1, -1};
    }
  }
  return second >= 0 && sum == 0.0 ? std::pair{first, second} : std::pair<Index, Index>{-1, -1};
}

inline bool all_weights_zero(const std::vector<double>& weights) {
  return std::all_of(weights.begin(), weights.end(), [](double w) { return w == 0.0; });
}

/// Tests that two levels have the same coefficient: `gene` holds the full model at its maximum `full` and is left at
/// that of the merged one. NaN where the two are not linked, both have no counts, or Newton's method does not settle.
inline LikelihoodRatioTest test_equality(MergedGene& gene, const MergedLevels& merged, double phi, double full,
                                         bool comparable) {
  LikelihoodRatioTest result;
  if (!comparable || !gene.maximise(merged, phi)) return result;
  result.statistic = std::max(0.0, 2.0 * (full - gene.log_likelihood()));
  result.p = math::chi_squared_upper_tail(result.statistic, 1.0);
  return result;
}
/// `gene` holds the full model.
inline bool comparable_types(const MergedGene& gene, Index t, Index u) {
  const bool a = gene.type_has_counts(t), b = gene.type_has_counts(u);
  return a && b ? gene.component_of_type(t) == gene.component_of_type(u) : a || b;
}
inline bool comparable_batches(const MergedGene& gene, Index a, Index b) {
  const bool x = gene.batch_has_counts(a), y = gene.batch_has_counts(b);
  return x && y ? gene.component_of_batch(a) == gene.component_of_batch(b) : x || y;
}

}  // namespace detail

/// Tests contrasts for every gene of `counts`, at the dispersions and size factors of `fitted`, the result of fit() on
/// the same counts and design. Reads the source once; genes in parallel, results independent of the number of threads.
/// Throws ShapeError where lengths differ, ValueError on weights that are not finite and designs with covariates,
/// errors of fit(). Cost of a gene: one fit at its dispersion, and one more per contrast for the likelihood ratio.
template <GeneBlockSource Source>
ContrastResults test_contrasts(CpuContext& context, Source&& counts, const Design& design, const FitResults& fitted,
                               const std::vector<Contrast>& contrasts, const ContrastOptions& options = {}) {
  const Index genes = counts.genes(), number = static_cast<Index>(contrasts.size());
  require_size("test_contrasts", "design", "cells", design.cells(), counts.cells(), "cells of counts");
  require_size("test_contrasts", "fitted", "genes", fitted.dispersion.size(), genes, "genes of counts");
  require_value(options.block_genes > 0 && options.max_iterations > 0, "test_contrasts", "an option is not positive");
  require_value(design.factors() == 1, "test_contrasts", "the design has covariates beside types and batches");
  ContrastResults results;
  for (const Contrast& contrast : contrasts) {
    if (!contrast.types.empty())
      require_size("test_contrasts", "contrast '" + contrast.name + "'", "type weights",
                   static_cast<Index>(contrast.types.size()), design.types(), "types");
    if (!contrast.batches.empty())
      require_size("test_contrasts", "contrast '" + contrast.name + "'", "batch weights",
                   static_cast<Index>(contrast.batches.size()), design.batches(), "batches");
    for (const auto* weights : {&contrast.types, &contrast.batches})
      for (const double w : *weights)
        if (!std::isfinite(w))
          throw ValueError("test_contrasts: contrast '" + contrast.name + "' has a weight that is not finite");
    if (detail::all_weights_zero(contrast.types) && detail::all_weights_zero(contrast.batches))
      throw ValueError("test_contrasts: contrast '" + contrast.name + "' has no weight but 0");
    results.names.push_back(contrast.name);
  }
  const CellGroups groups(design, fitted.size_factors.view());
  const GroupSums sums(context, groups);
  results.estimate = Matrix<double>(number, genes);
  results.estimate.fill(detail::not_estimable);
  results.standard_error = results.z = results.wald_p = results.ratio = results.ratio_p = results.estimate;
  results.status.assign(static_cast<std::size_t>(number * genes), ContrastStatus::not_converged);
  const MergedLevels full = MergedLevels::none(groups.types(), groups.batches());

  const auto test_gene = [&](MergedGene& gene, const GeneBlock& block, Index r) {
    const Index g = block.first_gene + r;
    const double phi = fitted.dispersion[g];
    gene.load(g, block.cells_of(r), block.counts_of(r));
    bool at_full = gene.maximise(full, phi);
    if (!at_full) return;
    const double likelihood = gene.log_likelihood();
    for (Index c = 0; c < number; ++c) {
      const Contrast& contrast = contrasts[static_cast<std::size_t>(c)];
      if (!at_full) at_full = gene.maximise(full, phi);
      const WaldTest wald = wald_test(gene.estimate(contrast.types, contrast.batches),
                                      [&] { return gene.variance(contrast.types, contrast.batches); });
      results.estimate(c, g) = wald.estimate;
      results.standard_error(c, g) = wald.standard_error;
      results.z(c, g) = wald.z;
      results.wald_p(c, g) = wald.p;
      results.status[static_cast<std::size_t>(c * genes + g)] = wald.status;
      if (!options.likelihood_ratio) continue;
      const auto [t, u] = detail::all_weights_zero(contrast.batches) ? detail::compared_levels(contrast.types)
                                                                     : std::pair<Index, Index>{-1, -1};
      const auto [a, b] = detail::all_weights_zero(contrast.types) ? detail::compared_levels(contrast.batches)
                                                                   : std::pair<Index, Index>{-1, -1};
      MergedLevels merged = full;
      LikelihoodRatioTest ratio;
      if (t >= 0) {
        merged.types[static_cast<std::size_t>(u)] = t;
        ratio = detail::test_equality(gene, merged, phi, likelihood, detail::comparable_types(gene, t, u));
      } else if (a >= 0) {
        merged.batches[static_cast<std::size_t>(b)] = a;
        ratio = detail::test_equality(gene, merged, phi, likelihood, detail::comparable_batches(gene, a, b));
      } else {
        continue;
      }
      at_full = false;
      results.ratio(c, g) = ratio.statistic;
      results.ratio_p(c, g) = ratio.p;
    }
  };
  std::vector<MergedGene> workers(static_cast<std::size_t>(context.threads()),
                                  MergedGene(groups, sums, options.max_iterations));
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("test_contrasts: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) +
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
  return results;
}

/// The same for counts in memory, a SparseMatrix<T> or a dense MatrixView<T>, genes x cells or the other way round.
template <class Counts>
requires(!GeneBlockSource<const Counts&> && !GeneBlockSource<Counts>) ContrastResults
    test_contrasts(CpuContext& context, const Counts& counts, const Design& design, const FitResults& fitted,
                   const std::vector<Contrast>& contrasts, const ContrastOptions& options = {},
                   Orientation orientation = Orientation::genes_by_cells) {
  return test_contrasts(context, gene_blocks(counts, orientation), design, fitted, contrasts, options);
}

}  // namespace eosin::glm
