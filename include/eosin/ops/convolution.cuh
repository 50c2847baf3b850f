#pragma once

// Convolutions on the device, by products of matrices through cuBLAS in the context's math mode; the definitions are
// those of convolution.hpp.
//
//   kernel 1, stride 1   a product on the rows as they lie: y = x W', dx = dy W, dW = dy' x. Rows may lie apart, so
//                        ranges of channels of a wider buffer need no copies
//   other                by blocks of whole images, so many that the gathered pixels (im2col) take 2^23 elements: they
//   stay in the
//                        second-level cache of large chips, a product has tiles for all of them, memory is bounded
//       forward          columns = gather(x),  y = columns W'
//       weights          columns = gather(x),  dW += dy' columns, block after block
//       input            columns = dy W,       dx = the sum of what belongs to a pixel (col2im as a gather)
//
// Kernels, a thread per element, neighbours in a row for neighbouring threads. r output rows, t taps, i input rows, c
// channels:
//
//   gather               reads x once from memory and about t / c times from the cache, writes r t. No operations
//   gather_gradient      reads r t, writes i c: (kernel / stride)^2 additions per value
//   weights_by_pixel, weights_by_channel   the weights once
//
// each times sizeof(T). Products: 2 r t outputs operations each.
//
// What makes the input of a convolution and what takes its output is called once, for all rows: streams of a device
// have no cache that a block would stay in.

#include <eosin/core/cuda_context.cuh>

#include <limits>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Sizes as 32-bit integers, by which devices divide faster.
struct ConvolutionSizes {
  int height, width, channels, kernel, stride, padding, out_height, out_width;

  /// Throws ValueError where an image or a row of taps is beyond them.
  explicit ConvolutionSizes(const ConvolutionShape& s)
      : height(static_cast<int>(s.height)),
        width(static_cast<int>(s.width)),
        channels(static_cast<int>(s.channels)),
        kernel(static_cast<int>(s.kernel)),
        stride(static_cast<int>(s.stride)),
        padding(static_cast<int>(s.padding)),
        out_height(static_cast<int>(s.out_height())),
        out_width(static_cast<int>(s.out_width())) {
    constexpr Index most = std::numeric_limits<int>::max();
    require_value(s.in_rows() <= most && s.out_rows() <= most && s.taps() <= most, "ConvolutionShape",
                  "the batch has too many pixels");
  }
};

/// What the kernel sees at output row `row` of x, which starts with an image.
template <class T>
struct GatherPixels {
  ConvolutionSizes s;
  MatrixView<const T, Device> x;
  MatrixView<T, Device> columns;
  __device__ void operator()(Index row, Index col) const {
    const int line = static_cast<int>(row) / s.out_width, j = static_cast<int>(row) - line * s.out_width;
    const int image = line / s.out_height, i = line - image * s.out_height;
    const int tap = static_cast<int>(col) / s.channels, c = static_cast<int>(col) - tap * s.channels;
    const int u = tap / s.kernel, v = tap - u * s.kernel;
    const int a = i * s.stride - s.padding + u, b = j * s.stride - s.padding + v;
    const bool inside = a >= 0 && a < s.height && b >= 0 && b < s.width;
    columns(row, col) = inside ? x((static_cast<Index>(image) * s.height + a) * s.width + b, c) : T(0);
  }
};

/// dx of one pixel from the columns that saw it, in the order of the output pixels.
template <class T>
struct GatherGradient {
  ConvolutionSizes s;
  MatrixView<const T, Device> columns;
  MatrixView<T, Device> dx;
  __device__ void operator()(Index row, Index col) const {
    const int line = static_cast<int>(row) / s.width, b = static_cast<int>(row) - line * s.width + s.padding;
    const int image = line / s.height, a = line - image * s.height + s.padding;
    const auto down = detail::windows_with(a, s.kernel, s.stride, s.out_height);
    const auto across = detail::windows_with(b, s.kernel, s.stride, s.out_width);
    T sum = 0;
    for (int i = down.begin; i < down.end; ++i)
      for (int j = across.begin; j < across.end; ++j) {
        const Index pixel = (static_cast<Index>(image) * s.out_height + i) * s.out_width + j;
        const int tap = (a - i * s.stride) * s.kernel + (b - j * s.stride);
        sum += columns(pixel, static_cast<Index>(tap) * s.channels + col);
      }
    dx(row, col) = sum;
  }
};

/// Weights from [o, c, u, v] to [o, u, v, c], a row per output.
template <class T>
struct WeightsByPixel {
  Index channels, square;
  const T* in;
  MatrixView<T, Device> out;
  __device__ void operator()(Index o, Index at) const {
    const Index tap = at / channels, c = at - tap * channels;
    out(o, at) = in[(o * channels + c) * square + tap];
  }
};

/// And back, added where `add`.
template <class T>
struct WeightsByChannel {
  Index channels, square;
  bool add;
  MatrixView<const T, Device> in;
  T* out;
  __device__ void operator()(Index o, Index at) const {
    const Index c = at / square, tap = at - c * square;
    T& to = out[o * channels * square + at];
    const T value = in(o, tap * channels + c);
    to = add ? to + value : value;
  }
};

}  // namespace kernels

/// One block: a device takes all rows at once.
inline ConvolutionBlocks convolution_blocks(const CudaContext&, const ConvolutionShape& shape) {
  return {shape.in_rows() > 0 ? Index{1} : Index{0}, shape.pointwise() ? Index{0} : shape.images, shape.in_rows(),
          shape.out_rows()};
}

namespace detail {

/// Images whose gathered pixels take at most 2^23 elements, at least one.
inline Index images_at_once(const ConvolutionShape& s) {
  return std::clamp<Index>((Index{1} << 23) / std::max<Index>(1, s.out_pixels() * s.taps()), 1,
                           std::max<Index>(1, s.images));
}

/// f(first image, images of the block).
template <class F>
void for_image_blocks(const ConvolutionShape& shape, F&& f) {
  const Index images = images_at_once(shape);
  for (Index first = 0; first < shape.images; first += images) f(first, std::min(images, shape.images - first));
}

template <class T>
MatrixView<const T, Device> weights_by_pixel(CudaContext& context, const ConvolutionShape& s, const T* weight,
                                             MatrixView<T, Device> ordered) {
  for_each_cell(context, "weights_by_pixel", s.outputs, s.taps(),
                kernels::WeightsByPixel<T>{s.channels, s.kernel * s.kernel, weight, ordered});
  return ordered;
}

template <class T>
void gather(CudaContext& context, const ConvolutionShape& s, MatrixView<const T, Device> x,
            MatrixView<T, Device> columns) {
  for_each_cell(context, "gather", columns.rows(), columns.cols(),
                kernels::GatherPixels<T>{kernels::ConvolutionSizes(s), x, columns});
}

}  // namespace detail

/// As on the processor, in one block: source(0, in_rows, scratch), place(0, out_rows, scratch) and finish(0, out_rows,
/// y) are called once, on the calling thread, and queue their work.
template <class T, class Source, class Place, class Finish>
void convolution_streamed(CudaContext& context, const ConvolutionShape& shape, Source&& source,
                          VectorView<const std::type_identity_t<T>, Device> weight, Place&& place, Finish&& finish) {
  detail::require_convolution("convolution", shape, weight.size());
  if (shape.in_rows() == 0) return;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const MatrixView<const T, Device> x =
      source(Index{0}, shape.in_rows(), workspace.template take<T>(shape.in_rows(), shape.channels));
  const MatrixView<T, Device> y =
      place(Index{0}, shape.out_rows(), workspace.template take<T>(shape.out_rows(), shape.outputs));
  if (shape.pointwise()) {
    gemm<T>(context, Transpose::no, Transpose::yes, T(1), x,
            MatrixView<const T, Device>(weight.data(), shape.outputs, shape.channels), T(0), y);
  } else {
    const auto ordered = detail::weights_by_pixel<T>(context, shape, weight.data(),
                                                     workspace.template take<T>(shape.outputs, shape.taps()));
    const auto gathered = workspace.template take<T>(detail::images_at_once(shape) * shape.out_pixels(), shape.taps());
    detail::for_image_blocks(shape, [&](Index first, Index images) {
      const auto columns = gathered.middle_rows(0, images * shape.out_pixels());
      detail::gather<T>(context, shape, x.middle_rows(first * shape.in_pixels(), images * shape.in_pixels()), columns);
      gemm<T>(context, Transpose::no, Transpose::yes, T(1), columns, ordered, T(0),
              y.middle_rows(first * shape.out_pixels(), columns.rows()));
    });
  }
  finish(Index{0}, shape.out_rows(), y);
}

/// dx and dW as on the processor, in one block.
template <class T, class XSource, class DySource, class Place, class Finish>
void convolution_backward_streamed(CudaContext& context, const ConvolutionShape& shape, XSource&& x_source,
                                   DySource&& dy_source, VectorView<const std::type_identity_t<T>, Device> weight,
                                   Place&& place, Finish&& finish, VectorView<T, Device> d_weight,
                                   const ConvolutionGradients& wanted) {
  detail::require_convolution("convolution_backward", shape, weight.size());
  if (wanted.weights)
    require_size("convolution_backward", "d_weight", "elements", d_weight.size(), shape.weights(), "those of weight");
  if (shape.in_rows() == 0) {
    if (wanted.weights && !wanted.accumulate_weights) zero(context, d_weight);
    return;
  }
  if (!wanted.weights && !wanted.data) return;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const MatrixView<const T, Device> dy =
      dy_source(Index{0}, shape.out_rows(), workspace.template take<T>(shape.out_rows(), shape.outputs));
  const auto gathered = workspace.template take<T>(
      shape.pointwise() ? 0 : detail::images_at_once(shape) * shape.out_pixels(), shape.taps());
  if (wanted.weights) {
    const auto inner = workspace.mark();
    const MatrixView<const T, Device> x =
        x_source(Index{0}, shape.in_rows(), workspace.template take<T>(shape.in_rows(), shape.channels));
    if (shape.pointwise()) {
      gemm<T>(context, Transpose::yes, Transpose::no, T(1), dy, x, wanted.accumulate_weights ? T(1) : T(0),
              MatrixView<T, Device>(d_weight.data(), shape.outputs, shape.channels));
    } else {
      const auto sum = workspace.template take<T>(shape.outputs, shape.taps());
      detail::for_image_blocks(shape, [&](Index first, Index images) {
        const auto columns = gathered.middle_rows(0, images * shape.out_pixels());
        detail::gather<T>(context, shape, x.middle_rows(first * shape.in_pixels(), images * shape.in_pixels()),
                          columns);
        gemm<T>(context, Transpose::yes, Transpose::no, T(1),
                dy.middle_rows(first * shape.out_pixels(), columns.rows()), columns, first == 0 ? T(0) : T(1), sum);
      });
      for_each_cell(context, "weights_by_channel", shape.outputs, shape.taps(),
                    kernels::WeightsByChannel<T>{shape.channels, shape.kernel * shape.kernel, wanted.accumulate_weights,
                                                 sum, d_weight.data()});
    }
  }
  if (!wanted.data) return;
  const MatrixView<T, Device> dx =
      place(Index{0}, shape.in_rows(), workspace.template take<T>(shape.in_rows(), shape.channels));
  if (shape.pointwise()) {
    gemm<T>(context, Transpose::no, Transpose::no, T(1), dy,
            MatrixView<const T, Device>(weight.data(), shape.outputs, shape.channels), T(0), dx);
  } else {
    const auto ordered = detail::weights_by_pixel<T>(context, shape, weight.data(),
                                                     workspace.template take<T>(shape.outputs, shape.taps()));
    detail::for_image_blocks(shape, [&](Index first, Index images) {
      const auto columns = gathered.middle_rows(0, images * shape.out_pixels());
      gemm<T>(context, Transpose::no, Transpose::no, T(1), dy.middle_rows(first * shape.out_pixels(), columns.rows()),
              ordered, T(0), columns);
      for_each_cell(context, "gather_gradient", images * shape.in_pixels(), shape.channels,
                    kernels::GatherGradient<T>{kernels::ConvolutionSizes(shape), columns,
                                               dx.middle_rows(first * shape.in_pixels(), images * shape.in_pixels())});
    });
  }
  finish(Index{0}, shape.in_rows(), dx);
}

/// y = x * W on the device; arguments as in convolution on the processor.
template <class T>
void convolution(CudaContext& context, const ConvolutionShape& shape,
                 MatrixView<const std::type_identity_t<T>, Device> x,
                 VectorView<const std::type_identity_t<T>, Device> weight, MatrixView<T, Device> y) {
  detail::require_convolution("convolution", shape, weight.size());
  require_shape("convolution", "x", x, shape.in_rows(), shape.channels);
  require_shape("convolution", "y", y, shape.out_rows(), shape.outputs);
  convolution_streamed<T>(
      context, shape, [&](Index, Index, MatrixView<T, Device>) { return x; }, weight,
      [&](Index, Index, MatrixView<T, Device>) { return y; }, [](Index, Index, MatrixView<T, Device>) {});
}

/// dx and dW of the same; arguments as in convolution_backward on the processor.
template <class T>
void convolution_backward(CudaContext& context, const ConvolutionShape& shape,
                          MatrixView<const std::type_identity_t<T>, Device> x,
                          MatrixView<const std::type_identity_t<T>, Device> dy,
                          VectorView<const std::type_identity_t<T>, Device> weight, MatrixView<T, Device> dx,
                          VectorView<std::type_identity_t<T>, Device> d_weight, bool accumulate = false) {
  detail::require_convolution("convolution_backward", shape, weight.size());
  require_shape("convolution_backward", "dy", dy, shape.out_rows(), shape.outputs);
  if (!d_weight.empty()) require_shape("convolution_backward", "x", x, shape.in_rows(), shape.channels);
  if (!dx.empty()) require_shape("convolution_backward", "dx", dx, shape.in_rows(), shape.channels);
  convolution_backward_streamed<T>(
      context, shape, [&](Index, Index, MatrixView<T, Device>) { return x; },
      [&](Index, Index, MatrixView<T, Device>) { return dy; }, weight,
      [&](Index, Index, MatrixView<T, Device>) { return dx; }, [](Index, Index, MatrixView<T, Device>) {}, d_weight,
      {.data = !dx.empty(), .weights = !d_weight.empty(), .accumulate_weights = accumulate});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
