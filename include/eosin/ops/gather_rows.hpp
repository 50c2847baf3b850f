#pragma once

// Rows of a table by their number, and the way back:
//
//   add_rows          y_n += table_{rows[n]}
//   add_to_rows       d_table_r += sum over n with rows[n] = r of dy_n
//
// The sum over n goes in its order, tasks being ranges of columns: results do not depend on the number of threads.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <type_traits>

namespace eosin::ops {

/// Numbers of rows where a layer computes.
template <class Space>
using RowNumbers =
    std::conditional_t<std::is_same_v<Space, Host>, std::span<const Index>, VectorView<const Index, Space>>;

inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

inline void check_rows(const char* function, std::span<const Index> rows, Index wanted, Index table_rows) {
  require_size(function, "rows", "elements", static_cast<Index>(rows.size()), wanted, "rows of y");
  for (std::size_t n = 0; n < rows.size(); ++n)
    if (rows[n] < 0 || rows[n] >= table_rows)
      throw ValueError(std::string(function) + ": row " + std::to_string(rows[n]) + " (element " + std::to_string(n) +
                       ") lies outside the table of " + std::to_string(table_rows));
}

}  // namespace detail

/// table [r x d], y [n x d], rows [n] in [0, r). Throws ShapeError, ValueError.
template <class T>
void add_rows(CpuContext& context, MatrixView<const std::type_identity_t<T>> table, std::span<const Index> rows,
              MatrixView<T> y) {
  require_size("add_rows", "table", "columns", table.cols(), y.cols(), "columns of y");
  detail::check_rows("add_rows", rows, y.rows(), table.rows());
  context.parallel_for(y.rows(), 16, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const T* from = table.row(rows[static_cast<std::size_t>(n)]).data();
      T* to = y.row(n).data();
      math::for_each_pack<T>(0, y.cols(), [&](auto lanes) { lanes.store(to, lanes.load(to) + lanes.load(from)); });
    }
  });
}

/// d_table [r x d], dy [n x d], rows [n] in [0, r). Throws ShapeError, ValueError.
template <class T>
void add_to_rows(CpuContext& context, MatrixView<const std::type_identity_t<T>> dy, std::span<const Index> rows,
                 MatrixView<T> d_table) {
  require_size("add_to_rows", "d_table", "columns", d_table.cols(), dy.cols(), "columns of dy");
  detail::check_rows("add_to_rows", rows, dy.rows(), d_table.rows());
  context.parallel_for(dy.cols(), 256, [&](Index begin, Index end) {
    for (Index n = 0; n < dy.rows(); ++n) {
      const T* from = dy.row(n).data();
      T* to = d_table.row(rows[static_cast<std::size_t>(n)]).data();
      math::for_each_pack<T>(begin, end, [&](auto lanes) { lanes.store(to, lanes.load(to) + lanes.load(from)); });
    }
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/gather_rows.cuh>
#endif
