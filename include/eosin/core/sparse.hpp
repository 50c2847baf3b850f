#pragma once

// Compressed sparse rows: row r holds values()[k] in columns column_indices()[k] for row_offsets()[r] <= k <
// row_offsets()[r+1]. Within a row the columns ascend and none occurs twice. The compressed columns of a matrix are the
// compressed rows of its transpose.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eosin {

/// Entry of a matrix in coordinate form, positions from 0.
template <class T>
struct Triplet {
  Index row = 0;
  Index col = 0;
  T value{};
};

template <class T>
class SparseMatrix {
 public:
  using value_type = T;

  /// The stored entries of one row.
  struct Row {
    std::span<const std::int32_t> columns;
    std::span<const T> values;
    Index size() const { return static_cast<Index>(columns.size()); }
  };

  SparseMatrix() = default;
  /// No entries. At most 2^31 - 1 columns.
  SparseMatrix(Index rows, Index cols) : cols_(cols) {
    if (rows < 0 || cols < 0 || cols > std::numeric_limits<std::int32_t>::max())
      throw ValueError("SparseMatrix: shape " + detail::shape_text(rows, cols) + " is out of range");
    row_offsets_.assign(static_cast<std::size_t>(rows) + 1, 0);
  }

  /// Takes the three arrays after checking them: offsets start at 0, do not decrease and end at the number of values;
  /// columns lie in [0, cols). Rows that are not in ascending order are sorted; a column that occurs twice in a row is
  /// added up. O(entries) when sorted already.
  SparseMatrix(Index rows, Index cols, std::vector<Index> row_offsets, std::vector<std::int32_t> column_indices,
               std::vector<T> values)
      : SparseMatrix(0, cols) {
    const auto fail = [](const std::string& message) { throw ValueError("SparseMatrix: " + message); };
    if (rows < 0 || static_cast<Index>(row_offsets.size()) - 1 != rows)
      fail("row_offsets has " + std::to_string(row_offsets.size()) + " entries for " + std::to_string(rows) + " rows");
    if (column_indices.size() != values.size())
      fail(std::to_string(column_indices.size()) + " column indices, " + std::to_string(values.size()) + " values");
    if (row_offsets.front() != 0) fail("row_offsets starts at " + std::to_string(row_offsets.front()));
    for (std::size_t r = 1; r < row_offsets.size(); ++r)
      if (row_offsets[r] < row_offsets[r - 1]) fail("row_offsets decreases at row " + std::to_string(r - 1));
    if (row_offsets.back() != static_cast<Index>(values.size()))
      fail("row_offsets ends at " + std::to_string(row_offsets.back()) + ", there are " +
           std::to_string(values.size()) + " values");
    for (std::size_t k = 0; k < column_indices.size(); ++k)
      if (column_indices[k] < 0 || column_indices[k] >= cols)
        fail("column index " + std::to_string(column_indices[k]) + " lies outside " + std::to_string(cols) +
             " columns");
    row_offsets_ = std::move(row_offsets);
    column_indices_ = std::move(column_indices);
    values_ = std::move(values);
    make_canonical();
  }

  /// From entries in any order; entries at one position are added up in their order.
  static SparseMatrix from_triplets(Index rows, Index cols, const std::vector<Triplet<T>>& entries) {
    SparseMatrix result(rows, cols);
    for (const auto& entry : entries) {
      if (entry.row < 0 || entry.row >= rows || entry.col < 0 || entry.col >= cols)
        throw ValueError("SparseMatrix: position (" + std::to_string(entry.row) + ", " + std::to_string(entry.col) +
                         ") lies outside " + detail::shape_text(rows, cols));
      ++result.row_offsets_[static_cast<std::size_t>(entry.row) + 1];
    }
    std::partial_sum(result.row_offsets_.begin(), result.row_offsets_.end(), result.row_offsets_.begin());
    result.column_indices_.resize(entries.size());
    result.values_.resize(entries.size());
    std::vector<Index> next(result.row_offsets_.begin(), result.row_offsets_.end() - 1);
    for (const auto& entry : entries) {
      const auto k = static_cast<std::size_t>(next[static_cast<std::size_t>(entry.row)]++);
      result.column_indices_[k] = static_cast<std::int32_t>(entry.col);
      result.values_[k] = entry.value;
    }
    result.make_canonical();
    return result;
  }

  Index rows() const { return static_cast<Index>(row_offsets_.size()) - 1; }
  Index cols() const { return cols_; }
  /// Number of stored entries (explicit zeros included).
  Index nonzeros() const { return static_cast<Index>(values_.size()); }
  const std::vector<Index>& row_offsets() const { return row_offsets_; }
  const std::vector<std::int32_t>& column_indices() const { return column_indices_; }
  const std::vector<T>& values() const { return values_; }
  std::vector<T>& values() { return values_; }

  Row row(Index r) const {
    const auto begin = static_cast<std::size_t>(row_offsets_[static_cast<std::size_t>(r)]);
    const auto count = static_cast<std::size_t>(row_offsets_[static_cast<std::size_t>(r) + 1]) - begin;
    return {std::span(column_indices_).subspan(begin, count), std::span(values_).subspan(begin, count)};
  }

  /// Value at a position, 0 where nothing is stored. O(log entries of the row).
  T at(Index r, Index c) const {
    const Row entries = row(r);
    const auto found = std::lower_bound(entries.columns.begin(), entries.columns.end(), c);
    if (found == entries.columns.end() || *found != c) return T(0);
    return entries.values[static_cast<std::size_t>(found - entries.columns.begin())];
  }

  Matrix<T> dense() const {
    Matrix<T> result(rows(), cols());
    for (Index r = 0; r < rows(); ++r) {
      const Row entries = row(r);
      for (std::size_t k = 0; k < entries.columns.size(); ++k) result(r, entries.columns[k]) = entries.values[k];
    }
    return result;
  }

  /// O(entries + rows + cols).
  SparseMatrix transposed() const {
    if (rows() > std::numeric_limits<std::int32_t>::max())
      throw ValueError("SparseMatrix: " + std::to_string(rows()) + " rows are too many to become columns");
    SparseMatrix result(cols_, rows());
    for (const auto c : column_indices_) ++result.row_offsets_[static_cast<std::size_t>(c) + 1];
    std::partial_sum(result.row_offsets_.begin(), result.row_offsets_.end(), result.row_offsets_.begin());
    result.column_indices_.resize(values_.size());
    result.values_.resize(values_.size());
    std::vector<Index> next(result.row_offsets_.begin(), result.row_offsets_.end() - 1);
    for (Index r = 0; r < rows(); ++r) {
      const Row entries = row(r);
      for (std::size_t k = 0; k < entries.columns.size(); ++k) {
        const auto target = static_cast<std::size_t>(next[static_cast<std::size_t>(entries.columns[k])]++);
        result.column_indices_[target] = static_cast<std::int32_t>(r);
        result.values_[target] = entries.values[k];
      }
    }
    return result;
  }

  /// The rows named, in that order; a row may be named more than once.
  SparseMatrix select_rows(std::span<const Index> chosen) const {
    SparseMatrix result(0, cols_);
    result.row_offsets_.reserve(chosen.size() + 1);
    for (const Index r : chosen) {
      if (r < 0 || r >= rows())
        throw ValueError("SparseMatrix: row " + std::to_string(r) + " lies outside " + std::to_string(rows()));
      const Row entries = row(r);
      result.column_indices_.insert(result.column_indices_.end(), entries.columns.begin(), entries.columns.end());
      result.values_.insert(result.values_.end(), entries.values.begin(), entries.values.end());
      result.row_offsets_.push_back(static_cast<Index>(result.values_.size()));
    }
    return result;
  }

  /// The columns named, in that order; -1 stands for a column of zeros. A column may be named once only.
  SparseMatrix select_columns(std::span<const Index> chosen) const {
    std::vector<std::int32_t> target(static_cast<std::size_t>(cols_), -1);
    bool ascending = true;
    Index previous = -1;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const Index c = chosen[i];
      if (c == -1) continue;
      if (c < 0 || c >= cols_ || target[static_cast<std::size_t>(c)] != -1)
        throw ValueError("SparseMatrix: column " + std::to_string(c) + " is named twice or lies outside " +
                         std::to_string(cols_));
      target[static_cast<std::size_t>(c)] = static_cast<std::int32_t>(i);
      ascending = ascending && c > previous;
      previous = c;
    }
    SparseMatrix result(0, static_cast<Index>(chosen.size()));
    result.row_offsets_.reserve(row_offsets_.size());
    for (Index r = 0; r < rows(); ++r) {
      const Row entries = row(r);
      for (std::size_t k = 0; k < entries.columns.size(); ++k) {
        const auto to = target[static_cast<std::size_t>(entries.columns[k])];
        if (to < 0) continue;
        result.column_indices_.push_back(to);
        result.values_.push_back(entries.values[k]);
      }
      result.row_offsets_.push_back(static_cast<Index>(result.values_.size()));
    }
    if (!ascending) result.make_canonical();
    return result;
  }

  /// Sum of each row, accumulated in double.
  std::vector<double> row_sums() const {
    std::vector<double> sums(static_cast<std::size_t>(rows()), 0.0);
    for (Index r = 0; r < rows(); ++r)
      for (const T value : row(r).values) sums[static_cast<std::size_t>(r)] += static_cast<double>(value);
    return sums;
  }

  bool operator==(const SparseMatrix&) const = default;

 private:
  void make_canonical() {
    std::vector<std::pair<std::int32_t, T>> scratch;
    std::size_t write = 0;
    Index begin = 0;
    for (std::size_t r = 1; r < row_offsets_.size(); ++r) {
      const Index end = row_offsets_[r];
      scratch.clear();
      bool ascending = true;
      for (Index k = begin; k < end; ++k) {
        const auto i = static_cast<std::size_t>(k);
        ascending = ascending && (k == begin || column_indices_[i] > column_indices_[i - 1]);
      }
      if (ascending) {
        for (Index k = begin; k < end; ++k, ++write) {
          const auto i = static_cast<std::size_t>(k);
          column_indices_[write] = column_indices_[i];
          values_[write] = values_[i];
        }
      } else {
        for (Index k = begin; k < end; ++k)
          scratch.emplace_back(column_indices_[static_cast<std::size_t>(k)], values_[static_cast<std::size_t>(k)]);
        std::stable_sort(scratch.begin(), scratch.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
        for (std::size_t i = 0; i < scratch.size(); ++i) {
          if (i > 0 && scratch[i].first == scratch[i - 1].first) {
            values_[write - 1] = static_cast<T>(values_[write - 1] + scratch[i].second);
          } else {
            column_indices_[write] = scratch[i].first;
            values_[write] = scratch[i].second;
            ++write;
          }
        }
      }
      begin = end;
      row_offsets_[r] = static_cast<Index>(write);
    }
    column_indices_.resize(write);
    values_.resize(write);
  }

  Index cols_ = 0;
  std::vector<Index> row_offsets_{0};
  std::vector<std::int32_t> column_indices_;
  std::vector<T> values_;
};

}  // namespace eosin
