#include <eosin/ops/gemm_cblas.hpp>

#include "support/gemm_reference.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::CblasGemm: products", T, float, double) {
  const ops::CblasGemm backend;
  CpuContext context({.threads = 2, .gemm = &backend});
  testing::check_gemm<T>(context, {1, 17, 70});
}

TEST_CASE("ops::CblasGemm: bf16 mode falls back to float products of rounded operands") {
  const ops::CblasGemm backend;
  CpuContext context({.threads = 2, .math_mode = MathMode::bf16, .gemm = &backend});
  CHECK(testing::gemm_error<float>(context, {.m = 40, .n = 40, .k = 40, .alpha = 3, .beta = 1}, true) <= 43);
}

TEST_CASE("ops::CblasGemm: the same bits on any number of threads") {
  const ops::CblasGemm backend;
  CpuContext one({.threads = 1, .gemm = &backend}), three({.threads = 3, .gemm = &backend});
  const auto a = testing::normal_matrix<float>(700, 70, 1), b = testing::normal_matrix<float>(70, 600, 2);
  Matrix<float> first(700, 600), second(700, 600);
  ops::gemm(one, Transpose::no, Transpose::no, 1, a, b, 0, first.view());
  ops::gemm(three, Transpose::no, Transpose::no, 1, a, b, 0, second.view());
  CHECK(testing::same_bits(first, second));
}
