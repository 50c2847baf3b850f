#pragma once

// The library behind matrix products, as the programs offer it: the library's own products, or what was built in.

#include "common/words.hpp"

#include <eosin/core/context.hpp>

#include <memory>
#include <string>

namespace common {

enum class Gemm { automatic, own, eigen, cblas, onednn };

inline const Words<Gemm> gemm_words{
    {"auto", Gemm::automatic}, {"own", Gemm::own}, {"eigen", Gemm::eigen}, {"cblas", Gemm::cblas},
    {"onednn", Gemm::onednn}};
inline const Words<eosin::MathMode> math_words{{"full", eosin::MathMode::full}, {"bf16", eosin::MathMode::bf16}};

/// The backend of a choice; null: the library's own products. Throws ValueError for a library that the program was
/// built without.
std::unique_ptr<eosin::GemmBackend> make_gemm(Gemm choice);

/// The library of convolutions that goes with a choice; null: products of matrices.
std::unique_ptr<eosin::ConvolutionBackend> make_convolution(Gemm choice);

/// The name of the library behind a context's matrix products.
inline std::string products_of(const eosin::CpuContext& context) {
  return context.gemm_backend() == nullptr ? "eosin" : context.gemm_backend()->name();
}

}  // namespace common
