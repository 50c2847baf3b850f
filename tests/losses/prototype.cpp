#include <eosin/losses/prototype.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;
using losses::PrototypeLoss;

namespace {

constexpr Index types = 3, genes = 8;

/// T0 with zeros at (0, 2) and (2, 7).
Matrix<double> reference() {
  auto t = testing::normal_matrix<double>(types, genes, 1);
  for (Index i = 0; i < t.size(); ++i) t.data()[i] = std::exp(t.data()[i]);
  t(0, 2) = t(2, 7) = 0;
  return t;
}
/// L at log T0, zero where masked.
Matrix<double> start() {
  auto logs = reference();
  for (Index i = 0; i < logs.size(); ++i) logs.data()[i] = logs.data()[i] > 0 ? std::log(logs.data()[i]) : 0;
  return logs;
}

}  // namespace

TEST_CASE("losses::PrototypeRegulariser: zero where the prototypes have not moved") {
  CpuContext context({.threads = 1});
  const auto logs = start();
  const auto t = reference();
  for (const auto kind : {PrototypeLoss::off, PrototypeLoss::softmax_mse, PrototypeLoss::exp_mse}) {
    const losses::PrototypeRegulariser<double> loss(kind, t);
    Matrix<double> d_log(types, genes);
    CHECK(loss.kind() == kind);
    CHECK(loss(context, logs, t, 1, d_log.view(), {}) <= 1e-30);
    for (Index i = 0; i < d_log.size(); ++i) CHECK(std::abs(d_log.data()[i]) <= 1e-15);
  }
  const losses::PrototypeRegulariser<double> pearson(PrototypeLoss::pearson, t);
  CHECK(pearson(context, logs, t, 1, {}, {}) == doctest::Approx(-1).epsilon(1e-12));
  CHECK(losses::PrototypeRegulariser<double>{}.kind() == PrototypeLoss::off);
}

TEST_CASE("losses::PrototypeRegulariser: values") {
  CpuContext context({.threads = 1});
  const auto t = reference();
  auto logs = start();
  const auto moved = testing::normal_matrix<double>(types, genes, 4, 0.3);
  for (Index i = 0; i < logs.size(); ++i) logs.data()[i] += moved.data()[i];
  double softmax = 0, exponential = 0;
  for (Index c = 0; c < types; ++c) {
    double sum = 0, sum0 = 0;
    for (Index g = 0; g < genes; ++g) {
      sum0 += t(c, g);
      if (t(c, g) > 0) sum += std::exp(logs(c, g));
    }
    for (Index g = 0; g < genes; ++g)
      if (t(c, g) > 0) {
        softmax += std::pow(std::exp(logs(c, g)) / sum - t(c, g) / sum0, 2);
        exponential += std::pow(std::exp(logs(c, g)) - t(c, g), 2);
      }
  }
  const double count = types * genes;
  const auto value = [&](PrototypeLoss kind) {
    return losses::PrototypeRegulariser<double>(kind, t)(context, logs, t, 1, {}, {});
  };
  CHECK(value(PrototypeLoss::softmax_mse) == doctest::Approx(softmax / count).epsilon(1e-12));
  CHECK(value(PrototypeLoss::exp_mse) == doctest::Approx(exponential / count).epsilon(1e-12));
}

TEST_CASE("losses::PrototypeRegulariser: gradients by six-point differences; masked entries have none") {
  CpuContext context({.threads = 2});
  const auto t = reference();
  auto logs = start();
  const auto moved = testing::normal_matrix<double>(types, genes, 4, 0.3);
  for (Index i = 0; i < logs.size(); ++i) logs.data()[i] += moved.data()[i];
  auto expression = logs;
  for (Index i = 0; i < logs.size(); ++i) expression.data()[i] = std::exp(logs.data()[i]);

  for (const auto kind : {PrototypeLoss::softmax_mse, PrototypeLoss::exp_mse, PrototypeLoss::pearson}) {
    CAPTURE(static_cast<int>(kind));
    const losses::PrototypeRegulariser<double> loss(kind, t);
    const bool by_log = kind != PrototypeLoss::pearson;
    Matrix<double> d_log(types, genes), d_expression(types, genes);
    loss(context, logs, expression, 5, d_log.view(), d_expression.view());
    const auto gradient = by_log ? d_log : d_expression;
    const auto value = [&] { return 5 * loss(context, logs, expression, 5, {}, {}); };
    CHECK(testing::gradient_error((by_log ? logs : expression).flat(), gradient.flat(), value, 5e-3) <=
          testing::gradient_tolerance);
    for (Index i = 0; i < d_log.size(); ++i) CHECK((by_log ? d_expression : d_log).data()[i] == 0);
    if (by_log) {
      CHECK(gradient(0, 2) == 0);
      CHECK(gradient(2, 7) == 0);
      // Added to what is there.
      loss(context, logs, expression, 5, d_log.view(), {});
      for (Index i = 0; i < d_log.size(); ++i)
        CHECK(d_log.data()[i] == doctest::Approx(2 * gradient.data()[i]).epsilon(1e-14));
    }
  }
}

TEST_CASE("losses::PrototypeRegulariser: large logarithms do not overflow the softmax; threads do not matter") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  auto logs = start();
  Matrix<float> high(types, genes), d1(types, genes), d3(types, genes);
  for (Index i = 0; i < logs.size(); ++i) high.data()[i] = static_cast<float>(logs.data()[i]) + 500.0f;
  const losses::PrototypeRegulariser<float> loss(PrototypeLoss::softmax_mse, reference());
  const double first = loss(one, high, high, 1, d1.view(), {});
  CHECK(first <= 1e-8);
  CHECK(loss(three, high, high, 1, d3.view(), {}) == first);
  CHECK(testing::same_bits(d1, d3));
}

TEST_CASE("losses::PrototypeRegulariser: errors name what is wrong") {
  CpuContext context({.threads = 1});
  auto t = reference();
  const losses::PrototypeRegulariser<double> loss(PrototypeLoss::exp_mse, t);
  Matrix<double> other(types, genes + 1);
  CHECK_THROWS_WITH_AS(loss(context, other, other, 1, {}, {}),
                       "PrototypeRegulariser: log_prototypes is [3 x 9], expected [3 x 8]", ShapeError);
  CHECK_THROWS_AS(loss(context, t, t, 1, other.view(), {}), ShapeError);
  const auto make = [&](PrototypeLoss kind) { losses::PrototypeRegulariser<double>(kind, t); };
  t(1, 1) = -1;
  CHECK_THROWS_WITH_AS(make(PrototypeLoss::exp_mse),
                       "PrototypeRegulariser: the reference has a negative entry at (1, 1)",
                       ValueError);
  for (Index g = 0; g < genes; ++g) t(1, g) = 0;
  CHECK_THROWS_WITH_AS(make(PrototypeLoss::softmax_mse), "PrototypeRegulariser: prototype 1 sums to 0.000000",
                       ValueError);
  CHECK_NOTHROW(make(PrototypeLoss::off));
  t(1, 1) = std::nan("");
  CHECK_THROWS_AS(make(PrototypeLoss::pearson), ValueError);
}
