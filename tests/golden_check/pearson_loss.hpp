#pragma once

#include <eosin/losses/pearson.hpp>

#include "support/golden.hpp"

namespace eosin::testing {

template <class T>
void check_pearson_loss(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  const auto prediction = golden.matrix<T>("in/pred");
  const auto target = golden.matrix<T>("in/target");
  Vector<T> correlation(prediction.cols());
  Matrix<T> gradient(prediction.rows(), prediction.cols());
  losses::PearsonOptions<T> options{.eps = golden.config.at("eps").get<double>()};
  options.correlation = correlation;
  options.gradient = gradient.view();
  const double loss = losses::pearson<T>(context, prediction.view(), target.view(), options);
  comparison.check("out/corr", correlation);
  comparison.check("loss", loss);
  comparison.check("grad/in/pred", gradient);
}

}  // namespace eosin::testing
