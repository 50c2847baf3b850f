#pragma once

// Negative binomial GLM of counts on cell type, any number of categorical and continuous covariates, and an offset per
// cell or per cell and gene:
//
//   y_i ~ NB(mu_i, phi_g),  log mu_i = log s_i + o_ig + beta_t(i) + sum_f gamma_f,l_f(i) + x_i'delta
//
// The same estimator as fit.hpp (Newton on the observed information, dispersion by the adjusted profile likelihood,
// the same statuses), with a pass over all cells of each gene instead of the collapsed zeros: for what the groups of
// types x batches cannot express. On designs that both take, the results agree to rounding. The mathematics of a gene
// is in dense_solver.hpp, the design in dense_design.hpp, derivation in docs/derivations/dense_glm.md.
//
// Separation is decided exactly on the categorical part (separation.hpp). Where a continuous covariate lets a mean
// vanish, Newton's method does not settle: the gene's status is iteration_limit and its coefficients are NaN.

#include <eosin/core/context.hpp>
#include <eosin/glm/dense_solver.hpp>
#include <eosin/glm/dispersion_search.hpp>
#include <eosin/glm/fit.hpp>

#include <cmath>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

struct DenseFitOptions {
  Dispersion dispersion = CoxReid{};
  SizeFactors size_factors = SizeFactorMethod::total;
  /// Added to the log size factors, [cells] or empty.
  std::vector<double> log_offsets = {};
  /// Fills [cells] with a gene's own log offsets, added to those above; called by several threads at once.
  std::function<void(Index gene, VectorView<double> log_offsets)> gene_log_offsets = {};
  int max_iterations = 100;  ///< Newton steps at one dispersion
  bool standard_errors = true;
  Index block_genes = 256;
  std::function<void(Index, Index)> progress = {};  ///< genes done, all genes; called by the calling thread
  std::stop_token cancellation = {};
  /// Called for each gene with its fit (estimate() and variance() of any combination of coefficients) by the thread
  /// that made it; several at once. Standard errors must be on.
  std::function<void(Index gene, DenseSolver& fit)> inspect = {};
};

struct DenseFitResults {
  std::vector<std::string> column_names;  ///< as DenseDesign has them
  /// [genes x columns], log; 0 for the first level with counts of a covariate, -inf without counts, NaN not estimable.
  Matrix<double> coefficients;
  Matrix<double> standard_errors;  ///< [genes x columns]; 0 for references, NaN beside what is not finite
  Vector<double> mean;             ///< [genes], mean count over the cells that take part
  Vector<double> dispersion, deviance, log_likelihood;  ///< [genes]
  std::vector<int> iterations;                          ///< [genes], Newton steps over all dispersions tried
  std::vector<FitStatus> status;                        ///< [genes]
  std::vector<DispersionStatus> dispersion_status;      ///< [genes]
  Vector<double> size_factors;                          ///< [cells]
  Index cells_used = 0;
};

namespace detail {

inline double settle_dispersion(DenseSolver& solver, const Dispersion& choice, Index gene, DispersionStatus& how) {
  double phi = 0.0;
  if (const auto* fixed = std::get_if<Fixed>(&choice)) {
    how = DispersionStatus::given;
    const auto* one = std::get_if<double>(&fixed->value);
    phi = one != nullptr ? *one : std::get<std::vector<double>>(fixed->value)[static_cast<std::size_t>(gene)];
  } else if (solver.status() == FitStatus::no_counts) {
    how = DispersionStatus::none;
  } else if (const auto* adjusted = std::get_if<CoxReid>(&choice)) {
    phi = search_dispersion(solver, adjusted->factor, adjusted->largest, how);
  } else {
    phi = search_dispersion(solver, 0.0, std::get<MaximumLikelihood>(choice).largest, how);
  }
  solver.solve(phi);
  return phi;
}

}  // namespace detail

/// Fits every gene of `counts` (a GeneBlockSource, genes x cells) on `design`. Genes of a block in parallel; results do
/// not depend on threads or blocks. Memory per thread: five doubles per cell. Throws ShapeError where lengths differ,
/// ValueError on bad counts, size factors, offsets and options, DesignError as DenseCells does, Cancelled. Cost of a
/// gene: some four passes of O(cells (1 + continuous^2)) at a given dispersion, some thirty with one to estimate.
template <GeneBlockSource Source>
DenseFitResults fit_dense(CpuContext& context, Source&& counts, const DenseDesign& design,
                          const DenseFitOptions& options = {}) {
  require_size("fit_dense", "design", "cells", design.cells(), counts.cells(), "cells of counts");
  require_value(options.max_iterations > 0, "fit_dense", "max_iterations is not positive");
  require_value(options.block_genes > 0, "fit_dense", "block_genes is not positive");
  require_value(!options.inspect || options.standard_errors, "fit_dense", "inspect needs standard_errors");
  const bool common = !options.log_offsets.empty(), offsets = common || options.gene_log_offsets;
  if (common)
    require_size("fit_dense", "log_offsets", "elements", static_cast<Index>(options.log_offsets.size()), design.cells(),
                 "cells");
  const Index genes = counts.genes();
  detail::check_dispersion(options.dispersion, genes);

  DenseFitResults results;
  results.column_names = design.column_names();
  results.size_factors = size_factors(counts, options.size_factors);
  const DenseCells cells(design, results.size_factors.view());
  results.cells_used = cells.used();
  const auto size = static_cast<std::size_t>(genes);
  results.coefficients = Matrix<double>(genes, design.columns());
  results.standard_errors = Matrix<double>(options.standard_errors ? genes : 0, design.columns());
  results.mean = results.dispersion = results.deviance = results.log_likelihood = Vector<double>(genes);
  results.iterations.resize(size);
  results.status.resize(size);
  results.dispersion_status.resize(size);

  struct Worker {
    DenseSolver solver;
    std::vector<double> offsets;
  };
  std::vector<Worker> workers(static_cast<std::size_t>(context.threads()),
                              Worker{DenseSolver(cells, options.max_iterations), {}});
  const auto fit_gene = [&](Worker& worker, const GeneBlock& block, Index r) {
    const Index gene = block.first_gene + r;
    const auto g = static_cast<std::size_t>(gene);
    if (offsets) {
      worker.offsets.assign(static_cast<std::size_t>(design.cells()), 0.0);
      if (options.gene_log_offsets) options.gene_log_offsets(gene, worker.offsets);
      for (std::size_t i = 0; common && i < worker.offsets.size(); ++i) worker.offsets[i] += options.log_offsets[i];
    }
    DenseSolver& solver = worker.solver;
    solver.load(gene, block.cells_of(r), block.counts_of(r), worker.offsets);
    const double phi = detail::settle_dispersion(solver, options.dispersion, gene, results.dispersion_status[g]);
    results.dispersion[gene] = phi;
    results.status[g] = solver.status();
    results.iterations[g] = solver.iterations();
    results.mean[gene] = solver.total() / static_cast<double>(cells.used());
    results.deviance[gene] = solver.deviance(phi);
    results.log_likelihood[gene] = solver.log_likelihood(phi);
    solver.coefficients(results.coefficients.row(gene));
    if (!options.standard_errors) return;
    solver.prepare_standard_errors(phi);
    solver.standard_errors(results.standard_errors.row(gene));
    if (options.inspect) options.inspect(gene, solver);
  };
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("fit_dense: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) + " genes");
  };
  counts.rewind();
  for (GeneBlock block = counts.next(options.block_genes); block.genes() > 0;
       block = counts.next(options.block_genes)) {
    context.pool().run(block.genes(), [&](Index r, int worker) {
      check_cancellation(block.first_gene);
      fit_gene(workers[static_cast<std::size_t>(worker)], block, r);
    });
    if (options.progress) options.progress(block.first_gene + block.genes(), genes);
    check_cancellation(block.first_gene + block.genes());
  }
  counts.rewind();
  return results;
}

/// The same for counts in memory, a SparseMatrix<T> or a dense MatrixView<T>, genes x cells or the other way round.
template <class Counts>
requires(!GeneBlockSource<const Counts&> && !GeneBlockSource<Counts>) DenseFitResults
    fit_dense(CpuContext& context, const Counts& counts, const DenseDesign& design, const DenseFitOptions& options = {},
              Orientation orientation = Orientation::genes_by_cells) {
  return fit_dense(context, gene_blocks(counts, orientation), design, options);
}

}  // namespace eosin::glm
