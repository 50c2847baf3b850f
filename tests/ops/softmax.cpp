#include <eosin/ops/softmax.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::softmax_rows: against long double, tails and gaps", T, float, double) {
  CpuContext context({.threads = 2});
  for (const Index rows : {0, 1, 3, 70})
    for (const Index cols : {0, 1, 2, 7, 33}) {
      const auto memory = testing::normal_matrix<T>(rows, cols + 2, 1, 3);
      const auto logits = memory.view().middle_cols(1, cols);
      Matrix<T> p(rows, cols + 1);
      p.fill(T(9));
      ops::softmax_rows(context, logits, p.view().middle_cols(0, cols));
      for (Index r = 0; r < rows; ++r) {
        long double sum = 0;
        for (Index c = 0; c < cols; ++c) sum += std::exp(static_cast<long double>(logits(r, c)));
        for (Index c = 0; c < cols; ++c) {
          const long double want = std::exp(static_cast<long double>(logits(r, c))) / sum;
          REQUIRE(std::abs(static_cast<long double>(p(r, c)) - want) <=
                  20 * want * static_cast<long double>(std::numeric_limits<T>::epsilon()));
        }
        REQUIRE(p(r, cols) == T(9));
      }
    }
}

TEST_CASE("ops::softmax_rows: huge logits, equal logits, one column, in place") {
  CpuContext context({.threads = 1});
  Matrix<float> x(3, 3);
  const float values[] = {-1e30f, 1e30f, 0, 5, 5, 5, -1e4f, -1e4f, -2e4f};
  std::copy(std::begin(values), std::end(values), x.data());
  ops::softmax_rows(context, x, x.view());
  const float want[] = {0, 1, 0, 1.0f / 3, 1.0f / 3, 1.0f / 3, 0.5f, 0.5f, 0};
  for (Index i = 0; i < 9; ++i) CHECK(x.data()[i] == doctest::Approx(want[i]).epsilon(1e-6));
  Matrix<float> one(4, 1);
  one.fill(-123.0f);
  ops::softmax_rows(context, one, one.view());
  for (Index i = 0; i < 4; ++i) CHECK(one.data()[i] == 1.0f);
}

TEST_CASE("ops::softmax: gradients by six-point differences") {
  CpuContext context({.threads = 2});
  const Index rows = 5, cols = 6;
  auto logits = testing::normal_matrix<double>(rows, cols, 1);
  const auto weights = testing::normal_matrix<double>(rows, cols, 2);
  Matrix<double> p(rows, cols), d_logits(rows, cols);
  const auto forward = [&] { ops::softmax_rows(context, logits, p.view()); };

  SUBCASE("of every row") {
    const auto value = [&] {
      forward();
      return testing::inner_product(p, weights);
    };
    forward();
    ops::softmax_rows_backward(context, p, weights, d_logits.view());
    const auto gradient = d_logits;
    CHECK(testing::gradient_error(logits.flat(), gradient.flat(), value) <= testing::gradient_tolerance);
    // The result may take the place of the gradient.
    forward();
    auto in_place = weights;
    ops::softmax_rows_backward(context, p, in_place, in_place.view());
    CHECK(testing::same_bits(in_place, gradient));
  }
  SUBCASE("of the mean over rows") {
    const auto value = [&] {
      forward();
      double sum = 0;
      for (Index r = 0; r < rows; ++r)
        for (Index c = 0; c < cols; ++c) sum += p(r, c) * weights(0, c) / static_cast<double>(rows);
      return sum;
    };
    forward();
    ops::softmax_mean_backward(context, p, weights.row(0), d_logits.view());
    const auto gradient = d_logits;
    CHECK(testing::gradient_error(logits.flat(), gradient.flat(), value) <= testing::gradient_tolerance);
  }
}

TEST_CASE("ops::softmax: the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto logits = testing::normal_matrix<float>(400, 9, 1), upstream = testing::normal_matrix<float>(400, 9, 2);
  Matrix<float> p1(400, 9), p3(400, 9), d1(400, 9), d3(400, 9);
  ops::softmax_rows(one, logits, p1.view());
  ops::softmax_rows(three, logits, p3.view());
  CHECK(testing::same_bits(p1, p3));
  ops::softmax_rows_backward(one, p1, upstream, d1.view());
  ops::softmax_rows_backward(three, p1, upstream, d3.view());
  CHECK(testing::same_bits(d1, d3));
  ops::softmax_mean_backward(one, p1, upstream.row(0), d1.view());
  ops::softmax_mean_backward(three, p1, upstream.row(0), d3.view());
  CHECK(testing::same_bits(d1, d3));
}

TEST_CASE("ops::softmax: shapes that do not fit are named") {
  CpuContext context({.threads = 1});
  Matrix<float> p(3, 4), other(3, 5);
  CHECK_THROWS_WITH_AS(ops::softmax_rows(context, p, other.view()),
                       "softmax_rows: out is [3 x 5], expected [3 x 4]", ShapeError);
  CHECK_THROWS_AS(ops::softmax_rows_backward(context, p, other, p.view()), ShapeError);
  CHECK_THROWS_AS(ops::softmax_rows_backward(context, p, p, other.view()), ShapeError);
  CHECK_THROWS_WITH_AS(ops::softmax_mean_backward(context, p, other.row(0), p.view()),
                       "softmax_mean_backward: d_pooled has 5 elements, composition has 4 columns (cell types)",
                       ShapeError);
  CHECK_THROWS_AS(ops::softmax_mean_backward(context, p, p.row(0), other.view()), ShapeError);
}
