#pragma once

// Stochastic gradient descent on the device: one pass over the flat buffers, a thread per element with the update of
// the processor.

#include <eosin/core/cuda_context.cuh>

namespace eosin::optim {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
struct SgdStep {
  SgdUpdate<T> update;
  T* values;
  const T* gradients;
  T* buffer;
  __device__ void operator()(Index i) const {
    T value = values[i];
    update(value, gradients[i], buffer == nullptr ? nullptr : buffer + i);
    values[i] = value;
  }
};

}  // namespace kernels

/// The update of n elements without gaps; `buffer` is empty without momentum.
template <class T>
void sgd_step(CudaContext& context, const SgdUpdate<T>& update, VectorView<T, Device> values,
              VectorView<const T, Device> gradients, VectorView<T, Device> buffer) {
  for_each_element(
      context, "sgd_step", values.size(),
      kernels::SgdStep<T>{update, values.data(), gradients.data(), buffer.empty() ? nullptr : buffer.data()});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::optim
