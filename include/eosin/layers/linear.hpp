#pragma once

// Linear layer y = x W^T + b, x [n x in], W [out x in], b [out], y [n x out].
//
//   dx = dy W        dW = dy^T x        db = sum_n dy_n
//
// The bias can be left out. Names as in PyTorch: NAME.weight, NAME.bias. Derivation: docs/derivations/linear.md.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/reduce.hpp>

#include <cmath>
#include <optional>
#include <string>

namespace eosin::layers {

/// `xavier`: weight Xavier normal, bias zero; `fan_in`: both uniform within 1 / sqrt(inputs), as PyTorch starts.
enum class LinearStart { xavier, fan_in };

struct LinearOptions {
  bool bias = true;  ///< false: y = x W^T
  LinearStart start = LinearStart::xavier;
};

template <class T, class Space = Host>
class Linear {
 public:
  /// Registers NAME.weight (Xavier normal times `gain`) and NAME.bias (zero).
  Linear(Parameters<T, Space>& parameters, const std::string& name, Index inputs, Index outputs, double gain = 1)
      : parameters_(&parameters),
        inputs_(inputs),
        outputs_(outputs),
        weight_(parameters.add(name + ".weight", {outputs, inputs}, init::XavierNormal{gain})),
        bias_(parameters.add(name + ".bias", {outputs})) {}

  /// The same with a choice of start, and with or without bias.
  Linear(Parameters<T, Space>& parameters, const std::string& name, Index inputs, Index outputs,
         const LinearOptions& options)
      : parameters_(&parameters), inputs_(inputs), outputs_(outputs) {
    const bool fan_in = options.start == LinearStart::fan_in;
    const double bound = inputs > 0 ? 1 / std::sqrt(static_cast<double>(inputs)) : 0;
    const Initialiser uniform = init::Uniform{-bound, bound};
    weight_ = parameters.add(name + ".weight", {outputs, inputs}, fan_in ? uniform : init::XavierNormal{});
    if (options.bias) bias_ = parameters.add(name + ".bias", {outputs}, fan_in ? uniform : init::Zeros{});
  }

  Index inputs() const { return inputs_; }
  Index outputs() const { return outputs_; }
  bool has_bias() const { return bias_.has_value(); }
  /// For callers that fuse the layer with what follows or precedes it.
  MatrixView<const T, Space> weight() const { return std::as_const(*parameters_).matrix(weight_); }
  /// Empty without bias, like its gradient.
  VectorView<const T, Space> bias() const {
    return bias_ ? std::as_const(*parameters_).value(*bias_) : VectorView<const T, Space>();
  }
  VectorView<T, Space> bias_gradient() const { return bias_ ? parameters_->gradient(*bias_) : VectorView<T, Space>(); }

  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y) const {
    product(context, x, y, T(0));
  }

  /// y += x W^T + b.
  template <Context C>
  void forward_add(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y) const {
    product(context, x, y, T(1));
  }

  /// Needs x of the forward pass alive. An empty `dx` is not computed.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dy, MatrixView<T, Space> dx,
                GradientMode mode) const {
    weight_backward(context, x, dy, mode);
    if (bias_ && mode != GradientMode::ignore)
      ops::column_sums<T>(context, dy, bias_gradient(), T(1), mode == GradientMode::accumulate);
    if (!dx.empty()) input_backward(context, dy, dx);
  }

  /// Only dW.
  template <Context C>
  void weight_backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dy,
                       GradientMode mode) const {
    if (mode == GradientMode::ignore) return;
    ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), dy, x, mode == GradientMode::accumulate ? T(1) : T(0),
                 parameters_->gradient_matrix(weight_));
  }

  /// Only dx.
  template <Context C>
  void input_backward(C& context, MatrixView<const T, Space> dy, MatrixView<T, Space> dx) const {
    ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), dy, weight(), T(0), dx);
  }

 private:
  template <Context C>
  void product(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y, T keep) const {
    require_size("Linear", "x", "columns", x.cols(), inputs_, "inputs");
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), x, weight(), keep, y);
    if (bias_) ops::add_bias<T>(context, bias(), y);
  }

  Parameters<T, Space>* parameters_;
  Index inputs_;
  Index outputs_;
  SegmentId weight_;
  std::optional<SegmentId> bias_;
};

}  // namespace eosin::layers
