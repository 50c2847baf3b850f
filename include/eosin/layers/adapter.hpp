#pragma once

// Adapter projector: GELU layers as wide as the input, one residual around all of them, then a linear head.
//
//   r = h_last + x (h_last from gelu_stack.hpp),   logits = r W^T + b
//   dr = dlogits W,   dx = dr + what the stack passes back from dh_last = dr
//
// Names: NAME.projection_layers.I.0 for the layers, NAME.head.

#include <eosin/layers/gelu_stack.hpp>
#include <eosin/ops/elementwise.hpp>

#include <string>
#include <utility>

namespace eosin::layers {

template <class T, class Space = Host>
class Adapter {
 public:
  struct Cache {
    typename GeluStack<T, Space>::Cache stack;
    Matrix<T, Space> residual;
  };

  /// `layers` >= 1 hidden layers of `width`. `head_gain` multiplies the start of the head's weight.
  Adapter(Parameters<T, Space>& parameters, const std::string& name, Index width, Index layers, Index outputs,
          double head_gain = 1)
      : stack_(make_stack(parameters, name, width, layers)),
        head_(parameters, name + ".head", width, outputs, head_gain) {}

  Index inputs() const { return head_.inputs(); }
  Index outputs() const { return head_.outputs(); }

  /// logits [n x outputs]. Keep x and the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> logits, Cache& cache) const {
    require_size("Adapter", "x", "columns", x.cols(), inputs(), "inputs");
    const auto last = stack_.forward(context, x, cache.stack);
    cache.residual.resize(x.rows(), inputs());
    ops::copy<T>(context, last, cache.residual.view());
    ops::add<T>(context, x, cache.residual.view());
    head_.forward(context, std::as_const(cache.residual).view(), logits);
  }

  /// Parameter gradients by `mode`; `dx` is computed unless empty. Uses the cache as scratch: one backward per forward.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> d_logits, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode) const {
    auto residual = cache.residual.view();
    head_.backward(context, residual, d_logits, {}, mode);
    head_.input_backward(context, d_logits, residual);
    const auto mark = context.workspace().mark();
    MatrixView<T, Space> skip;
    if (!dx.empty()) {
      skip = context.workspace().template take<T>(dx.rows(), dx.cols());
      ops::copy<T>(context, residual, skip);
    }
    stack_.backward(context, x, residual, dx, cache.stack, mode);
    if (!dx.empty()) ops::add<T>(context, skip, dx);
  }

 private:
  static GeluStack<T, Space> make_stack(Parameters<T, Space>& parameters, const std::string& name, Index width,
                                        Index layers) {
    require_value(layers >= 1, "Adapter", "layers must be at least 1");
    GeluStack<T, Space> stack;
    for (Index i = 0; i < layers; ++i)
      stack.append(
          Linear<T, Space>(parameters, name + ".projection_layers." + std::to_string(i) + ".0", width, width));
    return stack;
  }

  GeluStack<T, Space> stack_;
  Linear<T, Space> head_;
};

}  // namespace eosin::layers
