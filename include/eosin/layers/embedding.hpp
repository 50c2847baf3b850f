#pragma once

// Trained vectors for numbered things: a table E [rows x width], of which row i is added to the input.
//
//   y_n += E_{rows[n]},      dE_r = sum over n with rows[n] = r of dy_n
//
// CompactRows numbers the values that the data can use, so that a table of coordinates up to 65,535 of which 34 occur
// has 34 rows. Rows that exist and that a batch does not use have gradient 0, and an optimiser moves them (weight
// decay, momentum). LazyEmbedding (lazy_embedding.hpp) is for tables too large for that. Name as in PyTorch:
// NAME.weight.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/gather_rows.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace eosin::layers {

/// The distinct values of a list in ascending order; the row of a value is its place among them.
class CompactRows {
 public:
  CompactRows() = default;
  explicit CompactRows(std::span<const Index> values) : values_(values.begin(), values.end()) {
    std::sort(values_.begin(), values_.end());
    values_.erase(std::unique(values_.begin(), values_.end()), values_.end());
  }

  Index rows() const { return static_cast<Index>(values_.size()); }
  /// Value of each row.
  std::span<const Index> values() const { return values_; }
  /// Throws ValueError for a value that has no row.
  Index row(Index value) const {
    const auto found = std::lower_bound(values_.begin(), values_.end(), value);
    require_value(found != values_.end() && *found == value, "CompactRows",
                  "the value " + std::to_string(value) + " has no row in the table");
    return found - values_.begin();
  }

 private:
  std::vector<Index> values_;
};

template <class T, class Space = Host>
class Embedding {
 public:
  /// Registers NAME.weight [rows x width], which starts standard normal.
  Embedding(Parameters<T, Space>& parameters, const std::string& name, Index rows, Index width)
      : parameters_(&parameters), table_(parameters.add(name + ".weight", {rows, width}, init::Normal{})) {}

  Index rows() const { return parameters_->segment(table_).shape[0]; }
  Index width() const { return parameters_->segment(table_).shape[1]; }

  /// Adds row rows[n] to y_n, y [n x width].
  template <Context C>
  void forward_add(C& context, ops::RowNumbers<Space> rows, MatrixView<T, Space> y) const {
    ops::add_rows<T>(context, std::as_const(*parameters_).matrix(table_), rows, y);
  }

  /// The gradient of the whole table from dy [n x width]; dx is dy.
  template <Context C>
  void backward(C& context, ops::RowNumbers<Space> rows, MatrixView<const T, Space> dy, GradientMode mode) const {
    if (mode == GradientMode::ignore) return;
    const auto gradient = parameters_->gradient_matrix(table_);
    if (mode == GradientMode::overwrite) zero(context, parameters_->gradient(table_));
    ops::add_to_rows<T>(context, dy, rows, gradient);
  }

 private:
  Parameters<T, Space>* parameters_;
  SegmentId table_;
};

}  // namespace eosin::layers
