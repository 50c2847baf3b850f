#pragma once

// What every header may rely on: the index type, the host/device marker, and a guard against a compiler mode
// that breaks the library's arithmetic.

#include <cstddef>

#if defined(__FAST_MATH__)
#error "eosin does not work under -ffast-math: it relies on infinities (log of a zero prototype), on NaN checks of its \
input and on compensated sums. Build the units that include eosin with -O3 -march=native and without -ffast-math; \
eosin's own loops are written so that they vectorise without it."
#endif

#if defined(__CUDACC__)
#define EOSIN_HOST_DEVICE __host__ __device__
#else
#define EOSIN_HOST_DEVICE
#endif

// Whether kernels are compiled: by a CUDA compiler, or for the processor by a stand-in for cuda_runtime.h, as the tests do
// where there is none. A header x.hpp then includes x.cuh, which holds its kernels and their launchers.
#if defined(__CUDACC__) || defined(EOSIN_CUDA_EMULATION)
#define EOSIN_CUDA_KERNELS 1
#endif

// Tells the vectoriser that the iterations of the next loop do not depend on each other.
#if defined(__clang__)
#define EOSIN_VECTORISE _Pragma("clang loop vectorize(enable) interleave(enable)")
#elif defined(__GNUC__)
#define EOSIN_VECTORISE _Pragma("GCC ivdep")
#else
#define EOSIN_VECTORISE
#endif

// Inline namespace that carries the instruction set, for code whose object form depends on -march: two units built
// for different processors then link without the linker mixing their bodies.
#if defined(__CUDACC__)
#define EOSIN_ISA_NAMESPACE isa_cuda
#elif defined(__AVX512F__)
#define EOSIN_ISA_NAMESPACE isa_avx512
#elif defined(__AVX2__) && defined(__FMA__)
#define EOSIN_ISA_NAMESPACE isa_avx2
#elif defined(__ARM_NEON)
#define EOSIN_ISA_NAMESPACE isa_neon
#else
#define EOSIN_ISA_NAMESPACE isa_baseline
#endif

namespace eosin {

/// Signed size and position, as in Eigen: differences and countdown loops need no casts.
using Index = std::ptrdiff_t;

}  // namespace eosin
