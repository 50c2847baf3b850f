#pragma once

// Golden component `gelu`: value, loss = sum(y * upstream) and gradient, exact and by tanh.

#include <eosin/ops/gelu.hpp>

#include "support/golden.hpp"

namespace eosin::testing {

template <class T>
void check_gelu(const GoldenCase& golden, Comparison& comparison) {
  const auto form = golden.config.at("approximate") == "tanh" ? ops::GeluForm::tanh : ops::GeluForm::exact;
  const auto x = golden.matrix<T>("in/x");
  const auto upstream = golden.matrix<T>("in/upstream");
  CpuContext context({.threads = 2});
  Matrix<T> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  ops::gelu(context, x, y.view(), form);
  ops::gelu_backward(context, x, upstream, dx.view(), form);
  double loss = 0;
  for (Index i = 0; i < y.size(); ++i)
    loss += static_cast<double>(y.data()[i]) * static_cast<double>(upstream.data()[i]);
  comparison.check("out/y", y);
  comparison.check("loss", loss);
  comparison.check("grad/in/x", dx);
}

}  // namespace eosin::testing
