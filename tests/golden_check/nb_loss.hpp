#pragma once

// Golden component `nb_loss`: loss of every element, their sum, gradients by mu and log theta.

#include <eosin/losses/negative_binomial.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_nb_loss(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  const auto mu = place(context, golden.matrix<T>("in/mu"));
  const auto counts = place(context, golden.matrix<T>("in/y"));
  const T eps = static_cast<T>(golden.config.at("eps").template get<double>());
  Matrix<T, Space> nll(mu.rows(), mu.cols()), gradient_mu(mu.rows(), mu.cols());
  double loss = 0;
  if (golden.config.at("theta") == "gene") {
    const auto theta = place(context, golden.vector<T>("in/theta"));
    Vector<T, Space> gradient_log_theta(mu.cols());
    const ops::NegativeBinomialOptions<T, Space> options{.eps = eps,
                                                         .nll = nll.view(),
                                                         .gradient_mu = gradient_mu.view(),
                                                         .gradient_log_theta = gradient_log_theta.view()};
    loss = loss_value(context, [&](auto... sum) {
      if constexpr (sizeof...(sum) == 0) {
        return losses::negative_binomial(context, mu, theta.view(), counts, options);
      } else {
        ops::negative_binomial(context, mu, theta.view(), counts, options, sum...);
      }
    });
    comparison.check("grad/in/log_theta", fetch(context, gradient_log_theta.view()));
  } else {
    const auto theta = place(context, golden.matrix<T>("in/theta"));
    Matrix<T, Space> gradient_log_theta(mu.rows(), mu.cols());
    const ops::NegativeBinomialElementOptions<T, Space> options{.eps = eps,
                                                                .nll = nll.view(),
                                                                .gradient_mu = gradient_mu.view(),
                                                                .gradient_log_theta = gradient_log_theta.view()};
    loss = loss_value(context, [&](auto... sum) {
      if constexpr (sizeof...(sum) == 0) {
        return losses::negative_binomial_by_element(context, mu, theta.view(), counts, options);
      } else {
        ops::negative_binomial_by_element(context, mu, theta.view(), counts, options, sum...);
      }
    });
    comparison.check("grad/in/log_theta", fetch(context, gradient_log_theta));
  }
  comparison.check("out/nll", fetch(context, nll));
  comparison.check("loss", loss);
  comparison.check("grad/in/mu", fetch(context, gradient_mu));
}

}  // namespace eosin::testing
