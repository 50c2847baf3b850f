#pragma once

// Batch normalisation on the device: statistics, the norm with its ReLU, gradients; the formulas are those of
// batch_norm.hpp.
//
//   statistics        a warp owns 32 channels, a block a run of rows, of which there are at most 256, cut by the number
//                     of rows alone. A thread keeps 16 values of its channel in registers: their mean, then squares
//                     about it, so that memory is read once and nothing cancels; these are joined in double (Chan,
//                     Golub and LeVeque 1983), in a fixed order: in the thread, over the eight threads of a channel,
//                     over the runs by a second kernel. Bytes: n d sizeof(T). Per value 4 operations in T and a
//                     sixteenth of 12 in double.
//   gradient sums     the same runs: d through the relu, its sums in T over 16 rows, then in double; what becomes of d
//                     is written by the way. Bytes: 2 n d sizeof(T), and n d or 2 n d for what becomes of d. 5
//                     operations per value.
//   y, relu back, dx  a thread per element. Bytes: 2, 3 and 3 n d sizeof(T); 2 to 4 operations per value.
//   coefficients      a thread per channel: nothing beside the others.

#include <eosin/core/cuda_context.cuh>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Rows of a thread whose sums are taken in T.
inline constexpr int values_per_thread = 16;
/// Rows that a block of eight threads per channel takes at once.
inline constexpr Index rows_at_once = 8 * values_per_thread;
inline constexpr Index most_runs = 256;

/// Rows cut into runs, one per block: multiples of rows_at_once, but for the last.
struct StatisticsRuns {
  Index length, count;
  explicit StatisticsRuns(Index rows)
      : length(std::max<Index>(1, (rows + most_runs * rows_at_once - 1) / (most_runs * rows_at_once)) * rows_at_once),
        count((rows + length - 1) / length) {}
  dim3 grid(Index cols) const { return {cuda::blocks_for(cols, 32), static_cast<unsigned>(count)}; }
};

}  // namespace detail

namespace kernels {

/// Joins the moments of the eight threads of a column of a block (32, 8), in their order; the first thread has the
/// result. `scratch` is shared.
__device__ __forceinline__ void join_column(double (&scratch)[3][8][33], double& count, double& mean, double& squares) {
  const unsigned x = threadIdx.x, y = threadIdx.y;
  scratch[0][y][x] = count;
  scratch[1][y][x] = mean;
  scratch[2][y][x] = squares;
  __syncthreads();
  if (y != 0) return;
  for (int i = 1; i < 8; ++i)
    if (scratch[0][i][x] > 0) {
      detail::join_moments(count, mean, squares, scratch[0][i][x], scratch[1][i][x], scratch[2][i][x]);
      count += scratch[0][i][x];
    }
}

/// Mean, and squares about it, of the columns over a run of rows, block (32, 8); means and squares [runs x columns].
template <class T>
__global__ void __launch_bounds__(256)
    batch_moments(MatrixView<const T, Device> x, Index run, double* means, double* squares) {
  EOSIN_SHARED(double, scratch, [3][8][33]);
  constexpr int values_per_thread = detail::values_per_thread;
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index first = static_cast<Index>(blockIdx.y) * run;
  const Index end = col >= x.cols() ? first : first + run < x.rows() ? first + run : x.rows();
  double count = 0, mean = 0, square = 0;
  for (Index begin = first + threadIdx.y; begin < end; begin += 8 * values_per_thread) {
    T values[values_per_thread];
    T sum = 0;
    int taken = 0;
    for (int i = 0; i < values_per_thread; ++i) {
      const Index row = begin + 8 * i;
      values[i] = row < end ? x(row, col) : T(0);
      sum += values[i];
      taken += row < end ? 1 : 0;
    }
    const T centre = sum / static_cast<T>(taken);
    T about = 0;
    for (int i = 0; i < values_per_thread; ++i) {
      const T difference = i < taken ? values[i] - centre : T(0);
      about = math::multiply_add(difference, difference, about);
    }
    detail::join_moments(count, mean, square, static_cast<double>(taken), static_cast<double>(centre),
                         static_cast<double>(about));
    count += static_cast<double>(taken);
  }
  join_column(scratch, count, mean, square);
  if (threadIdx.y != 0 || col >= x.cols()) return;
  const Index at = static_cast<Index>(blockIdx.y) * x.cols() + col;
  means[at] = mean;
  squares[at] = square;
}

/// Joins the runs of `rows` rows in their order, block (32, 8): a thread takes neighbouring runs.
template <class T>
__global__ void __launch_bounds__(256)
    join_batch_moments(const double* means, const double* squares, Index rows, Index run, Index runs,
                       VectorView<T, Device> mean, VectorView<T, Device> variance) {
  EOSIN_SHARED(double, scratch, [3][8][33]);
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x, share = (runs + 7) / 8;
  const Index first = static_cast<Index>(threadIdx.y) * share;
  const Index last = col >= mean.size() ? first : first + share < runs ? first + share : runs;
  double count = 0, centre = 0, square = 0;
  for (Index r = first; r < last; ++r) {
    const auto taken = static_cast<double>((r + 1) * run < rows ? run : rows - r * run);
    const Index at = r * mean.size() + col;
    detail::join_moments(count, centre, square, taken, means[at], squares[at]);
    count += taken;
  }
  join_column(scratch, count, centre, square);
  if (threadIdx.y != 0 || col >= mean.size()) return;
  mean[col] = static_cast<T>(centre);
  variance[col] = static_cast<T>(count > 0 ? square / count : 0);
}

/// Sums of d and of d (x - mean) over a run of rows, block (32, 8); totals [runs x 2 x columns].
template <bool Relu, class T, class Take>
__global__ void __launch_bounds__(256)
    batch_gradient_sums(MatrixView<const T, Device> x, MatrixView<const T, Device> upstream,
                        BatchNormCoefficients<T, Device> norm, Take take, Index run, double* totals) {
  EOSIN_SHARED(double, scratch, [8][33]);
  constexpr int values_per_thread = detail::values_per_thread;
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const bool inside = col < x.cols();
  const Index first = static_cast<Index>(blockIdx.y) * run;
  const Index end = !inside ? first : first + run < x.rows() ? first + run : x.rows();
  const T mean = inside ? norm.mean[col] : T(0), scale = inside ? norm.scale[col] : T(0),
          shift = inside ? norm.shift[col] : T(0);
  double plain = 0, centred = 0;
  for (Index begin = first + threadIdx.y; begin < end; begin += 8 * values_per_thread) {
    T some_plain = 0, some_centred = 0;
    const Index stop = begin + 8 * values_per_thread < end ? begin + 8 * values_per_thread : end;
    for (Index row = begin; row < stop; row += 8) {
      const T value = x(row, col);
      T d = upstream(row, col);
      if constexpr (Relu) d = detail::where_relu_passes(value, scale, shift, d);
      some_plain += d;
      some_centred = math::multiply_add(d, value - mean, some_centred);
      take(row, col, d);
    }
    plain += static_cast<double>(some_plain);
    centred += static_cast<double>(some_centred);
  }
  plain = cuda::column_sum(plain, scratch);
  centred = cuda::column_sum(centred, scratch);
  if (threadIdx.y != 0 || !inside) return;
  double* total = totals + static_cast<Index>(blockIdx.y) * 2 * x.cols();
  total[col] = plain;
  total[x.cols() + col] = centred;
}

/// Adds the runs in their order, block (32, 8): column c of 2 x channels belongs to `sum`, then to `centred`. A
/// template like every kernel, though it knows double alone.
template <class T>
__global__ void __launch_bounds__(256)
    add_batch_gradient_sums(const T* totals, Index runs, VectorView<T, Device> sum, VectorView<T, Device> centred) {
  EOSIN_SHARED(T, scratch, [8][33]);
  const Index channels = sum.size(), cols = 2 * channels;
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x, share = (runs + 7) / 8;
  const Index first = static_cast<Index>(threadIdx.y) * share;
  const Index last = col >= cols ? first : first + share < runs ? first + share : runs;
  T total = 0;
  for (Index r = first; r < last; ++r) total += totals[r * cols + col];
  total = cuda::column_sum(total, scratch);
  if (threadIdx.y != 0 || col >= cols) return;
  (col < channels ? sum[col] : centred[col - channels]) = total;
}

template <bool Relu, class T>
struct NormaliseRowsOfBatch {
  MatrixView<const T, Device> x;
  BatchNormCoefficients<T, Device> norm;
  MatrixView<T, Device> y;
  __device__ void operator()(Index row, Index col) const {
    y(row, col) = detail::normalised<Relu>(x(row, col), norm.scale[col], norm.shift[col]);
  }
};

template <class T>
struct ReluBackwardRows {
  MatrixView<const T, Device> x;
  BatchNormCoefficients<T, Device> norm;
  MatrixView<T, Device> d;
  __device__ void operator()(Index row, Index col) const {
    d(row, col) = detail::where_relu_passes(x(row, col), norm.scale[col], norm.shift[col], d(row, col));
  }
};

template <class T>
struct BatchNormBackwardRows {
  MatrixView<const T, Device> x, d;
  BatchNormInputGradient<T, Device> gradient;
  MatrixView<T, Device> dx;
  __device__ void operator()(Index row, Index col) const {
    dx(row, col) = detail::input_gradient(x(row, col), d(row, col), gradient.mean[col], gradient.slope[col],
                                          gradient.offset[col], gradient.tilt[col]);
  }
};

}  // namespace kernels

/// Mean and variance of channels on the device, from one block of rows.
template <class T>
class BlockMoments<T, Device> {
 public:
  /// Takes its memory from the workspace, where it stays until the caller's mark dies; none for no blocks.
  BlockMoments(CudaContext& context, Index blocks, Index channels)
      : context_(&context),
        means_(context.workspace().template take<double>(blocks > 0 ? detail::most_runs : 0, channels)),
        squares_(context.workspace().template take<double>(blocks > 0 ? detail::most_runs : 0, channels)) {
    require_value(blocks <= 1, "BlockMoments", "a device takes its rows as one block");
  }

  /// Takes the rows [rows x channels], all there are.
  void add(Index, MatrixView<const T, Device> x) {
    require_size("BlockMoments", "x", "columns", x.cols(), means_.cols(), "channels");
    rows_ = x.rows();
    if (x.empty()) return;
    const detail::StatisticsRuns runs(rows_);
    context_->launch("batch_moments", kernels::batch_moments<T>, runs.grid(x.cols()), dim3(32, 8), x, runs.length,
                     means_.data(), squares_.data());
  }

  /// `variance` is divided by the number of rows.
  void finish(VectorView<T, Device> mean, VectorView<T, Device> variance) const {
    if (mean.empty()) return;
    const detail::StatisticsRuns runs(rows_);
    context_->launch("join_batch_moments", kernels::join_batch_moments<T>, cuda::blocks_for(mean.size(), 32),
                     dim3(32, 8), means_.data(), squares_.data(), rows_, runs.length, runs.count, mean, variance);
  }

 private:
  CudaContext* context_;
  MatrixView<double, Device> means_, squares_;
  Index rows_ = 0;
};

/// sum_n d_nc and sum_n d_nc (x_nc - m_c) of channels on the device, from one block of rows.
template <class T>
class BlockGradientSums<T, Device> {
 public:
  BlockGradientSums(CudaContext& context, Index blocks, Index channels)
      : context_(&context),
        totals_(context.workspace().template take<double>(blocks > 0 ? detail::most_runs : 0, 2 * channels)) {
    require_value(blocks <= 1, "BlockGradientSums", "a device takes its rows as one block");
  }

  /// As on the processor, for all rows; take(row, column, d) is called on the device.
  template <bool Relu, class Take>
  void add(Index, MatrixView<const T, Device> x, MatrixView<const T, Device> upstream,
           const BatchNormCoefficients<T, Device>& norm, const Take& take) {
    require_size("BlockGradientSums", "x", "columns", 2 * x.cols(), totals_.cols(), "channels");
    rows_ = x.rows();
    if (x.empty()) return;
    const detail::StatisticsRuns runs(rows_);
    context_->launch("batch_gradient_sums", kernels::batch_gradient_sums<Relu, T, Take>, runs.grid(x.cols()),
                     dim3(32, 8), x, upstream, norm, take, runs.length, totals_.data());
  }

  void finish(VectorView<double, Device> sum, VectorView<double, Device> centred) const {
    if (sum.empty()) return;
    context_->launch("add_batch_gradient_sums", kernels::add_batch_gradient_sums<double>,
                     cuda::blocks_for(2 * sum.size(), 32), dim3(32, 8), totals_.data(),
                     detail::StatisticsRuns(rows_).count, sum, centred);
  }

 private:
  CudaContext* context_;
  MatrixView<double, Device> totals_;
  Index rows_ = 0;
};

/// y = s x + t, then relu if `Relu`. y may be x.
template <bool Relu, class T>
void normalise_rows_of_batch(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                             const BatchNormCoefficients<T, Device>& norm, MatrixView<T, Device> y) {
  for_each_cell(context, "normalise_rows_of_batch", x.rows(), x.cols(),
                kernels::NormaliseRowsOfBatch<Relu, T>{x, norm, y});
}

/// d = d where relu(s x + t) passes, else 0.
template <class T>
void relu_backward_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                        const BatchNormCoefficients<T, Device>& norm, MatrixView<T, Device> d) {
  for_each_cell(context, "relu_backward_rows", x.rows(), x.cols(), kernels::ReluBackwardRows<T>{x, norm, d});
}

/// dx; it may be d.
template <class T>
void batch_norm_backward_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                              MatrixView<const std::type_identity_t<T>, Device> d,
                              const BatchNormInputGradient<T, Device>& gradient, MatrixView<T, Device> dx) {
  for_each_cell(context, "batch_norm_backward_rows", x.rows(), x.cols(),
                kernels::BatchNormBackwardRows<T>{x, d, gradient, dx});
}

template <class T>
Vector<T, Device> constant_vector(Device, Index size, T value) {
  Vector<T, Device> out(size);
  Vector<T> host(size);
  host.fill(value);
  // On the default stream, which is ordered before the streams of contexts; without a context there is no other.
  if (size > 0)
    cuda::check(cudaMemcpyAsync(out.data(), host.data(), static_cast<std::size_t>(size) * sizeof(T),
                                cudaMemcpyHostToDevice, nullptr),
                "cudaMemcpyAsync");
  return out;
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
