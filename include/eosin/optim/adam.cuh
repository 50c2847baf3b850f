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

/// The same with an update that lies on the device.
template <class T>
struct AdamStepFromMemory {
  const AdamUpdate<T>* update;
  const double* gradient_scale;
  T* values;
  const T* gradients;
  T* first;
  T* second;
  __device__ void operator()(Index i) const {
    AdamStep<T>{update->scaled(*gradient_scale), values, gradients, first, second}(i);
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

/// The same with update and gradient scale read on the device.
template <class T>
void adam_step(CudaContext& context, VectorView<const AdamUpdate<T>, Device> update,
               VectorView<const double, Device> gradient_scale, VectorView<T, Device> values,
               VectorView<const T, Device> gradients, VectorView<T, Device> first, VectorView<T, Device> second) {
  require_size("adam_step", "update", "elements", update.size(), 1);
  require_size("adam_step", "gradient_scale", "elements", gradient_scale.size(), 1);
  for_each_element(context, "adam_step", values.size(),
                   kernels::AdamStepFromMemory<T>{update.data(), gradient_scale.data(), values.data(), gradients.data(),
                                                  first.data(), second.data()});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::optim
