#pragma once

// The plain alternative to the GLM, for comparison: the mean over a type's cells of count / size factor,
//
//   p_tg = (1 / n_t) sum_{i of type t} y_ig / s_i
//
// It knows nothing of batches or of the precision of a cell.

#include <eosin/glm/prototypes.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

/// Naive prototypes of `counts`, a GeneBlockSource; cells without a type or with size factor 0 are left out. Throws as
/// size_factors() does, ShapeError where lengths differ, DesignError where a type has no cell. Cost O(nonzeros + types
/// genes).
template <GeneBlockSource Source>
Prototypes<double> naive_means(Source&& counts, const Categories& type,
                               const SizeFactors& choice = SizeFactorMethod::total,
                               std::vector<std::string> gene_names = {}) {
  require_size("naive_means", "type", "cells", type.cells(), counts.cells(), "cells of counts");
  const Vector<double> factors = size_factors(counts, choice);
  const CellGroups groups(Design(type), factors.view());
  Matrix<double> result(groups.types(), counts.genes());
  counts.rewind();
  for (GeneBlock block = counts.next(detail::block_genes); block.genes() > 0; block = counts.next(detail::block_genes))
    for (Index r = 0; r < block.genes(); ++r) {
      const auto cells = block.cells_of(r);
      const auto values = block.counts_of(r);
      for (Index e = 0; e < cells.size(); ++e) {
        const Index group = groups.group_of(cells[e]);
        if (group >= 0) result(groups.type(group), block.first_gene + r) += values[e] / factors[cells[e]];
      }
    }
  counts.rewind();
  for (Index k = 0; k < groups.groups(); ++k) {
    const double cells = static_cast<double>(groups.size_factors(k).size());
    const auto row = result.row(groups.type(k));
    for (Index g = 0; g < row.size(); ++g) row[g] = std::log(row[g] / cells);  // log 0 is the -inf of an exact 0
  }
  return {type.names, std::move(gene_names), std::move(result)};
}

}  // namespace eosin::glm
