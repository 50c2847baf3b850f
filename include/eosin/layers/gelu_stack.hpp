#pragma once

// A chain of linear layers, each followed by GELU: the hidden part of the MLP and of the adapter.
//
//   u_i = h_{i-1} W_i^T + b_i,   h_i = GELU(u_i),   h_0 = x
//   du_i = dh_i GELU'(u_i),      dh_{i-1} = du_i W_i
//
// Bias, GELU and its derivative are applied to the products while they are in the cache (ops/linear_gelu.hpp).

#include <eosin/layers/linear.hpp>
#include <eosin/ops/linear_gelu.hpp>

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
      require_size("Linear", "x", "columns", input.cols(), layers_[i].inputs(), "inputs");
      ops::linear_gelu<T>(context, input, layers_[i].weight(), layers_[i].bias(), cache.derivative[i].view(),
                          cache.hidden[i].view());
      input = std::as_const(cache.hidden[i]).view();
    }
    return input;
  }

  /// From `d_last` = dh_last, which is overwritten, and which may be the memory of h_last. Parameter gradients by
  /// `mode`; `dx` is computed unless empty. Uses the cache as scratch: one backward per forward. Needs a layer.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> d_last, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode) const {
    const std::size_t last = layers_.size() - 1;
    ops::gelu_backward_sums<T>(context, derivative(cache, last), d_last, bias_gradient(last, mode),
                               mode == GradientMode::accumulate);
    descend(context, x, d_last, dx, cache, mode);
  }

  /// The same from the gradient dz of z = h_last V^T + c, the output of a linear layer `head` behind the stack. The
  /// memory of h_last is overwritten.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, const Linear<T, Space>& head, MatrixView<const T, Space> dz,
                MatrixView<T, Space> dx, Cache& cache, GradientMode mode) const {
    const std::size_t last = layers_.size() - 1;
    ops::product_gelu_backward<T>(context, dz, head.weight(), derivative(cache, last), cache.hidden[last].view(),
                                  bias_gradient(last, mode), mode == GradientMode::accumulate);
    descend(context, x, cache.hidden[last].view(), dx, cache, mode);
  }

 private:
  static MatrixView<const T, Space> derivative(const Cache& cache, std::size_t layer) {
    return cache.derivative[layer].view();
  }
  VectorView<T, Space> bias_gradient(std::size_t layer, GradientMode mode) const {
    return mode == GradientMode::ignore ? VectorView<T, Space>() : layers_[layer].bias_gradient();
  }

  /// From du_last, the bias gradient of the last layer being done.
  template <Context C>
  void descend(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> du, MatrixView<T, Space> dx,
               Cache& cache, GradientMode mode) const {
    for (std::size_t i = layers_.size() - 1; i > 0; --i) {
      // The weight gradient is the last reader of h_{i-1}; its memory then takes du_{i-1}.
      const auto below = cache.hidden[i - 1].view();
      layers_[i].weight_backward(context, below, du, mode);
      ops::product_gelu_backward<T>(context, du, layers_[i].weight(), derivative(cache, i - 1), below,
                                    bias_gradient(i - 1, mode), mode == GradientMode::accumulate);
      du = below;
    }
    layers_[0].weight_backward(context, x, du, mode);
    if (!dx.empty()) layers_[0].input_backward(context, du, dx);
  }

  std::vector<Linear<T, Space>> layers_;
};

}  // namespace eosin::layers
