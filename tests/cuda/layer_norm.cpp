// Layer normalisation on the device against the processor: every tail of a warp, affine or not, added or not.

#include <eosin/ops/layer_norm.hpp>

#include "support/cuda.hpp"

using namespace eosin;
using namespace eosin::testing;

TEST_CASE_TEMPLATE("layer_norm: device and processor agree", T, float, double) {
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {3, 31}, {9, 32}, {17, 33}, {300, 70}})
    for (const bool affine : {false, true}) {
      CAPTURE(rows);
      CAPTURE(cols);
      CAPTURE(affine);
      const auto x = normal_matrix<T>(rows, cols, 1, 3), dy = normal_matrix<T>(rows, cols, 2);
      const auto weight = affine ? normal_vector<T>(cols, 3) : Vector<T>(),
                 bias = affine ? normal_vector<T>(cols, 4) : Vector<T>();
      const bool add = affine;

      CpuContext cpu({.threads = 1});
      Matrix<T> y(rows, cols), dx = normal_matrix<T>(rows, cols, 5);
      Vector<T> mean(rows), inverse(rows), d_weight = normal_vector<T>(cols, 6), d_bias = normal_vector<T>(cols, 7);
      ops::layer_norm<T>(cpu, x, weight.view(), bias.view(), 1e-5, y.view(), mean.view(), inverse.view());
      const ops::LayerNormBackwardOptions options{.add_to_dx = add, .accumulate = add};
      const auto start_dx = dx;
      const auto start_weight = d_weight, start_bias = d_bias;
      ops::layer_norm_backward<T>(cpu, x, mean.view(), inverse.view(), weight.view(), dy, dx.view(), d_weight.view(),
                                  d_bias.view(), options);

      in_every_order([&] {
        CudaContext gpu;
        const auto x_d = on_device(gpu, x.view()), dy_d = on_device(gpu, dy.view());
        const auto weight_d = on_device(gpu, weight.view()), bias_d = on_device(gpu, bias.view());
        Matrix<T, Device> y_d(rows, cols);
        auto dx_d = on_device(gpu, start_dx.view());
        Vector<T, Device> mean_d(rows), inverse_d(rows);
        auto d_weight_d = on_device(gpu, start_weight.view()), d_bias_d = on_device(gpu, start_bias.view());
        ops::layer_norm<T>(gpu, x_d, weight_d.view(), bias_d.view(), 1e-5, y_d.view(), mean_d.view(), inverse_d.view());
        ops::layer_norm_backward<T>(gpu, x_d, mean_d.view(), inverse_d.view(), weight_d.view(), dy_d, dx_d.view(),
                                    d_weight_d.view(), d_bias_d.view(), options);
        CHECK(relative_difference(on_host(gpu, y_d.view()), y) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, mean_d.view()), mean) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, inverse_d.view()), inverse) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, d_weight_d.view()), d_weight) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, d_bias_d.view()), d_bias) < agreement<T>);
        // One column: the result is what rounding leaves of zero.
        if (cols > 1) CHECK(relative_difference(on_host(gpu, dx_d.view()), dx) < agreement<T>);
      });
    }
}

TEST_CASE("layer_norm on the device takes what has no rows or no columns") {
  CudaContext gpu;
  Matrix<float, Device> none(0, 5), empty(4, 0);
  Vector<float, Device> no_rows(0), rows(4), columns(5), d_columns(5);
  ops::layer_norm<float>(gpu, none.view(), columns.view(), columns.view(), 1e-5, none.view(), no_rows.view(),
                         no_rows.view());
  ops::layer_norm<float>(gpu, empty.view(), {}, {}, 1e-5, empty.view(), rows.view(), rows.view());
  ops::layer_norm_backward<float>(gpu, none.view(), no_rows.view(), no_rows.view(), columns.view(), none.view(),
                                  none.view(), d_columns.view(), {});
  const auto sums = on_host(gpu, d_columns.view());
  for (Index c = 0; c < 5; ++c) CHECK(sums[c] == 0);
}
