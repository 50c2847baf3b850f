#pragma once

// A linear layer with GELU on the device, and the way back through both: cuBLAS for the product, one pass over the
// activations for all that is elementwise.
//
//   linear_gelu             product, then bias, GELU and GELU' in place    bytes: 3 n out sizeof(T) beside the product
//   product_gelu_backward   product, then d *= slope and the column sums of d in the same pass        likewise

#include <eosin/ops/gelu.cuh>
#include <eosin/ops/gemm.cuh>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// d *= slope, and the sums of the products over the run of rows blockIdx.y * run. Block (32, 8).
template <class T>
__global__ void __launch_bounds__(256)
    multiply_partial_sums(MatrixView<const T, Device> slope, MatrixView<T, Device> d, Index run, T* partial) {
  EOSIN_SHARED(T, scratch, [8][33]);
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < d.rows() ? begin + run : d.rows();
  T sum = 0;
  if (col < d.cols())
    for (Index row = begin + threadIdx.y; row < end; row += 8) {
      const T product = d(row, col) * slope(row, col);
      d(row, col) = product;
      sum += product;
    }
  if (partial == nullptr) return;
  sum = cuda::column_sum(sum, scratch);
  if (threadIdx.y != 0 || col >= d.cols()) return;
  partial[static_cast<Index>(blockIdx.y) * d.cols() + col] = sum;
}

}  // namespace kernels

/// y = gelu(x W^T + b) and slope = gelu'(x W^T + b): x [n x in], W [out x in], b [out], slope and y [n x out].
template <class T>
void linear_gelu(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                 MatrixView<const std::type_identity_t<T>, Device> weight,
                 VectorView<const std::type_identity_t<T>, Device> bias, MatrixView<T, Device> slope,
                 MatrixView<std::type_identity_t<T>, Device> y) {
  require_shape("linear_gelu", "y", y, slope.rows(), slope.cols());
  require_size("linear_gelu", "bias", "elements", bias.size(), slope.cols(), "columns of slope");
  gemm<T>(context, Transpose::no, Transpose::yes, T(1), x, weight, T(0), slope);
  for_each_cell(context, "linear_gelu", slope.rows(), slope.cols(), kernels::BiasGeluSlope<T>{slope, bias, y});
}

/// d becomes d * slope, both [n x m], and `sums` [m] (empty: none wanted) its column sums, added to what is there where
/// `accumulate`.
template <class T>
void gelu_backward_sums(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> slope,
                        MatrixView<T, Device> d, VectorView<std::type_identity_t<T>, Device> sums, bool accumulate) {
  require_shape("gelu_backward_sums", "d", d, slope.rows(), slope.cols());
  if (!sums.empty()) require_size("gelu_backward_sums", "sums", "elements", sums.size(), d.cols(), "columns of d");
  if (d.cols() == 0) return;
  const detail::RowRuns runs(d.rows());
  const auto mark = context.workspace().mark();
  T* partial = sums.empty() ? nullptr : context.workspace().template take<T>(runs.count, d.cols()).data();
  if (runs.count > 0)
    context.launch("gelu_backward_sums", kernels::multiply_partial_sums<T>, runs.grid(d.cols()), dim3(32, 8), slope, d,
                   runs.length, partial);
  if (!sums.empty()) detail::add_runs<T>(context, partial, runs, T(1), accumulate, sums);
}

/// d = (dz V) * slope: dz [n x out], V [out x m], slope and d [n x m]; `sums` as in gelu_backward_sums.
template <class T>
void product_gelu_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> dz,
                           MatrixView<const std::type_identity_t<T>, Device> weight,
                           MatrixView<const std::type_identity_t<T>, Device> slope, MatrixView<T, Device> d,
                           VectorView<std::type_identity_t<T>, Device> sums, bool accumulate) {
  gemm<T>(context, Transpose::no, Transpose::no, T(1), dz, weight, T(0), d);
  gelu_backward_sums<T>(context, slope, d, sums, accumulate);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
