#pragma once

// The norm over all parameters on the device: squares are added in double, over the 4,096 elements of a block, then
// over the blocks in their order. Bytes: the gradient once.

#include <eosin/ops/reduce.cuh>

#include <cmath>

namespace eosin::optim {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

inline constexpr Index squares_per_block = 4096;

template <class T>
__global__ void __launch_bounds__(256) sum_squares(const T* x, Index count, double* out) {
  EOSIN_SHARED(double, scratch, [8]);
  const Index begin = static_cast<Index>(blockIdx.x) * squares_per_block;
  const Index end = begin + squares_per_block < count ? begin + squares_per_block : count;
  double sum = 0;
  for (Index i = begin + threadIdx.x; i < end; i += 256) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  sum = cuda::block_sum<256>(sum, scratch);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

struct SquareRoot {
  double* x;
  __device__ void operator()(Index) const { *x = std::sqrt(*x); }
};

struct ClipFactor {
  const double* norm;
  double limit;
  double* factor;
  __device__ void operator()(Index) const { *factor = clip_factor(*norm, limit); }
};

}  // namespace kernels

/// `norm` [1] receives the Euclidean norm of the flat gradient. Nothing is waited for.
template <class T>
void queue_gradient_norm(CudaContext& context, VectorView<const T, Device> gradients, VectorView<double, Device> norm) {
  const unsigned blocks = cuda::blocks_for(gradients.size(), kernels::squares_per_block);
  const auto mark = context.workspace().mark();
  const auto partial = context.workspace().template take<double>(static_cast<Index>(blocks));
  if (blocks > 0)
    context.launch("gradient_norm", kernels::sum_squares<T>, blocks, 256, gradients.data(), gradients.size(),
                   partial.data());
  ops::sum_elements<double>(context, partial, norm);
  for_each_element(context, "gradient_norm", 1, kernels::SquareRoot{norm.data()});
}

/// `factor` [1] receives clip_factor(norm, limit).
inline void queue_clip_factor(CudaContext& context, VectorView<const double, Device> norm, double limit,
                              VectorView<double, Device> factor) {
  for_each_element(context, "clip_factor", 1, kernels::ClipFactor{norm.data(), limit, factor.data()});
}

/// Euclidean norm of the flat gradient; waits for it.
template <class T>
double gradient_norm(CudaContext& context, VectorView<const T, Device> gradients) {
  const auto mark = context.workspace().mark();
  const auto norm = context.workspace().template take<double>(1);
  queue_gradient_norm<T>(context, gradients, norm);
  return on_host(context, norm)[0];
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::optim
