#pragma once

// Sinusoidal positions (Vaswani et al. 2017) in two dimensions. For an integer coordinate p and a width w, channel c:
//
//   e_w(p)_c = sin(a) for even c, cos(a) for odd c,   a = p * base^(-2 floor(c / 2) / w)
//
//   split: y += [ e_w1(px), e_w2(py) ],  w1 = ceil(d / 2), w2 = d - w1
//   sum:   y += e_d(px) + e_d(py), which cannot tell (px, py) from (py, px)
//
// Nothing is trained: the gradient passes to y unchanged.

#include <eosin/core/context.hpp>

#include <cmath>
#include <type_traits>

namespace eosin::ops {

enum class SinusoidalLayout { split, sum };

struct SinusoidalOptions {
  SinusoidalLayout layout = SinusoidalLayout::split;
  double base = 10000;
};

namespace detail {

/// e_width(position)_channel.
EOSIN_HOST_DEVICE inline double sinusoid(Index position, double base, Index width, Index channel) {
  const double exponent = -2.0 * static_cast<double>(channel / 2) / static_cast<double>(width);
  const double angle = static_cast<double>(position) * std::pow(base, exponent);
  return channel % 2 == 0 ? std::sin(angle) : std::cos(angle);
}

template <class T>
void add_sinusoid(Index position, double base, Index width, T* out) {
  for (Index c = 0; c < width; ++c) out[c] += static_cast<T>(sinusoid(position, base, width, c));
}

}  // namespace detail

/// Adds the code of positions [n x 2] (x, y) to y [n x d]. Throws ShapeError, ValueError.
template <class T>
void add_sinusoidal_position(CpuContext& context, MatrixView<const Index> positions, const SinusoidalOptions& options,
                             MatrixView<T> y) {
  require_shape("add_sinusoidal_position", "positions", positions, y.rows(), 2);
  require_value(options.base > 0, "add_sinusoidal_position", "base must be positive");
  const Index d = y.cols(), first = (d + 1) / 2;
  context.parallel_for(y.rows(), 8, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      T* out = y.row(n).data();
      if (options.layout == SinusoidalLayout::split) {
        detail::add_sinusoid(positions(n, 0), options.base, first, out);
        detail::add_sinusoid(positions(n, 1), options.base, d - first, out + first);
      } else {
        detail::add_sinusoid(positions(n, 0), options.base, d, out);
        detail::add_sinusoid(positions(n, 1), options.base, d, out);
      }
    }
  });
}

}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/sinusoidal_position.cuh>
#endif
