#pragma once

// The library behind matrix products, as the programs offer it: what was built in, or Eigen.

#include "common/words.hpp"

#include <eosin/core/context.hpp>

#if EOSIN_HAS_ONEDNN
#include <eosin/ops/convolution_onednn.hpp>
#include <eosin/ops/gemm_onednn.hpp>
#endif
#if EOSIN_HAS_CBLAS
#include <eosin/ops/gemm_cblas.hpp>
#endif

#include <memory>
#include <string>

namespace common {

enum class Gemm { automatic, eigen, cblas, onednn };

inline const Words<Gemm> gemm_words{
    {"auto", Gemm::automatic}, {"eigen", Gemm::eigen}, {"cblas", Gemm::cblas}, {"onednn", Gemm::onednn}};
inline const Words<eosin::MathMode> math_words{{"full", eosin::MathMode::full}, {"bf16", eosin::MathMode::bf16}};

/// The backend of a choice; null is Eigen. Throws ValueError for a library that the program was built without.
inline std::unique_ptr<eosin::GemmBackend> make_gemm(Gemm choice) {
#if EOSIN_HAS_ONEDNN
  if (choice == Gemm::automatic || choice == Gemm::onednn) return std::make_unique<eosin::ops::OneDnnGemm>();
#endif
#if EOSIN_HAS_CBLAS
  if (choice == Gemm::automatic || choice == Gemm::cblas) return std::make_unique<eosin::ops::CblasGemm>();
#endif
  if (choice == Gemm::onednn) throw eosin::ValueError("--gemm onednn: this program was built without oneDNN");
  if (choice == Gemm::cblas) throw eosin::ValueError("--gemm cblas: this program was built without a CBLAS");
  return nullptr;
}

/// The library of convolutions that goes with a choice; null: products of matrices.
inline std::unique_ptr<eosin::ConvolutionBackend> make_convolution(Gemm choice) {
#if EOSIN_HAS_ONEDNN
  if (choice == Gemm::automatic || choice == Gemm::onednn) return std::make_unique<eosin::ops::OneDnnConvolution>();
#endif
  static_cast<void>(choice);
  return nullptr;
}

/// The name of the library behind a context's matrix products.
inline std::string products_of(const eosin::CpuContext& context) {
  return context.gemm_backend() == nullptr ? "Eigen" : context.gemm_backend()->name();
}

}  // namespace common
