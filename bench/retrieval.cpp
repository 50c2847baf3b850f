// Exact retrieval of the 200 keys nearest to each of 2,000 queries among 50,000 keys of width 256: the search alone, and
// with distances, weights and the expression of 785 genes. Its products are the library's own.

#include "support.hpp"

#include <eosin/retrieval/neighbours.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

constexpr Index keys = 50000, queries = 2000, width = 256, k = 200, genes = 785;

void search(benchmark::State& state) {
  CpuContext context({.threads = threads()});
  const auto key = normal_matrix<float>(keys, width, 1), query = normal_matrix<float>(queries, width, 2);
  Matrix<Index> indices(queries, k);
  Matrix<float> similarity(queries, k);
  const auto run = [&] {
    eosin::retrieval::top_k<float>(context, key, query, k, indices, similarity);
    benchmark::ClobberMemory();
  };
  run();
  for (auto _ : state) run();
}

void predict(benchmark::State& state) {
  CpuContext context({.threads = threads()});
  const auto key = normal_matrix<float>(keys, width, 1), query = normal_matrix<float>(queries, width, 2);
  const auto expression = normal_matrix<float>(keys, genes, 3);
  Matrix<float> prediction(queries, genes);
  for (auto _ : state) {
    const auto found = eosin::retrieval::find_neighbours<float>(context, key, query, {.k = k});
    eosin::retrieval::weighted_expression<float>(context, expression, found.indices, found.weights, prediction);
    benchmark::ClobberMemory();
  }
}

const bool registered = [] {
  benchmark::RegisterBenchmark("retrieval_top_k/own", search)->Unit(benchmark::kMillisecond)->MinTime(1.0)->UseRealTime();
  benchmark::RegisterBenchmark("retrieval_predict/own", predict)
      ->Unit(benchmark::kMillisecond)
      ->Iterations(2)
      ->UseRealTime();
  return true;
}();

}  // namespace
