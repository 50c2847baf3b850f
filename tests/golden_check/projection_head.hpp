#pragma once

// Golden component `projection_head`.

#include <eosin/layers/projection_head.hpp>

#include "golden_check/layer_norm.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_projection_head(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  const auto upstream = golden.matrix<T>("in/upstream");
  C context = new_context<C>();
  const auto x = place(context, golden.matrix<T>("in/x")), dh = place(context, upstream);
  Parameters<T, Space> parameters;
  layers::ProjectionHead<T, Space> head(parameters, "",
                                        {.inputs = golden.config.at("embedding_dim").get<Index>(),
                                         .outputs = golden.config.at("projection_dim").get<Index>(),
                                         .layer_norm_eps = golden.config.at("layer_norm_eps").get<double>()});
  parameters.allocate(context, 0);
  load_parameters(context, golden, parameters);
  typename layers::ProjectionHead<T, Space>::Cache cache;
  Matrix<T, Space> h(x.rows(), head.outputs()), dx(x.rows(), x.cols());
  head.forward(context, x, h.view(), cache);
  comparison.check("out/u", fetch(context, cache.u));
  comparison.check("out/h", fetch(context, h));
  comparison.check("loss", upstream_loss(fetch(context, h), upstream));
  head.backward(context, x, dh, dx.view(), cache, layers::GradientMode::overwrite);
  comparison.check("grad/in/x", fetch(context, dx));
  const auto gradients = fetch(context, std::as_const(parameters).gradients());
  check_segments<T>(comparison, "grad/param/", parameters, gradients.view());
}

}  // namespace eosin::testing
