#pragma once

// Golden component `projection_head`.

#include <eosin/layers/projection_head.hpp>

#include "golden_check/layer_norm.hpp"

namespace eosin::testing {

template <class T>
void check_projection_head(const GoldenCase& golden, Comparison& comparison) {
  const auto x = golden.matrix<T>("in/x");
  const auto upstream = golden.matrix<T>("in/upstream");
  CpuContext context({.threads = 2});
  Parameters<T> parameters;
  layers::ProjectionHead<T> head(parameters, "",
                                 {.inputs = golden.config.at("embedding_dim").get<Index>(),
                                  .outputs = golden.config.at("projection_dim").get<Index>(),
                                  .layer_norm_eps = golden.config.at("layer_norm_eps").get<double>()});
  parameters.allocate(context, 0);
  load_parameters(golden, parameters);
  typename layers::ProjectionHead<T>::Cache cache;
  Matrix<T> h(x.rows(), head.outputs()), dx(x.rows(), x.cols());
  head.forward(context, x, h.view(), cache);
  comparison.check("out/u", cache.u);
  comparison.check("out/h", h);
  comparison.check("loss", upstream_loss(h, upstream));
  head.backward(context, x, upstream, dx.view(), cache, layers::GradientMode::overwrite);
  comparison.check("grad/in/x", dx);
  check_segments<T>(comparison, "grad/param/", parameters, std::as_const(parameters).gradients());
}

}  // namespace eosin::testing
