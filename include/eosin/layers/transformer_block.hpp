#pragma once

// Pre-norm Transformer block (Vaswani et al. 2017, normalisation before each half):
//
//   m = x + attention(norm1(x)),   y = m + feed_forward(norm2(m))
//
//   dm = dy + norm2'(ff'(dy)),     dx = dm + norm1'(attention'(dm))
//
// Sentences are as in ops/attention.hpp; everything else goes row by row. The names of the parameters are the caller's:
// two systems' names are given below.

#include <eosin/layers/feed_forward.hpp>
#include <eosin/layers/layer_norm.hpp>
#include <eosin/layers/self_attention.hpp>

#include <span>
#include <string>

namespace eosin::layers {

/// Names of the layers of a block.
struct TransformerBlockNames {
  std::string attention_norm, qkv, output, feed_forward_norm, feed_forward_in, feed_forward_out;

  /// mclSTExp (lucidrains' vit-pytorch).
  static TransformerBlockNames nested(const std::string& prefix) {
    return {prefix + ".attn.norm", prefix + ".attn.fn.to_qkv", prefix + ".attn.fn.to_out.0",
            prefix + ".ff.norm",   prefix + ".ff.fn.net.0",    prefix + ".ff.fn.net.3"};
  }
  /// timm's vision Transformers.
  static TransformerBlockNames timm(const std::string& prefix) {
    return {prefix + ".norm1", prefix + ".attn.qkv", prefix + ".attn.proj",
            prefix + ".norm2", prefix + ".mlp.fc1",  prefix + ".mlp.fc2"};
  }
};

struct TransformerBlockOptions {
  SelfAttentionOptions attention;  ///< its size is that of the block
  Index hidden = 0;                ///< of the feed-forward half
  double layer_norm_eps = 1e-5;
};

template <class T, class Space = Host>
class TransformerBlock {
 public:
  struct Cache {
    typename LayerNorm<T, Space>::Cache attention_norm, feed_forward_norm;
    typename SelfAttention<T, Space>::Cache attention;
    typename FeedForward<T, Space>::Cache feed_forward;
    Matrix<T, Space> attention_input, middle, feed_forward_input;
    ops::DropoutKey dropout;
  };

  TransformerBlock(Parameters<T, Space>& parameters, const TransformerBlockNames& names,
                   const TransformerBlockOptions& options)
      : attention_norm_(parameters, names.attention_norm, options.attention.size, {.eps = options.layer_norm_eps}),
        attention_(parameters, names.qkv, names.output, options.attention),
        feed_forward_norm_(parameters, names.feed_forward_norm, options.attention.size,
                           {.eps = options.layer_norm_eps}),
        feed_forward_(parameters, names.feed_forward_in, names.feed_forward_out, options.attention.size, options.hidden,
                      options.attention.start) {}

  Index size() const { return attention_norm_.size(); }

  /// y [n x size]. Keep x, offsets and the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, std::span<const Index> offsets, MatrixView<T, Space> y,
               Cache& cache, const ops::DropoutKey& dropout = {}) const {
    const Index n = x.rows();
    cache.attention_input.resize(n, size());
    cache.middle.resize(n, size());
    cache.feed_forward_input.resize(n, size());
    cache.dropout = dropout;
    attention_norm_.forward(context, x, cache.attention_input.view(), cache.attention_norm);
    ops::copy<T>(context, x, cache.middle.view());
    attention_.forward_add(context, cache.attention_input.view(), offsets, cache.middle.view(), cache.attention,
                           dropout.at(0));
    feed_forward_norm_.forward(context, cache.middle.view(), cache.feed_forward_input.view(), cache.feed_forward_norm);
    ops::copy<T>(context, cache.middle.view(), y);
    feed_forward_.forward_add(context, cache.feed_forward_input.view(), y, cache.feed_forward, dropout.at(1));
  }

  /// dx from dy; dx may be dy. Uses the cache as scratch: one backward per forward.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, std::span<const Index> offsets, MatrixView<const T, Space> dy,
                MatrixView<T, Space> dx, Cache& cache, GradientMode mode) const {
    const auto mark = context.workspace().mark();
    const auto d_input = context.workspace().template take<T>(x.rows(), size());
    feed_forward_.backward(context, cache.feed_forward_input.view(), dy, d_input, cache.feed_forward, mode,
                           cache.dropout.at(1));
    if (dx.data() != dy.data()) ops::copy<T>(context, dy, dx);
    feed_forward_norm_.backward(context, cache.middle.view(), d_input, dx, cache.feed_forward_norm, mode, true);
    attention_.backward(context, cache.attention_input.view(), offsets, dx, d_input, cache.attention, mode,
                        cache.dropout.at(0));
    attention_norm_.backward(context, x, d_input, dx, cache.attention_norm, mode, true);
  }

 private:
  LayerNorm<T, Space> attention_norm_;
  SelfAttention<T, Space> attention_;
  LayerNorm<T, Space> feed_forward_norm_;
  FeedForward<T, Space> feed_forward_;
};

}  // namespace eosin::layers
