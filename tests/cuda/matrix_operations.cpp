// Products, reductions and elementwise operations on the device against the processor: strided views, tails,
// accumulation.

#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/gelu.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/linear_gelu.hpp>
#include <eosin/ops/reduce.hpp>
#include <eosin/ops/softmax.hpp>

#include "support/cuda.hpp"

#include <utility>

using namespace eosin;
using namespace eosin::testing;

namespace {

const std::pair<Index, Index> shapes[] = {{1, 1}, {3, 31}, {9, 32}, {17, 33}, {600, 40}};

/// A matrix inside a wider one, so that rows are not contiguous; and the wider one, whose rest must stay as it is.
template <class T>
struct Inside {
  Matrix<T> around;
  Matrix<T, Device> device;
  Inside(CudaContext& gpu, Index rows, Index cols, std::uint64_t seed)
      : around(normal_matrix<T>(rows, cols + 5, seed)), device(on_device(gpu, around.view())) {}
  MatrixView<T> host() { return around.view().middle_cols(3, around.cols() - 5); }
  MatrixView<T, Device> on_gpu() { return device.view().middle_cols(3, around.cols() - 5); }
  double difference(CudaContext& gpu) { return relative_difference(on_host(gpu, device.view()), around); }
};

}  // namespace

TEST_CASE_TEMPLATE("gemm: device and processor agree on every transpose, stride and factor", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 1});
  for (const auto ta : {Transpose::no, Transpose::yes})
    for (const auto tb : {Transpose::no, Transpose::yes})
      for (const T beta : {T(0), T(1), T(-0.5)}) {
        const Index m = 7, n = 5, k = 11;
        Inside<T> a(gpu, ta == Transpose::no ? m : k, ta == Transpose::no ? k : m, 1);
        Inside<T> b(gpu, tb == Transpose::no ? k : n, tb == Transpose::no ? n : k, 2);
        Inside<T> c(gpu, m, n, 3);
        ops::gemm<T>(cpu, ta, tb, T(1.5), a.host(), b.host(), beta, c.host());
        ops::gemm<T>(gpu, ta, tb, T(1.5), a.on_gpu(), b.on_gpu(), beta, c.on_gpu());
        CHECK(c.difference(gpu) < agreement<T>);
      }
  Matrix<T, Device> a(3, 0), b(0, 4), c(3, 4), none(0, 4);
  ops::gemm<T>(gpu, Transpose::no, Transpose::no, T(1), a.view(), b.view(), T(0), c.view());
  CHECK(on_host(gpu, c.view())(2, 3) == 0);
  ops::gemm<T>(gpu, Transpose::no, Transpose::no, T(1), Matrix<T, Device>(0, 3).view(), c.view().middle_rows(0, 3),
               T(0), none.view());
  CHECK_THROWS_AS(ops::gemm<T>(gpu, Transpose::no, Transpose::no, T(1), c.view(), c.view(), T(0), none.view()),
                  ShapeError);
}

TEST_CASE("gemm in tf32 and bf16 rounds the operands") {
  CpuContext cpu({.threads = 1});
  const auto a = normal_matrix<float>(20, 300, 1), b = normal_matrix<float>(300, 10, 2);
  Matrix<float> exact(20, 10);
  ops::gemm<float>(cpu, Transpose::no, Transpose::no, 1, a, b, 0, exact.view());
  for (const auto& [mode, error] : {std::pair{MathMode::tf32, 1e-3}, {MathMode::bf16, 1e-2}}) {
    CudaContext gpu({.math_mode = mode});
    const auto a_d = on_device(gpu, a.view()), b_d = on_device(gpu, b.view());
    Matrix<float, Device> c(20, 10);
    ops::gemm<float>(gpu, Transpose::no, Transpose::no, 1, a_d.view(), b_d.view(), 0, c.view());
    const double difference = relative_difference(on_host(gpu, c.view()), exact);
    CHECK(difference < error);
    CHECK(difference > error / 100);
  }
}

TEST_CASE_TEMPLATE("sums, biases and elementwise operations agree", T, float, double) {
  for (const auto& [rows, cols] : shapes) {
    CAPTURE(rows);
    CAPTURE(cols);
    in_every_order([&, rows = rows, cols = cols] {
      CudaContext gpu;
      CpuContext cpu({.threads = 1});
      Inside<T> x(gpu, rows, cols, 1), y(gpu, rows, cols, 2);
      auto sums = normal_vector<T>(cols, 3);
      auto sums_d = on_device(gpu, sums.view());
      for (const bool accumulate : {true, false}) {
        ops::column_sums<T>(cpu, x.host(), sums.view(), T(0.5), accumulate);
        ops::column_sums<T>(gpu, x.on_gpu(), sums_d.view(), T(0.5), accumulate);
        CHECK(relative_difference(on_host(gpu, sums_d.view()), sums) < agreement<T>);
      }
      ops::add_bias<T>(cpu, sums.view(), y.host());
      ops::add_bias<T>(gpu, sums_d.view(), y.on_gpu());
      ops::multiply<T>(cpu, x.host(), y.host());
      ops::multiply<T>(gpu, x.on_gpu(), y.on_gpu());
      ops::add<T>(cpu, x.host(), y.host());
      ops::add<T>(gpu, x.on_gpu(), y.on_gpu());
      CHECK(y.difference(gpu) < agreement<T>);
      ops::copy<T>(cpu, x.host(), y.host());
      ops::copy<T>(gpu, x.on_gpu(), y.on_gpu());
      CHECK(y.difference(gpu) == 0);
      Vector<T, Device> total(1);
      ops::sum_elements<T>(gpu, sums_d.view(), total.view());
      T expected = 0;
      for (const T s : sums) expected += s;
      CHECK(on_host(gpu, total.view())[0] == doctest::Approx(expected).epsilon(1e-4));
    });
  }
  CudaContext gpu;
  Vector<T, Device> sums(4);
  ops::column_sums<T>(gpu, Matrix<T, Device>(0, 4).view(), sums.view());
  CHECK(on_host(gpu, sums.view())[3] == 0);
}

TEST_CASE_TEMPLATE("GELU, with bias, with a product, and its ways back agree", T, float, double) {
  for (const auto& [rows, cols] : shapes)
    in_every_order([&, rows = rows, cols = cols] {
      CudaContext gpu;
      CpuContext cpu({.threads = 1});
      for (const auto form : {ops::GeluForm::exact, ops::GeluForm::tanh}) {
        Inside<T> x(gpu, rows, cols, 1), dy(gpu, rows, cols, 2), out(gpu, rows, cols, 3);
        ops::gelu<T>(cpu, x.host(), out.host(), form);
        ops::gelu<T>(gpu, x.on_gpu(), out.on_gpu(), form);
        CHECK(out.difference(gpu) < agreement<T>);
        ops::gelu_backward<T>(cpu, x.host(), dy.host(), dy.host(), form);
        ops::gelu_backward<T>(gpu, x.on_gpu(), dy.on_gpu(), dy.on_gpu(), form);
        CHECK(dy.difference(gpu) < agreement<T>);
      }
      const Index inputs = 6;
      const auto bias = normal_vector<T>(cols, 4);
      const auto bias_d = on_device(gpu, bias.view());
      Inside<T> x(gpu, rows, inputs, 5), weight(gpu, cols, inputs, 6), pre(gpu, rows, cols, 7), y(gpu, rows, cols, 8);
      ops::bias_gelu<T>(cpu, pre.host(), bias.view(), y.host());
      ops::bias_gelu<T>(gpu, pre.on_gpu(), bias_d.view(), y.on_gpu());
      CHECK(pre.difference(gpu) < agreement<T>);
      CHECK(y.difference(gpu) < agreement<T>);
      ops::linear_gelu<T>(cpu, x.host(), weight.host(), bias.view(), pre.host(), y.host());
      ops::linear_gelu<T>(gpu, x.on_gpu(), weight.on_gpu(), bias_d.view(), pre.on_gpu(), y.on_gpu());
      CHECK(pre.difference(gpu) < agreement<T>);
      CHECK(y.difference(gpu) < agreement<T>);
      auto sums = normal_vector<T>(cols, 9);
      auto sums_d = on_device(gpu, sums.view());
      Inside<T> dz(gpu, rows, 3, 10), next(gpu, 3, cols, 11);
      ops::product_gelu_backward<T>(cpu, dz.host(), next.host(), pre.host(), y.host(), sums.view(), true);
      ops::product_gelu_backward<T>(gpu, dz.on_gpu(), next.on_gpu(), pre.on_gpu(), y.on_gpu(), sums_d.view(), true);
      CHECK(y.difference(gpu) < agreement<T>);
      CHECK(relative_difference(on_host(gpu, sums_d.view()), sums) < agreement<T>);
      ops::gelu_backward_sums<T>(cpu, pre.host(), y.host(), {}, false);
      ops::gelu_backward_sums<T>(gpu, pre.on_gpu(), y.on_gpu(), {}, false);
      CHECK(y.difference(gpu) < agreement<T>);
    });
}

TEST_CASE_TEMPLATE("softmax and its ways back agree", T, float, double) {
  for (const auto& [rows, cols] : shapes)
    in_every_order([&, rows = rows, cols = cols] {
      CudaContext gpu;
      CpuContext cpu({.threads = 1});
      Inside<T> logits(gpu, rows, cols, 1), p(gpu, rows, cols, 2), d(gpu, rows, cols, 3), back(gpu, rows, cols, 4);
      for (Index c = 0; c < cols; ++c) logits.host()(0, c) += T(500);  // no overflow
      upload<T>(gpu, logits.around.view(), logits.device.view());
      ops::softmax_rows<T>(cpu, logits.host(), p.host());
      ops::softmax_rows<T>(gpu, logits.on_gpu(), p.on_gpu());
      CHECK(p.difference(gpu) < agreement<T>);
      ops::softmax_rows_backward<T>(cpu, p.host(), d.host(), back.host());
      ops::softmax_rows_backward<T>(gpu, p.on_gpu(), d.on_gpu(), back.on_gpu());
      CHECK(back.difference(gpu) < agreement<T>);
      const auto d_pooled = normal_vector<T>(cols, 5);
      const auto d_pooled_d = on_device(gpu, d_pooled.view());
      ops::softmax_mean_backward<T>(cpu, p.host(), d_pooled.view(), back.host());
      ops::softmax_mean_backward<T>(gpu, p.on_gpu(), d_pooled_d.view(), back.on_gpu());
      CHECK(back.difference(gpu) < agreement<T>);
    });
}
