// Rows scaled to sum to one, on the device against the processor.

#include <eosin/ops/normalise_rows.hpp>

#include "support/cuda.hpp"

#include <limits>

using namespace eosin;
using namespace eosin::testing;

TEST_CASE_TEMPLATE("normalise_rows: device and processor agree", T, float, double) {
  CudaContext gpu;
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {3, 31}, {2, 256}, {5, 257}, {1, 1000}})
    for (const bool in_place : {false, true}) {
      CAPTURE(rows);
      CAPTURE(cols);
      CAPTURE(in_place);
      const auto v = composition_matrix<T>(rows, cols, 1), dp = normal_matrix<T>(rows, cols, 2);
      CpuContext cpu({.threads = 1});
      Matrix<T> p(rows, cols), dv(rows, cols);
      Vector<T> sums(rows);
      ops::normalise_rows<T>(cpu, v, p.view(), sums.view());
      ops::normalise_rows_backward<T>(cpu, p, sums.view(), dp, dv.view());
      in_every_order([&] {
        // Rows two elements apart from each other: the views are not contiguous.
        Matrix<T, Device> wide(rows, cols + 2), wide_back(rows, cols + 2), out(rows, cols), out_back(rows, cols);
        const auto v_d = wide.view().middle_cols(1, cols), dp_d = wide_back.view().middle_cols(1, cols);
        upload<T>(gpu, v.view(), v_d);
        upload<T>(gpu, dp.view(), dp_d);
        const auto p_d = in_place ? v_d : out.view(), dv_d = in_place ? dp_d : out_back.view();
        Vector<T, Device> sums_d(rows);
        ops::normalise_rows<T>(gpu, v_d, p_d, sums_d.view());
        ops::normalise_rows_backward<T>(gpu, p_d, sums_d.view(), dp_d, dv_d);
        CHECK(relative_difference(on_host(gpu, p_d), p) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, sums_d.view()), sums) < agreement<T>);
        if (cols > 1) CHECK(relative_difference(on_host(gpu, dv_d), dv) < agreement<T>);
      });
    }
}

TEST_CASE("normalise_rows on the device: a bad row becomes NaN, its neighbours do not") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CudaContext gpu;
  for (const float bad : {0.0f, -5.0f, infinity, std::numeric_limits<float>::quiet_NaN()}) {
    Matrix<float> v(2, 3);
    v(0, 1) = bad;
    for (Index g = 0; g < 3; ++g) v(1, g) = 2;
    auto v_d = on_device(gpu, v.view());
    Vector<float, Device> sums(2);
    ops::normalise_rows<float>(gpu, v_d, v_d.view(), sums.view());
    const auto p = on_host(gpu, v_d.view());
    for (Index g = 0; g < 3; ++g) {
      CHECK(std::isnan(p(0, g)));
      CHECK(p(1, g) == doctest::Approx(1.0 / 3));
    }
  }
  Matrix<float, Device> none(0, 5), other(0, 4);
  Vector<float, Device> sums(0);
  ops::normalise_rows<float>(gpu, none, none.view(), sums.view());
  ops::normalise_rows_backward<float>(gpu, none, sums.view(), none, none.view());
  CHECK_THROWS_WITH_AS(ops::normalise_rows<float>(gpu, none, other.view(), sums.view()),
                       "normalise_rows: p is [0 x 4], expected [0 x 5]", ShapeError);
}
