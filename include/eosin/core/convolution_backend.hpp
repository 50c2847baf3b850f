#pragma once

// The shape of a two-dimensional convolution, and the door through which a library of convolutions takes the place of
// the default (products of matrices). As with matrix products, a context carries a pointer to a backend; nothing global
// is set.

#include <eosin/core/config.hpp>

namespace eosin {

/// Sizes of a convolution with a square kernel over images whose channels lie together (NHWC): a batch is a matrix of
/// [images * height * width] rows, one per pixel in reading order, and [channels] columns.
struct ConvolutionShape {
  Index images = 0;
  Index height = 0;
  Index width = 0;
  Index channels = 0;  ///< of the input
  Index outputs = 0;   ///< channels of the output
  Index kernel = 1;    ///< edge of the kernel
  Index stride = 1;
  Index padding = 0;  ///< pixels of zeros on each side

  Index out_height() const { return (height + 2 * padding - kernel) / stride + 1; }
  Index out_width() const { return (width + 2 * padding - kernel) / stride + 1; }
  Index in_pixels() const { return height * width; }
  Index out_pixels() const { return out_height() * out_width(); }
  Index in_rows() const { return images * in_pixels(); }
  Index out_rows() const { return images * out_pixels(); }
  /// Weights per output: kernel * kernel * channels.
  Index taps() const { return kernel * kernel * channels; }
  Index weights() const { return outputs * taps(); }
  /// Whether an output pixel is a function of the one input pixel of the same number.
  bool pointwise() const { return kernel == 1 && stride == 1 && padding == 0; }

  bool operator==(const ConvolutionShape&) const = default;
};

enum class ConvolutionPass { forward, backward_data, backward_weights };

/// One pass of one shape, ready to run. Computes on the calling thread alone; callable from several threads at once.
/// Pixels are dense: rows of a matrix without gaps.
class ConvolutionKernel {
 public:
  virtual ~ConvolutionKernel() = default;
  /// Floats of the weights in the kernel's own layout.
  virtual Index packed_weights() const = 0;
  /// Bytes of scratch that run() needs, aligned to a cache line.
  virtual Index scratch_bytes() const = 0;
  /// Weights [outputs x channels x kernel x kernel] to the kernel's layout (forward, backward_data).
  virtual void pack(const float* weights, float* packed) const = 0;
  /// And back (backward_weights).
  virtual void unpack(const float* packed, float* weights) const = 0;
  /// forward: (x, packed weights, y); backward_data: (dy, packed weights, dx); backward_weights: (x, dy, packed dW).
  /// The result is overwritten.
  virtual void run(const float* first, const float* second, float* result, unsigned char* scratch) const = 0;
};

/// A provider of kernels for floats.
class ConvolutionBackend {
 public:
  virtual ~ConvolutionBackend() = default;
  virtual const char* name() const = 0;
  /// The kernel of a shape, which lives as long as the backend; null where the backend has none that is worth it.
  /// Callable from several threads at once.
  virtual const ConvolutionKernel* kernel(const ConvolutionShape& shape, ConvolutionPass pass) const = 0;
};

}  // namespace eosin
