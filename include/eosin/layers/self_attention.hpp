#pragma once

// Multi-head self-attention within sentences, x [n x size], `heads` heads of width k:
//
//   [Q K V] = x W^T (+ b),   o = attention(Q, K, V)  (ops/attention.hpp),   y += o Wo^T + bo   or   y += o
//
// W [3 heads k x size]: rows 0 .. heads k - 1 give Q, then K, then V; within each head by head. The scale of the
// logits is k^-1/2.
//
//   do = dy Wo,   [dQ dK dV] = attention backward,   dx = [dQ dK dV] W,   dW = [dQ dK dV]^T x

#include <eosin/layers/linear.hpp>
#include <eosin/ops/attention.hpp>
#include <eosin/ops/dropout.hpp>
#include <eosin/ops/elementwise.hpp>

#include <cmath>
#include <optional>
#include <span>
#include <string>

namespace eosin::layers {

struct SelfAttentionOptions {
  Index size = 0;  ///< columns of x
  Index heads = 8;
  Index head_width = 64;
  bool qkv_bias = false;
  bool output_layer = true;  ///< false: y += o, which asks for heads * head_width == size
  LinearStart start = LinearStart::fan_in;
};

template <class T, class Space = Host>
class SelfAttention {
 public:
  struct Cache {
    Matrix<T, Space> qkv;
    Matrix<T, Space> out;
    Matrix<T, Space> log_sums;
  };

  /// `qkv` and `output` name the two linear layers.
  SelfAttention(Parameters<T, Space>& parameters, const std::string& qkv, const std::string& output,
                const SelfAttentionOptions& options)
      : heads_(options.heads),
        width_(options.head_width),
        qkv_(parameters, qkv, options.size, 3 * width(options),
             LinearOptions{.bias = options.qkv_bias, .start = options.start}) {
    if (options.output_layer) {
      output_.emplace(parameters, output, width(options), options.size, LinearOptions{.start = options.start});
    } else {
      require_value(width(options) == options.size, "SelfAttention",
                    "without an output layer the heads must be as wide together as the input");
    }
  }

  /// Adds to y [n x size]. Keep x and the cache until backward. Dropout follows the output layer.
  template <Context C>
  void forward_add(C& context, MatrixView<const T, Space> x, std::span<const Index> offsets, MatrixView<T, Space> y,
                   Cache& cache, const ops::DropoutKey& dropout = {}) const {
    const Index n = x.rows(), inner = heads_ * width_;
    cache.qkv.resize(n, 3 * inner);
    cache.out.resize(n, inner);
    cache.log_sums.resize(heads_, n);
    qkv_.forward(context, x, cache.qkv.view());
    const auto qkv = std::as_const(cache.qkv).view();
    ops::attention<T>(context, qkv.middle_cols(0, inner), qkv.middle_cols(inner, inner),
                      qkv.middle_cols(2 * inner, inner), offsets, heads_, scale(), cache.out.view(),
                      cache.log_sums.view());
    if (!output_) {
      ops::add<T>(context, cache.out.view(), y);
    } else if (dropout.rate == 0) {
      output_->forward_add(context, cache.out.view(), y);
    } else {
      const auto mark = context.workspace().mark();
      const auto result = context.workspace().template take<T>(n, y.cols());
      output_->forward(context, cache.out.view(), result);
      ops::dropout<T>(context, dropout, result, result);
      ops::add<T>(context, result, y);
    }
  }

  /// dx from dy; dx must not be dy.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, std::span<const Index> offsets, MatrixView<const T, Space> dy,
                MatrixView<T, Space> dx, Cache& cache, GradientMode mode, const ops::DropoutKey& dropout = {}) const {
    const Index n = x.rows(), inner = heads_ * width_;
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    MatrixView<const T, Space> d_out = dy;
    if (output_) {
      MatrixView<const T, Space> upstream = dy;
      if (dropout.rate != 0) {
        const auto kept = workspace.template take<T>(n, dy.cols());
        ops::dropout<T>(context, dropout, dy, kept);
        upstream = kept;
      }
      const auto product = workspace.template take<T>(n, inner);
      output_->backward(context, cache.out.view(), upstream, product, mode);
      d_out = product;
    }
    const auto qkv = std::as_const(cache.qkv).view();
    const auto d_qkv = workspace.template take<T>(n, 3 * inner);
    ops::attention_backward<T>(context, qkv.middle_cols(0, inner), qkv.middle_cols(inner, inner),
                               qkv.middle_cols(2 * inner, inner), offsets, heads_, scale(), cache.out.view(),
                               cache.log_sums.view(), d_out, d_qkv.middle_cols(0, inner),
                               d_qkv.middle_cols(inner, inner), d_qkv.middle_cols(2 * inner, inner));
    qkv_.backward(context, x, d_qkv, dx, mode);
  }

 private:
  static Index width(const SelfAttentionOptions& options) { return options.heads * options.head_width; }
  T scale() const { return static_cast<T>(1 / std::sqrt(static_cast<double>(width_))); }

  Index heads_, width_;
  Linear<T, Space> qkv_;
  std::optional<Linear<T, Space>> output_;
};

}  // namespace eosin::layers
