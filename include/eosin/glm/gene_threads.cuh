#pragma once

// The threads of a block that fit one gene together, and their sums.

#include <eosin/core/cuda.cuh>

namespace eosin::glm::kernels {

/// Four warps: enough to hide the latency of each other's divisions, few enough that the small systems, which occupy
/// one warp, do not leave much idle.
inline constexpr int gene_threads = 128;
inline constexpr int gene_warps = gene_threads / 32;

/// Not inlined: called from many places of the search for a dispersion, and each of a thousand instructions.
#define EOSIN_GENE_STEP __device__ __attribute__((noinline))

__device__ __forceinline__ int gene_thread() {
  return static_cast<int>(threadIdx.x);
}

/// Shared memory for sums over the block.
struct GeneScratch {
  double sums[4][gene_warps];
};

/// Each value becomes its sum over the block, the same in all threads.
template <int Count>
__device__ __forceinline__ void add_over_block(double (&values)[Count], GeneScratch& scratch) {
  static_assert(Count <= 4);
  for (int i = 0; i < Count; ++i) {
    values[i] = cuda::warp_sum(values[i]);
    if (gene_thread() % 32 == 0) scratch.sums[i][gene_thread() / 32] = values[i];
  }
  __syncthreads();
  for (int i = 0; i < Count; ++i) {
    values[i] = 0.0;
    for (int warp = 0; warp < gene_warps; ++warp) values[i] += scratch.sums[i][warp];
  }
  __syncthreads();
}

/// The same for the largest of each value; none is NaN.
template <int Count>
__device__ __forceinline__ void largest_over_block(double (&values)[Count], GeneScratch& scratch) {
  static_assert(Count <= 4);
  for (int i = 0; i < Count; ++i) {
    values[i] = cuda::warp_max(values[i]);
    if (gene_thread() % 32 == 0) scratch.sums[i][gene_thread() / 32] = values[i];
  }
  __syncthreads();
  for (int i = 0; i < Count; ++i) {
    values[i] = scratch.sums[i][0];
    for (int warp = 1; warp < gene_warps; ++warp)
      if (scratch.sums[i][warp] > values[i]) values[i] = scratch.sums[i][warp];
  }
  __syncthreads();
}

}  // namespace eosin::glm::kernels
