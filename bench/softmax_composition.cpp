// The composition layer of CPNN on one slide: softmax over cell types, pooled over patches, and its backward.

#include "support.hpp"

#include <eosin/ops/reduce.hpp>
#include <eosin/ops/softmax.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

constexpr Index patches = 4096;
constexpr Index types = 29;

void report(benchmark::State& state) {
  state.counters["per_element"] = benchmark::Counter(static_cast<double>(state.iterations() * patches * types),
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void softmax_composition_forward(benchmark::State& state) {
  CpuContext context({.threads = threads()});
  const auto logits = normal_matrix<float>(patches, types);
  Matrix<float> composition(patches, types);
  Vector<float> pooled(types);
  for (auto _ : state) {
    eosin::ops::softmax_rows<float>(context, logits, composition.view());
    eosin::ops::column_means<float>(context, composition, pooled.view());
    benchmark::ClobberMemory();
  }
  report(state);
}

void softmax_composition_backward(benchmark::State& state) {
  CpuContext context({.threads = threads()});
  const auto logits = normal_matrix<float>(patches, types);
  const auto d_pooled = normal_matrix<float>(1, types);
  Matrix<float> composition(patches, types), d_logits(patches, types);
  eosin::ops::softmax_rows<float>(context, logits, composition.view());
  for (auto _ : state) {
    eosin::ops::softmax_mean_backward<float>(context, composition, d_pooled.row(0), d_logits.view());
    benchmark::ClobberMemory();
  }
  report(state);
}

BENCHMARK(softmax_composition_forward)->UseRealTime();
BENCHMARK(softmax_composition_backward)->UseRealTime();

}  // namespace
