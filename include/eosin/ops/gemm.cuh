#pragma once

// Matrix products on the device, by cuBLAS. Row-major C = op(A) op(B) is column-major C^T = op(B)^T op(A)^T: the
// operands change places, and what a row-major matrix is, is its transpose to cuBLAS.

#include <eosin/core/cuda_context.cuh>

#include <limits>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Extents and strides as cuBLAS takes them. Throws ValueError beyond its int.
inline int blas_int(Index n) {
  require_value(n <= std::numeric_limits<int>::max(), "gemm", "an extent is beyond what cuBLAS takes");
  return static_cast<int>(n);
}

}  // namespace detail

/// C [m x n] = alpha * op(A) [m x k] op(B) [k x n] + beta * C on the device. C must not overlap A or B; with beta = 0
/// its old contents are not read. Floats in the context's math mode: `bf16` and `tf32` round the operands, sums stay in
/// float. Throws ShapeError, CudaError.
template <class T>
void gemm(CudaContext& context, Transpose ta, Transpose tb, std::type_identity_t<T> alpha,
          MatrixView<const std::type_identity_t<T>, Device> a, MatrixView<const std::type_identity_t<T>, Device> b,
          std::type_identity_t<T> beta, MatrixView<T, Device> c) {
  const Index m = ta == Transpose::yes ? a.cols() : a.rows(), inner = ta == Transpose::yes ? a.rows() : a.cols();
  const Index n = tb == Transpose::yes ? b.rows() : b.cols();
  require_size("gemm", "op(B)", "rows", tb == Transpose::yes ? b.cols() : b.rows(), inner, "columns of op(A)");
  require_size("gemm", "C", "rows", c.rows(), m, "rows of op(A)");
  require_size("gemm", "C", "columns", c.cols(), n, "columns of op(B)");
  if (c.empty()) return;
  const auto op = [](Transpose t) { return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N; };
  const auto stride = [](const auto& view) { return detail::blas_int(std::max<Index>(1, view.stride())); };
  constexpr bool single = std::is_same_v<T, float>;
  constexpr cudaDataType type = single ? CUDA_R_32F : CUDA_R_64F;
  cublasComputeType_t compute = single ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_64F;
  if (single && context.math_mode() == MathMode::tf32) compute = CUBLAS_COMPUTE_32F_FAST_TF32;
  if (single && context.math_mode() == MathMode::bf16) compute = CUBLAS_COMPUTE_32F_FAST_16BF;
  cuda::check(cublasGemmEx(context.blas(), op(tb), op(ta), detail::blas_int(n), detail::blas_int(m),
                           detail::blas_int(inner), &alpha, b.data(), type, stride(b), a.data(), type, stride(a), &beta,
                           c.data(), type, stride(c), compute, CUBLAS_GEMM_DEFAULT),
              "cublasGemmEx");
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
