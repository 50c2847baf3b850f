// DenseNet on the device against the processor, from the same parameters: every mode of its batch norms, there and
// back, with the gradients of a second pass added.

#include <eosin/vision/densenet.hpp>

#include "support/cuda.hpp"
#include "support/place.hpp"

#include <vector>

using namespace eosin;
using namespace eosin::testing;
using layers::BatchNormMode;
using layers::GradientMode;

namespace {

const vision::DenseNetOptions with_relu{
    .growth_rate = 3, .block_config = {2, 1}, .num_init_features = 5, .bn_size = 2, .norm = {}};
const vision::DenseNetOptions without_relu{
    .growth_rate = 4, .block_config = {1, 2, 1}, .num_init_features = 4, .bn_size = 1, .final_relu = false, .norm = {}};

template <class T>
struct Result {
  Matrix<T> features, d_pixels;
  Vector<T> gradients, buffers;
};

template <class T, class C>
Result<T> passes(C& context, const vision::DenseNetOptions& options, BatchNormMode mode, Index images) {
  using Space = typename C::space;
  constexpr Index height = 35, width = 38;
  Parameters<T, Space> parameters;
  vision::DenseNet<T, Space> network(parameters, "net", options);
  parameters.allocate(context, 3);
  // Norms away from 1 and 0.
  auto values = fetch(context, std::as_const(parameters).values());
  const auto noise = normal_vector<T>(values.size(), 4);
  for (const Segment& segment : parameters.segments())
    for (Index i = segment.offset; i < segment.offset + segment.size; ++i) values[i] += T(0.05) * noise[i];
  place_parameters(context, values, parameters.values());
  network.set_mode(mode);
  const auto pixels = place(context, normal_matrix<T>(images * height * width, 3, 1));
  const auto upstream = place(context, normal_matrix<T>(images, network.channels(), 2));
  Matrix<T, Space> features(images, network.channels()), d_pixels(pixels.rows(), 3);
  typename vision::DenseNet<T, Space>::Cache cache;
  for (const auto gradient : {GradientMode::overwrite, GradientMode::accumulate}) {
    network.forward(context, {pixels.view(), images, height, width}, features.view(), cache);
    network.backward(context, upstream, cache, gradient, d_pixels.view());
  }
  Vector<T> statistics(0);
  for (const auto& buffer : network.buffers()) {
    const auto part = fetch(context, buffer.values);
    Vector<T> longer(statistics.size() + part.size());
    std::copy_n(statistics.data(), statistics.size(), longer.data());
    std::copy_n(part.data(), part.size(), longer.data() + statistics.size());
    statistics = longer;
  }
  return {fetch(context, features), fetch(context, d_pixels), fetch(context, parameters.gradients()), statistics};
}

}  // namespace

TEST_CASE_TEMPLATE("vision::DenseNet: device and processor agree in every mode", T, float, double) {
  // Differences grow from layer to layer.
  const double bound = 100 * agreement<T>;
  if (!affordable(1000000)) return;
  for (const auto* options : {&with_relu, &without_relu})
    for (const auto mode : {BatchNormMode::training, BatchNormMode::evaluation, BatchNormMode::frozen}) {
      CAPTURE(static_cast<int>(mode));
      CAPTURE(options->final_relu);
      CpuContext cpu({.threads = 1});
      const auto host = passes<T>(cpu, *options, mode, 2);
      const auto check = [&] {
        CudaContext gpu;
        const auto device = passes<T>(gpu, *options, mode, 2);
        CHECK(relative_difference(device.features, host.features) < bound);
        CHECK(relative_difference(device.d_pixels, host.d_pixels) < bound);
        CHECK(relative_difference(device.gradients, host.gradients) < bound);
        CHECK(relative_difference(device.buffers, host.buffers) < bound);
      };
      if (mode == BatchNormMode::training && options == &with_relu) {
        in_every_order(check);
      } else {
        check();
      }
    }
}

TEST_CASE("vision::DenseNet on the device: forward alone, no images, gradients of pixels alone, steady memory") {
  if (!affordable(1000000)) return;
  CudaContext gpu;
  Parameters<double, Device> parameters;
  vision::DenseNet<double, Device> network(parameters, "", with_relu);
  parameters.allocate(gpu, 3);
  const auto pixels = on_device(gpu, normal_matrix<double>(2 * 16 * 17, 3, 1).view());
  const auto upstream = on_device(gpu, normal_matrix<double>(2, network.channels(), 2).view());
  Matrix<double, Device> features(2, network.channels()), d_pixels(pixels.rows(), 3);
  vision::DenseNet<double, Device>::Cache cache, alone, empty;
  const auto step = [&](GradientMode mode) {
    network.forward(gpu, {pixels.view(), 2, 16, 17}, features.view(), cache);
    network.backward(gpu, upstream, cache, mode, d_pixels.view());
    return on_host(gpu, d_pixels.view());
  };
  const auto first = step(GradientMode::overwrite);
  const Index held = gpu.workspace().capacity();
  auto gradients = on_host(gpu, parameters.gradients());
  CHECK(same_bits(step(GradientMode::ignore), first));
  CHECK(same_bits(on_host(gpu, parameters.gradients()).view(), gradients.view()));
  CHECK(gpu.workspace().capacity() == held);

  network.set_mode(BatchNormMode::evaluation);
  network.forward(gpu, {pixels.view(), 2, 16, 17}, features.view(), cache);
  const auto kept = on_host(gpu, features.view());
  network.forward(gpu, {pixels.view(), 2, 16, 17}, features.view(), alone, false);
  CHECK(same_bits(on_host(gpu, features.view()), kept));
  CHECK_THROWS_AS(network.backward(gpu, upstream, alone, GradientMode::overwrite), ValueError);

  Matrix<double, Device> no_pixels(0, 3), no_features(0, network.channels());
  network.forward(gpu, {no_pixels.view(), 0, 16, 17}, no_features.view(), empty);
  network.backward(gpu, no_features, empty, GradientMode::overwrite, no_pixels.view());
  const auto zeros = on_host(gpu, parameters.gradients());
  for (Index i = 0; i < zeros.size(); ++i) REQUIRE(zeros[i] == 0);
  CHECK_THROWS_AS(network.forward(gpu, {pixels.view().middle_rows(0, 18), 2, 3, 3}, features.view(), empty),
                  ShapeError);
}
