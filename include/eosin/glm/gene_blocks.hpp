#pragma once

// How estimators read counts: block after block of genes, each gene as a sparse row over the cells. A source is any
// type with the four members of GeneBlockSource, so that a user's own storage needs an adapter of twenty lines; here
// are the adapters for SparseMatrix, for arrays of compressed rows (genes x cells) or columns (cells x genes), and for
// dense matrices. Nothing is ever densified.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/core/sparse.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace eosin::glm {

/// Consecutive genes as sparse rows: gene first_gene + r has the counts[offsets[r] .. offsets[r + 1]) at `cells`,
/// ascending, each cell at most once. Valid until the source is asked for the next block.
struct GeneBlock {
  Index first_gene = 0;
  VectorView<const Index> offsets;  ///< [genes of the block + 1], starting at 0
  VectorView<const Index> cells;
  VectorView<const double> counts;

  Index genes() const { return offsets.size() == 0 ? 0 : offsets.size() - 1; }
  VectorView<const Index> cells_of(Index r) const { return cells.segment(offsets[r], offsets[r + 1] - offsets[r]); }
  VectorView<const double> counts_of(Index r) const { return counts.segment(offsets[r], offsets[r + 1] - offsets[r]); }
};

/// genes() and cells() give the shape; rewind() goes back to gene 0; next(n) gives at most n further genes, and an
/// empty block after the last.
template <class S>
concept GeneBlockSource = requires(S& source, Index most) {
  { source.genes() } -> std::convertible_to<Index>;
  { source.cells() } -> std::convertible_to<Index>;
  source.rewind();
  { source.next(most) } -> std::same_as<GeneBlock>;
};

namespace detail {

/// Throws ValueError unless `count` is a finite integer >= 0.
inline void require_count(double count, Index gene, Index cell) {
  if (count >= 0.0 && count == std::floor(count) && count < 9007199254740992.0) return;
  const std::string found = std::isnan(count) ? "NaN" : std::isinf(count) ? "infinite" : std::to_string(count);
  throw ValueError("counts: gene " + std::to_string(gene) + ", cell " + std::to_string(cell) + " (from 0): " + found +
                   " is not a count (an integer >= 0)");
}

/// The rows of a block as they are collected.
class GeneBlockBuffer {
 public:
  void begin(Index first_gene) {
    first_gene_ = first_gene;
    offsets_.assign(1, 0);
    cells_.clear();
    counts_.clear();
  }
  void push(Index cell, double count) {
    cells_.push_back(cell);
    counts_.push_back(count);
  }
  void end_gene() { offsets_.push_back(static_cast<Index>(cells_.size())); }
  GeneBlock block() const { return {first_gene_, offsets_, cells_, counts_}; }

 private:
  Index first_gene_ = 0;
  std::vector<Index> offsets_, cells_;
  std::vector<double> counts_;
};

}  // namespace detail

/// In-memory compressed rows, genes x cells. The arrays are the caller's and must outlive the source. Explicit zeros
/// are allowed, the order of the cells within a gene is free. Cost of a pass: O(nonzeros).
template <class T, class Offset, class I>
class CsrGeneBlocks {
 public:
  /// offsets [genes + 1], indices and values [nonzeros]. Throws ShapeError and ValueError on arrays that do not fit
  /// together; counts are checked as they are read.
  CsrGeneBlocks(Index genes, Index cells, VectorView<const Offset> offsets, VectorView<const I> indices,
                VectorView<const T> values)
      : genes_(genes), cells_(cells), offsets_(offsets), indices_(indices), values_(values) {
    require_size("CsrGeneBlocks", "offsets", "elements", offsets.size(), genes + 1, "genes + 1");
    require_size("CsrGeneBlocks", "values", "elements", values.size(), indices.size(), "indices");
    bool ordered = static_cast<Index>(offsets[0]) == 0 && static_cast<Index>(offsets[genes]) == indices.size();
    for (Index g = 0; g < genes; ++g) ordered = ordered && offsets[g] <= offsets[g + 1];
    require_value(ordered, "CsrGeneBlocks", "offsets do not rise from 0 to the number of indices");
    seen_.assign(static_cast<std::size_t>(cells), Index{-1});
  }

  Index genes() const { return genes_; }
  Index cells() const { return cells_; }
  void rewind() {
    next_ = 0;
    seen_.assign(seen_.size(), Index{-1});
  }

  GeneBlock next(Index most) {
    buffer_.begin(next_);
    for (const Index end = std::min(genes_, next_ + most); next_ < end; ++next_) {
      for (Index e = static_cast<Index>(offsets_[next_]); e < static_cast<Index>(offsets_[next_ + 1]); ++e) {
        const Index cell = static_cast<Index>(indices_[e]);
        if (cell < 0 || cell >= cells_)
          throw ValueError("counts: gene " + std::to_string(next_) + " has an entry for cell " + std::to_string(cell) +
                           ", there are " + std::to_string(cells_) + " cells");
        if (std::exchange(seen_[static_cast<std::size_t>(cell)], next_) == next_)
          throw ValueError("counts: gene " + std::to_string(next_) + " has two entries for cell " +
                           std::to_string(cell) + " (from 0)");
        const double count = static_cast<double>(values_[e]);
        detail::require_count(count, next_, cell);
        if (count != 0.0) buffer_.push(cell, count);
      }
      buffer_.end_gene();
    }
    return buffer_.block();
  }

 private:
  Index genes_, cells_;
  VectorView<const Offset> offsets_;
  VectorView<const I> indices_;
  VectorView<const T> values_;
  Index next_ = 0;
  std::vector<Index> seen_;
  detail::GeneBlockBuffer buffer_;
};

/// In-memory compressed columns of genes x cells: for each cell its genes. The same arrays are the compressed rows of
/// cells x genes. Transposes once on construction: O(nonzeros) time and 16 bytes of memory per nonzero.
template <class T, class Offset, class I>
class CscGeneBlocks {
 public:
  CscGeneBlocks(Index genes, Index cells, VectorView<const Offset> offsets, VectorView<const I> indices,
                VectorView<const T> values) {
    require_size("CscGeneBlocks", "offsets", "elements", offsets.size(), cells + 1, "cells + 1");
    require_size("CscGeneBlocks", "values", "elements", values.size(), indices.size(), "indices");
    bool ordered = static_cast<Index>(offsets[0]) == 0 && static_cast<Index>(offsets[cells]) == indices.size();
    for (Index c = 0; c < cells; ++c) ordered = ordered && offsets[c] <= offsets[c + 1];
    require_value(ordered, "CscGeneBlocks", "offsets do not rise from 0 to the number of indices");
    row_offsets_ = Vector<Index>(genes + 1);
    for (Index e = 0; e < indices.size(); ++e) {
      const Index gene = static_cast<Index>(indices[e]);
      if (gene < 0 || gene >= genes)
        throw ValueError("counts: entry " + std::to_string(e) + " is of gene " + std::to_string(gene) + ", there are " +
                         std::to_string(genes) + " genes");
      ++row_offsets_[gene + 1];
    }
    for (Index g = 0; g < genes; ++g) row_offsets_[g + 1] += row_offsets_[g];
    Vector<Index> place(genes);
    for (Index g = 0; g < genes; ++g) place[g] = row_offsets_[g];
    columns_ = Vector<Index>(indices.size());
    values_ = Vector<double>(indices.size());
    for (Index cell = 0; cell < cells; ++cell)
      for (Index e = static_cast<Index>(offsets[cell]); e < static_cast<Index>(offsets[cell + 1]); ++e) {
        const Index to = place[static_cast<Index>(indices[e])]++;
        columns_[to] = cell;
        values_[to] = static_cast<double>(values[e]);
      }
    rows_.emplace(genes, cells, std::as_const(row_offsets_).view(), std::as_const(columns_).view(),
                  std::as_const(values_).view());
  }
  CscGeneBlocks(CscGeneBlocks&&) noexcept = default;
  CscGeneBlocks& operator=(CscGeneBlocks&&) noexcept = default;

  Index genes() const { return rows_->genes(); }
  Index cells() const { return rows_->cells(); }
  void rewind() { rows_->rewind(); }
  GeneBlock next(Index most) { return rows_->next(most); }

 private:
  Vector<Index> row_offsets_, columns_;
  Vector<double> values_;
  std::optional<CsrGeneBlocks<double, Index, Index>> rows_;  // looks at the arrays above
};

/// Which way round a matrix of counts lies.
enum class Orientation { genes_by_cells, cells_by_genes };

/// A SparseMatrix. Genes x cells is read in place and must outlive the source; cells x genes is transposed once.
template <class T>
class SparseGeneBlocks {
 public:
  explicit SparseGeneBlocks(const SparseMatrix<T>& counts, Orientation orientation = Orientation::genes_by_cells) {
    if (orientation == Orientation::cells_by_genes) transposed_ = counts.transposed();
    const SparseMatrix<T>& rows = orientation == Orientation::cells_by_genes ? transposed_ : counts;
    rows_.emplace(rows.rows(), rows.cols(), VectorView<const Index>(rows.row_offsets()),
                  VectorView<const std::int32_t>(rows.column_indices()), VectorView<const T>(rows.values()));
  }
  SparseGeneBlocks(SparseGeneBlocks&&) noexcept = default;
  SparseGeneBlocks& operator=(SparseGeneBlocks&&) noexcept = default;

  Index genes() const { return rows_->genes(); }
  Index cells() const { return rows_->cells(); }
  void rewind() { rows_->rewind(); }
  GeneBlock next(Index most) { return rows_->next(most); }

 private:
  SparseMatrix<T> transposed_;
  std::optional<CsrGeneBlocks<T, Index, std::int32_t>> rows_;
};

/// A dense matrix of counts, [genes x cells] or [cells x genes]. The view must outlive the source.
template <class T>
class DenseGeneBlocks {
 public:
  explicit DenseGeneBlocks(MatrixView<const T> counts, Orientation orientation = Orientation::genes_by_cells)
      : counts_(counts), transposed_(orientation == Orientation::cells_by_genes) {}

  Index genes() const { return transposed_ ? counts_.cols() : counts_.rows(); }
  Index cells() const { return transposed_ ? counts_.rows() : counts_.cols(); }
  void rewind() { next_ = 0; }

  GeneBlock next(Index most) {
    buffer_.begin(next_);
    for (const Index end = std::min(genes(), next_ + most); next_ < end; ++next_) {
      const auto row = transposed_ ? counts_.col(next_) : counts_.row(next_);
      for (Index cell = 0; cell < row.size(); ++cell) {
        const double count = static_cast<double>(row[cell]);
        detail::require_count(count, next_, cell);
        if (count != 0.0) buffer_.push(cell, count);
      }
      buffer_.end_gene();
    }
    return buffer_.block();
  }

 private:
  MatrixView<const T> counts_;
  bool transposed_;
  Index next_ = 0;
  detail::GeneBlockBuffer buffer_;
};

/// The source of a matrix: SparseMatrix or dense view.
template <class T>
SparseGeneBlocks<T> gene_blocks(const SparseMatrix<T>& counts, Orientation orientation = Orientation::genes_by_cells) {
  return SparseGeneBlocks<T>(counts, orientation);
}
template <class T>
DenseGeneBlocks<std::remove_const_t<T>> gene_blocks(MatrixView<T> counts,
                                                    Orientation orientation = Orientation::genes_by_cells) {
  return DenseGeneBlocks<std::remove_const_t<T>>(counts, orientation);
}

}  // namespace eosin::glm
