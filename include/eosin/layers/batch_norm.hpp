#pragma once

// Batch normalisation of channels, alone or with the ReLU that follows (ops/batch_norm.hpp), with its statistics:
//
//   training     statistics of the batch (variance divided by N); afterwards
//                running <- (1 - momentum) running + momentum * batch, the variance divided by N - 1 here
//   evaluation   the running statistics, which do not move; gradients flow as through a scale and a shift
//   frozen       the same, and weight and bias are constants: their gradients are 0
//
// Names as in PyTorch: NAME.weight, NAME.bias, and the buffers NAME.running_mean, NAME.running_var.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/batch_norm.hpp>

#include <string>
#include <utility>
#include <vector>

namespace eosin::layers {

enum class BatchNormMode { training, evaluation, frozen };

struct BatchNormOptions {
  double eps = 1e-5;
  double momentum = 0.1;  ///< weight of the newest batch in the running statistics
};

/// Numbers of a model that are no parameters, by the name that PyTorch's state_dict gives them.
template <class T>
struct NamedBuffer {
  std::string name;
  VectorView<T> values;
};

template <class T>
class BatchNorm {
 public:
  /// Coefficients of the last forward pass.
  class Cache {
   public:
    void resize(Index channels) { values_.resize(4, channels); }
    ops::BatchNormCoefficients<T> coefficients() {
      return {values_.row(0), values_.row(1), values_.row(2), values_.row(3)};
    }

   private:
    Matrix<T> values_;
  };

  /// Registers NAME.weight (1) and NAME.bias (0); running mean 0, running variance 1.
  BatchNorm(Parameters<T>& parameters, const std::string& name, Index channels, const BatchNormOptions& options = {})
      : parameters_(&parameters),
        name_(name),
        options_(options),
        weight_(parameters.add(name + ".weight", {channels}, init::Constant{1})),
        bias_(parameters.add(name + ".bias", {channels})),
        running_mean_(channels),
        running_variance_(channels) {
    require_value(options.eps > 0 && options.momentum >= 0 && options.momentum <= 1, "BatchNorm",
                  "eps must be positive and momentum in [0, 1]");
    running_variance_.fill(T(1));
  }

  Index channels() const { return running_mean_.size(); }
  const BatchNormOptions& options() const { return options_; }
  VectorView<const T> weight() const { return std::as_const(*parameters_).value(weight_); }
  VectorView<const T> bias() const { return std::as_const(*parameters_).value(bias_); }
  /// Appends NAME.running_mean and NAME.running_var; valid while the layer lives.
  void append_buffers(std::vector<NamedBuffer<T>>& list) {
    list.push_back({name_ + ".running_mean", running_mean_.view()});
    list.push_back({name_ + ".running_var", running_variance_.view()});
  }

  /// Fills the cache from the statistics of a batch of `rows` rows (training, which moves the running statistics), or
  /// from the running statistics (otherwise `mean` and `variance` are not read).
  void prepare(BatchNormMode mode, VectorView<const T> mean, VectorView<const T> variance, Index rows, Cache& cache) {
    cache.resize(channels());
    const auto norm = cache.coefficients();
    const bool training = mode == BatchNormMode::training;
    if (training) {
      require_value(rows > 1, "BatchNorm",
                    "'" + name_ + "' has one value per channel, which training cannot normalise");
      const T keep = static_cast<T>(1 - options_.momentum), take = static_cast<T>(options_.momentum);
      const T unbiased = take * static_cast<T>(static_cast<double>(rows) / static_cast<double>(rows - 1));
      for (Index c = 0; c < channels(); ++c) {
        running_mean_[c] = keep * running_mean_[c] + take * mean[c];
        running_variance_[c] = keep * running_variance_[c] + unbiased * variance[c];
      }
    }
    for (Index c = 0; c < channels(); ++c) norm.mean[c] = training ? mean[c] : running_mean_[c];
    ops::batch_norm_coefficients<T>(training ? variance : std::as_const(running_variance_).view(), weight(), bias(),
                                    static_cast<T>(options_.eps), norm);
  }

  /// Gradients of weight and bias from sum_n d_nc and sum_n d_nc (x_nc - m_c).
  void parameter_gradients(BatchNormMode batch_mode, VectorView<const double> sum, VectorView<const double> centred,
                           Cache& cache, GradientMode mode) const {
    if (mode == GradientMode::ignore) return;
    const auto norm = cache.coefficients();
    const auto d_weight = parameters_->gradient(weight_), d_bias = parameters_->gradient(bias_);
    for (Index c = 0; c < channels(); ++c) {
      const bool frozen = batch_mode == BatchNormMode::frozen;
      const T dw = frozen ? T(0) : static_cast<T>(static_cast<double>(norm.inverse_deviation[c]) * centred[c]);
      const T db = frozen ? T(0) : static_cast<T>(sum[c]);
      d_weight[c] = mode == GradientMode::accumulate ? d_weight[c] + dw : dw;
      d_bias[c] = mode == GradientMode::accumulate ? d_bias[c] + db : db;
    }
  }

  /// y = norm(x), then relu if asked for. x, y [n x channels]. Keep x and the cache until backward.
  void forward(CpuContext& context, BatchNormMode mode, MatrixView<const T> x, MatrixView<T> y, bool relu,
               Cache& cache) {
    require_size("BatchNorm", "x", "columns", x.cols(), channels(), "channels");
    require_shape("BatchNorm", "y", y, x.rows(), x.cols());
    const auto mark = context.workspace().mark();
    const auto mean = context.workspace().template take<T>(channels());
    const auto variance = context.workspace().template take<T>(channels());
    if (mode == BatchNormMode::training) {
      const ops::BlockMoments<T> moments(context.workspace(), (x.rows() + block - 1) / block, channels());
      context.parallel_for(x.rows(), block, [&](Index begin, Index end) {
        moments.add(begin / block, x.middle_rows(begin, end - begin));
      });
      moments.finish(mean, variance);
    }
    prepare(mode, mean, variance, x.rows(), cache);
    const auto norm = cache.coefficients();
    context.parallel_for(x.rows(), block, [&](Index begin, Index end) {
      const auto in = x.middle_rows(begin, end - begin);
      const auto out = y.middle_rows(begin, end - begin);
      if (relu) {
        ops::normalise_rows_of_batch<true, T>(in, norm, out);
      } else {
        ops::normalise_rows_of_batch<false, T>(in, norm, out);
      }
    });
  }

  /// dx from dy, with the mode and the relu of the forward pass; dx may be dy.
  void backward(CpuContext& context, BatchNormMode batch_mode, MatrixView<const T> x, MatrixView<const T> dy,
                MatrixView<T> dx, bool relu, Cache& cache, GradientMode mode) const {
    require_size("BatchNorm", "x", "columns", x.cols(), channels(), "channels");
    require_shape("BatchNorm", "dy", dy, x.rows(), x.cols());
    require_shape("BatchNorm", "dx", dx, x.rows(), x.cols());
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto norm = cache.coefficients();
    const ops::BlockGradientSums<T> sums(workspace, (x.rows() + block - 1) / block, channels());
    context.parallel_for(x.rows(), block, [&](Index begin, Index end) {
      const auto in = x.middle_rows(begin, end - begin);
      const auto up = dy.middle_rows(begin, end - begin);
      const auto store = [&](Index r, auto lanes, auto d) { lanes.store(&dx(begin + r, 0), d); };
      if (relu) {
        sums.template add<true>(begin / block, in, up, norm, store);
      } else {
        sums.template add<false>(begin / block, in, up, norm, store);
      }
    });
    const auto sum = workspace.template take<double>(channels()), centred = workspace.template take<double>(channels());
    sums.finish(sum, centred);
    parameter_gradients(batch_mode, sum, centred, cache, mode);
    const auto gradient = input_gradient(workspace, batch_mode, norm, norm.scale, sum, centred, x.rows());
    context.parallel_for(x.rows(), block, [&](Index begin, Index end) {
      const auto rows = dx.middle_rows(begin, end - begin);
      ops::batch_norm_backward_rows<T>(x.middle_rows(begin, end - begin), rows, gradient, rows);
    });
  }

  /// Coefficients of dx in workspace memory.
  static ops::BatchNormInputGradient<T> input_gradient(Workspace& workspace, BatchNormMode mode,
                                                       const ops::BatchNormCoefficients<T>& norm,
                                                       VectorView<const T> scale, VectorView<const double> sum,
                                                       VectorView<const double> centred, Index rows) {
    const Index n = norm.mean.size();
    const ops::BatchNormInputGradient<T> gradient{workspace.template take<T>(n), workspace.template take<T>(n),
                                                  workspace.template take<T>(n), workspace.template take<T>(n)};
    ops::batch_norm_input_gradient<T>(norm, scale, sum, centred, mode == BatchNormMode::training ? rows : 0, gradient);
    return gradient;
  }

 private:
  static constexpr Index block = 512;

  Parameters<T>* parameters_;
  std::string name_;
  BatchNormOptions options_;
  SegmentId weight_;
  SegmentId bias_;
  Vector<T> running_mean_;
  Vector<T> running_variance_;
};

}  // namespace eosin::layers
