#pragma once

// Kernels with one mistake each, which the emulation must find, beside the right form.

#include <eosin/core/cuda_context.cuh>

namespace eosin::testing {

/// Two halves of a block wait at different barriers.
template <class T>
__global__ void different_barriers(T* out) {
  if (threadIdx.x < 16) {
    __syncthreads();
    out[threadIdx.x] = 1;
  } else {
    __syncthreads();
    out[threadIdx.x] = 2;
  }
}

/// Threads beyond `count` leave before the barrier.
template <class T>
__global__ void barrier_after_exit(T* out, unsigned count) {
  if (threadIdx.x >= count) return;
  out[threadIdx.x] = T(threadIdx.x);
  __syncthreads();
}

/// Only some lanes come to a shuffle that names all.
template <class T>
__global__ void shuffle_of_few(T* out, unsigned lanes) {
  T value = T(threadIdx.x);
  if (threadIdx.x < lanes) value = __shfl_xor_sync(0xFFFFFFFFU, value, 1);
  out[threadIdx.x] = value;
}

/// A shuffle that reads a lane outside its mask.
template <class T>
__global__ void shuffle_from_outside(T* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000FFFFU, T(threadIdx.x), 20);
}

/// A lane that is not in the mask it names.
template <class T>
__global__ void stranger_in_mask(T* out) {
  out[threadIdx.x] = T(__ballot_sync(0x0000FFFFU, 1));
}

/// Writes element `at`.
template <class T>
__global__ void write_at(T* out, Index at) {
  if (threadIdx.x == 0) out[at] = 1;
}
template <class T>
__global__ void read_at(const T* in, Index at, T* out) {
  if (threadIdx.x == 0) *out = in[at];
}

/// Writes element `at` of 32 static shared ones.
template <class T>
__global__ void write_shared_at(T* out, int at) {
  EOSIN_SHARED(T, values, [32]);
  T* p = values;
  p[threadIdx.x] = T(threadIdx.x);
  __syncthreads();
  if (threadIdx.x == 0) p[at] = 7;
  __syncthreads();
  out[threadIdx.x] = p[threadIdx.x];
}
template <class T>
__global__ void write_dynamic_at(T* out, int at) {
  EOSIN_DYNAMIC_SHARED(T, values);
  values[threadIdx.x] = T(threadIdx.x);
  __syncthreads();
  if (threadIdx.x == 0) values[at] = 7;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

/// Adds to shared memory that nobody set.
template <class T>
__global__ void uninitialised_shared(T* out) {
  EOSIN_SHARED(T, sums, [32]);
  sums[threadIdx.x] += T(1);
  out[threadIdx.x] = sums[threadIdx.x];
}

/// Reverses 64 numbers; without the barrier a race, and a result that depends on the order of the threads.
template <bool Barrier, class T>
__global__ void reverse(T* data) {
  EOSIN_SHARED(T, values, [64]);
  values[threadIdx.x] = data[threadIdx.x];
  if constexpr (Barrier) __syncthreads();
  data[threadIdx.x] = values[63 - threadIdx.x];
}

/// The same within a warp, where __syncwarp orders memory and a vote does not.
template <bool Barrier, class T>
__global__ void reverse_warp(T* data) {
  EOSIN_SHARED(T, values, [32]);
  values[threadIdx.x] = data[threadIdx.x];
  if constexpr (Barrier) {
    __syncwarp();
  } else {
    static_cast<void>(__ballot_sync(0xFFFFFFFFU, 1));
  }
  data[threadIdx.x] = values[31 - threadIdx.x];
}

/// A vector store to an address that is not aligned to it.
template <class T>
__global__ void misaligned_store(T* out) {
  reinterpret_cast<float4*>(out + 1)[threadIdx.x] = make_float4(0, 0, 0, 0);
}

}  // namespace eosin::testing
