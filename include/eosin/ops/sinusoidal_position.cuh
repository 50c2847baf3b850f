#pragma once

// Sinusoidal positions on the device: a thread per element, the formula of sinusoidal_position.hpp. Bytes: y read and
// written; a power, a sine or cosine each, in double.

#include <eosin/core/cuda_context.cuh>

#include <type_traits>

namespace eosin::ops {

namespace kernels {

template <class T>
struct AddSinusoidalPosition {
  MatrixView<const Index, Device> positions;
  SinusoidalOptions options;
  MatrixView<T, Device> y;
  __device__ void operator()(Index n, Index col) const {
    const Index d = y.cols(), first = (d + 1) / 2;
    const auto code = [&](int axis, Index width, Index channel) {
      return static_cast<T>(detail::sinusoid(positions(n, axis), options.base, width, channel));
    };
    if (options.layout == SinusoidalLayout::split) {
      y(n, col) += col < first ? code(0, first, col) : code(1, d - first, col - first);
    } else {
      y(n, col) += code(0, d, col);
      y(n, col) += code(1, d, col);
    }
  }
};

}  // namespace kernels

/// Adds the code of positions [n x 2] (x, y) to y [n x d]. Throws ShapeError, ValueError.
template <class T>
void add_sinusoidal_position(CudaContext& context, MatrixView<const Index, Device> positions,
                             const SinusoidalOptions& options, MatrixView<T, Device> y) {
  require_shape("add_sinusoidal_position", "positions", positions, y.rows(), 2);
  require_value(options.base > 0, "add_sinusoidal_position", "base must be positive");
  for_each_cell(context, "add_sinusoidal_position", y.rows(), y.cols(),
                kernels::AddSinusoidalPosition<T>{positions, options, y});
}

}  // namespace eosin::ops
