#pragma once

// Size factors: the relative sequencing depth of a cell, geometric mean 1 over the cells that have counts.
//
//   total        s_i = (counts of cell i) / geometric mean; 0 for a cell without counts, which then takes no part
//   normed_sum   the same, with 0.001 for a cell without counts, which stays in the model (glmGamPoi's convention)
//   poscounts    s_i = median over the genes with a count in cell i of count / m_g, m_g = exp(sum over cells with a
//                count of log count / all cells), then scaled (DESeq2's type "poscounts"); 0.001 without counts

#include <eosin/core/buffer.hpp>
#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/gene_blocks.hpp>

#include <algorithm>
#include <cmath>
#include <variant>
#include <vector>

namespace eosin::glm {

enum class SizeFactorMethod { total, normed_sum, poscounts };

/// A method, or one number per cell, used as it is.
using SizeFactors = std::variant<SizeFactorMethod, std::vector<double>>;

namespace detail {

inline constexpr Index block_genes = 256;
inline constexpr double size_factor_without_counts = 0.001;

/// Divides the positive entries by their geometric mean and sets the others to `without_counts`.
inline void scale_to_geometric_mean(Vector<double>& factors, double without_counts) {
  double sum = 0.0;
  Index positive = 0;
  for (const double s : factors)
    if (s > 0.0) {
      sum += std::log(s);
      ++positive;
    }
  require_value(positive > 0, "size_factors", "no cell has a count");
  const double mean = std::exp(sum / static_cast<double>(positive));
  for (double& s : factors) s = s > 0.0 ? s / mean : without_counts;
}

}  // namespace detail

/// Size factors of the cells of a source, [cells]; reads it once and leaves it rewound. Cost O(nonzeros); poscounts
/// holds 8 bytes per nonzero.
template <GeneBlockSource Source>
Vector<double> size_factors(Source& counts, SizeFactorMethod method) {
  const Index cells = counts.cells();
  Vector<double> factors(cells);
  std::vector<std::vector<double>> log_ratios(method == SizeFactorMethod::poscounts ? static_cast<std::size_t>(cells)
                                                                                    : 0);
  counts.rewind();
  for (GeneBlock block = counts.next(detail::block_genes); block.genes() > 0; block = counts.next(detail::block_genes))
    for (Index r = 0; r < block.genes(); ++r) {
      const auto cell = block.cells_of(r);
      const auto count = block.counts_of(r);
      if (method != SizeFactorMethod::poscounts) {
        for (Index e = 0; e < cell.size(); ++e) factors[cell[e]] += count[e];
        continue;
      }
      double log_mean = 0.0;
      for (Index e = 0; e < cell.size(); ++e) log_mean += std::log(count[e]);
      log_mean /= static_cast<double>(cells);
      for (Index e = 0; e < cell.size(); ++e)
        log_ratios[static_cast<std::size_t>(cell[e])].push_back(std::log(count[e]) - log_mean);
    }
  counts.rewind();
  for (Index cell = 0; cell < static_cast<Index>(log_ratios.size()); ++cell) {
    auto& ratios = log_ratios[static_cast<std::size_t>(cell)];
    if (ratios.empty()) continue;
    const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
    std::nth_element(ratios.begin(), middle, ratios.end());
    double median = *middle;
    if (ratios.size() % 2 == 0) median = 0.5 * (median + *std::max_element(ratios.begin(), middle));
    factors[cell] = std::exp(median);
  }
  detail::scale_to_geometric_mean(factors,
                                  method == SizeFactorMethod::total ? 0.0 : detail::size_factor_without_counts);
  return factors;
}

template <GeneBlockSource Source>
Vector<double> size_factors(Source& counts, const SizeFactors& choice) {
  if (const auto* method = std::get_if<SizeFactorMethod>(&choice)) return size_factors(counts, *method);
  const auto& given = std::get<std::vector<double>>(choice);
  require_size("size_factors", "given size factors", "elements", static_cast<Index>(given.size()), counts.cells(),
               "cells");
  Vector<double> factors(counts.cells());
  std::copy(given.begin(), given.end(), factors.begin());
  return factors;
}

/// The same with several threads, for sources in memory: columns are read by scan(), once; rows in place.
template <GeneBlockSource Source>
Vector<double> size_factors(CpuContext& context, Source& counts, const SizeFactors& choice) {
  const auto* method = std::get_if<SizeFactorMethod>(&choice);
  if (method == nullptr || *method == SizeFactorMethod::poscounts) return size_factors(counts, choice);
  Vector<double> totals(counts.cells());
  if constexpr (requires { counts.scan(context); }) {
    counts.scan(context);
    std::copy(counts.totals().data(), counts.totals().data() + counts.cells(), totals.begin());
  } else if constexpr (requires { counts.row(Index{}); }) {
    std::vector<Vector<double>> partial(static_cast<std::size_t>(context.threads()), Vector<double>(counts.cells()));
    constexpr Index of_task = 32;
    context.pool().run((counts.genes() + of_task - 1) / of_task, [&](Index task, int worker) {
      auto& sums = partial[static_cast<std::size_t>(worker)];
      for (Index gene = task * of_task; gene < std::min(counts.genes(), (task + 1) * of_task); ++gene) {
        const auto [cells, values] = counts.row(gene);
        for (Index e = 0; e < cells.size(); ++e) {
          const Index cell = static_cast<Index>(cells[e]);
          if (cell < 0 || cell >= counts.cells()) detail::refuse_cell(gene, cell, counts.cells());
          sums[cell] += static_cast<double>(detail::to_count(values[e], gene, cell));
        }
      }
    });
    // Sums of integers: exact, whichever thread had which gene.
    for (const auto& sums : partial)
      for (Index cell = 0; cell < totals.size(); ++cell) totals[cell] += sums[cell];
  } else {
    return size_factors(counts, choice);
  }
  detail::scale_to_geometric_mean(totals,
                                  *method == SizeFactorMethod::total ? 0.0 : detail::size_factor_without_counts);
  return totals;
}

}  // namespace eosin::glm
