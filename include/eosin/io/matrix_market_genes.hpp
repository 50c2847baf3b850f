#pragma once

// The counts of a MatrixMarket file as a source of genes, in bounded memory: the file is read once, whatever its order.

#include <eosin/glm/gene_blocks.hpp>
#include <eosin/io/gene_spool.hpp>
#include <eosin/io/matrix_market.hpp>

#include <optional>
#include <utility>

namespace eosin::io {

/// Entries must be counts; at one position they add up. Throws FileError, ParseError.
inline GeneSpool read_matrix_market_genes(TextReader reader,
                                          glm::Orientation orientation = glm::Orientation::genes_by_cells,
                                          const GeneSpoolOptions& options = {}) {
  const bool genes_are_rows = orientation == glm::Orientation::genes_by_cells;
  std::optional<GeneSpool> spool;
  scan_matrix_market(
      std::move(reader), {.values = Values::counts},
      [&](Index rows, Index cols) {
        spool.emplace(genes_are_rows ? rows : cols, genes_are_rows ? cols : rows, options);
      },
      [&](Index row, Index col, double count) {
        spool->push(genes_are_rows ? row : col, genes_are_rows ? col : row, count);
      });
  spool->finish();
  return std::move(*spool);
}

}  // namespace eosin::io
