#pragma once

// Mean Pearson correlation of columns on the device; the formulas are those of pearson.hpp.
//
// A block owns 32 columns, eight rows at a time, and passes over them three times: means, centred sums, gradient. Sums
// are in double: of a thread's rows, then of the eight threads of a column. Neighbouring threads read neighbouring
// columns. Bytes: 2 n g sizeof(T) read three times, where the columns of the blocks at work do not stay in the cache,
// and n g written.

#include <eosin/core/cuda_context.cuh>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8). `values` [blocks] receives the shares of the loss.
template <class T>
__global__ void __launch_bounds__(256)
    pearson(MatrixView<const T, Device> prediction, MatrixView<const T, Device> target,
            PearsonOptions<T, Device> options, double* values) {
  EOSIN_SHARED(double, scratch, [8][33]);
  const Index g = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index rows =
      g < prediction.cols() ? prediction.rows() : 0;  // a thread beside the columns only meets the barriers
  const double count = static_cast<double>(rows > 0 ? rows : 1);
  const double genes = static_cast<double>(prediction.cols());
  double sum_x = 0, sum_y = 0;
  bool vary_x = false, vary_y = false;
  for (Index n = threadIdx.y; n < rows; n += 8) {
    const T x = prediction(n, g), y = target(n, g);
    sum_x += static_cast<double>(x);
    sum_y += static_cast<double>(y);
    vary_x |= x != prediction(0, g);
    vary_y |= y != target(0, g);
  }
  const double mean_x = cuda::column_sum(sum_x, scratch) / count, mean_y = cuda::column_sum(sum_y, scratch) / count;
  // Both before they are joined: every thread meets the barriers of both.
  const double varying_x = cuda::column_sum(vary_x ? 1.0 : 0.0, scratch),
               varying_y = cuda::column_sum(vary_y ? 1.0 : 0.0, scratch);
  const bool varies = varying_x > 0 && varying_y > 0;
  double sxx = 0, syy = 0, sxy = 0;
  for (Index n = threadIdx.y; n < rows; n += 8) {
    const double xc = static_cast<double>(prediction(n, g)) - mean_x;
    const double yc = static_cast<double>(target(n, g)) - mean_y;
    sxx += xc * xc;
    syy += yc * yc;
    sxy += xc * yc;
  }
  sxx = cuda::column_sum(sxx, scratch);
  syy = cuda::column_sum(syy, scratch);
  sxy = cuda::column_sum(sxy, scratch);
  const double factor = -static_cast<double>(options.weight) / genes;
  const auto column = detail::pearson_column(varies, sxx, syy, sxy, options.eps, factor);
  if (options.gradient.data() != nullptr)
    for (Index n = threadIdx.y; n < rows; n += 8) {
      const double value = column.along_y * (static_cast<double>(target(n, g)) - mean_y) +
                           column.along_x * (static_cast<double>(prediction(n, g)) - mean_x);
      T& out = options.gradient(n, g);
      out = options.accumulate ? static_cast<T>(static_cast<double>(out) + value) : static_cast<T>(value);
    }
  if (threadIdx.y != 0) return;
  if (g < prediction.cols() && options.correlation.data() != nullptr)
    options.correlation[g] = static_cast<T>(column.correlation);
  const double total = cuda::warp_sum(column.correlation);
  if (threadIdx.x == 0) values[blockIdx.x] = -total / genes;
}

}  // namespace kernels

/// `sum` [1] receives the loss of `prediction` against `target`, both [N x G]. Nothing is waited for.
template <class T>
void pearson(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> prediction,
             MatrixView<const std::type_identity_t<T>, Device> target, const PearsonOptions<T, Device>& options,
             VectorView<double, Device> sum) {
  const Index rows = prediction.rows(), genes = prediction.cols();
  require_shape("pearson", "target", target, rows, genes);
  require_size("pearson", "sum", "elements", sum.size(), 1);
  if (!options.correlation.empty())
    require_size("pearson", "correlation", "elements", options.correlation.size(), genes, "columns of prediction");
  if (!options.gradient.empty()) require_shape("pearson", "gradient", options.gradient, rows, genes);
  const auto mark = context.workspace().mark();
  const auto values = context.workspace().template take<double>((genes + 31) / 32);
  if (genes > 0)
    context.launch("pearson", kernels::pearson<T>, cuda::blocks_for(genes, 32), dim3(32, 8), prediction, target,
                   options, values.data());
  ops::sum_elements<double>(context, values, sum);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
