// Mean squared error per row: values by hand, gradients by differences, rows that are left out, errors.

#include <eosin/losses/mean_squared_error.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using namespace eosin::testing;

TEST_CASE("losses::mean_squared_error: the value is a mean over columns and a sum over rows") {
  CpuContext context({.threads = 2});
  Matrix<double> p(2, 3), t(2, 3);
  p(0, 0) = 3;
  t(1, 2) = -6;
  CHECK(losses::mean_squared_error<double>(context, p, t, {}) == doctest::Approx(9.0 / 3 + 36.0 / 3));
  Vector<double> weights(2);
  weights[1] = 0.1;
  CHECK(losses::mean_squared_error<double>(context, p, t, {.weights = std::as_const(weights).view()}) ==
        doctest::Approx(36.0 / 3));
}

TEST_CASE("losses::mean_squared_error: the gradient is that of differences, the same on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  auto p = normal_matrix<double>(40, 7, 1);
  const auto t = normal_matrix<double>(40, 7, 2);
  Vector<double> weights(40);
  weights.fill(1);
  weights[5] = 0;
  Matrix<double> gradient(40, 7), again(40, 7);
  const auto value = [&] {
    return losses::mean_squared_error<double>(one, p, t, {.weights = std::as_const(weights).view()});
  };
  const double loss = losses::mean_squared_error<double>(
      one, p, t, {.scale = 3, .gradient = gradient.view(), .weights = std::as_const(weights).view()});
  CHECK(loss == losses::mean_squared_error<double>(
                    three, p, t, {.scale = 3, .gradient = again.view(), .weights = std::as_const(weights).view()}));
  CHECK(relative_difference(again, gradient) == 0);
  for (const Index r : {Index{0}, Index{5}, Index{39}})
    for (Index c = 0; c < 7; ++c) {
      const double start = p(r, c), step = 1e-3;
      p(r, c) = start + step;
      const double above = value();
      p(r, c) = start - step;
      const double below = value();
      p(r, c) = start;
      CHECK(gradient(r, c) == doctest::Approx(3 * (above - below) / (2 * step)).epsilon(1e-8));
    }
}

TEST_CASE("losses::mean_squared_error: errors name what is wrong; no rows are no loss") {
  CpuContext context({.threads = 1});
  const Matrix<float> p(2, 3), t(2, 4), none(0, 3);
  CHECK_THROWS_WITH_AS(losses::mean_squared_error<float>(context, p, t, {}),
                       "mean_squared_error: target is [2 x 4], expected [2 x 3]", ShapeError);
  const Vector<float> weights(3);
  CHECK_THROWS_WITH_AS(losses::mean_squared_error<float>(context, p, p, {.weights = weights.view()}),
                       "mean_squared_error: weights has 3 elements, expected 2 (rows of prediction)", ShapeError);
  CHECK(losses::mean_squared_error<float>(context, none, none, {}) == 0);
}
