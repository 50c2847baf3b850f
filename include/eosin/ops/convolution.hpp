#pragma once

// Two-dimensional convolution (cross-correlation, as in PyTorch) with a square kernel, images with their channels
// together (NHWC), no bias:
//
//   y(n, i, j, o) = sum_{c,u,v} W(o, c, u, v) x(n, s i - p + u, s j - p + v, c)          x = 0 outside the image
//
//   dx(n, a, b, c) = sum over (o, u, v, i, j) with s i - p + u = a, s j - p + v = b of W(o, c, u, v) dy(n, i, j, o)
//   dW(o, c, u, v) = sum_{n,i,j} dy(n, i, j, o) x(n, s i - p + u, s j - p + v, c)
//
// A batch of images is a matrix with one row per pixel (ConvolutionShape); its rows may lie apart, so a range of
// channels of a wider buffer is a batch too. Weights are [outputs x channels x kernel x kernel], as PyTorch stores
// them, and are brought into the order of the computation in each call, which costs little beside the convolution.
//
// The batch is cut into blocks (convolution_blocks), one task each: whole images, or any rows where a pixel depends on
// one pixel alone (kernel 1, stride 1), which needs no copies. In a block the pixels under the kernel are gathered by
// panels (im2col) and multiplied through the context's matrix-product backend; or the context's convolution backend
// does the block. Without either, the forward products of floats are taken in double: slower, and more accurate. What
// produces the input of a block and what follows its output can be handed in and then works on data in the cache: the
// streamed forms. Sums over blocks are added in order: results do not depend on the number of threads. Derivation:
// docs/derivations/convolution.md.

#include <eosin/ops/gemm.hpp>
#include <eosin/ops/windows.hpp>

#include <algorithm>
#include <string_view>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

/// How a batch is cut: block b takes the input rows [b * in_rows, ...) and the output rows [b * out_rows, ...); all
/// blocks are full but for the last of a pointwise convolution. A function of the shape alone.
struct ConvolutionBlocks {
  Index count = 0;
  Index images = 0;  ///< per block; 0 where blocks are ranges of rows
  Index in_rows = 1;
  Index out_rows = 1;
};

inline ConvolutionBlocks convolution_blocks(const ConvolutionShape& shape) {
  ConvolutionBlocks blocks;
  if (shape.in_rows() == 0) return blocks;
  if (shape.pointwise()) {
    // Enough blocks for a dozen threads; a block's rows stay in the second-level cache beside the weights.
    const Index rows = shape.in_rows();
    const Index most = std::clamp<Index>((Index{1} << 17) / std::max(shape.channels, shape.outputs), 64, 256);
    blocks.in_rows = blocks.out_rows = std::clamp<Index>((rows / 16 + 15) / 16 * 16, 64, most);
    blocks.count = (rows + blocks.in_rows - 1) / blocks.in_rows;
    return blocks;
  }
  // Small images several at a time, but so that eight threads find work; equal blocks, for which one kernel serves.
  Index images = std::min((shape.images + 7) / 8, std::max<Index>(1, 4096 / shape.out_pixels()));
  while (shape.images % images != 0) --images;
  blocks.images = images;
  blocks.in_rows = images * shape.in_pixels();
  blocks.out_rows = images * shape.out_pixels();
  blocks.count = shape.images / images;
  return blocks;
}

inline ConvolutionBlocks convolution_blocks(const CpuContext&, const ConvolutionShape& shape) {
  return convolution_blocks(shape);
}

namespace detail {

inline void require_convolution(std::string_view function, const ConvolutionShape& s, Index weights) {
  require_value(s.images >= 0 && s.height >= 0 && s.width >= 0 && s.channels > 0 && s.outputs > 0 && s.kernel > 0 &&
                    s.stride > 0 && s.padding >= 0,
                function, "a size of the convolution is out of range");
  if (s.height + 2 * s.padding < s.kernel || s.width + 2 * s.padding < s.kernel)
    throw ShapeError(std::string(function) + ": images of " + eosin::detail::shape_text(s.height, s.width) +
                     " pixels are smaller than the kernel of " + std::to_string(s.kernel) + " with padding " +
                     std::to_string(s.padding));
  require_size(function, "weight", "elements", weights, s.weights(), "outputs x channels x kernel x kernel");
}

/// A product on the calling thread.
template <class T>
void product(const GemmBackend* backend, Transpose ta, Transpose tb, MatrixView<const std::type_identity_t<T>> a,
             MatrixView<const std::type_identity_t<T>> b, std::type_identity_t<T> beta, MatrixView<T> c) {
  if (c.empty()) return;
  if (backend == nullptr || c.size() * op_cols<T>(ta, a) <= tiny_product) {
    packed_product<T>(ta, tb, T(1), a, b, beta, c);
  } else {
    backend->gemm(ta, tb, T(1), a, b, beta, c);
  }
}

/// y = columns * matrix' of floats through a product of doubles. Sums of thousands of floats lose two digits, which a
/// deep network amplifies until ReLUs near their kink fall on the other side. `wide_columns` and `wide_y` have room for
/// columns and y.
inline void multiply_wide(MatrixView<const float> columns, MatrixView<const double> matrix, MatrixView<float> y,
                          double* wide_columns, double* wide_y) {
  const MatrixView<double> in(wide_columns, columns.rows(), columns.cols()), out(wide_y, y.rows(), y.cols());
  for (Index r = 0; r < in.rows(); ++r) std::copy_n(&columns(r, 0), in.cols(), &in(r, 0));
  packed_product<double>(Transpose::no, Transpose::yes, 1, in, matrix, 0, out);
  for (Index r = 0; r < y.rows(); ++r)
    for (Index c = 0; c < y.cols(); ++c) y(r, c) = static_cast<float>(out(r, c));
}

template <class T>
void copy_rows(MatrixView<const T> from, MatrixView<T> to) {
  if (from.stride() == from.cols() && to.stride() == to.cols()) {
    std::copy(from.data(), from.data() + from.size(), to.data());
    return;
  }
  for (Index r = 0; r < from.rows(); ++r) std::copy(from.row(r).data(), from.row(r).data() + from.cols(), &to(r, 0));
}

/// Weights from [o, c, u, v] to [o, u, v, c], the order of gathered pixels.
template <class T>
void weights_by_pixel(CpuContext& context, const ConvolutionShape& s, const T* in, T* out) {
  const Index square = s.kernel * s.kernel;
  context.parallel_for(s.outputs, 16, [&](Index begin, Index end) {
    for (Index o = begin; o < end; ++o)
      for (Index tap = 0; tap < square; ++tap)
        for (Index c = 0; c < s.channels; ++c)
          out[o * s.taps() + tap * s.channels + c] = in[(o * s.channels + c) * square + tap];
  });
}

/// Output pixels per panel of gathered pixels: about 256 KiB of floats.
inline Index panel_rows(const ConvolutionShape& s) {
  return std::clamp<Index>((Index{1} << 16) / s.taps(), 16, 512);
}

/// Calls tap(output row in the panel, position in its row of taps, input row or -1 outside the image, count of
/// consecutive input pixels) for the output pixels [begin, begin + count) of one image: runs along a kernel row.
template <class F>
void for_each_run(const ConvolutionShape& s, Index begin, Index count, F&& run) {
  const Index wide = s.out_width();
  Index i = begin / wide, j = begin % wide;
  for (Index r = 0; r < count; ++r) {
    const Index left = j * s.stride - s.padding;
    const Index from = std::max<Index>(0, -left), to = std::clamp<Index>(s.width - left, from, s.kernel);
    for (Index u = 0; u < s.kernel; ++u) {
      const Index row = i * s.stride - s.padding + u;
      const Index first = u * s.kernel * s.channels;
      if (row < 0 || row >= s.height) {
        run(r, first, Index{-1}, s.kernel);
        continue;
      }
      if (from > 0) run(r, first, Index{-1}, from);
      if (to > from) run(r, first + from * s.channels, row * s.width + left + from, to - from);
      if (to < s.kernel) run(r, first + to * s.channels, Index{-1}, s.kernel - to);
    }
    if (++j == wide) j = 0, ++i;
  }
}

/// Gathers what the kernel sees at the output pixels [begin, begin + panel.rows()) of the image `x`.
template <class T>
void gather(const ConvolutionShape& s, MatrixView<const T> x, Index begin, MatrixView<T> panel) {
  for_each_run(s, begin, panel.rows(), [&](Index r, Index at, Index pixel, Index pixels) {
    T* to = &panel(r, at);
    if (pixel < 0) {
      std::fill(to, to + pixels * s.channels, T(0));
    } else if (x.stride() == s.channels) {
      std::copy(&x(pixel, 0), &x(pixel, 0) + pixels * s.channels, to);
    } else {
      for (Index k = 0; k < pixels; ++k)
        std::copy(&x(pixel + k, 0), &x(pixel + k, 0) + s.channels, to + k * s.channels);
    }
  });
}

/// The transpose of gather: adds the panel to the pixels it came from.
template <class T>
void scatter(const ConvolutionShape& s, MatrixView<const T> panel, Index begin, MatrixView<T> dx) {
  for_each_run(s, begin, panel.rows(), [&](Index r, Index at, Index pixel, Index pixels) {
    if (pixel < 0) return;
    for (Index k = 0; k < pixels; ++k) {
      const T* from = &panel(r, at + k * s.channels);
      T* to = &dx(pixel + k, 0);
      EOSIN_VECTORISE
      for (Index c = 0; c < s.channels; ++c) to[c] += from[c];
    }
  });
}

/// The backend's kernel for a block, or null for the library's own path.
template <class T>
const ConvolutionKernel* block_kernel(CpuContext& context, ConvolutionShape shape, Index images, ConvolutionPass pass) {
  if constexpr (std::is_same_v<T, float>) {
    if (images == 0 || context.convolution_backend() == nullptr) return nullptr;
    shape.images = images;
    return context.convolution_backend()->kernel(shape, pass);
  }
  return nullptr;
}

template <class T>
bool is_dense(MatrixView<T> view) {
  return view.stride() == view.cols();
}

/// Number of partial sums of a weight gradient: many for many threads, bounded by their memory.
inline Index weight_partials(const ConvolutionShape& shape, Index blocks) {
  return std::min(blocks, std::clamp<Index>((Index{1} << 24) / shape.weights(), 4, 32));
}

}  // namespace detail

/// y from blocks of x that a function makes:
///   source(row, rows, scratch)  the input rows [row, row + rows): fills `scratch` and returns it, or a view of memory
///   place(row, rows, scratch)   where the output rows [row, row + rows) go: `scratch` or memory of the caller
///   finish(row, rows, y)        called when they are there
/// A block is one call of each, on one thread, blocks in any order; see convolution_blocks. Workspace: one block of
/// input, output and gathered pixels per thread, and the weights once.
template <class T, class Source, class Place, class Finish>
void convolution_streamed(CpuContext& context, const ConvolutionShape& shape, Source&& source,
                          VectorView<const std::type_identity_t<T>> weight, Place&& place, Finish&& finish) {
  detail::require_convolution("convolution", shape, weight.size());
  const ConvolutionBlocks blocks = convolution_blocks(shape);
  if (blocks.count == 0) return;
  const auto mark = context.workspace().mark();
  auto& workspace = context.workspace();
  const ConvolutionKernel* kernel = detail::block_kernel<T>(context, shape, blocks.images, ConvolutionPass::forward);
  const Index workers = context.threads();
  const auto inputs = workspace.take<T>(workers, blocks.in_rows * shape.channels);
  const auto outputs = workspace.take<T>(workers, blocks.out_rows * shape.outputs);
  const Index panel = kernel != nullptr || shape.pointwise() ? 0 : detail::panel_rows(shape);
  const auto gathered = workspace.take<T>(workers, panel * shape.taps());
  const GemmBackend* gemm = context.gemm_backend();
  const bool wide = std::is_same_v<T, float> && kernel == nullptr && gemm == nullptr;
  const Index wide_rows = !wide ? 0 : shape.pointwise() ? blocks.out_rows : panel;
  const auto wide_columns = workspace.take<double>(workers, wide_rows * shape.taps());
  const auto wide_outputs = workspace.take<double>(workers, wide_rows * shape.outputs);
  const auto bytes =
      workspace.take<unsigned char>(workers, kernel == nullptr ? 0 : (kernel->scratch_bytes() + 63) / 64 * 64);
  const T* ordered = weight.data();
  if constexpr (std::is_same_v<T, float>) {
    if (kernel != nullptr) {
      const auto packed = workspace.take<T>(kernel->packed_weights());
      kernel->pack(weight.data(), packed.data());
      ordered = packed.data();
    }
  }
  if (kernel == nullptr && shape.kernel > 1) {
    const auto by_pixel = workspace.take<T>(shape.weights());
    detail::weights_by_pixel(context, shape, weight.data(), by_pixel.data());
    ordered = by_pixel.data();
  }
  const MatrixView<const T> matrix(ordered, shape.outputs, shape.taps());
  const auto wide_matrix = workspace.take<double>(wide ? shape.outputs : 0, shape.taps());
  if (wide) std::copy_n(ordered, shape.weights(), wide_matrix.data());
  // X W' is the form that libraries do at three quarters of the rate of X W; the weights are few.
  const bool turned = shape.pointwise() && gemm != nullptr;
  const auto turned_matrix = workspace.take<T>(turned ? shape.channels : 0, shape.outputs);
  for (Index c = 0; c < turned_matrix.rows(); ++c)
    for (Index o = 0; o < shape.outputs; ++o) turned_matrix(c, o) = matrix(o, c);
  const auto multiply = [&](MatrixView<const T> columns, MatrixView<T> y, [[maybe_unused]] int worker) {
    if constexpr (std::is_same_v<T, float>) {
      if (wide) {
        detail::multiply_wide(columns, wide_matrix, y, &wide_columns(worker, 0), &wide_outputs(worker, 0));
        return;
      }
    }
    if (turned) {
      detail::product<T>(gemm, Transpose::no, Transpose::no, columns, turned_matrix, T(0), y);
    } else {
      detail::product<T>(gemm, Transpose::no, Transpose::yes, columns, matrix, T(0), y);
    }
  };
  context.pool().run(blocks.count, [&](Index block, int worker) {
    const Index in_row = block * blocks.in_rows, out_row = block * blocks.out_rows;
    const Index in_rows = std::min(blocks.in_rows, shape.in_rows() - in_row);
    const Index out_rows = std::min(blocks.out_rows, shape.out_rows() - out_row);
    const MatrixView<T> in_scratch(&inputs(worker, 0), in_rows, shape.channels);
    const MatrixView<T> out_scratch(&outputs(worker, 0), out_rows, shape.outputs);
    MatrixView<const T> x = source(in_row, in_rows, in_scratch);
    const MatrixView<T> y = place(out_row, out_rows, out_scratch);
    if (shape.pointwise()) {
      multiply(x, y, worker);
    } else if (kernel != nullptr) {
      if constexpr (std::is_same_v<T, float>) {
        if (!detail::is_dense(x)) {
          detail::copy_rows<T>(x, in_scratch);
          x = in_scratch;
        }
        kernel->run(x.data(), ordered, detail::is_dense(y) ? y.data() : out_scratch.data(), &bytes(worker, 0));
        if (!detail::is_dense(y)) detail::copy_rows<T>(out_scratch, y);
      }
    } else {
      for (Index image = 0; image < blocks.images; ++image) {
        const auto image_x = x.middle_rows(image * shape.in_pixels(), shape.in_pixels());
        const auto image_y = y.middle_rows(image * shape.out_pixels(), shape.out_pixels());
        for (Index begin = 0; begin < shape.out_pixels(); begin += panel) {
          const Index rows = std::min(panel, shape.out_pixels() - begin);
          const MatrixView<T> columns(&gathered(worker, 0), rows, shape.taps());
          detail::gather<T>(shape, image_x, begin, columns);
          multiply(columns, image_y.middle_rows(begin, rows), worker);
        }
      }
    }
    finish(out_row, out_rows, y);
  });
}

/// What a backward pass computes.
struct ConvolutionGradients {
  bool data = true;
  bool weights = true;
  bool accumulate_weights = false;
};

/// dx and dW from blocks of x and dy that functions make, as in convolution_streamed: x_source and dy_source give
/// inputs and output gradients, `place` and `finish` take dx. x_source is called for the gradient of the weights
/// alone, place and finish for that of the data. Partial sums of dW: at most 32 times its memory or 64 MiB of floats.
template <class T, class XSource, class DySource, class Place, class Finish>
void convolution_backward_streamed(CpuContext& context, const ConvolutionShape& shape, XSource&& x_source,
                                   DySource&& dy_source, VectorView<const std::type_identity_t<T>> weight,
                                   Place&& place, Finish&& finish, VectorView<T> d_weight,
                                   const ConvolutionGradients& wanted) {
  detail::require_convolution("convolution_backward", shape, weight.size());
  if (wanted.weights)
    require_size("convolution_backward", "d_weight", "elements", d_weight.size(), shape.weights(), "those of weight");
  const ConvolutionBlocks blocks = convolution_blocks(shape);
  if (blocks.count == 0) {
    if (wanted.weights && !wanted.accumulate_weights) std::fill_n(d_weight.data(), d_weight.size(), T(0));
    return;
  }
  if (!wanted.weights && !wanted.data) return;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const ConvolutionKernel* data_kernel =
      wanted.data ? detail::block_kernel<T>(context, shape, blocks.images, ConvolutionPass::backward_data) : nullptr;
  const ConvolutionKernel* weight_kernel =
      wanted.weights ? detail::block_kernel<T>(context, shape, blocks.images, ConvolutionPass::backward_weights)
                     : nullptr;
  const Index workers = context.threads();
  const auto x_scratch = workspace.take<T>(workers, wanted.weights ? blocks.in_rows * shape.channels : 0);
  const auto dy_scratch = workspace.take<T>(workers, blocks.out_rows * shape.outputs);
  const auto dx_scratch = workspace.take<T>(workers, wanted.data ? blocks.in_rows * shape.channels : 0);
  const bool own_data = wanted.data && data_kernel == nullptr && !shape.pointwise();
  const bool own_weights = wanted.weights && weight_kernel == nullptr && !shape.pointwise();
  const Index panel = own_data || own_weights ? detail::panel_rows(shape) : 0;
  const auto gathered = workspace.take<T>(workers, panel * shape.taps());
  const Index kernel_bytes = std::max(data_kernel == nullptr ? 0 : data_kernel->scratch_bytes(),
                                      weight_kernel == nullptr ? 0 : weight_kernel->scratch_bytes());
  const auto bytes = workspace.take<unsigned char>(workers, (kernel_bytes + 63) / 64 * 64);

  const T* ordered = weight.data();
  if constexpr (std::is_same_v<T, float>) {
    if (data_kernel != nullptr) {
      const auto packed = workspace.take<T>(data_kernel->packed_weights());
      data_kernel->pack(weight.data(), packed.data());
      ordered = packed.data();
    }
  }
  if (own_data && shape.kernel > 1) {
    const auto by_pixel = workspace.take<T>(shape.weights());
    detail::weights_by_pixel(context, shape, weight.data(), by_pixel.data());
    ordered = by_pixel.data();
  }
  const MatrixView<const T> matrix(ordered, shape.outputs, shape.taps());

  const Index groups = wanted.weights ? detail::weight_partials(shape, blocks.count) : blocks.count;
  const Index partial_size = weight_kernel == nullptr ? shape.weights() : weight_kernel->packed_weights();
  const auto partials = workspace.take<T>(wanted.weights ? groups : 0, partial_size);
  // A kernel overwrites its result, which is then added to the partial sum.
  const bool several = blocks.count > groups;
  const auto fresh = workspace.take<T>(weight_kernel != nullptr && several ? workers : 0, partial_size);
  const GemmBackend* gemm = context.gemm_backend();
  context.pool().run(groups, [&](Index group, int worker) {
    const Index first = group * blocks.count / groups, last = (group + 1) * blocks.count / groups;
    for (Index block = first; block < last; ++block) {
      const Index in_row = block * blocks.in_rows, out_row = block * blocks.out_rows;
      const Index in_rows = std::min(blocks.in_rows, shape.in_rows() - in_row);
      const Index out_rows = std::min(blocks.out_rows, shape.out_rows() - out_row);
      const MatrixView<T> dense_dy(&dy_scratch(worker, 0), out_rows, shape.outputs);
      MatrixView<const T> dy = dy_source(out_row, out_rows, dense_dy);
      if ((data_kernel != nullptr || weight_kernel != nullptr) && !detail::is_dense(dy)) {
        detail::copy_rows<T>(dy, dense_dy);
        dy = dense_dy;
      }
      if (wanted.weights) {
        const MatrixView<T> dense_x(&x_scratch(worker, 0), in_rows, shape.channels);
        MatrixView<const T> x = x_source(in_row, in_rows, dense_x);
        const MatrixView<T> sum(&partials(group, 0), shape.outputs, shape.taps());
        if (shape.pointwise()) {
          detail::product<T>(gemm, Transpose::yes, Transpose::no, dy, x, block == first ? T(0) : T(1), sum);
        } else if (weight_kernel != nullptr) {
          if constexpr (std::is_same_v<T, float>) {
            if (!detail::is_dense(x)) {
              detail::copy_rows<T>(x, dense_x);
              x = dense_x;
            }
            T* result = block == first ? sum.data() : &fresh(worker, 0);
            weight_kernel->run(x.data(), dy.data(), result, &bytes(worker, 0));
            if (block != first) {
              T* total = sum.data();
              EOSIN_VECTORISE
              for (Index i = 0; i < partial_size; ++i) total[i] += result[i];
            }
          }
        } else {
          for (Index image = 0; image < blocks.images; ++image)
            for (Index begin = 0; begin < shape.out_pixels(); begin += panel) {
              const Index rows = std::min(panel, shape.out_pixels() - begin);
              const MatrixView<T> columns(&gathered(worker, 0), rows, shape.taps());
              detail::gather<T>(shape, x.middle_rows(image * shape.in_pixels(), shape.in_pixels()), begin, columns);
              detail::product<T>(gemm, Transpose::yes, Transpose::no,
                                 dy.middle_rows(image * shape.out_pixels() + begin, rows), columns,
                                 block == first && image == 0 && begin == 0 ? T(0) : T(1), sum);
            }
        }
      }
      if (!wanted.data) continue;
      const MatrixView<T> dense_dx(&dx_scratch(worker, 0), in_rows, shape.channels);
      const MatrixView<T> dx = place(in_row, in_rows, dense_dx);
      if (shape.pointwise()) {
        detail::product<T>(gemm, Transpose::no, Transpose::no, dy, matrix, T(0), dx);
      } else if (data_kernel != nullptr) {
        if constexpr (std::is_same_v<T, float>) {
          data_kernel->run(dy.data(), ordered, detail::is_dense(dx) ? dx.data() : dense_dx.data(), &bytes(worker, 0));
          if (!detail::is_dense(dx)) detail::copy_rows<T>(dense_dx, dx);
        }
      } else {
        for (Index r = 0; r < in_rows; ++r) std::fill_n(&dx(r, 0), shape.channels, T(0));
        for (Index image = 0; image < blocks.images; ++image)
          for (Index begin = 0; begin < shape.out_pixels(); begin += panel) {
            const Index rows = std::min(panel, shape.out_pixels() - begin);
            const MatrixView<T> columns(&gathered(worker, 0), rows, shape.taps());
            detail::product<T>(gemm, Transpose::no, Transpose::no,
                               dy.middle_rows(image * shape.out_pixels() + begin, rows), matrix, T(0), columns);
            detail::scatter<T>(shape, columns, begin, dx.middle_rows(image * shape.in_pixels(), shape.in_pixels()));
          }
      }
      finish(in_row, in_rows, dx);
    }
  });
  if (!wanted.weights) return;

  // The partial sums in order, then PyTorch's order of the weights.
  T* total = partials.data();
  context.parallel_for(partial_size, 4096, [&](Index begin, Index end) {
    for (Index g = 1; g < groups; ++g) {
      const T* partial = &partials(g, 0);
      EOSIN_VECTORISE
      for (Index i = begin; i < end; ++i) total[i] += partial[i];
    }
  });
  const bool add = wanted.accumulate_weights;
  const T* result = total;
  if constexpr (std::is_same_v<T, float>) {
    if (weight_kernel != nullptr) {
      if (!add) {
        weight_kernel->unpack(total, d_weight.data());
        return;
      }
      const auto unpacked = workspace.take<T>(shape.weights());
      weight_kernel->unpack(total, unpacked.data());
      result = unpacked.data();
    }
  }
  const Index square = shape.kernel * shape.kernel;
  const bool by_pixel = weight_kernel == nullptr;
  context.parallel_for(shape.outputs, 16, [&](Index begin, Index end) {
    for (Index o = begin; o < end; ++o)
      for (Index c = 0; c < shape.channels; ++c)
        for (Index tap = 0; tap < square; ++tap) {
          const Index at = (o * shape.channels + c) * square + tap;
          const T value = result[by_pixel ? o * shape.taps() + tap * shape.channels + c : at];
          d_weight[at] = add ? d_weight[at] + value : value;
        }
  });
}

/// y = x * W. x [images * height * width x channels], weight [outputs x channels x kernel x kernel] contiguous,
/// y [images * out_height * out_width x outputs]; y must not overlap x. Throws ShapeError, ValueError.
/// 2 out_rows taps outputs operations.
template <class T>
void convolution(CpuContext& context, const ConvolutionShape& shape, MatrixView<const std::type_identity_t<T>> x,
                 VectorView<const std::type_identity_t<T>> weight, MatrixView<T> y) {
  detail::require_convolution("convolution", shape, weight.size());
  require_shape("convolution", "x", x, shape.in_rows(), shape.channels);
  require_shape("convolution", "y", y, shape.out_rows(), shape.outputs);
  convolution_streamed<T>(
      context, shape, [&](Index row, Index rows, MatrixView<T>) { return x.middle_rows(row, rows); }, weight,
      [&](Index row, Index rows, MatrixView<T>) { return y.middle_rows(row, rows); },
      [](Index, Index, MatrixView<T>) {});
}

/// dx and dW of the same. An empty `dx` or `d_weight` is not computed; dW is added to `d_weight` if `accumulate`.
template <class T>
void convolution_backward(CpuContext& context, const ConvolutionShape& shape,
                          MatrixView<const std::type_identity_t<T>> x, MatrixView<const std::type_identity_t<T>> dy,
                          VectorView<const std::type_identity_t<T>> weight, MatrixView<T> dx,
                          VectorView<std::type_identity_t<T>> d_weight, bool accumulate = false) {
  detail::require_convolution("convolution_backward", shape, weight.size());
  require_shape("convolution_backward", "dy", dy, shape.out_rows(), shape.outputs);
  if (!d_weight.empty()) require_shape("convolution_backward", "x", x, shape.in_rows(), shape.channels);
  if (!dx.empty()) require_shape("convolution_backward", "dx", dx, shape.in_rows(), shape.channels);
  convolution_backward_streamed<T>(
      context, shape, [&](Index row, Index rows, MatrixView<T>) { return x.middle_rows(row, rows); },
      [&](Index row, Index rows, MatrixView<T>) { return dy.middle_rows(row, rows); }, weight,
      [&](Index row, Index rows, MatrixView<T>) { return dx.middle_rows(row, rows); },
      [](Index, Index, MatrixView<T>) {}, d_weight,
      {.data = !dx.empty(), .weights = !d_weight.empty(), .accumulate_weights = accumulate});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/convolution.cuh>
#endif
