// A model on the device trains as it does on the processor: MLP, Adam, SGD, clipping, parameters from one seed.

#include <eosin/layers/mlp.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>
#include <eosin/optim/sgd.hpp>

#include "support/cuda.hpp"

#include <utility>

using namespace eosin;
using namespace eosin::testing;

namespace {

/// Parameters after `steps` steps of a small MLP pulled towards a target, in one memory space.
template <class T, class Space, class C, class Optimiser, class Move>
Vector<T> trained(C& context, int steps, const Optimiser& make_optimiser, const Move& move) {
  const Index rows = 37;
  Parameters<T, Space> parameters;
  const layers::Mlp<T, Space> mlp(parameters, "mlp", {9, 33, 20, 5});
  parameters.allocate(context, 7);
  auto optimiser = make_optimiser(parameters);
  const auto x_host = normal_matrix<T>(rows, 9, 1), upstream_host = normal_matrix<T>(rows, 5, 2);
  const auto x = move(x_host);
  const auto upstream = move(upstream_host);
  Matrix<T, Space> y(rows, 5);
  typename layers::Mlp<T, Space>::Cache cache;
  for (int i = 0; i < steps; ++i) {
    mlp.forward(context, x.view(), y.view(), cache);
    ops::add<T>(context, upstream.view(), y.view());  // the gradient of |y + upstream|^2 / 2
    mlp.backward(context, x.view(), std::as_const(y).view(), {}, cache, layers::GradientMode::overwrite);
    const double norm = optim::gradient_norm<T>(context, std::as_const(parameters).gradients());
    optimiser.step(context, parameters, 1e-2, optim::clip_factor(norm, 1.0));
  }
  Vector<T> out(parameters.values().size());
  if constexpr (std::is_same_v<Space, Device>) {
    download<T>(context, std::as_const(parameters).values(), out.view());
  } else {
    std::copy_n(parameters.values().data(), out.size(), out.data());
  }
  return out;
}

template <class T, class Make>
void check_training(int steps, const Make& make, double tolerance) {
  CpuContext cpu({.threads = 1});
  const auto expected = trained<T, Host>(cpu, steps, make, [](const Matrix<T>& host) { return host; });
  in_every_order([&] {
    CudaContext gpu;
    const auto got =
        trained<T, Device>(gpu, steps, make, [&](const Matrix<T>& host) { return on_device(gpu, host.view()); });
    CHECK(relative_difference(got, expected) < tolerance);
    const auto again =
        trained<T, Device>(gpu, steps, make, [&](const Matrix<T>& host) { return on_device(gpu, host.view()); });
    CHECK(same_bits(again.view(), got.view()));
  });
}

}  // namespace

TEST_CASE_TEMPLATE("Adam trains an MLP on the device as on the processor", T, float, double) {
  for (const auto decay : {optim::WeightDecay::decoupled, optim::WeightDecay::coupled})
    check_training<T>(
        5,
        [&]<class Space>(const Parameters<T, Space>& parameters) {
          return optim::Adam<T, Space>(parameters, {.weight_decay = 0.1, .decay = decay});
        },
        std::is_same_v<T, float> ? 1e-5 : 1e-12);
}

TEST_CASE_TEMPLATE("SGD trains an MLP on the device as on the processor", T, float, double) {
  for (const double momentum : {0.0, 0.9})
    check_training<T>(
        5,
        [&]<class Space>(const Parameters<T, Space>& parameters) {
          return optim::Sgd<T, Space>(parameters,
                                      {.momentum = momentum, .nesterov = momentum > 0, .weight_decay = 0.1});
        },
        std::is_same_v<T, float> ? 1e-5 : 1e-12);
}

TEST_CASE("a step on the device takes no memory after the first") {
  CudaContext gpu;
  Parameters<float, Device> parameters;
  const layers::Mlp<float, Device> mlp(parameters, "mlp", {9, 33, 5});
  parameters.allocate(gpu, 1);
  optim::Adam<float, Device> adam(parameters, {});
  const auto x = on_device(gpu, normal_matrix<float>(300, 9, 1).view());
  Matrix<float, Device> y(300, 5);
  layers::Mlp<float, Device>::Cache cache;
  const auto step = [&] {
    mlp.forward(gpu, x.view(), y.view(), cache);
    mlp.backward(gpu, x.view(), std::as_const(y).view(), {}, cache, layers::GradientMode::overwrite);
    adam.step(gpu, parameters, 1e-3, 1.0);
  };
  step();
  step();
  const Index held = gpu.workspace().capacity();
#if defined(EOSIN_CUDA_EMULATION)
  const auto pieces = emulation::DeviceMemory::instance().pieces();
#endif
  step();
  CHECK(gpu.workspace().capacity() == held);
#if defined(EOSIN_CUDA_EMULATION)
  CHECK(emulation::DeviceMemory::instance().pieces() == pieces);
#endif
}
