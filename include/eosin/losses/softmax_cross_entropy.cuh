#pragma once

// Cross-entropy of the softmax of rows on the device; the mathematics is told in softmax_cross_entropy.hpp.
//
// A warp per row, in three passes over it: the largest logit, the sum of exponentials with loss and mass of the
// targets, softmax and gradient. The row comes from memory once and from the cache twice; exponentials are computed
// anew rather than kept. The losses of the rows go to the workspace and are added in their order. Bytes: logits,
// targets read, gradient written, 8 to 12 an element in float.

#include <eosin/core/cuda_context.cuh>
#include <eosin/ops/reduce.cuh>

#include <limits>
#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Targets of rows: one class each.
template <class T>
struct LabelTargets {
  VectorView<const Index, Device> labels;
  __device__ T operator()(Index row, Index c) const { return labels[row] == c ? T(1) : T(0); }
  __device__ bool valid(Index row, Index classes) const { return labels[row] >= 0 && labels[row] < classes; }
};
/// Probabilities; one that is negative makes its row's loss NaN.
template <class T>
struct ProbabilityTargets {
  MatrixView<const T, Device> targets;
  __device__ T operator()(Index row, Index c) const {
    const T t = targets(row, c);
    return t >= T(0) ? t : std::numeric_limits<T>::quiet_NaN();
  }
  __device__ bool valid(Index, Index) const { return true; }
};

/// Block (32, 8): eight rows.
template <class T, class Targets>
__global__ void __launch_bounds__(256)
    softmax_cross_entropy(MatrixView<const T, Device> logits, Targets targets,
                          SoftmaxCrossEntropyOptions<T, Device> options, double* values) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= logits.rows()) return;
  const Index classes = logits.cols();
  T largest = std::numeric_limits<T>::lowest();
  for (Index c = threadIdx.x; c < classes; c += 32) largest = logits(row, c) > largest ? logits(row, c) : largest;
  largest = cuda::warp_max(largest);
  double exponentials = 0;
  for (Index c = threadIdx.x; c < classes; c += 32)
    exponentials += static_cast<double>(math::exp(logits(row, c) - largest));
  exponentials = cuda::warp_sum(exponentials);
  const double log_sum = std::log(exponentials);
  double loss = 0, mass = 0;
  for (Index c = threadIdx.x; c < classes; c += 32) {
    const T t = targets(row, c);
    if (t == T(0)) continue;
    loss += detail::cross_entropy_term(t, logits(row, c), largest, log_sum);
    mass += static_cast<double>(t);
  }
  loss = cuda::warp_sum(loss);
  mass = cuda::warp_sum(mass);
  if (!targets.valid(row, classes)) loss = std::numeric_limits<double>::quiet_NaN();
  const double weight = detail::cross_entropy_weight(
      options.reduction, options.weight, options.row_weights.data() == nullptr ? T(0) : options.row_weights[row],
      logits.rows());
  // The gradient may take the memory of the logits: each lane has read what it now overwrites, and so have the others.
  __syncwarp();
  const double inverse = 1 / exponentials;
  for (Index c = threadIdx.x; c < classes; c += 32) {
    const T exponential = math::exp(logits(row, c) - largest);
    const T t = targets(row, c);
    if (options.softmax.data() != nullptr) options.softmax(row, c) = exponential * static_cast<T>(inverse);
    if (options.gradient.data() != nullptr)
      options.gradient(row, c) =
          exponential * static_cast<T>(weight * mass * inverse) - static_cast<T>(weight * static_cast<double>(t));
  }
  if (threadIdx.x != 0) return;
  if (options.per_row.data() != nullptr) options.per_row[row] = static_cast<T>(loss);
  values[row] = weight * loss;
}

}  // namespace kernels

namespace detail {

template <class T, class Targets>
void device_softmax_cross_entropy(CudaContext& context, MatrixView<const T, Device> logits, const Targets& targets,
                                  const SoftmaxCrossEntropyOptions<T, Device>& options,
                                  VectorView<double, Device> sum) {
  check_softmax_cross_entropy<T, Device>(logits, options);
  require_size("softmax_cross_entropy", "sum", "elements", sum.size(), 1);
  const auto mark = context.workspace().mark();
  const auto values = context.workspace().template take<double>(logits.rows());
  if (logits.rows() > 0)
    context.launch("softmax_cross_entropy", kernels::softmax_cross_entropy<T, Targets>,
                   cuda::blocks_for(logits.rows(), 8), dim3(32, 8), logits, targets, options, values.data());
  ops::sum_elements<double>(context, values, sum);
}

}  // namespace detail

/// `sum` [1] receives the loss of `logits` [n x c] against `labels` [n] in [0, c); arguments as on the processor.
/// Nothing is waited for: a label outside makes the loss NaN.
template <class T>
void softmax_cross_entropy(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> logits,
                           VectorView<const Index, Device> labels, const SoftmaxCrossEntropyOptions<T, Device>& options,
                           VectorView<double, Device> sum) {
  require_size("softmax_cross_entropy", "labels", "elements", labels.size(), logits.rows(), "rows of logits");
  detail::device_softmax_cross_entropy<T>(context, logits, kernels::LabelTargets<T>{labels}, options, sum);
}

/// The same against probabilities, `targets` [n x c], of which one that is negative makes the loss NaN.
template <class T>
void softmax_cross_entropy(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> logits,
                           MatrixView<const std::type_identity_t<T>, Device> targets,
                           const SoftmaxCrossEntropyOptions<T, Device>& options, VectorView<double, Device> sum) {
  require_shape("softmax_cross_entropy", "targets", targets, logits.rows(), logits.cols());
  detail::device_softmax_cross_entropy<T>(context, logits, kernels::ProbabilityTargets<T>{targets}, options, sum);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
