#pragma once

// Gradient clipping by the norm over all parameters (Pascanu, Mikolov, Bengio 2013):
//   norm = sqrt(sum g^2),   c = min(1, limit / (norm + 1e-6)),   g <- c g

#include <eosin/core/context.hpp>

#include <algorithm>
#include <cmath>

namespace eosin::optim {

/// Euclidean norm of the flat gradient, summed in double over fixed blocks.
template <class T>
double gradient_norm(CpuContext& context, VectorView<const T> gradients) {
  const double squares = context.parallel_sum<double>(gradients.size(), 16384, [&](Index begin, Index end) {
    double sum = 0;
    for (Index i = begin; i < end; ++i) sum += static_cast<double>(gradients[i]) * static_cast<double>(gradients[i]);
    return sum;
  });
  return std::sqrt(squares);
}

/// The factor c that gradients of this norm are to be multiplied by.
EOSIN_HOST_DEVICE inline double clip_factor(double norm, double limit) {
  const double factor = limit / (norm + 1e-6);
  return factor < 1.0 ? factor : 1.0;
}

}  // namespace eosin::optim

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/optim/clip.cuh>
#endif
