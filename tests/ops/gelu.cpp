#include <eosin/ops/gelu.hpp>

#include <eosin/core/random.hpp>

#include "golden_check/gelu.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

namespace {

template <class T>
Matrix<T> normal_matrix(Index rows, Index cols, std::uint64_t seed) {
  Matrix<T> m(rows, cols);
  RandomStream random(seed);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<T>(random.normal(0, 2));
  return m;
}

}  // namespace

TEST_CASE("ops::gelu: golden cases in double and in float") {
  const auto folders = testing::golden_cases("gelu");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_gelu<float>(golden, comparison) : testing::check_gelu<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

TEST_CASE_TEMPLATE("ops::gelu: shapes, tails and strides give what the scalar function gives", T, float, double) {
  CpuContext context({.threads = 2});
  for (const Index rows : {0, 1, 3, 70})
    for (const Index cols : {0, 1, 7, 16, 33, 300})
      for (const Index gap : {0, 5}) {
        const auto wide = normal_matrix<T>(rows, cols + gap, 1), upstream = normal_matrix<T>(rows, cols + gap, 2);
        Matrix<T> y(rows, cols + gap), dx(rows, cols + gap);
        y.fill(T(9));
        dx.fill(T(9));
        const auto x = wide.view().middle_cols(0, cols);
        ops::gelu(context, x, y.view().middle_cols(0, cols));
        ops::gelu_backward(context, x, upstream.view().middle_cols(0, cols), dx.view().middle_cols(0, cols));
        for (Index r = 0; r < rows; ++r) {
          for (Index c = 0; c < cols; ++c) {
            const auto want = math::gelu_with_derivative(x(r, c));
            REQUIRE(static_cast<double>(y(r, c)) == doctest::Approx(static_cast<double>(want.value)).epsilon(1e-6));
            REQUIRE(static_cast<double>(dx(r, c)) ==
                    doctest::Approx(static_cast<double>(upstream(r, c) * want.derivative)).epsilon(1e-5));
          }
          for (Index c = cols; c < cols + gap; ++c) REQUIRE((y(r, c) == T(9) && dx(r, c) == T(9)));
        }
      }
}

TEST_CASE_TEMPLATE("ops::gelu: in place, and independent of the number of threads", T, float, double) {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto x = normal_matrix<T>(101, 517, 3), dy = normal_matrix<T>(101, 517, 4);
  Matrix<T> y(101, 517), dx(101, 517);
  ops::gelu(one, x, y.view());
  ops::gelu_backward(one, x, dy, dx.view());
  Matrix<T> in_place = x, gradient = dy;
  ops::gelu_backward(three, x, gradient, gradient.view());
  ops::gelu(three, in_place, in_place.view());
  for (Index i = 0; i < x.size(); ++i) {
    REQUIRE(in_place.data()[i] == y.data()[i]);
    REQUIRE(gradient.data()[i] == dx.data()[i]);
  }
}

TEST_CASE_TEMPLATE("ops::gelu: NaN goes through, infinities have limits", T, float, double) {
  CpuContext context({.threads = 1});
  const T infinity = std::numeric_limits<T>::infinity();
  for (const Index n : {3, 64}) {
    Matrix<T> x(1, n), ones(1, n), y(1, n), dx(1, n);
    ones.fill(T(1));
    x(0, 0) = std::numeric_limits<T>::quiet_NaN();
    x(0, 1) = infinity;
    x(0, 2) = -infinity;
    ops::gelu(context, x, y.view());
    ops::gelu_backward(context, x, ones, dx.view());
    CHECK(std::isnan(y(0, 0)));
    CHECK(std::isnan(dx(0, 0)));
    CHECK(y(0, 1) == infinity);
    CHECK(dx(0, 1) == T(1));
    CHECK(y(0, 2) == T(0));
    CHECK(dx(0, 2) == T(0));
  }
}

TEST_CASE_TEMPLATE("ops::bias_gelu: equals bias, then gelu", T, float, double) {
  CpuContext context({.threads = 2});
  for (const Index cols : {1, 19, 64}) {
    const Index rows = 23;
    const auto product = normal_matrix<T>(rows, cols, 5);
    Vector<T> bias(cols);
    for (Index c = 0; c < cols; ++c) bias[c] = static_cast<T>(std::sin(static_cast<double>(c)));
    Matrix<T> sum = product;
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < cols; ++c) sum(r, c) += bias[c];
    Matrix<T> want(rows, cols);
    ops::gelu(context, sum, want.view());

    Matrix<T> pre = product, y(rows, cols);
    ops::bias_gelu(context, pre.view(), bias, y.view());
    for (Index i = 0; i < pre.size(); ++i) {
      REQUIRE(pre.data()[i] == sum.data()[i]);
      REQUIRE(y.data()[i] == want.data()[i]);
    }
  }
}

TEST_CASE("ops::gelu: shape errors name the argument") {
  CpuContext context({.threads = 1});
  Matrix<float> x(2, 3), y(2, 4);
  Vector<float> bias(4);
  CHECK_THROWS_WITH_AS(ops::gelu(context, x, y.view()), "gelu: y is [2 x 4], expected [2 x 3]", ShapeError);
  CHECK_THROWS_WITH_AS(ops::gelu_backward(context, x, y, x.view()), "gelu_backward: dy is [2 x 4], expected [2 x 3]",
                       ShapeError);
  CHECK_THROWS_AS(ops::bias_gelu(context, x.view(), bias, x.view()), ShapeError);
}
