#pragma once

// Adam (Kingma and Ba 2015) with decoupled (AdamW, Loshchilov and Hutter 2019) or coupled (L2) weight decay, as one
// pass over the flat parameter buffer. Step t = 1, 2, ... with gradient g, already scaled by the clipping factor:
//
//   decoupled: p <- p (1 - lr wd)           coupled: g <- g + wd p
//   m <- b1 m + (1 - b1) g
//   v <- b2 v + (1 - b2) g^2
//   p <- p - lr / (1 - b1^t) * m / ( sqrt(v) / sqrt(1 - b2^t) + eps )

#include <eosin/core/parameters.hpp>
#include <eosin/math/pack.hpp>

#include <cmath>
#include <utility>

namespace eosin::optim {

enum class WeightDecay { decoupled, coupled };

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;  ///< must be positive
  double weight_decay = 0;
  WeightDecay decay = WeightDecay::decoupled;
};

inline namespace EOSIN_ISA_NAMESPACE {

/// The update of step t = 1, 2, ... for one element or a pack of them.
template <class T>
class AdamUpdate {
 public:
  /// Gradients count `gradient_scale` times.
  AdamUpdate(const AdamOptions& options, Index step, double learning_rate, double gradient_scale = 1.0) {
    const double t = static_cast<double>(step);
    rate_ = static_cast<T>(learning_rate / (1 - std::pow(options.beta1, t)));
    inverse_correction_ = static_cast<T>(1 / std::sqrt(1 - std::pow(options.beta2, t)));
    keep_ = options.decay == WeightDecay::decoupled ? static_cast<T>(1 - learning_rate * options.weight_decay) : T(1);
    coupled_ = options.decay == WeightDecay::coupled ? static_cast<T>(options.weight_decay) : T(0);
    b1_ = static_cast<T>(options.beta1);
    c1_ = static_cast<T>(1 - options.beta1);
    b2_ = static_cast<T>(options.beta2);
    c2_ = static_cast<T>(1 - options.beta2);
    eps_ = static_cast<T>(options.eps);
    scale_ = static_cast<T>(gradient_scale);
  }

  /// Nothing; to be overwritten.
  AdamUpdate() = default;

  /// The same with another gradient scale.
  EOSIN_HOST_DEVICE AdamUpdate scaled(double gradient_scale) const {
    AdamUpdate update = *this;
    update.scale_ = static_cast<T>(gradient_scale);
    return update;
  }

  /// Roundings are written out, so that an element gets the same bits wherever it is updated.
  template <math::Number V>
  EOSIN_HOST_DEVICE EOSIN_ALWAYS_INLINE void operator()(V& value, V gradient, V& first, V& second) const {
    const V g = math::multiply_add(V(coupled_), value, V(scale_) * gradient);
    first = math::multiply_add(V(b1_), first, V(c1_) * g);
    second = math::multiply_add(V(b2_), second, (V(c2_) * g) * g);
    const V spread = math::multiply_add(math::square_root(second), V(inverse_correction_), V(eps_));
    value = math::multiply_add(V(keep_), value, -(V(rate_) * first / spread));
  }

  /// n elements without gaps; a null `gradients` stands for zeros.
  void update(Index n, T* values, const T* gradients, T* first, T* second) const {
    math::for_each_pack<T>(0, n, [&](auto lanes) EOSIN_ALWAYS_INLINE {
      auto value = lanes.load(values), m = lanes.load(first), v = lanes.load(second);
      (*this)(value, gradients == nullptr ? math::Pack<T>(T(0)) : lanes.load(gradients), m, v);
      lanes.store(values, value);
      lanes.store(first, m);
      lanes.store(second, v);
    });
  }

 private:
  T rate_, inverse_correction_, keep_, coupled_, b1_, c1_, b2_, c2_, eps_, scale_;
};

/// The update of n elements without gaps.
template <class T>
void adam_step(CpuContext& context, const AdamUpdate<T>& update, VectorView<T> values, VectorView<const T> gradients,
               VectorView<T> first, VectorView<T> second) {
  context.parallel_for(values.size(), 16384, [&](Index begin, Index end) {
    update.update(end - begin, values.data() + begin, gradients.data() + begin, first.data() + begin,
                  second.data() + begin);
  });
}

}  // namespace EOSIN_ISA_NAMESPACE

#if defined(EOSIN_CUDA_KERNELS)
}  // namespace eosin::optim
#include <eosin/optim/adam.cuh>
namespace eosin::optim {
#endif

/// Optimiser state of one run: first and second moments in the layout of the parameters, and the step count. Copy or
/// save moments() and steps() to resume bit for bit.
template <class T, class Space = Host>
class Adam {
 public:
  /// `parameters` must be allocated.
  Adam(const Parameters<T, Space>& parameters, const AdamOptions& options)
      : options_(options), first_(parameters.values().size()), second_(parameters.values().size()) {
    require_value(options.eps > 0, "Adam", "eps must be positive");
    require_value(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, "Adam",
                  "betas must be in [0, 1)");
  }

  const AdamOptions& options() const { return options_; }
  VectorView<T, Space> first_moment() { return first_.view(); }
  VectorView<T, Space> second_moment() { return second_.view(); }
  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// One step at the given rate with gradients multiplied by `gradient_scale`. Reads and writes each buffer once.
  template <Context C>
  void step(C& context, Parameters<T, Space>& parameters, double learning_rate, double gradient_scale = 1.0) {
    require_size("Adam::step", "parameters", "elements", parameters.values().size(), first_.size());
    ++steps_;
    adam_step<T>(context, AdamUpdate<T>(options_, steps_, learning_rate, gradient_scale), parameters.values(),
                 std::as_const(parameters).gradients(), first_.view(), second_.view());
  }

  /// Counts a step and returns what it does to an element, for queue_step.
  AdamUpdate<T> next_update(double learning_rate) {
    ++steps_;
    return AdamUpdate<T>(options_, steps_, learning_rate);
  }
  /// On a device: the step that `update` [1] describes, with gradients multiplied by `gradient_scale` [1]. Both are
  /// read when the device comes to it, so that a graph can repeat the call with other values.
  template <Context C>
  void queue_step(C& context, Parameters<T, Space>& parameters, VectorView<const AdamUpdate<T>, Space> update,
                  VectorView<const double, Space> gradient_scale) {
    require_size("Adam::queue_step", "parameters", "elements", parameters.values().size(), first_.size());
    adam_step<T>(context, update, gradient_scale, parameters.values(), std::as_const(parameters).gradients(),
                 first_.view(), second_.view());
  }

 private:
  AdamOptions options_;
  Vector<T, Space> first_;
  Vector<T, Space> second_;
  Index steps_ = 0;
};

}  // namespace eosin::optim
