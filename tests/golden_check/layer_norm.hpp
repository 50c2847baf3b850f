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

template <class T>
void check_layer_norm(const GoldenCase& golden, Comparison& comparison) {
  const auto x = golden.matrix<T>("in/x");
  const auto upstream = golden.matrix<T>("in/upstream");
  CpuContext context({.threads = 2});
  Parameters<T> parameters;
  const bool affine = golden.config.at("affine").get<bool>();
  // The case says `weight` where a module of a model says NAME.weight.
  layers::LayerNorm<T> layer(parameters, "norm", x.cols(),
                             {.eps = golden.config.at("eps").get<double>(), .affine = affine});
  parameters.allocate(context, 0);
  if (affine)
    for (const char* name : {"weight", "bias"}) {
      const auto value = parameters.value(parameters.find(std::string("norm.") + name));
      const auto given = golden.vector<T>(std::string("param/") + name);
      for (Index i = 0; i < value.size(); ++i) value[i] = given[i];
    }
  typename layers::LayerNorm<T>::Cache cache;
  Matrix<T> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  layer.forward(context, x, y.view(), cache);
  layer.backward(context, x, upstream, dx.view(), cache, layers::GradientMode::overwrite);
  comparison.check("out/y", y);
  comparison.check("loss", upstream_loss(y, upstream));
  comparison.check("grad/in/x", dx);
  if (affine)
    for (const char* name : {"weight", "bias"})
      comparison.check(std::string("grad/param/") + name,
                       parameters.gradient(parameters.find(std::string("norm.") + name)));
}

}  // namespace eosin::testing
