// Convolutions on the device against the processor: with and without copies of the pixels, strides, padding, ranges of
// channels of wider buffers, gradients added, some left out.

#include <eosin/layers/convolution.hpp>

#include "support/cuda.hpp"

using namespace eosin;
using namespace eosin::testing;
using layers::GradientMode;

namespace {

template <class T>
struct Result {
  Matrix<T> y, dx;
  Vector<T> d_weight;
};

template <class T>
void check_same(const Result<T>& device, const Result<T>& host) {
  CHECK(relative_difference(device.y, host.y) < 2 * agreement<T>);
  CHECK(relative_difference(device.dx, host.dx) < 2 * agreement<T>);
  CHECK(relative_difference(device.d_weight, host.d_weight) < 2 * agreement<T>);
}

}  // namespace

TEST_CASE_TEMPLATE("ops::convolution: device and processor agree", T, float, double) {
  for (const ConvolutionShape& s :
       {ConvolutionShape{2, 5, 4, 33, 7, 1, 1, 0}, ConvolutionShape{3, 6, 5, 4, 35, 3, 1, 1},
        ConvolutionShape{2, 9, 11, 3, 6, 7, 2, 3}, ConvolutionShape{2, 5, 6, 5, 4, 1, 2, 0},
        ConvolutionShape{1, 4, 4, 2, 1, 4, 1, 0}, ConvolutionShape{2, 7, 3, 1, 2, 2, 3, 1}}) {
    if (!affordable(s.out_rows() * s.taps())) continue;
    CAPTURE(s.kernel);
    CAPTURE(s.stride);
    const auto x = normal_matrix<T>(s.in_rows(), s.channels + 3, 1),
               dy = normal_matrix<T>(s.out_rows(), s.outputs + 2, 2);
    const auto weight = normal_vector<T>(s.weights(), 3), d_start = normal_vector<T>(s.weights(), 4);
    CpuContext cpu({.threads = 1});
    const auto in = x.view().middle_cols(2, s.channels), up = dy.view().middle_cols(1, s.outputs);
    Matrix<T> y(s.out_rows(), s.outputs), dx(s.in_rows(), s.channels);
    auto d_weight = d_start;
    ops::convolution<T>(cpu, s, in, weight.view(), y.view());
    ops::convolution_backward<T>(cpu, s, in, up, weight.view(), dx.view(), d_weight.view(), true);
    in_every_order([&] {
      CudaContext gpu;
      const auto x_d = on_device(gpu, x.view()), dy_d = on_device(gpu, dy.view());
      const auto weight_d = on_device(gpu, weight.view());
      auto d_weight_d = on_device(gpu, d_start.view());
      const auto in_d = x_d.view().middle_cols(2, s.channels), up_d = dy_d.view().middle_cols(1, s.outputs);
      const auto y_start = normal_matrix<T>(s.out_rows(), s.outputs + 4, 5),
                 dx_start = normal_matrix<T>(s.in_rows(), s.channels + 4, 6);
      auto y_d = on_device(gpu, y_start.view()), dx_d = on_device(gpu, dx_start.view());
      const auto out_d = y_d.view().middle_cols(3, s.outputs), back_d = dx_d.view().middle_cols(1, s.channels);
      ops::convolution<T>(gpu, s, in_d, weight_d.view(), out_d);
      ops::convolution_backward<T>(gpu, s, in_d, up_d, weight_d.view(), back_d, d_weight_d.view(), true);
      const auto y_h = on_host(gpu, y_d.view()), dx_h = on_host(gpu, dx_d.view());
      check_same<T>({copy_of<T>(y_h.view().middle_cols(3, s.outputs)),
                     copy_of<T>(dx_h.view().middle_cols(1, s.channels)), on_host(gpu, d_weight_d.view())},
                    {y, dx, d_weight});
      // What lies beside the range of channels stays.
      CHECK(same_bits(copy_of<T>(y_h.view().middle_cols(0, 3)), copy_of<T>(y_start.view().middle_cols(0, 3))));
      CHECK(same_bits(copy_of<T>(dx_h.view().middle_cols(s.channels + 1, 3)),
                      copy_of<T>(dx_start.view().middle_cols(s.channels + 1, 3))));
      // Only one of the two, overwritten.
      Matrix<T, Device> alone(s.in_rows(), s.channels);
      ops::convolution_backward<T>(gpu, s, in_d, up_d, weight_d.view(), alone.view(), {});
      CHECK(relative_difference(on_host(gpu, alone.view()), dx) < 2 * agreement<T>);
      ops::convolution_backward<T>(gpu, s, in_d, up_d, weight_d.view(), {}, d_weight_d.view());
      auto overwritten = on_host(gpu, d_weight_d.view());
      for (Index i = 0; i < overwritten.size(); ++i) overwritten[i] += d_start[i];
      CHECK(relative_difference(overwritten, d_weight) < 2 * agreement<T>);
    });
  }
}

TEST_CASE("ops::convolution on the device cuts the batch into blocks of images") {
  // Of one image nearly 2^22 pixels are gathered: the three come in blocks of two and one.
  const ConvolutionShape s{3, 64, 66, 1, 1, 31, 1, 15};
  REQUIRE(ops::detail::images_at_once(s) == 2);
  if (!affordable(s.out_rows() * s.taps())) return;
  const auto x = normal_matrix<float>(s.in_rows(), 1, 1), dy = normal_matrix<float>(s.out_rows(), 1, 2);
  const auto weight = normal_vector<float>(s.weights(), 3);
  CpuContext cpu({.threads = 1});
  CudaContext gpu;
  Matrix<float> dx(s.in_rows(), 1);
  Vector<float> d_weight(s.weights());
  ops::convolution_backward<float>(cpu, s, x, dy, weight.view(), dx.view(), d_weight.view());
  const auto x_d = on_device(gpu, x.view()), dy_d = on_device(gpu, dy.view());
  const auto weight_d = on_device(gpu, weight.view());
  Matrix<float, Device> dx_d(s.in_rows(), 1);
  Vector<float, Device> d_weight_d(s.weights());
  ops::convolution_backward<float>(gpu, s, x_d, dy_d, weight_d.view(), dx_d.view(), d_weight_d.view());
  CHECK(relative_difference(on_host(gpu, dx_d.view()), dx) < 1e-5);
  CHECK(relative_difference(on_host(gpu, d_weight_d.view()), d_weight) < 1e-5);
}

TEST_CASE("layers::Convolution on the device: no images, refusals, gradient modes") {
  CudaContext gpu;
  Parameters<double, Device> parameters;
  const layers::Convolution<double, Device> layer(parameters, "conv", 2, 3, {.kernel = 3, .padding = 1});
  parameters.allocate(gpu, 1);
  Matrix<double, Device> none(0, 2), no_results(0, 3), small(4, 2), wrong(5, 3);
  auto start = normal_vector<double>(parameters.gradients().size(), 1);
  upload<double>(gpu, start.view(), parameters.gradients());
  layer.forward(gpu, 0, 4, 4, none, no_results.view());
  layer.backward(gpu, 0, 4, 4, none, no_results, none.view(), GradientMode::ignore);
  layer.backward(gpu, 0, 4, 4, none, no_results, none.view(), GradientMode::accumulate);
  CHECK(same_bits(on_host(gpu, parameters.gradients()).view(), start.view()));
  layer.backward(gpu, 0, 4, 4, none, no_results, none.view(), GradientMode::overwrite);
  const auto gradient = on_host(gpu, layer.weight_gradient());
  for (Index i = 0; i < gradient.size(); ++i) CHECK(gradient[i] == 0);
  CHECK_THROWS_AS(layer.forward(gpu, 1, 2, 2, small, wrong.view()), ShapeError);
}
