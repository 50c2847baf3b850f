#pragma once

// Golden component `transformer`: the spot encoder on ragged sentences.

#include <eosin/layers/transformer.hpp>

#include "golden_check/layer_norm.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_transformer(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  const auto upstream = golden.matrix<T>("in/upstream");
  const auto offsets = sentence_offsets(golden);
  const auto& config = golden.config;
  layers::TransformerBlockOptions options;
  options.attention.size = config.at("dim").get<Index>();
  options.attention.heads = config.at("heads").get<Index>();
  options.attention.head_width = config.at("dim_head").get<Index>();
  options.attention.output_layer =
      options.attention.heads != 1 || options.attention.head_width != options.attention.size;
  options.hidden = config.at("mlp_dim").get<Index>();
  options.layer_norm_eps = config.at("layer_norm_eps").get<double>();
  C context = new_context<C>();
  const auto x = place(context, golden.matrix<T>("in/x")), dy = place(context, upstream);
  Parameters<T, Space> parameters;
  layers::Transformer<T, Space> encoder(parameters, config.at("depth").get<Index>(), options, [](Index block) {
    return layers::TransformerBlockNames::nested("spot_encoder." + std::to_string(block));
  });
  parameters.allocate(context, 0);
  load_parameters(context, golden, parameters);
  typename layers::Transformer<T, Space>::Cache cache;
  Matrix<T, Space> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  encoder.forward(context, x, offsets, y.view(), cache);
  comparison.check("out/y", fetch(context, y));
  comparison.check("loss", upstream_loss(fetch(context, y), upstream));
  encoder.backward(context, x, offsets, dy, dx.view(), cache, layers::GradientMode::overwrite);
  comparison.check("grad/in/x", fetch(context, dx));
  const auto gradients = fetch(context, std::as_const(parameters).gradients());
  check_segments<T>(comparison, "grad/param/", parameters, gradients.view());
}

}  // namespace eosin::testing
