#include <eosin/ops/convolution.hpp>

#include "support/convolution_checks.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::convolution: value and gradients against the definition", T, float, double) {
  CpuContext context({.threads = 2});
  testing::check_convolution<T>(context);
}

TEST_CASE("ops::convolution: the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  testing::check_convolution_threads<float>(one, three);
}

TEST_CASE("ops::convolution: blocks cover the rows once") {
  for (const ConvolutionShape& s : testing::convolution_shapes()) {
    const auto blocks = ops::convolution_blocks(s);
    CHECK(blocks.count * blocks.in_rows >= s.in_rows());
    CHECK((blocks.count - 1) * blocks.in_rows <= s.in_rows());
    if (!s.pointwise()) CHECK(blocks.count * blocks.out_rows == s.out_rows());
  }
}

TEST_CASE("ops::convolution: streamed blocks come once each, with their rows") {
  CpuContext context({.threads = 3});
  for (const ConvolutionShape s : {ConvolutionShape{6, 5, 4, 3, 2, 3, 1, 1}, ConvolutionShape{9, 11, 10, 3, 2}}) {
    const auto x = testing::normal_matrix<double>(s.in_rows(), s.channels, 1),
               weight = testing::normal_matrix<double>(1, s.weights(), 2);
    Matrix<double> plain(s.out_rows(), s.outputs), streamed(s.out_rows(), s.outputs);
    Vector<int> seen(s.out_rows());
    ops::convolution<double>(context, s, x, weight.flat(), plain.view());
    ops::convolution_streamed<double>(
        context, s,
        [&](Index row, Index rows, MatrixView<double> scratch) {
          for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < s.channels; ++c) scratch(r, c) = 2 * x(row + r, c);
          return MatrixView<const double>(scratch);
        },
        weight.flat(), [](Index, Index, MatrixView<double> scratch) { return scratch; },
        [&](Index row, Index rows, MatrixView<double> y) {
          for (Index r = 0; r < rows; ++r) {
            ++seen[row + r];
            for (Index c = 0; c < s.outputs; ++c) streamed(row + r, c) = y(r, c) / 2;
          }
        });
    CHECK(testing::relative_difference(streamed, plain) < 1e-14);
    for (const int count : seen) REQUIRE(count == 1);
  }
}

TEST_CASE("ops::convolution: no allocation once the workspace is grown") {
  CpuContext context({.threads = 2});
  const ConvolutionShape s{2, 8, 8, 16, 32, 3, 1, 1};
  const auto x = testing::normal_matrix<float>(s.in_rows(), s.channels, 1),
             weight = testing::normal_matrix<float>(1, s.weights(), 2);
  Matrix<float> y(s.out_rows(), s.outputs);
  ops::convolution<float>(context, s, x, weight.flat(), y.view());
  const Index held = context.workspace().capacity();
  ops::convolution<float>(context, s, x, weight.flat(), y.view());
  CHECK(context.workspace().capacity() == held);
}

TEST_CASE("ops::convolution: shapes that do not fit are named") {
  CpuContext context({.threads = 1});
  const ConvolutionShape s{1, 4, 4, 2, 3, 3, 1, 1};
  Matrix<float> x(16, 2), y(16, 3), weight(1, 54), narrow(16, 1);
  CHECK_THROWS_WITH_AS(ops::convolution<float>(context, s, narrow, weight.flat(), y.view()),
                       "convolution: x is [16 x 1], expected [16 x 2]", ShapeError);
  CHECK_THROWS_WITH_AS(ops::convolution<float>(context, s, x, narrow.flat(), y.view()),
                       "convolution: weight has 16 elements, expected 54 (outputs x channels x kernel x kernel)",
                       ShapeError);
  CHECK_THROWS_WITH_AS(
      ops::convolution<float>(context, {1, 2, 4, 2, 3, 5, 1, 1}, x, Matrix<float>(1, 150).flat(), y.view()),
      "convolution: images of [2 x 4] pixels are smaller than the kernel of 5 with padding 1", ShapeError);
}
