#pragma once

// Rows of a table by their number on the device; what is computed is told in gather_rows.hpp.
//
//   add_rows      a thread per element of y. Bytes: y read and written, the rows read.
//   add_to_rows   a block per row of the table: 256 numbers at a time are compared with the row's, those that match are
//                 listed in their order, and each thread adds the listed rows of dy for its columns. So the sum over n
//                 goes in its order, nothing is sorted, and a row that no number names costs the reading of the numbers
//                 alone. Bytes: dy once, the gradients of the rows that occur read and written, 8 n per row of the
//                 table (from the cache).
//
// Numbers that lie outside the table are an error of the caller that nobody waits for: add_rows makes their rows of y
// NaN, add_to_rows leaves them out.

#include <eosin/core/cuda_context.cuh>

#include <limits>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
struct AddRows {
  MatrixView<const T, Device> table;
  VectorView<const Index, Device> rows;
  MatrixView<T, Device> y;
  __device__ void operator()(Index n, Index col) const {
    const Index row = rows[n];
    const bool inside = row >= 0 && row < table.rows();
    y(n, col) = inside ? y(n, col) + table(row, col) : std::numeric_limits<T>::quiet_NaN();
  }
};

template <class T>
__global__ void __launch_bounds__(256)
    add_to_rows(MatrixView<const T, Device> dy, VectorView<const Index, Device> rows, MatrixView<T, Device> d_table) {
  EOSIN_SHARED(int, listed, [256]);
  EOSIN_SHARED(int, counts, [8]);
  const Index row = static_cast<Index>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  for (Index begin = 0; begin < rows.size(); begin += 256) {
    const Index n = begin + threadIdx.x;
    const bool match = n < rows.size() && rows[n] == row;
    const unsigned matches = __ballot_sync(cuda::full_warp, match);
    if (lane == 0) counts[warp] = __popc(matches);
    __syncthreads();
    int before = 0, total = 0;
    for (int w = 0; w < 8; ++w) {
      before += w < warp ? counts[w] : 0;
      total += counts[w];
    }
    if (match) listed[before + __popc(matches & ((1U << lane) - 1))] = static_cast<int>(threadIdx.x);
    __syncthreads();
    if (total > 0)
      for (Index col = threadIdx.x; col < dy.cols(); col += 256) {
        T sum = d_table(row, col);
        for (int i = 0; i < total; ++i) sum += dy(begin + listed[i], col);
        d_table(row, col) = sum;
      }
    __syncthreads();
  }
}

}  // namespace kernels

/// y_n += table_{rows[n]}; table [r x d], y [n x d], rows [n] in [0, r).
template <class T>
void add_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> table,
              VectorView<const Index, Device> rows, MatrixView<T, Device> y) {
  require_size("add_rows", "table", "columns", table.cols(), y.cols(), "columns of y");
  require_size("add_rows", "rows", "elements", rows.size(), y.rows(), "rows of y");
  for_each_cell(context, "add_rows", y.rows(), y.cols(), kernels::AddRows<T>{table, rows, y});
}

/// d_table_r += the sum of the dy_n with rows[n] = r; d_table [r x d], dy [n x d], rows [n] in [0, r).
template <class T>
void add_to_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> dy,
                 VectorView<const Index, Device> rows, MatrixView<T, Device> d_table) {
  require_size("add_to_rows", "d_table", "columns", d_table.cols(), dy.cols(), "columns of dy");
  require_size("add_to_rows", "rows", "elements", rows.size(), dy.rows(), "rows of dy");
  if (d_table.empty() || dy.empty()) return;
  context.launch("add_to_rows", kernels::add_to_rows<T>, cuda::blocks_for(d_table.rows(), 1), 256, dy, rows, d_table);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
