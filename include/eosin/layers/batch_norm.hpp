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
template <class T, class Space = Host>
struct NamedBuffer {
  std::string name;
  VectorView<T, Space> values;
};

namespace detail {

/// What a forward pass does to channel c before it normalises: moves the running statistics in training, then takes
/// the coefficients.
template <class T, class Space>
struct PrepareChannel {
  bool training;
  T keep, take, unbiased;
  VectorView<T, Space> running_mean, running_variance;
  ops::detail::ChannelCoefficients<T, Space> coefficients;

  EOSIN_HOST_DEVICE void operator()(Index c) const {
    if (training) {
      running_mean[c] = keep * running_mean[c] + take * coefficients.mean[c];
      running_variance[c] = keep * running_variance[c] + unbiased * coefficients.variance[c];
    }
    coefficients(c);
  }
};

template <class T, class Space>
struct ChannelGradients {
  bool frozen, accumulate;
  VectorView<T, Space> inverse_deviation;
  VectorView<const double, Space> sum, centred;
  VectorView<T, Space> d_weight, d_bias;

  EOSIN_HOST_DEVICE void operator()(Index c) const {
    const T dw = frozen ? T(0) : static_cast<T>(static_cast<double>(inverse_deviation[c]) * centred[c]);
    const T db = frozen ? T(0) : static_cast<T>(sum[c]);
    d_weight[c] = accumulate ? d_weight[c] + dw : dw;
    d_bias[c] = accumulate ? d_bias[c] + db : db;
  }
};

}  // namespace detail

template <class T, class Space = Host>
class BatchNorm {
 public:
  /// Coefficients of the last forward pass.
  class Cache {
   public:
    void resize(Index channels) { values_.resize(4, channels); }
    ops::BatchNormCoefficients<T, Space> coefficients() {
      return {values_.row(0), values_.row(1), values_.row(2), values_.row(3)};
    }

   private:
    Matrix<T, Space> values_;
  };

  /// Registers NAME.weight (1) and NAME.bias (0); running mean 0, running variance 1.
  BatchNorm(Parameters<T, Space>& parameters, const std::string& name, Index channels,
            const BatchNormOptions& options = {})
      : parameters_(&parameters),
        name_(name),
        options_(options),
        weight_(parameters.add(name + ".weight", {channels}, init::Constant{1})),
        bias_(parameters.add(name + ".bias", {channels})),
        running_mean_(channels),
        running_variance_(ops::constant_vector<T>(Space{}, channels, T(1))) {
    require_value(options.eps > 0 && options.momentum >= 0 && options.momentum <= 1, "BatchNorm",
                  "eps must be positive and momentum in [0, 1]");
  }

  Index channels() const { return running_mean_.size(); }
  const BatchNormOptions& options() const { return options_; }
  VectorView<const T, Space> weight() const { return std::as_const(*parameters_).value(weight_); }
  VectorView<const T, Space> bias() const { return std::as_const(*parameters_).value(bias_); }
  /// Appends NAME.running_mean and NAME.running_var; valid while the layer lives.
  void append_buffers(std::vector<NamedBuffer<T, Space>>& list) {
    list.push_back({name_ + ".running_mean", running_mean_.view()});
    list.push_back({name_ + ".running_var", running_variance_.view()});
  }

  /// Fills the cache from the statistics of a batch of `rows` rows (training, which moves the running statistics), or
  /// from the running statistics (otherwise `mean` and `variance` are not read).
  template <Context C>
  void prepare(C& context, BatchNormMode mode, VectorView<const T, Space> mean, VectorView<const T, Space> variance,
               Index rows, Cache& cache) {
    cache.resize(channels());
    const bool training = mode == BatchNormMode::training;
    if (training)
      require_value(rows > 1, "BatchNorm",
                    "'" + name_ + "' has one value per channel, which training cannot normalise");
    const T keep = static_cast<T>(1 - options_.momentum), take = static_cast<T>(options_.momentum);
    const T unbiased =
        training ? take * static_cast<T>(static_cast<double>(rows) / static_cast<double>(rows - 1)) : T(0);
    const VectorView<T, Space> running_mean = running_mean_.view(), running_variance = running_variance_.view();
    ops::for_each_channel(
        context, "batch_norm_prepare", channels(),
        detail::PrepareChannel<T, Space>{training,
                                         keep,
                                         take,
                                         unbiased,
                                         running_mean,
                                         running_variance,
                                         {training ? mean : running_mean, training ? variance : running_variance,
                                          weight(), bias(), static_cast<T>(options_.eps), cache.coefficients()}});
  }

  /// Gradients of weight and bias from sum_n d_nc and sum_n d_nc (x_nc - m_c).
  template <Context C>
  void parameter_gradients(C& context, BatchNormMode batch_mode, VectorView<const double, Space> sum,
                           VectorView<const double, Space> centred, Cache& cache, GradientMode mode) const {
    if (mode == GradientMode::ignore) return;
    ops::for_each_channel(
        context, "batch_norm_parameter_gradients", channels(),
        detail::ChannelGradients<T, Space>{batch_mode == BatchNormMode::frozen, mode == GradientMode::accumulate,
                                           cache.coefficients().inverse_deviation, sum, centred,
                                           parameters_->gradient(weight_), parameters_->gradient(bias_)});
  }

  /// y = norm(x), then relu if asked for. x, y [n x channels]. Keep x and the cache until backward.
  template <Context C>
  void forward(C& context, BatchNormMode mode, MatrixView<const T, Space> x, MatrixView<T, Space> y, bool relu,
               Cache& cache) {
    require_size("BatchNorm", "x", "columns", x.cols(), channels(), "channels");
    require_shape("BatchNorm", "y", y, x.rows(), x.cols());
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto mean = workspace.template take<T>(channels());
    const auto variance = workspace.template take<T>(channels());
    if (mode == BatchNormMode::training) {
      ops::BlockMoments<T, Space> moments(context, ops::row_blocks(context, x.rows(), block), channels());
      ops::for_row_blocks<T>(context, x.rows(), block, 0, [&](Index b, Index row, MatrixView<T, Space> rows) {
        moments.add(b, x.middle_rows(row, rows.rows()));
      });
      moments.finish(mean, variance);
    }
    prepare(context, mode, mean, variance, x.rows(), cache);
    const auto norm = cache.coefficients();
    ops::for_row_blocks<T>(context, x.rows(), block, 0, [&](Index, Index row, MatrixView<T, Space> rows) {
      const auto in = x.middle_rows(row, rows.rows());
      const auto out = y.middle_rows(row, rows.rows());
      if (relu) {
        ops::normalise_rows_of_batch<true, T>(context, in, norm, out);
      } else {
        ops::normalise_rows_of_batch<false, T>(context, in, norm, out);
      }
    });
  }

  /// dx from dy, with the mode and the relu of the forward pass; dx may be dy.
  template <Context C>
  void backward(C& context, BatchNormMode batch_mode, MatrixView<const T, Space> x, MatrixView<const T, Space> dy,
                MatrixView<T, Space> dx, bool relu, Cache& cache, GradientMode mode) const {
    require_size("BatchNorm", "x", "columns", x.cols(), channels(), "channels");
    require_shape("BatchNorm", "dy", dy, x.rows(), x.cols());
    require_shape("BatchNorm", "dx", dx, x.rows(), x.cols());
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto norm = cache.coefficients();
    ops::BlockGradientSums<T, Space> sums(context, ops::row_blocks(context, x.rows(), block), channels());
    ops::for_row_blocks<T>(context, x.rows(), block, 0, [&](Index b, Index row, MatrixView<T, Space> rows) {
      const auto in = x.middle_rows(row, rows.rows());
      const auto up = dy.middle_rows(row, rows.rows());
      const ops::KeepGradient<T, Space> store{dx.middle_rows(row, rows.rows())};
      if (relu) {
        sums.template add<true>(b, in, up, norm, store);
      } else {
        sums.template add<false>(b, in, up, norm, store);
      }
    });
    const auto sum = workspace.template take<double>(channels()), centred = workspace.template take<double>(channels());
    sums.finish(sum, centred);
    parameter_gradients(context, batch_mode, sum, centred, cache, mode);
    const auto gradient = input_gradient(context, batch_mode, norm, norm.scale, sum, centred, x.rows());
    ops::for_row_blocks<T>(context, x.rows(), block, 0, [&](Index, Index row, MatrixView<T, Space> count) {
      const auto rows = dx.middle_rows(row, count.rows());
      ops::batch_norm_backward_rows<T>(context, x.middle_rows(row, count.rows()), rows, gradient, rows);
    });
  }

  /// Coefficients of dx in workspace memory.
  template <Context C>
  static ops::BatchNormInputGradient<T, Space> input_gradient(C& context, BatchNormMode mode,
                                                              const ops::BatchNormCoefficients<T, Space>& norm,
                                                              VectorView<const T, Space> scale,
                                                              VectorView<const double, Space> sum,
                                                              VectorView<const double, Space> centred, Index rows) {
    const Index n = norm.mean.size();
    auto& workspace = context.workspace();
    const ops::BatchNormInputGradient<T, Space> gradient{workspace.template take<T>(n), workspace.template take<T>(n),
                                                         workspace.template take<T>(n), workspace.template take<T>(n)};
    ops::batch_norm_input_gradient<T>(context, norm, scale, sum, centred, mode == BatchNormMode::training ? rows : 0,
                                      gradient);
    return gradient;
  }

 private:
  static constexpr Index block = 512;

  Parameters<T, Space>* parameters_;
  std::string name_;
  BatchNormOptions options_;
  SegmentId weight_;
  SegmentId bias_;
  Vector<T, Space> running_mean_;
  Vector<T, Space> running_variance_;
};

}  // namespace eosin::layers
