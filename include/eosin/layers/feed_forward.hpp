#pragma once

// The feed-forward half of a Transformer block: y += W2 gelu(W1 x + b1) + b2, x [n x size], W1 [hidden x size].
//
//   dh = dy W2,   du = dh * gelu'(u),   dx = du W1;   dW2 = dy^T h,  dW1 = du^T x,  db2, db1 = sums over the rows
//
// Dropout, where asked for, follows GELU and the second layer; backward takes the same key. Products and GELU share one
// pass over the memory (ops/linear_gelu.hpp). Derivation: docs/derivations/gelu_stack.md.

#include <eosin/layers/linear.hpp>
#include <eosin/ops/dropout.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/linear_gelu.hpp>

#include <string>

namespace eosin::layers {

template <class T, class Space = Host>
class FeedForward {
 public:
  /// gelu'(u) and h, with dropout.
  struct Cache {
    Matrix<T, Space> slope;
    Matrix<T, Space> hidden;
  };

  /// `first` and `second` name the two linear layers.
  FeedForward(Parameters<T, Space>& parameters, const std::string& first, const std::string& second, Index size,
              Index hidden, LinearStart start = LinearStart::fan_in)
      : first_(parameters, first, size, hidden, LinearOptions{.start = start}),
        second_(parameters, second, hidden, size, LinearOptions{.start = start}) {}

  /// Adds to y [n x size]. Keep x and the cache until backward.
  template <Context C>
  void forward_add(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y, Cache& cache,
                   const ops::DropoutKey& dropout = {}) const {
    require_size("FeedForward", "x", "columns", x.cols(), first_.inputs(), "inputs");
    cache.slope.resize(x.rows(), first_.outputs());
    cache.hidden.resize(x.rows(), first_.outputs());
    ops::linear_gelu<T>(context, x, first_.weight(), first_.bias(), cache.slope.view(), cache.hidden.view());
    if (dropout.rate == 0) {
      second_.forward_add(context, cache.hidden.view(), y);
      return;
    }
    // Backward multiplies by the slope alone, so that it takes the dropout of h along.
    ops::dropout<T>(context, dropout.at(0), cache.hidden.view(), cache.hidden.view());
    ops::dropout<T>(context, dropout.at(0), cache.slope.view(), cache.slope.view());
    const auto mark = context.workspace().mark();
    const auto result = context.workspace().template take<T>(y.rows(), y.cols());
    second_.forward(context, cache.hidden.view(), result);
    ops::dropout<T>(context, dropout.at(1), result, result);
    ops::add<T>(context, result, y);
  }

  /// dx from dy; dx must not be dy. Uses the cache as scratch: one backward per forward.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dy, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode, const ops::DropoutKey& dropout = {}) const {
    const auto mark = context.workspace().mark();
    MatrixView<const T, Space> upstream = dy;
    if (dropout.rate != 0) {
      const auto kept = context.workspace().template take<T>(dy.rows(), dy.cols());
      ops::dropout<T>(context, dropout.at(1), dy, kept);
      upstream = kept;
    }
    const bool train = mode != GradientMode::ignore;
    const auto hidden = cache.hidden.view();
    second_.backward(context, hidden, upstream, {}, mode);
    ops::product_gelu_backward<T>(context, upstream, second_.weight(), cache.slope.view(), hidden,
                                  train ? first_.bias_gradient() : VectorView<T, Space>(),
                                  mode == GradientMode::accumulate);
    first_.weight_backward(context, x, hidden, mode);
    first_.input_backward(context, hidden, dx);
  }

 private:
  Linear<T, Space> first_, second_;
};

}  // namespace eosin::layers
