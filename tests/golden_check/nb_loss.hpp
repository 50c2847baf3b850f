#pragma once

// Golden component `nb_loss`: loss of every element, their sum, gradients by mu and log theta.

#include <eosin/losses/negative_binomial.hpp>

#include "support/golden.hpp"

namespace eosin::testing {

template <class T>
void check_nb_loss(const GoldenCase& golden, Comparison& comparison) {
  const auto mu = golden.matrix<T>("in/mu");
  const auto counts = golden.matrix<T>("in/y");
  const T eps = static_cast<T>(golden.config.at("eps").template get<double>());
  CpuContext context({.threads = 2});
  Matrix<T> nll(mu.rows(), mu.cols()), gradient_mu(mu.rows(), mu.cols());
  double loss = 0;
  if (golden.config.at("theta") == "gene") {
    const auto theta = golden.vector<T>("in/theta");
    Vector<T> gradient_log_theta(mu.cols());
    loss = losses::negative_binomial(context, mu, theta, counts,
                                     {.eps = eps,
                                      .nll = nll.view(),
                                      .gradient_mu = gradient_mu.view(),
                                      .gradient_log_theta = gradient_log_theta.view()});
    comparison.check("grad/in/log_theta", gradient_log_theta);
  } else {
    const auto theta = golden.matrix<T>("in/theta");
    Matrix<T> gradient_log_theta(mu.rows(), mu.cols());
    loss = losses::negative_binomial_by_element(context, mu, theta, counts,
                                                {.eps = eps,
                                                 .nll = nll.view(),
                                                 .gradient_mu = gradient_mu.view(),
                                                 .gradient_log_theta = gradient_log_theta.view()});
    comparison.check("grad/in/log_theta", gradient_log_theta);
  }
  comparison.check("out/nll", nll);
  comparison.check("loss", loss);
  comparison.check("grad/in/mu", gradient_mu);
}

}  // namespace eosin::testing
