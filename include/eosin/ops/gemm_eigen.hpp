#pragma once

// Eigen behind ops::gemm, in place of the library's own product.

#include <eosin/core/eigen.hpp>
#include <eosin/core/gemm_backend.hpp>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

class EigenGemm final : public GemmBackend {
 public:
  const char* name() const override { return "Eigen"; }
  void gemm(Transpose ta, Transpose tb, float alpha, MatrixView<const float> a, MatrixView<const float> b, float beta,
            MatrixView<float> c) const override {
    multiply(ta, tb, alpha, a, b, beta, c);
  }
  void gemm(Transpose ta, Transpose tb, double alpha, MatrixView<const double> a, MatrixView<const double> b,
            double beta, MatrixView<double> c) const override {
    multiply(ta, tb, alpha, a, b, beta, c);
  }

 private:
  template <class T>
  static void multiply(Transpose ta, Transpose tb, T alpha, MatrixView<const T> a, MatrixView<const T> b, T beta,
                       MatrixView<T> c) {
    const auto left = as_eigen(a);
    const auto right = as_eigen(b);
    auto out = as_eigen(c);
    if (beta == T(0)) {
      out.setZero();
    } else if (beta != T(1)) {
      out *= beta;
    }
    if (ta == Transpose::no && tb == Transpose::no) {
      out.noalias() += alpha * (left * right);
    } else if (ta == Transpose::no) {
      out.noalias() += alpha * (left * right.transpose());
    } else if (tb == Transpose::no) {
      out.noalias() += alpha * (left.transpose() * right);
    } else {
      out.noalias() += alpha * (left.transpose() * right.transpose());
    }
  }
};

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
