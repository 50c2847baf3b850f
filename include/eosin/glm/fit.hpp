#pragma once

// Negative binomial GLM of counts on cell type and batch, gene by gene:
//
//   y_i ~ NB(mu_i, phi_g),  Var = mu + phi_g mu^2,  log mu_i = log s_i + beta_{t(i), g} + gamma_{b(i), g}
//
// Coefficients by safeguarded Newton on the observed information, in double, to about 1e-12; the dispersion is given or
// maximises the profile likelihood, by default with Cox and Reid's adjustment. Counts are sparse throughout; the cost
// of a gene is that of its nonzeros and of the groups (distinct pairs of type and batch), not of the cells. The
// mathematics of a gene is in gene_solver.hpp, the derivation in docs/derivations/nb_glm.md.
//
// What has no finite estimate is said, not approximated: a type without counts has coefficient -inf and prototype 0; a
// coefficient that the counts do not determine is NaN ("not estimable") and the gene's status says why.
//
// Prototypes: log p_tg = log sum_b w_b exp(beta_tg + gamma_bg), the mean of the type at size factor 1, standardised
// over the batches, so that a batch without counts of the gene does no harm.

#include <eosin/core/context.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/gene_blocks.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/size_factors.hpp>

#include <cmath>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace eosin::glm {

/// Given dispersions: one for all genes, or one per gene. 0 is Poisson.
struct Fixed {
  std::variant<double, std::vector<double>> value = 0.0;
};
/// Maximum of the profile likelihood.
struct MaximumLikelihood {
  double largest = 1e8;
};
/// Maximum of the profile likelihood less (factor / 2) log det X'WX.
struct CoxReid {
  double factor = 0.99;  ///< glmGamPoi's; 1 is Cox and Reid's own
  double largest = 1e8;
};
using Dispersion = std::variant<CoxReid, MaximumLikelihood, Fixed>;

/// Weights of the batches in a prototype: the same for each, by their number of cells, or given (>= 0, not all 0;
/// scaled to sum 1).
struct EqualWeights {};
struct WeightsByCells {};
using BatchWeights = std::variant<EqualWeights, WeightsByCells, std::vector<double>>;

struct FitOptions {
  Dispersion dispersion = CoxReid{};
  SizeFactors size_factors = SizeFactorMethod::total;
  BatchWeights batch_weights = EqualWeights{};
  int max_iterations = 100;  ///< Newton steps at one dispersion; 3 or 4 are usual
  bool standard_errors = true;
  Index block_genes = 256;  ///< genes that are held in memory at a time
  /// Called by the calling thread after each block with the genes done and all genes.
  std::function<void(Index, Index)> progress = {};
  /// When stop is requested, fit throws Cancelled between genes.
  std::stop_token cancellation = {};
};

struct FitResults {
  Matrix<double> type_coefficients;      ///< [genes x types], log; -inf without counts, NaN not estimable
  Matrix<double> batch_coefficients;     ///< [genes x batches]; 0 for the first batch with counts of the gene
  Matrix<double> type_standard_errors;   ///< [genes x types]; NaN beside a coefficient that is not finite
  Matrix<double> batch_standard_errors;  ///< [genes x batches]; 0 for the reference
  Matrix<double> log_prototypes;  ///< [types x genes], standardised over batches; -inf is an exact 0, NaN not estimable
  Matrix<double> log_prototype_errors;              ///< [types x genes], standard errors of log_prototypes
  Vector<double> mean;                              ///< [genes], mean count over the cells that take part
  Vector<double> dispersion;                        ///< [genes]
  Vector<double> deviance;                          ///< [genes]
  Vector<double> log_likelihood;                    ///< [genes]
  std::vector<int> iterations;                      ///< [genes], Newton steps over all dispersions tried
  std::vector<FitStatus> status;                    ///< [genes]
  std::vector<DispersionStatus> dispersion_status;  ///< [genes]
  Vector<double> size_factors;                      ///< [cells]
  Vector<double> batch_weights;                     ///< [batches], sum 1
  Index cells_used = 0;                             ///< cells with both labels and a size factor above 0
};

namespace detail {

inline Vector<double> resolve_batch_weights(const BatchWeights& choice, const CellGroups& groups) {
  Vector<double> weights(groups.batches());
  if (const auto* given = std::get_if<std::vector<double>>(&choice)) {
    require_size("fit", "batch_weights", "elements", static_cast<Index>(given->size()), groups.batches(), "batches");
    std::copy(given->begin(), given->end(), weights.begin());
  } else if (std::holds_alternative<EqualWeights>(choice)) {
    weights.fill(1.0);
  } else {
    for (Index k = 0; k < groups.groups(); ++k)
      weights[groups.batch(k)] += static_cast<double>(groups.size_factors(k).size());
  }
  double sum = 0.0;
  for (const double w : weights) {
    require_value(w >= 0.0 && std::isfinite(w), "fit", "batch_weights: a weight is not a finite number >= 0");
    sum += w;
  }
  require_value(sum > 0.0, "fit", "batch_weights: all are 0");
  for (double& w : weights) w /= sum;
  return weights;
}

inline void check_dispersion(const Dispersion& choice, Index genes) {
  const auto valid = [](double phi) { return phi >= 0.0 && std::isfinite(phi); };
  if (const auto* fixed = std::get_if<Fixed>(&choice)) {
    if (const auto* one = std::get_if<double>(&fixed->value)) {
      require_value(valid(*one), "fit", "dispersion: expected a finite number >= 0, got " + std::to_string(*one));
      return;
    }
    const auto& values = std::get<std::vector<double>>(fixed->value);
    require_size("fit", "dispersion", "elements", static_cast<Index>(values.size()), genes, "genes");
    for (std::size_t g = 0; g < values.size(); ++g)
      require_value(valid(values[g]), "fit",
                    "dispersion of gene " + std::to_string(g) + " (from 0): expected a finite number >= 0");
  } else if (const auto* adjusted = std::get_if<CoxReid>(&choice)) {
    require_value(adjusted->factor >= 0.0 && adjusted->factor <= 1.0, "fit", "CoxReid.factor is not in [0, 1]");
    require_value(valid(adjusted->largest) && adjusted->largest > 0.0, "fit",
                  "CoxReid.largest is not a positive number");
  } else {
    const double largest = std::get<MaximumLikelihood>(choice).largest;
    require_value(valid(largest) && largest > 0.0, "fit", "MaximumLikelihood.largest is not a positive number");
  }
}

/// Dispersion of the gene that `solver` holds, its coefficients left at that dispersion.
inline double settle_dispersion(GeneSolver& solver, const Dispersion& choice, Index gene, DispersionStatus& how) {
  double phi = 0.0;
  if (const auto* fixed = std::get_if<Fixed>(&choice)) {
    how = DispersionStatus::given;
    const auto* one = std::get_if<double>(&fixed->value);
    phi = one != nullptr ? *one : std::get<std::vector<double>>(fixed->value)[static_cast<std::size_t>(gene)];
  } else if (const auto* adjusted = std::get_if<CoxReid>(&choice)) {
    phi = solver.maximise_dispersion(adjusted->factor, adjusted->largest, how);
  } else {
    phi = solver.maximise_dispersion(0.0, std::get<MaximumLikelihood>(choice).largest, how);
  }
  solver.solve(phi);
  return phi;
}

}  // namespace detail

/// Fits every gene of `counts` (genes x cells) on `design`. Reads the source once (twice where size factors are
/// computed from it) in blocks of genes, genes of a block in parallel; the results do not depend on the number of
/// threads or the size of the blocks. Throws ShapeError where design and counts differ in cells, ValueError on counts
/// that are not integers >= 0 and on options out of range, DesignError as Design does, Cancelled.
template <GeneBlockSource Source>
FitResults fit(CpuContext& context, Source&& counts, const Design& design, const FitOptions& options = {}) {
  require_size("fit", "design", "cells", design.cells(), counts.cells(), "cells of counts");
  require_value(options.max_iterations > 0, "fit", "max_iterations is not positive");
  require_value(options.block_genes > 0, "fit", "block_genes is not positive");
  const Index genes = counts.genes();
  detail::check_dispersion(options.dispersion, genes);

  FitResults results;
  results.size_factors = size_factors(counts, options.size_factors);
  const CellGroups groups(design, results.size_factors.view());
  const GroupSums sums(context, groups);
  results.batch_weights = detail::resolve_batch_weights(options.batch_weights, groups);
  results.cells_used = groups.used();
  const Index types = groups.types(), batches = groups.batches();
  results.type_coefficients = Matrix<double>(genes, types);
  results.batch_coefficients = Matrix<double>(genes, batches);
  results.type_standard_errors = Matrix<double>(options.standard_errors ? genes : 0, types);
  results.batch_standard_errors = Matrix<double>(options.standard_errors ? genes : 0, batches);
  results.log_prototypes = Matrix<double>(types, genes);
  results.log_prototype_errors = Matrix<double>(options.standard_errors ? types : 0, genes);
  results.mean = Vector<double>(genes);
  results.dispersion = Vector<double>(genes);
  results.deviance = Vector<double>(genes);
  results.log_likelihood = Vector<double>(genes);
  results.iterations.resize(static_cast<std::size_t>(genes));
  results.status.resize(static_cast<std::size_t>(genes));
  results.dispersion_status.resize(static_cast<std::size_t>(genes));

  const auto fit_gene = [&](GeneSolver& solver, const GeneBlock& block, Index r) {
    const Index gene = block.first_gene + r;
    const auto g = static_cast<std::size_t>(gene);
    solver.load(gene, block.cells_of(r), block.counts_of(r));
    const double phi = detail::settle_dispersion(solver, options.dispersion, gene, results.dispersion_status[g]);
    results.dispersion[gene] = phi;
    results.status[g] = solver.status();
    results.iterations[g] = solver.iterations();
    results.mean[gene] = solver.total() / static_cast<double>(groups.used());
    results.deviance[gene] = solver.deviance(phi);
    results.log_likelihood[gene] = solver.log_likelihood(phi);
    solver.coefficients(results.type_coefficients.row(gene), results.batch_coefficients.row(gene));
    bool with_errors = false;
    if (options.standard_errors) {
      with_errors = solver.prepare_standard_errors(phi);
      if (with_errors) {
        solver.standard_errors(results.type_standard_errors.row(gene), results.batch_standard_errors.row(gene));
      } else {
        for (Index t = 0; t < types; ++t) results.type_standard_errors(gene, t) = detail::not_estimable;
        for (Index b = 0; b < batches; ++b) results.batch_standard_errors(gene, b) = detail::not_estimable;
      }
    }
    for (Index t = 0; t < types; ++t) {
      const auto prototype = solver.log_prototype(t, results.batch_weights.view(), with_errors);
      results.log_prototypes(t, gene) = prototype.value;
      if (options.standard_errors) results.log_prototype_errors(t, gene) = prototype.standard_error;
    }
  };

  std::vector<GeneSolver> solvers(static_cast<std::size_t>(context.threads()),
                                  GeneSolver(groups, sums, options.max_iterations));
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("fit: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) + " genes");
  };
  counts.rewind();
  for (GeneBlock block = counts.next(options.block_genes); block.genes() > 0;
       block = counts.next(options.block_genes)) {
    context.pool().run(block.genes(), [&](Index r, int worker) {
      check_cancellation(block.first_gene);
      fit_gene(solvers[static_cast<std::size_t>(worker)], block, r);
    });
    if (options.progress) options.progress(block.first_gene + block.genes(), genes);
    check_cancellation(block.first_gene + block.genes());
  }
  counts.rewind();
  return results;
}

/// The same for counts in memory, a SparseMatrix<T> or a dense MatrixView<T>, genes x cells or the other way round.
template <class Counts>
requires(!GeneBlockSource<const Counts&> && !GeneBlockSource<Counts>) FitResults
    fit(CpuContext& context, const Counts& counts, const Design& design, const FitOptions& options = {},
        Orientation orientation = Orientation::genes_by_cells) {
  auto source = gene_blocks(counts, orientation);
  return fit(context, source, design, options);
}

}  // namespace eosin::glm
