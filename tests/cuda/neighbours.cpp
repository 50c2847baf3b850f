// Distances, weights and expression of neighbours, on the device against the processor.

#include <eosin/retrieval/neighbours.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <tuple>

using namespace eosin;
using namespace eosin::testing;

TEST_CASE_TEMPLATE("find_neighbours, weighted_expression: device and processor agree", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto& [keys, queries, width, k, genes] :
       {std::tuple<Index, Index, Index, Index, Index>{1, 1, 1, 1, 1}, {40, 3, 33, 5, 31}, {300, 5, 8, 260, 257}}) {
    if (!affordable(keys * queries * width)) continue;
    for (const auto distance : {retrieval::Distance::l1, retrieval::Distance::l2})
      for (const auto weighting : {retrieval::Weighting::inverse_square, retrieval::Weighting::uniform}) {
        if (k > 200 && (distance == retrieval::Distance::l2 || weighting == retrieval::Weighting::uniform)) continue;
        CAPTURE(keys);
        CAPTURE(k);
        auto key = normal_matrix<T>(keys, width, 1);
        const auto query = normal_matrix<T>(queries, width, 2), expression = normal_matrix<T>(keys, genes, 3);
        // The first query is among the keys, twice where there is room: exact matches share the weight.
        for (Index r = 0; r < std::min<Index>(2, keys); ++r)
          for (Index c = 0; c < width; ++c) key(r, c) = query(0, c);
        const retrieval::RetrievalOptions options{k, distance, weighting};
        const auto want = retrieval::find_neighbours<T>(cpu, key, query, options);
        Matrix<T> prediction(queries, genes);
        retrieval::weighted_expression<T>(cpu, expression, want.indices, want.weights, prediction);
        in_every_order([&] {
          const auto key_d = on_device(gpu, key.view()), query_d = on_device(gpu, query.view()),
                     expression_d = on_device(gpu, expression.view());
          const auto found = retrieval::find_neighbours(gpu, key_d.view(), query_d.view(), options);
          Matrix<T, Device> prediction_d(queries, genes);
          retrieval::weighted_expression<T>(gpu, expression_d, found.indices.view(), found.weights,
                                            prediction_d.view());
          const auto indices = on_host(gpu, found.indices.view());
          CHECK(std::equal(indices.data(), indices.data() + indices.size(), want.indices.data()));
          CHECK(relative_difference(on_host(gpu, found.similarity.view()), want.similarity) < agreement<T>);
          CHECK(relative_difference(on_host(gpu, found.distance.view()), want.distance) < agreement<T>);
          CHECK(relative_difference(on_host(gpu, found.weights.view()), want.weights) < 3 * agreement<T>);
          CHECK(relative_difference(on_host(gpu, prediction_d.view()), prediction) < 3 * agreement<T>);
        });
      }
  }
}

TEST_CASE("neighbours on the device: numbers that name no row, distances that are none") {
  CudaContext gpu;
  const auto keys = on_device(gpu, normal_matrix<float>(4, 3, 1).view()),
             queries = on_device(gpu, normal_matrix<float>(2, 3, 2).view());
  Matrix<Index> indices(2, 2);
  indices(0, 0) = -1;
  indices(1, 1) = 3;
  const auto indices_d = on_device(gpu, indices.view());
  Matrix<float, Device> distance(2, 2), weights(2, 2), prediction(2, 3);
  retrieval::neighbour_distances<float>(gpu, keys.view(), queries, indices_d.view(), retrieval::Distance::l2,
                                        distance.view());
  CHECK(std::isnan(on_host(gpu, distance.view())(0, 0)));
  CHECK(std::isfinite(on_host(gpu, distance.view())(1, 1)));
  retrieval::neighbour_weights<float>(gpu, std::as_const(distance).view(), retrieval::Weighting::inverse_square,
                                      weights.view());
  CHECK(std::isnan(on_host(gpu, weights.view())(0, 1)));
  CHECK(std::isfinite(on_host(gpu, weights.view())(1, 0)));
  retrieval::weighted_expression<float>(gpu, keys.view(), indices_d.view(), weights, prediction.view());
  CHECK(std::isnan(on_host(gpu, prediction.view())(0, 2)));
  CHECK(std::isfinite(on_host(gpu, prediction.view())(1, 2)));
  CHECK_THROWS_WITH_AS(retrieval::find_neighbours(gpu, keys.view(), queries.view(), {.k = 5}),
                       "find_neighbours: 5 neighbours of 4 keys are asked for", ValueError);
}
