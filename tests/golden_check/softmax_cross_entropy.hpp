#pragma once

#include <eosin/losses/softmax_cross_entropy.hpp>

#include "support/golden.hpp"

#include <string>

namespace eosin::testing {

template <class T>
void check_softmax_cross_entropy(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  const auto logits = golden.matrix<T>("in/logits");
  const auto upstream = golden.vector<T>("in/upstream");
  Matrix<T> softmax(logits.rows(), logits.cols()), gradient(logits.rows(), logits.cols());
  Vector<T> per_row(logits.rows());
  losses::SoftmaxCrossEntropyOptions<T> options;
  const auto reduction = golden.config.at("reduction").get<std::string>();
  options.reduction = reduction == "mean"  ? losses::Reduction::mean
                      : reduction == "sum" ? losses::Reduction::sum
                                           : losses::Reduction::none;
  if (options.reduction == losses::Reduction::none)
    options.row_weights = upstream.view();
  else
    options.weight = upstream[0];
  options.softmax = softmax.view();
  options.per_row = per_row.view();
  options.gradient = gradient.view();
  double loss = 0;
  if (golden.config.at("target").get<std::string>() == "index") {
    const auto labels = golden.vector<Index>("in/labels");
    loss = losses::softmax_cross_entropy<T>(context, logits, labels.view(), options);
  } else {
    const auto targets = golden.matrix<T>("in/targets");
    loss = losses::softmax_cross_entropy<T>(context, logits, targets.view(), options);
  }
  comparison.check("out/softmax", softmax);
  comparison.check("out/per_row", per_row);
  comparison.check("loss", loss);
  comparison.check("grad/in/logits", gradient);
}

}  // namespace eosin::testing
