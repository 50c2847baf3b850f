#pragma once

// Prototype regularisers on the device; the formulas are those of prototype.hpp.
//
//   softmax_mse   a block per prototype, which it reads four times (largest, sum, squares, gradient), from memory once;
//                 exponentials are computed anew rather than kept. Bytes: logs and reference read, gradient read and
//                 written
//   exp_mse       a block per prototype and piece of 2048 genes, one pass over the same bytes
//   pearson       pearson.cuh
//
// Sums are in double, those of the blocks are added in their order.

#include <eosin/core/cuda_context.cuh>
#include <eosin/losses/pearson.hpp>
#include <eosin/ops/reduce.cuh>

#include <algorithm>
#include <limits>
#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

inline constexpr Index exp_mse_piece = 2048;

/// `values` [rows] receives the sums of squares times `share`. d_log may be empty.
template <class T>
__global__ void __launch_bounds__(256)
    softmax_mse(MatrixView<const T, Device> reference, MatrixView<const T, Device> logs, T scale, double share,
                MatrixView<T, Device> d_log, double* values) {
  EOSIN_SHARED(double, scratch, [3][8]);
  EOSIN_SHARED(T, maxima, [8]);
  const auto r0 = reference.row(blockIdx.x), l = logs.row(blockIdx.x);
  const Index genes = l.size();
  T largest = -std::numeric_limits<T>::infinity();
  for (Index g = threadIdx.x; g < genes; g += 256) largest = r0[g] > T(0) ? std::max(largest, l[g]) : largest;
  largest = cuda::warp_max(largest);
  if (threadIdx.x % 32 == 0) maxima[threadIdx.x / 32] = largest;
  __syncthreads();
  for (int i = 0; i < 8; ++i) largest = std::max(largest, maxima[i]);

  const auto unscaled = [&](Index g) { return r0[g] > T(0) ? detail::prototype_share(l[g], largest) : T(0); };
  double total = 0;
  for (Index g = threadIdx.x; g < genes; g += 256) total += static_cast<double>(unscaled(g));
  total = cuda::block_sum<256>(total, scratch[0]);
  const auto scaled = [&](Index g) { return static_cast<T>(static_cast<double>(unscaled(g)) / total); };

  double squares = 0, inner = 0;
  for (Index g = threadIdx.x; g < genes; g += 256) {
    const double r = static_cast<double>(scaled(g));
    const double difference = r - static_cast<double>(r0[g]);
    squares += difference * difference;
    inner += difference * r;
  }
  squares = cuda::block_sum<256>(squares, scratch[1]);
  inner = cuda::block_sum<256>(inner, scratch[2]);
  if (d_log.data() != nullptr) {
    const auto out = d_log.row(blockIdx.x);
    for (Index g = threadIdx.x; g < genes; g += 256)
      out[g] += detail::softmax_mse_gradient(scale, scaled(g), r0[g], static_cast<T>(inner));
  }
  if (threadIdx.x == 0) values[blockIdx.x] = squares * share;
}

/// Prototype blockIdx.y, piece blockIdx.x of its genes; `values` [blocks].
template <class T>
__global__ void __launch_bounds__(256) exp_mse(MatrixView<const T, Device> reference, MatrixView<const T, Device> logs,
                                               T scale, double share, MatrixView<T, Device> d_log, double* values) {
  EOSIN_SHARED(double, scratch, [8]);
  const Index c = static_cast<Index>(blockIdx.y);
  const Index begin = static_cast<Index>(blockIdx.x) * exp_mse_piece;
  const Index end = begin + exp_mse_piece < logs.cols() ? begin + exp_mse_piece : logs.cols();
  double squares = 0;
  for (Index g = begin + threadIdx.x; g < end; g += 256) {
    if (!(reference(c, g) > T(0))) continue;
    const auto term = detail::exp_mse_term(logs(c, g), reference(c, g));
    squares += static_cast<double>(term.difference) * static_cast<double>(term.difference);
    if (d_log.data() != nullptr) d_log(c, g) += detail::exp_mse_gradient(scale, term);
  }
  squares = cuda::block_sum<256>(squares, scratch);
  if (threadIdx.x == 0) values[c * gridDim.x + blockIdx.x] = squares * share;
}

}  // namespace kernels

/// What PrototypeRegulariser calls: `reference` is prepared for `kind`, `sum` [1] receives the value. Nothing is waited
/// for.
template <class T>
void prototype_loss(CudaContext& context, PrototypeLoss kind, MatrixView<const T, Device> reference,
                    MatrixView<const std::type_identity_t<T>, Device> logs,
                    MatrixView<const std::type_identity_t<T>, Device> expression, std::type_identity_t<T> weight,
                    MatrixView<std::type_identity_t<T>, Device> d_log,
                    MatrixView<std::type_identity_t<T>, Device> d_expression, VectorView<double, Device> sum) {
  require_size("PrototypeRegulariser", "sum", "elements", sum.size(), 1);
  if (kind == PrototypeLoss::off) {
    zero(context, sum);
    return;
  }
  const Index types = reference.rows(), genes = reference.cols();
  require_shape("PrototypeRegulariser", "log_prototypes", logs, types, genes);
  if (!d_log.empty()) require_shape("PrototypeRegulariser", "d_log", d_log, types, genes);
  if (kind == PrototypeLoss::pearson) {
    const PearsonOptions<T, Device> options{
        .eps = 1e-16, .weight = weight, .gradient = d_expression, .accumulate = true};
    pearson<T>(context, expression, reference, options, sum);
    return;
  }
  const double share = 1 / static_cast<double>(logs.size());
  const T scale = T(2) * weight / static_cast<T>(logs.size());
  const bool softmax = kind == PrototypeLoss::softmax_mse;
  const unsigned pieces = softmax ? 1 : cuda::blocks_for(genes, kernels::exp_mse_piece);
  const auto mark = context.workspace().mark();
  const auto values = context.workspace().template take<double>(types * static_cast<Index>(pieces));
  if (!logs.empty()) {
    const unsigned down = cuda::blocks_for(types, 1);
    if (softmax) {
      context.launch("softmax_mse", kernels::softmax_mse<T>, down, 256, reference, logs, scale, share, d_log,
                     values.data());
    } else {
      context.launch("exp_mse", kernels::exp_mse<T>, dim3(pieces, down), 256, reference, logs, scale, share, d_log,
                     values.data());
    }
  }
  ops::sum_elements<double>(context, values, sum);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
