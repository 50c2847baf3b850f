#pragma once

// Column sums and bias addition on the device.
//
//   column_sums   a warp owns 32 columns and a run of rows: coalesced, every element read once; partial sums of the
//   runs go
//                 to the workspace, a second kernel adds them in the order of the runs. Bytes: n d sizeof(T).
//   add_bias      a thread per element, read and written once. Bytes: 2 n d sizeof(T).

#include <eosin/core/cuda_context.cuh>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8): eight rows at a time of 32 columns, the run of rows blockIdx.y * run.
template <class T>
__global__ void __launch_bounds__(256) column_partial_sums(MatrixView<const T, Device> x, Index run, T* partial) {
  EOSIN_SHARED(T, scratch, [8][33]);
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < x.rows() ? begin + run : x.rows();
  T sum = 0;
  if (col < x.cols())
    for (Index row = begin + threadIdx.y; row < end; row += 8) sum += x(row, col);
  sum = cuda::column_sum(sum, scratch);
  if (threadIdx.y != 0 || col >= x.cols()) return;
  partial[static_cast<Index>(blockIdx.y) * x.cols() + col] = sum;
}

/// out[c] = scale * the sum of `runs` partial sums, added to out[c] where `accumulate`.
template <class T>
__global__ void __launch_bounds__(256)
    add_partial_sums(const T* partial, Index runs, T scale, bool accumulate, VectorView<T, Device> out) {
  const Index col = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (col >= out.size()) return;
  T sum = 0;
  for (Index run = 0; run < runs; ++run) sum += partial[run * out.size() + col];
  out[col] = (accumulate ? out[col] : T(0)) + scale * sum;
}

/// One block.
template <class T>
__global__ void __launch_bounds__(256) sum_elements(const T* x, Index count, T* out) {
  EOSIN_SHARED(T, scratch, [8]);
  T sum = 0;
  for (Index i = threadIdx.x; i < count; i += 256) sum += x[i];
  sum = cuda::block_sum<256>(sum, scratch);
  if (threadIdx.x == 0) *out = sum;
}

template <class T>
struct AddBias {
  VectorView<const T, Device> bias;
  MatrixView<T, Device> x;
  __device__ void operator()(Index row, Index col) const { x(row, col) += bias[col]; }
};

}  // namespace kernels

namespace detail {

/// Rows cut into runs, one per block: a function of their number alone, so that sums are too.
struct RowRuns {
  Index length, count;
  explicit RowRuns(Index rows)
      : length(std::max<Index>(256, (rows + highest_grid - 1) / highest_grid)), count((rows + length - 1) / length) {}
  dim3 grid(Index cols) const { return {cuda::blocks_for(cols, 32), static_cast<unsigned>(count)}; }

 private:
  static constexpr Index highest_grid = 65535;
};

/// out = the partial sums of all runs [runs x columns], scaled, or out += them.
template <class T>
void add_runs(CudaContext& context, const T* partial, const RowRuns& runs, T scale, bool accumulate,
              VectorView<T, Device> out) {
  context.launch("column_sums", kernels::add_partial_sums<T>, cuda::blocks_for(out.size(), 256), 256, partial,
                 runs.count, scale, accumulate, out);
}

}  // namespace detail

/// out[c] = scale * sum_n x(n, c), added to out when `accumulate`. x [n x d], out [d].
template <class T>
void column_sums(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x, VectorView<T, Device> out,
                 std::type_identity_t<T> scale = T(1), bool accumulate = false) {
  require_size("column_sums", "out", "elements", out.size(), x.cols(), "columns of x");
  if (out.empty()) return;
  const detail::RowRuns runs(x.rows());
  const auto mark = context.workspace().mark();
  const auto partial = context.workspace().template take<T>(runs.count, x.cols());
  if (runs.count > 0)
    context.launch("column_sums", kernels::column_partial_sums<T>, runs.grid(x.cols()), dim3(32, 8), x, runs.length,
                   partial.data());
  detail::add_runs<T>(context, partial.data(), runs, scale, accumulate, out);
}

/// sum[0] = sum_i x[i]; x without gaps.
template <class T>
void sum_elements(CudaContext& context, VectorView<const std::type_identity_t<T>, Device> x,
                  VectorView<T, Device> sum) {
  require_size("sum_elements", "sum", "elements", sum.size(), 1);
  require_value(x.contiguous() || x.size() <= 1, "sum_elements", "the elements of x are not contiguous");
  context.launch("sum_elements", kernels::sum_elements<T>, 1, 256, x.data(), x.size(), sum.data());
}

/// out[c] = mean_n x(n, c); x must have a row.
template <class T>
void column_means(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                  VectorView<T, Device> out) {
  require_value(x.rows() > 0, "column_means", "x has no rows");
  column_sums<T>(context, x, out, T(1) / static_cast<T>(x.rows()));
}

/// x(n, c) += bias[c].
template <class T>
void add_bias(CudaContext& context, VectorView<const std::type_identity_t<T>, Device> bias, MatrixView<T, Device> x) {
  require_size("add_bias", "bias", "elements", bias.size(), x.cols(), "columns of x");
  for_each_cell(context, "add_bias", x.rows(), x.cols(), kernels::AddBias<T>{bias, x});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
