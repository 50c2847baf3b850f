#pragma once

// Pooling on the device, forward and backward; the definitions are those of pooling.hpp. A thread owns an element of
// the result and gathers what belongs to it, in the order of the processor: nothing is scattered, no two threads write
// one element. A warp takes 32 channels of a pixel, so that reads and writes are coalesced; windows that overlap are
// read from the cache.
//
//   max_pool               bytes: x and y once, a byte per value of y; window^2 comparisons per value
//   max_pool_backward      dy and the bytes once per window that sees a pixel (from the cache), dx once
//   average_pool           x and y once; window^2 additions per value
//   average_pool_backward  dy from the cache, dx once
//   mean_pixels            x once; a thread walks over the pixels of an image: 1 addition per value, 3 with norm
//
// each times sizeof(T).

#include <eosin/core/cuda_context.cuh>

#include <limits>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Sizes as 32-bit integers, by which devices divide faster.
struct PoolSizes {
  int height, width, window, stride, padding, out_height, out_width;

  /// Throws ValueError for batches beyond 2^31 pixels.
  explicit PoolSizes(const PoolShape& s)
      : height(static_cast<int>(s.height)),
        width(static_cast<int>(s.width)),
        window(static_cast<int>(s.window)),
        stride(static_cast<int>(s.stride)),
        padding(static_cast<int>(s.padding)),
        out_height(static_cast<int>(s.out_height())),
        out_width(static_cast<int>(s.out_width())) {
    require_value(s.in_rows() <= std::numeric_limits<int>::max(), "PoolShape", "the batch has too many pixels");
  }
};

/// A row of a batch as image, row and column.
struct Pixel {
  int image, i, j;
  __device__ Pixel(Index row, int height, int width) {
    const int pixel = static_cast<int>(row), line = pixel / width;
    image = line / height;
    i = line - image * height;
    j = pixel - line * width;
  }
};

/// Coefficients of a norm, or none.
template <class T>
struct OptionalNorm {
  bool given = false;
  BatchNormCoefficients<T, Device> norm;
  explicit OptionalNorm(const BatchNormCoefficients<T, Device>* coefficients) : given(coefficients != nullptr) {
    if (given) norm = *coefficients;
  }
  __device__ T scale(Index col) const { return given ? norm.scale[col] : T(1); }
  __device__ T shift(Index col) const { return given ? norm.shift[col] : T(0); }
};

template <class T>
struct MaxPool {
  PoolSizes s;
  OptionalNorm<T> norm;
  MatrixView<const T, Device> x;
  MatrixView<T, Device> y;
  MatrixView<std::uint8_t, Device> source;
  __device__ void operator()(Index row, Index col) const {
    const Pixel at(row, s.out_height, s.out_width);
    const int top = at.i * s.stride - s.padding, left = at.j * s.stride - s.padding;
    const auto down = detail::inside_of_window(top, s.window, s.height);
    const auto across = detail::inside_of_window(left, s.window, s.width);
    const T scale = norm.scale(col), shift = norm.shift(col);
    T best = -std::numeric_limits<T>::infinity();
    int place = down.begin * s.window + across.begin;
    for (int u = down.begin; u < down.end; ++u)
      for (int v = across.begin; v < across.end; ++v) {
        const Index pixel = (static_cast<Index>(at.image) * s.height + top + u) * s.width + left + v;
        const T value = detail::pooled_value(norm.given, x(pixel, col), scale, shift);
        const bool larger = value > best;
        best = larger ? value : best;
        place = larger ? u * s.window + v : place;
      }
    y(row, col) = best;
    source(row, col) = static_cast<std::uint8_t>(place);
  }
};

template <class T>
struct MaxPoolBackward {
  PoolSizes s;
  MatrixView<const T, Device> dy;
  MatrixView<const std::uint8_t, Device> source;
  Index begin;
  MatrixView<T, Device> dx;
  __device__ void operator()(Index row, Index col) const {
    const Pixel at(begin + row, s.height, s.width);
    const int a = at.i + s.padding, b = at.j + s.padding;
    const auto down = detail::windows_with(a, s.window, s.stride, s.out_height);
    const auto across = detail::windows_with(b, s.window, s.stride, s.out_width);
    T sum = 0;
    for (int i = down.begin; i < down.end; ++i)
      for (int j = across.begin; j < across.end; ++j) {
        const Index window = (static_cast<Index>(at.image) * s.out_height + i) * s.out_width + j;
        const int place = (a - i * s.stride) * s.window + (b - j * s.stride);
        sum += source(window, col) == place ? dy(window, col) : T(0);
      }
    dx(row, col) = sum;
  }
};

template <class T>
struct AveragePool {
  PoolSizes s;
  OptionalNorm<T> norm;
  MatrixView<const T, Device> x;
  Index begin;
  MatrixView<T, Device> y;
  __device__ void operator()(Index row, Index col) const {
    const Pixel at(begin + row, s.out_height, s.out_width);
    const T scale = norm.scale(col), shift = norm.shift(col);
    T sum = 0;
    for (int u = 0; u < s.window; ++u)
      for (int v = 0; v < s.window; ++v) {
        const Index pixel =
            (static_cast<Index>(at.image) * s.height + at.i * s.stride + u) * s.width + at.j * s.stride + v;
        sum += detail::pooled_value(norm.given, x(pixel, col), scale, shift);
      }
    y(row, col) = sum * (T(1) / static_cast<T>(s.window * s.window));
  }
};

template <class T>
struct AveragePoolBackward {
  PoolSizes s;
  MatrixView<const T, Device> dy;
  Index begin;
  MatrixView<T, Device> dx;
  __device__ void operator()(Index row, Index col) const {
    const Pixel at(begin + row, s.height, s.width);
    const auto down = detail::windows_with(at.i, s.window, s.stride, s.out_height);
    const auto across = detail::windows_with(at.j, s.window, s.stride, s.out_width);
    const T share = T(1) / static_cast<T>(s.window * s.window);
    T sum = 0;
    for (int i = down.begin; i < down.end; ++i)
      for (int j = across.begin; j < across.end; ++j)
        sum = math::multiply_add(dy((static_cast<Index>(at.image) * s.out_height + i) * s.out_width + j, col), share,
                                 sum);
    dx(row, col) = sum;
  }
};

template <class T>
struct MeanPixels {
  Index pixels;
  bool relu;
  OptionalNorm<T> norm;
  MatrixView<const T, Device> x;
  MatrixView<T, Device> y;
  __device__ void operator()(Index image, Index col) const {
    const T scale = norm.scale(col), shift = norm.shift(col);
    T sum = 0;
    for (Index pixel = image * pixels; pixel < (image + 1) * pixels; ++pixel) {
      T value = x(pixel, col);
      if (norm.given) value = detail::normalised<false>(value, scale, shift);
      if (relu) value = detail::positive_part(value);
      sum += value;
    }
    y(image, col) = sum * (T(1) / static_cast<T>(pixels));
  }
};

template <class T>
struct MeanPixelsBackward {
  MatrixView<const T, Device> dy;
  int pixels;
  Index begin;
  MatrixView<T, Device> dx;
  __device__ void operator()(Index row, Index col) const {
    dx(row, col) = dy(static_cast<int>(begin + row) / pixels, col) * (T(1) / static_cast<T>(pixels));
  }
};

}  // namespace kernels

/// As on the processor; finish(0, y) is called once, when everything is queued.
template <class T, class Finish = detail::Nothing>
void max_pool(CudaContext& context, const PoolShape& shape, MatrixView<const std::type_identity_t<T>, Device> x,
              MatrixView<T, Device> y, MatrixView<std::uint8_t, Device> source,
              const BatchNormCoefficients<T, Device>* norm = nullptr, Finish&& finish = {}) {
  detail::require_pool("max_pool", shape);
  require_shape("max_pool", "x", x, shape.in_rows(), shape.channels);
  require_shape("max_pool", "y", y, shape.out_rows(), shape.channels);
  require_shape("max_pool", "source", source, shape.out_rows(), shape.channels);
  if (y.empty()) return;
  for_each_cell(context, "max_pool", y.rows(), y.cols(),
                kernels::MaxPool<T>{kernels::PoolSizes(shape), kernels::OptionalNorm<T>(norm), x, y, source});
  finish(Index{0}, y);
}

/// dx at the input rows [begin, begin + dx.rows()).
template <class T>
void max_pool_backward_rows(CudaContext& context, const PoolShape& s,
                            MatrixView<const std::type_identity_t<T>, Device> dy,
                            MatrixView<const std::uint8_t, Device> source, Index begin, MatrixView<T, Device> dx) {
  for_each_cell(context, "max_pool_backward", dx.rows(), dx.cols(),
                kernels::MaxPoolBackward<T>{kernels::PoolSizes(s), dy, source, begin, dx});
}

/// dx [in_rows x channels] of max_pool.
template <class T>
void max_pool_backward(CudaContext& context, const PoolShape& shape,
                       MatrixView<const std::type_identity_t<T>, Device> dy,
                       MatrixView<const std::uint8_t, Device> source, MatrixView<T, Device> dx) {
  detail::require_pool("max_pool_backward", shape);
  require_shape("max_pool_backward", "dy", dy, shape.out_rows(), shape.channels);
  require_shape("max_pool_backward", "source", source, shape.out_rows(), shape.channels);
  require_shape("max_pool_backward", "dx", dx, shape.in_rows(), shape.channels);
  max_pool_backward_rows<T>(context, shape, dy, source, 0, dx);
}

/// y at the output rows [begin, begin + y.rows()). With `norm`, the mean of relu(s x + t).
template <class T>
void average_pool_rows(CudaContext& context, const PoolShape& s, MatrixView<const std::type_identity_t<T>, Device> x,
                       const BatchNormCoefficients<T, Device>* norm, Index begin, MatrixView<T, Device> y) {
  for_each_cell(context, "average_pool", y.rows(), y.cols(),
                kernels::AveragePool<T>{kernels::PoolSizes(s), kernels::OptionalNorm<T>(norm), x, begin, y});
}

/// y [out_rows x channels].
template <class T>
void average_pool(CudaContext& context, const PoolShape& shape, MatrixView<const std::type_identity_t<T>, Device> x,
                  MatrixView<T, Device> y, const BatchNormCoefficients<T, Device>* norm = nullptr) {
  detail::require_pool("average_pool", shape);
  require_value(shape.padding == 0, "average_pool", "padding is not supported");
  require_shape("average_pool", "x", x, shape.in_rows(), shape.channels);
  require_shape("average_pool", "y", y, shape.out_rows(), shape.channels);
  average_pool_rows<T>(context, shape, x, norm, 0, y);
}

/// dx at the input rows [begin, begin + dx.rows()).
template <class T>
void average_pool_backward_rows(CudaContext& context, const PoolShape& s,
                                MatrixView<const std::type_identity_t<T>, Device> dy, Index begin,
                                MatrixView<T, Device> dx) {
  for_each_cell(context, "average_pool_backward", dx.rows(), dx.cols(),
                kernels::AveragePoolBackward<T>{kernels::PoolSizes(s), dy, begin, dx});
}

/// dx [in_rows x channels] of average_pool.
template <class T>
void average_pool_backward(CudaContext& context, const PoolShape& shape,
                           MatrixView<const std::type_identity_t<T>, Device> dy, MatrixView<T, Device> dx) {
  detail::require_pool("average_pool_backward", shape);
  require_value(shape.padding == 0, "average_pool_backward", "padding is not supported");
  require_shape("average_pool_backward", "dy", dy, shape.out_rows(), shape.channels);
  require_shape("average_pool_backward", "dx", dx, shape.in_rows(), shape.channels);
  average_pool_backward_rows<T>(context, shape, dy, 0, dx);
}

/// Mean over the pixels of each image; arguments as in mean_pixels on the processor.
template <class T>
void mean_pixels(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x, MatrixView<T, Device> y,
                 const BatchNormCoefficients<T, Device>* norm = nullptr, bool relu = false) {
  if (y.rows() == 0) return;
  const Index pixels = x.rows() / y.rows();
  require_shape("mean_pixels", "x", x, y.rows() * pixels, y.cols());
  require_value(pixels > 0, "mean_pixels", "the images have no pixels");
  for_each_cell(context, "mean_pixels", y.rows(), y.cols(),
                kernels::MeanPixels<T>{pixels, relu, kernels::OptionalNorm<T>(norm), x, y});
}

/// dx [images * pixels x channels] of mean_pixels from dy [images x channels], at the rows [begin, begin + dx.rows()).
template <class T>
void mean_pixels_backward_rows(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> dy, Index pixels,
                               Index begin, MatrixView<T, Device> dx) {
  require_value(dy.rows() * pixels <= std::numeric_limits<int>::max(), "mean_pixels_backward_rows",
                "the batch has too many pixels");
  for_each_cell(context, "mean_pixels_backward", dx.rows(), dx.cols(),
                kernels::MeanPixelsBackward<T>{dy, static_cast<int>(pixels), begin, dx});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
