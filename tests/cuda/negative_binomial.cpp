// The negative binomial loss on the device against the processor: gradients in every combination, runs of rows, counts
// of zero, fractional counts, large and small dispersion.

#include <eosin/ops/negative_binomial.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <span>
#include <utility>

using namespace eosin;
using namespace eosin::testing;

namespace {

template <class T>
std::span<T> elements(Matrix<T>& matrix) {
  return {matrix.data(), static_cast<std::size_t>(matrix.size())};
}

template <class T>
struct Case {
  Matrix<T> mu, counts, theta;
  Vector<T> gene_theta;
  Case(Index rows, Index genes)
      : mu(normal_matrix<T>(rows, genes, 1)),
        counts(normal_matrix<T>(rows, genes, 2)),
        theta(normal_matrix<T>(rows, genes, 3)),
        gene_theta(normal_vector<T>(genes, 4)) {
    for (T& x : elements(mu)) x = std::exp(T(2) * x);
    for (T& x : elements(theta)) x = std::exp(T(4) * x);
    for (T& x : gene_theta) x = std::exp(T(4) * x);
    Index i = 0;
    for (T& y : elements(counts)) y = y < 0 ? T(0) : ++i % 7 == 0 ? T(20) * y : std::floor(T(40) * y * y);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("negative_binomial: device and processor agree", T, float, double) {
  for (const auto& [rows, genes] : {std::pair<Index, Index>{1, 1}, {3, 255}, {8, 257}, {70, 300}}) {
    CAPTURE(rows);
    CAPTURE(genes);
    const Case<T> c(rows, genes);
    CpuContext cpu({.threads = 1});
    Matrix<T> nll(rows, genes), d_mu(rows, genes);
    const auto start = normal_vector<T>(genes, 5);
    auto d_theta = start;
    const double sum = ops::negative_binomial(cpu, c.mu, c.gene_theta.view(), c.counts,
                                              {.eps = T(1e-8),
                                               .gradient_scale = T(0.25),
                                               .nll = nll.view(),
                                               .gradient_mu = d_mu.view(),
                                               .gradient_log_theta = d_theta.view(),
                                               .accumulate = true});
    in_every_order([&, rows = rows, genes = genes] {
      CudaContext gpu;
      const auto mu = on_device(gpu, c.mu.view()), counts = on_device(gpu, c.counts.view());
      const auto theta = on_device(gpu, c.gene_theta.view());
      for (const bool by_mu : {true, false})
        for (const bool by_theta : {true, false}) {
          Matrix<T, Device> nll_d(rows, genes), d_mu_d(rows, genes);
          auto d_theta_d = on_device(gpu, start.view());
          Vector<double, Device> sum_d(1);
          ops::NegativeBinomialOptions<T, Device> options{
              .eps = T(1e-8), .gradient_scale = T(0.25), .nll = nll_d.view(), .accumulate = true};
          if (by_mu) options.gradient_mu = d_mu_d.view();
          if (by_theta) options.gradient_log_theta = d_theta_d.view();
          ops::negative_binomial(gpu, mu, theta.view(), counts, options, sum_d.view());
          CHECK(on_host(gpu, sum_d.view())[0] == doctest::Approx(sum).epsilon(1e-6));
          CHECK(relative_difference(on_host(gpu, nll_d.view()), nll) < agreement<T>);
          if (by_mu) CHECK(relative_difference(on_host(gpu, d_mu_d.view()), d_mu) < agreement<T>);
          if (by_theta) CHECK(relative_difference(on_host(gpu, d_theta_d.view()), d_theta) < agreement<T>);
        }
    });
  }
}

TEST_CASE_TEMPLATE("negative_binomial_by_element: device and processor agree", T, float, double) {
  const Index rows = 70, genes = 300;
  const Case<T> c(rows, genes);
  CpuContext cpu({.threads = 1});
  Matrix<T> nll(rows, genes), d_mu(rows, genes), d_theta(rows, genes);
  const double sum = ops::negative_binomial_by_element(cpu, c.mu, c.theta, c.counts,
                                                       {.eps = T(1e-8),
                                                        .gradient_scale = T(3),
                                                        .nll = nll.view(),
                                                        .gradient_mu = d_mu.view(),
                                                        .gradient_log_theta = d_theta.view()});
  in_every_order([&] {
    CudaContext gpu;
    const auto mu = on_device(gpu, c.mu.view()), counts = on_device(gpu, c.counts.view()),
               theta = on_device(gpu, c.theta.view());
    Matrix<T, Device> nll_d(rows, genes), d_mu_d(rows, genes), d_theta_d(rows, genes);
    Vector<double, Device> sum_d(1);
    ops::negative_binomial_by_element(gpu, mu, theta.view(), counts,
                                      {.eps = T(1e-8),
                                       .gradient_scale = T(3),
                                       .nll = nll_d.view(),
                                       .gradient_mu = d_mu_d.view(),
                                       .gradient_log_theta = d_theta_d.view()},
                                      sum_d.view());
    CHECK(on_host(gpu, sum_d.view())[0] == doctest::Approx(sum).epsilon(1e-6));
    CHECK(relative_difference(on_host(gpu, nll_d.view()), nll) < agreement<T>);
    CHECK(relative_difference(on_host(gpu, d_mu_d.view()), d_mu) < agreement<T>);
    CHECK(relative_difference(on_host(gpu, d_theta_d.view()), d_theta) < agreement<T>);
  });
}

TEST_CASE("negative_binomial on the device of nothing is zero") {
  CudaContext gpu;
  Vector<double, Device> sum(1);
  Vector<float, Device> theta(4), d_theta(4);
  const Matrix<float, Device> none(0, 4);
  ops::negative_binomial(gpu, none, theta.view(), none.view(), {.gradient_log_theta = d_theta.view()}, sum.view());
  CHECK(on_host(gpu, sum.view())[0] == 0);
  CHECK(on_host(gpu, d_theta.view())[3] == 0);
}
