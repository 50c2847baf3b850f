// Rates of ops::gemm over the matrix products of a CPNN step, for every backend of this build.

#include "support.hpp"

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

void gemm(benchmark::State& state, const Product& product, const Backend& backend) {
  CpuContext context({.threads = threads(), .gemm = backend.gemm});
  ProductData data(product);
  data.run(context, product);
  for (auto _ : state) {
    data.run(context, product);
    benchmark::ClobberMemory();
  }
  state.counters["rate"] = benchmark::Counter(product.operations(), benchmark::Counter::kIsIterationInvariantRate);
}

const bool registered = [] {
  for (const Product& product : products())
    for (const Backend& backend : backends())
      benchmark::RegisterBenchmark((std::string("gemm/") + product.name + "/" + backend.name).c_str(),
                                   [&](benchmark::State& state) { gemm(state, product, backend); })
          ->Unit(benchmark::kMillisecond)
          ->MinTime(0.15)
          ->UseRealTime();
  return true;
}();

}  // namespace
