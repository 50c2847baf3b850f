#pragma once

// Rows scaled to sum to one, and back, on the device; the formulas are those of normalise_rows.hpp.
//
// A block per row, sums in double: each thread over its share of the columns, then over the block. The row comes from
// memory once and from the cache once. Bytes: 2 n d sizeof(T) forward, 3 n d backward.
//
// The processor refuses a row whose sum is not positive and finite. Here nobody waits for the sum: such a row of p
// becomes NaN throughout, and so does every loss made of it.

#include <eosin/core/cuda_context.cuh>

#include <limits>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// p may be v: the sum is complete before anything is written.
template <class T>
__global__ void __launch_bounds__(256)
    normalise_rows(MatrixView<const T, Device> v, MatrixView<T, Device> p, VectorView<T, Device> sums) {
  EOSIN_SHARED(double, scratch, [8]);
  const auto from = v.row(blockIdx.x);
  const auto to = p.row(blockIdx.x);
  double sum = 0;
  for (Index g = threadIdx.x; g < from.size(); g += 256) sum += static_cast<double>(from[g]);
  sum = cuda::block_sum<256>(sum, scratch);
  const bool good = sum > 0 && sum <= std::numeric_limits<double>::max();
  const double scale = good ? 1.0 / sum : std::numeric_limits<double>::quiet_NaN();
  for (Index g = threadIdx.x; g < to.size(); g += 256) to[g] = static_cast<T>(static_cast<double>(from[g]) * scale);
  if (threadIdx.x == 0) sums[blockIdx.x] = static_cast<T>(sum);
}

/// dv may be dp.
template <class T>
__global__ void __launch_bounds__(256)
    normalise_rows_backward(MatrixView<const T, Device> p, VectorView<const T, Device> sums,
                            MatrixView<const T, Device> dp, MatrixView<T, Device> dv) {
  EOSIN_SHARED(double, scratch, [8]);
  const auto share = p.row(blockIdx.x);
  const auto upstream = dp.row(blockIdx.x);
  const auto out = dv.row(blockIdx.x);
  double inner = 0;
  for (Index g = threadIdx.x; g < share.size(); g += 256)
    inner += static_cast<double>(share[g]) * static_cast<double>(upstream[g]);
  inner = cuda::block_sum<256>(inner, scratch);
  const double scale = 1.0 / static_cast<double>(sums[blockIdx.x]);
  for (Index g = threadIdx.x; g < out.size(); g += 256)
    out[g] = static_cast<T>((static_cast<double>(upstream[g]) - inner) * scale);
}

}  // namespace kernels

/// p may be v. `sums` [rows] receives S. A row whose sum is not positive and finite becomes NaN.
template <class T>
void normalise_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> v, MatrixView<T, Device> p,
                    VectorView<std::type_identity_t<T>, Device> sums) {
  require_shape("normalise_rows", "p", p, v.rows(), v.cols());
  require_size("normalise_rows", "sums", "elements", sums.size(), v.rows(), "rows of v");
  if (v.rows() == 0) return;
  context.launch("normalise_rows", kernels::normalise_rows<T>, cuda::blocks_for(v.rows(), 1), 256, v, p, sums);
}

/// dv may be dp.
template <class T>
void normalise_rows_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> p,
                             VectorView<const std::type_identity_t<T>, Device> sums,
                             MatrixView<const std::type_identity_t<T>, Device> dp, MatrixView<T, Device> dv) {
  require_shape("normalise_rows_backward", "dp", dp, p.rows(), p.cols());
  require_shape("normalise_rows_backward", "dv", dv, p.rows(), p.cols());
  if (p.rows() == 0) return;
  context.launch("normalise_rows_backward", kernels::normalise_rows_backward<T>, cuda::blocks_for(p.rows(), 1), 256, p,
                 sums, dp, dv);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
