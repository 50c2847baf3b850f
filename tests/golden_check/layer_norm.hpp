#pragma once

// Golden component `layer_norm`.

#include <eosin/layers/layer_norm.hpp>

#include "golden_check/optimizer.hpp"
#include "golden_check/weyl.hpp"
#include "support/golden.hpp"

namespace eosin::testing {

/// sum of y * upstream in double.
template <class T>
double upstream_loss(const Matrix<T>& y, const Matrix<T>& upstream) {
  double loss = 0;
  for (Index i = 0; i < y.size(); ++i)
    loss += static_cast<double>(y.data()[i]) * static_cast<double>(upstream.data()[i]);
  return loss;
}

/// The offsets of the sentences of a case.
inline std::vector<Index> sentence_offsets(const GoldenCase& golden) {
  std::vector<Index> offsets;
  for (const double offset : golden.at("in/offsets").values) offsets.push_back(static_cast<Index>(offset));
  return offsets;
}

template <class T, class C = CpuContext>
void check_layer_norm(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  const auto upstream = golden.matrix<T>("in/upstream");
  C context = new_context<C>();
  const auto x = place(context, golden.matrix<T>("in/x")), dy = place(context, upstream);
  Parameters<T, Space> parameters;
  const bool affine = golden.config.at("affine").get<bool>();
  // The case says `weight` where a module of a model says NAME.weight.
  layers::LayerNorm<T, Space> layer(parameters, "norm", x.cols(),
                                    {.eps = golden.config.at("eps").get<double>(), .affine = affine});
  parameters.allocate(context, 0);
  const auto segment = [&](const char* name) { return parameters.find(std::string("norm.") + name); };
  if (affine)
    for (const char* name : {"weight", "bias"})
      place_parameters(context, golden.vector<T>(std::string("param/") + name), parameters.value(segment(name)));
  typename layers::LayerNorm<T, Space>::Cache cache;
  Matrix<T, Space> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  layer.forward(context, x, y.view(), cache);
  layer.backward(context, x, dy, dx.view(), cache, layers::GradientMode::overwrite);
  comparison.check("out/y", fetch(context, y));
  comparison.check("loss", upstream_loss(fetch(context, y), upstream));
  comparison.check("grad/in/x", fetch(context, dx));
  if (affine)
    for (const char* name : {"weight", "bias"})
      comparison.check(std::string("grad/param/") + name, fetch(context, parameters.gradient(segment(name))));
}

}  // namespace eosin::testing
