#include <eosin/ops/gemm_eigen.hpp>
#include <eosin/ops/packed_product.hpp>

#include "support/arrays.hpp"
#include "support/gemm_reference.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;

namespace {

/// As a backend every tile that gemm makes comes here, not only those that no other form takes.
class PackedBackend final : public GemmBackend {
 public:
  const char* name() const override { return "packed"; }
  void gemm(Transpose ta, Transpose tb, float alpha, MatrixView<const float> a, MatrixView<const float> b, float beta,
            MatrixView<float> c) const override {
    ops::detail::packed_product<float>(ta, tb, alpha, a, b, beta, c);
  }
  void gemm(Transpose ta, Transpose tb, double alpha, MatrixView<const double> a, MatrixView<const double> b,
            double beta, MatrixView<double> c) const override {
    ops::detail::packed_product<double>(ta, tb, alpha, a, b, beta, c);
  }
};

}  // namespace

TEST_CASE_TEMPLATE("packed_product: sizes around those of tiles and blocks, all transposes", T, float, double) {
  const PackedBackend backend;
  CpuContext context({.threads = 1, .gemm = &backend});
  const Index depth = ops::detail::panel_depth, tile = ops::detail::panel_tile_rows;
  for (const Transpose ta : {Transpose::no, Transpose::yes})
    for (const Transpose tb : {Transpose::no, Transpose::yes})
      for (const testing::GemmCase& sizes : std::vector<testing::GemmCase>{{.m = tile, .n = 32, .k = 16},
                                                                           {.m = tile + 1, .n = 33, .k = 40},
                                                                           {.m = 2, .n = 300, .k = 17},
                                                                           {.m = 300, .n = 3, .k = 31, .gap = 2},
                                                                           {.m = 40, .n = 50, .k = depth + 1, .beta = 2},
                                                                           {.m = 25, .n = 31, .k = 2 * depth, .alpha = 3},
                                                                           {.m = 17, .n = 15, .k = 33, .offset = 1},
                                                                           {.m = 0, .n = 5, .k = 5},
                                                                           {.m = 5, .n = 5, .k = 0, .beta = 2}}) {
        auto g = sizes;
        g.ta = ta;
        g.tb = tb;
        CAPTURE(g.m);
        CAPTURE(g.n);
        CAPTURE(g.k);
        CHECK(testing::gemm_error<T>(context, g) <= static_cast<double>(g.k) + 3);
      }
}

TEST_CASE("packed_product: blocks of rows and columns that follow each other") {
  const auto a = testing::normal_matrix<float>(ops::detail::packed_rows + 13, 300, 1);
  const auto b = testing::normal_matrix<float>(300, ops::detail::packed_cols + 37, 2);
  Matrix<float> c(a.rows(), b.cols()), other(a.rows(), b.cols());
  ops::detail::packed_product<float>(Transpose::no, Transpose::no, 1, a, b, 0, c.view());
  const ops::EigenGemm eigen;
  eigen.gemm(Transpose::no, Transpose::no, 1.0f, a, b, 0.0f, other.view());
  CHECK(testing::relative_difference(c, other) < 1e-5);
}

TEST_CASE("packed_product: an element does not depend on where its matrix is cut") {
  const auto a = testing::normal_matrix<float>(70, 600, 1), b = testing::normal_matrix<float>(600, 90, 2);
  Matrix<float> whole(70, 90), parts(70, 90);
  ops::detail::packed_product<float>(Transpose::no, Transpose::no, 1, a, b, 0, whole.view());
  for (const auto& [begin, end] : {std::pair<Index, Index>{0, 7}, {7, 70}})
    ops::detail::packed_product<float>(Transpose::no, Transpose::no, 1, a.view().middle_rows(begin, end - begin), b, 0,
                                       parts.view().middle_rows(begin, end - begin));
  CHECK(testing::same_bits(whole, parts));
}

TEST_CASE("ops::EigenGemm: shapes, transposes, factors, strides and misaligned starts") {
  const ops::EigenGemm backend;
  CpuContext context({.threads = 2, .gemm = &backend});
  testing::check_gemm<float>(context, {1, 5, 34});
  testing::check_gemm<double>(context, {1, 34});
}
