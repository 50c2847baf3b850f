#pragma once

// A chain of linear layers, each followed by GELU: the hidden part of the MLP and of the adapter.
//
//   u_i = h_{i-1} W_i^T + b_i,   h_i = GELU(u_i),   h_0 = x
//   du_i = dh_i GELU'(u_i),      dh_{i-1} = du_i W_i
//
// Bias, GELU and its derivative are one pass over the product, so that backward only multiplies.

#include <eosin/layers/linear.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/gelu.hpp>

#include <utility>
#include <vector>

namespace eosin::layers {

template <class T, class Space = Host>
class GeluStack {
 public:
  /// What backward reads, per layer: GELU'(u_i) and h_i.
  struct Cache {
    std::vector<Matrix<T, Space>> derivative;
    std::vector<Matrix<T, Space>> hidden;
  };

  GeluStack() = default;
  void append(Linear<T, Space> layer) { layers_.push_back(std::move(layer)); }

  std::size_t size() const { return layers_.size(); }

  /// Returns h_last, which lives in the cache (x itself without layers). Keep x and the cache until backward.
  template <Context C>
  MatrixView<const T, Space> forward(C& context, MatrixView<const T, Space> x, Cache& cache) const {
    cache.derivative.resize(layers_.size());
    cache.hidden.resize(layers_.size());
    MatrixView<const T, Space> input = x;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      cache.derivative[i].resize(x.rows(), layers_[i].outputs());
      cache.hidden[i].resize(x.rows(), layers_[i].outputs());
      layers_[i].product(context, input, cache.derivative[i].view());
      ops::bias_gelu_derivative<T>(context, layers_[i].bias(), cache.derivative[i].view(), cache.hidden[i].view());
      input = std::as_const(cache.hidden[i]).view();
    }
    return input;
  }

  /// From `d_last` = dh_last, which is overwritten, and which may be the memory of h_last. Parameter gradients by
  /// `mode`; `dx` is computed unless empty. Uses the cache as scratch: one backward per forward. Needs a layer.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> d_last, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode) const {
    MatrixView<T, Space> upstream = d_last;
    for (std::size_t i = layers_.size(); i-- > 0;) {
      ops::multiply<T>(context, std::as_const(cache.derivative[i]).view(), upstream);
      if (i == 0) {
        layers_[0].backward(context, x, upstream, dx, mode);
        return;
      }
      // The weight gradient is the last reader of h_{i-1}; its memory then takes dh_{i-1}.
      layers_[i].backward(context, std::as_const(cache.hidden[i - 1]).view(), upstream, {}, mode);
      layers_[i].backward(context, {}, upstream, cache.hidden[i - 1].view(), GradientMode::ignore);
      upstream = cache.hidden[i - 1].view();
    }
  }

 private:
  std::vector<Linear<T, Space>> layers_;
};

}  // namespace eosin::layers
