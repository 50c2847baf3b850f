#pragma once

// Stands in for the part of cuBLAS that this library calls: matrix products, by plain loops. The faster modes round the
// operands as the chip does: TF32 keeps 10 bits of the fraction, bfloat16 keeps 7; sums stay in float.

#include "cuda_runtime.h"

#include <vector>

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_64F = 1 };
enum cublasComputeType_t {
  CUBLAS_COMPUTE_32F,
  CUBLAS_COMPUTE_32F_FAST_16BF,
  CUBLAS_COMPUTE_32F_FAST_TF32,
  CUBLAS_COMPUTE_64F
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };

struct cublasContext {
  cudaStream_t stream = nullptr;
};
using cublasHandle_t = cublasContext*;

inline const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown status";
}
inline cublasStatus_t cublasCreate(cublasHandle_t* handle) {
  *handle = new cublasContext;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasDestroy(cublasHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasSetWorkspace(cublasHandle_t, void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}

namespace emulation {

/// The number with the last `dropped` bits of its fraction rounded away, to nearest, ties to even.
inline float rounded_fraction(float value, int dropped) {
  if (dropped == 0 || !std::isfinite(value)) return value;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits += (1U << (dropped - 1)) - 1 + (bits >> dropped & 1U);
  return std::bit_cast<float>(bits >> dropped << dropped);
}

/// op(matrix) [rows x cols], column-major with leading dimension `stride`, as rows without gaps.
template <class T>
std::vector<T> unpacked(cublasOperation_t op, const T* matrix, int rows, int cols, int stride, int dropped) {
  std::vector<T> out(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < cols; ++c) {
      const std::size_t at =
          op == CUBLAS_OP_N
              ? static_cast<std::size_t>(c) * static_cast<std::size_t>(stride) + static_cast<std::size_t>(r)
              : static_cast<std::size_t>(r) * static_cast<std::size_t>(stride) + static_cast<std::size_t>(c);
      T value = matrix[at];
      if constexpr (std::is_same_v<T, float>) value = rounded_fraction(value, dropped);
      out[static_cast<std::size_t>(r) * static_cast<std::size_t>(cols) + static_cast<std::size_t>(c)] = value;
    }
  return out;
}

template <class T>
void column_major_product(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, T alpha, const T* a,
                          int lda, const T* b, int ldb, T beta, T* c, int ldc, int dropped) {
  // Rows of op(B)^T beside rows of op(A)^T: the inner loop runs along a column of C.
  const auto left = unpacked(op_a == CUBLAS_OP_N ? CUBLAS_OP_T : CUBLAS_OP_N, a, k, m, lda, dropped);
  const auto right = unpacked(op_b == CUBLAS_OP_N ? CUBLAS_OP_T : CUBLAS_OP_N, b, n, k, ldb, dropped);
  std::vector<T> sum(static_cast<std::size_t>(m));
  for (int j = 0; j < n; ++j) {
    std::fill(sum.begin(), sum.end(), T(0));
    for (int l = 0; l < k; ++l) {
      const T factor = right[static_cast<std::size_t>(j) * static_cast<std::size_t>(k) + static_cast<std::size_t>(l)];
      const T* row = left.data() + static_cast<std::size_t>(l) * static_cast<std::size_t>(m);
      for (int i = 0; i < m; ++i) sum[static_cast<std::size_t>(i)] += factor * row[i];
    }
    T* column = c + static_cast<std::size_t>(j) * static_cast<std::size_t>(ldc);
    for (int i = 0; i < m; ++i)
      column[i] = alpha * sum[static_cast<std::size_t>(i)] + (beta == T(0) ? T(0) : beta * column[i]);
  }
}

}  // namespace emulation

inline cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n,
                                   int k, const void* alpha, const void* a, cudaDataType a_type, int lda, const void* b,
                                   cudaDataType b_type, int ldb, const void* beta, void* c, cudaDataType c_type,
                                   int ldc, cublasComputeType_t compute, cublasGemmAlgo_t) {
  if (m < 0 || n < 0 || k < 0 || lda < std::max(1, op_a == CUBLAS_OP_N ? m : k) ||
      ldb < std::max(1, op_b == CUBLAS_OP_N ? k : n) || ldc < std::max(1, m))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (a_type != b_type || a_type != c_type || (a_type == CUDA_R_64F) != (compute == CUBLAS_COMPUTE_64F))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (m == 0 || n == 0) return CUBLAS_STATUS_SUCCESS;
  const auto multiply = [&]<class T>(T) {
    const int dropped = compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 16 : compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 13 : 0;
    const T scale = *static_cast<const T*>(alpha), keep = *static_cast<const T*>(beta);
    emulation::submit(handle->stream, [=] {
      emulation::column_major_product<T>(op_a, op_b, m, n, k, scale, static_cast<const T*>(a), lda,
                                         static_cast<const T*>(b), ldb, keep, static_cast<T*>(c), ldc, dropped);
    });
  };
  a_type == CUDA_R_64F ? multiply(double{}) : multiply(float{});
  return CUBLAS_STATUS_SUCCESS;
}
