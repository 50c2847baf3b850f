#pragma once

// Any CBLAS (OpenBLAS, MKL, BLIS, ATLAS) behind ops::gemm. Link the CMake target eosin::cblas. The library must compute
// on the calling thread: OpenBLAS is told so here; for others set their thread variable to 1 (MKL_NUM_THREADS,
// BLIS_NUM_THREADS).

#include <eosin/core/error.hpp>
#include <eosin/core/gemm_backend.hpp>

#include <cblas.h>

#include <algorithm>

extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

class CblasGemm final : public GemmBackend {
 public:
  CblasGemm() {
    if (openblas_set_num_threads != nullptr) openblas_set_num_threads(1);
  }

  const char* name() const override { return "CBLAS"; }

  void gemm(Transpose ta, Transpose tb, float alpha, MatrixView<const float> a, MatrixView<const float> b, float beta,
            MatrixView<float> c) const override {
    cblas_sgemm(CblasRowMajor, flag(ta), flag(tb), size(c.rows()), size(c.cols()), inner(ta, a), alpha, a.data(),
                leading(a), b.data(), leading(b), beta, c.data(), leading(c));
  }
  void gemm(Transpose ta, Transpose tb, double alpha, MatrixView<const double> a, MatrixView<const double> b,
            double beta, MatrixView<double> c) const override {
    cblas_dgemm(CblasRowMajor, flag(ta), flag(tb), size(c.rows()), size(c.cols()), inner(ta, a), alpha, a.data(),
                leading(a), b.data(), leading(b), beta, c.data(), leading(c));
  }

 private:
  static CBLAS_TRANSPOSE flag(Transpose t) { return t == Transpose::yes ? CblasTrans : CblasNoTrans; }
  static int size(Index n) {
    require_value(n <= 0x7FFFFFFF, "CblasGemm", "a dimension exceeds the 32-bit integers of CBLAS");
    return static_cast<int>(n);
  }
  template <class T>
  static int inner(Transpose t, const MatrixView<T>& a) {
    return size(t == Transpose::yes ? a.rows() : a.cols());
  }
  template <class T>
  static int leading(const MatrixView<T>& m) {
    return size(std::max<Index>(1, m.stride()));
  }
};

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
