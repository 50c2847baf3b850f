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
// Prototypes: log p_tg = beta_tg + log sum_b w_b exp(gamma_bg) + sum_c log sum_l v_cl exp(delta_clg), the mean of the
// type at size factor 1, standardised over the batches, so that a batch without counts of the gene does no harm, and
// over the levels l of each further covariate c with their shares v_cl of the cells (as if batches and covariates were
// combined at random).

#include <eosin/core/context.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/gene_blocks.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/size_factors.hpp>

#include <cmath>
#include <functional>
#include <span>
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
/// The one-pass form of glmGamPoi: coefficients at a first estimate of the dispersion (second moment about the Poisson
/// fit), then the maximum over the dispersion of the likelihood less (factor / 2) log det X'WX with all means fixed,
/// then the coefficients once more. Off the maximum of the profile by some per cent; for comparisons.
struct CoxReidPlugin {
  double factor = 0.99;
  double largest = 1e8;
};
/// What a rule of shrinkage is told of the genes, and says: dispersions >= 0 to use. A gene without counts has mean 0.
struct GeneDispersions {
  VectorView<const double> mean;        ///< [genes] mean count over the cells that take part
  VectorView<const double> dispersion;  ///< [genes] Cox-Reid estimates
  VectorView<const double> precision;   ///< [genes] minus the second derivative of the adjusted profile log-likelihood
                                        ///< in log dispersion at the estimate; 0 where that is 0
};
/// Cox-Reid estimates of all genes, moved by `shrink`, then the coefficients at those. Reads the counts twice.
struct Shrunken {
  std::function<std::vector<double>(const GeneDispersions&)> shrink;
  CoxReid estimate = {};
};
using Dispersion = std::variant<CoxReid, MaximumLikelihood, Fixed, CoxReidPlugin, Shrunken>;

/// Weights of the batches in a prototype: the same for each, by their number of cells, or given (>= 0, not all 0;
/// scaled to sum 1).
struct EqualWeights {};
struct WeightsByCells {};
using BatchWeights = std::variant<EqualWeights, WeightsByCells, std::vector<double>>;

/// The fit of one gene while its factorised information is at hand. Valid during the call.
class GeneFit {
 public:
  GeneFit(GeneSolver& solver, double dispersion, bool has_variances)
      : solver_(&solver), dispersion_(dispersion), has_variances_(has_variances) {}

  FitStatus status() const { return solver_->status(); }
  double dispersion() const { return dispersion_; }
  /// The coefficient is a finite number.
  bool estimable_type(Index type) const { return solver_->estimable_type(type); }
  bool estimable_column(Index column) const { return solver_->estimable_column(column); }
  /// Coefficients of a type and of a column (a batch, or a level of a covariate: Design::columns); -inf without counts,
  /// NaN where not estimable.
  double type_coefficient(Index type) const { return solver_->type_coefficient(type); }
  double column_coefficient(Index column) const { return solver_->column_coefficient(column); }
  /// Variance of sum_t types[t] beta_t + sum_c columns[c] gamma_c; an empty span is all 0. NaN where a coefficient with
  /// weight is not estimable or the information is singular. Cost O(types columns + columns^2).
  double variance(std::span<const double> types, std::span<const double> columns = {}) const {
    return has_variances_ ? solver_->variance(types, columns) : detail::not_estimable;
  }
  /// Covariance of the coefficients of two types.
  double covariance_of_types(Index one, Index other) const {
    return has_variances_ && estimable_type(one) && estimable_type(other) ? solver_->covariance_of_types(one, other)
                                                                          : detail::not_estimable;
  }

 private:
  GeneSolver* solver_;
  double dispersion_;
  bool has_variances_;
};

struct FitOptions {
  Dispersion dispersion = CoxReid{};
  SizeFactors size_factors = SizeFactorMethod::total;
  BatchWeights batch_weights = EqualWeights{};
  int max_iterations = 100;  ///< Newton steps at one dispersion; 3 or 4 are usual
  bool standard_errors = true;
  /// Genes between two calls of `progress`, and those of a GeneBlockSource that are held in memory at a time.
  Index block_genes = 256;
  /// Called by the calling thread after each block with the genes done and all genes.
  std::function<void(Index, Index)> progress = {};
  /// When stop is requested, fit throws Cancelled between genes.
  std::stop_token cancellation = {};
  /// Called once for each gene, by several threads at a time and in any order, with the final fit.
  std::function<void(Index gene, const GeneFit&)> inspect = {};
};

struct FitResults {
  Matrix<double> type_coefficients;   ///< [genes x types], log; -inf without counts, NaN not estimable
  Matrix<double> batch_coefficients;  ///< [genes x batches]; 0 for the first batch with counts of the gene
  Matrix<double>
      covariate_coefficients;           ///< [genes x levels of all covariates], one covariate after the other, likewise
  Matrix<double> type_standard_errors;  ///< [genes x types]; NaN beside a coefficient that is not finite
  Matrix<double> batch_standard_errors;      ///< [genes x batches]; 0 for the reference
  Matrix<double> covariate_standard_errors;  ///< [genes x levels of all covariates]
  Matrix<double> log_prototypes;  ///< [types x genes], standardised over batches; -inf is an exact 0, NaN not estimable
  Matrix<double> log_prototype_errors;  ///< [types x genes], standard errors of log_prototypes
  Vector<double> mean;                  ///< [genes], mean count over the cells that take part
  Vector<double> dispersion;            ///< [genes]
  Vector<double> gene_wise_dispersion;  ///< [genes], before shrinkage
  /// [genes], minus the second derivative of the adjusted profile log-likelihood in log dispersion at the gene's own
  /// estimate, to some three digits; 0 where that is 0 or given.
  Vector<double> dispersion_precision;
  Vector<double> deviance;                          ///< [genes]
  Vector<double> log_likelihood;                    ///< [genes]
  std::vector<int> iterations;                      ///< [genes], evaluations of derivatives
  std::vector<FitStatus> status;                    ///< [genes]
  std::vector<DispersionStatus> dispersion_status;  ///< [genes]
  Vector<double> size_factors;                      ///< [cells]
  Vector<double> batch_weights;                     ///< [batches], sum 1
  Vector<double> level_weights;  ///< [columns], those of the batches, then the levels' shares of each covariate
  Index cells_used = 0;          ///< cells with all labels and a size factor above 0
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

/// Weights of all columns: those of the batches, and for a covariate its levels' shares of the cells.
inline Vector<double> level_weights(const Vector<double>& batch_weights, const CellGroups& groups) {
  Vector<double> weights(groups.columns());
  std::copy(batch_weights.begin(), batch_weights.end(), weights.begin());
  for (Index k = 0; k < groups.groups(); ++k)
    for (Index f = 1; f < groups.factors(); ++f)
      weights[groups.column(k, f)] +=
          static_cast<double>(groups.end(k) - groups.begin(k)) / static_cast<double>(groups.used());
  return weights;
}

inline void check_dispersion(const Dispersion& choice, Index genes) {
  const auto valid = [](double phi) { return phi >= 0.0 && std::isfinite(phi); };
  const auto check_adjusted = [&](const std::string& name, double factor, double largest) {
    require_value(factor >= 0.0 && factor <= 1.0, "fit", name + ".factor is not in [0, 1]");
    require_value(valid(largest) && largest > 0.0, "fit", name + ".largest is not a positive number");
  };
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
    check_adjusted("CoxReid", adjusted->factor, adjusted->largest);
  } else if (const auto* plugin = std::get_if<CoxReidPlugin>(&choice)) {
    check_adjusted("CoxReidPlugin", plugin->factor, plugin->largest);
  } else if (const auto* shrunken = std::get_if<Shrunken>(&choice)) {
    check_adjusted("Shrunken.estimate", shrunken->estimate.factor, shrunken->estimate.largest);
    require_value(static_cast<bool>(shrunken->shrink), "fit", "Shrunken.shrink is empty");
  } else {
    check_adjusted("MaximumLikelihood", 0.0, std::get<MaximumLikelihood>(choice).largest);
  }
}

/// Dispersion of the gene that `solver` holds.
inline DispersionEstimate estimate_dispersion(GeneSolver& solver, const Dispersion& choice, Index gene) {
  if (const auto* fixed = std::get_if<Fixed>(&choice)) {
    const auto* one = std::get_if<double>(&fixed->value);
    return {one != nullptr ? *one : std::get<std::vector<double>>(fixed->value)[static_cast<std::size_t>(gene)],
            DispersionStatus::given, 0.0};
  }
  if (const auto* adjusted = std::get_if<CoxReid>(&choice))
    return solver.maximise_dispersion(adjusted->factor, adjusted->largest);
  if (const auto* plugin = std::get_if<CoxReidPlugin>(&choice))
    return solver.maximise_dispersion_plugin(plugin->factor, plugin->largest);
  if (const auto* shrunken = std::get_if<Shrunken>(&choice))
    return solver.maximise_dispersion(shrunken->estimate.factor, shrunken->estimate.largest);
  return solver.maximise_dispersion(0.0, std::get<MaximumLikelihood>(choice).largest);
}

/// Columns that a thread turns round for itself.
template <class Source>
concept ColumnSource = requires(Source& source, CpuContext& context) {
  source.scan(context);
};
/// Rows that any thread reads in place.
template <class Source>
concept RowSource = requires(const Source& source) {
  source.row(Index{});
};

/// Calls f(gene, counts by position, worker) for each gene, in parallel; after each block of at
/// most `most` genes between(genes done), by the calling thread. `most` <= 0: one block.
template <class Source, class F, class Between>
void for_each_gene(CpuContext& context, Source& source, const CellGroups& groups, Index most, F&& f,
                   Between&& between) {
  const Index genes = source.genes(), block = most > 0 ? most : std::max<Index>(genes, 1);
  const auto workers = static_cast<std::size_t>(context.threads());
  if constexpr (ColumnSource<Source>) {
    source.scan(context);
    std::vector<typename Source::Part> parts(workers);
    Index first = 0;
    while (first < source.parts()) {
      Index last = first + 1;
      while (last < source.parts() && source.first_gene(last) - source.first_gene(first) < block) ++last;
      context.pool().run(last - first, [&](Index task, int worker) {
        auto& part = parts[static_cast<std::size_t>(worker)];
        const Index number = first + task, gene = source.first_gene(number);
        source.transpose(number, groups, part);
        for (std::size_t r = 0; r < part.begin.size(); ++r)
          f(gene + static_cast<Index>(r),
            std::span<const CellCount>(part.entries.data() + part.begin[r],
                                       static_cast<std::size_t>(part.end[r] - part.begin[r])),
            worker);
      });
      first = last;
      between(source.first_gene(first));
    }
  } else {
    std::vector<GeneCounts> arrange(workers, GeneCounts(groups));
    if constexpr (RowSource<Source>) {
      for (Index first = 0; first < genes; first += block) {
        const Index last = std::min(genes, first + block);
        constexpr Index of_task = 8;
        context.pool().run((last - first + of_task - 1) / of_task, [&](Index task, int worker) {
          for (Index gene = first + task * of_task; gene < std::min(last, first + (task + 1) * of_task); ++gene) {
            const auto [cells, counts] = source.row(gene);
            f(gene, arrange[static_cast<std::size_t>(worker)].arrange(gene, cells.data(), counts.data(), cells.size()),
              worker);
          }
        });
        between(last);
      }
    } else {
      source.rewind();
      for (GeneBlock rows = source.next(block); rows.genes() > 0; rows = source.next(block)) {
        context.pool().run(rows.genes(), [&](Index r, int worker) {
          const auto cells = rows.cells_of(r);
          const auto counts = rows.counts_of(r);
          const Index gene = rows.first_gene + r;
          f(gene, arrange[static_cast<std::size_t>(worker)].arrange(gene, cells.data(), counts.data(), cells.size()),
            worker);
        });
        between(rows.first_gene + rows.genes());
      }
      source.rewind();
    }
  }
}

/// Checks the arguments, groups the cells, and makes room for the results of all genes.
template <class Source>
CellGroups prepare_fit(CpuContext& context, Source& counts, const Design& design, const FitOptions& options,
                       FitResults& results) {
  require_size("fit", "design", "cells", design.cells(), counts.cells(), "cells of counts");
  require_value(options.max_iterations > 0, "fit", "max_iterations is not positive");
  require_value(options.block_genes > 0, "fit", "block_genes is not positive");
  const Index genes = counts.genes();
  check_dispersion(options.dispersion, genes);

  results.size_factors = size_factors(context, counts, options.size_factors);
  CellGroups groups(design, results.size_factors.view());
  if constexpr (ColumnSource<Source>) {
    counts.scan(context);
    for (Index cell = 0; cell < groups.cells(); ++cell)
      if (groups.group_of(cell) == CellGroups::without_depth && counts.totals()[cell] > 0.0)
        refuse_count_without_depth(cell, counts.gene_of(cell));
  }
  results.batch_weights = resolve_batch_weights(options.batch_weights, groups);
  results.level_weights = level_weights(results.batch_weights, groups);
  results.cells_used = groups.used();
  const Index types = groups.types(), batches = groups.batches(), columns = groups.columns();
  const Index error_genes = options.standard_errors ? genes : 0;
  results.type_coefficients = Matrix<double>(genes, types);
  results.batch_coefficients = Matrix<double>(genes, batches);
  results.covariate_coefficients = Matrix<double>(genes, columns - batches);
  results.type_standard_errors = Matrix<double>(error_genes, types);
  results.batch_standard_errors = Matrix<double>(error_genes, batches);
  results.covariate_standard_errors = Matrix<double>(error_genes, columns - batches);
  results.log_prototypes = Matrix<double>(types, genes);
  results.log_prototype_errors = Matrix<double>(options.standard_errors ? types : 0, genes);
  for (Vector<double>* values : {&results.mean, &results.dispersion, &results.gene_wise_dispersion,
                                 &results.dispersion_precision, &results.deviance, &results.log_likelihood})
    *values = Vector<double>(genes);
  results.iterations.resize(static_cast<std::size_t>(genes));
  results.status.resize(static_cast<std::size_t>(genes));
  results.dispersion_status.resize(static_cast<std::size_t>(genes));
  return groups;
}

/// Values by column to those of batches and of covariates.
inline void store_columns(const Vector<double>& all, VectorView<double> of_batches, VectorView<double> of_covariates) {
  std::copy(all.begin(), all.begin() + of_batches.size(), of_batches.data());
  std::copy(all.begin() + of_batches.size(), all.end(), of_covariates.data());
}

template <class Source>
FitResults fit_source(CpuContext& context, Source& counts, const Design& design, const FitOptions& options) {
  FitResults results;
  const CellGroups groups = prepare_fit(context, counts, design, options, results);
  const GroupSums sums(context, groups);
  const Index genes = counts.genes(), types = groups.types(), columns = groups.columns();

  struct Worker {
    GeneSolver solver;
    Vector<double> columns;
  };
  std::vector<Worker> workers;
  for (int w = 0; w < context.threads(); ++w)
    workers.push_back({GeneSolver(groups, sums, options.max_iterations), Vector<double>(columns)});

  const bool needs_variances = options.standard_errors || options.inspect;
  const auto finish_gene = [&](Worker& worker, Index gene, double phi) {
    GeneSolver& solver = worker.solver;
    const auto g = static_cast<std::size_t>(gene);
    solver.solve(phi);
    results.dispersion[gene] = phi;
    results.status[g] = solver.status();
    results.iterations[g] += solver.iterations();
    solver.likelihoods(phi, results.log_likelihood[gene], results.deviance[gene]);
    solver.coefficients(results.type_coefficients.row(gene), worker.columns.view());
    store_columns(worker.columns, results.batch_coefficients.row(gene), results.covariate_coefficients.row(gene));
    const bool with_errors = needs_variances && solver.prepare_standard_errors();
    if (options.standard_errors) {
      if (with_errors) {
        solver.standard_errors(results.type_standard_errors.row(gene), worker.columns.view());
      } else {
        for (Index t = 0; t < types; ++t) results.type_standard_errors(gene, t) = not_estimable;
        worker.columns.fill(not_estimable);
      }
      store_columns(worker.columns, results.batch_standard_errors.row(gene),
                    results.covariate_standard_errors.row(gene));
    }
    for (Index t = 0; t < types; ++t) {
      const auto prototype = solver.log_prototype(t, results.level_weights.view(), with_errors);
      results.log_prototypes(t, gene) = prototype.value;
      if (options.standard_errors) results.log_prototype_errors(t, gene) = prototype.standard_error;
    }
    if (options.inspect) options.inspect(gene, GeneFit(solver, phi, with_errors));
  };
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("fit: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) + " genes");
  };
  Index done_before = 0;
  const auto between = [&](Index done) {
    done_before = done;
    if (options.progress) options.progress(done, genes);
    check_cancellation(done);
  };
  const auto silent = [&](Index done) { check_cancellation(done_before = done); };
  // In-memory counts need no blocks but to report on.
  const bool streams = !ColumnSource<Source> && !RowSource<Source>;
  const Index block = options.progress || streams ? options.block_genes : 0;

  const bool shrinks = std::holds_alternative<Shrunken>(options.dispersion);
  const auto first_pass = [&](Index gene, std::span<const CellCount> entries, int number) {
    check_cancellation(done_before);
    Worker& worker = workers[static_cast<std::size_t>(number)];
    const auto g = static_cast<std::size_t>(gene);
    worker.solver.load(entries);
    results.mean[gene] = worker.solver.total() / static_cast<double>(groups.used());
    const auto estimate = estimate_dispersion(worker.solver, options.dispersion, gene);
    results.gene_wise_dispersion[gene] = estimate.phi;
    results.dispersion_precision[gene] = estimate.precision;
    results.dispersion_status[g] = estimate.status;
    if (shrinks) {
      results.iterations[g] = worker.solver.iterations();
    } else {
      finish_gene(worker, gene, estimate.phi);
    }
  };
  if (!shrinks) {
    for_each_gene(context, counts, groups, block, first_pass, between);
    return results;
  }
  for_each_gene(context, counts, groups, block, first_pass, silent);
  const auto shrunken =
      std::get<Shrunken>(options.dispersion)
          .shrink({results.mean.view(), results.gene_wise_dispersion.view(), results.dispersion_precision.view()});
  check_dispersion(Fixed{shrunken}, genes);
  done_before = 0;
  for_each_gene(
      context, counts, groups, block,
      [&](Index gene, std::span<const CellCount> entries, int number) {
        check_cancellation(done_before);
        Worker& worker = workers[static_cast<std::size_t>(number)];
        worker.solver.load(entries);
        if (worker.solver.status() != FitStatus::no_counts)
          results.dispersion_status[static_cast<std::size_t>(gene)] = DispersionStatus::shrunken;
        finish_gene(worker, gene, shrunken[static_cast<std::size_t>(gene)]);
      },
      between);
  return results;
}

}  // namespace detail

/// Fits every gene of `counts` (genes x cells) on `design`, genes in parallel; the results do not depend on the number
/// of threads, the size of the blocks or the kind of storage. A GeneBlockSource is read once in blocks of genes (once
/// more where size factors are computed from it, and for Shrunken); rows and columns in memory are read in place,
/// columns turned round part by part, 8 bytes for each nonzero of the parts at work. Memory beyond that: the results,
/// 20 bytes per cell, the tables of group_sums.hpp. Throws ShapeError where design and counts differ in cells,
/// ValueError on counts that are not integers from 0 to 2^32 - 1 and on options out of range, DesignError as Design
/// does, Cancelled.
template <GeneBlockSource Source>
FitResults fit(CpuContext& context, Source&& counts, const Design& design, const FitOptions& options = {}) {
  if constexpr (requires { counts.visit([](auto&) {}); }) {
    return counts.visit([&](auto& source) { return detail::fit_source(context, source, design, options); });
  } else {
    return detail::fit_source(context, counts, design, options);
  }
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

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/glm/fit.cuh>
#endif
