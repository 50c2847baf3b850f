#include <eosin/losses/negative_binomial.hpp>

#include "golden_check/nb_loss.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

TEST_CASE("losses::negative_binomial: golden cases in double and in float") {
  const auto folders = testing::golden_cases("nb_loss");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_nb_loss<float>(golden, comparison) : testing::check_nb_loss<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
      // The formulas are better than the golden tolerances, in the extreme cases too.
      CHECK(comparison.worst_error() <= (single ? 1e-6 : 2e-15));
    }
  }
}

TEST_CASE("losses::NegativeBinomial: gradients by six-point differences") {
  CpuContext context({.threads = 2});
  const Index rows = 3, genes = 21;
  Parameters<double> parameters;
  losses::NegativeBinomial<double> loss(parameters, genes, {.eps = 1e-3, .initial_log_theta = 0.3});
  parameters.allocate(context, 1);
  RandomStream random(7);
  Matrix<double> mu(rows, genes), counts(rows, genes), d_mu(rows, genes);
  for (Index i = 0; i < mu.size(); ++i) {
    mu.data()[i] = std::exp(random.normal());
    counts.data()[i] = static_cast<double>(random.poisson(2 * mu.data()[i]));
  }
  auto log_theta = parameters.value(loss.log_theta());
  for (Index g = 0; g < genes; ++g) log_theta[g] += random.normal();

  parameters.zero_gradients();
  const double value = loss(context, mu, counts, d_mu.view(), 0.25);
  CHECK(value == doctest::Approx(loss.value(context, mu, counts, 0.25)).epsilon(1e-15));

  const auto difference = [&](double& x) {
    const double h = 2e-3 * std::max(1.0, std::abs(x)) * (x > 0 ? std::min(1.0, x) : 1.0), at = x;
    const auto f = [&](double shift) {
      x = at + shift;
      const double result = loss.value(context, mu, counts, 0.25);
      x = at;
      return result;
    };
    return (45 * (f(h) - f(-h)) - 9 * (f(2 * h) - f(-2 * h)) + (f(3 * h) - f(-3 * h))) / (60 * h);
  };
  double largest = 0;
  for (Index i = 0; i < mu.size(); ++i) largest = std::max(largest, std::abs(d_mu.data()[i]));
  for (Index i = 0; i < mu.size(); ++i) CHECK(std::abs(d_mu.data()[i] - difference(mu.data()[i])) <= 1e-8 * largest);
  const auto gradient = parameters.gradient(loss.log_theta());
  largest = 0;
  for (Index g = 0; g < genes; ++g) largest = std::max(largest, std::abs(gradient[g]));
  for (Index g = 0; g < genes; ++g) CHECK(std::abs(gradient[g] - difference(log_theta[g])) <= 1e-8 * largest);
}

TEST_CASE("losses::NegativeBinomial: the parameter is named px_theta and its gradient accumulates") {
  CpuContext context({.threads = 1});
  Parameters<float> parameters;
  losses::NegativeBinomial<float> loss(parameters, 4);
  parameters.allocate(context, 1);
  CHECK(parameters.segment(loss.log_theta()).name == "px_theta");
  Matrix<float> mu(2, 4), counts(2, 4), d_mu(2, 4);
  mu.fill(1.5f);
  counts.fill(3.0f);
  loss(context, mu, counts, d_mu.view());
  const float once = parameters.gradient(loss.log_theta())[2];
  loss(context, mu, counts, d_mu.view());
  CHECK(once != 0.0f);
  CHECK(parameters.gradient(loss.log_theta())[2] == 2 * once);
}

TEST_CASE_TEMPLATE("losses::negative_binomial: bad values are named by row and column", T, float, double) {
  CpuContext context({.threads = 2});
  Matrix<T> mu(40, 50), counts(40, 50);
  Vector<T> theta(50);
  mu.fill(T(1));
  theta.fill(T(2));
  CHECK_NOTHROW(losses::negative_binomial(context, mu, theta, counts));
  counts(31, 49) = T(-1);
  counts(36, 3) = T(-2);
  CHECK_THROWS_WITH_AS(losses::negative_binomial(context, mu, theta, counts),
                       "negative_binomial: counts is -1 at row 31, column 49, expected a finite number >= 0",
                       ValueError);
  CHECK_NOTHROW(losses::negative_binomial(context, mu, theta, counts, {}, losses::ValueCheck::off));
  counts(31, 49) = counts(36, 3) = T(0);
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    counts(2, 7) = bad;
    CHECK_THROWS_AS(losses::negative_binomial(context, mu, theta, counts), ValueError);
    counts(2, 7) = T(0);
    mu(0, 0) = bad;
    CHECK_THROWS_AS(losses::negative_binomial(context, mu, theta, counts), ValueError);
    mu(0, 0) = T(1);
  }
  theta[49] = T(0);
  CHECK_THROWS_AS(losses::negative_binomial(context, mu, theta, counts), ValueError);
}
