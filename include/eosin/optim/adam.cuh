#pragma once

// Adam on the device: one pass over the flat buffers, a thread per element with the update of the processor. Bytes:
// value and both moments read and written, the gradient read: 28 an element in float.

#include <eosin/core/cuda_context.cuh>

namespace eosin::optim {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
struct AdamStep {
  AdamUpdate<T> update;
  T* values;
  const T* gradients;
  T* first;
  T* second;
  __device__ void operator()(Index i) const {
    T value = values[i], m = first[i], v = second[i];
    update(value, gradients[i], m, v);
    values[i] = value;
    first[i] = m;
    second[i] = v;
  }
};

}  // namespace kernels

/// The update of n elements without gaps.
template <class T>
void adam_step(CudaContext& context, const AdamUpdate<T>& update, VectorView<T, Device> values,
               VectorView<const T, Device> gradients, VectorView<T, Device> first, VectorView<T, Device> second) {
  for_each_element(context, "adam_step", values.size(),
                   kernels::AdamStep<T>{update, values.data(), gradients.data(), first.data(), second.data()});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::optim
