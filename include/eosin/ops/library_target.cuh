#pragma once

// Library sizes and scaled counts on the device; the formulas are those of library_target.hpp.
//
// A block per profile: its sum in double, then the scaled counts, which come from the cache. Bytes: counts read, target
// written, 8 an element in float; a sum and a product each.

#include <eosin/core/cuda_context.cuh>

#include <limits>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
__global__ void __launch_bounds__(256)
    library_target(MatrixView<const T, Device> counts, LibraryScale scale, double given,
                   VectorView<T, Device> libraries, MatrixView<T, Device> target) {
  EOSIN_SHARED(double, scratch, [8]);
  const auto from = counts.row(blockIdx.x);
  const auto to = target.row(blockIdx.x);
  double total = 0;
  for (Index g = threadIdx.x; g < from.size(); g += 256) total += static_cast<double>(from[g]);
  total = cuda::block_sum<256>(total, scratch);
  auto scaled = detail::library_factor(scale, given, total);
  if (scale == LibraryScale::shares && !(total > 0)) scaled.factor = std::numeric_limits<double>::quiet_NaN();
  for (Index g = threadIdx.x; g < to.size(); g += 256)
    to[g] = static_cast<T>(static_cast<double>(from[g]) * scaled.factor);
  if (threadIdx.x == 0) libraries[blockIdx.x] = static_cast<T>(scaled.library);
}

}  // namespace kernels

/// As on the processor, but nothing is waited for: where a profile without counts should have shares, they are NaN, and
/// so is every loss made of them.
template <class T>
void library_target(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> counts,
                    const LibraryTargetOptions& options, VectorView<T, Device> libraries,
                    MatrixView<T, Device> target) {
  require_size("library_target", "libraries", "elements", libraries.size(), counts.rows(), "rows of counts");
  require_shape("library_target", "target", target, counts.rows(), counts.cols());
  const double given = detail::given_library(options);
  if (counts.rows() == 0) return;
  context.launch("library_target", kernels::library_target<T>, cuda::blocks_for(counts.rows(), 1), 256, counts,
                 options.scale, given, libraries, target);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
