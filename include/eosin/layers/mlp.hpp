#pragma once

// Multilayer perceptron: Linear, GELU, Linear, GELU, ..., Linear; without a hidden layer it is one Linear.
//
//   h = hidden layers of x (gelu_stack.hpp),   logits = h W^T + b
//   dh = dlogits W, and so on down the stack
//
// Names as in PyTorch's Sequential: NAME.0, NAME.2, NAME.4, ... (odd numbers are the GELUs).

#include <eosin/layers/gelu_stack.hpp>

#include <string>
#include <utility>
#include <vector>

namespace eosin::layers {

template <class T, class Space = Host>
class Mlp {
 public:
  using Cache = typename GeluStack<T, Space>::Cache;

  /// `sizes`: input, hidden ..., output; at least two. `head_gain` multiplies the start of the last layer's weight.
  Mlp(Parameters<T, Space>& parameters, const std::string& name, const std::vector<Index>& sizes, double head_gain = 1)
      : inputs_(sizes.empty() ? 0 : sizes.front()),
        stack_(make_stack(parameters, name, sizes)),
        head_(parameters, name + "." + std::to_string(2 * stack_.size()), sizes[sizes.size() - 2], sizes.back(),
              head_gain) {}

  Index inputs() const { return inputs_; }
  Index outputs() const { return head_.outputs(); }

  /// logits [n x outputs]. Keep x and the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> logits, Cache& cache) const {
    require_size("Mlp", "x", "columns", x.cols(), inputs_, "inputs");
    head_.forward(context, stack_.forward(context, x, cache), logits);
  }

  /// Parameter gradients by `mode`; `dx` is computed unless empty. Uses the cache as scratch: one backward per forward.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> d_logits, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode) const {
    if (stack_.size() == 0) {
      head_.backward(context, x, d_logits, dx, mode);
      return;
    }
    head_.backward(context, std::as_const(cache.hidden.back()).view(), d_logits, {}, mode);
    stack_.backward(context, x, head_, d_logits, dx, cache, mode);
  }

 private:
  static GeluStack<T, Space> make_stack(Parameters<T, Space>& parameters, const std::string& name,
                                        const std::vector<Index>& sizes) {
    require_value(sizes.size() >= 2, "Mlp", "sizes need an input and an output");
    GeluStack<T, Space> stack;
    for (std::size_t i = 0; i + 2 < sizes.size(); ++i)
      stack.append(Linear<T, Space>(parameters, name + "." + std::to_string(2 * i), sizes[i], sizes[i + 1]));
    return stack;
  }

  Index inputs_;
  GeluStack<T, Space> stack_;
  Linear<T, Space> head_;
};

}  // namespace eosin::layers
