#pragma once

// Mean squared error on the device; the formula is that of mean_squared_error.hpp.
//
// A block per row; the sums of the rows go to the workspace and are added in their order. Bytes: prediction and target
// read, gradient written, 12 an element in float.

#include <eosin/core/cuda_context.cuh>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
__global__ void __launch_bounds__(256)
    mean_squared_error(MatrixView<const T, Device> prediction, MatrixView<const T, Device> target,
                       MeanSquaredErrorOptions<T, Device> options, double* values) {
  EOSIN_SHARED(double, scratch, [8]);
  const Index r = static_cast<Index>(blockIdx.x);
  const T share = T(1) / static_cast<T>(prediction.cols());
  const bool counts = options.weights.data() == nullptr || options.weights[r] != T(0);
  double loss = 0;
  for (Index g = threadIdx.x; g < prediction.cols(); g += 256) {
    const T difference = counts ? prediction(r, g) - target(r, g) : T(0);
    loss += static_cast<double>(share * difference * difference);
    if (options.gradient.data() != nullptr) options.gradient(r, g) = T(2) * options.scale * share * difference;
  }
  loss = cuda::block_sum<256>(loss, scratch);
  if (threadIdx.x == 0) values[r] = loss;
}

}  // namespace kernels

/// `sum` [1] receives the loss of prediction [R x G] against target [R x G]. Nothing is waited for.
template <class T>
void mean_squared_error(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> prediction,
                        MatrixView<const std::type_identity_t<T>, Device> target,
                        const MeanSquaredErrorOptions<T, Device>& options, VectorView<double, Device> sum) {
  detail::check_mean_squared_error<T, Device>(prediction, target, options);
  require_size("mean_squared_error", "sum", "elements", sum.size(), 1);
  const auto mark = context.workspace().mark();
  const auto values = context.workspace().template take<double>(prediction.rows());
  if (prediction.rows() > 0)
    context.launch("mean_squared_error", kernels::mean_squared_error<T>, cuda::blocks_for(prediction.rows(), 1), 256,
                   prediction, target, options, values.data());
  ops::sum_elements<double>(context, values, sum);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
