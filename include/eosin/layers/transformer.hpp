#pragma once

// A stack of pre-norm Transformer blocks without a norm behind the last: x_b = block_b(x_{b-1}).
//
//   dx_{b-1} = block_b'(dx_b), from the last block to the first                     (transformer_block.hpp)
//
// Each block's input is kept until backward.

#include <eosin/layers/transformer_block.hpp>

#include <functional>
#include <span>
#include <vector>

namespace eosin::layers {

template <class T, class Space = Host>
class Transformer {
 public:
  struct Cache {
    std::vector<typename TransformerBlock<T, Space>::Cache> blocks;
    std::vector<Matrix<T, Space>> inputs;  ///< of all blocks but the first
  };

  /// `names(b)` gives those of block b.
  Transformer(Parameters<T, Space>& parameters, Index depth, const TransformerBlockOptions& options,
              const std::function<TransformerBlockNames(Index)>& names)
      : size_(options.attention.size) {
    require_value(depth >= 0, "Transformer", "the depth is negative");
    for (Index b = 0; b < depth; ++b) blocks_.emplace_back(parameters, names(b), options);
  }

  Index size() const { return size_; }
  Index depth() const { return static_cast<Index>(blocks_.size()); }

  /// y [n x size]. Keep x, offsets and the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, std::span<const Index> offsets, MatrixView<T, Space> y,
               Cache& cache, const ops::DropoutKey& dropout = {}) const {
    require_size("Transformer", "x", "columns", x.cols(), size_, "size of the blocks");
    require_shape("Transformer", "y", y, x.rows(), x.cols());
    if (blocks_.empty()) {
      ops::copy<T>(context, x, y);
      return;
    }
    cache.blocks.resize(blocks_.size());
    cache.inputs.resize(blocks_.size() - 1);
    MatrixView<const T, Space> input = x;
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      MatrixView<T, Space> result = y;
      if (b + 1 < blocks_.size()) {
        cache.inputs[b].resize(x.rows(), size_);
        result = cache.inputs[b].view();
      }
      blocks_[b].forward(context, input, offsets, result, cache.blocks[b], dropout.at(b));
      input = result;
    }
  }

  /// dx from dy, both [n x size]; dx may be dy. Uses the cache as scratch: one backward per forward.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, std::span<const Index> offsets, MatrixView<const T, Space> dy,
                MatrixView<T, Space> dx, Cache& cache, GradientMode mode) const {
    require_shape("Transformer", "dx", dx, x.rows(), x.cols());
    if (dx.data() != dy.data()) ops::copy<T>(context, dy, dx);
    for (std::size_t b = blocks_.size(); b-- > 0;)
      blocks_[b].backward(context, b == 0 ? x : std::as_const(cache.inputs[b - 1]).view(), offsets, dx, dx,
                          cache.blocks[b], mode);
  }

 private:
  Index size_;
  std::vector<TransformerBlock<T, Space>> blocks_;
};

}  // namespace eosin::layers
