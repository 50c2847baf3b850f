#pragma once

// Softmax along rows and its backward on the device: a warp per row, which it reads up to three times; rows of the
// lengths that occur here (types, genes) stay in the first-level cache. Bytes: logits once, out once.
//
//   dz_nc = P_nc (D_nc - sum_k D_nk P_nk),     D_nc = d_c / N for the gradient d of the mean over rows

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/exponential.hpp>

#include <string>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8): eight rows.
template <class T>
__global__ void __launch_bounds__(256) softmax_rows(MatrixView<const T, Device> logits, MatrixView<T, Device> out) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= logits.rows()) return;
  T largest = logits(row, 0);
  for (Index c = threadIdx.x; c < logits.cols(); c += 32) largest = logits(row, c) > largest ? logits(row, c) : largest;
  largest = cuda::warp_max(largest);
  T sum = 0;
  for (Index c = threadIdx.x; c < logits.cols(); c += 32) {
    const T value = math::exp(logits(row, c) - largest);
    out(row, c) = value;
    sum += value;
  }
  const T scale = T(1) / cuda::warp_sum(sum);
  for (Index c = threadIdx.x; c < logits.cols(); c += 32) out(row, c) *= scale;
}

/// `d` has one row for all (`stride_of_rows` 0) or one per row; block (32, 8).
template <class T>
__global__ void __launch_bounds__(256) softmax_backward(MatrixView<const T, Device> p, const T* d, Index stride_of_rows,
                                                        T share, MatrixView<T, Device> d_logits) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= p.rows()) return;
  const T* upstream = d + row * stride_of_rows;
  T inner = 0;
  for (Index c = threadIdx.x; c < p.cols(); c += 32) inner += p(row, c) * upstream[c];
  inner = cuda::warp_sum(inner);
  for (Index c = threadIdx.x; c < p.cols(); c += 32) d_logits(row, c) = share * p(row, c) * (upstream[c] - inner);
}

}  // namespace kernels

/// out = softmax of each row of logits; out may be logits.
template <class T>
void softmax_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> logits,
                  MatrixView<T, Device> out) {
  require_shape("softmax_rows", "out", out, logits.rows(), logits.cols());
  if (logits.empty()) return;
  context.launch("softmax_rows", kernels::softmax_rows<T>, cuda::blocks_for(logits.rows(), 8), dim3(32, 8), logits,
                 out);
}

/// d_logits from the softmax `p` and the gradient `d_p`; d_logits may be d_p.
template <class T>
void softmax_rows_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> p,
                           MatrixView<const std::type_identity_t<T>, Device> d_p, MatrixView<T, Device> d_logits) {
  require_shape("softmax_rows_backward", "d_p", d_p, p.rows(), p.cols());
  require_shape("softmax_rows_backward", "d_logits", d_logits, p.rows(), p.cols());
  if (p.empty()) return;
  context.launch("softmax_rows_backward", kernels::softmax_backward<T>, cuda::blocks_for(p.rows(), 8), dim3(32, 8), p,
                 d_p.data(), d_p.stride(), T(1), d_logits);
}

/// d_logits from the softmax `composition` [n x c] and the gradient `d_pooled` [c] of its mean over rows.
template <class T>
void softmax_mean_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> composition,
                           VectorView<const std::type_identity_t<T>, Device> d_pooled, MatrixView<T, Device> d_logits) {
  if (d_pooled.size() != composition.cols())
    throw ShapeError("softmax_mean_backward: d_pooled has " + std::to_string(d_pooled.size()) +
                     " elements, composition has " + std::to_string(composition.cols()) + " columns (cell types)");
  require_shape("softmax_mean_backward", "d_logits", d_logits, composition.rows(), composition.cols());
  require_value(d_pooled.contiguous() || d_pooled.size() <= 1, "softmax_mean_backward",
                "the elements of d_pooled are not contiguous");
  if (composition.empty()) return;
  context.launch("softmax_mean_backward", kernels::softmax_backward<T>, cuda::blocks_for(composition.rows(), 8),
                 dim3(32, 8), composition, d_pooled.data(), Index{0}, T(1) / static_cast<T>(composition.rows()),
                 d_logits);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
