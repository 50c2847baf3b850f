// Pooling on the device against the processor: windows that overlap, padding, edges that no window reaches, ties, with
// and without a norm, ranges of channels of a wider buffer.

#include <eosin/ops/pooling.hpp>

#include "support/cuda.hpp"

using namespace eosin;
using namespace eosin::testing;

namespace {

const ops::PoolShape shapes[] = {
    {2, 7, 8, 5, 3, 2, 1}, {1, 6, 6, 33, 2, 2, 0}, {3, 5, 4, 16, 3, 1, 1}, {2, 9, 5, 40, 2, 3, 0}};

/// Small whole numbers, so that maxima tie.
template <class T>
Matrix<T> whole_numbers(Index rows, Index cols, std::uint64_t seed) {
  auto m = normal_matrix<T>(rows, cols, seed, 2);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = std::round(m.data()[i]);
  return m;
}

template <class T>
ops::BatchNormCoefficients<T> coefficients(Matrix<T>& m) {
  return {m.row(0), m.row(1), m.row(2), m.row(3)};
}
template <class T>
ops::BatchNormCoefficients<T, Device> coefficients(Matrix<T, Device>& m) {
  return {m.row(0), m.row(1), m.row(2), m.row(3)};
}

}  // namespace

TEST_CASE_TEMPLATE("ops::max_pool: device and processor agree to the bit", T, float, double) {
  for (const auto& s : shapes)
    for (const bool with_norm : {false, true}) {
      CAPTURE(s.window);
      CAPTURE(with_norm);
      const auto x = whole_numbers<T>(s.in_rows(), s.channels + 4, 1),
                 dy = normal_matrix<T>(s.out_rows(), s.channels, 2);
      auto numbers = normal_matrix<T>(4, s.channels, 3);
      CpuContext cpu({.threads = 1});
      const auto norm = coefficients(numbers);
      Matrix<T> y(s.out_rows(), s.channels), dx(s.in_rows(), s.channels);
      Matrix<std::uint8_t> source(s.out_rows(), s.channels);
      ops::max_pool<T>(cpu, s, x.view().middle_cols(1, s.channels), y.view(), source.view(),
                       with_norm ? &norm : nullptr);
      ops::max_pool_backward<T>(cpu, s, dy, source.view(), dx.view());
      in_every_order([&] {
        CudaContext gpu;
        const auto x_d = on_device(gpu, x.view()), dy_d = on_device(gpu, dy.view());
        auto numbers_d = on_device(gpu, numbers.view());
        const auto norm_d = coefficients(numbers_d);
        Matrix<T, Device> wide(s.out_rows(), s.channels + 2), dx_d(s.in_rows(), s.channels);
        Matrix<std::uint8_t, Device> source_d(s.out_rows(), s.channels);
        const auto y_d = wide.view().middle_cols(2, s.channels);
        int finished = 0;
        ops::max_pool<T>(gpu, s, x_d.view().middle_cols(1, s.channels), y_d, source_d.view(),
                         with_norm ? &norm_d : nullptr, [&](Index, MatrixView<T, Device>) { ++finished; });
        ops::max_pool_backward<T>(gpu, s, dy_d, source_d.view(), dx_d.view());
        CHECK(finished == 1);
        CHECK(same_bits(copy_of<T>(on_host(gpu, wide.view()).view().middle_cols(2, s.channels)), y));
        CHECK(same_bits(on_host(gpu, source_d.view()), source));
        CHECK(same_bits(on_host(gpu, dx_d.view()), dx));
        // A range of rows.
        if (s.in_rows() < 4) return;
        ops::max_pool_backward_rows<T>(gpu, s, dy_d.view(), source_d.view(), 3, dx_d.view().middle_rows(0, 1));
        const auto row = on_host(gpu, dx_d.view().middle_rows(0, 1));
        CHECK(same_bits(row, copy_of<T>(std::as_const(dx).view().middle_rows(3, 1))));
      });
    }
}

TEST_CASE_TEMPLATE("ops::average_pool and mean_pixels: device and processor agree", T, float, double) {
  for (auto s : shapes)
    for (const bool with_norm : {false, true}) {
      s.padding = 0;
      CAPTURE(s.window);
      CAPTURE(with_norm);
      const auto x = normal_matrix<T>(s.in_rows(), s.channels + 4, 1),
                 dy = normal_matrix<T>(s.out_rows(), s.channels, 2);
      const auto d_means = normal_matrix<T>(s.images, s.channels, 4);
      auto numbers = normal_matrix<T>(4, s.channels, 3);
      CpuContext cpu({.threads = 1});
      const auto norm = coefficients(numbers);
      const auto in = x.view().middle_cols(1, s.channels);
      Matrix<T> y(s.out_rows(), s.channels), dx(s.in_rows(), s.channels), means(s.images, s.channels),
          spread(s.in_rows(), s.channels);
      ops::average_pool<T>(cpu, s, in, y.view(), with_norm ? &norm : nullptr);
      ops::average_pool_backward<T>(cpu, s, dy, dx.view());
      ops::mean_pixels<T>(cpu, in, means.view(), with_norm ? &norm : nullptr, s.window == 3);
      ops::mean_pixels_backward_rows<T>(cpu, d_means, s.in_pixels(), 0, spread.view());
      in_every_order([&] {
        CudaContext gpu;
        const auto x_d = on_device(gpu, x.view()), dy_d = on_device(gpu, dy.view()),
                   d_means_d = on_device(gpu, d_means.view());
        auto numbers_d = on_device(gpu, numbers.view());
        const auto norm_d = coefficients(numbers_d);
        const auto in_d = x_d.view().middle_cols(1, s.channels);
        Matrix<T, Device> y_d(s.out_rows(), s.channels), dx_d(s.in_rows(), s.channels), means_d(s.images, s.channels),
            spread_d(s.in_rows(), s.channels);
        ops::average_pool<T>(gpu, s, in_d, y_d.view(), with_norm ? &norm_d : nullptr);
        ops::average_pool_backward<T>(gpu, s, dy_d, dx_d.view());
        ops::mean_pixels<T>(gpu, in_d, means_d.view(), with_norm ? &norm_d : nullptr, s.window == 3);
        ops::mean_pixels_backward_rows<T>(gpu, d_means_d, s.in_pixels(), 0, spread_d.view());
        CHECK(relative_difference(on_host(gpu, y_d.view()), y) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, dx_d.view()), dx) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, means_d.view()), means) < agreement<T>);
        CHECK(same_bits(on_host(gpu, spread_d.view()), spread));
      });
    }
}

TEST_CASE("pooling on the device takes no images and refuses what the processor refuses") {
  CudaContext gpu;
  Matrix<float, Device> none(0, 3), x(4, 1), y(4, 1);
  Matrix<std::uint8_t, Device> no_source(0, 3), source(4, 1);
  ops::max_pool<float>(gpu, {0, 4, 4, 3, 2, 2, 0}, none.view(), none.view(), no_source.view());
  ops::max_pool_backward<float>(gpu, {0, 4, 4, 3, 2, 2, 0}, none.view(), no_source.view(), none.view());
  ops::average_pool<float>(gpu, {0, 4, 4, 3, 2, 2, 0}, none.view(), none.view());
  ops::average_pool_backward<float>(gpu, {0, 4, 4, 3, 2, 2, 0}, none.view(), none.view());
  ops::mean_pixels<float>(gpu, none.view(), none.view());
  gpu.synchronise();
  CHECK_THROWS_AS(ops::max_pool<float>(gpu, {1, 2, 2, 1, 3, 1, 0}, x, y.view(), source.view()), ShapeError);
  CHECK_THROWS_AS(ops::max_pool<float>(gpu, {1, 2, 2, 1, 2, 1, 2}, x, y.view(), source.view()), ValueError);
  CHECK_THROWS_AS(ops::average_pool<float>(gpu, {1, 2, 2, 1, 2, 1, 1}, x, y.view()), ValueError);
}
