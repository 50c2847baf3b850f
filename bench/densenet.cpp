// DenseNet-121 in float on images of 224 x 224 with their channels together: 8 images forward (statistics of the batch,
// as in training), forward and backward to all parameters, and a whole training step of 16 images with Adam; peak
// memory of the last, and of a step of 32 images. With products of matrices by every backend of this build, and with
// oneDNN's convolutions.

#include "support.hpp"

#include <eosin/optim/adam.hpp>
#include <eosin/vision/densenet.hpp>
#if defined(EOSIN_HAS_ONEDNN)
#include <eosin/ops/convolution_onednn.hpp>
#endif

#include <benchmark/benchmark.h>

#include <memory>

namespace {

using namespace bench;
using eosin::layers::GradientMode;

constexpr Index edge = 224;

struct Machine {
  std::string name;
  const eosin::GemmBackend* gemm;
  const eosin::ConvolutionBackend* convolution;
};

const std::vector<Machine>& machines() {
  static const std::vector<Machine> all = [] {
    std::vector<Machine> found;
    for (const Backend& backend : backends()) found.push_back({backend.name, backend.gemm, nullptr});
#if defined(EOSIN_HAS_ONEDNN)
    static const eosin::ops::OneDnnConvolution convolution;
    found.back().convolution = &convolution;
#endif
    return found;
  }();
  return all;
}

struct Training {
  Training(const Machine& machine, Index count)
      : images(count),
        context({.threads = threads(), .gemm = machine.gemm, .convolution = machine.convolution}),
        network(parameters, ""),
        pixels(normal_matrix<float>(count * edge * edge, 3)),
        features(count, network.channels()),
        upstream(normal_matrix<float>(count, network.channels(), 2)) {
    parameters.allocate(context, 1);
  }
  void forward() { network.forward(context, {pixels.view(), images, edge, edge}, features.view(), cache); }
  void backward() { network.backward(context, upstream, cache, GradientMode::overwrite); }

  Index images;
  CpuContext context;
  eosin::Parameters<float> parameters;
  eosin::vision::DenseNet<float> network;
  eosin::vision::DenseNet<float>::Cache cache;
  Matrix<float> pixels, features, upstream;
};

void densenet_forward(benchmark::State& state, const Machine& machine) {
  Training training(machine, 8);
  training.forward();
  for (auto _ : state) training.forward();
}

void densenet_gradient(benchmark::State& state, const Machine& machine) {
  Training training(machine, 8);
  const auto step = [&] {
    training.forward();
    training.backward();
  };
  step();
  for (auto _ : state) step();
}

void densenet_step(benchmark::State& state, const Machine& machine, Index images) {
  PeakMemory::reset();
  Training training(machine, images);
  eosin::optim::Adam<float> optimiser(training.parameters,
                                      {.weight_decay = 1e-3, .decay = eosin::optim::WeightDecay::coupled});
  const auto step = [&] {
    training.forward();
    training.backward();
    optimiser.step(training.context, training.parameters, 1e-4);
  };
  step();
  for (auto _ : state) step();
  state.counters["peak_memory"] = PeakMemory::bytes();
}

const bool registered = [] {
  const auto add = [](const std::string& name, int iterations, auto run) {
    benchmark::RegisterBenchmark(name.c_str(), run)
        ->Unit(benchmark::kMillisecond)
        ->Iterations(iterations)
        ->UseRealTime();
  };
  for (const Machine& machine : machines()) {
    add("densenet_forward/" + machine.name, 5, [&](benchmark::State& state) { densenet_forward(state, machine); });
    add("densenet_gradient/" + machine.name, 3, [&](benchmark::State& state) { densenet_gradient(state, machine); });
    add("densenet_step/images:16/" + machine.name, 3,
        [&](benchmark::State& state) { densenet_step(state, machine, 16); });
  }
  const Machine& last = machines().back();
  add("densenet_step/images:32/" + last.name, 1, [&](benchmark::State& state) { densenet_step(state, last, 32); });
  return true;
}();

}  // namespace
