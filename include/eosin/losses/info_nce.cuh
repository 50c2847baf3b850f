#pragma once

// Symmetric InfoNCE on the device; the formulas are those of info_nce.hpp.
//
// L exists in square blocks of at most 256 MiB, 8,192 pairs in float: once for the sums of exponentials over its rows
// and columns and, where there is more than one block, once again to become G. Blocks are products of cuBLAS and not of
// a fused kernel: at 32,768 pairs of 256 numbers four products of 2 n^2 d operations take 33 ms at the 67 Tflop/s of a
// Hopper device in float, and all that a fused kernel would save, 28 bytes of traffic a logit, 6 ms at 4.8 TB/s. cuBLAS
// comes close to that peak, and in the context's other math modes computes on tensor cores. The blocks are that large
// so that the gradients, [edge x edge] [edge x d], keep all multiprocessors of such a device busy with one wave of
// tiles of 128 x 128.
//
//   logit_sums      a block of 256 threads takes 64 x 128 logits, 32 in the registers of each thread (8 rows, columns
//                   32 apart). Rows are reduced by shuffles, columns through shared memory. Reads 4 bytes a logit
//                   (float)
//   logit_gradient  the same shape; L becomes G in place. Reads and writes 8 bytes a logit (float)
//
// Merges, positives and the sum of the loss are linear in the number of pairs: a thread per row or column, or a warp
// per row.
//
// Sums of tiles go to the workspace and are added in the order of the tiles, those of blocks in the order of the
// blocks. The lengths of rows and the scale are multiplied to the products as they are read: embeddings are not copied,
// and a learned scale stays on the device. Scratch: the block, its tiles' sums (3% of it), some 50 bytes per pair.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/exponential.hpp>
#include <eosin/ops/gemm.cuh>
#include <eosin/ops/reduce.cuh>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

/// PositivePairs in the memory of the device. That offsets rise from 0 to the number of columns and columns ascend
/// within rows and [0, n) is the caller's promise.
struct DevicePositivePairs {
  VectorView<const Index, Device> row_offsets{};
  VectorView<const std::int32_t, Device> columns{};

  EOSIN_HOST_DEVICE bool empty() const { return row_offsets.empty(); }
};

template <>
struct PositivePairsIn<Device> {
  using type = DevicePositivePairs;
};

using DeviceInfoNceOptions = BasicInfoNceOptions<DevicePositivePairs>;

namespace kernels {

inline constexpr int logit_tile_rows = 64;
inline constexpr int logit_tile_cols = 128;

/// A block of L from row `row` and column `col` on: products of embeddings, and what makes logits of them.
template <class T>
struct LogitBlock {
  MatrixView<T, Device> products;
  Index row, col;
  const T* row_factors;  // of all pairs
  const T* col_factors;

  __device__ T factor(Index r, Index c) const { return row_factors[row + r] * col_factors[col + c]; }
  __device__ T operator()(Index r, Index c) const { return products(r, c) * factor(r, c); }
};

/// sum exp(x) of lines of logits as exp(largest) * sum.
template <class T>
struct LineSums {
  T* largest;
  T* sum;
};

/// What a pair in T and U weighs in G: row_weight over the positives of its row + col_weight over those of its column.
struct PositiveShares {
  DevicePositivePairs pairs;
  const unsigned* row_counts;
  const unsigned* col_counts;
  double row_weight, col_weight;

  __device__ double operator()(Index i, Index j) const {
    if (pairs.empty()) return row_weight + col_weight;
    return row_weight / static_cast<double>(row_counts[i]) + col_weight / static_cast<double>(col_counts[j]);
  }
};

/// f(column) for the listed positives of row i in [begin, end) other than i, shared by the lanes of a warp.
template <class F>
__device__ void for_each_listed_positive(const DevicePositivePairs& pairs, Index i, Index begin, Index end, F f) {
  if (pairs.empty()) return;
  const Index last = pairs.row_offsets[i + 1];
  Index first = pairs.row_offsets[i];
  for (Index count = last - first; count > 0;) {
    const Index half = count / 2;
    const bool below = pairs.columns[first + half] < begin;
    first = below ? first + half + 1 : first;
    count = below ? count - half - 1 : half;
  }
  for (Index k = first + threadIdx.x; k < last && pairs.columns[k] < end; k += 32)
    if (pairs.columns[k] != i) f(static_cast<Index>(pairs.columns[k]));
}

/// Positives per row and column, the own pair included. Block (32, 8): eight rows. `col_counts` hold ones before.
template <class T>
__global__ void __launch_bounds__(256)
    count_positives(DevicePositivePairs pairs, Index n, T* row_counts, T* col_counts) {
  const Index i = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (i >= n) return;
  T count = 0;
  for_each_listed_positive(pairs, i, 0, n, [&](Index j) {
    ++count;
    // Of whole numbers: their sum does not depend on the order.
    atomicAdd(&col_counts[j], T(1));
  });
  count = cuda::warp_sum(count);
  if (threadIdx.x == 0) row_counts[i] = count + 1;
}

/// 1 / the length of a row, at most 1e12, the same in all lanes of its warp.
template <class T>
__device__ T inverse_length(MatrixView<const T, Device> x, Index row) {
  double squares = 0;
  for (Index c = threadIdx.x; c < x.cols(); c += 32) {
    const double value = static_cast<double>(x(row, c));
    squares += value * value;
  }
  const double length = sqrt(cuda::warp_sum(squares));
  return static_cast<T>(1 / (length < 1e-12 ? 1e-12 : length));
}

/// factors[i] = scale, or exp(*log_scale) unless null, times 1 / |row i| where rows are normalised. Block (32, 8).
template <class T>
__global__ void __launch_bounds__(256)
    logit_factors(MatrixView<const T, Device> x, bool normalize, T scale, const T* log_scale, T* factors) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= x.rows()) return;
  T factor = log_scale == nullptr ? scale : math::exp(*log_scale);
  if (normalize) factor *= inverse_length(x, row);
  if (threadIdx.x == 0) factors[row] = factor;
}

template <class T>
struct ClearSums {
  LineSums<T> rows, cols;
  double* positive;
  unsigned* col_counts;  // may be null
  __device__ void operator()(Index i) const {
    // The lowest number, not -infinity, of which differences are NaN.
    rows.largest[i] = cols.largest[i] = std::numeric_limits<T>::lowest();
    rows.sum[i] = cols.sum[i] = T(0);
    positive[i] = 0;
    if (col_counts != nullptr) col_counts[i] = 1;
  }
};

/// Sums of a tile by rows to row_parts [tiles across x rows of the block], by columns to col_parts [tiles down x
/// columns].
template <class T>
__global__ void __launch_bounds__(256) logit_sums(LogitBlock<T> block, LineSums<T> row_parts, LineSums<T> col_parts) {
  EOSIN_SHARED(T, col_largest, [8][logit_tile_cols]);
  EOSIN_SHARED(T, col_sum, [8][logit_tile_cols]);
  constexpr T lowest = std::numeric_limits<T>::lowest();
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const Index rows = block.products.rows(), cols = block.products.cols();
  const Index row = static_cast<Index>(blockIdx.y) * logit_tile_rows + warp * 8;
  const Index tile_col = static_cast<Index>(blockIdx.x) * logit_tile_cols, col = tile_col + lane;
  T x[8][4];
  for (int r = 0; r < 8; ++r)
    for (int c = 0; c < 4; ++c) x[r][c] = row + r < rows && col + 32 * c < cols ? block(row + r, col + 32 * c) : lowest;
  for (int c = 0; c < 4; ++c) {
    T largest = x[0][c];
    for (int r = 1; r < 8; ++r) largest = x[r][c] > largest ? x[r][c] : largest;
    col_largest[warp][lane + 32 * c] = largest;
  }
  for (int r = 0; r < 8; ++r) {
    T largest = x[r][0];
    for (int c = 1; c < 4; ++c) largest = x[r][c] > largest ? x[r][c] : largest;
    largest = cuda::warp_max(largest);
    T sum = 0;
    for (int c = 0; c < 4; ++c) sum += math::exp(x[r][c] - largest);
    sum = cuda::warp_sum(sum);
    if (lane != 0 || row + r >= rows) continue;
    row_parts.largest[static_cast<Index>(blockIdx.x) * rows + row + r] = largest;
    row_parts.sum[static_cast<Index>(blockIdx.x) * rows + row + r] = sum;
  }
  __syncthreads();
  for (int c = 0; c < 4; ++c) {
    T largest = col_largest[0][lane + 32 * c];
    for (int w = 1; w < 8; ++w) {
      const T other = col_largest[w][lane + 32 * c];
      largest = other > largest ? other : largest;
    }
    T sum = 0;
    for (int r = 0; r < 8; ++r) sum += math::exp(x[r][c] - largest);
    col_sum[warp][lane + 32 * c] = sum;
  }
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x);
  if (own >= logit_tile_cols || tile_col + own >= cols) return;
  T largest = col_largest[0][own], sum = col_sum[0][own];
  for (int w = 1; w < 8; ++w) {
    largest = col_largest[w][own] > largest ? col_largest[w][own] : largest;
    sum += col_sum[w][own];
  }
  col_parts.largest[static_cast<Index>(blockIdx.y) * cols + tile_col + own] = largest;
  col_parts.sum[static_cast<Index>(blockIdx.y) * cols + tile_col + own] = sum;
}

/// Adds the parts [slots x lines] to the sums of the lines, a thread for each; small blocks, as there are few lines.
template <class T>
__global__ void __launch_bounds__(64) merge_logit_sums(LineSums<T> parts, Index slots, Index lines, LineSums<T> into) {
  const Index i = static_cast<Index>(blockIdx.x) * 64 + threadIdx.x;
  if (i >= lines) return;
  const T before = into.largest[i];
  T largest = before;
  for (Index slot = 0; slot < slots; ++slot) {
    const T part = parts.largest[slot * lines + i];
    largest = part > largest ? part : largest;
  }
  T sum = into.sum[i] * math::exp(before - largest);
  for (Index slot = 0; slot < slots; ++slot)
    sum += parts.sum[slot * lines + i] * math::exp(parts.largest[slot * lines + i] - largest);
  into.largest[i] = largest;
  into.sum[i] = sum;
}

/// positive[i] += the logits of its positives in the block, weighted. Block (32, 8): eight rows.
template <class T>
__global__ void __launch_bounds__(256) add_positives(LogitBlock<T> block, PositiveShares shares, double* positive) {
  const Index r = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y, i = block.row + r;
  if (r >= block.products.rows()) return;
  const Index end = block.col + block.products.cols();
  double sum = 0;
  const auto add = [&](Index j) { sum += static_cast<double>(block(r, j - block.col)) * shares(i, j); };
  if (threadIdx.x == 0 && i >= block.col && i < end) add(i);
  for_each_listed_positive(shares.pairs, i, block.col, end, add);
  sum = cuda::warp_sum(sum);
  if (threadIdx.x == 0) positive[i] += sum;
}

/// The parts of the loss and of the gradient by the logarithm of the scale that belong to row and column i; sums become
/// the weights of exponentials in G.
template <class T>
struct FinishSums {
  LineSums<T> rows, cols;
  const double* positive;
  double row_weight, col_weight;
  double* loss;
  double* d_log_scale;
  __device__ void operator()(Index i) const {
    const double row_sum = static_cast<double>(rows.sum[i]), col_sum = static_cast<double>(cols.sum[i]);
    const double largest =
        row_weight * static_cast<double>(rows.largest[i]) + col_weight * static_cast<double>(cols.largest[i]);
    loss[i] = largest - positive[i] + row_weight * log(row_sum) + col_weight * log(col_sum);
    d_log_scale[i] = largest - positive[i];
    rows.sum[i] = static_cast<T>(row_weight / row_sum);
    cols.sum[i] = static_cast<T>(col_weight / col_sum);
  }
};

/// Products become G times their factor, without the listed positives. With Sum, the tile's part of
/// sum P (L - largest of the row) + the same for Q, weighted, is added to tile_sums.
template <bool Sum, class T>
__global__ void __launch_bounds__(256)
    logit_gradient(LogitBlock<T> block, LineSums<T> rows, LineSums<T> cols, PositiveShares shares, double* tile_sums) {
  EOSIN_SHARED(double, scratch, [8]);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const Index row = static_cast<Index>(blockIdx.y) * logit_tile_rows + warp * 8;
  const Index col = static_cast<Index>(blockIdx.x) * logit_tile_cols + lane;
  T total = 0;
  for (int c = 0; c < 4; ++c) {
    const Index at = col + 32 * c, j = block.col + at;
    if (at >= block.products.cols()) continue;
    const T col_largest = cols.largest[j], col_weight = cols.sum[j];
    for (int r = 0; r < 8; ++r) {
      const Index i = block.row + row + r;
      if (row + r >= block.products.rows()) continue;
      const T factor = block.factor(row + r, at), logit = block.products(row + r, at) * factor;
      const T below_row = logit - rows.largest[i], below_col = logit - col_largest;
      const T p = math::exp(below_row) * rows.sum[i], q = math::exp(below_col) * col_weight;
      if constexpr (Sum) total += math::multiply_add(p, below_row, q * below_col);
      const T share = i == j ? static_cast<T>(shares(i, i)) : T(0);
      block.products(row + r, at) = (p + q - share) * factor;
    }
  }
  if constexpr (Sum) {
    const double sum = cuda::block_sum<256>(static_cast<double>(total), scratch);
    if (threadIdx.x == 0) tile_sums[static_cast<Index>(blockIdx.y) * gridDim.x + blockIdx.x] += sum;
  }
}

/// Takes the shares of the listed positives from G. Block (32, 8): eight rows.
template <class T>
__global__ void __launch_bounds__(256) subtract_positives(LogitBlock<T> block, PositiveShares shares) {
  const Index r = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y, i = block.row + r;
  if (r >= block.products.rows()) return;
  for_each_listed_positive(shares.pairs, i, block.col, block.col + block.products.cols(), [&](Index j) {
    const Index c = j - block.col;
    block.products(r, c) -= static_cast<T>(shares(i, j)) * block.factor(r, c);
  });
}

/// From h = (gradient by the unit row) / |row| to the gradient by the row, in place. Block (32, 8): eight rows.
template <class T>
__global__ void __launch_bounds__(256) through_unit_length(MatrixView<const T, Device> x, MatrixView<T, Device> h) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= x.rows()) return;
  const T inverse = inverse_length(x, row);
  // Shorter rows are divided by a constant.
  if (!(inverse < T(1e12))) return;
  double sum = 0;
  for (Index c = threadIdx.x; c < x.cols(); c += 32)
    sum += static_cast<double>(x(row, c)) * static_cast<double>(h(row, c));
  const T along = static_cast<T>(-cuda::warp_sum(sum) * static_cast<double>(inverse) * static_cast<double>(inverse));
  for (Index c = threadIdx.x; c < x.cols(); c += 32) h(row, c) = math::multiply_add(along, x(row, c), h(row, c));
}

template <class T>
struct TakeLogits {
  LogitBlock<T> block;
  __device__ void operator()(Index row, Index col) const { block.products(row, col) = block(row, col); }
};

template <class T>
struct Round {
  const double* from;
  VectorView<T, Device> to;
  __device__ void operator()(Index i) const { to[i] = static_cast<T>(from[i]); }
};

}  // namespace kernels

namespace detail {

/// Largest edge of the square blocks of L: 256 MiB.
template <class T>
inline constexpr Index device_info_nce_block = sizeof(T) == 4 ? 8192 : 5760;

/// The work of one call.
template <class T>
class DeviceInfoNce {
 public:
  DeviceInfoNce(CudaContext& context, MatrixView<const T, Device> spot, MatrixView<const T, Device> image,
                const DeviceInfoNceOptions& options, VectorView<const T, Device> log_scale,
                Index largest_block = device_info_nce_block<T>)
      : context_(context), spot_(spot), image_(image), options_(options), pairs_(spot.rows()) {
    require_info_nce(spot, image, options, !log_scale.empty());
    if (!log_scale.empty()) require_size("info_nce", "log_scale", "elements", log_scale.size(), 1);
    if (!options.positives.empty())
      require_size("info_nce", "positives.row_offsets", "elements", options.positives.row_offsets.size(), pairs_ + 1,
                   "pairs and one");
    // Blocks of about the same size, whose rows begin where wide loads may.
    constexpr Index unit = 64;
    const Index blocks = std::max<Index>(1, (pairs_ + largest_block - 1) / largest_block);
    edge_ = ((pairs_ + blocks - 1) / blocks + unit - 1) / unit * unit;
    row_factors_ = context.workspace().template take<T>(pairs_).data();
    col_factors_ = context.workspace().template take<T>(pairs_).data();
    const T scale = log_scale.empty() ? static_cast<T>(1 / options.temperature) : T(1);
    require_value(scale > 0 && std::isfinite(scale), "info_nce", "the scale of the logits is not a finite number > 0");
    if (pairs_ == 0) return;
    context.launch("info_nce", kernels::logit_factors<T>, eight_rows(pairs_), dim3(32, 8), spot, options.normalize,
                   scale, log_scale.data(), row_factors_);
    context.launch("info_nce", kernels::logit_factors<T>, eight_rows(pairs_), dim3(32, 8), image, options.normalize,
                   T(1), static_cast<const T*>(nullptr), col_factors_);
  }

  void logits(MatrixView<T, Device> out) {
    const auto block = products(0, 0, out);
    for_each_cell(context_, "info_nce_logits", out.rows(), out.cols(), kernels::TakeLogits<T>{block});
  }

  void run(MatrixView<T, Device> d_spot, MatrixView<T, Device> d_image, VectorView<double, Device> loss,
           VectorView<T, Device> d_log_scale) {
    DeviceWorkspace& workspace = context_.workspace();
    T* const memory = workspace.template take<T>(edge_, edge_).data();
    const auto rows = line_sums(pairs_), cols = line_sums(pairs_);
    const auto positive = workspace.template take<double>(pairs_), loss_parts = workspace.template take<double>(pairs_);
    const Index tiles = blocks_across(edge_) * blocks_down(edge_);
    // What the gradient by the scale is the sum of: a number per pair, then one per tile of a block.
    const auto scale_parts = workspace.template take<double>(pairs_ + tiles);
    const auto tile_sums = scale_parts.segment(pairs_, tiles);
    const auto shares = positive_shares();
    for_each_element(context_, "info_nce", pairs_,
                     kernels::ClearSums<T>{rows, cols, positive.data(), shares.col_counts_to_clear});
    if (!options_.positives.empty())
      context_.launch("info_nce", kernels::count_positives<unsigned>, eight_rows(pairs_), dim3(32, 8),
                      options_.positives, pairs_, shares.row_counts_to_fill, shares.col_counts_to_clear);
    {
      const auto mark = workspace.mark();
      const auto row_parts = line_sums(blocks_across(edge_) * edge_), col_parts = line_sums(blocks_down(edge_) * edge_);
      for_each_block(memory, [&](Index a, Index b, MatrixView<T, Device> part) {
        const auto block = products(a, b, part);
        context_.launch("info_nce", kernels::logit_sums<T>, tile_grid(part), 256, block, row_parts, col_parts);
        merge(row_parts, blocks_across(part.cols()), part.rows(), {rows.largest + a, rows.sum + a});
        merge(col_parts, blocks_down(part.rows()), part.cols(), {cols.largest + b, cols.sum + b});
        context_.launch("info_nce", kernels::add_positives<T>, eight_rows(part.rows()), dim3(32, 8), block,
                        shares.shares, positive.data());
      });
    }
    for_each_element(context_, "info_nce", pairs_,
                     kernels::FinishSums<T>{rows, cols, positive.data(), row_weight(), col_weight(), loss_parts.data(),
                                            scale_parts.data()});
    ops::sum_elements<double>(context_, loss_parts, loss);
    const bool by_scale = !d_log_scale.empty();
    if (d_spot.empty() && d_image.empty() && !by_scale) return;

    if (by_scale) zero(context_, tile_sums);
    for_each_block(memory, [&](Index a, Index b, MatrixView<T, Device> part) {
      const auto block = edge_ < pairs_ ? products(a, b, part) : block_of(a, b, part);
      context_.launch("info_nce", by_scale ? kernels::logit_gradient<true, T> : kernels::logit_gradient<false, T>,
                      tile_grid(part), 256, block, rows, cols, shares.shares, tile_sums.data());
      if (!options_.positives.empty())
        context_.launch("info_nce", kernels::subtract_positives<T>, eight_rows(part.rows()), dim3(32, 8), block,
                        shares.shares);
      if (!d_spot.empty())
        ops::gemm<T>(context_, Transpose::no, Transpose::no, T(1), part, image_.middle_rows(b, part.cols()),
                     b == 0 ? T(0) : T(1), d_spot.middle_rows(a, part.rows()));
      if (!d_image.empty())
        ops::gemm<T>(context_, Transpose::yes, Transpose::no, T(1), part, spot_.middle_rows(a, part.rows()),
                     a == 0 ? T(0) : T(1), d_image.middle_rows(b, part.cols()));
    });
    if (options_.normalize) {
      through_unit_length(spot_, d_spot);
      through_unit_length(image_, d_image);
    }
    if (!by_scale) return;
    // loss_parts are free again: the sum in double takes the first of them.
    ops::sum_elements<double>(context_, scale_parts, loss_parts.segment(0, 1));
    for_each_element(context_, "info_nce", Index{1}, kernels::Round<T>{loss_parts.data(), d_log_scale});
  }

 private:
  struct CountedShares {
    kernels::PositiveShares shares;
    unsigned* row_counts_to_fill;
    unsigned* col_counts_to_clear;
  };

  static unsigned eight_rows(Index rows) { return cuda::blocks_for(rows, 8); }
  static Index blocks_across(Index cols) { return (cols + kernels::logit_tile_cols - 1) / kernels::logit_tile_cols; }
  static Index blocks_down(Index rows) { return (rows + kernels::logit_tile_rows - 1) / kernels::logit_tile_rows; }
  static dim3 tile_grid(MatrixView<T, Device> part) {
    return {static_cast<unsigned>(blocks_across(part.cols())), static_cast<unsigned>(blocks_down(part.rows()))};
  }

  double row_weight() const { return (1 - options_.image_weight) / static_cast<double>(pairs_); }
  double col_weight() const { return options_.image_weight / static_cast<double>(pairs_); }

  kernels::LineSums<T> line_sums(Index lines) {
    T* const largest = context_.workspace().template take<T>(lines).data();
    return {largest, context_.workspace().template take<T>(lines).data()};
  }

  CountedShares positive_shares() {
    const Index counted = options_.positives.empty() ? 0 : pairs_;
    unsigned* const row_counts = context_.workspace().template take<unsigned>(counted).data();
    unsigned* const col_counts = context_.workspace().template take<unsigned>(counted).data();
    return {{options_.positives, row_counts, col_counts, row_weight(), col_weight()},
            row_counts,
            counted == 0 ? nullptr : col_counts};
  }

  template <class F>
  void for_each_block(T* memory, F&& f) {
    for (Index a = 0; a < pairs_; a += edge_)
      for (Index b = 0; b < pairs_; b += edge_)
        f(a, b, MatrixView<T, Device>(memory, std::min(edge_, pairs_ - a), std::min(edge_, pairs_ - b), edge_));
  }

  kernels::LogitBlock<T> block_of(Index row, Index col, MatrixView<T, Device> part) const {
    return {part, row, col, row_factors_, col_factors_};
  }
  kernels::LogitBlock<T> products(Index row, Index col, MatrixView<T, Device> part) {
    ops::gemm<T>(context_, Transpose::no, Transpose::yes, T(1), spot_.middle_rows(row, part.rows()),
                 image_.middle_rows(col, part.cols()), T(0), part);
    return block_of(row, col, part);
  }

  void merge(const kernels::LineSums<T>& parts, Index slots, Index lines, const kernels::LineSums<T>& into) {
    context_.launch("info_nce", kernels::merge_logit_sums<T>, cuda::blocks_for(lines, 64), 64, parts, slots, lines,
                    into);
  }
  void through_unit_length(MatrixView<const T, Device> x, MatrixView<T, Device> h) {
    if (!h.empty()) context_.launch("info_nce", kernels::through_unit_length<T>, eight_rows(pairs_), dim3(32, 8), x, h);
  }

  CudaContext& context_;
  MatrixView<const T, Device> spot_, image_;
  const DeviceInfoNceOptions& options_;
  Index pairs_, edge_ = 0;
  T* row_factors_ = nullptr;
  T* col_factors_ = nullptr;
};

}  // namespace detail

/// `loss` [1] receives the loss of the pairs in `spot` and `image`, both [n x d], d_spot and d_image [n x d] the
/// gradients (an empty view: not computed); with `log_scale` [1] (empty: fixed temperature) the scale is learned and
/// d_log_scale [1], unless empty, receives its gradient. Arguments as on the processor. Nothing is waited for: a loss
/// that is not finite is the caller's to find, and so are positives out of range. Logits that are larger than T holds
/// give NaN.
template <class T>
void info_nce(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> spot,
              MatrixView<const std::type_identity_t<T>, Device> image, const DeviceInfoNceOptions& options,
              MatrixView<T, Device> d_spot, MatrixView<T, Device> d_image, VectorView<double, Device> loss,
              VectorView<const std::type_identity_t<T>, Device> log_scale = {},
              VectorView<std::type_identity_t<T>, Device> d_log_scale = {}) {
  const auto mark = context.workspace().mark();
  detail::DeviceInfoNce<T> work(context, spot, image, options, log_scale);
  require_size("info_nce", "loss", "elements", loss.size(), 1);
  if (!d_spot.empty()) require_shape("info_nce", "d_spot", d_spot, spot.rows(), spot.cols());
  if (!d_image.empty()) require_shape("info_nce", "d_image", d_image, spot.rows(), spot.cols());
  if (!d_log_scale.empty()) {
    require_value(!log_scale.empty(), "info_nce", "d_log_scale is given without log_scale");
    require_size("info_nce", "d_log_scale", "elements", d_log_scale.size(), 1);
  }
  if (spot.rows() == 0) {
    zero(context, loss);
    if (!d_log_scale.empty()) zero(context, d_log_scale);
    return;
  }
  work.run(d_spot, d_image, loss, d_log_scale);
}

/// The loss alone, for validation: info_nce<float>(...) without gradients.
template <class T>
void info_nce(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> spot,
              MatrixView<const std::type_identity_t<T>, Device> image, const DeviceInfoNceOptions& options,
              VectorView<double, Device> loss, VectorView<const std::type_identity_t<T>, Device> log_scale = {}) {
  info_nce<T>(context, spot, image, options, MatrixView<T, Device>{}, MatrixView<T, Device>{}, loss, log_scale);
}

/// The logits L [n x n], to look at.
template <class T>
void info_nce_logits(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> spot,
                     MatrixView<const std::type_identity_t<T>, Device> image, const DeviceInfoNceOptions& options,
                     MatrixView<T, Device> logits, VectorView<const std::type_identity_t<T>, Device> log_scale = {}) {
  const auto mark = context.workspace().mark();
  detail::DeviceInfoNce<T> work(context, spot, image, options, log_scale);
  require_shape("info_nce_logits", "logits", logits, spot.rows(), spot.rows());
  work.logits(logits);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
