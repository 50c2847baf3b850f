#pragma once

// Multi-head self-attention on the device; the mathematics is that of attention.hpp, and so is what forward leaves for
// backward: O and L = log sum exp S.
//
//   forward   a block owns 64 queries of a head and goes over the keys of their sentence, 64 at a time: scores, largest
//             entry and sum so far, weights, O += weights V. The scores of a block live in registers.
//   D         a warp per row and head
//   dK, dV    a block owns 64 keys and goes over the queries of the sentence; its scores stand as [keys x queries]
//   dQ        a block owns 64 queries and goes over the keys, and so computes scores a second time: 14 n^2 heads k
//             operations in place of 10, but no sum whose order is left to chance and no copies of dQ
//
// A block is 16 x 16 threads. Thread (x, y) holds rows 4 y .. 4 y + 3 of a product; of a product of rows its columns
// x, x + 16, x + 32, x + 48, of the other kind runs of 16 bytes. There are only two kinds, product_of_rows (A B^T) and
// add_product (A B), with operands in shared memory and row-major: these and the places of TileThread are what
// tensor cores would replace. Rows of a tile are padded by 16 bytes, so that what a warp reads at once, and the
// weights it stores, lie in different banks.
//
// A head wider than a tile (128 floats or 64 doubles) is cut: scores are sums over the slices of its columns, and each
// slice of the result has a block of its own, which computes the scores anew.
//
// Memory: linear in n. Which rows are a sentence comes to the device as arguments of a kernel, which writes a list of
// all pieces of 64 rows to the workspace: nothing of the host's is read later, so that a graph can capture it. Bytes
// per sentence of n rows and head of width k, times sizeof(T): forward n k (2 n / 64 + 2), backward
// n k (4 n / 64 + 9), nearly all of it from the second-level cache.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/exponential.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

// ---- Tiles ---------------------------------------------------------------------------------------------------------

/// Rows of a tile: the queries or the keys of a block.
inline constexpr int attention_side = 64;

/// Blocks that a head of `width` takes beside each other.
template <int Columns>
EOSIN_HOST_DEVICE constexpr Index attention_slices(Index width) {
  return width <= Columns ? 1 : (width + Columns - 1) / Columns;
}

/// What one instruction moves.
template <class T>
struct alignas(16) Chunk {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T elements[size];
};
template <class T>
__device__ __forceinline__ Chunk<T> chunk_at(const T* p) {
  return *reinterpret_cast<const Chunk<T>*>(p);
}

template <class T, int Columns>
inline constexpr int tile_stride = Columns + Chunk<T>::size;
template <class T, int Columns>
inline constexpr int tile_size = attention_side* tile_stride<T, Columns>;

/// Which elements of a product a thread holds.
struct TileThread {
  int x, y;

  __device__ TileThread() : x(static_cast<int>(threadIdx.x % 16)), y(static_cast<int>(threadIdx.x / 16)) {}
  __device__ int row(int i) const { return 4 * y + i; }
  /// Of a product of rows.
  __device__ int col(int j) const { return x + 16 * j; }
  /// First of the `run`-th run of columns of the other kind.
  template <class T>
  __device__ int run(int run) const {
    return Chunk<T>::size * (x + 16 * run);
  }
};

/// tile = x(first_row + r, first_col + c), r < rows and c < cols, zero elsewhere. `chunks`: the rows of x begin at
/// multiples of 16 bytes, and heads end there.
template <int Columns, class T>
__device__ __forceinline__ void load_tile(MatrixView<const T, Device> x, Index first_row, int rows, Index first_col,
                                          int cols, bool chunks, T* tile) {
  constexpr int size = Chunk<T>::size, per_row = Columns / size;
  for (int i = static_cast<int>(threadIdx.x); i < attention_side * per_row; i += 256) {
    const int row = i / per_row, col = i % per_row * size;
    Chunk<T> chunk{};
    if (row < rows) {
      const T* from = x.data() + (first_row + row) * x.stride() + first_col + col;
      if (chunks) {
        if (col < cols) chunk = chunk_at(from);
      } else {
        for (int e = 0; e < size; ++e)
          if (col + e < cols) chunk.elements[e] = from[e];
      }
    }
    *reinterpret_cast<Chunk<T>*>(tile + row * tile_stride<T, Columns> + col) = chunk;
  }
}

/// x(first_row + r, first_col + c) = scale * what the threads hold, r < rows and c < cols.
template <int Columns, class T>
__device__ __forceinline__ void store_tile(const T (&values)[4][Columns / 16], const T (&scale)[4], TileThread thread,
                                           MatrixView<T, Device> x, Index first_row, int rows, Index first_col,
                                           int cols, bool chunks) {
  constexpr int size = Chunk<T>::size;
  for (int i = 0; i < 4; ++i) {
    if (thread.row(i) >= rows) continue;
    for (int run = 0; run < Columns / (16 * size); ++run) {
      const int col = thread.run<T>(run);
      Chunk<T> chunk;
      for (int e = 0; e < size; ++e) chunk.elements[e] = scale[i] * values[i][run * size + e];
      T* to = x.data() + (first_row + thread.row(i)) * x.stride() + first_col + col;
      if (chunks) {
        if (col < cols) *reinterpret_cast<Chunk<T>*>(to) = chunk;
      } else {
        for (int e = 0; e < size; ++e)
          if (col + e < cols) to[e] = chunk.elements[e];
      }
    }
  }
}

/// sums(i, j) += row i of a times row j of b, over the first `depth` columns (rounded up to chunks: what follows is
/// zero).
template <int Columns, class T>
__device__ __forceinline__ void product_of_rows(const T* a, const T* b, int depth, TileThread thread, T (&sums)[4][4]) {
  constexpr int stride = tile_stride<T, Columns>, size = Chunk<T>::size;
  a += thread.row(0) * stride;
  b += thread.col(0) * stride;
  for (int d = 0; d < depth; d += size) {
    Chunk<T> left[4], right[4];
    for (int i = 0; i < 4; ++i) left[i] = chunk_at(a + i * stride + d);
    for (int j = 0; j < 4; ++j) right[j] = chunk_at(b + j * 16 * stride + d);
    for (int e = 0; e < size; ++e)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          sums[i][j] = math::multiply_add(left[i].elements[e], right[j].elements[e], sums[i][j]);
  }
}

/// sums += weights b, over the first `inner` columns of weights [64 x 64] and rows of b (rounded up likewise).
template <int Columns, class T>
__device__ __forceinline__ void add_product(const T* weights, const T* b, int inner, TileThread thread,
                                            T (&sums)[4][Columns / 16]) {
  constexpr int stride = tile_stride<T, attention_side>, size = Chunk<T>::size;
  weights += thread.row(0) * stride;
  for (int k = 0; k < inner; k += size) {
    Chunk<T> left[4];
    for (int i = 0; i < 4; ++i) left[i] = chunk_at(weights + i * stride + k);
    for (int e = 0; e < size; ++e)
      for (int run = 0; run < Columns / (16 * size); ++run) {
        const Chunk<T> right = chunk_at(b + (k + e) * tile_stride<T, Columns> + thread.run<T>(run));
        for (int i = 0; i < 4; ++i)
          for (int f = 0; f < size; ++f)
            sums[i][run * size + f] =
                math::multiply_add(left[i].elements[e], right.elements[f], sums[i][run * size + f]);
      }
  }
}

/// The operand of add_product from what the threads hold of a product of rows.
template <class T>
__device__ __forceinline__ void store_weights(const T (&values)[4][4], TileThread thread, T* weights) {
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) weights[thread.row(i) * tile_stride<T, attention_side> + thread.col(j)] = values[i][j];
}

// ---- Who does what -------------------------------------------------------------------------------------------------

template <class T>
struct AttentionProblem {
  MatrixView<const T, Device> q, k, v;
  const detail::AttentionTask* tasks;
  Index task_count, heads, width;
  T scale;
  bool chunks;  ///< all matrices can be read and written 16 bytes at a time
};

/// The task of a block: neighbours share a head and mostly a sentence, and so what they read.
template <int Columns>
struct AttentionPlace {
  detail::AttentionTask task;
  Index head;
  int width, slices, slice;  ///< `slice` is the one of the result

  template <class T>
  __device__ explicit AttentionPlace(const AttentionProblem<T>& problem)
      : task(problem.tasks[blockIdx.x % problem.task_count]),
        head(blockIdx.x / problem.task_count % problem.heads),
        width(static_cast<int>(problem.width)),
        slices(static_cast<int>(attention_slices<Columns>(problem.width))),
        slice(static_cast<int>(blockIdx.x / problem.task_count / problem.heads)) {}

  __device__ int count() const { return static_cast<int>(task.count); }
  /// Rows of the tile that begins at row `first` of the sentence.
  __device__ int rows(Index first) const {
    return static_cast<int>(task.length - first < attention_side ? task.length - first : attention_side);
  }
  __device__ int cols(int which) const {
    const int rest = width - which * Columns;
    return rest < Columns ? rest : Columns;
  }
  __device__ Index first_col(int which) const { return head * width + which * Columns; }
  /// Slices in the order in which their last is that of the result, which is then in shared memory.
  __device__ int in_order(int step) const {
    const int which = slice + 1 + step;
    return which < slices ? which : which - slices;
  }

  /// Tile of rows first .. of the sentence.
  template <class T>
  __device__ __forceinline__ void load(MatrixView<const T, Device> x, Index first, int which, bool chunks,
                                       T* tile) const {
    load_tile<Columns>(x, task.begin + first, rows(first), first_col(which), cols(which), chunks, tile);
  }
  template <class T>
  __device__ __forceinline__ void store(const T (&values)[4][Columns / 16], const T (&scale)[4], TileThread thread,
                                        MatrixView<T, Device> x, bool chunks) const {
    store_tile<Columns>(values, scale, thread, x, task.begin + task.first, count(), first_col(slice), cols(slice),
                        chunks);
  }
};

/// Offsets as arguments of a kernel, which may have 4 KB of them.
struct AttentionSentences {
  static constexpr int largest_count = 224;
  Index offsets[largest_count + 1];
  Index first_task[largest_count];
};

/// Writes the tasks of a sentence per block.
template <int Side>
__global__ void __launch_bounds__(256)
    write_attention_tasks(AttentionSentences sentences, detail::AttentionTask* tasks) {
  const Index begin = sentences.offsets[blockIdx.x], length = sentences.offsets[blockIdx.x + 1] - begin;
  tasks += sentences.first_task[blockIdx.x];
  for (Index part = threadIdx.x; part * Side < length; part += 256) {
    const Index first = part * Side;
    tasks[part] = {begin, length, first, length - first < Side ? length - first : Side, part};
  }
}

// ---- Forward -------------------------------------------------------------------------------------------------------

/// Shared: tiles of Q and of K or V, weights.
template <class T, int Columns>
__global__ void __launch_bounds__(256)
    attention(AttentionProblem<T> problem, MatrixView<T, Device> out, MatrixView<T, Device> log_sums) {
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  EOSIN_DYNAMIC_SHARED(T, q_tile);
  T* const other_tile = q_tile + tile_size<T, Columns>;
  T* const weight_tile = other_tile + tile_size<T, Columns>;
  const AttentionPlace<Columns> place(problem);
  const TileThread thread;
  T sums[4][Columns / 16]{}, largest[4], total[4]{};
  for (int i = 0; i < 4; ++i) largest[i] = lowest;
  for (Index first = 0; first < place.task.length; first += attention_side) {
    const int keys = place.rows(first);
    T scores[4][4]{};
    for (int step = 0; step < place.slices; ++step) {
      const int slice = place.in_order(step);
      __syncthreads();
      if (first == 0 || place.slices > 1) place.load(problem.q, place.task.first, slice, problem.chunks, q_tile);
      place.load(problem.k, first, slice, problem.chunks, other_tile);
      __syncthreads();
      product_of_rows<Columns>(q_tile, other_tile, place.cols(slice), thread, scores);
    }
    for (int i = 0; i < 4; ++i) {
      T now = largest[i];
      for (int j = 0; j < 4; ++j) {
        scores[i][j] = thread.col(j) < keys ? problem.scale * scores[i][j] : lowest;
        now = scores[i][j] > now ? scores[i][j] : now;
      }
      // The sixteen threads of a row are half a warp. Their sums are put together at the end.
      for (int lanes = 8; lanes > 0; lanes /= 2) {
        const T there = __shfl_xor_sync(cuda::full_warp, now, lanes);
        now = there > now ? there : now;
      }
      const T correction = math::exp(largest[i] - now);
      largest[i] = now;
      total[i] *= correction;
      for (int j = 0; j < 4; ++j) {
        scores[i][j] = thread.col(j) < keys ? math::exp(scores[i][j] - now) : T(0);
        total[i] += scores[i][j];
      }
      for (int c = 0; c < Columns / 16; ++c) sums[i][c] *= correction;
    }
    store_weights(scores, thread, weight_tile);
    __syncthreads();
    place.load(problem.v, first, place.slice, problem.chunks, other_tile);
    __syncthreads();
    add_product<Columns>(weight_tile, other_tile, keys, thread, sums);
  }
  T share[4];
  for (int i = 0; i < 4; ++i) {
    for (int lanes = 8; lanes > 0; lanes /= 2) total[i] += __shfl_xor_sync(cuda::full_warp, total[i], lanes);
    share[i] = T(1) / total[i];
    if (thread.x == 0 && thread.row(i) < place.count() && place.slice == 0)
      log_sums(place.head, place.task.begin + place.task.first + thread.row(i)) = largest[i] + std::log(total[i]);
  }
  place.store(sums, share, thread, out, problem.chunks);
}

// ---- Backward ------------------------------------------------------------------------------------------------------

/// D: inner(head, row) = the part of row `row` of out * d_out that is the head's, summed. A warp each, block (32, 8).
template <class T>
__global__ void __launch_bounds__(256)
    attention_inner(MatrixView<const T, Device> out, MatrixView<const T, Device> d_out, MatrixView<T, Device> inner) {
  const Index index = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  const Index heads = inner.rows(), width = out.cols() / heads;
  if (index >= inner.size()) return;
  const Index row = index / heads, head = index % heads;
  T sum = 0;
  for (Index c = threadIdx.x; c < width; c += 32)
    sum = math::multiply_add(out(row, head * width + c), d_out(row, head * width + c), sum);
  sum = cuda::warp_sum(sum);
  if (threadIdx.x == 0) inner(head, row) = sum;
}

/// What both backward kernels need beside q, k and v.
template <class T>
struct AttentionUpstream {
  MatrixView<const T, Device> d_out, log_sums, inner;
};

/// dK and dV of 64 keys. Shared: tiles of K, V, Q, dO, weights.
template <class T, int Columns>
__global__ void __launch_bounds__(256)
    attention_backward_keys(AttentionProblem<T> problem, AttentionUpstream<T> upstream, MatrixView<T, Device> d_k,
                            MatrixView<T, Device> d_v) {
  EOSIN_DYNAMIC_SHARED(T, k_tile);
  T* const v_tile = k_tile + tile_size<T, Columns>;
  T* const q_tile = v_tile + tile_size<T, Columns>;
  T* const d_out_tile = q_tile + tile_size<T, Columns>;
  T* const weight_tile = d_out_tile + tile_size<T, Columns>;
  const AttentionPlace<Columns> place(problem);
  const TileThread thread;
  T d_k_sums[4][Columns / 16]{}, d_v_sums[4][Columns / 16]{};
  for (Index first = 0; first < place.task.length; first += attention_side) {
    const int queries = place.rows(first);
    T weights[4][4]{}, d_weights[4][4]{};
    for (int step = 0; step < place.slices; ++step) {
      const int slice = place.in_order(step);
      __syncthreads();
      if (first == 0 || place.slices > 1) {
        place.load(problem.k, place.task.first, slice, problem.chunks, k_tile);
        place.load(problem.v, place.task.first, slice, problem.chunks, v_tile);
      }
      place.load(problem.q, first, slice, problem.chunks, q_tile);
      place.load(upstream.d_out, first, slice, problem.chunks, d_out_tile);
      __syncthreads();
      product_of_rows<Columns>(k_tile, q_tile, place.cols(slice), thread, weights);
      product_of_rows<Columns>(v_tile, d_out_tile, place.cols(slice), thread, d_weights);
    }
    for (int j = 0; j < 4; ++j) {
      const bool exists = thread.col(j) < queries;
      const Index query = place.task.begin + first + thread.col(j);
      const T log_sum = exists ? upstream.log_sums(place.head, query) : T(0);
      const T mean = exists ? upstream.inner(place.head, query) : T(0);
      for (int i = 0; i < 4; ++i) {
        weights[i][j] = exists ? math::exp(problem.scale * weights[i][j] - log_sum) : T(0);
        d_weights[i][j] = weights[i][j] * (d_weights[i][j] - mean);
      }
    }
    store_weights(weights, thread, weight_tile);
    __syncthreads();
    add_product<Columns>(weight_tile, d_out_tile, queries, thread, d_v_sums);
    __syncthreads();
    store_weights(d_weights, thread, weight_tile);
    __syncthreads();
    add_product<Columns>(weight_tile, q_tile, queries, thread, d_k_sums);
  }
  const T scale[4]{problem.scale, problem.scale, problem.scale, problem.scale}, one[4]{T(1), T(1), T(1), T(1)};
  place.store(d_k_sums, scale, thread, d_k, problem.chunks);
  place.store(d_v_sums, one, thread, d_v, problem.chunks);
}

/// dQ of 64 queries. Shared: tiles of Q, dO, K, V, weights.
template <class T, int Columns>
__global__ void __launch_bounds__(256)
    attention_backward_queries(AttentionProblem<T> problem, AttentionUpstream<T> upstream, MatrixView<T, Device> d_q) {
  EOSIN_DYNAMIC_SHARED(T, q_tile);
  T* const d_out_tile = q_tile + tile_size<T, Columns>;
  T* const k_tile = d_out_tile + tile_size<T, Columns>;
  T* const v_tile = k_tile + tile_size<T, Columns>;
  T* const weight_tile = v_tile + tile_size<T, Columns>;
  const AttentionPlace<Columns> place(problem);
  const TileThread thread;
  T sums[4][Columns / 16]{}, log_sum[4]{}, mean[4]{};
  for (int i = 0; i < 4; ++i)
    if (thread.row(i) < place.count()) {
      const Index query = place.task.begin + place.task.first + thread.row(i);
      log_sum[i] = upstream.log_sums(place.head, query);
      mean[i] = upstream.inner(place.head, query);
    }
  for (Index first = 0; first < place.task.length; first += attention_side) {
    const int keys = place.rows(first);
    T weights[4][4]{}, d_weights[4][4]{};
    for (int step = 0; step < place.slices; ++step) {
      const int slice = place.in_order(step);
      __syncthreads();
      if (first == 0 || place.slices > 1) {
        place.load(problem.q, place.task.first, slice, problem.chunks, q_tile);
        place.load(upstream.d_out, place.task.first, slice, problem.chunks, d_out_tile);
      }
      place.load(problem.k, first, slice, problem.chunks, k_tile);
      place.load(problem.v, first, slice, problem.chunks, v_tile);
      __syncthreads();
      product_of_rows<Columns>(q_tile, k_tile, place.cols(slice), thread, weights);
      product_of_rows<Columns>(d_out_tile, v_tile, place.cols(slice), thread, d_weights);
    }
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) {
        const T weight = thread.col(j) < keys ? math::exp(problem.scale * weights[i][j] - log_sum[i]) : T(0);
        d_weights[i][j] = weight * (d_weights[i][j] - mean[i]);
      }
    store_weights(d_weights, thread, weight_tile);
    __syncthreads();
    add_product<Columns>(weight_tile, k_tile, keys, thread, sums);
  }
  const T scale[4]{problem.scale, problem.scale, problem.scale, problem.scale};
  place.store(sums, scale, thread, d_q, problem.chunks);
}

}  // namespace kernels

namespace detail {

template <class T>
bool in_chunks(MatrixView<const T, Device> x) {
  constexpr std::size_t bytes = sizeof(kernels::Chunk<T>);
  return reinterpret_cast<std::uintptr_t>(x.data()) % bytes == 0 &&
         static_cast<std::size_t>(x.stride()) * sizeof(T) % bytes == 0;
}

/// Shared memory of a block that holds `tiles` tiles and the weights.
template <class T, int Columns>
constexpr std::size_t attention_bytes(int tiles) {
  return static_cast<std::size_t>(tiles * kernels::tile_size<T, Columns> +
                                  kernels::tile_size<T, kernels::attention_side>) *
         sizeof(T);
}

/// The list of tasks, written to memory of the workspace.
inline VectorView<const AttentionTask, Device> attention_task_list(CudaContext& context,
                                                                   std::span<const Index> offsets) {
  constexpr Index side = kernels::attention_side;
  const Index sentences = static_cast<Index>(offsets.size()) - 1;
  const auto tasks_of = [&](Index s) {
    const auto at = static_cast<std::size_t>(s);
    return (offsets[at + 1] - offsets[at] + side - 1) / side;
  };
  Index count = 0;
  for (Index s = 0; s < sentences; ++s) count += tasks_of(s);
  const auto tasks = context.workspace().take<AttentionTask>(count);
  Index next = 0;
  kernels::AttentionSentences some{};
  for (Index first = 0; first < sentences; first += some.largest_count) {
    const Index here = std::min<Index>(some.largest_count, sentences - first);
    for (Index s = 0; s < here; ++s) {
      some.first_task[s] = next;
      next += tasks_of(first + s);
    }
    for (Index s = 0; s <= here; ++s) some.offsets[s] = offsets[static_cast<std::size_t>(first + s)];
    context.launch("attention", kernels::write_attention_tasks<kernels::attention_side>, static_cast<unsigned>(here),
                   256, some, tasks.data());
  }
  return tasks;
}

/// Calls f with the columns of a tile, an integral constant, for heads of `width`.
template <class T, class F>
void with_tile_columns(Index width, F&& f) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (width > 64) return f(std::integral_constant<int, 128>{});
  }
  f(std::integral_constant<int, 64>{});
}

/// One block per task, head and slice of its columns.
template <int Columns, class T>
unsigned attention_grid(const kernels::AttentionProblem<T>& problem) {
  return cuda::blocks_for(problem.task_count * problem.heads * kernels::attention_slices<Columns>(problem.width), 1);
}

}  // namespace detail

/// out and log_sums of q, k, v on the device; arguments as in attention on the processor, offsets in its memory.
template <class T>
void attention(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> q,
               MatrixView<const std::type_identity_t<T>, Device> k, MatrixView<const std::type_identity_t<T>, Device> v,
               std::span<const Index> offsets, Index heads, std::type_identity_t<T> scale, MatrixView<T, Device> out,
               MatrixView<std::type_identity_t<T>, Device> log_sums) {
  const Index width = detail::check_heads<T>("attention", q, k, v, heads);
  require_shape("attention", "out", out, q.rows(), q.cols());
  require_shape("attention", "log_sums", log_sums, heads, q.rows());
  detail::check_offsets("attention", offsets, q.rows());
  if (q.rows() == 0) return;
  const auto mark = context.workspace().mark();
  const auto tasks = detail::attention_task_list(context, offsets);
  bool chunks = width % kernels::Chunk<T>::size == 0;
  for (const auto& x : {q, k, v, MatrixView<const T, Device>(out)}) chunks = chunks && detail::in_chunks<T>(x);
  const kernels::AttentionProblem<T> problem{q, k, v, tasks.data(), tasks.size(), heads, width, scale, chunks};
  detail::with_tile_columns<T>(width, [&](auto columns) {
    constexpr int cols = columns();
    context.launch_with_shared("attention", kernels::attention<T, cols>, detail::attention_grid<cols>(problem), 256,
                               detail::attention_bytes<T, cols>(2), problem, out, log_sums);
  });
}

/// dq, dk, dv on the device; arguments as in attention_backward on the processor, offsets in its memory.
template <class T>
void attention_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> q,
                        MatrixView<const std::type_identity_t<T>, Device> k,
                        MatrixView<const std::type_identity_t<T>, Device> v, std::span<const Index> offsets,
                        Index heads, std::type_identity_t<T> scale,
                        MatrixView<const std::type_identity_t<T>, Device> out,
                        MatrixView<const std::type_identity_t<T>, Device> log_sums,
                        MatrixView<const std::type_identity_t<T>, Device> d_out, MatrixView<T, Device> d_q,
                        MatrixView<std::type_identity_t<T>, Device> d_k,
                        MatrixView<std::type_identity_t<T>, Device> d_v) {
  const char* const name = "attention_backward";
  const Index width = detail::check_heads<T>(name, q, k, v, heads);
  const Index n = q.rows();
  require_shape(name, "out", out, n, q.cols());
  require_shape(name, "d_out", d_out, n, q.cols());
  require_shape(name, "d_q", d_q, n, q.cols());
  require_shape(name, "d_k", d_k, n, q.cols());
  require_shape(name, "d_v", d_v, n, q.cols());
  require_shape(name, "log_sums", log_sums, heads, n);
  detail::check_offsets(name, offsets, n);
  if (n == 0) return;
  const auto mark = context.workspace().mark();
  const auto tasks = detail::attention_task_list(context, offsets);
  const auto inner = context.workspace().template take<T>(heads, n);
  context.launch(name, kernels::attention_inner<T>, cuda::blocks_for(n * heads, 8), dim3(32, 8), out, d_out, inner);
  bool chunks = width % kernels::Chunk<T>::size == 0;
  for (const auto& x : {q, k, v, d_out, MatrixView<const T, Device>(d_q), MatrixView<const T, Device>(d_k),
                        MatrixView<const T, Device>(d_v)})
    chunks = chunks && detail::in_chunks<T>(x);
  const kernels::AttentionProblem<T> problem{q, k, v, tasks.data(), tasks.size(), heads, width, scale, chunks};
  const kernels::AttentionUpstream<T> upstream{d_out, log_sums, inner};
  detail::with_tile_columns<T>(width, [&](auto columns) {
    constexpr int cols = columns();
    const auto grid = detail::attention_grid<cols>(problem);
    constexpr std::size_t bytes = detail::attention_bytes<T, cols>(4);
    context.launch_with_shared(name, kernels::attention_backward_keys<T, cols>, grid, 256, bytes, problem, upstream,
                               d_k, d_v);
    context.launch_with_shared(name, kernels::attention_backward_queries<T, cols>, grid, 256, bytes, problem, upstream,
                               d_q);
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
