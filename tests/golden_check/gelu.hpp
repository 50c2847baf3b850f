#pragma once

// Golden component `gelu`: value, loss = sum(y * upstream) and gradient, exact and by tanh.

#include <eosin/ops/gelu.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_gelu(const GoldenCase& golden, Comparison& comparison) {
  const auto form = golden.config.at("approximate") == "tanh" ? ops::GeluForm::tanh : ops::GeluForm::exact;
  const auto upstream = golden.matrix<T>("in/upstream");
  C context = new_context<C>();
  const auto x = place(context, golden.matrix<T>("in/x")), dy = place(context, upstream);
  Matrix<T, typename C::space> y(x.rows(), x.cols()), dx(x.rows(), x.cols());
  ops::gelu<T>(context, x, y.view(), form);
  ops::gelu_backward<T>(context, x, dy, dx.view(), form);
  const auto value = fetch(context, y);
  double loss = 0;
  for (Index i = 0; i < y.size(); ++i)
    loss += static_cast<double>(value.data()[i]) * static_cast<double>(upstream.data()[i]);
  comparison.check("out/y", value);
  comparison.check("loss", loss);
  comparison.check("grad/in/x", fetch(context, dx));
}

}  // namespace eosin::testing
