// Batch normalisation on the device against the processor: tails of warps and of runs, ranges of channels of a wider
// buffer, every mode, with and without the ReLU.

#include <eosin/layers/batch_norm.hpp>

#include "support/cuda.hpp"
#include "support/place.hpp"

#include <vector>

using namespace eosin;
using namespace eosin::testing;
using layers::BatchNormMode;
using layers::GradientMode;

namespace {

template <class T>
ops::BatchNormCoefficients<T> coefficients(Matrix<T>& m) {
  return {m.row(0), m.row(1), m.row(2), m.row(3)};
}
template <class T>
ops::BatchNormCoefficients<T, Device> coefficients(Matrix<T, Device>& m) {
  return {m.row(0), m.row(1), m.row(2), m.row(3)};
}

template <class T>
struct Result {
  Matrix<T> y, dx;
  Vector<T> gradients, mean, variance;
};

/// Two passes there and back on the columns [3, 3 + channels) of wider buffers; the gradients of the second are added.
template <class T, class C>
Result<T> layer(C& context, BatchNormMode mode, bool relu, Index rows, Index channels) {
  using Space = typename C::space;
  Parameters<T, Space> parameters;
  layers::BatchNorm<T, Space> norm(parameters, "bn", channels);
  parameters.allocate(context, 1);
  place_parameters(context, normal_vector<T>(channels, 2), parameters.value({0}));
  place_parameters(context, normal_vector<T>(channels, 3), parameters.value({1}));
  std::vector<layers::NamedBuffer<T, Space>> buffers;
  norm.append_buffers(buffers);
  place_parameters(context, normal_vector<T>(channels, 4), buffers[0].values);
  const auto x = place(context, normal_matrix<T>(rows, channels + 5, 5, 2, 1)),
             dy = place(context, normal_matrix<T>(rows, channels + 5, 6));
  auto y = place(context, normal_matrix<T>(rows, channels + 5, 7)),
       dx = place(context, normal_matrix<T>(rows, channels + 5, 8));
  typename layers::BatchNorm<T, Space>::Cache cache;
  for (const auto gradient : {GradientMode::overwrite, GradientMode::accumulate, GradientMode::ignore}) {
    norm.forward(context, mode, x.view().middle_cols(3, channels), y.view().middle_cols(2, channels), relu, cache);
    norm.backward(context, mode, x.view().middle_cols(3, channels), dy.view().middle_cols(1, channels),
                  dx.view().middle_cols(4, channels), relu, cache, gradient);
  }
  return {fetch(context, y), fetch(context, dx), fetch(context, parameters.gradients()),
          fetch(context, buffers[0].values), fetch(context, buffers[1].values)};
}

}  // namespace

TEST_CASE_TEMPLATE("layers::BatchNorm: device and processor agree in every mode", T, float, double) {
  for (const auto& [rows, channels] : {std::pair<Index, Index>{2, 1}, {9, 31}, {129, 33}, {300, 40}})
    for (const auto mode : {BatchNormMode::training, BatchNormMode::evaluation, BatchNormMode::frozen})
      for (const bool relu : {false, true}) {
        if (!affordable(40 * rows * channels)) continue;
        CAPTURE(rows);
        CAPTURE(static_cast<int>(mode));
        CAPTURE(relu);
        CpuContext cpu({.threads = 1});
        const auto host = layer<T>(cpu, mode, relu, rows, channels);
        in_every_order([&] {
          CudaContext gpu;
          const auto device = layer<T>(gpu, mode, relu, rows, channels);
          CHECK(relative_difference(device.y, host.y) < agreement<T>);
          CHECK(relative_difference(device.mean, host.mean) < agreement<T>);
          CHECK(relative_difference(device.variance, host.variance) < agreement<T>);
          CHECK(relative_difference(device.gradients, host.gradients) < 3 * agreement<T>);
          // Two rows in training: what rounding leaves of zero, among what surrounds it.
          CHECK(relative_difference(device.dx, host.dx) < 3 * agreement<T>);
        });
      }
}

TEST_CASE_TEMPLATE("ops::BlockMoments on the device: far from zero, many runs", T, float, double) {
  for (const Index rows : {1, 15, 128, 129, 1000, 40000}) {
    const Index channels = rows > 10000 ? 2 : 34;
    if (!affordable(rows * channels)) continue;
    CAPTURE(rows);
    const auto x = normal_matrix<T>(rows, channels + 3, 1, 1, 100);
    Vector<T> mean(channels), variance(channels);
    for (Index c = 0; c < channels; ++c) {
      double m = 0, v = 0;
      for (Index r = 0; r < rows; ++r) m += static_cast<double>(x(r, c + 1)) / static_cast<double>(rows);
      for (Index r = 0; r < rows; ++r)
        v += std::pow(static_cast<double>(x(r, c + 1)) - m, 2) / static_cast<double>(rows);
      mean[c] = static_cast<T>(m);
      variance[c] = static_cast<T>(v);
    }
    in_every_order([&] {
      CudaContext gpu;
      const auto x_d = on_device(gpu, x.view());
      const auto mark = gpu.workspace().mark();
      ops::BlockMoments<T, Device> moments(gpu, 1, channels);
      Vector<T, Device> mean_d(channels), variance_d(channels);
      moments.add(0, x_d.view().middle_cols(1, channels));
      moments.finish(mean_d.view(), variance_d.view());
      CHECK(relative_difference(on_host(gpu, mean_d.view()), mean) < agreement<T>);
      // The mean of 16 values is rounded once, at a hundred deviations from zero.
      CHECK(relative_difference(on_host(gpu, variance_d.view()), variance) < 100 * agreement<T>);
    });
  }
}

TEST_CASE_TEMPLATE("ops::BlockGradientSums on the device: many runs, and what becomes of the gradient", T, float,
                   double) {
  for (const Index rows : {7, 129, 33000}) {
    const Index channels = rows > 10000 ? 2 : 33;
    if (!affordable(rows * channels)) continue;
    CAPTURE(rows);
    auto numbers = normal_matrix<T>(4, channels, 1);
    const auto x = normal_matrix<T>(rows, channels, 2), dy = normal_matrix<T>(rows, channels, 3),
               start = normal_matrix<T>(rows, channels, 4);
    const auto weight = normal_vector<T>(channels, 5);
    CpuContext cpu({.threads = 1});
    auto want = start;
    Vector<double> sum(channels), centred(channels);
    {
      const auto mark = cpu.workspace().mark();
      const ops::BlockGradientSums<T> sums(cpu, 1, channels);
      sums.template add<true>(0, x.view(), dy.view(), coefficients(numbers),
                              ops::AddWeightedGradient<T>{weight.view(), want.view()});
      sums.finish(sum.view(), centred.view());
    }
    in_every_order([&] {
      CudaContext gpu;
      auto numbers_d = on_device(gpu, numbers.view()), got = on_device(gpu, start.view());
      const auto x_d = on_device(gpu, x.view()), dy_d = on_device(gpu, dy.view());
      const auto weight_d = on_device(gpu, weight.view());
      Vector<double, Device> sum_d(channels), centred_d(channels);
      const auto mark = gpu.workspace().mark();
      ops::BlockGradientSums<T, Device> sums(gpu, 1, channels);
      sums.template add<true>(0, x_d.view(), dy_d.view(), coefficients(numbers_d),
                              ops::AddWeightedGradient<T, Device>{weight_d.view(), got.view()});
      sums.finish(sum_d.view(), centred_d.view());
      CHECK(relative_difference(on_host(gpu, got.view()), want) < agreement<T>);
      CHECK(relative_difference(on_host(gpu, sum_d.view()), sum) < 30 * agreement<T>);
      CHECK(relative_difference(on_host(gpu, centred_d.view()), centred) < 30 * agreement<T>);
      sums.template add<false>(0, x_d.view(), dy_d.view(), coefficients(numbers_d),
                               ops::KeepWeightedGradient<T, Device>{weight_d.view(), got.view()});
      const auto kept = on_host(gpu, got.view());
      bool same = true;
      for (Index r = 0; r < rows; ++r)
        for (Index c = 0; c < channels; ++c) same = same && kept(r, c) == weight[c] * dy(r, c);
      CHECK(same);
    });
  }
}

TEST_CASE("layers::BatchNorm on the device takes no rows, refuses one in training, and allocates once") {
  CudaContext gpu;
  CpuContext cpu({.threads = 1});
  const auto none = layer<double>(gpu, BatchNormMode::evaluation, true, 0, 5);
  CHECK(same_bits(none.gradients.view(), layer<double>(cpu, BatchNormMode::evaluation, true, 0, 5).gradients.view()));
  CHECK_THROWS_AS(layer<double>(gpu, BatchNormMode::training, false, 1, 5), ValueError);
  layer<float>(gpu, BatchNormMode::training, true, 300, 40);
  const Index held = gpu.workspace().capacity();
  layer<float>(gpu, BatchNormMode::training, true, 300, 40);
  CHECK(gpu.workspace().capacity() == held);
}
