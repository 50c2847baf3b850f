#include <eosin/ops/pooling.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

namespace {

/// Calls f(output row, input row, position in the window) in reading order.
template <class F>
void for_each_window(const ops::PoolShape& s, F&& f) {
  for (Index n = 0; n < s.images; ++n)
    for (Index i = 0; i < s.out_height(); ++i)
      for (Index j = 0; j < s.out_width(); ++j)
        for (Index u = 0; u < s.window; ++u)
          for (Index v = 0; v < s.window; ++v) {
            const Index a = i * s.stride - s.padding + u, b = j * s.stride - s.padding + v;
            if (a < 0 || b < 0 || a >= s.height || b >= s.width) continue;
            f((n * s.out_height() + i) * s.out_width() + j, (n * s.height + a) * s.width + b, u * s.window + v);
          }
}

const ops::PoolShape shapes[] = {{2, 7, 8, 5, 3, 2, 1}, {1, 6, 6, 33, 2, 2, 0}, {3, 5, 4, 16, 3, 1, 1},
                                 {2, 4, 9, 3, 2, 3, 0}, {0, 4, 4, 2, 2, 2, 0},  {1, 1, 1, 1, 1, 1, 0}};

}  // namespace

TEST_CASE_TEMPLATE("ops::max_pool: maxima, the first of ties, gradient to where they came from", T, float, double) {
  CpuContext context({.threads = 2});
  for (const auto& s : shapes) {
    CAPTURE(s.height);
    auto wide = testing::normal_matrix<T>(s.in_rows(), s.channels + 3, 1);
    for (Index i = 0; i < wide.size(); ++i) wide.data()[i] = std::round(2 * wide.data()[i]);  // many ties
    const auto x = wide.view().middle_cols(2, s.channels);
    const auto dy = testing::normal_matrix<T>(s.out_rows(), s.channels, 2);
    Matrix<T> y(s.out_rows(), s.channels), dx(s.in_rows(), s.channels), want_dx(s.in_rows(), s.channels);
    Matrix<std::uint8_t> source(s.out_rows(), s.channels);
    ops::max_pool<T>(context, s, x, y.view(), source.view());
    ops::max_pool_backward<T>(context, s, dy, source.view(), dx.view());
    Matrix<T> want(s.out_rows(), s.channels);
    Matrix<Index> from(s.out_rows(), s.channels);
    want.fill(-std::numeric_limits<T>::infinity());
    for_each_window(s, [&](Index out, Index in, Index) {
      for (Index c = 0; c < s.channels; ++c)
        if (x(in, c) > want(out, c)) want(out, c) = x(in, c), from(out, c) = in;
    });
    for (Index r = 0; r < s.out_rows(); ++r)
      for (Index c = 0; c < s.channels; ++c) want_dx(from(r, c), c) += dy(r, c);
    CHECK(testing::same_bits(y, want));
    CHECK(testing::relative_difference(dx, want_dx) <= 1e-6);
  }
}

TEST_CASE("ops::max_pool: of a normalised image without writing it") {
  CpuContext context({.threads = 2});
  const auto& s = shapes[0];
  const auto x = testing::normal_matrix<double>(s.in_rows(), s.channels, 1);
  const auto factors = testing::normal_matrix<double>(4, s.channels, 2);
  Matrix<double> values = factors, normalised(x.rows(), x.cols());
  const ops::BatchNormCoefficients<double> norm{values.row(0), values.row(1), values.row(2), values.row(3)};
  ops::normalise_rows_of_batch<true, double>(x, norm, normalised.view());
  Matrix<double> y(s.out_rows(), s.channels), fused(s.out_rows(), s.channels);
  Matrix<std::uint8_t> source(s.out_rows(), s.channels), fused_source(s.out_rows(), s.channels);
  ops::max_pool<double>(context, s, normalised, y.view(), source.view());
  ops::max_pool<double>(context, s, x, fused.view(), fused_source.view(), &norm);
  CHECK(testing::same_bits(y, fused));
  for (Index i = 0; i < source.size(); ++i) CHECK(source.data()[i] == fused_source.data()[i]);
}

TEST_CASE_TEMPLATE("ops::average_pool: means and their gradient", T, float, double) {
  CpuContext context({.threads = 2});
  for (auto s : shapes) {
    s.padding = 0;
    const auto x = testing::normal_matrix<T>(s.in_rows(), s.channels, 1),
               dy = testing::normal_matrix<T>(s.out_rows(), s.channels, 2);
    Matrix<T> y(s.out_rows(), s.channels), dx(s.in_rows(), s.channels);
    Matrix<double> want(s.out_rows(), s.channels), want_dx(s.in_rows(), s.channels);
    ops::average_pool<T>(context, s, x, y.view());
    ops::average_pool_backward<T>(context, s, dy, dx.view());
    for_each_window(s, [&](Index out, Index in, Index) {
      const double share = 1 / static_cast<double>(s.window * s.window);
      for (Index c = 0; c < s.channels; ++c) {
        want(out, c) += share * static_cast<double>(x(in, c));
        want_dx(in, c) += share * static_cast<double>(dy(out, c));
      }
    });
    CHECK(testing::relative_difference(y, want) <= 1e-6);
    CHECK(testing::relative_difference(dx, want_dx) <= 1e-6);
  }
}

TEST_CASE("ops::mean_pixels: mean of each image and its gradient") {
  CpuContext context({.threads = 2});
  const auto x = testing::normal_matrix<double>(12, 19, 1), dy = testing::normal_matrix<double>(3, 19, 2);
  Matrix<double> y(3, 19), dx(12, 19);
  ops::mean_pixels<double>(context, x, y.view());
  ops::mean_pixels_backward_rows<double>(dy, 4, 0, dx.view());
  for (Index i = 0; i < 3; ++i)
    for (Index c = 0; c < 19; ++c) {
      CHECK(y(i, c) == doctest::Approx((x(4 * i, c) + x(4 * i + 1, c) + x(4 * i + 2, c) + x(4 * i + 3, c)) / 4));
      for (Index p = 0; p < 4; ++p) CHECK(dx(4 * i + p, c) == dy(i, c) / 4);
    }
  Matrix<double> none(0, 19);
  CHECK_NOTHROW(ops::mean_pixels<double>(context, Matrix<double>(0, 19), none.view()));
  CHECK_THROWS_AS(ops::mean_pixels<double>(context, Matrix<double>(0, 19), y.view()), ValueError);
}

TEST_CASE("ops: pools that do not fit are refused") {
  CpuContext context({.threads = 1});
  Matrix<float> x(4, 1), y(1, 1);
  Matrix<std::uint8_t> source(1, 1);
  CHECK_THROWS_AS(ops::max_pool<float>(context, {1, 2, 2, 1, 3, 1, 0}, x, y.view(), source.view()), ShapeError);
  CHECK_THROWS_AS(ops::max_pool<float>(context, {1, 2, 2, 1, 2, 1, 2}, x, y.view(), source.view()), ValueError);
  CHECK_THROWS_AS(ops::average_pool<float>(context, {1, 2, 2, 1, 2, 1, 1}, x, y.view()), ValueError);
}
