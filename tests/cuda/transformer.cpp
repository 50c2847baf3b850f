// Transformer blocks and the projection head on the device against the processor, from the same parameters: forward and
// backward with and without output layer, bias and dropout.

#include <eosin/layers/projection_head.hpp>
#include <eosin/layers/transformer.hpp>

#include "support/cuda.hpp"
#include "support/place.hpp"

#include <vector>

using namespace eosin;
using namespace eosin::testing;
using layers::GradientMode;

namespace {

layers::TransformerBlockOptions small_options(Index size, Index heads, Index width, Index hidden, bool bias) {
  layers::TransformerBlockOptions options;
  options.attention = {.size = size, .heads = heads, .head_width = width, .qkv_bias = bias};
  options.attention.output_layer = heads * width != size || bias;
  options.hidden = hidden;
  return options;
}

/// What a pass there and back gives, on the host.
template <class T>
struct Result {
  Matrix<T> y, dx;
  Vector<T> gradients;
};

template <class T>
void check_same(const Result<T>& device, const Result<T>& host) {
  // A sum of products of sums: the differences of the parts add up.
  const double bound = 5 * agreement<T>;
  CHECK(relative_difference(device.y, host.y) < bound);
  CHECK(relative_difference(device.dx, host.dx) < bound);
  CHECK(relative_difference(device.gradients, host.gradients) < bound);
}

/// Two passes there and back, the gradients of the second added to those of the first.
template <class T, class C>
Result<T> transformer(C& context, const layers::TransformerBlockOptions& options, const std::vector<Index>& offsets,
                      const ops::DropoutKey& dropout) {
  using Space = typename C::space;
  Parameters<T, Space> parameters;
  const layers::Transformer<T, Space> encoder(parameters, 2, options, [](Index b) {
    return layers::TransformerBlockNames::timm("blocks." + std::to_string(b));
  });
  parameters.allocate(context, 3);
  const Index n = offsets.back(), size = options.attention.size;
  const auto x = place(context, normal_matrix<T>(n, size, 1)), dy = place(context, normal_matrix<T>(n, size, 2));
  Matrix<T, Space> y(n, size), dx(n, size);
  typename layers::Transformer<T, Space>::Cache cache;
  for (const auto mode : {GradientMode::overwrite, GradientMode::accumulate}) {
    encoder.forward(context, x.view(), offsets, y.view(), cache, dropout);
    encoder.backward(context, x.view(), offsets, dy.view(), dx.view(), cache, mode);
  }
  return {fetch(context, y), fetch(context, dx), fetch(context, parameters.gradients())};
}

template <class T, class C>
Result<T> projection_head(C& context, Index rows, const ops::DropoutKey& dropout) {
  using Space = typename C::space;
  Parameters<T, Space> parameters;
  const layers::ProjectionHead<T, Space> head(parameters, "image", {.inputs = 11, .outputs = 7});
  parameters.allocate(context, 5);
  const auto x = place(context, normal_matrix<T>(rows, 11, 1)), dh = place(context, normal_matrix<T>(rows, 7, 2));
  Matrix<T, Space> h(rows, 7), dx(rows, 11);
  typename layers::ProjectionHead<T, Space>::Cache cache;
  head.forward(context, x.view(), h.view(), cache, dropout);
  head.backward(context, x.view(), dh.view(), dx.view(), cache, GradientMode::overwrite);
  return {fetch(context, h), fetch(context, dx), fetch(context, parameters.gradients())};
}

}  // namespace

TEST_CASE_TEMPLATE("layers::Transformer: device and processor agree", T, float, double) {
  for (const auto& [options, offsets] : {std::pair{small_options(6, 2, 5, 9, false), std::vector<Index>{0, 3, 3, 20}},
                                         std::pair{small_options(8, 2, 4, 5, false), std::vector<Index>{0, 70}},
                                         std::pair{small_options(8, 2, 4, 12, true), std::vector<Index>{0, 1, 30}}})
    for (const double rate : {0.0, 0.3}) {
      CAPTURE(rate);
      CAPTURE(options.hidden);
      const ops::DropoutKey dropout{.rate = rate, .seed = 1, .stream = 4};
      CpuContext cpu({.threads = 1});
      const auto host = transformer<T>(cpu, options, offsets, dropout);
      in_every_order([&] {
        CudaContext gpu;
        check_same(transformer<T>(gpu, options, offsets, dropout), host);
      });
    }
}

TEST_CASE_TEMPLATE("layers::ProjectionHead: device and processor agree", T, float, double) {
  for (const Index rows : {1, 40})
    for (const double rate : {0.0, 0.25}) {
      CAPTURE(rows);
      CAPTURE(rate);
      const ops::DropoutKey dropout{.rate = rate, .seed = 2};
      CpuContext cpu({.threads = 1});
      const auto host = projection_head<T>(cpu, rows, dropout);
      in_every_order([&] {
        CudaContext gpu;
        check_same(projection_head<T>(gpu, rows, dropout), host);
      });
    }
}
