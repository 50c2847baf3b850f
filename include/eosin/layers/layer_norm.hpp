#pragma once

// Layer normalisation with trained weight and bias: y = (x - mean) / sqrt(variance + eps) * weight + bias per row.
//
//   dx, dweight, dbias: ops/layer_norm.hpp, docs/derivations/layer_norm.md
//
// Names as in PyTorch: NAME.weight (starts at 1), NAME.bias (0).

#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/layer_norm.hpp>

#include <optional>
#include <string>

namespace eosin::layers {

struct LayerNormOptions {
  double eps = 1e-5;
  bool affine = true;  ///< false: neither weight nor bias
};

template <class T, class Space = Host>
class LayerNorm {
 public:
  /// Mean and inverse deviation of each row.
  struct Cache {
    Matrix<T, Space> moments;

    VectorView<T, Space> mean() { return moments.row(0); }
    VectorView<T, Space> inverse_deviation() { return moments.row(1); }
  };

  LayerNorm(Parameters<T, Space>& parameters, const std::string& name, Index size, const LayerNormOptions& options = {})
      : parameters_(&parameters), size_(size), eps_(options.eps) {
    if (!options.affine) return;
    weight_ = parameters.add(name + ".weight", {size}, init::Constant{1});
    bias_ = parameters.add(name + ".bias", {size});
  }

  Index size() const { return size_; }

  /// Keep x and the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> y, Cache& cache) const {
    require_size("LayerNorm", "x", "columns", x.cols(), size_, "size of the layer");
    cache.moments.resize(2, x.rows());
    ops::layer_norm<T>(context, x, value(weight_), value(bias_), eps_, y, cache.mean(), cache.inverse_deviation());
  }

  /// dx = or, where `add_to_dx`, dx +=; dx may be dy.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dy, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode, bool add_to_dx = false) const {
    ops::layer_norm_backward<T>(context, x, cache.mean(), cache.inverse_deviation(), value(weight_), dy, dx,
                                gradient(weight_, mode), gradient(bias_, mode),
                                {.add_to_dx = add_to_dx, .accumulate = mode == GradientMode::accumulate});
  }

 private:
  VectorView<const T, Space> value(const std::optional<SegmentId>& id) const {
    return id ? std::as_const(*parameters_).value(*id) : VectorView<const T, Space>();
  }
  VectorView<T, Space> gradient(const std::optional<SegmentId>& id, GradientMode mode) const {
    return id && mode != GradientMode::ignore ? parameters_->gradient(*id) : VectorView<T, Space>();
  }

  Parameters<T, Space>* parameters_;
  Index size_;
  double eps_;
  std::optional<SegmentId> weight_, bias_;
};

}  // namespace eosin::layers
