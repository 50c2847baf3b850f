#pragma once

// Softmax along rows, and the composition layer of CPNN: softmax over cell types, pooled over the patches of a slide.
//
//   P_nc   = exp(z_nc - max_c z_n) / sum_c exp(z_nc - max_c z_n)
//   pbar_c = mean_n P_nc
//
// Backward, for an upstream gradient D = d loss / d P:      dz_nc = P_nc (D_nc - sum_k D_nk P_nk)
// and for a gradient d = d loss / d pbar of the pooled row: D_nc = d_c / N, so dz_nc = P_nc (d_c - sum_k d_k P_nk) / N
//
// Everything after the softmax that is linear in P commutes with the mean, so a slide's head works on pbar alone and
// no patches x genes product exists (docs/derivations/composition.md).

#include <eosin/core/context.hpp>

#include <cmath>
#include <string>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

inline constexpr Index softmax_block = 64;

/// One row, length n >= 1.
template <class T>
void softmax_row(const T* logits, T* out, Index n) {
  T largest = logits[0];
  for (Index c = 1; c < n; ++c) largest = logits[c] > largest ? logits[c] : largest;
  T sum = 0;
  for (Index c = 0; c < n; ++c) {
    out[c] = std::exp(logits[c] - largest);
    sum += out[c];
  }
  const T scale = T(1) / sum;
  for (Index c = 0; c < n; ++c) out[c] *= scale;
}

}  // namespace detail

/// out = softmax of each row of logits; out may be logits.
template <class T>
void softmax_rows(CpuContext& context, MatrixView<const std::type_identity_t<T>> logits, MatrixView<T> out) {
  require_shape("softmax_rows", "out", out, logits.rows(), logits.cols());
  if (logits.cols() == 0) return;
  context.parallel_for(logits.rows(), detail::softmax_block, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) detail::softmax_row<T>(logits.row(n).data(), out.row(n).data(), logits.cols());
  });
}

/// d_logits from the softmax `p` and the gradient `d_p`; d_logits may be d_p.
template <class T>
void softmax_rows_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> p,
                           MatrixView<const std::type_identity_t<T>> d_p, MatrixView<T> d_logits) {
  require_shape("softmax_rows_backward", "d_p", d_p, p.rows(), p.cols());
  require_shape("softmax_rows_backward", "d_logits", d_logits, p.rows(), p.cols());
  context.parallel_for(p.rows(), detail::softmax_block, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const T* probability = p.row(n).data();
      const T* upstream = d_p.row(n).data();
      T* out = d_logits.row(n).data();
      T inner = 0;
      for (Index c = 0; c < p.cols(); ++c) inner += probability[c] * upstream[c];
      for (Index c = 0; c < p.cols(); ++c) out[c] = probability[c] * (upstream[c] - inner);
    }
  });
}

/// d_logits from the softmax `composition` [n x c] and the gradient `d_pooled` [c] of its mean over rows.
template <class T>
void softmax_mean_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> composition,
                           VectorView<const std::type_identity_t<T>> d_pooled, MatrixView<T> d_logits) {
  if (d_pooled.size() != composition.cols())
    throw ShapeError("softmax_mean_backward: d_pooled has " + std::to_string(d_pooled.size()) +
                     " elements, composition has " + std::to_string(composition.cols()) + " columns (cell types)");
  require_shape("softmax_mean_backward", "d_logits", d_logits, composition.rows(), composition.cols());
  const T share = composition.rows() > 0 ? T(1) / static_cast<T>(composition.rows()) : T(0);
  context.parallel_for(composition.rows(), detail::softmax_block, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const T* p = composition.row(n).data();
      T* out = d_logits.row(n).data();
      T inner = 0;
      for (Index c = 0; c < composition.cols(); ++c) inner += p[c] * d_pooled[c];
      for (Index c = 0; c < composition.cols(); ++c) out[c] = share * p[c] * (d_pooled[c] - inner);
    }
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/softmax.cuh>
#endif
