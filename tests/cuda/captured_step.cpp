// Training steps as CUDA graphs: the bits of the same calls one by one, for CPNN at both levels and for the spot branch
// of mclSTExp.

#include <eosin/optim/captured_step.cuh>

#include <cpnn/model.hpp>
#include <mclstexp/model.hpp>

#include "support/cuda.hpp"

#include <vector>

using namespace eosin;
using namespace eosin::testing;

namespace {

constexpr double rates[] = {1e-2, 1e-2, 5e-3};

/// Parameters after three steps, as a graph or one call after the other, and the last gradient norm.
struct Trained {
  Vector<float> values;
  double norm;
};

template <class Queue>
Trained train(CudaContext& gpu, Parameters<float, Device>& parameters, double clip_norm, bool as_graph, Queue&& queue) {
  optim::Adam<float, Device> optimiser(parameters, {.weight_decay = 1e-2});
  Trained trained{{}, 0};
  if (as_graph) {
    optim::CapturedStep<float> step(gpu, parameters, optimiser, clip_norm, queue);
    for (const double rate : rates) step.run(gpu, rate);
    trained.norm = step.gradient_norm(gpu);
  } else {
    for (const double rate : rates) {
      queue();
      trained.norm = optim::gradient_norm<float>(gpu, std::as_const(parameters).gradients());
      optimiser.step(gpu, parameters, rate, clip_norm > 0 ? optim::clip_factor(trained.norm, clip_norm) : 1.0);
    }
  }
  CHECK(optimiser.steps() == 3);
  trained.values = on_host(gpu, std::as_const(parameters).values());
  return trained;
}

/// `trained(as_graph)` twice.
template <class F>
void check_same(F&& trained) {
  const Trained one_by_one = trained(false), graph = trained(true);
  CHECK(same_bits(one_by_one.values.view(), graph.values.view()));
  CHECK(one_by_one.norm == graph.norm);
  CHECK(one_by_one.norm > 0);
}

cpnn::ModelOptions small_cpnn(cpnn::Observation observation) {
  cpnn::ModelOptions options;
  options.inputs = 9;
  options.hidden = {33};
  options.types = 5;
  options.genes = 40;
  options.observation = observation;
  return options;
}

}  // namespace

TEST_CASE("CapturedStep: CPNN at slide level") {
  CudaContext gpu;
  const auto prototypes = composition_matrix<double>(5, 40, 1);
  const auto patches = on_device(gpu, normal_matrix<float>(70, 9, 2).view());
  auto counts = composition_matrix<float>(2, 40, 3);
  for (Index i = 0; i < counts.size(); ++i) counts.data()[i] = std::round(500 * counts.data()[i]);
  const auto counts_d = on_device(gpu, counts.view()),
             composition = on_device(gpu, composition_matrix<float>(2, 5, 4).view());
  const std::vector<cpnn::Slide<float, Device>> slides{
      {patches.view().middle_rows(0, 33), counts_d.row(0), composition.row(0)},
      {patches.view().middle_rows(33, 37), counts_d.row(1), {}}};
  for (const double clip : {0.0, 0.1})
    check_same([&](bool as_graph) {
      cpnn::Model<float, Device> model(small_cpnn(cpnn::Observation::negative_binomial), prototypes.view());
      model.parameters().allocate(gpu, 7);
      return train(gpu, model.parameters(), clip, as_graph,
                   [&] { model.queue_slide_step(gpu, slides, layers::GradientMode::overwrite); });
    });
}

TEST_CASE("CapturedStep: CPNN at patch level") {
  CudaContext gpu;
  const auto prototypes = composition_matrix<double>(5, 40, 1);
  const auto patches = on_device(gpu, normal_matrix<float>(50, 9, 2).view());
  const auto target = losses::pearson_target(gpu, on_device(gpu, normal_matrix<float>(50, 40, 3).view()).view());
  const auto composition = on_device(gpu, composition_matrix<float>(1, 5, 4).view());
  const std::vector<cpnn::Section<float, Device>> sections{{patches.view(), &target, {}, composition.view()}};
  check_same([&](bool as_graph) {
    auto options = small_cpnn(cpnn::Observation::pearson);
    options.composition_level = cpnn::CompositionLevel::section;
    cpnn::Model<float, Device> model(options, prototypes.view());
    model.parameters().allocate(gpu, 7);
    return train(gpu, model.parameters(), 0.5, as_graph,
                 [&] { model.queue_patch_step(gpu, sections, layers::GradientMode::overwrite); });
  });
}

TEST_CASE("CapturedStep: the spot branch of mclSTExp") {
  CudaContext gpu;
  mclstexp::ModelOptions options;
  options.genes = 24;
  options.depth = 1;
  options.heads = 2;
  options.head_width = 8;
  options.x_rows = options.y_rows = 6;
  options.image_features = 10;
  options.projection = 16;
  options.learned_temperature = options.normalize = true;
  const Index n = 20;
  const auto expression = on_device(gpu, normal_matrix<float>(n, 24, 1).view()),
             features = on_device(gpu, normal_matrix<float>(n, 10, 2).view());
  Matrix<Index> positions(n, 2);
  for (Index i = 0; i < positions.size(); ++i) positions.data()[i] = (5 * i) % 6;
  const auto positions_d = on_device(gpu, positions.view());
  const std::vector<Index> offsets{0, 7, 20};
  const mclstexp::Batch<float, Device> batch{expression.view(), positions_d.view(), offsets, features.view()};
  check_same([&](bool as_graph) {
    mclstexp::Model<float, Device> model(options);
    model.parameters().allocate(gpu, 7);
    return train(gpu, model.parameters(), 1.0, as_graph,
                 [&] { model.queue_step(gpu, batch, layers::GradientMode::overwrite); });
  });
}

TEST_CASE("CudaGraph: work that waits is refused, and the stream is usable afterwards") {
  CudaContext gpu;
  Vector<float, Device> x(4);
  CHECK_THROWS_AS(CudaGraph(gpu, [&] { on_host(gpu, x.view()); }), CudaError);
  CHECK(on_host(gpu, x.view())[3] == 0);
  CHECK_THROWS_WITH_AS(CudaGraph().launch(gpu), "CudaGraph::launch: nothing was recorded", ValueError);
}
