#pragma once

// What kernels and their launchers rely on: checked calls of the runtime, the one way in which kernels are launched,
// shared memory. Kernels are templates (a plain __global__ inline function draws a warning from nvcc) and use no triple
// brackets, so that the same file compiles with nvcc and, against a stand-in for cuda_runtime.h, with any C++ compiler.

#include <eosin/core/error.hpp>
#include <eosin/core/view.hpp>

#include <cuda_runtime.h>

#include <algorithm>
#include <limits>
#include <string>

// A static shared object of a block: EOSIN_SHARED(float, tile, [32][33]) declares float tile[32][33].
// All dynamic shared memory of a block, aligned to 128 bytes: EOSIN_DYNAMIC_SHARED(float, rows) declares float* rows.
#if defined(__CUDACC__)
#define EOSIN_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define EOSIN_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char eosin_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(eosin_dynamic_shared)
#else
#define EOSIN_SHARED(T, name, ...)   \
  using name##_type = T __VA_ARGS__; \
  name##_type& name = emulation::shared_object<name##_type>()
#define EOSIN_DYNAMIC_SHARED(T, name) T* name = emulation::dynamic_shared<T>()
#endif

namespace eosin::cuda {

/// Throws CudaError("CALL: what CUDA says") unless the call succeeded.
inline void check(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw CudaError(std::string(call) + ": " + cudaGetErrorString(status));
}

/// Runs kernel(arguments...) on `stream`, `dynamic_bytes` of shared memory per block. Throws CudaError naming the
/// kernel where the launch is refused; what goes wrong while it runs is found by the next call that waits for the
/// device.
template <class... Parameters, class... Arguments>
void launch(const char* name, cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t dynamic_bytes, Arguments&&... arguments) {
#if defined(__CUDACC__)
  // More than this needs permission, which a kernel gets once per device and keeps.
  constexpr std::size_t without_permission = 48 * 1024;
  if (dynamic_bytes > without_permission)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(dynamic_bytes)),
          name);
  kernel<<<grid, block, dynamic_bytes, stream>>>(static_cast<Parameters>(arguments)...);
  check(cudaGetLastError(), name);
#else
  static_cast<void>(name);
  emulation::launch_on(stream, kernel, grid, block, dynamic_bytes, static_cast<Parameters>(arguments)...);
#endif
}

/// count / per, rounded up, as an extent of a grid.
inline unsigned blocks_for(Index count, Index per) {
  const Index blocks = (count + per - 1) / per;
  require_value(blocks <= std::numeric_limits<int>::max(), "cuda::blocks_for", "the grid is out of range");
  return static_cast<unsigned>(blocks);
}

// ---- Parts of kernels
// -------------------------------------------------------------------------------------------------

inline constexpr unsigned full_warp = 0xFFFFFFFFU;

/// Sum over the lanes of a warp, the same in all of them; the order of the additions is fixed.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(full_warp, value, step);
  return value;
}
template <class T>
__device__ __forceinline__ T warp_max(T value) {
  for (int step = 16; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(full_warp, value, step);
    value = other > value ? other : value;
  }
  return value;
}

/// Sum over a block of Threads threads (a multiple of 32, one-dimensional), the same in all of them. `scratch` is
/// shared, Threads / 32 elements; it may be used again after the next barrier.
template <int Threads, class T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  T sum = 0;
  for (int i = 0; i < Threads / 32; ++i) sum += scratch[i];
  return sum;
}

/// Sum of the values of the eight threads of a column of a block (32, 8), the same in all of them. Every thread of the
/// block calls it. `scratch` is shared and may be used again at once.
template <class T>
__device__ __forceinline__ T column_sum(T value, T (&scratch)[8][33]) {
  scratch[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  T sum = 0;
  for (int i = 0; i < 8; ++i) sum += scratch[i][threadIdx.x];
  __syncthreads();
  return sum;
}

}  // namespace eosin::cuda
