// A training step of mclSTExp without the image network: 128 spots of 785 genes as one sentence, two blocks of 8 heads
// of 64, both projection heads to 256, InfoNCE, backward, Adam with coupled weight decay. Position tables: 64 rows, as
// CompactRows makes them, `lazy` 65,536 rows with the sparse gradient and the exact, postponed steps of LazyEmbedding
// (coordinates below 64), in place of the release's full tables. Counters:
//   step, model, adam   seconds (medians): a whole step, of it value and gradient, and the optimiser

#include "support.hpp"

#include <eosin/layers/lazy_embedding.hpp>
#include <eosin/optim/adam.hpp>
#include <mclstexp/model.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;
using eosin::layers::GradientMode;

constexpr Index spots = 128, genes = 785, rows = 64;

void spot_branch(benchmark::State& state, const Backend& backend, bool lazy) {
  CpuContext context({.threads = threads(), .gemm = backend.gemm});
  mclstexp::ModelOptions options;
  options.genes = genes;
  options.x_rows = options.y_rows = rows;
  if (lazy) options.position = mclstexp::Position::none;
  mclstexp::Model<float> model(options);
  model.parameters().allocate(context, 1);
  const eosin::optim::AdamOptions adam{
      .learning_rate = 1e-4, .weight_decay = 1e-3, .decay = eosin::optim::WeightDecay::coupled};
  eosin::optim::Adam<float> optimiser(model.parameters(), adam);
  std::vector<eosin::layers::LazyEmbedding<float>> tables;
  if (lazy)
    for (std::uint64_t axis = 0; axis < 2; ++axis)
      tables.emplace_back(Index{65536}, genes, eosin::layers::LazyEmbeddingOptions{.adam = adam}, 1, axis);

  const auto expression = normal_matrix<float>(spots, genes), features = normal_matrix<float>(spots, 1024, 2);
  Matrix<float> input(spots, genes), d_input(spots, genes);
  Matrix<Index> positions(spots, 2);
  std::vector<Index> coordinates[2];
  eosin::RandomStream random(3);
  for (Index i = 0; i < positions.size(); ++i) {
    positions.data()[i] = random.below(rows);
    coordinates[i % 2].push_back(positions.data()[i]);
  }
  const std::vector<Index> offsets{0, spots};
  const auto gradient = [&] {
    if (lazy) {
      std::copy_n(expression.data(), expression.size(), input.data());
      for (std::size_t axis = 0; axis < 2; ++axis) tables[axis].forward_add(context, coordinates[axis], input.view());
    }
    const mclstexp::Batch<float> batch{lazy ? std::as_const(input).view() : expression.view(),
                                       std::as_const(positions).view(), offsets, features};
    mclstexp::Outputs<float> outputs;
    if (lazy) outputs.d_expression = d_input.view();
    benchmark::DoNotOptimize(model.step(context, batch, GradientMode::overwrite, outputs));
    for (std::size_t axis = 0; axis < tables.size(); ++axis)
      tables[axis].backward(context, coordinates[axis], d_input.view());
  };
  const auto update = [&] {
    optimiser.step(context, model.parameters(), adam.learning_rate);
    for (auto& table : tables) table.step(context, adam.learning_rate);
  };
  gradient();
  update();
  std::vector<double> model_seconds, update_seconds, step_seconds;
  for (auto _ : state) {
    model_seconds.push_back(seconds_of(gradient));
    update_seconds.push_back(seconds_of(update));
    step_seconds.push_back(model_seconds.back() + update_seconds.back());
    state.SetIterationTime(step_seconds.back());
  }
  state.counters["step"] = median(step_seconds);
  state.counters["model"] = median(model_seconds);
  state.counters["adam"] = median(update_seconds);
}

const bool registered = [] {
  for (const Backend& backend : backends())
    for (const bool lazy : {false, true})
      benchmark::RegisterBenchmark((std::string("spot_branch/") + (lazy ? "lazy/" : "compact/") + backend.name).c_str(),
                                   [&backend, lazy](benchmark::State& state) { spot_branch(state, backend, lazy); })
          ->UseManualTime()
          ->Iterations(40)
          ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
