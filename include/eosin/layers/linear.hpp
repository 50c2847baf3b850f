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
  VectorView<const T, Space> bias() const { return std::as_const(*parameters_).value(bias_); }

  /// y = x W^T, without the bias: for callers that fuse it with what follows.
  template <Context C>
  void product(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y) const {
    require_size("Linear", "x", "columns", x.cols(), inputs_, "inputs");
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), x, std::as_const(*parameters_).matrix(weight_), T(0), y);
  }

  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y) const {
    product(context, x, y);
    ops::add_bias<T>(context, bias(), y);
  }

  /// Needs x of the forward pass alive. An empty `dx` is not computed.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dy, MatrixView<T, Space> dx,
                GradientMode mode) const {
    if (mode != GradientMode::ignore) {
      const bool accumulate = mode == GradientMode::accumulate;
      ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), dy, x, accumulate ? T(1) : T(0),
                   parameters_->gradient_matrix(weight_));
      ops::column_sums<T>(context, dy, parameters_->gradient(bias_), T(1), accumulate);
    }
    if (!dx.empty())
      ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), dy, std::as_const(*parameters_).matrix(weight_), T(0), dx);
  }

 private:
  Parameters<T, Space>* parameters_;
  Index inputs_;
  Index outputs_;
  SegmentId weight_;
  SegmentId bias_;
};

}  // namespace eosin::layers
