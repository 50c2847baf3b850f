#pragma once

#include <eosin/losses/pearson.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_pearson_loss(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  const auto prediction = place(context, golden.matrix<T>("in/pred"));
  const auto target = place(context, golden.matrix<T>("in/target"));
  Vector<T, Space> correlation(prediction.cols());
  Matrix<T, Space> gradient(prediction.rows(), prediction.cols());
  losses::PearsonOptions<T, Space> options{.eps = golden.config.at("eps").get<double>()};
  options.correlation = correlation.view();
  options.gradient = gradient.view();
  const double loss = loss_value(context, [&](auto... sum) {
    return losses::pearson<T>(context, prediction.view(), target.view(), options, sum...);
  });
  comparison.check("out/corr", fetch(context, correlation.view()));
  comparison.check("loss", loss);
  comparison.check("grad/in/pred", fetch(context, gradient));
}

}  // namespace eosin::testing
