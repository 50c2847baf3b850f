// A training step of CPNN at slide level: gradient of a batch of slides, norm, clip, AdamW. 8 slides of 4,096 patches
// with D features, MLP D-1024-512-29, 14,052 genes.
//
// Steps alternate with the matrix products of the MLP alone (same shapes, same forms, same backend). Counters, medians:
//   step, gemm_only   seconds of a step, of its products through the same backend
//   step_over_products  of a step and the products right after it, so that a machine whose rate drifts does not matter
//   best_rate         operations per second of the best product of any backend in this process, in float
//   step_over_best    step / (operations of its products / best_rate)
//   peak_memory       bytes, of the process with the data

#include "support.hpp"

#include <cpnn/model.hpp>
#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

constexpr Index patches = 4096;
constexpr Index types = 29;
constexpr Index genes = 14052;
constexpr Index batch = 8;
const std::vector<Index> hidden{1024, 512};

struct Slides {
  explicit Slides(Index inputs)
      : features(normal_matrix<float>(batch * patches, inputs)), counts(batch, genes), composition(batch, types) {
    eosin::RandomStream random(2);
    for (Index s = 0; s < batch; ++s) {
      for (Index g = 0; g < genes; ++g) counts(s, g) = static_cast<float>(random.poisson(random.gamma(0.5, 2000)));
      for (Index c = 0; c < types; ++c) composition(s, c) = static_cast<float>(random.gamma(1));
    }
    for (Index s = 0; s < batch; ++s)
      slides.push_back({std::as_const(features).view().middle_rows(s * patches, patches), std::as_const(counts).row(s),
                        std::as_const(composition).row(s)});
  }
  Matrix<float> features, counts, composition;
  std::vector<cpnn::Slide<float>> slides;
};

void cpnn_slide_step(benchmark::State& state, Index inputs, const Backend& backend, eosin::MathMode mode) {
  if (mode == eosin::MathMode::bf16 && !has_bf16(backend)) {
    state.SkipWithError("skipped: this backend has no bf16 products on this processor");
    return;
  }
  PeakMemory::reset();
  const Slides data(inputs);
  CpuContext context({.threads = threads(), .math_mode = mode, .gemm = backend.gemm});
  cpnn::ModelOptions options;
  options.inputs = inputs;
  options.hidden = hidden;
  options.types = types;
  options.genes = genes;
  cpnn::Model<float> model(options, prototypes(types, genes));
  model.parameters().allocate(context, 1);
  eosin::optim::Adam<float> optimiser(model.parameters(), {.weight_decay = 0.01});
  const auto step = [&] {
    const auto losses = model.slide_step(context, data.slides, eosin::layers::GradientMode::overwrite);
    const double norm = eosin::optim::gradient_norm<float>(context, std::as_const(model.parameters()).gradients());
    optimiser.step(context, model.parameters(), 1e-3, eosin::optim::clip_factor(norm, 0.5));
    benchmark::DoNotOptimize(losses.total);
  };
  step();  // takes its memory; the later ones run in it
  const double peak = PeakMemory::bytes();

  MlpProducts products(patches, {inputs, hidden[0], hidden[1], types});
  const auto multiply = [&] {
    for (const auto& slide : data.slides) products.run(context, slide.patches);
  };
  multiply();
  std::vector<double> step_seconds, product_seconds;
  for (auto _ : state) {
    step_seconds.push_back(seconds_of(step));
    product_seconds.push_back(seconds_of(multiply));
    state.SetIterationTime(step_seconds.back());
  }
  const double operations = static_cast<double>(batch) * products.operations();
  const double rate = best_product_rate();
  state.counters["step"] = median(step_seconds);
  state.counters["gemm_only"] = median(product_seconds);
  state.counters["step_over_products"] = median_ratio(step_seconds, product_seconds);
  state.counters["operations"] = operations;
  state.counters["best_rate"] = rate;
  state.counters["step_over_best"] = median(step_seconds) * rate / operations;
  state.counters["peak_memory"] = peak;
}

const bool registered = [] {
  const auto add = [](Index inputs, const Backend& backend, eosin::MathMode mode) {
    const std::string name = "cpnn_slide_step/D:" + std::to_string(inputs) + "/" + backend.name +
                             (mode == eosin::MathMode::bf16 ? "/bf16" : "/float");
    benchmark::RegisterBenchmark(
        name.c_str(), [=, &backend](benchmark::State& state) { cpnn_slide_step(state, inputs, backend, mode); })
        ->Unit(benchmark::kMillisecond)
        ->Iterations(3)
        ->UseManualTime();
  };
  for (const Index inputs : {512, 1536})
    for (const Backend& backend : backends()) {
      add(inputs, backend, eosin::MathMode::full);
      if (backend.name == "oneDNN") add(inputs, backend, eosin::MathMode::bf16);
    }
  return true;
}();

}  // namespace
