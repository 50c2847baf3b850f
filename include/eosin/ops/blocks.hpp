#pragma once

// How work on the rows of a matrix is cut, for code that is written once for the processor and for a device: blocks of
// rows for the threads of the processor, one block for a device, whose launchers cut it themselves.

#include <eosin/core/context.hpp>

#include <algorithm>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

/// Number of blocks of for_row_blocks.
inline Index row_blocks(const CpuContext&, Index rows, Index block) {
  return (rows + block - 1) / block;
}

/// f(block, first row, scratch [rows of the block x scratch_cols]) for blocks of at most `block` rows, each on one
/// thread, in any order. Workspace: one block of scratch per thread.
template <class T, class F>
void for_row_blocks(CpuContext& context, Index rows, Index block, Index scratch_cols, F&& f) {
  const auto mark = context.workspace().mark();
  const auto scratch = context.workspace().take<T>(context.threads(), block * scratch_cols);
  context.pool().run(row_blocks(context, rows, block), [&](Index b, int worker) {
    const Index row = b * block;
    f(b, row, MatrixView<T>(&scratch(worker, 0), std::min(block, rows - row), scratch_cols));
  });
}

/// f(c) for all channels on the calling thread; on a device, where the kernel is called `name`, a thread for each.
template <class F>
void for_each_channel(CpuContext&, const char*, Index channels, const F& f) {
  for (Index c = 0; c < channels; ++c) f(c);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/blocks.cuh>
#endif
