#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/gelu.hpp>
#include <eosin/ops/linear_gelu.hpp>
#include <eosin/ops/reduce.hpp>

#include "support/gemm_reference.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;
using testing::normal_matrix;

namespace {

template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 2e-6 : 4e-15;

/// Rows and columns of results: one tile, several, and edges that fill none.
struct Shape {
  Index rows, inner, cols;
};
constexpr Shape shapes[] = {{0, 3, 4}, {1, 1, 1}, {23, 5, 19}, {130, 7, 64}, {1500, 3, 1100}, {700, 9, 520}};

template <class T>
void check_close(MatrixView<const T> got, MatrixView<const T> want, double scale) {
  REQUIRE(got.rows() == want.rows());
  double worst = 0;
  for (Index r = 0; r < got.rows(); ++r)
    for (Index c = 0; c < got.cols(); ++c)
      worst = std::max(worst, std::abs(static_cast<double>(got(r, c)) - static_cast<double>(want(r, c))));
  CHECK(worst <= tolerance<T> * scale);
}

}  // namespace

TEST_CASE_TEMPLATE("ops::linear_gelu: equals product, bias, gelu and its derivative", T, float, double) {
  CpuContext context({.threads = 2});
  for (const auto& [rows, inner, cols] : shapes) {
    CAPTURE(rows);
    const auto x = normal_matrix<T>(rows, inner, 1), weight = normal_matrix<T>(cols, inner, 2);
    Vector<T> bias(cols);
    for (Index c = 0; c < cols; ++c) bias[c] = static_cast<T>(std::sin(static_cast<double>(c)));
    Matrix<T> u(rows, cols), want(rows, cols), want_slope(rows, cols), ones(rows, cols);
    ops::gemm(context, Transpose::no, Transpose::yes, 1, x, weight, 0, u.view());
    ops::add_bias(context, bias, u.view());
    ops::gelu(context, u, want.view());
    ones.fill(T(1));
    ops::gelu_backward(context, u, ones, want_slope.view());
    Matrix<T> slope(rows, cols), y(rows, cols);
    ops::linear_gelu(context, x, weight, bias, slope.view(), y.view());
    check_close<T>(y, want, 10);
    check_close<T>(slope, want_slope, 10);
  }
}

TEST_CASE_TEMPLATE("ops::product_gelu_backward: equals product, multiplication and column sums", T, float, double) {
  CpuContext context({.threads = 2});
  for (const auto& [rows, inner, cols] : shapes)
    for (const bool accumulate : {false, true}) {
      CAPTURE(rows);
      CAPTURE(accumulate);
      const auto dz = normal_matrix<T>(rows, inner, 1), weight = normal_matrix<T>(inner, cols, 2);
      const auto slope = normal_matrix<T>(rows, cols, 3);
      Vector<T> want_sums(cols), sums(cols), again(cols);
      for (Index c = 0; c < cols; ++c) want_sums[c] = sums[c] = again[c] = T(1) + static_cast<T>(c % 5);
      Matrix<T> want(rows, cols), d(rows, cols);
      ops::gemm(context, Transpose::no, Transpose::no, 1, dz, weight, 0, want.view());
      Matrix<T> upstream = want;
      ops::multiply(context, slope, want.view());
      ops::column_sums(context, want, want_sums.view(), 1, accumulate);

      ops::product_gelu_backward(context, dz, weight, slope, d.view(), sums.view(), accumulate);
      check_close<T>(d, want, 60);
      const double scale = 60 * std::sqrt(static_cast<double>(rows + 1));
      check_close<T>({sums.data(), 1, cols}, {want_sums.data(), 1, cols}, scale);

      ops::gelu_backward_sums(context, slope, upstream.view(), again.view(), accumulate);
      check_close<T>(upstream, want, 60);
      check_close<T>({again.data(), 1, cols}, {want_sums.data(), 1, cols}, scale);
    }
}

TEST_CASE("ops::product_gelu_backward: sums are optional, and nothing depends on the number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto dz = normal_matrix<float>(1500, 7, 1), weight = normal_matrix<float>(7, 1100, 2);
  const auto slope = normal_matrix<float>(1500, 1100, 3);
  Matrix<float> first(1500, 1100), second(1500, 1100), third(1500, 1100);
  Vector<float> sums(1100), again(1100);
  ops::product_gelu_backward(one, dz, weight, slope, first.view(), sums.view(), false);
  ops::product_gelu_backward(three, dz, weight, slope, second.view(), again.view(), false);
  ops::product_gelu_backward(three, dz, weight, slope, third.view(), {}, false);
  CHECK(testing::same_bits(first, second));
  CHECK(testing::same_bits(first, third));
  for (Index c = 0; c < sums.size(); ++c) REQUIRE(sums[c] == again[c]);
}

TEST_CASE("ops::linear_gelu: shape errors name the argument") {
  CpuContext context({.threads = 1});
  Matrix<float> x(2, 3), weight(4, 3), slope(2, 4), y(2, 5);
  Vector<float> bias(4), few(3);
  CHECK_THROWS_WITH_AS(ops::linear_gelu(context, x, weight, bias, slope.view(), y.view()),
                       "linear_gelu: y is [2 x 5], expected [2 x 4]", ShapeError);
  CHECK_THROWS_AS(ops::linear_gelu(context, x, weight, few, slope.view(), slope.view()), ShapeError);
  CHECK_THROWS_AS(ops::product_gelu_backward(context, x, weight, slope, y.view(), {}, false), ShapeError);
  CHECK_THROWS_AS(ops::gelu_backward_sums(context, slope, slope.view(), few.view(), false), ShapeError);
}
