#pragma once

// The projection head of CLIP-like models: x [n x inputs] to h [n x outputs],
//
//   u = x W1^T + b1,   z = u + W2 gelu(u) + b2,   h = LayerNorm(z)
//
//   dz = norm'(dh),   du = dz + (dz W2) * gelu'(u),   dx = du W1;   dW2 = dz^T gelu(u),  dW1 = du^T x
//                                                            (docs/derivations/projection_head.md)
//
// Names: NAME.projection, NAME.fc, NAME.layer_norm. Dropout, where asked for, follows the second layer.

#include <eosin/layers/layer_norm.hpp>
#include <eosin/layers/linear.hpp>
#include <eosin/ops/dropout.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/gelu.hpp>

#include <string>

namespace eosin::layers {

struct ProjectionHeadOptions {
  Index inputs = 0;
  Index outputs = 256;
  double layer_norm_eps = 1e-5;
  LinearStart start = LinearStart::fan_in;
};

template <class T, class Space = Host>
class ProjectionHead {
 public:
  struct Cache {
    Matrix<T, Space> u, gelu, z;
    typename LayerNorm<T, Space>::Cache norm;
    ops::DropoutKey dropout;
  };

  /// `name` may be empty: the names then have no prefix.
  ProjectionHead(Parameters<T, Space>& parameters, const std::string& name, const ProjectionHeadOptions& options)
      : projection_(parameters, prefix(name) + "projection", options.inputs, options.outputs,
                    LinearOptions{.start = options.start}),
        fc_(parameters, prefix(name) + "fc", options.outputs, options.outputs, LinearOptions{.start = options.start}),
        norm_(parameters, prefix(name) + "layer_norm", options.outputs, {.eps = options.layer_norm_eps}) {}

  Index inputs() const { return projection_.inputs(); }
  Index outputs() const { return projection_.outputs(); }

  /// Keep x and the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> x, MatrixView<T, Space> h, Cache& cache,
               const ops::DropoutKey& dropout = {}) const {
    require_size("ProjectionHead", "x", "columns", x.cols(), inputs(), "inputs");
    cache.u.resize(x.rows(), outputs());
    cache.gelu.resize(x.rows(), outputs());
    cache.z.resize(x.rows(), outputs());
    cache.dropout = dropout;
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), x, projection_.weight(), T(0), cache.u.view());
    ops::bias_gelu<T>(context, cache.u.view(), projection_.bias(), cache.gelu.view());
    fc_.forward(context, cache.gelu.view(), cache.z.view());
    ops::dropout<T>(context, dropout, cache.z.view(), cache.z.view());
    ops::add<T>(context, cache.u.view(), cache.z.view());
    norm_.forward(context, cache.z.view(), h, cache.norm);
  }

  /// `dx` is computed unless empty.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> x, MatrixView<const T, Space> dh, MatrixView<T, Space> dx,
                Cache& cache, GradientMode mode) const {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto dz = workspace.template take<T>(x.rows(), outputs());
    norm_.backward(context, cache.z.view(), dh, dz, cache.norm, mode);
    MatrixView<const T, Space> upstream = dz;
    if (cache.dropout.rate != 0) {
      const auto kept = workspace.template take<T>(x.rows(), outputs());
      ops::dropout<T>(context, cache.dropout, dz, kept);
      upstream = kept;
    }
    const auto du = workspace.template take<T>(x.rows(), outputs());
    fc_.backward(context, cache.gelu.view(), upstream, du, mode);
    ops::gelu_backward<T>(context, cache.u.view(), du, du);
    ops::add<T>(context, dz, du);
    projection_.backward(context, x, du, dx, mode);
  }

 private:
  static std::string prefix(const std::string& name) { return name.empty() ? name : name + "."; }

  Linear<T, Space> projection_, fc_;
  LayerNorm<T, Space> norm_;
};

}  // namespace eosin::layers
