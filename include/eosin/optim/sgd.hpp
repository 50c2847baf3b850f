#pragma once

// Stochastic gradient descent with momentum, as PyTorch defines it. Step t with gradient g, already scaled by the
// clipping factor:
//
//   g <- g + wd p
//   momentum mu = 0: d = g
//   otherwise: b = g in the first step, afterwards b <- mu b + (1 - dampening) g;  d = g + mu b (Nesterov) or b
//   p <- p - lr d

#include <eosin/core/parameters.hpp>

namespace eosin::optim {

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

template <class T>
class Sgd {
 public:
  /// `parameters` must be allocated.
  Sgd(const Parameters<T>& parameters, const SgdOptions& options)
      : options_(options),
        size_(parameters.values().size()),
        momentum_(options.momentum != 0 ? parameters.values().size() : 0) {
    require_value(!options.nesterov || (options.momentum > 0 && options.dampening == 0), "Sgd",
                  "Nesterov's step needs momentum and no dampening");
  }

  const SgdOptions& options() const { return options_; }
  VectorView<T> momentum() { return momentum_; }
  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  void step(CpuContext& context, Parameters<T>& parameters, double learning_rate, double gradient_scale = 1.0) {
    require_size("Sgd::step", "parameters", "elements", parameters.values().size(), size_);
    const bool first_step = steps_ == 0;
    ++steps_;
    const T rate = static_cast<T>(learning_rate);
    const T scale = static_cast<T>(gradient_scale);
    const T decay = static_cast<T>(options_.weight_decay);
    const T mu = static_cast<T>(options_.momentum);
    const T fresh = first_step ? T(1) : static_cast<T>(1 - options_.dampening);
    T* values = parameters.values().data();
    const T* gradients = parameters.gradients().data();
    T* buffer = momentum_.data();
    context.parallel_for(parameters.values().size(), 16384, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const T g = scale * gradients[i] + decay * values[i];
        T direction = g;
        if (buffer != nullptr) {
          buffer[i] = mu * buffer[i] + fresh * g;
          direction = options_.nesterov ? g + mu * buffer[i] : buffer[i];
        }
        values[i] -= rate * direction;
      }
    });
  }

 private:
  SgdOptions options_;
  Index size_;
  Vector<T> momentum_;
  Index steps_ = 0;
};

}  // namespace eosin::optim
