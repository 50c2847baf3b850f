#include <eosin/ops/negative_binomial.hpp>

#include <eosin/core/random.hpp>

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;

namespace {

template <class T>
struct Problem {
  Matrix<T> mu, counts;
  Vector<T> theta;

  Problem(Index rows, Index genes, Index gap = 0) : mu(rows, genes + gap), counts(rows, genes + gap), theta(genes) {
    RandomStream random(static_cast<std::uint64_t>(rows * 1000 + genes));
    for (Index i = 0; i < mu.size(); ++i) {
      mu.data()[i] = static_cast<T>(std::exp(random.normal(0, 2)));
      counts.data()[i] = static_cast<T>(random.poisson(static_cast<double>(mu.data()[i])));
    }
    for (T& t : theta) t = static_cast<T>(std::exp(random.normal(0, 1.5)));
  }
};

}  // namespace

TEST_CASE_TEMPLATE("ops::negative_binomial: shapes, tails and strides give what the scalar function gives", T, float,
                   double) {
  CpuContext context({.threads = 2});
  const double digits = std::is_same_v<T, float> ? 2e-6 : 1e-14;
  const T eps = T(1e-3), scale = T(0.5);
  for (const Index rows : {0, 1, 3, 130})
    for (const Index genes : {0, 1, 7, 16, 33, 1030})
      for (const Index gap : {0, 3}) {
        CAPTURE(rows);
        CAPTURE(genes);
        const Problem<T> p(rows, genes, gap);
        const auto mu = p.mu.view().middle_cols(0, genes), counts = p.counts.view().middle_cols(0, genes);
        Matrix<T> nll(rows, genes + gap), d_mu(rows, genes + gap);
        Vector<T> d_theta(genes);
        nll.fill(T(-5));
        d_mu.fill(T(-5));
        d_theta.fill(T(-5));
        const double sum = ops::negative_binomial(context, mu, p.theta, counts,
                                                  {.eps = eps,
                                                   .gradient_scale = scale,
                                                   .nll = nll.view().middle_cols(0, genes),
                                                   .gradient_mu = d_mu.view().middle_cols(0, genes),
                                                   .gradient_log_theta = d_theta});
        double want_sum = 0;
        for (Index g = 0; g < genes; ++g) {
          const auto terms = math::negative_binomial_theta(p.theta[g], eps);
          double want_theta = 0, size = 0;
          for (Index r = 0; r < rows; ++r) {
            const auto want = math::negative_binomial(mu(r, g), counts(r, g), terms, eps);
            want_sum += static_cast<double>(want.nll);
            want_theta += 0.5 * static_cast<double>(want.gradient_log_theta);
            size += std::abs(static_cast<double>(want.gradient_log_theta));
            REQUIRE(std::abs(static_cast<double>(nll(r, g) - want.nll)) <= digits * static_cast<double>(want.nll));
            REQUIRE(std::abs(static_cast<double>(d_mu(r, g) - scale * want.gradient_mu)) <=
                    digits * static_cast<double>(std::abs(want.gradient_mu)) + 1e-30);
          }
          // The parts of the gradient, some tenths each, may cancel.
          REQUIRE(std::abs(static_cast<double>(d_theta[g]) - want_theta) <=
                  digits * (size + 0.1 * static_cast<double>(rows)));
        }
        REQUIRE(std::abs(sum - want_sum) <= digits * want_sum);
        for (Index r = 0; r < rows; ++r)
          for (Index c = genes; c < genes + gap; ++c) REQUIRE((nll(r, c) == T(-5) && d_mu(r, c) == T(-5)));
        // Every output on its own is what it is beside the others.
        Vector<T> theta_alone(genes);
        CHECK(ops::negative_binomial(context, mu, p.theta, counts,
                                     {.eps = eps, .gradient_scale = scale, .gradient_log_theta = theta_alone}) == sum);
        CHECK(ops::negative_binomial(context, mu, p.theta, counts, {.eps = eps}) == sum);
        for (Index g = 0; g < genes; ++g) REQUIRE(theta_alone[g] == d_theta[g]);
      }
}

TEST_CASE_TEMPLATE("ops::negative_binomial_by_element: equals the per-gene form of a repeated theta", T, float,
                   double) {
  CpuContext context({.threads = 2});
  const Index rows = 5, genes = 8200;
  const Problem<T> p(rows, genes);
  Matrix<T> theta(rows, genes), nll(rows, genes), d_mu(rows, genes), d_theta(rows, genes);
  for (Index r = 0; r < rows; ++r) std::copy(p.theta.begin(), p.theta.end(), theta.row(r).data());
  Matrix<T> nll_gene(rows, genes), d_mu_gene(rows, genes);
  Vector<T> d_theta_gene(genes);
  const double by_element = ops::negative_binomial_by_element(
      context, p.mu, theta, p.counts,
      {.eps = T(1e-8), .nll = nll.view(), .gradient_mu = d_mu.view(), .gradient_log_theta = d_theta.view()});
  const double by_gene = ops::negative_binomial(
      context, p.mu, p.theta, p.counts,
      {.eps = T(1e-8), .nll = nll_gene.view(), .gradient_mu = d_mu_gene.view(), .gradient_log_theta = d_theta_gene});
  const double digits = std::is_same_v<T, float> ? 2e-6 : 1e-14;
  CHECK(by_element == doctest::Approx(by_gene).epsilon(digits));
  for (Index g = 0; g < genes; ++g) {
    double sum = 0;
    for (Index r = 0; r < rows; ++r) {
      REQUIRE(std::abs(nll(r, g) - nll_gene(r, g)) <= digits * static_cast<double>(nll_gene(r, g)));
      REQUIRE(std::abs(d_mu(r, g) - d_mu_gene(r, g)) <= digits * static_cast<double>(std::abs(d_mu_gene(r, g))));
      sum += static_cast<double>(d_theta(r, g));
    }
    REQUIRE(std::abs(static_cast<double>(d_theta_gene[g]) - sum) <= digits * (std::abs(sum) + 1));
  }
}

TEST_CASE_TEMPLATE("ops::negative_binomial: the number of threads changes no bit; accumulation adds", T, float,
                   double) {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const Problem<T> p(200, 2100);
  Matrix<T> d1(200, 2100), d3(200, 2100);
  Vector<T> t1(2100), t3(2100);
  const double s1 =
      ops::negative_binomial(one, p.mu, p.theta, p.counts, {.gradient_mu = d1.view(), .gradient_log_theta = t1});
  t3.fill(T(2));
  const double s3 = ops::negative_binomial(three, p.mu, p.theta, p.counts,
                                           {.gradient_mu = d3.view(), .gradient_log_theta = t3, .accumulate = true});
  CHECK(s1 == s3);
  for (Index g = 0; g < 2100; ++g) REQUIRE(t3[g] == t1[g] + T(2));
  for (Index i = 0; i < d1.size(); ++i) REQUIRE(d1.data()[i] == d3.data()[i]);
  // The gradient may take the place of the rates.
  Matrix<T> in_place = p.mu;
  ops::negative_binomial(three, in_place, p.theta, p.counts, {.gradient_mu = in_place.view()});
  for (Index i = 0; i < d1.size(); ++i) REQUIRE(in_place.data()[i] == d1.data()[i]);
}

TEST_CASE("ops::negative_binomial: shape errors name the argument") {
  CpuContext context({.threads = 1});
  const Problem<float> p(4, 6);
  Matrix<float> small(4, 5);
  Vector<float> few(5);
  CHECK_THROWS_WITH_AS(ops::negative_binomial(context, p.mu, p.theta, small),
                       "negative_binomial: counts is [4 x 5], expected [4 x 6]", ShapeError);
  CHECK_THROWS_WITH_AS(ops::negative_binomial(context, p.mu, few, p.counts),
                       "negative_binomial: theta has 5 elements, expected 6 (columns of mu)", ShapeError);
  CHECK_THROWS_AS(ops::negative_binomial(context, p.mu, p.theta, p.counts, {.gradient_mu = small.view()}), ShapeError);
  CHECK_THROWS_AS(ops::negative_binomial(context, p.mu, p.theta, p.counts, {.gradient_log_theta = few}), ShapeError);
}
