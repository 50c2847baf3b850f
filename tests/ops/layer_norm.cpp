#include <eosin/ops/layer_norm.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;
using testing::normal_matrix;

namespace {

/// Formula of the header, one number after the other, in long double.
template <class T>
void reference(const Matrix<T>& x, const Matrix<T>& weight, const Matrix<T>& bias, double eps, Matrix<double>& y) {
  for (Index n = 0; n < x.rows(); ++n) {
    long double mean = 0, variance = 0;
    for (Index c = 0; c < x.cols(); ++c) mean += x(n, c);
    mean /= static_cast<long double>(x.cols());
    for (Index c = 0; c < x.cols(); ++c) variance += (x(n, c) - mean) * (x(n, c) - mean);
    variance /= static_cast<long double>(x.cols());
    for (Index c = 0; c < x.cols(); ++c)
      y(n, c) = static_cast<double>((x(n, c) - mean) / std::sqrt(variance + eps) * weight(0, c) + bias(0, c));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("ops::layer_norm: shapes, tails and strides against the formula", T, float, double) {
  CpuContext context({.threads = 2});
  const double tolerance = std::is_same_v<T, float> ? 3e-6 : 3e-14;
  for (const Index rows : {0, 1, 5, 40})
    for (const Index cols : {1, 2, 7, 16, 33, 785})
      for (const Index gap : {0, 3}) {
        CAPTURE(rows);
        CAPTURE(cols);
        // Two or three numbers may lie close together beside their mean, which no formula forgives.
        const auto dense = normal_matrix<T>(rows, cols, 1, 2, cols < 7 ? 0 : 30);
        Matrix<T> wide(rows, cols + gap), out(rows, cols + gap), moments(2, rows);
        wide.fill(T(99));
        out.fill(T(99));
        for (Index n = 0; n < rows; ++n)
          for (Index c = 0; c < cols; ++c) wide(n, c) = dense(n, c);
        const auto weight = normal_matrix<T>(1, cols, 2), bias = normal_matrix<T>(1, cols, 3);
        const auto y = out.view().middle_cols(0, cols);
        ops::layer_norm<T>(context, wide.view().middle_cols(0, cols), weight.flat(), bias.flat(), 1e-5, y,
                           moments.row(0), moments.row(1));
        Matrix<double> want(rows, cols);
        reference(dense, weight, bias, 1e-5, want);
        CHECK(testing::relative_difference(testing::copy_of<T>(y), want) <= tolerance);
        for (Index n = 0; n < rows; ++n)
          for (Index c = cols; c < cols + gap; ++c) REQUIRE(out(n, c) == T(99));
      }
}

TEST_CASE("ops::layer_norm_backward: six-point differences, with and without weight, added and accumulated") {
  CpuContext context({.threads = 2});
  for (const Index cols : {2, 5, 19})
    for (const bool affine : {true, false}) {
      auto x = normal_matrix<double>(37, cols, 1), weight = normal_matrix<double>(1, affine ? cols : 0, 2),
           bias = normal_matrix<double>(1, affine ? cols : 0, 3);
      const auto dy = normal_matrix<double>(37, cols, 4);
      Matrix<double> y(37, cols), dx(37, cols), moments(2, 37), d_weight(1, weight.cols()), d_bias(1, weight.cols());
      const auto value = [&] {
        ops::layer_norm<double>(context, x, weight.flat(), bias.flat(), 0.1, y.view(), moments.row(0), moments.row(1));
        return testing::inner_product(y, dy);
      };
      const auto backward = [&](bool again) {
        ops::layer_norm_backward<double>(context, x, moments.row(0), moments.row(1), weight.flat(), dy, dx.view(),
                                         d_weight.flat(), d_bias.flat(), {.add_to_dx = again, .accumulate = again});
      };
      value();
      backward(false);
      const auto check = [&](Matrix<double>& at, const Matrix<double>& gradient) {
        CHECK(testing::gradient_error(at.flat(), gradient.flat(), value) <= testing::gradient_tolerance);
      };
      check(x, dx);
      check(weight, d_weight);
      check(bias, d_bias);
      const auto once = dx, once_weight = d_weight;
      value();
      backward(true);
      for (Index i = 0; i < dx.size(); ++i) REQUIRE(dx.data()[i] == doctest::Approx(2 * once.data()[i]).epsilon(1e-12));
      for (Index i = 0; i < d_weight.size(); ++i)
        REQUIRE(d_weight.data()[i] == doctest::Approx(2 * once_weight.data()[i]).epsilon(1e-12));
    }
}

TEST_CASE("ops::layer_norm: a mean far from zero costs nothing; the same bits on any number of threads") {
  const auto x = normal_matrix<float>(100, 785, 1, 1, 1000), dy = normal_matrix<float>(100, 785, 2);
  const auto weight = normal_matrix<float>(1, 785, 3), bias = normal_matrix<float>(1, 785, 4);
  Matrix<float> y[2], dx[2], d_weight[2];
  for (int run = 0; run < 2; ++run) {
    CpuContext context({.threads = run == 0 ? 1 : 3});
    y[run].resize(100, 785);
    dx[run].resize(100, 785);
    d_weight[run].resize(2, 785);
    Matrix<float> moments(2, 100);
    ops::layer_norm<float>(context, x, weight.flat(), bias.flat(), 1e-5, y[run].view(), moments.row(0), moments.row(1));
    ops::layer_norm_backward<float>(context, x, moments.row(0), moments.row(1), weight.flat(), dy, dx[run].view(),
                                    d_weight[run].row(0), d_weight[run].row(1));
  }
  CHECK(testing::same_bits(y[0], y[1]));
  CHECK(testing::same_bits(dx[0], dx[1]));
  CHECK(testing::same_bits(d_weight[0], d_weight[1]));
  Matrix<double> want(100, 785);
  reference(x, weight, bias, 1e-5, want);
  CHECK(testing::relative_difference(y[0], want) <= 4e-5);  // the rounding of 1000 + x to float's grid
}

TEST_CASE("ops::layer_norm: errors") {
  CpuContext context({.threads = 1});
  Matrix<double> x(3, 4), y(3, 5), good(3, 4), moments(2, 3);
  Vector<double> weight(4);
  CHECK_THROWS_WITH_AS(ops::layer_norm<double>(context, x, {}, {}, 1e-5, y.view(), moments.row(0), moments.row(1)),
                       "layer_norm: y is [3 x 5], expected [3 x 4]", ShapeError);
  CHECK_THROWS_AS(
      ops::layer_norm<double>(context, x, weight.view(), {}, 1e-5, good.view(), moments.row(0), moments.row(1)),
      ValueError);
  CHECK_THROWS_WITH_AS(ops::layer_norm<double>(context, x, {}, {}, 0, good.view(), moments.row(0), moments.row(1)),
                       "layer_norm: eps must be positive", ValueError);
}
