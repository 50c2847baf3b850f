#pragma once

// Counts [spots x genes], dense or sparse, behind one way of reading: for_each_count. What the data layer computes on
// counts is written once against it.

#include <eosin/core/context.hpp>
#include <eosin/core/sparse.hpp>

#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eosin::data {

/// Calls f(gene, count) for the entries of a row that are not 0.
template <class C, class F>
void for_each_count(MatrixView<C> counts, Index row, F&& f) {
  for (Index c = 0; c < counts.cols(); ++c)
    if (counts(row, c) != 0) f(c, counts(row, c));
}

template <class C, class F>
void for_each_count(const SparseMatrix<C>& counts, Index row, F&& f) {
  const auto entries = counts.row(row);
  for (std::size_t k = 0; k < entries.columns.size(); ++k)
    if (entries.values[k] != 0) f(static_cast<Index>(entries.columns[k]), entries.values[k]);
}

namespace detail {

/// A count as a double; negative or not finite: ValueError naming function and place.
template <class C>
double checked_count(C count, std::string_view function, Index row, Index col) {
  const double value = static_cast<double>(count);
  if (!std::isfinite(value) || value < 0)
    throw ValueError(std::string(function) + ": counts(" + std::to_string(row) + ", " + std::to_string(col) +
                     ") is negative or not finite");
  return value;
}

}  // namespace detail

/// Sum of each row: the library size of each spot over the genes that `counts` holds. ValueError for counts that are
/// negative or not finite.
template <class Counts>
Vector<double> library_sizes(CpuContext& context, const Counts& counts) {
  Vector<double> sizes(counts.rows());
  context.parallel_for(counts.rows(), 32, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r)
      for_each_count(counts, r, [&](Index c, auto count) {
        sizes[r] += detail::checked_count(count, "library_sizes", r, c);
      });
  });
  return sizes;
}

/// out [spots x columns.size()] = the named columns of counts, in the order given; a column may not be named twice
/// (ValueError), nor lie outside.
template <class Counts, class T>
void gather_columns(CpuContext& context, const Counts& counts, std::span<const Index> columns, MatrixView<T> out) {
  require_shape("gather_columns", "out", out, counts.rows(), static_cast<Index>(columns.size()));
  std::vector<Index> place(static_cast<std::size_t>(counts.cols()), Index{-1});
  for (std::size_t i = 0; i < columns.size(); ++i) {
    require_value(columns[i] >= 0 && columns[i] < counts.cols(), "gather_columns",
                  "column " + std::to_string(columns[i]) + " is outside the " + std::to_string(counts.cols()) +
                      " columns");
    Index& target = place[static_cast<std::size_t>(columns[i])];
    require_value(target < 0, "gather_columns", "column " + std::to_string(columns[i]) + " is named twice");
    target = static_cast<Index>(i);
  }
  context.parallel_for(counts.rows(), 32, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      for (Index c = 0; c < out.cols(); ++c) out(r, c) = T(0);
      for_each_count(counts, r, [&](Index c, auto count) {
        const Index target = place[static_cast<std::size_t>(c)];
        if (target >= 0) out(r, target) = static_cast<T>(count);
      });
    }
  });
}

}  // namespace eosin::data
