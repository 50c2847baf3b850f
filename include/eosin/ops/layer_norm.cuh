#pragma once

// Layer normalisation on the device, forward and backward; the formulas are those of layer_norm.hpp.
//
//   forward    a warp per row: mean, then the variance of what is centred, then y. The row comes from memory once and
//   from
//              the cache twice. Bytes: 2 n d sizeof(T)
//   backward   dx: a warp per row. d_weight and d_bias: sums over the rows of dy h and dy by runs of rows, then over
//   the
//              runs in their order. Bytes: 3 n d for dx, 2 n d for the sums, times sizeof(T)
//
// Sums of a row are in double.

#include <eosin/core/cuda_context.cuh>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8): eight rows. `weight` and `bias` may be null.
template <class T>
__global__ void __launch_bounds__(256)
    layer_norm(MatrixView<const T, Device> x, const T* weight, const T* bias, double eps, MatrixView<T, Device> y,
               VectorView<T, Device> mean, VectorView<T, Device> inverse_deviation) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= x.rows()) return;
  const double count = static_cast<double>(x.cols());
  double sum = 0;
  for (Index c = threadIdx.x; c < x.cols(); c += 32) sum += static_cast<double>(x(row, c));
  const T centre = static_cast<T>(cuda::warp_sum(sum) / count);
  double squares = 0;
  for (Index c = threadIdx.x; c < x.cols(); c += 32) {
    const T centred = x(row, c) - centre;
    squares += static_cast<double>(centred * centred);
  }
  const T inverse = static_cast<T>(1 / sqrt(cuda::warp_sum(squares) / count + eps));
  for (Index c = threadIdx.x; c < x.cols(); c += 32) {
    const T h = (x(row, c) - centre) * inverse;
    y(row, c) = weight == nullptr ? h : math::multiply_add(h, weight[c], bias[c]);
  }
  if (threadIdx.x == 0) {
    mean[row] = centre;
    inverse_deviation[row] = inverse;
  }
}

/// dx by rows, block (32, 8).
template <class T>
__global__ void __launch_bounds__(256)
    layer_norm_backward(MatrixView<const T, Device> x, VectorView<const T, Device> mean,
                        VectorView<const T, Device> inverse_deviation, const T* weight, MatrixView<const T, Device> dy,
                        MatrixView<T, Device> dx, bool add_to_dx) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= x.rows()) return;
  const T centre = mean[row], inverse = inverse_deviation[row];
  double sum = 0, product = 0;
  for (Index c = threadIdx.x; c < x.cols(); c += 32) {
    const T h = (x(row, c) - centre) * inverse;
    const T g = weight == nullptr ? dy(row, c) : dy(row, c) * weight[c];
    sum += static_cast<double>(g);
    product += static_cast<double>(g * h);
  }
  const double count = static_cast<double>(x.cols());
  const T mean_g = static_cast<T>(cuda::warp_sum(sum) / count),
          mean_gh = static_cast<T>(cuda::warp_sum(product) / count);
  for (Index c = threadIdx.x; c < x.cols(); c += 32) {
    const T h = (x(row, c) - centre) * inverse;
    const T g = weight == nullptr ? dy(row, c) : dy(row, c) * weight[c];
    const T result = inverse * (g - mean_g - h * mean_gh);
    dx(row, c) = add_to_dx ? dx(row, c) + result : result;
  }
}

/// Sums of dy h and of dy over a run of rows, block (32, 8).
template <class T>
__global__ void __launch_bounds__(256)
    layer_norm_partial_sums(MatrixView<const T, Device> x, VectorView<const T, Device> mean,
                            VectorView<const T, Device> inverse_deviation, MatrixView<const T, Device> dy, Index run,
                            T* weight_partial, T* bias_partial) {
  EOSIN_SHARED(T, scratch, [8][33]);
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < x.rows() ? begin + run : x.rows();
  T weight_sum = 0, bias_sum = 0;
  if (col < x.cols())
    for (Index row = begin + threadIdx.y; row < end; row += 8) {
      const T h = (x(row, col) - mean[row]) * inverse_deviation[row];
      weight_sum = math::multiply_add(dy(row, col), h, weight_sum);
      bias_sum += dy(row, col);
    }
  weight_sum = cuda::column_sum(weight_sum, scratch);
  bias_sum = cuda::column_sum(bias_sum, scratch);
  if (threadIdx.y != 0 || col >= x.cols()) return;
  const Index at = static_cast<Index>(blockIdx.y) * x.cols() + col;
  weight_partial[at] = weight_sum;
  bias_partial[at] = bias_sum;
}

}  // namespace kernels

/// y = h * weight + bias for x [n x d] on the device; arguments as in layer_norm on the processor.
template <class T>
void layer_norm(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                VectorView<const std::type_identity_t<T>, Device> weight,
                VectorView<const std::type_identity_t<T>, Device> bias, double eps, MatrixView<T, Device> y,
                VectorView<std::type_identity_t<T>, Device> mean,
                VectorView<std::type_identity_t<T>, Device> inverse_deviation) {
  require_shape("layer_norm", "y", y, x.rows(), x.cols());
  require_size("layer_norm", "mean", "elements", mean.size(), x.rows(), "rows of x");
  require_size("layer_norm", "inverse_deviation", "elements", inverse_deviation.size(), x.rows(), "rows of x");
  detail::check_layer_norm_vector("layer_norm", "weight", weight, x.cols());
  detail::check_layer_norm_vector("layer_norm", "bias", bias, x.cols());
  require_value(weight.empty() == bias.empty(), "layer_norm", "weight and bias are given together or not at all");
  require_value(eps > 0, "layer_norm", "eps must be positive");
  if (x.empty()) return;
  context.launch("layer_norm", kernels::layer_norm<T>, cuda::blocks_for(x.rows(), 8), dim3(32, 8), x, weight.data(),
                 bias.data(), eps, y, mean, inverse_deviation);
}

/// dx [n x d] (may be dy) and, unless empty, d_weight and d_bias [d]; arguments as in layer_norm_backward on the
/// processor.
template <class T>
void layer_norm_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                         VectorView<const std::type_identity_t<T>, Device> mean,
                         VectorView<const std::type_identity_t<T>, Device> inverse_deviation,
                         VectorView<const std::type_identity_t<T>, Device> weight,
                         MatrixView<const std::type_identity_t<T>, Device> dy, MatrixView<T, Device> dx,
                         VectorView<std::type_identity_t<T>, Device> d_weight,
                         VectorView<std::type_identity_t<T>, Device> d_bias,
                         const LayerNormBackwardOptions& options = {}) {
  const char* const name = "layer_norm_backward";
  const Index rows = x.rows(), cols = x.cols();
  require_shape(name, "dy", dy, rows, cols);
  require_shape(name, "dx", dx, rows, cols);
  require_size(name, "mean", "elements", mean.size(), rows, "rows of x");
  require_size(name, "inverse_deviation", "elements", inverse_deviation.size(), rows, "rows of x");
  detail::check_layer_norm_vector(name, "weight", weight, cols);
  detail::check_layer_norm_vector(name, "d_weight", d_weight, cols);
  detail::check_layer_norm_vector(name, "d_bias", d_bias, cols);
  if (cols == 0) return;
  const detail::RowRuns runs(rows);
  const auto mark = context.workspace().mark();
  // Before dx, which may take the place of dy.
  if (!d_weight.empty() || !d_bias.empty()) {
    const auto partial = context.workspace().template take<T>(2 * runs.count, cols);
    T* weight_partial = partial.data();
    T* bias_partial = weight_partial + runs.count * cols;
    if (rows > 0)
      context.launch(name, kernels::layer_norm_partial_sums<T>, runs.grid(cols), dim3(32, 8), x, mean,
                     inverse_deviation, dy, runs.length, weight_partial, bias_partial);
    if (!d_weight.empty()) detail::add_runs<T>(context, weight_partial, runs, T(1), options.accumulate, d_weight);
    if (!d_bias.empty()) detail::add_runs<T>(context, bias_partial, runs, T(1), options.accumulate, d_bias);
  }
  if (rows > 0)
    context.launch(name, kernels::layer_norm_backward<T>, cuda::blocks_for(rows, 8), dim3(32, 8), x, mean,
                   inverse_deviation, weight.data(), dy, dx, options.add_to_dx);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
