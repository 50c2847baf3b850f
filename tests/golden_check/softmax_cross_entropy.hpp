#pragma once

#include <eosin/losses/softmax_cross_entropy.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

#include <string>

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_softmax_cross_entropy(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  const auto logits = place(context, golden.matrix<T>("in/logits"));
  const auto weights = golden.vector<T>("in/upstream");
  const auto row_weights = place(context, weights);
  Matrix<T, Space> softmax(logits.rows(), logits.cols()), gradient(logits.rows(), logits.cols());
  Vector<T, Space> per_row(logits.rows());
  losses::SoftmaxCrossEntropyOptions<T, Space> options;
  const auto reduction = golden.config.at("reduction").get<std::string>();
  options.reduction = reduction == "mean"  ? losses::Reduction::mean
                      : reduction == "sum" ? losses::Reduction::sum
                                           : losses::Reduction::none;
  if (options.reduction == losses::Reduction::none)
    options.row_weights = row_weights.view();
  else
    options.weight = weights[0];
  options.softmax = softmax.view();
  options.per_row = per_row.view();
  options.gradient = gradient.view();
  const auto loss_against = [&](const auto& targets) {
    return loss_value(context, [&](auto... sum) {
      return losses::softmax_cross_entropy<T>(context, logits, targets.view(), options, sum...);
    });
  };
  const double loss = golden.config.at("target").get<std::string>() == "index"
                          ? loss_against(place(context, golden.vector<Index>("in/labels")))
                          : loss_against(place(context, golden.matrix<T>("in/targets")));
  comparison.check("out/softmax", fetch(context, softmax));
  comparison.check("out/per_row", fetch(context, std::as_const(per_row).view()));
  comparison.check("loss", loss);
  comparison.check("grad/in/logits", fetch(context, gradient));
}

}  // namespace eosin::testing
