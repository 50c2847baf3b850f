#pragma once

// Work on rows on the device: all of them at once, the scratch taken from the workspace. No kernels of its own.

#include <eosin/core/cuda_context.cuh>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

inline Index row_blocks(const CudaContext&, Index rows, Index) {
  return rows > 0 ? 1 : 0;
}

/// f(0, 0, scratch [rows x scratch_cols]), on the thread that calls, which queues.
template <class T, class F>
void for_row_blocks(CudaContext& context, Index rows, Index, Index scratch_cols, F&& f) {
  if (rows == 0) return;
  const auto mark = context.workspace().mark();
  f(Index{0}, Index{0}, context.workspace().template take<T>(rows, scratch_cols));
}

/// f(c) for all channels; F has a __device__ operator() const.
template <class F>
void for_each_channel(CudaContext& context, const char* name, Index channels, const F& f) {
  for_each_element(context, name, channels, f);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
