#pragma once

// Pooling of images with their channels together (NHWC; a batch is a matrix with one row per pixel):
//
//   max_pool        y(n, i, j, c) = max of x over the window of edge k at (s i - p, s j - p); padding counts as -inf
//   average_pool    y(n, i, j, c) = mean of x over that window, without padding
//   mean_pixels     y(n, c) = mean of x over all pixels of image n
//
//   max_pool: dx is dy where the window's maximum came from, summed over windows; of equal values the first counts, in
//   reading order. average_pool: dx = dy / k^2 to each pixel of the window. mean_pixels: dx = dy / pixels.
//
// Edges that no window reaches are dropped (their gradient is 0). Derivation: docs/derivations/pooling.md.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/ops/batch_norm.hpp>
#include <eosin/ops/windows.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

struct PoolShape {
  Index images = 0;
  Index height = 0;
  Index width = 0;
  Index channels = 0;
  Index window = 2;  ///< edge of the window, at most 15
  Index stride = 2;
  Index padding = 0;  ///< at most half the window; max_pool alone

  Index out_height() const { return (height + 2 * padding - window) / stride + 1; }
  Index out_width() const { return (width + 2 * padding - window) / stride + 1; }
  Index in_pixels() const { return height * width; }
  Index out_pixels() const { return out_height() * out_width(); }
  Index in_rows() const { return images * in_pixels(); }
  Index out_rows() const { return images * out_pixels(); }
};

namespace detail {

inline void require_pool(const char* function, const PoolShape& s) {
  require_value(s.window > 0 && s.window < 16 && s.stride > 0 && s.padding >= 0 && 2 * s.padding <= s.window &&
                    s.channels > 0 && s.images >= 0,
                function, "a size of the window or of the batch is out of range");
  if (s.height + 2 * s.padding < s.window || s.width + 2 * s.padding < s.window)
    throw ShapeError(std::string(function) + ": images of " + eosin::detail::shape_text(s.height, s.width) +
                     " pixels are smaller than the window of " + std::to_string(s.window));
}

/// The value that is pooled: x, or relu(s x + t) where there is a norm.
template <math::Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V pooled_value(bool norm, V x, std::type_identity_t<V> scale,
                                                            std::type_identity_t<V> shift) {
  return norm ? normalised<true>(x, scale, shift) : x;
}

struct Nothing {
  template <class... Arguments>
  void operator()(const Arguments&...) const {}
};

}  // namespace detail

/// max of relu(s x + t), or of x where `norm` is null, for one image on the calling thread.
template <class T>
void max_pool_image(const PoolShape& s, MatrixView<const std::type_identity_t<T>> x,
                    const BatchNormCoefficients<T>* norm, MatrixView<T> y, MatrixView<std::uint8_t> source) {
  using Pack = math::Pack<T>;
  const Index wide = s.out_width();
  for (Index r = 0; r < y.rows(); ++r) {
    const Index top = r / wide * s.stride - s.padding, left = r % wide * s.stride - s.padding;
    const auto down = detail::inside_of_window(top, s.window, s.height);
    const auto across = detail::inside_of_window(left, s.window, s.width);
    const T* corner = &x((top + down.begin) * s.width + left + across.begin, 0);
    T* out = &y(r, 0);
    std::uint8_t* from = &source(r, 0);
    math::for_each_pack<T>(0, s.channels, [&](auto lanes) {
      Pack best(-std::numeric_limits<T>::infinity()), place(static_cast<T>(down.begin * s.window + across.begin));
      const Pack scale = norm != nullptr ? lanes.load(norm->scale.data()) : Pack(1);
      const Pack shift = norm != nullptr ? lanes.load(norm->shift.data()) : Pack(0);
      for (Index u = down.begin; u < down.end; ++u)
        for (Index v = across.begin; v < across.end; ++v) {
          const T* pixel = corner + ((u - down.begin) * s.width + (v - across.begin)) * x.stride();
          const Pack value = detail::pooled_value(norm != nullptr, lanes.load(pixel), scale, shift);
          const auto larger = value > best;
          best = math::select(larger, value, best);
          place = math::select(larger, Pack(static_cast<T>(u * s.window + v)), place);
        }
      lanes.store(out, best);
      T places[Pack::size];
      std::memcpy(places, &place.lanes, sizeof places);
      const Index count = std::min(Pack::size, s.channels - lanes.index);
      for (Index k = 0; k < count; ++k) from[lanes.index + k] = static_cast<std::uint8_t>(places[k]);
    });
  }
}

/// y and, per value, the position in the window (row * window + column) that it came from. With `norm`, pools
/// relu(s x + t) without writing it. x [in_rows x channels], y and source [out_rows x channels]. An image is a block of
/// row_blocks(context, images, 1): finish(block, its rows of y) is called when they are there.
template <class T, class Finish = detail::Nothing>
void max_pool(CpuContext& context, const PoolShape& shape, MatrixView<const std::type_identity_t<T>> x, MatrixView<T> y,
              MatrixView<std::uint8_t> source, const BatchNormCoefficients<T>* norm = nullptr, Finish&& finish = {}) {
  detail::require_pool("max_pool", shape);
  require_shape("max_pool", "x", x, shape.in_rows(), shape.channels);
  require_shape("max_pool", "y", y, shape.out_rows(), shape.channels);
  require_shape("max_pool", "source", source, shape.out_rows(), shape.channels);
  context.parallel_for(shape.images, 1, [&](Index image, Index) {
    const auto rows = y.middle_rows(image * shape.out_pixels(), shape.out_pixels());
    max_pool_image<T>(shape, x.middle_rows(image * shape.in_pixels(), shape.in_pixels()), norm, rows,
                      source.middle_rows(image * shape.out_pixels(), shape.out_pixels()));
    finish(image, rows);
  });
}

/// dx at the input rows [begin, begin + dx.rows()), on the calling thread: gathered from the windows that hold a pixel.
template <class T>
void max_pool_backward_rows(const PoolShape& s, MatrixView<const std::type_identity_t<T>> dy,
                            MatrixView<const std::uint8_t> source, Index begin, MatrixView<T> dx) {
  for (Index r = 0; r < dx.rows(); ++r) {
    const Index image = (begin + r) / s.in_pixels(), pixel = (begin + r) % s.in_pixels();
    const Index a = pixel / s.width + s.padding, b = pixel % s.width + s.padding;
    T* out = &dx(r, 0);
    std::fill_n(out, s.channels, T(0));
    const auto [i_begin, i_end] = detail::windows_with(a, s.window, s.stride, s.out_height());
    const auto [j_begin, j_end] = detail::windows_with(b, s.window, s.stride, s.out_width());
    for (Index i = i_begin; i < i_end; ++i)
      for (Index j = j_begin; j < j_end; ++j) {
        const Index row = image * s.out_pixels() + i * s.out_width() + j;
        const auto place = static_cast<std::uint8_t>((a - i * s.stride) * s.window + (b - j * s.stride));
        const T* up = &dy(row, 0);
        const std::uint8_t* from = &source(row, 0);
        EOSIN_VECTORISE
        for (Index c = 0; c < s.channels; ++c) out[c] += from[c] == place ? up[c] : T(0);
      }
  }
}

/// dx [in_rows x channels] of max_pool.
template <class T>
void max_pool_backward(CpuContext& context, const PoolShape& shape, MatrixView<const std::type_identity_t<T>> dy,
                       MatrixView<const std::uint8_t> source, MatrixView<T> dx) {
  detail::require_pool("max_pool_backward", shape);
  require_shape("max_pool_backward", "dy", dy, shape.out_rows(), shape.channels);
  require_shape("max_pool_backward", "source", source, shape.out_rows(), shape.channels);
  require_shape("max_pool_backward", "dx", dx, shape.in_rows(), shape.channels);
  context.parallel_for(shape.in_rows(), 256, [&](Index begin, Index end) {
    max_pool_backward_rows<T>(shape, dy, source, begin, dx.middle_rows(begin, end - begin));
  });
}

/// y at the output rows [begin, begin + y.rows()), on the calling thread. With `norm`, the mean of relu(s x + t).
template <class T>
void average_pool_rows(const PoolShape& s, MatrixView<const std::type_identity_t<T>> x,
                       const BatchNormCoefficients<T>* norm, Index begin, MatrixView<T> y) {
  using Pack = math::Pack<T>;
  const Pack share(T(1) / static_cast<T>(s.window * s.window));
  for (Index r = 0; r < y.rows(); ++r) {
    const Index image = (begin + r) / s.out_pixels(), pixel = (begin + r) % s.out_pixels();
    const Index top = pixel / s.out_width() * s.stride, left = pixel % s.out_width() * s.stride;
    const T* corner = &x(image * s.in_pixels() + top * s.width + left, 0);
    T* out = &y(r, 0);
    math::for_each_pack<T>(0, s.channels, [&](auto lanes) {
      const Pack scale = norm != nullptr ? lanes.load(norm->scale.data()) : Pack(1);
      const Pack shift = norm != nullptr ? lanes.load(norm->shift.data()) : Pack(0);
      Pack sum(0);
      for (Index u = 0; u < s.window; ++u)
        for (Index v = 0; v < s.window; ++v) {
          const Pack value = lanes.load(corner + (u * s.width + v) * x.stride());
          sum = sum + detail::pooled_value(norm != nullptr, value, scale, shift);
        }
      lanes.store(out, sum * share);
    });
  }
}

/// y [out_rows x channels].
template <class T>
void average_pool(CpuContext& context, const PoolShape& shape, MatrixView<const std::type_identity_t<T>> x,
                  MatrixView<T> y, const BatchNormCoefficients<T>* norm = nullptr) {
  detail::require_pool("average_pool", shape);
  require_value(shape.padding == 0, "average_pool", "padding is not supported");
  require_shape("average_pool", "x", x, shape.in_rows(), shape.channels);
  require_shape("average_pool", "y", y, shape.out_rows(), shape.channels);
  context.parallel_for(shape.out_rows(), 64, [&](Index begin, Index end) {
    average_pool_rows<T>(shape, x, norm, begin, y.middle_rows(begin, end - begin));
  });
}

/// dx at the input rows [begin, begin + dx.rows()), on the calling thread.
template <class T>
void average_pool_backward_rows(const PoolShape& s, MatrixView<const std::type_identity_t<T>> dy, Index begin,
                                MatrixView<T> dx) {
  using Pack = math::Pack<T>;
  const Pack share(T(1) / static_cast<T>(s.window * s.window));
  for (Index r = 0; r < dx.rows(); ++r) {
    const Index image = (begin + r) / s.in_pixels(), pixel = (begin + r) % s.in_pixels();
    const Index a = pixel / s.width, b = pixel % s.width;
    T* out = &dx(r, 0);
    std::fill_n(out, s.channels, T(0));
    const auto [i_begin, i_end] = detail::windows_with(a, s.window, s.stride, s.out_height());
    const auto [j_begin, j_end] = detail::windows_with(b, s.window, s.stride, s.out_width());
    for (Index i = i_begin; i < i_end; ++i)
      for (Index j = j_begin; j < j_end; ++j) {
        const T* up = &dy(image * s.out_pixels() + i * s.out_width() + j, 0);
        math::for_each_pack<T>(0, s.channels, [&](auto lanes) {
          lanes.store(out, math::multiply_add(lanes.load(up), share, lanes.load(out)));
        });
      }
  }
}

/// dx [in_rows x channels] of average_pool.
template <class T>
void average_pool_backward(CpuContext& context, const PoolShape& shape, MatrixView<const std::type_identity_t<T>> dy,
                           MatrixView<T> dx) {
  detail::require_pool("average_pool_backward", shape);
  require_value(shape.padding == 0, "average_pool_backward", "padding is not supported");
  require_shape("average_pool_backward", "dy", dy, shape.out_rows(), shape.channels);
  require_shape("average_pool_backward", "dx", dx, shape.in_rows(), shape.channels);
  context.parallel_for(shape.in_rows(), 256, [&](Index begin, Index end) {
    average_pool_backward_rows<T>(shape, dy, begin, dx.middle_rows(begin, end - begin));
  });
}

/// Mean over the pixels of each image: x [y.rows() * pixels x channels], y [images x channels]. With `norm` the mean of
/// s x + t, of its positive part if `relu`.
template <class T>
void mean_pixels(CpuContext& context, MatrixView<const std::type_identity_t<T>> x, MatrixView<T> y,
                 const BatchNormCoefficients<T>* norm = nullptr, bool relu = false) {
  using Pack = math::Pack<T>;
  if (y.rows() == 0) return;
  const Index pixels = x.rows() / y.rows();
  require_shape("mean_pixels", "x", x, y.rows() * pixels, y.cols());
  require_value(pixels > 0, "mean_pixels", "the images have no pixels");
  const Pack share(T(1) / static_cast<T>(pixels));
  context.parallel_for(y.rows(), 1, [&](Index image, Index) {
    T* out = &y(image, 0);
    std::fill_n(out, y.cols(), T(0));
    for (Index r = image * pixels; r < (image + 1) * pixels; ++r) {
      const T* in = &x(r, 0);
      math::for_each_pack<T>(0, y.cols(), [&](auto lanes) {
        Pack value = lanes.load(in);
        if (norm != nullptr)
          value = math::multiply_add(value, lanes.load(norm->scale.data()), lanes.load(norm->shift.data()));
        if (relu) value = detail::positive_part(value);
        lanes.store(out, lanes.load(out) + value);
      });
    }
    math::for_each_pack<T>(0, y.cols(), [&](auto lanes) { lanes.store(out, lanes.load(out) * share); });
  });
}

/// dx [images * pixels x channels] of mean_pixels from dy [images x channels], at the rows [begin, begin + dx.rows()),
/// on the calling thread.
template <class T>
void mean_pixels_backward_rows(MatrixView<const std::type_identity_t<T>> dy, Index pixels, Index begin,
                               MatrixView<T> dx) {
  const math::Pack<T> share(T(1) / static_cast<T>(pixels));
  for (Index r = 0; r < dx.rows(); ++r) {
    const T* up = &dy((begin + r) / pixels, 0);
    T* out = &dx(r, 0);
    math::for_each_pack<T>(0, dx.cols(), [&](auto lanes) { lanes.store(out, lanes.load(up) * share); });
  }
}

// The same behind a context, for code that runs on a device too, where they queue.

template <class T>
void max_pool_backward_rows(CpuContext&, const PoolShape& s, MatrixView<const std::type_identity_t<T>> dy,
                            MatrixView<const std::uint8_t> source, Index begin, MatrixView<T> dx) {
  max_pool_backward_rows<T>(s, dy, source, begin, dx);
}
template <class T>
void average_pool_rows(CpuContext&, const PoolShape& s, MatrixView<const std::type_identity_t<T>> x,
                       const BatchNormCoefficients<T>* norm, Index begin, MatrixView<T> y) {
  average_pool_rows<T>(s, x, norm, begin, y);
}
template <class T>
void average_pool_backward_rows(CpuContext&, const PoolShape& s, MatrixView<const std::type_identity_t<T>> dy,
                                Index begin, MatrixView<T> dx) {
  average_pool_backward_rows<T>(s, dy, begin, dx);
}
template <class T>
void mean_pixels_backward_rows(CpuContext&, MatrixView<const std::type_identity_t<T>> dy, Index pixels, Index begin,
                               MatrixView<T> dx) {
  mean_pixels_backward_rows<T>(dy, pixels, begin, dx);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/pooling.cuh>
#endif
