#include <eosin/losses/pearson.hpp>

#include "golden_check/pearson_loss.hpp"
#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE("losses::pearson: golden cases in double and in float") {
  const auto folders = testing::golden_cases("pearson_loss");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_pearson_loss<float>(golden, comparison)
             : testing::check_pearson_loss<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

TEST_CASE("losses::pearson: gradients by six-point differences, weighted and accumulated") {
  CpuContext context({.threads = 2});
  for (const double eps : {0.0, 0.5})
    for (const Index genes : {1, 70}) {
      auto x = testing::normal_matrix<double>(6, genes, 1);
      const auto y = testing::normal_matrix<double>(6, genes, 2);
      Matrix<double> gradient(6, genes), twice(6, genes);
      losses::PearsonOptions<double> options{.eps = eps, .weight = 3, .gradient = gradient.view()};
      losses::pearson(context, x, y, options);
      twice = gradient;
      options.gradient = twice.view();
      options.accumulate = true;
      losses::pearson(context, x, y, options);
      const auto value = [&] { return 3 * losses::pearson<double>(context, x, y, {.eps = eps}); };
      CHECK(testing::gradient_error(x.flat(), std::as_const(gradient).flat(), value) <= testing::gradient_tolerance);
      for (Index i = 0; i < twice.size(); ++i) REQUIRE(twice.data()[i] == 2 * gradient.data()[i]);
    }
}

TEST_CASE("losses::pearson: scale and shift of either side change nothing; the bound is reached") {
  CpuContext context({.threads = 1});
  const auto x = testing::normal_matrix<double>(40, 3, 1);
  Matrix<double> y = testing::normal_matrix<double>(40, 3, 2), moved = x, opposite = x;
  for (Index i = 0; i < x.size(); ++i) {
    moved.data()[i] = 1e5 + 0.01 * x.data()[i];
    opposite.data()[i] = 5 - 2 * x.data()[i];
  }
  const auto loss = [&](const Matrix<double>& a, const Matrix<double>& b) {
    return losses::pearson<double>(context, a, b, {});
  };
  CHECK(loss(moved, y) == doctest::Approx(loss(x, y)).epsilon(1e-6));
  CHECK(loss(y, x) == doctest::Approx(loss(x, y)).epsilon(1e-12));
  CHECK(loss(x, x) == doctest::Approx(-1).epsilon(1e-14));
  CHECK(loss(x, opposite) == doctest::Approx(1).epsilon(1e-14));
}

TEST_CASE("losses::pearson: a constant column is undefined: correlation 0, gradient 0, counted in the mean") {
  CpuContext context({.threads = 1});
  auto x = testing::normal_matrix<float>(5, 3, 1), y = testing::normal_matrix<float>(5, 3, 2);
  Matrix<float> only_x(5, 1), only_y(5, 1);
  for (Index n = 0; n < 5; ++n) {
    x(n, 0) = 0.1f;  // sums of 0.1 round: constancy must not be judged by the variance
    y(n, 2) = 1e-20f;
    only_x(n, 0) = x(n, 1);
    only_y(n, 0) = y(n, 1);
  }
  Vector<float> correlation(3);
  Matrix<float> gradient(5, 3);
  gradient.fill(9);
  losses::PearsonOptions<float> options;
  options.correlation = correlation.view();
  options.gradient = gradient.view();
  const double loss = losses::pearson(context, x, y, options);
  CHECK(correlation[0] == 0);
  CHECK(correlation[1] != 0);
  CHECK(correlation[2] == 0);
  for (Index n = 0; n < 5; ++n) CHECK((gradient(n, 0) == 0 && gradient(n, 1) != 0 && gradient(n, 2) == 0));
  CHECK(loss == doctest::Approx(losses::pearson<float>(context, only_x, only_y, {}) / 3));
  // One row, no rows, no columns.
  CHECK(losses::pearson<float>(context, x.view().middle_rows(0, 1), y.view().middle_rows(0, 1), {}) == 0);
  CHECK(losses::pearson<float>(context, x.view().middle_rows(0, 0), y.view().middle_rows(0, 0), {}) == 0);
  CHECK(losses::pearson<float>(context, x.view().middle_cols(0, 0), y.view().middle_cols(0, 0), {}) == 0);
}

TEST_CASE("losses::pearson: the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto x = testing::normal_matrix<float>(30, 300, 1), y = testing::normal_matrix<float>(30, 300, 2);
  Matrix<float> g1(30, 300), g3(30, 300);
  const double first = losses::pearson(one, x, y, losses::PearsonOptions<float>{.gradient = g1.view()});
  const double second = losses::pearson(three, x, y, losses::PearsonOptions<float>{.gradient = g3.view()});
  CHECK(first == second);
  CHECK(testing::same_bits(g1, g3));
}

TEST_CASE("losses::pearson: shapes that do not fit are named") {
  CpuContext context({.threads = 1});
  Matrix<double> x(4, 3), y(4, 2);
  Vector<double> correlation(2);
  CHECK_THROWS_WITH_AS(losses::pearson<double>(context, x, y, {}), "pearson: target is [4 x 2], expected [4 x 3]",
                       ShapeError);
  CHECK_THROWS_AS(losses::pearson<double>(context, x, x, {.correlation = correlation.view()}), ShapeError);
  CHECK_THROWS_AS(losses::pearson<double>(context, x, x, {.gradient = y.view()}), ShapeError);
}
