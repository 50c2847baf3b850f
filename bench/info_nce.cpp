// Symmetric InfoNCE, value and both gradients, for every backend of this build: what one training step on whole
// sections asks of it (4,096 pairs), and 32,768 pairs with the scratch memory that they take.

#include "support.hpp"

#include <eosin/losses/info_nce.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

void info_nce(benchmark::State& state, Index pairs, const Backend& backend) {
  constexpr Index width = 256;
  CpuContext context({.threads = threads(), .gemm = backend.gemm});
  const auto spot = normal_matrix<float>(pairs, width, 1, 0.25), image = normal_matrix<float>(pairs, width, 2, 0.25);
  Matrix<float> d_spot(pairs, width), d_image(pairs, width);
  const auto run = [&] {
    benchmark::DoNotOptimize(eosin::losses::info_nce<float>(context, spot, image, {}, d_spot.view(), d_image.view()));
  };
  run();
  for (auto _ : state) run();
  state.counters["scratch"] = static_cast<double>(context.workspace().capacity());
}

const bool registered = [] {
  for (const Index pairs : {128, 4096, 32768})
    for (const Backend& backend : backends()) {
      if (pairs > 4096 && &backend != &backends().back()) continue;
      auto* entry =
          benchmark::RegisterBenchmark(("info_nce/" + std::to_string(pairs) + "/" + backend.name).c_str(),
                                       [&backend, pairs](benchmark::State& state) { info_nce(state, pairs, backend); });
      entry->Unit(benchmark::kMillisecond)->UseRealTime();
      if (pairs > 4096)
        entry->Iterations(1);
      else
        entry->MinTime(1.0);
    }
  return true;
}();

}  // namespace
