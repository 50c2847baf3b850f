#pragma once

// Linear layer y = x W^T + b, x [n x in], W [out x in], b [out], y [n x out].
//
//   dx = dy W        dW = dy^T x        db = sum_n dy_n
//
// Names as in PyTorch: NAME.weight, NAME.bias. Derivation: docs/derivations/linear.md.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/reduce.hpp>

#include <string>

namespace eosin::layers {

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

  Index inputs() const { return inputs_; }
  Index outputs() const { return outputs_; }
  /// For callers that fuse the layer with what follows or precedes it.
  MatrixView<const T, Space> weight() const { return std::as_const(*parameters_).matrix(weight_); }
  VectorView<const T, Space> bias() const { return std::as_const(*parameters_).value(bias_); }
  VectorView<T, Space> bias_gradient() const { return parameters_->gradient(bias_); }

  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y) const {
    require_size("Linear", "x", "columns", x.cols(), inputs_, "inputs");
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), x, weight(), T(0), y);
    ops::add_bias<T>(context, bias(), y);
  }

  /// Needs x of the forward pass alive. An empty `dx` is not computed.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dy, MatrixView<T, Space> dx,
                GradientMode mode) const {
    weight_backward(context, x, dy, mode);
    if (mode != GradientMode::ignore)
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
  Parameters<T, Space>* parameters_;
  Index inputs_;
  Index outputs_;
  SegmentId weight_;
  SegmentId bias_;
};

}  // namespace eosin::layers
