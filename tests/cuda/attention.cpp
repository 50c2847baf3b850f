// Attention and dropout on the device against the processor: sentences shorter and longer than a tile, of one row and
// of none; heads narrower and wider than a tile; views of one wide matrix, at multiples of 16 bytes and not.

#include <eosin/ops/attention.hpp>
#include <eosin/ops/dropout.hpp>

#include "support/cuda.hpp"

#include <limits>
#include <vector>

using namespace eosin;
using namespace eosin::testing;

namespace {

/// Both passes; q, k, v are columns of one matrix, and so are their gradients, `margin` columns from its left end.
template <class T>
struct Problem {
  Index heads, width, margin;
  std::vector<Index> offsets;
  Matrix<T> qkv, d_out;

  Problem(Index heads_, Index width_, std::vector<Index> offsets_, Index margin_, double spread = 1)
      : heads(heads_),
        width(width_),
        margin(margin_),
        offsets(std::move(offsets_)),
        qkv(normal_matrix<T>(rows(), 3 * cols() + margin, 1, spread)),
        d_out(normal_matrix<T>(rows(), cols(), 2)) {}

  Index rows() const { return offsets.back(); }
  Index cols() const { return heads * width; }
  T scale() const { return static_cast<T>(1 / std::sqrt(static_cast<double>(std::max<Index>(1, width)))); }
  template <class View>
  View part(View whole, Index which) const {
    return whole.middle_cols(margin + which * cols(), cols());
  }
  template <class Context, class Space>
  void run(Context& context, MatrixView<const T, Space> x, MatrixView<const T, Space> upstream,
           MatrixView<T, Space> out, MatrixView<T, Space> log_sums, MatrixView<T, Space> dx) const {
    ops::attention<T>(context, part(x, 0), part(x, 1), part(x, 2), offsets, heads, scale(), out, log_sums);
    ops::attention_backward<T>(context, part(x, 0), part(x, 1), part(x, 2), offsets, heads, scale(), out, log_sums,
                               upstream, part(dx, 0), part(dx, 1), part(dx, 2));
  }
};

struct Case {
  Index heads, width, margin;
  std::vector<Index> offsets;
};

template <class T>
void compare(const Problem<T>& problem, double slack = 1) {
  const Index n = problem.rows();
  CpuContext cpu({.threads = 1});
  Matrix<T> out(n, problem.cols()), log_sums(problem.heads, n), dx(n, problem.qkv.cols());
  problem.run(cpu, problem.qkv.view(), problem.d_out.view(), out.view(), log_sums.view(), dx.view());
  in_every_order([&] {
    CudaContext gpu;
    const auto qkv = on_device(gpu, problem.qkv.view()), d_out = on_device(gpu, problem.d_out.view());
    Matrix<T, Device> out_d(n, problem.cols()), log_sums_d(problem.heads, n), dx_d(n, problem.qkv.cols());
    problem.run(gpu, qkv.view(), d_out.view(), out_d.view(), log_sums_d.view(), dx_d.view());
    const auto gradient = on_host(gpu, dx_d.view());
    CHECK(relative_difference(on_host(gpu, out_d.view()), out) < slack * agreement<T>);
    CHECK(relative_difference(on_host(gpu, log_sums_d.view()), log_sums) < slack * agreement<T>);
    for (Index which = 0; which < 3; ++which) {
      CAPTURE(which);
      CHECK(relative_difference(copy_of<T>(problem.part(gradient.view(), which)),
                                copy_of<T>(problem.part(std::as_const(dx).view(), which))) < slack * agreement<T>);
    }
    for (Index r = 0; r < n; ++r)
      for (Index c = 0; c < problem.margin; ++c) REQUIRE(gradient(r, c) == 0);
  });
}

}  // namespace

TEST_CASE_TEMPLATE("attention: device and processor agree", T, float, double) {
  for (const auto& [heads, width, margin, offsets] :
       {Case{2, 5, 0, {0, 3, 3, 12}}, Case{1, 8, 1, {0, 0, 64, 64}}, Case{3, 4, 4, {0, 65}},
        Case{2, 16, 0, {0, 63, 64, 193, 200}}, Case{1, 64, 0, {0, 70}}, Case{1, 132, 4, {0, 70}},
        Case{1, 77, 3, {0, 9, 20}}}) {
    if (!affordable(heads * width * offsets.back())) continue;
    CAPTURE(heads);
    CAPTURE(width);
    CAPTURE(offsets.size());
    compare(Problem<T>(heads, width, offsets, margin));
  }
}

TEST_CASE_TEMPLATE("attention: more sentences than arguments of a kernel hold", T, float, double) {
  if (!affordable(230 * 64)) return;
  std::vector<Index> offsets{0};
  for (Index s = 0; s < 230; ++s) offsets.push_back(offsets.back() + s % 4);
  compare(Problem<T>(1, 2, offsets, 0), 4);
}

TEST_CASE("attention on the device: scores whose exponentials overflow, and NaN") {
  if (!affordable(150 * 150)) return;
  // Their exponentials carry the rounding of scores of some thousands.
  compare(Problem<float>(1, 8, {0, 150}, 0, 30), 300);
  compare(Problem<double>(1, 8, {0, 150}, 0, 30), 300);
  Problem<float> problem(1, 4, {0, 130, 140}, 0);
  problem.qkv(100, 4) = std::numeric_limits<float>::quiet_NaN();
  CudaContext gpu;
  const auto qkv = on_device(gpu, problem.qkv.view()), d_out = on_device(gpu, problem.d_out.view());
  Matrix<float, Device> out(140, 4), log_sums(1, 140), dx(140, 12);
  problem.run(gpu, qkv.view(), d_out.view(), out.view(), log_sums.view(), dx.view());
  const auto result = on_host(gpu, out.view());
  for (Index r = 0; r < 140; ++r) CHECK(std::isnan(result(r, 0)) == (r < 130));
}

TEST_CASE("attention on the device: a sentence gives the same bits alone as among others") {
  const Problem<float> problem(2, 8, {0, 20, 150, 163}, 0);
  CudaContext gpu;
  const auto qkv = on_device(gpu, problem.qkv.view()), d_out = on_device(gpu, problem.d_out.view());
  Matrix<float, Device> out(163, 16), log_sums(2, 163), dx(163, 48);
  problem.run(gpu, qkv.view(), d_out.view(), out.view(), log_sums.view(), dx.view());
  Problem<float> alone = problem;
  alone.offsets = {0, 130};
  Matrix<float, Device> out_alone(130, 16), log_sums_alone(2, 130), dx_alone(130, 48);
  alone.run(gpu, qkv.view().middle_rows(20, 130), d_out.view().middle_rows(20, 130), out_alone.view(),
            log_sums_alone.view(), dx_alone.view());
  const auto together = on_host(gpu, out.view()), apart = on_host(gpu, out_alone.view());
  CHECK(same_bits(copy_of<float>(together.view().middle_rows(20, 130)), apart));
  const auto gradient = on_host(gpu, dx.view()), gradient_apart = on_host(gpu, dx_alone.view());
  CHECK(same_bits(copy_of<float>(gradient.view().middle_rows(20, 130)), gradient_apart));
}

TEST_CASE("attention on the device: no rows, heads without columns, memory, errors") {
  CudaContext gpu;
  compare(Problem<float>(2, 3, {0, 0}, 0));
  compare(Problem<double>(2, 0, {0, 70}, 0));
  const Problem<float> problem(1, 4, {0, 70}, 0);
  const auto qkv = on_device(gpu, problem.qkv.view()), d_out = on_device(gpu, problem.d_out.view());
  Matrix<float, Device> out(70, 4), log_sums(1, 70), dx(70, 12);
  problem.run(gpu, qkv.view(), d_out.view(), out.view(), log_sums.view(), dx.view());
  const Index held = gpu.workspace().capacity();
  problem.run(gpu, qkv.view(), d_out.view(), out.view(), log_sums.view(), dx.view());
  CHECK(gpu.workspace().capacity() == held);
  const auto forward = [&](const std::vector<Index>& offsets, Index heads) {
    ops::attention<float>(gpu, d_out.view(), d_out.view(), d_out.view(), offsets, heads, 1, out.view(),
                          log_sums.view());
  };
  CHECK_THROWS_WITH_AS(forward({0, 70}, 3), "attention: q has 4 columns, which 3 heads do not divide", ValueError);
  CHECK_THROWS_AS(forward({0, 70}, 2), ShapeError);
  CHECK_THROWS_AS(forward({0, 69}, 1), ValueError);
  CHECK_THROWS_AS(forward({0, 40, 30, 70}, 1), ValueError);
}

TEST_CASE_TEMPLATE("dropout: device and processor drop the same elements", T, float, double) {
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {7, 3}, {3, 4}, {40, 33}, {0, 5}, {5, 0}}) {
    CAPTURE(cols);
    const auto x = normal_matrix<T>(rows, cols + 2, 1);
    const auto part = x.view().middle_cols(1, cols);
    for (const ops::DropoutKey& key : {ops::DropoutKey{.rate = 0.3, .seed = 4, .stream = 7}, ops::DropoutKey{}}) {
      CpuContext cpu({.threads = 1});
      Matrix<T> y(rows, cols);
      ops::dropout<T>(cpu, key, part, y.view());
      in_every_order([&] {
        CudaContext gpu;
        auto x_d = on_device(gpu, x.view());
        Matrix<T, Device> y_d(rows, cols);
        const auto part_d = x_d.view().middle_cols(1, cols);
        ops::dropout<T>(gpu, key, part_d, y_d.view());
        CHECK(same_bits(on_host(gpu, y_d.view()), y));
        ops::dropout<T>(gpu, key, part_d, part_d);
        const auto in_place = on_host(gpu, x_d.view());
        CHECK(same_bits(copy_of<T>(in_place.view().middle_cols(1, cols)), y));
      });
    }
  }
  CudaContext gpu;
  Matrix<T, Device> x(2, 3), wide(2, 4);
  CHECK_THROWS_AS(ops::dropout<T>(gpu, {.rate = 1}, x.view(), x.view()), ValueError);
  CHECK_THROWS_AS(ops::dropout<T>(gpu, {}, x.view(), wide.view()), ShapeError);
}
