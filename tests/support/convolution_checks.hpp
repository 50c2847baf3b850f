#pragma once

// Checks that every implementation of convolution has to pass.

#include <eosin/ops/convolution.hpp>

#include "support/convolution_reference.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

namespace eosin::testing {

/// Shapes with tails, odd edges, strides, kernels as large as the image, one of everything, no image.
inline std::vector<ConvolutionShape> convolution_shapes() {
  return {{2, 5, 6, 3, 4, 3, 1, 1},     {3, 9, 7, 3, 8, 7, 2, 3},   {2, 8, 8, 16, 32, 3, 1, 1},
          {1, 1, 1, 1, 1, 1, 1, 0},     {5, 6, 5, 17, 33, 1, 1, 0}, {2, 7, 9, 5, 6, 1, 2, 0},
          {2, 8, 7, 16, 16, 3, 2, 1},   {0, 5, 5, 3, 4, 3, 1, 1},   {2, 4, 4, 2, 3, 4, 4, 0},
          {9, 3, 3, 8, 2, 3, 1, 1},     {3, 5, 4, 2, 2, 2, 3, 0},   {17, 7, 7, 32, 16, 3, 1, 1},
          {2, 20, 21, 48, 16, 3, 1, 1}, {40, 5, 5, 9, 40, 1, 1, 0}, {1, 30, 31, 3, 16, 5, 1, 2}};
}

template <class T>
Matrix<T> strided_copy(const Matrix<T>& from, Index gap) {
  Matrix<T> to(from.rows(), from.cols() + 2 * gap);
  to.fill(T(99));
  for (Index r = 0; r < from.rows(); ++r)
    for (Index c = 0; c < from.cols(); ++c) to(r, gap + c) = from(r, c);
  return to;
}

/// Value and gradients of every shape against the definition, from dense pixels and from a range of channels of a wider
/// buffer, whose other channels must stay as they are; accumulation of dW.
template <class T>
void check_convolution(CpuContext& context) {
  const double tolerance = 200 * static_cast<double>(std::numeric_limits<T>::epsilon());
  for (const ConvolutionShape& s : convolution_shapes())
    for (const Index gap : {Index{0}, Index{3}}) {
      CAPTURE(s.kernel);
      CAPTURE(s.height);
      CAPTURE(s.channels);
      CAPTURE(gap);
      const auto x = converted<T>(normal_matrix<double>(s.in_rows(), s.channels, 1));
      const auto weight = converted<T>(normal_matrix<double>(1, s.weights(), 2));
      const auto dy = converted<T>(normal_matrix<double>(s.out_rows(), s.outputs, 3));
      const auto want =
          convolution_reference(s, converted<double>(x), converted<double>(weight), converted<double>(dy));
      auto wide_x = strided_copy(x, gap), wide_dy = strided_copy(dy, gap);
      Matrix<T> wide_y(s.out_rows(), s.outputs + 2 * gap), wide_dx(s.in_rows(), s.channels + 2 * gap);
      wide_y.fill(T(7));
      wide_dx.fill(T(7));
      const auto inner = [&](Matrix<T>& m) { return m.view().middle_cols(gap, m.cols() - 2 * gap); };
      Matrix<T> d_weight(1, s.weights());
      d_weight.fill(T(5));
      ops::convolution<T>(context, s, inner(wide_x), weight.flat(), inner(wide_y));
      ops::convolution_backward<T>(context, s, inner(wide_x), inner(wide_dy), weight.flat(), inner(wide_dx),
                                   d_weight.flat());
      CHECK(relative_difference(copy_of<T>(inner(wide_y)), want.y) <= tolerance);
      CHECK(relative_difference(copy_of<T>(inner(wide_dx)), want.dx) <= tolerance);
      CHECK(relative_difference(d_weight, want.d_weight) <= tolerance);
      for (Index r = 0; gap > 0 && r < wide_y.rows(); ++r) {
        REQUIRE(wide_y(r, gap - 1) == 7);
        REQUIRE(wide_y(r, gap + s.outputs) == 7);
      }
      for (Index r = 0; gap > 0 && r < wide_dx.rows(); ++r) {
        REQUIRE(wide_dx(r, gap - 1) == 7);
        REQUIRE(wide_dx(r, gap + s.channels) == 7);
      }
      const auto once = d_weight;
      ops::convolution_backward<T>(context, s, inner(wide_x), inner(wide_dy), weight.flat(), {}, d_weight.flat(), true);
      for (Index i = 0; i < once.size(); ++i)
        REQUIRE(static_cast<double>(d_weight.data()[i]) ==
                doctest::Approx(2 * static_cast<double>(once.data()[i])).epsilon(1e-6));
    }
}

/// The same bits on one and on three threads.
template <class T>
void check_convolution_threads(CpuContext& one, CpuContext& three) {
  for (const ConvolutionShape& s : convolution_shapes()) {
    const auto x = normal_matrix<T>(s.in_rows(), s.channels, 1), weight = normal_matrix<T>(1, s.weights(), 2),
               dy = normal_matrix<T>(s.out_rows(), s.outputs, 3);
    Matrix<T> y[2], dx[2], d_weight[2];
    int i = 0;
    for (CpuContext* context : {&one, &three}) {
      y[i] = Matrix<T>(s.out_rows(), s.outputs);
      dx[i] = Matrix<T>(s.in_rows(), s.channels);
      d_weight[i] = Matrix<T>(1, s.weights());
      ops::convolution<T>(*context, s, x, weight.flat(), y[i].view());
      ops::convolution_backward<T>(*context, s, x, dy, weight.flat(), dx[i].view(), d_weight[i].flat());
      ++i;
    }
    CHECK(same_bits(y[0], y[1]));
    CHECK(same_bits(dx[0], dx[1]));
    CHECK(same_bits(d_weight[0], d_weight[1]));
  }
}

}  // namespace eosin::testing
