#pragma once

// Convolution layer without bias over images with their channels together (ops/convolution.hpp); the weight is
// NAME.weight [outputs x channels x kernel x kernel], as in PyTorch.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/convolution.hpp>

#include <cmath>
#include <string>
#include <utility>

namespace eosin::layers {

/// What the deviation of the first weights is taken from (He et al. 2015): sqrt(2 / fan).
enum class Fan { in, out };

struct ConvolutionOptions {
  Index kernel = 1;
  Index stride = 1;
  Index padding = 0;
  Fan fan = Fan::in;
};

template <class T, class Space = Host>
class Convolution {
 public:
  /// Registers NAME.weight.
  Convolution(Parameters<T, Space>& parameters, const std::string& name, Index channels, Index outputs,
              const ConvolutionOptions& options = {})
      : parameters_(&parameters), channels_(channels), outputs_(outputs), options_(options) {
    require_value(channels > 0 && outputs > 0 && options.kernel > 0 && options.stride > 0 && options.padding >= 0,
                  "Convolution", "a size is out of range");
    const Index fan = (options.fan == Fan::in ? channels : outputs) * options.kernel * options.kernel;
    weight_ = parameters.add(name + ".weight", {outputs, channels, options.kernel, options.kernel},
                             init::Normal{0, std::sqrt(2.0 / static_cast<double>(fan))});
  }

  Index channels() const { return channels_; }
  Index outputs() const { return outputs_; }
  ConvolutionShape shape(Index images, Index height, Index width) const {
    return {images, height, width, channels_, outputs_, options_.kernel, options_.stride, options_.padding};
  }
  VectorView<const T, Space> weight() const { return std::as_const(*parameters_).value(weight_); }
  VectorView<T, Space> weight_gradient() const { return parameters_->gradient(weight_); }

  /// x [images * height * width x channels] to y [images * out_height * out_width x outputs].
  template <Context C>
  void forward(C& context, Index images, Index height, Index width, MatrixView<const T, Space> x,
               MatrixView<T, Space> y) const {
    ops::convolution<T>(context, shape(images, height, width), x, weight(), y);
  }

  /// Needs x of the forward pass alive. An empty `dx` is not computed.
  template <Context C>
  void backward(C& context, Index images, Index height, Index width, MatrixView<const T, Space> x,
                MatrixView<const T, Space> dy, MatrixView<T, Space> dx, GradientMode mode) const {
    ops::convolution_backward<T>(context, shape(images, height, width), x, dy, weight(), dx,
                                 mode == GradientMode::ignore ? VectorView<T, Space>() : weight_gradient(),
                                 mode == GradientMode::accumulate);
  }

 private:
  Parameters<T, Space>* parameters_;
  Index channels_;
  Index outputs_;
  ConvolutionOptions options_;
  SegmentId weight_;
};

}  // namespace eosin::layers
