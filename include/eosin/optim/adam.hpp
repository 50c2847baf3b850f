#pragma once

// Adam (Kingma and Ba 2015) with decoupled (AdamW, Loshchilov and Hutter 2019) or coupled (L2) weight decay, as one
// pass over the flat parameter buffer. Step t = 1, 2, ... with gradient g, already scaled by the clipping factor:
//
//   decoupled: p <- p (1 - lr wd)           coupled: g <- g + wd p
//   m <- b1 m + (1 - b1) g
//   v <- b2 v + (1 - b2) g^2
//   p <- p - lr / (1 - b1^t) * m / ( sqrt(v) / sqrt(1 - b2^t) + eps )

#include <eosin/core/parameters.hpp>

#include <cmath>

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

/// Optimiser state of one run: first and second moments in the layout of the parameters, and the step count. Copy or
/// save moments() and steps() to resume bit for bit.
template <class T>
class Adam {
 public:
  /// `parameters` must be allocated.
  Adam(const Parameters<T>& parameters, const AdamOptions& options)
      : options_(options), first_(parameters.values().size()), second_(parameters.values().size()) {
    require_value(options.eps > 0, "Adam", "eps must be positive");
    require_value(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, "Adam",
                  "betas must be in [0, 1)");
  }

  const AdamOptions& options() const { return options_; }
  VectorView<T> first_moment() { return first_; }
  VectorView<T> second_moment() { return second_; }
  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// One step at the given rate with gradients multiplied by `gradient_scale`. Reads and writes each buffer once.
  void step(CpuContext& context, Parameters<T>& parameters, double learning_rate, double gradient_scale = 1.0) {
    require_size("Adam::step", "parameters", "elements", parameters.values().size(), first_.size());
    ++steps_;
    const double t = static_cast<double>(steps_);
    const T rate = static_cast<T>(learning_rate / (1 - std::pow(options_.beta1, t)));
    const T correction = static_cast<T>(std::sqrt(1 - std::pow(options_.beta2, t)));
    const T keep = options_.decay == WeightDecay::decoupled ? static_cast<T>(1 - learning_rate * options_.weight_decay)
                                                            : T(1);
    const T coupled = options_.decay == WeightDecay::coupled ? static_cast<T>(options_.weight_decay) : T(0);
    const T b1 = static_cast<T>(options_.beta1), c1 = static_cast<T>(1 - options_.beta1);
    const T b2 = static_cast<T>(options_.beta2), c2 = static_cast<T>(1 - options_.beta2);
    const T eps = static_cast<T>(options_.eps);
    const T scale = static_cast<T>(gradient_scale);
    T* values = parameters.values().data();
    const T* gradients = parameters.gradients().data();
    T* first = first_.data();
    T* second = second_.data();
    context.parallel_for(first_.size(), 16384, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const T g = scale * gradients[i] + coupled * values[i];
        const T m = b1 * first[i] + c1 * g;
        const T v = b2 * second[i] + c2 * g * g;
        first[i] = m;
        second[i] = v;
        values[i] = keep * values[i] - rate * m / (std::sqrt(v) / correction + eps);
      }
    });
  }

 private:
  AdamOptions options_;
  Vector<T> first_;
  Vector<T> second_;
  Index steps_ = 0;
};

}  // namespace eosin::optim
