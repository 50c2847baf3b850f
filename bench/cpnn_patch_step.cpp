// CPNN at patch level on one section of 4,096 patches, 2,000 genes, 29 types: the Pearson head (forward and backward),
// and a whole training step with the MLP 512-1024-512-29 (gradient, norm, clip, AdamW).
//
// Steps alternate with their matrix products alone (same shapes, same forms, same backend). Counters as in
// cpnn_slide_step.cpp; the products are those of the MLP and of the head.

#include "support.hpp"

#include <cpnn/model.hpp>
#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

constexpr Index patches = 4096;
constexpr Index types = 29;
constexpr Index genes = 2000;
constexpr Index inputs = 512;
const std::vector<Index> hidden{1024, 512};

Matrix<float> compositions(CpuContext& context) {
  Matrix<float> p = normal_matrix<float>(patches, types, 7);
  eosin::ops::softmax_rows<float>(context, p, p.view());
  return p;
}

/// Log-normalised expression of the section.
eosin::losses::PearsonTarget<float> target(CpuContext& context) {
  Matrix<float> y(patches, genes);
  eosin::RandomStream random(3);
  for (Index i = 0; i < y.size(); ++i) y.data()[i] = static_cast<float>(std::log1p(random.gamma(0.5, 2)));
  return eosin::losses::pearson_target<float>(context, y);
}

/// The products of composition_pearson on patches x genes: centred' y and y (Ec diag(u))'.
struct HeadProducts {
  void run(CpuContext& context, MatrixView<const float> unit) {
    eosin::ops::gemm<float>(context, Transpose::yes, Transpose::no, 1, composition, unit, 0, cross.view());
    eosin::ops::gemm<float>(context, Transpose::no, Transpose::yes, 1, unit, scaled, 1, gradient.view());
  }
  static double operations() { return 4.0 * static_cast<double>(patches * types * genes); }
  Matrix<float> composition = normal_matrix<float>(patches, types), cross{types, genes},
                scaled = normal_matrix<float>(types, genes), gradient{patches, types};
};

void cpnn_patch_head(benchmark::State& state, const Backend& backend) {
  CpuContext context({.threads = threads(), .gemm = backend.gemm});
  const auto measured = target(context);
  const auto composition = compositions(context);
  Matrix<float> expression(types, genes), d_composition(patches, types), d_expression(types, genes);
  const auto start = prototypes(types, genes);
  for (Index i = 0; i < start.size(); ++i) expression.data()[i] = static_cast<float>(start.data()[i]);
  eosin::losses::CompositionPearsonOptions<float> options;
  options.d_composition = d_composition.view();
  options.d_expression = d_expression.view();
  for (auto _ : state)
    benchmark::DoNotOptimize(
        eosin::losses::composition_pearson<float>(context, composition, expression, measured, options));
}

void cpnn_patch_step(benchmark::State& state, const Backend& backend) {
  PeakMemory::reset();
  CpuContext context({.threads = threads(), .gemm = backend.gemm});
  const auto features = normal_matrix<float>(patches, inputs);
  const auto measured = target(context);
  const auto reference = compositions(context);
  cpnn::ModelOptions options;
  options.inputs = inputs;
  options.hidden = hidden;
  options.types = types;
  options.genes = genes;
  options.correction = false;
  options.observation = cpnn::Observation::pearson;
  cpnn::Model<float> model(options, prototypes(types, genes));
  model.parameters().allocate(context, 1);
  eosin::optim::Adam<float> optimiser(model.parameters(), {.weight_decay = 0.01});
  std::vector<cpnn::Section<float>> sections(1);
  sections[0].patches = features;
  sections[0].target = &measured;
  sections[0].composition = reference;
  const auto step = [&] {
    const auto losses = model.patch_step(context, sections, eosin::layers::GradientMode::overwrite);
    const double norm = eosin::optim::gradient_norm<float>(context, std::as_const(model.parameters()).gradients());
    optimiser.step(context, model.parameters(), 1e-3, eosin::optim::clip_factor(norm, 0.5));
    benchmark::DoNotOptimize(losses.total);
  };
  step();
  const double peak = PeakMemory::bytes();

  MlpProducts products(patches, {inputs, hidden[0], hidden[1], types});
  HeadProducts head;
  const auto multiply = [&] {
    products.run(context, features);
    head.run(context, measured.unit);
  };
  multiply();
  std::vector<double> step_seconds, product_seconds;
  for (auto _ : state) {
    step_seconds.push_back(seconds_of(step));
    product_seconds.push_back(seconds_of(multiply));
    state.SetIterationTime(step_seconds.back());
  }
  const double operations = products.operations() + HeadProducts::operations();
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
  for (const Backend& backend : backends()) {
    benchmark::RegisterBenchmark(("cpnn_patch_head/" + backend.name).c_str(),
                                 [&](benchmark::State& state) { cpnn_patch_head(state, backend); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
    benchmark::RegisterBenchmark(("cpnn_patch_step/" + backend.name).c_str(),
                                 [&](benchmark::State& state) { cpnn_patch_step(state, backend); })
        ->Unit(benchmark::kMillisecond)
        ->Iterations(7)
        ->UseManualTime();
  }
  return true;
}();

}  // namespace
