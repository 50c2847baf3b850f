#pragma once

// Expression of a query from that of its nearest keys, as in mclSTExp (Min et al., Briefings in Bioinformatics, 2024):
//
//   neighbours    the k keys of largest cosine similarity (top_k.hpp)
//   distance_j    sum |key_j - query|  or  sqrt( sum (key_j - query)^2 ), on the vectors as given, not normalised
//   weight_j      (d_min / distance_j)^2 / sum, which is 1 / distance^2 scaled to 1; uniform: 1/k
//                 if d_min = 0, keys at distance 0 share the weight and the others have none
//   prediction    sum_j weight_j expression[index_j]

#include <eosin/retrieval/top_k.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

namespace eosin::retrieval {
inline namespace EOSIN_ISA_NAMESPACE {

enum class Distance { l1, l2 };
enum class Weighting { inverse_square, uniform };

struct RetrievalOptions {
  /// Neighbours per query.
  Index k = 200;
  Distance distance = Distance::l1;
  Weighting weighting = Weighting::inverse_square;
};

/// All [q x k], one row per query, neighbours by falling similarity.
template <class T, class Space = Host>
struct Neighbours {
  Matrix<Index, Space> indices;
  Matrix<T, Space> similarity;
  Matrix<T, Space> distance;
  Matrix<T, Space> weights;
};

namespace detail {

inline void require_neighbours(Index k, Index keys) {
  require_value(k >= 1 && k <= keys, "find_neighbours",
                std::to_string(k) + " neighbours of " + std::to_string(keys) + " keys are asked for");
}

template <class T, class Space>
Neighbours<T, Space> room_for_neighbours(Index queries, Index k) {
  return {Matrix<Index, Space>(queries, k), Matrix<T, Space>(queries, k), Matrix<T, Space>(queries, k),
          Matrix<T, Space>(queries, k)};
}

/// (smallest / d)^2, the weight of a neighbour before weights are scaled to sum to 1.
EOSIN_HOST_DEVICE inline double neighbour_share(Weighting weighting, double smallest, double d) {
  if (weighting == Weighting::uniform) return 1.0;
  if (smallest == 0) return d == 0 ? 1.0 : 0.0;
  return (smallest / d) * (smallest / d);
}

template <class T>
void require_indices(const char* function, MatrixView<const Index> indices, MatrixView<const T> rows) {
  for (Index r = 0; r < indices.rows(); ++r)
    for (Index j = 0; j < indices.cols(); ++j)
      if (indices(r, j) < 0 || indices(r, j) >= rows.rows())
        throw ValueError(std::string(function) + ": indices(" + std::to_string(r) + ", " + std::to_string(j) + ") is " +
                         std::to_string(indices(r, j)) + ", there are " + std::to_string(rows.rows()) + " rows");
}

}  // namespace detail

/// distance [q x k] of each query to the keys that `indices` [q x k] names. Throws ShapeError, ValueError.
template <class T>
void neighbour_distances(CpuContext& context, MatrixView<const T> keys,
                         MatrixView<const std::type_identity_t<T>> queries, MatrixView<const Index> indices,
                         Distance kind, MatrixView<std::type_identity_t<T>> distance) {
  require_size("neighbour_distances", "queries", "columns", queries.cols(), keys.cols(), "columns of keys");
  require_size("neighbour_distances", "indices", "rows", indices.rows(), queries.rows(), "queries");
  require_shape("neighbour_distances", "distance", distance, indices.rows(), indices.cols());
  detail::require_indices<T>("neighbour_distances", indices, keys);
  context.parallel_for(queries.rows(), 8, [&](Index begin, Index end) {
    for (Index q = begin; q < end; ++q) {
      const T* query = queries.row(q).data();
      for (Index j = 0; j < indices.cols(); ++j) {
        const T* key = keys.row(indices(q, j)).data();
        math::PackSum<T> sum;
        math::for_each_pack<T>(0, keys.cols(), [&](auto lanes) EOSIN_ALWAYS_INLINE {
          const auto difference = lanes.load(key) - lanes.load(query);
          sum.add(kind == Distance::l1 ? math::absolute(difference) : difference * difference);
        });
        distance(q, j) = static_cast<T>(kind == Distance::l1 ? sum.total() : std::sqrt(sum.total()));
      }
    }
  });
}

/// weights [q x k], rows summing to 1, from distances [q x k] >= 0. Throws ShapeError; ValueError for a distance that
/// is negative or not finite.
template <class T>
void neighbour_weights(MatrixView<const T> distance, Weighting weighting, MatrixView<std::type_identity_t<T>> weights) {
  require_shape("neighbour_weights", "weights", weights, distance.rows(), distance.cols());
  for (Index q = 0; q < distance.rows(); ++q) {
    double smallest = std::numeric_limits<double>::infinity();
    for (Index j = 0; j < distance.cols(); ++j) {
      const double d = static_cast<double>(distance(q, j));
      require_value(d >= 0 && std::isfinite(d), "neighbour_weights",
                    "a distance of query " + std::to_string(q) + " is not a finite number >= 0");
      smallest = std::min(smallest, d);
    }
    const auto share = [&](Index j) {
      return detail::neighbour_share(weighting, smallest, static_cast<double>(distance(q, j)));
    };
    double sum = 0;
    for (Index j = 0; j < distance.cols(); ++j) sum += share(j);
    for (Index j = 0; j < distance.cols(); ++j) weights(q, j) = static_cast<T>(share(j) / sum);
  }
}

/// prediction [q x genes] = sum_j weights(q, j) expression[indices(q, j)], expression [m x genes]. Throws ShapeError,
/// ValueError. q k genes multiplications.
template <class T>
void weighted_expression(CpuContext& context, MatrixView<const T> expression, MatrixView<const Index> indices,
                         MatrixView<const std::type_identity_t<T>> weights,
                         MatrixView<std::type_identity_t<T>> prediction) {
  require_shape("weighted_expression", "weights", weights, indices.rows(), indices.cols());
  require_shape("weighted_expression", "prediction", prediction, indices.rows(), expression.cols());
  detail::require_indices<T>("weighted_expression", indices, expression);
  context.parallel_for(indices.rows(), 4, [&](Index begin, Index end) {
    for (Index q = begin; q < end; ++q) {
      T* out = prediction.row(q).data();
      std::fill_n(out, prediction.cols(), T(0));
      for (Index j = 0; j < indices.cols(); ++j) {
        if (weights(q, j) == T(0)) continue;
        const T* row = expression.row(indices(q, j)).data();
        const math::Pack<T> weight(weights(q, j));
        math::for_each_pack<T>(0, prediction.cols(), [&](auto lanes) EOSIN_ALWAYS_INLINE {
          lanes.store(out, math::multiply_add(weight, lanes.load(row), lanes.load(out)));
        });
      }
    }
  });
}

/// Nearest keys of each query with distances and weights. Errors as top_k: ValueError where k exceeds the keys.
template <class T>
Neighbours<T> find_neighbours(CpuContext& context, MatrixView<const T> keys,
                              MatrixView<const std::type_identity_t<T>> queries, const RetrievalOptions& options = {}) {
  detail::require_neighbours(options.k, keys.rows());
  auto found = detail::room_for_neighbours<T, Host>(queries.rows(), options.k);
  top_k<T>(context, keys, queries, options.k, found.indices, found.similarity);
  neighbour_distances<T>(context, keys, queries, found.indices, options.distance, found.distance);
  neighbour_weights<T>(found.distance, options.weighting, found.weights);
  return found;
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::retrieval

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/retrieval/neighbours.cuh>
#endif
