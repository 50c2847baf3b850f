#pragma once

// The k keys of largest cosine similarity to each query on the device, exactly; what is looked for and how equal
// similarities are ordered is told in top_k.hpp.
//
// A block takes a tile of queries, 128 in float and 64 in double, and walks along the keys in tiles of the same size.
// The similarities of a tile are products from shared memory, 8 x 8 (4 x 4) in the registers of each of its 256
// threads, and never leave them: what exceeds the query's threshold, the k-th largest similarity so far, joins its list
// of candidates. A list that could overflow with the next tile is sorted by a warp and cut to the k best, which raises
// the threshold. With few queries several blocks share the keys; a last kernel merges their lists. The product is the
// library's own, not that of cuBLAS, whose sums may depend on where a key stands: rows that are equal have equal
// similarities here, and no similarity is written to memory.
//
// The result is that of an order without ties (similarity, then index), so it does not depend on the order in which
// candidates come, nor on how the keys are shared. Keys come in ascending order to a list, so that one that equals the
// threshold can be left out.
//
// Unit rows are written first, transposed and filled up with zeros to whole tiles, by chunks of at most 256 MiB: the
// loads of the product are then whole lines without conditions. 2 m q d operations, in the units for float or double,
// never on tensor cores; reads (m + q) d elements, then m d per tile of queries, which the second-level cache keeps.
// Lists: at most 128 MiB, or those of one tile of queries.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::retrieval {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// 16 bytes of elements, the widest load.
template <class T>
struct alignas(16) Wide {
  static constexpr int size = static_cast<int>(16 / sizeof(T));
  T at[16 / sizeof(T)];
};

/// Queries and keys of a tile: 16 x 16 threads with twice 16 bytes of each.
template <class T>
inline constexpr int top_k_tile = static_cast<int>(32 * (16 / sizeof(T)));
/// Elements of the rows in shared memory at a time.
inline constexpr int top_k_slice = 16;
inline constexpr int top_k_most_shares = 32;

template <class T>
struct DeviceCandidate {
  T similarity;
  std::int32_t key;
};
template <class T>
__device__ __forceinline__ bool is_better(const DeviceCandidate<T>& a, const DeviceCandidate<T>& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.key < b.key);
}
/// Worse than every candidate.
template <class T>
__device__ __forceinline__ DeviceCandidate<T> no_candidate() {
  return {-std::numeric_limits<T>::infinity(), std::numeric_limits<std::int32_t>::max()};
}

/// max(|row|, 1e-12). Block (32, 8): a warp per row.
template <class T>
__global__ void __launch_bounds__(256) row_lengths(MatrixView<const T, Device> x, T* lengths) {
  const Index row = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (row >= x.rows()) return;
  double sum = 0;
  for (Index c = threadIdx.x; c < x.cols(); c += 32)
    sum += static_cast<double>(x(row, c)) * static_cast<double>(x(row, c));
  const double length = sqrt(cuda::warp_sum(sum));
  if (threadIdx.x == 0) lengths[row] = static_cast<T>(length < 1e-12 ? 1e-12 : length);
}

/// out [width x rows, both filled up] = unit rows of x, transposed. Block (32, 8): 32 x 32 elements.
template <class T>
__global__ void __launch_bounds__(256)
    unit_columns(MatrixView<const T, Device> x, const T* lengths, MatrixView<T, Device> out) {
  EOSIN_SHARED(T, tile, [32][33]);
  const Index row = static_cast<Index>(blockIdx.x) * 32, col = static_cast<Index>(blockIdx.y) * 32;
  const int across = static_cast<int>(threadIdx.x);
  for (int down = static_cast<int>(threadIdx.y); down < 32; down += 8) {
    const bool inside = row + down < x.rows() && col + across < x.cols();
    // Divided, not multiplied by an inverse: rows that are multiples of each other stay equal where they can.
    tile[down][across] = inside ? x(row + down, col + across) / lengths[row + down] : T(0);
  }
  __syncthreads();
  for (int down = static_cast<int>(threadIdx.y); down < 32; down += 8)
    if (col + down < out.rows() && row + across < out.cols()) out(col + down, row + across) = tile[across][down];
}

/// Sorts the first `count` of a list, best first, by its warp; memory up to the next power of two is overwritten.
template <class T>
__device__ void sort_candidates(DeviceCandidate<T>* list, int count) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int extent = 1;
  while (extent < count) extent *= 2;
  for (int i = count + lane; i < extent; i += 32) list[i] = no_candidate<T>();
  __syncwarp();
  for (int run = 2; run <= extent; run *= 2)
    for (int step = run / 2; step > 0; step /= 2) {
      for (int pair = lane; pair < extent / 2; pair += 32) {
        const int i = 2 * step * (pair / step) + pair % step, j = i + step;
        const DeviceCandidate<T> a = list[i], b = list[j];
        if ((i & run) == 0 ? is_better(b, a) : is_better(a, b)) {
          list[i] = b;
          list[j] = a;
        }
      }
      __syncwarp();
    }
}

/// Tiles of keys [share * tiles_per_share, ...) of a chunk against tile blockIdx.x of the queries; share is blockIdx.y.
/// Lists [queries x shares x capacity] and their sizes go from chunk to chunk, at its end sorted and of at most k.
template <class T>
__global__ void __launch_bounds__(256, 2)
    collect_candidates(MatrixView<const T, Device> queries, MatrixView<const T, Device> keys, Index key_count,
                       Index first_key, Index tiles_per_share, int k, int capacity, bool fresh,
                       DeviceCandidate<T>* lists, int* sizes) {
  constexpr int size = Wide<T>::size, tile = top_k_tile<T>, half = tile / 2, slice = top_k_slice;
  EOSIN_SHARED(Wide<T>, left, [2][top_k_slice][top_k_tile<T> / Wide<T>::size]);
  EOSIN_SHARED(Wide<T>, right, [2][top_k_slice][top_k_tile<T> / Wide<T>::size]);
  EOSIN_SHARED(T, thresholds, [top_k_tile<T>]);
  EOSIN_SHARED(int, counts, [top_k_tile<T>]);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int down = thread / 16, across = thread % 16;
  const Index first_query = static_cast<Index>(blockIdx.x) * tile;
  const auto list_of = [&](int query) {
    return lists + ((first_query + query) * gridDim.y + blockIdx.y) * static_cast<Index>(capacity);
  };
  if (thread < tile) {
    const int count = fresh ? 0 : sizes[(first_query + thread) * gridDim.y + blockIdx.y];
    counts[thread] = count;
    thresholds[thread] = count < k ? -std::numeric_limits<T>::infinity() : list_of(thread)[k - 1].similarity;
  }
  // A warp sorts out the lists of every eighth query. Nothing is in a list twice, so the order is without ties.
  const auto cut = [&](bool all) {
    for (int query = warp; query < tile; query += 8) {
      const int count = counts[query];
      const bool first_time = count >= k && thresholds[query] == -std::numeric_limits<T>::infinity();
      if (!all && !first_time && count <= capacity - tile) continue;
      DeviceCandidate<T>* const list = list_of(query);
      sort_candidates(list, count);
      if (lane == 0 && count >= k) {
        counts[query] = k;
        thresholds[query] = list[k - 1].similarity;
      }
    }
  };
  const Index begin = static_cast<Index>(blockIdx.y) * tiles_per_share * tile;
  Index end = begin + tiles_per_share * tile;
  end = end < key_count ? end : key_count;
  const int slices = static_cast<int>(queries.rows() / slice);
  for (Index key = begin; key < end; key += tile) {
    // 256 threads bring 16 rows of 512 bytes of each side, two loads of 16 bytes a thread.
    Wide<T> next_left[2], next_right[2];
    const auto load = [&](int s) {
      for (int i = 0; i < 2; ++i) {
        const Index row = static_cast<Index>(s) * slice + warp + 8 * i;
        next_left[i] = reinterpret_cast<const Wide<T>*>(&queries(row, first_query))[lane];
        next_right[i] = reinterpret_cast<const Wide<T>*>(&keys(row, key))[lane];
      }
    };
    const auto store = [&](int buffer) {
      for (int i = 0; i < 2; ++i) {
        left[buffer][warp + 8 * i][lane] = next_left[i];
        right[buffer][warp + 8 * i][lane] = next_right[i];
      }
    };
    T sums[2 * size][2 * size] = {};
    load(0);
    store(0);
    __syncthreads();
    for (int s = 0; s < slices; ++s) {
      if (s + 1 < slices) load(s + 1);
      for (int i = 0; i < slice; ++i) {
        const Wide<T> a[2] = {left[s % 2][i][down], left[s % 2][i][16 + down]};
        const Wide<T> b[2] = {right[s % 2][i][across], right[s % 2][i][16 + across]};
        for (int r = 0; r < 2 * size; ++r)
          for (int c = 0; c < 2 * size; ++c)
            sums[r][c] = math::multiply_add(a[r / size].at[r % size], b[c / size].at[c % size], sums[r][c]);
      }
      // The other half was read before the last barrier.
      if (s + 1 < slices) store((s + 1) % 2);
      __syncthreads();
    }
    for (int r = 0; r < 2 * size; ++r) {
      const int query = r / size * half + down * size + r % size;
      const T threshold = thresholds[query];
      for (int c = 0; c < 2 * size; ++c) {
        const Index at = key + c / size * half + across * size + c % size;
        if (!(sums[r][c] > threshold) || at >= end) continue;
        // Where in the list is left to chance, what is in it is not.
        list_of(query)[atomicAdd(&counts[query], 1)] = {sums[r][c], static_cast<std::int32_t>(first_key + at)};
      }
    }
    __syncthreads();
    cut(false);
    __syncthreads();
  }
  __syncthreads();
  cut(true);
  __syncthreads();
  if (thread < tile) sizes[(first_query + thread) * gridDim.y + blockIdx.y] = counts[thread];
}

/// The k best of the sorted lists of all shares: a warp per query, a lane per share. Block (32, 8). Where fewer than k
/// keys could be compared, NaN being no similarity, the rest is -1 and -infinity.
template <class T>
__global__ void __launch_bounds__(256)
    merge_candidates(const DeviceCandidate<T>* lists, const int* sizes, int shares, int k, int capacity,
                     MatrixView<Index, Device> indices, MatrixView<T, Device> similarity) {
  const Index query = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (query >= indices.rows()) return;
  const int lane = static_cast<int>(threadIdx.x);
  const DeviceCandidate<T>* const list = lists + (query * shares + lane) * capacity;
  const int count = lane < shares ? sizes[query * shares + lane] : 0;
  int taken = 0;
  for (int j = 0; j < k; ++j) {
    const DeviceCandidate<T> own = taken < count ? list[taken] : no_candidate<T>();
    DeviceCandidate<T> best = own;
    for (int step = 16; step > 0; step /= 2) {
      const DeviceCandidate<T> other{__shfl_xor_sync(cuda::full_warp, best.similarity, step),
                                     __shfl_xor_sync(cuda::full_warp, best.key, step)};
      best = is_better(other, best) ? other : best;
    }
    const bool found = best.key != std::numeric_limits<std::int32_t>::max();
    if (found && own.key == best.key) ++taken;
    if (lane != 0) continue;
    indices(query, j) = found ? best.key : -1;
    if (similarity.data() != nullptr) similarity(query, j) = best.similarity;
  }
}

}  // namespace kernels

namespace detail {

/// Unit rows of x, transposed; `lengths` holds x.rows() elements.
template <class T>
void unit_columns(CudaContext& context, MatrixView<const T, Device> x, T* lengths, MatrixView<T, Device> out) {
  if (x.rows() > 0)
    context.launch("top_k", kernels::row_lengths<T>, cuda::blocks_for(x.rows(), 8), dim3(32, 8), x, lengths);
  context.launch("top_k", kernels::unit_columns<T>,
                 dim3(cuda::blocks_for(out.cols(), 32), cuda::blocks_for(out.rows(), 32)), dim3(32, 8), x,
                 static_cast<const T*>(lengths), out);
}

/// Keys that are prepared at a time: 256 MiB of them.
inline constexpr Index top_k_chunk_bytes = Index{1} << 28;

template <class T>
void device_top_k(CudaContext& context, MatrixView<const T, Device> keys, MatrixView<const T, Device> queries, Index k,
                  MatrixView<Index, Device> indices, MatrixView<T, Device> similarity, Index chunk_bytes) {
  constexpr Index tile = kernels::top_k_tile<T>, slice = kernels::top_k_slice;
  const auto up = [](Index n, Index unit) { return (n + unit - 1) / unit * unit; };
  const Index width = std::max(slice, up(keys.cols(), slice));
  const Index chunk = std::min(up(keys.rows(), tile),
                               std::max(tile, chunk_bytes / (width * static_cast<Index>(sizeof(T))) / tile * tile));
  // A power of two, which sorting needs, with room for a tile, and so large that k candidates come between two cuts.
  Index capacity = 1;
  while (capacity < 2 * k + tile) capacity *= 2;
  require_value(capacity <= std::numeric_limits<std::int32_t>::max() / 2, "top_k", "k is out of range");
  // Blocks for every multiprocessor twice, but no share of fewer than four tiles.
  const Index tiles_of_queries = (queries.rows() + tile - 1) / tile, tiles_of_keys = chunk / tile;
  const Index wanted = (2 * context.multiprocessors() + tiles_of_queries - 1) / tiles_of_queries;
  const Index shares =
      std::clamp(std::min(wanted, tiles_of_keys / 4), Index{1}, static_cast<Index>(kernels::top_k_most_shares));
  const Index bytes_per_query = shares * capacity * static_cast<Index>(sizeof(kernels::DeviceCandidate<T>));
  const Index group =
      std::min(tiles_of_queries, std::max(Index{1}, (Index{1} << 27) / (bytes_per_query * tile))) * tile;
  const auto mark = context.workspace().mark();
  DeviceWorkspace& workspace = context.workspace();
  const auto unit_queries = workspace.template take<T>(width, group),
             unit_keys = workspace.template take<T>(width, chunk);
  T* const lengths = workspace.template take<T>(std::max(group, chunk)).data();
  auto* const lists = workspace.template take<kernels::DeviceCandidate<T>>(group * shares * capacity).data();
  int* const sizes = workspace.template take<int>(group * shares).data();
  for (Index q = 0; q < queries.rows(); q += group) {
    const Index count = std::min(group, queries.rows() - q);
    unit_columns<T>(context, queries.middle_rows(q, count), lengths, unit_queries);
    for (Index first = 0; first < keys.rows(); first += chunk) {
      const Index length = std::min(chunk, keys.rows() - first);
      if (q == 0 || chunk < keys.rows()) unit_columns<T>(context, keys.middle_rows(first, length), lengths, unit_keys);
      const Index tiles = (length + tile - 1) / tile;
      context.launch("top_k", kernels::collect_candidates<T>,
                     dim3(cuda::blocks_for(count, tile), static_cast<unsigned>(shares)), 256, unit_queries, unit_keys,
                     length, first, (tiles + shares - 1) / shares, static_cast<int>(k), static_cast<int>(capacity),
                     first == 0, lists, sizes);
    }
    context.launch("top_k", kernels::merge_candidates<T>, cuda::blocks_for(count, 8), dim3(32, 8), lists, sizes,
                   static_cast<int>(shares), static_cast<int>(k), static_cast<int>(capacity),
                   indices.middle_rows(q, count),
                   similarity.data() == nullptr ? similarity : similarity.middle_rows(q, count));
  }
}

}  // namespace detail

/// indices [q x k] and similarity [q x k] (an empty view: not wanted) of the k keys nearest to each query, all on the
/// device; arguments as on the processor. Nothing is waited for: rows that are not finite are the caller's to exclude;
/// the similarity of such a key is NaN or zero, and a query with fewer than k comparable keys gets -1 for the rest.
template <class T>
void top_k(CudaContext& context, MatrixView<const T, Device> keys,
           MatrixView<const std::type_identity_t<T>, Device> queries, Index k, MatrixView<Index, Device> indices,
           MatrixView<std::type_identity_t<T>, Device> similarity) {
  detail::require_top_k(keys, queries, k, indices, similarity);
  if (queries.rows() > 0)
    detail::device_top_k<T>(context, keys, queries, k, indices, similarity, detail::top_k_chunk_bytes);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::retrieval
