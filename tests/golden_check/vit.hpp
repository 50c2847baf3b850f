#pragma once

// Golden component `vit`.

#include <eosin/vision/vit.hpp>

#include "golden_check/image_network.hpp"
#include "golden_check/layer_norm.hpp"

namespace eosin::testing {

template <class T>
void check_vit(const GoldenCase& golden, Comparison& comparison) {
  const auto images = pixels_of<T>(golden.at("in/image"));
  const auto upstream = golden.matrix<T>("in/upstream");
  const auto& config = golden.config;
  vision::VitOptions options;
  options.height = config.at("image_size").at(0).get<Index>();
  options.width = config.at("image_size").at(1).get<Index>();
  options.patch = config.at("patch_size").get<Index>();
  options.size = config.at("dim").get<Index>();
  options.depth = config.at("depth").get<Index>();
  options.heads = config.at("heads").get<Index>();
  options.mlp_ratio = config.at("mlp_ratio").get<Index>();
  options.layer_norm_eps = config.at("layer_norm_eps").get<double>();
  CpuContext context({.threads = 2});
  Parameters<T> parameters;
  vision::Vit<T> vit(parameters, options);
  parameters.allocate(context, 0);
  load_parameters(context, golden, parameters);
  typename vision::Vit<T>::Cache cache;
  Matrix<T> features(upstream.rows(), vit.channels()), d_images(images.rows(), images.cols());
  vit.forward(context, images, features.view(), cache);
  comparison.check("out/features", features);
  comparison.check("loss", upstream_loss(features, upstream));
  vit.backward(context, upstream, d_images.view(), cache, layers::GradientMode::overwrite);
  comparison.check("grad/in/image", planes_of(d_images, upstream.rows()));
  check_segments<T>(comparison, "grad/param/", parameters, std::as_const(parameters).gradients());
  if (golden.has("grad/norms"))
    comparison.check("grad/norms", norms_of<T>(golden, parameters, std::as_const(parameters).gradients()));
}

}  // namespace eosin::testing
