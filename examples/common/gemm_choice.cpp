#include "common/gemm_choice.hpp"

#include <eosin/ops/gemm_eigen.hpp>

#if EOSIN_HAS_ONEDNN
#include <eosin/ops/convolution_onednn.hpp>
#include <eosin/ops/gemm_onednn.hpp>
#endif
#if EOSIN_HAS_CBLAS
#include <eosin/ops/gemm_cblas.hpp>
#endif

namespace common {

std::unique_ptr<eosin::GemmBackend> make_gemm(Gemm choice) {
#if EOSIN_HAS_ONEDNN
  if (choice == Gemm::automatic || choice == Gemm::onednn) return std::make_unique<eosin::ops::OneDnnGemm>();
#endif
#if EOSIN_HAS_CBLAS
  if (choice == Gemm::automatic || choice == Gemm::cblas) return std::make_unique<eosin::ops::CblasGemm>();
#endif
  if (choice == Gemm::onednn) throw eosin::ValueError("--gemm onednn: this program was built without oneDNN");
  if (choice == Gemm::cblas) throw eosin::ValueError("--gemm cblas: this program was built without a CBLAS");
  if (choice == Gemm::eigen) return std::make_unique<eosin::ops::EigenGemm>();
  return nullptr;
}

std::unique_ptr<eosin::ConvolutionBackend> make_convolution(Gemm choice) {
#if EOSIN_HAS_ONEDNN
  if (choice == Gemm::automatic || choice == Gemm::onednn) return std::make_unique<eosin::ops::OneDnnConvolution>();
#endif
  static_cast<void>(choice);
  return nullptr;
}

}  // namespace common
