#include <eosin/ops/few_rows_product.hpp>
#include <eosin/ops/gemm.hpp>

#include "support/gemm_reference.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;

namespace {

constexpr auto plain = Transpose::no, transposed = Transpose::yes;

bool takes(const testing::GemmCase& g) {
  return ops::detail::is_few_rows_product(g.ta, g.tb, g.m, g.n, g.k);
}

/// Errors of a sum of k products, each and the blocks rounded once.
double bound(const testing::GemmCase& g) {
  return static_cast<double>(g.k) + 3;
}

}  // namespace

TEST_CASE_TEMPLATE("few_rows_product: the three products of a layer, with every tail", T, float, double) {
  CpuContext context({.threads = 3});
  const Index depth = ops::detail::panel_depth;
  for (const Index rows : {8, 12, 31, 64, 65, 131, 256})
    for (const Index gap : {0, 3}) {
      CAPTURE(rows);
      CAPTURE(gap);
      for (const testing::GemmCase& g : std::vector<testing::GemmCase>{
               {.m = rows, .n = 259, .k = 70, .tb = transposed, .gap = gap, .offset = gap},
               {.m = rows, .n = 67, .k = depth + 5, .tb = transposed, .alpha = 0.5, .beta = 1, .gap = gap},
               {.m = rows, .n = 257, .k = 66, .gap = gap, .offset = gap},
               {.m = rows, .n = 71, .k = 2 * depth + 1, .alpha = -2, .beta = 0.5, .gap = gap},
               {.m = 261, .n = 75, .k = rows, .ta = transposed, .gap = gap, .offset = gap},
               {.m = 73, .n = 259, .k = rows, .ta = transposed, .alpha = 3, .beta = 1, .gap = gap}}) {
        CAPTURE(g.n);
        CAPTURE(g.k);
        if (rows >= 31) REQUIRE(takes(g));
        CHECK(testing::gemm_error<T>(context, g) <= bound(g));
      }
    }
}

TEST_CASE("few_rows_product: rows a multiple of 4 KiB apart are packed, with the same bits") {
  CpuContext context({.threads = 2});
  const auto x = testing::normal_matrix<float>(40, 1000, 1), w = testing::normal_matrix<float>(90, 1000, 2);
  Matrix<float> far_x(40, 1024), far_w(90, 1024), near(40, 90), far(40, 90);
  for (Index r = 0; r < x.rows(); ++r) std::copy_n(x.row(r).data(), x.cols(), far_x.row(r).data());
  for (Index r = 0; r < w.rows(); ++r) std::copy_n(w.row(r).data(), w.cols(), far_w.row(r).data());
  ops::gemm<float>(context, plain, transposed, 1, x, w, 0, near.view());
  ops::gemm<float>(context, plain, transposed, 1, far_x.view().middle_cols(0, 1000), far_w.view().middle_cols(0, 1000),
                   0, far.view());
  CHECK(testing::same_bits(near, far));
}

TEST_CASE("few_rows_product: the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  for (const testing::GemmCase& g : std::vector<testing::GemmCase>{
           {.m = 100, .n = 300, .k = 500, .tb = transposed},
           {.m = 100, .n = 300, .k = 500},
           {.m = 300, .n = 500, .k = 100, .ta = transposed}}) {
    const auto a = testing::normal_matrix<float>(g.ta == plain ? g.m : g.k, g.ta == plain ? g.k : g.m, 1);
    const auto b = testing::normal_matrix<float>(g.tb == plain ? g.k : g.n, g.tb == plain ? g.n : g.k, 2);
    Matrix<float> first(g.m, g.n), second(g.m, g.n);
    REQUIRE(takes(g));
    ops::gemm<float>(one, g.ta, g.tb, 1, a, b, 0, first.view());
    ops::gemm<float>(three, g.ta, g.tb, 1, a, b, 0, second.view());
    CHECK(testing::same_bits(first, second));
  }
}

TEST_CASE("few_rows_product: the epilogue sees every element once, finished") {
  CpuContext context({.threads = 3});
  for (const Transpose tb : {plain, transposed}) {
    const auto a = testing::normal_matrix<float>(50, 300, 1);
    const auto b = tb == plain ? testing::normal_matrix<float>(300, 200, 2) : testing::normal_matrix<float>(200, 300, 2);
    Matrix<float> expected(50, 200), c(50, 200);
    ops::gemm<float>(context, plain, tb, 1, a, b, 0, expected.view());
    ops::gemm<float>(context, plain, tb, 1, a, b, 0, c.view(), [&](Index row, Index height, Index col, Index width) {
      for (Index r = row; r < row + height; ++r)
        for (Index k = col; k < col + width; ++k) c(r, k) = 2 * c(r, k) + 1;
    });
    for (Index i = 0; i < c.size(); ++i) REQUIRE(c.data()[i] == 2 * expected.data()[i] + 1);
  }
}
