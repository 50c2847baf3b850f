#pragma once

// Prototypes from spots (or bulk mixtures) whose proportions of cell types are known:
//
//   y_ig ~ NB(mu_ig, phi_g),   mu_ig = s_i c_{e(i)g} sum_t q_it T_tg,   T >= 0
//
// q [spots x types] the proportions, s the size factors, c a factor of gene and section (tissue section, batch), by
// choice, with mean 1 over the sections. T is the maximum likelihood estimate, with exact zeros; the mathematics of a
// gene is in mixture_solver.hpp, the derivation in docs/derivations/soft_labels.md.

#include <eosin/core/context.hpp>
#include <eosin/glm/mixture_solver.hpp>
#include <eosin/glm/prototypes.hpp>

#include <cmath>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace eosin::glm {

struct SoftLabelOptions {
  /// Maximum likelihood per gene, or given; Fixed{0.0} is Poisson.
  std::variant<MaximumLikelihood, Fixed> dispersion = MaximumLikelihood{};
  SizeFactors size_factors = SizeFactorMethod::total;
  /// Section of each spot for a factor per gene and section; empty: no such factor.
  Categories sections = {};
  int max_rounds = 50;      ///< of prototypes, section factors and dispersion in turn
  int max_steps = 100;      ///< Newton steps for the prototypes in a round
  double tolerance = 1e-8;  ///< a gene has converged when its log-likelihood rises by less, relative to 1 + its size
  std::vector<std::string> gene_names = {};  ///< [genes] or empty
  Index block_genes = 256;
  std::function<void(Index, Index)> progress = {};  ///< genes done, all genes; called by the calling thread
  std::stop_token cancellation = {};
};

struct SoftLabelResults {
  Prototypes<double> prototypes;   ///< [types x genes]
  Matrix<double> section_factors;  ///< [genes x sections], mean 1; [genes x 1] of ones without sections
  Vector<double> dispersion;       ///< [genes]
  Vector<double> log_likelihood;   ///< [genes]
  std::vector<char> converged;     ///< [genes]
  Vector<double> size_factors;     ///< [spots]
  Index spots_used = 0;            ///< spots with a size factor above 0 (and a section)
};

namespace detail {

/// Throws DesignError naming a type whose row is a linear combination of the others' to 1e-6 of its length: Cholesky of
/// the correlations, the best determined type first.
inline void require_independent(const Exposure& exposure, const std::vector<std::string>& type_names) {
  const std::size_t n = exposure.rows;
  std::vector<double> gram(n * n, 0.0);
  exposure.add_products(std::vector<double>(exposure.length, 1.0), gram);
  std::vector<double> scale(n);
  for (std::size_t t = 0; t < n; ++t) scale[t] = std::sqrt(gram[t * n + t]);
  for (std::size_t t = 0; t < n; ++t)
    for (std::size_t u = 0; u <= t; ++u) gram[u * n + t] = gram[t * n + u] /= scale[t] * scale[u];
  std::vector<char> done(n, 0);
  for (std::size_t round = 0; round < n; ++round) {
    std::size_t pivot = n;
    for (std::size_t t = 0; t < n; ++t)
      if (!done[t] && (pivot == n || gram[t * n + t] > gram[pivot * n + pivot])) pivot = t;
    const double left = gram[pivot * n + pivot];
    if (left < 1e-12)
      throw DesignError("fit_soft_labels: the proportions of type '" + type_names[pivot] +
                        "' are a linear combination of those of other types: their prototypes cannot be told apart");
    done[pivot] = 1;
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t u = 0; u < n; ++u)
        if (!done[t] && !done[u]) gram[t * n + u] -= gram[t * n + pivot] * gram[pivot * n + u] / left;
  }
}

/// Maximises over everything that is not given. Prototypes, section factors and dispersion hardly depend on each other,
/// so that two Newton steps between the others' turns are enough once the prototypes have settled for the first time.
inline bool fit_mixture(MixtureSolver& solver, bool estimate_dispersion, double largest, bool sections,
                        const SoftLabelOptions& options) {
  const bool several = estimate_dispersion || sections;
  double before = solver.log_likelihood();
  for (int round = 0; round < options.max_rounds; ++round) {
    const double enough = options.tolerance * (1.0 + std::abs(before));
    const int steps = round == 0 ? options.max_steps : 2;
    double promised = infinity;
    for (int step = 0; step < steps && promised > (round == 0 && several ? 1e-2 : enough); ++step)
      promised = solver.newton_step();
    if (!several) return promised <= enough;
    if (sections) solver.fit_sections();
    if (estimate_dispersion) solver.fit_dispersion(largest);
    const double after = solver.log_likelihood();
    if (promised <= enough && after - before <= enough) return true;
    before = after;
  }
  return false;
}

}  // namespace detail

/// Prototypes of `counts` (a GeneBlockSource, genes x spots) from `proportions` [spots x types] >= 0; rows need not sum
/// to 1 (abundances then give prototypes per unit of abundance), but not to 0. Spots with size factor 0 are left out.
/// Genes in parallel, results independent of the number of threads. Throws ShapeError where lengths differ, ValueError
/// on NaN or negative proportions, a spot without any, bad counts or options, DesignError where a type has no
/// proportion anywhere or is a linear combination of others, Cancelled. Cost of a gene: some ten steps of O(spots
/// types^2).
template <GeneBlockSource Source>
SoftLabelResults fit_soft_labels(CpuContext& context, Source&& counts, MatrixView<const double> proportions,
                                 std::vector<std::string> type_names, const SoftLabelOptions& options = {}) {
  const Index spots = counts.cells(), genes = counts.genes(), types = proportions.cols();
  require_size("fit_soft_labels", "proportions", "rows", proportions.rows(), spots, "spots of counts");
  require_size("fit_soft_labels", "type_names", "elements", static_cast<Index>(type_names.size()), types,
               "columns of proportions");
  require_value(options.max_rounds > 0 && options.max_steps > 0 && options.block_genes > 0 && options.tolerance > 0.0,
                "fit_soft_labels", "an option is not positive");
  require_value(types > 0, "fit_soft_labels", "proportions has no column");
  const bool with_sections = !options.sections.codes.empty();
  if (with_sections)
    require_size("fit_soft_labels", "sections", "spots", options.sections.cells(), spots, "spots of counts");
  const Index sections = with_sections ? options.sections.levels() : 1;

  SoftLabelResults results;
  results.size_factors = size_factors(counts, options.size_factors);
  std::vector<Index> row(static_cast<std::size_t>(spots), -1), section;  // row of the exposure, section of a row
  for (Index i = 0; i < spots; ++i) {
    double sum = 0.0;
    for (Index t = 0; t < types; ++t) {
      const double q = proportions(i, t);
      if (!(q >= 0.0) || std::isinf(q))
        throw ValueError("fit_soft_labels: the proportion of type '" + type_names[static_cast<std::size_t>(t)] +
                         "' in spot " + std::to_string(i) + " (from 0) is not a finite number >= 0");
      sum += q;
    }
    const double s = results.size_factors[i];
    if (!(s >= 0.0) || std::isinf(s))
      throw ValueError("fit_soft_labels: the size factor of spot " + std::to_string(i) +
                       " (from 0) is not a finite number >= 0");
    const Index code = with_sections ? options.sections.codes[static_cast<std::size_t>(i)] : 0;
    if (code >= sections || code < Categories::missing)
      throw ValueError("fit_soft_labels: spot " + std::to_string(i) + " (from 0) has section code " +
                       std::to_string(code) + ", there are " + std::to_string(sections) + " sections");
    if (s == 0.0 || code == Categories::missing) continue;
    if (!(sum > 0.0))
      throw ValueError("fit_soft_labels: the proportions of spot " + std::to_string(i) + " (from 0) sum to 0");
    row[static_cast<std::size_t>(i)] = static_cast<Index>(section.size());
    section.push_back(code);
  }
  const Index used = static_cast<Index>(section.size());
  results.spots_used = used;
  Exposure exposure(static_cast<std::size_t>(types), section.size());
  std::vector<char> observed(static_cast<std::size_t>(types * sections), 0);
  for (Index i = 0; i < spots; ++i) {
    const Index r = row[static_cast<std::size_t>(i)];
    if (r < 0) continue;
    for (Index t = 0; t < types; ++t) {
      exposure.row(static_cast<std::size_t>(t))[r] = results.size_factors[i] * proportions(i, t);
      if (proportions(i, t) > 0.0)
        observed[static_cast<std::size_t>(t * sections + section[static_cast<std::size_t>(r)])] = 1;
    }
  }
  detail::require_linked(observed, type_names, with_sections ? options.sections.names : std::vector<std::string>{"all"},
                         "section", "sections");
  detail::require_independent(exposure, type_names);

  const auto* fixed = std::get_if<Fixed>(&options.dispersion);
  if (fixed != nullptr) detail::check_dispersion(*fixed, genes);
  if (fixed == nullptr) detail::check_dispersion(std::get<MaximumLikelihood>(options.dispersion), genes);
  const double largest = fixed == nullptr ? std::get<MaximumLikelihood>(options.dispersion).largest : 0.0;
  const auto given_dispersion = [&](Index gene) {
    const auto* one = std::get_if<double>(&fixed->value);
    return one != nullptr ? *one : std::get<std::vector<double>>(fixed->value)[static_cast<std::size_t>(gene)];
  };

  Matrix<double> log_expression(types, genes);
  results.section_factors = Matrix<double>(genes, sections);
  results.dispersion = Vector<double>(genes);
  results.log_likelihood = Vector<double>(genes);
  results.converged.assign(static_cast<std::size_t>(genes), 1);
  struct Worker {
    MixtureSolver solver;
    std::vector<Index> spots;
    std::vector<double> counts;
  };
  std::vector<Worker> workers(static_cast<std::size_t>(context.threads()),
                              Worker{MixtureSolver(exposure, section, sections), {}, {}});
  const auto check_cancellation = [&](Index done) {
    if (options.cancellation.stop_requested())
      throw Cancelled("fit_soft_labels: cancelled after " + std::to_string(done) + " of " + std::to_string(genes) +
                      " genes");
  };
  counts.rewind();
  for (GeneBlock block = counts.next(options.block_genes); block.genes() > 0;
       block = counts.next(options.block_genes)) {
    context.pool().run(block.genes(), [&](Index r, int number) {
      check_cancellation(block.first_gene);
      auto& [solver, spot, count] = workers[static_cast<std::size_t>(number)];
      const Index gene = block.first_gene + r;
      const auto cells = block.cells_of(r);
      const auto values = block.counts_of(r);
      spot.clear();
      count.clear();
      for (Index e = 0; e < cells.size(); ++e)
        if (const Index place = row[static_cast<std::size_t>(cells[e])]; place >= 0) {
          spot.push_back(place);
          count.push_back(values[e]);
        }
      solver.load(spot, count);
      if (fixed != nullptr) solver.set_dispersion(given_dispersion(gene));
      results.converged[static_cast<std::size_t>(gene)] =
          detail::fit_mixture(solver, fixed == nullptr, largest, with_sections, options);
      results.dispersion[gene] = solver.dispersion();
      results.log_likelihood[gene] = solver.log_likelihood();
      for (Index t = 0; t < types; ++t)
        log_expression(t, gene) = std::log(solver.prototype()[static_cast<std::size_t>(t)]);
      for (Index e = 0; e < sections; ++e)
        results.section_factors(gene, e) = solver.section_factors()[static_cast<std::size_t>(e)];
    });
    if (options.progress) options.progress(block.first_gene + block.genes(), genes);
    check_cancellation(block.first_gene + block.genes());
  }
  counts.rewind();
  results.prototypes = {std::move(type_names), options.gene_names, std::move(log_expression)};
  return results;
}

/// The same for counts in memory, a SparseMatrix<T> or a dense MatrixView<T>, genes x spots or the other way round.
template <class Counts>
requires(!GeneBlockSource<const Counts&> && !GeneBlockSource<Counts>) SoftLabelResults
    fit_soft_labels(CpuContext& context, const Counts& counts, MatrixView<const double> proportions,
                    std::vector<std::string> type_names, const SoftLabelOptions& options = {},
                    Orientation orientation = Orientation::genes_by_cells) {
  return fit_soft_labels(context, gene_blocks(counts, orientation), proportions, std::move(type_names), options);
}

}  // namespace eosin::glm
