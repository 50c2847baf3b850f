#pragma once

// How estimators read counts: block after block of genes, each gene as a sparse row over the cells. A source is any
// type with the four members of GeneBlockSource, so that a user's own storage needs an adapter of twenty lines; here
// are the adapters for SparseMatrix, for arrays of compressed rows (genes x cells) or columns (cells x genes), and for
// dense matrices. Nothing is ever densified.

#include <eosin/core/buffer.hpp>
#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
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

/// A count of a gene at the position of a cell (CellGroups).
struct CellCount {
  std::uint32_t position, count;
};

namespace detail {

[[noreturn]] inline void refuse_count(double count, Index gene, Index cell) {
  const std::string found = std::isnan(count) ? "NaN" : std::isinf(count) ? "infinite" : std::to_string(count);
  throw ValueError("counts: gene " + std::to_string(gene) + ", cell " + std::to_string(cell) + " (from 0): " + found +
                   " is not a count (an integer from 0 to 4294967295)");
}
[[noreturn]] inline void refuse_cell(Index gene, Index cell, Index cells) {
  throw ValueError("counts: gene " + std::to_string(gene) + " has an entry for cell " + std::to_string(cell) +
                   ", there are " + std::to_string(cells) + " cells");
}
[[noreturn]] inline void refuse_twice(Index gene, Index cell) {
  throw ValueError("counts: gene " + std::to_string(gene) + " has two entries for cell " + std::to_string(cell) +
                   " (from 0)");
}

/// The count as an integer; throws ValueError naming gene and cell unless it is one.
template <class T>
EOSIN_ALWAYS_INLINE inline std::uint32_t to_count(T value, Index gene, Index cell) {
  if constexpr (std::is_integral_v<T>) {
    if (!std::in_range<std::uint32_t>(value)) refuse_count(static_cast<double>(value), gene, cell);
    return static_cast<std::uint32_t>(value);
  } else {
    const double count = static_cast<double>(value);
    if (!(count >= 0.0 && count <= 4294967295.0)) refuse_count(count, gene, cell);
    const auto integer = static_cast<std::uint32_t>(static_cast<std::int64_t>(count));
    if (static_cast<double>(integer) != count) refuse_count(count, gene, cell);
    return integer;
  }
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
  }

  Index genes() const { return genes_; }
  Index cells() const { return cells_; }
  void rewind() {
    next_ = 0;
    seen_.assign(static_cast<std::size_t>(cells_), Index{-1});
  }
  /// The stored entries of a gene, unchecked.
  std::pair<VectorView<const I>, VectorView<const T>> row(Index gene) const {
    const Index begin = static_cast<Index>(offsets_[gene]), size = static_cast<Index>(offsets_[gene + 1]) - begin;
    return {indices_.segment(begin, size), values_.segment(begin, size)};
  }

  GeneBlock next(Index most) {
    seen_.resize(static_cast<std::size_t>(cells_), Index{-1});
    buffer_.begin(next_);
    for (const Index end = std::min(genes_, next_ + most); next_ < end; ++next_) {
      for (Index e = static_cast<Index>(offsets_[next_]); e < static_cast<Index>(offsets_[next_ + 1]); ++e) {
        const Index cell = static_cast<Index>(indices_[e]);
        if (cell < 0 || cell >= cells_) detail::refuse_cell(next_, cell, cells_);
        if (std::exchange(seen_[static_cast<std::size_t>(cell)], next_) == next_) detail::refuse_twice(next_, cell);
        const std::uint32_t count = detail::to_count(values_[e], next_, cell);
        if (count != 0) buffer_.push(cell, static_cast<double>(count));
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
/// cells x genes. The arrays are the caller's and must outlive the source. Explicit zeros are allowed.
///
/// Where the genes of each cell ascend, the source reads the columns in place and turns them round part by part: scan()
/// notes where in each column the parts of some hundreds of genes begin (4 bytes per part and cell). Otherwise it makes
/// one ordered copy, 8 bytes per nonzero. Cost of a pass: O(nonzeros + cells parts).
template <class T, class Offset, class I>
class CscGeneBlocks {
 public:
  CscGeneBlocks(Index genes, Index cells, VectorView<const Offset> offsets, VectorView<const I> indices,
                VectorView<const T> values)
      : genes_(genes), cells_(cells), offsets_(offsets), indices_(indices), values_(values) {
    require_size("CscGeneBlocks", "offsets", "elements", offsets.size(), cells + 1, "cells + 1");
    require_size("CscGeneBlocks", "values", "elements", values.size(), indices.size(), "indices");
    bool ordered = static_cast<Index>(offsets[0]) == 0 && static_cast<Index>(offsets[cells]) == indices.size();
    for (Index c = 0; c < cells; ++c) ordered = ordered && offsets[c] <= offsets[c + 1];
    require_value(ordered, "CscGeneBlocks", "offsets do not rise from 0 to the number of indices");
  }

  Index genes() const { return genes_; }
  Index cells() const { return cells_; }

  /// Reads everything once: checks indices and counts, sums the counts of each cell, counts the entries of each gene,
  /// finds the parts. Further calls do nothing.
  void scan(CpuContext& context) {
    if (!totals_.empty() || cells_ == 0) return;
    const double entries = static_cast<double>(indices_.size());
    const double per_cell = entries / static_cast<double>(cells_);
    // Few parts read each column in long runs, several per thread keep all threads at work.
    const Index least = std::min<Index>(most_parts, parts_of_thread * context.threads());
    parts_ = std::clamp(static_cast<Index>(per_cell / entries_of_part), least, most_parts);
    parts_ = std::max<Index>(1, std::min(parts_, genes_));
    bounds_ = Vector<std::uint32_t>((parts_ + 1) * cells_);
    totals_ = Vector<double>(cells_);
    std::vector<std::vector<Index>> sizes(static_cast<std::size_t>(context.threads()),
                                          std::vector<Index>(static_cast<std::size_t>(genes_), 0));
    std::vector<char> ascending(static_cast<std::size_t>(context.threads()), 1);
    constexpr Index block = 256;
    context.pool().run((cells_ + block - 1) / block, [&](Index task, int worker) {
      const auto w = static_cast<std::size_t>(worker);
      bool in_order = true;
      for (Index cell = task * block; cell < std::min(cells_, (task + 1) * block); ++cell)
        in_order = scan_cell(cell, sizes[w].data()) && in_order;
      if (!in_order) ascending[w] = 0;
    });
    sizes_ = std::move(sizes.front());
    for (std::size_t w = 1; w < sizes.size(); ++w)
      for (std::size_t g = 0; g < sizes_.size(); ++g) sizes_[g] += sizes[w][g];
    ascending_ = std::find(ascending.begin(), ascending.end(), 0) == ascending.end();
    if (!ascending_) make_ordered_copy();
  }

  /// Sum of the counts of each cell, after scan().
  VectorView<const double> totals() const { return totals_.view(); }
  /// Number of parts, after scan(); part p has the genes first_gene(p) .. first_gene(p + 1).
  Index parts() const { return parts_; }
  Index first_gene(Index part) const { return part * genes_ / parts_; }
  /// A gene that the cell has a count of, -1 without one.
  Index gene_of(Index cell) const {
    for (Index e = begin(cell); e < begin(cell + 1); ++e)
      if (values_[e] != T(0)) return static_cast<Index>(indices_[e]);
    return -1;
  }

  /// The counts of a part's genes, by position: gene first_gene(part) + r has entries[begin[r] .. end[r]).
  struct Part {
    std::vector<Index> begin, end;
    std::vector<CellCount> entries;
  };
  /// Fills `result` with a part, the cells being taken in the order of `groups` (positions(), cell_at(i)). After
  /// scan(); by several threads at a time.
  template <class Groups>
  void transpose(Index part, const Groups& groups, Part& result) const {
    const Index from = first_gene(part), to = first_gene(part + 1);
    result.begin.resize(static_cast<std::size_t>(to - from));
    result.end.resize(static_cast<std::size_t>(to - from));
    Index total = 0;
    for (Index g = from; g < to; ++g) {
      result.begin[static_cast<std::size_t>(g - from)] = result.end[static_cast<std::size_t>(g - from)] = total;
      total += sizes_[static_cast<std::size_t>(g)];
    }
    if (static_cast<Index>(result.entries.size()) < total) result.entries.resize(static_cast<std::size_t>(total));
    const std::uint32_t* low = bounds_.data() + part * cells_;
    const std::uint32_t* high = low + cells_;
    const Index used = groups.used();
    const I* const index = indices();
    const T* const value = values();
    Index* const place = result.end.data();
    CellCount* const entries = result.entries.data();
    for (Index position = 0; position < used; ++position) {
      if (position + ahead < used) {
        const Index later = groups.cell_at(position + ahead);
        __builtin_prefetch(index + begin(later) + low[later]);
        __builtin_prefetch(value + begin(later) + low[later]);
      }
      const Index cell = groups.cell_at(position);
      const Index start = begin(cell), last = start + high[cell];
      for (Index e = start + low[cell]; e < last; ++e) {
        const auto count = static_cast<std::uint32_t>(value[e]);
        if (count == 0) continue;
        entries[place[static_cast<Index>(index[e]) - from]++] = {static_cast<std::uint32_t>(position), count};
      }
    }
  }

  void rewind() {
    next_ = 0;
    cursor_.assign(static_cast<std::size_t>(cells_), 0);
  }
  GeneBlock next(Index most) {
    if (totals_.empty()) {
      CpuContext context({.threads = 1});
      scan(context);
    }
    cursor_.resize(static_cast<std::size_t>(cells_), 0);
    const Index from = next_, to = std::min(genes_, next_ + most);
    next_ = to;
    row_offsets_.assign(1, 0);
    for (Index g = from; g < to; ++g) row_offsets_.push_back(row_offsets_.back() + sizes_[static_cast<std::size_t>(g)]);
    std::vector<Index> place(row_offsets_.begin(), row_offsets_.end() - 1);
    row_cells_.resize(static_cast<std::size_t>(row_offsets_.back()));
    row_counts_.resize(row_cells_.size());
    for (Index cell = 0; cell < cells_; ++cell) {
      auto& at = cursor_[static_cast<std::size_t>(cell)];
      for (Index e = begin(cell) + at; e < begin(cell + 1) && static_cast<Index>(indices()[e]) < to; ++e, ++at) {
        const auto slot =
            static_cast<std::size_t>(place[static_cast<std::size_t>(static_cast<Index>(indices()[e]) - from)]);
        if (values()[e] == T(0)) continue;
        row_cells_[slot] = cell;
        row_counts_[slot] = static_cast<double>(values()[e]);
        ++place[static_cast<std::size_t>(static_cast<Index>(indices()[e]) - from)];
      }
    }
    close_gaps(place);
    return {from, row_offsets_, row_cells_, row_counts_};
  }

 private:
  static constexpr double entries_of_part = 8.0;  ///< of a cell, on average
  static constexpr Index parts_of_thread = 3, most_parts = 128, ahead = 16;

  Index begin(Index cell) const { return static_cast<Index>(offsets_[cell]); }
  const I* indices() const { return ascending_ ? indices_.data() : ordered_indices_.data(); }
  const T* values() const { return ascending_ ? values_.data() : ordered_values_.data(); }

  /// False where the genes of the cell do not ascend.
  bool scan_cell(Index cell, Index* sizes) {
    const I* const index = indices_.data();
    const T* const value = values_.data();
    const Index first = begin(cell), last = begin(cell + 1);
    Index before = -1, e = first;
    bool ascending = true;
    double total = 0.0;
    for (Index part = 0; part < parts_; ++part) {
      bounds_[part * cells_ + cell] = static_cast<std::uint32_t>(e - first);
      const Index limit = first_gene(part + 1);
      for (; e < last; ++e) {
        const Index gene = static_cast<Index>(index[e]);
        if (gene < 0 || gene >= genes_)
          throw ValueError("counts: cell " + std::to_string(cell) + " has an entry of gene " + std::to_string(gene) +
                           ", there are " + std::to_string(genes_) + " genes");
        if (gene >= limit) break;
        ascending = ascending && gene > before;
        before = gene;
        ++sizes[gene];
        total += static_cast<double>(detail::to_count(value[e], gene, cell));
      }
    }
    bounds_[parts_ * cells_ + cell] = static_cast<std::uint32_t>(e - first);
    totals_[cell] = total;
    return ascending && e == last;
  }

  /// Sorts each column; a gene that a cell names twice is refused.
  void make_ordered_copy() {
    ordered_indices_.assign(indices_.data(), indices_.data() + indices_.size());
    ordered_values_.assign(values_.data(), values_.data() + values_.size());
    std::vector<std::pair<I, T>> column;
    std::fill(sizes_.begin(), sizes_.end(), Index{0});
    for (Index cell = 0; cell < cells_; ++cell) {
      column.clear();
      for (Index e = begin(cell); e < begin(cell + 1); ++e) column.emplace_back(indices_[e], values_[e]);
      std::sort(column.begin(), column.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      for (std::size_t i = 0; i < column.size(); ++i) {
        if (i > 0 && column[i].first == column[i - 1].first)
          detail::refuse_twice(static_cast<Index>(column[i].first), cell);
        ordered_indices_[static_cast<std::size_t>(begin(cell)) + i] = column[i].first;
        ordered_values_[static_cast<std::size_t>(begin(cell)) + i] = column[i].second;
      }
    }
    indices_ = VectorView<const I>(ordered_indices_);
    values_ = VectorView<const T>(ordered_values_);
    for (Index cell = 0; cell < cells_; ++cell) scan_cell(cell, sizes_.data());
    ascending_ = true;
  }

  /// Explicit zeros leave room at the end of their genes.
  void close_gaps(const std::vector<Index>& end) {
    Index to = 0;
    for (std::size_t r = 0; r + 1 < row_offsets_.size(); ++r) {
      const Index from = std::exchange(row_offsets_[r], to);
      for (Index e = from; e < end[r]; ++e, ++to) {
        row_cells_[static_cast<std::size_t>(to)] = row_cells_[static_cast<std::size_t>(e)];
        row_counts_[static_cast<std::size_t>(to)] = row_counts_[static_cast<std::size_t>(e)];
      }
    }
    row_offsets_.back() = to;
    row_cells_.resize(static_cast<std::size_t>(to));
    row_counts_.resize(static_cast<std::size_t>(to));
  }

  Index genes_, cells_;
  VectorView<const Offset> offsets_;
  VectorView<const I> indices_;
  VectorView<const T> values_;
  std::vector<I> ordered_indices_;  // empty where the columns are in order
  std::vector<T> ordered_values_;
  bool ascending_ = true;
  Index parts_ = 0;
  Vector<std::uint32_t> bounds_;  // [parts + 1 x cells], from the beginning of the cell's column
  Vector<double> totals_;
  std::vector<Index> sizes_;  // entries of each gene
  Index next_ = 0;
  std::vector<std::uint32_t> cursor_;
  std::vector<Index> row_offsets_, row_cells_;
  std::vector<double> row_counts_;
};

/// Which way round a matrix of counts lies.
enum class Orientation { genes_by_cells, cells_by_genes };

/// A SparseMatrix, read in place; it must outlive the source.
template <class T>
class SparseGeneBlocks {
 public:
  using Rows = CsrGeneBlocks<T, Index, std::int32_t>;
  using Columns = CscGeneBlocks<T, Index, std::int32_t>;

  explicit SparseGeneBlocks(const SparseMatrix<T>& counts, Orientation orientation = Orientation::genes_by_cells)
      : source_(orientation == Orientation::cells_by_genes
                    ? Source(std::in_place_type<Columns>, counts.cols(), counts.rows(), counts.row_offsets(),
                             counts.column_indices(), counts.values())
                    : Source(std::in_place_type<Rows>, counts.rows(), counts.cols(), counts.row_offsets(),
                             counts.column_indices(), counts.values())) {}

  Index genes() const {
    return std::visit([](const auto& source) { return source.genes(); }, source_);
  }
  Index cells() const {
    return std::visit([](const auto& source) { return source.cells(); }, source_);
  }
  void rewind() {
    std::visit([](auto& source) { source.rewind(); }, source_);
  }
  GeneBlock next(Index most) {
    return std::visit([&](auto& source) { return source.next(most); }, source_);
  }
  /// Calls f with the rows or the columns.
  template <class F>
  decltype(auto) visit(F&& f) {
    return std::visit(std::forward<F>(f), source_);
  }

 private:
  using Source = std::variant<Rows, Columns>;
  Source source_;
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
        const std::uint32_t count = detail::to_count(row[cell], next_, cell);
        if (count != 0) buffer_.push(cell, static_cast<double>(count));
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
