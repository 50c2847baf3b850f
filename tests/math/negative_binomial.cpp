#include <eosin/math/negative_binomial.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

namespace {

/// The defining formula, in long double; log(theta + mu + eps) - log(theta + eps) as log1p.
long double nll_reference(long double mu, long double y, long double theta, long double eps) {
  return theta * std::log1p(mu / (theta + eps)) +
         (y > 0 ? y * (std::log(theta + mu + eps) - std::log(mu + eps)) : 0.0L) -
         ((std::lgamma(y + theta) - std::lgamma(theta)) - std::lgamma(y + 1));
}

template <class T>
math::NegativeBinomialResult<T> evaluate(double mu, double y, double theta, double eps) {
  return math::negative_binomial(T(mu), T(y), math::negative_binomial_theta(T(theta), T(eps)), T(eps));
}

template <class F>
double difference(F&& f, double h) {
  return (45 * (f(h) - f(-h)) - 9 * (f(2 * h) - f(-2 * h)) + (f(3 * h) - f(-3 * h))) / (60 * h);
}

}  // namespace

TEST_CASE("math::negative_binomial: value against the defining formula") {
  for (const double eps : {0.0, 1e-8})
    for (const double mu : {1e-6, 0.02, 1.0, 7.5, 300.0, 2e4})
      for (const double y : {0.0, 1.0, 2.0, 9.0, 0.125, 250.0, 2e4})
        for (const double theta : {1e-3, 0.1, 1.0, 2.5, 40.0, 1024.0}) {
          CAPTURE(mu);
          CAPTURE(y);
          CAPTURE(theta);
          // The same rounded inputs for reference and function.
          const float m = static_cast<float>(mu), t = static_cast<float>(theta), e = static_cast<float>(eps);
          const double want = static_cast<double>(nll_reference(m, y, t, e));
          // lgamma(y + theta) and its neighbours are of size n log n and cancel in the reference.
          const double n = y + static_cast<double>(t);
          const double slack = y > 0 ? 2e-19 * (n * std::abs(std::log(n)) + 10) : 0;
          CHECK(std::abs(evaluate<double>(m, y, t, e).nll - want) <= 2e-15 * std::abs(want) + slack);
          CHECK(std::abs(evaluate<float>(m, y, t, e).nll - want) <= 1e-6 * std::abs(want) + slack);
        }
}

TEST_CASE("math::negative_binomial: gradients by six-point differences") {
  for (const double eps : {0.0, 1e-3})
    for (const double mu : {0.02, 1.0, 7.5, 300.0})
      for (const double y : {0.0, 1.0, 3.0, 0.25, 40.0})
        for (const double theta : {0.05, 1.0, 2.5, 40.0, 1e5}) {
          CAPTURE(mu);
          CAPTURE(y);
          CAPTURE(theta);
          CAPTURE(eps);
          const auto result = evaluate<double>(mu, y, theta, eps);
          const double by_mu =
              difference([&](double h) { return evaluate<double>(mu * (1 + h), y, theta, eps).nll; }, 4e-3) / mu;
          const double by_theta =
              difference([&](double h) { return evaluate<double>(mu, y, theta * std::exp(h), eps).nll; }, 1e-2);
          const double scale = std::abs(result.nll);
          CHECK(std::abs(result.gradient_mu - by_mu) <= 1e-8 * std::abs(by_mu) + 2e-12 * (1 + scale / mu));
          CHECK(std::abs(result.gradient_log_theta - by_theta) <= 1e-8 * std::abs(by_theta) + 2e-12 * (1 + scale));
        }
}

TEST_CASE_TEMPLATE("math::negative_binomial: limits", T, float, double) {
  const double digits = std::is_same_v<T, float> ? 1e-6 : 4e-15;
  SUBCASE("no counts, tiny rate: the loss is the rate") {
    const auto result = evaluate<T>(1e-12, 0, 1, 0);
    CHECK(static_cast<double>(result.nll) == doctest::Approx(static_cast<double>(T(1e-12))).epsilon(digits));
    CHECK(static_cast<double>(result.gradient_mu) == doctest::Approx(1 / (1 + 1e-12)).epsilon(digits));
    CHECK(result.gradient_log_theta >= T(0));
  }
  SUBCASE("Poisson limit") {
    const double mu = 3.5, y = 6;
    const auto result = evaluate<T>(mu, y, 1e12, 0);
    CHECK(static_cast<double>(result.nll) ==
          doctest::Approx(mu - y * std::log(mu) + std::lgamma(y + 1)).epsilon(10 * digits));
    CHECK(static_cast<double>(result.gradient_mu) == doctest::Approx((1 - y / mu) / (1 + mu / 1e12)).epsilon(digits));
    // ((y - mu)^2 - y) / (2 theta), negative: more dispersion fits worse here
    CHECK(static_cast<double>(result.gradient_log_theta) ==
          doctest::Approx(((y - mu) * (y - mu) - y) / 2e12).epsilon(1e4 * digits));
  }
  SUBCASE("no rate") {
    CHECK(evaluate<T>(0, 0, 2, 0).nll == T(0));
    CHECK(evaluate<T>(0, 0, 2, 0).gradient_mu == T(1));
    CHECK(evaluate<T>(0, 3, 2, 0).nll == std::numeric_limits<T>::infinity());
    CHECK(static_cast<double>(evaluate<T>(0, 3, 2, 1e-8).nll) ==
          doctest::Approx(static_cast<double>(nll_reference(0, 3, 2, static_cast<T>(1e-8)))).epsilon(10 * digits));
  }
  SUBCASE("NaN goes through") {
    const double nan = std::nan("");
    for (const auto& result : {evaluate<T>(nan, 1, 2, 0), evaluate<T>(1, nan, 2, 0), evaluate<T>(1, 1, nan, 0),
                               evaluate<T>(nan, 0, 2, 0), evaluate<T>(1, 0, nan, 0)}) {
      CHECK(std::isnan(result.nll));
      CHECK(std::isnan(result.gradient_mu));
      CHECK(std::isnan(result.gradient_log_theta));
    }
  }
}
