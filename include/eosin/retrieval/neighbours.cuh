#pragma once

// Expression from nearest keys on the device; what is computed is told in neighbours.hpp.
//
//   neighbour_distances   a warp per query and neighbour, sums in double. Bytes: k d per query, keys mostly from the
//                         cache.
//   neighbour_weights     a warp per query. Bytes: distances read twice, weights written.
//   weighted_expression   a block per query and 256 genes, a thread per gene; weights and numbers pass through shared
//                         memory. Bytes: k genes per query, the rows mostly from the cache; 2 k genes operations.

#include <eosin/core/cuda_context.cuh>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::retrieval {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8): neighbours 8 * blockIdx.x + threadIdx.y of query blockIdx.y and those that follow in steps of the
/// grid.
template <class T>
__global__ void __launch_bounds__(256)
    neighbour_distances(MatrixView<const T, Device> keys, MatrixView<const T, Device> queries,
                        MatrixView<const Index, Device> indices, Distance kind, MatrixView<T, Device> distance) {
  const Index j = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (j >= indices.cols()) return;
  for (Index q = static_cast<Index>(blockIdx.y); q < queries.rows(); q += static_cast<Index>(gridDim.y)) {
    const Index key = indices(q, j);
    const bool inside = key >= 0 && key < keys.rows();
    double sum = 0;
    if (inside)
      for (Index c = threadIdx.x; c < keys.cols(); c += 32) {
        const double difference = static_cast<double>(keys(key, c)) - static_cast<double>(queries(q, c));
        sum += kind == Distance::l1 ? std::abs(difference) : difference * difference;
      }
    sum = cuda::warp_sum(sum);
    if (threadIdx.x == 0)
      distance(q, j) =
          inside ? static_cast<T>(kind == Distance::l1 ? sum : std::sqrt(sum)) : std::numeric_limits<T>::quiet_NaN();
  }
}

/// Block (32, 8): eight queries.
template <class T>
__global__ void __launch_bounds__(256)
    neighbour_weights(MatrixView<const T, Device> distance, Weighting weighting, MatrixView<T, Device> weights) {
  const Index q = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (q >= distance.rows()) return;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  double nearness = -infinity, invalid = 0;
  for (Index j = threadIdx.x; j < distance.cols(); j += 32) {
    const double d = static_cast<double>(distance(q, j));
    if (!(d >= 0 && d < infinity)) invalid = 1;
    nearness = -d > nearness ? -d : nearness;
  }
  const double smallest = -cuda::warp_max(nearness);
  invalid = cuda::warp_sum(invalid);
  double sum = 0;
  for (Index j = threadIdx.x; j < distance.cols(); j += 32)
    sum += detail::neighbour_share(weighting, smallest, static_cast<double>(distance(q, j)));
  sum = cuda::warp_sum(sum);
  if (invalid > 0) sum = std::numeric_limits<double>::quiet_NaN();
  for (Index j = threadIdx.x; j < distance.cols(); j += 32)
    weights(q, j) =
        static_cast<T>(detail::neighbour_share(weighting, smallest, static_cast<double>(distance(q, j))) / sum);
}

/// Genes 256 * blockIdx.x + threadIdx.x of query blockIdx.y and those that follow in steps of the grid.
template <class T>
__global__ void __launch_bounds__(256)
    weighted_expression(MatrixView<const T, Device> expression, MatrixView<const Index, Device> indices,
                        MatrixView<const T, Device> weights, MatrixView<T, Device> prediction) {
  EOSIN_SHARED(Index, rows, [256]);
  EOSIN_SHARED(T, factors, [256]);
  const Index gene = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  for (Index q = static_cast<Index>(blockIdx.y); q < indices.rows(); q += static_cast<Index>(gridDim.y)) {
    T sum = 0;
    for (Index begin = 0; begin < indices.cols(); begin += 256) {
      const Index j = begin + threadIdx.x;
      if (j < indices.cols()) {
        const Index row = indices(q, j);
        const bool inside = row >= 0 && row < expression.rows();
        rows[threadIdx.x] = inside ? row : 0;
        factors[threadIdx.x] = inside ? weights(q, j) : std::numeric_limits<T>::quiet_NaN();
      }
      __syncthreads();
      const int count = static_cast<int>(indices.cols() - begin < 256 ? indices.cols() - begin : 256);
      if (gene < expression.cols())
        for (int i = 0; i < count; ++i)
          if (factors[i] != T(0)) sum = math::multiply_add(factors[i], expression(rows[i], gene), sum);
      __syncthreads();
    }
    if (gene < expression.cols()) prediction(q, gene) = sum;
  }
}

}  // namespace kernels

namespace detail {
/// One row of the grid per query, as many as a grid may have.
inline unsigned query_blocks(Index queries) {
  constexpr Index highest_grid = 65535;
  return static_cast<unsigned>(queries < highest_grid ? queries : highest_grid);
}
}  // namespace detail

/// distance [q x k] of each query to the keys that `indices` [q x k] names; NaN where an index is not that of a key.
template <class T>
void neighbour_distances(CudaContext& context, MatrixView<const T, Device> keys,
                         MatrixView<const std::type_identity_t<T>, Device> queries,
                         MatrixView<const Index, Device> indices, Distance kind,
                         MatrixView<std::type_identity_t<T>, Device> distance) {
  require_size("neighbour_distances", "queries", "columns", queries.cols(), keys.cols(), "columns of keys");
  require_size("neighbour_distances", "indices", "rows", indices.rows(), queries.rows(), "queries");
  require_shape("neighbour_distances", "distance", distance, indices.rows(), indices.cols());
  if (indices.empty()) return;
  context.launch("neighbour_distances", kernels::neighbour_distances<T>,
                 dim3(cuda::blocks_for(indices.cols(), 8), detail::query_blocks(queries.rows())), dim3(32, 8), keys,
                 queries, indices, kind, distance);
}

/// weights [q x k], rows summing to 1, from distances [q x k] >= 0; NaN in a row with another distance.
template <class T>
void neighbour_weights(CudaContext& context, MatrixView<const T, Device> distance, Weighting weighting,
                       MatrixView<std::type_identity_t<T>, Device> weights) {
  require_shape("neighbour_weights", "weights", weights, distance.rows(), distance.cols());
  if (distance.empty()) return;
  context.launch("neighbour_weights", kernels::neighbour_weights<T>, cuda::blocks_for(distance.rows(), 8), dim3(32, 8),
                 distance, weighting, weights);
}

/// prediction [q x genes] = sum_j weights(q, j) expression[indices(q, j)]; NaN where an index is not that of a row.
template <class T>
void weighted_expression(CudaContext& context, MatrixView<const T, Device> expression,
                         MatrixView<const Index, Device> indices,
                         MatrixView<const std::type_identity_t<T>, Device> weights,
                         MatrixView<std::type_identity_t<T>, Device> prediction) {
  require_shape("weighted_expression", "weights", weights, indices.rows(), indices.cols());
  require_shape("weighted_expression", "prediction", prediction, indices.rows(), expression.cols());
  if (prediction.empty()) return;
  context.launch("weighted_expression", kernels::weighted_expression<T>,
                 dim3(cuda::blocks_for(expression.cols(), 256), detail::query_blocks(indices.rows())), 256, expression,
                 indices, weights, prediction);
}

/// Nearest keys of each query with distances and weights, all on the device. Nothing is waited for but the memory of
/// the result.
template <class T>
Neighbours<std::remove_const_t<T>, Device> find_neighbours(
    CudaContext& context, MatrixView<T, Device> keys,
    MatrixView<const std::type_identity_t<std::remove_const_t<T>>, Device> queries,
    const RetrievalOptions& options = {}) {
  using Element = std::remove_const_t<T>;
  detail::require_neighbours(options.k, keys.rows());
  auto found = detail::room_for_neighbours<Element, Device>(queries.rows(), options.k);
  top_k<Element>(context, keys, queries, options.k, found.indices.view(), found.similarity.view());
  neighbour_distances<Element>(context, keys, queries, std::as_const(found.indices).view(), options.distance,
                               found.distance.view());
  neighbour_weights<Element>(context, std::as_const(found.distance).view(), options.weighting, found.weights.view());
  return found;
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::retrieval
