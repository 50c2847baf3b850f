#include <eosin/ops/gemm.hpp>

#include "support/gemm_reference.hpp"

#include <doctest/doctest.h>

#include <atomic>

using namespace eosin;

namespace {

/// Counts calls and computes by the library's own product; its bf16 product can be switched off.
class RecordingBackend final : public GemmBackend {
 public:
  explicit RecordingBackend(bool has_bf16) : has_bf16_(has_bf16) {}
  const char* name() const override { return "recording"; }
  void gemm(Transpose ta, Transpose tb, float alpha, MatrixView<const float> a, MatrixView<const float> b, float beta,
            MatrixView<float> c) const override {
    ++full;
    ops::detail::packed_product(ta, tb, alpha, a, b, beta, c);
  }
  void gemm(Transpose ta, Transpose tb, double alpha, MatrixView<const double> a, MatrixView<const double> b,
            double beta, MatrixView<double> c) const override {
    ++full;
    ops::detail::packed_product(ta, tb, alpha, a, b, beta, c);
  }
  bool gemm(Transpose ta, Transpose tb, MatrixView<const BFloat16> a, MatrixView<const BFloat16> b, float beta,
            MatrixView<float> c) const override {
    ++half;
    if (!has_bf16_) return false;
    CpuContext context({.threads = 1});
    ops::detail::packed_product<float>(ta, tb, 1, ops::detail::widened(context, a), ops::detail::widened(context, b), beta, c);
    return true;
  }

  mutable std::atomic<int> full{0}, half{0};

 private:
  bool has_bf16_;
};

}  // namespace

TEST_CASE_TEMPLATE("ops::gemm: shapes, transposes, factors, strides and misaligned starts", T, float, double) {
  CpuContext context({.threads = 2});
  testing::check_gemm<T>(context, {0, 1, 5, 34});
}

TEST_CASE("ops::gemm: several tiles, and the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  CHECK(testing::gemm_error<float>(three, {.m = 530, .n = 1, .k = 9}) <= 12);
  CHECK(testing::gemm_error<float>(three, {.m = 3, .n = 1100, .k = 9, .tb = Transpose::yes, .gap = 1}) <= 12);
  CHECK(testing::gemm_error<float>(three, {.m = 600, .n = 520, .k = 0}) == 0);
  CHECK(testing::gemm_error<float>(three, {.m = 600, .n = 520, .k = 0, .ta = Transpose::yes, .beta = 0.5}) <= 1);
  const auto a = testing::normal_matrix<float>(37, 700, 1), b = testing::normal_matrix<float>(37, 530, 2);
  Matrix<float> first(700, 530), second(700, 530);
  ops::gemm(one, Transpose::yes, Transpose::no, 1, a, b, 0, first.view());
  ops::gemm(three, Transpose::yes, Transpose::no, 1, a, b, 0, second.view());
  CHECK(testing::same_bits(first, second));
}

TEST_CASE("ops::gemm: bf16 mode multiplies rounded operands in float") {
  CpuContext context({.threads = 2, .math_mode = MathMode::bf16});
  testing::check_gemm<float>(context, {0, 1, 5, 34}, true);
  // Doubles are not rounded.
  CHECK(testing::gemm_error<double>(context, {.m = 20, .n = 20, .k = 20}) <= 23);
  // And rounding makes the difference that bfloat16's 8 bits make.
  CHECK(testing::gemm_error<float>(context, {.m = 20, .n = 20, .k = 20}) > 1000);
}

TEST_CASE("ops::gemm: a backend takes all products but the tiny ones") {
  const RecordingBackend backend(true), without(false);
  CpuContext full({.threads = 2, .gemm = &backend});
  testing::check_gemm<float>(full, {1, 40});
  testing::check_gemm<double>(full, {1, 40});
  CHECK(backend.full > 0);
  CHECK(backend.half == 0);
  backend.full = 0;
  CHECK(testing::gemm_error<float>(full, {.m = 16, .n = 16, .k = 16}) <= 19);
  CHECK(backend.full == 0);

  CpuContext half({.threads = 2, .math_mode = MathMode::bf16, .gemm = &backend});
  CHECK(testing::gemm_error<float>(half, {.m = 40, .n = 40, .k = 40, .alpha = 3, .beta = 1}, true) <= 43);
  CHECK(backend.half == 1);
  CHECK(backend.full == 0);
  // The bf16 product knows beta 0 and 1 alone; the rest is done in float.
  CHECK(testing::gemm_error<float>(half, {.m = 40, .n = 40, .k = 40, .beta = 0.5}, true) <= 43);
  CHECK(backend.half == 1);
  CHECK(backend.full == 1);

  CpuContext fallback({.threads = 2, .math_mode = MathMode::bf16, .gemm = &without});
  CHECK(testing::gemm_error<float>(fallback, {.m = 40, .n = 40, .k = 40, .alpha = 3, .beta = 1}, true) <= 43);
  CHECK(without.half == 1);
  CHECK(without.full == 1);
}

TEST_CASE("ops::gemm: the epilogue sees every element once, finished") {
  for (const MathMode mode : {MathMode::full, MathMode::bf16}) {
    CpuContext context({.threads = 3, .math_mode = mode});
    for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {70, 65}, {1500, 1100}, {2100, 1300}}) {
      CAPTURE(rows);
      const auto a = testing::normal_matrix<float>(rows, 5, 1), b = testing::normal_matrix<float>(5, cols, 2);
      Matrix<float> plain(rows, cols), c(rows, cols);
      ops::gemm(context, Transpose::no, Transpose::no, 1, a, b, 0, plain.view());
      ops::gemm(context, Transpose::no, Transpose::no, 1, a, b, 0, c.view(),
                [&](Index row, Index height, Index col, Index width) {
                  for (Index r = row; r < row + height; ++r)
                    for (Index k = col; k < col + width; ++k) c(r, k) = 2 * c(r, k) + 1;
                });
      for (Index i = 0; i < c.size(); ++i) REQUIRE(c.data()[i] == 2 * plain.data()[i] + 1);
    }
  }
}

TEST_CASE("ops::gemm: shapes that do not fit are named") {
  CpuContext context({.threads = 1});
  Matrix<float> a(3, 4), b(4, 5), c(3, 5);
  const auto product = [&](Transpose ta, Transpose tb, MatrixView<float> out) {
    ops::gemm(context, ta, tb, 1, a, b, 0, out);
  };
  CHECK_NOTHROW(product(Transpose::no, Transpose::no, c.view()));
  CHECK_THROWS_WITH_AS(product(Transpose::no, Transpose::yes, c.view()),
                       "gemm: op(B) has 5 rows, expected 4 (columns of op(A))", ShapeError);
  CHECK_THROWS_WITH_AS(product(Transpose::no, Transpose::no, c.view().middle_rows(0, 2)),
                       "gemm: C has 2 rows, expected 3 (rows of op(A))", ShapeError);
  CHECK_THROWS_WITH_AS(product(Transpose::no, Transpose::no, c.view().middle_cols(0, 4)),
                       "gemm: C has 4 columns, expected 5 (columns of op(B))", ShapeError);
}
