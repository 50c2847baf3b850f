#pragma once

// Stochastic gradient descent with momentum, as PyTorch defines it. Step t with gradient g, already scaled by the
// clipping factor:
//
//   g <- g + wd p
//   momentum mu = 0: d = g
//   otherwise: b = g in the first step, afterwards b <- mu b + (1 - dampening) g;  d = g + mu b (Nesterov) or b
//   p <- p - lr d

#include <eosin/core/parameters.hpp>

#include <utility>

namespace eosin::optim {

struct SgdOptions {
  double learning_rate = 1e-2;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

inline namespace EOSIN_ISA_NAMESPACE {

/// The update of one element in a step.
template <class T>
struct SgdUpdate {
  T rate, scale, decay, momentum, fresh;
  bool nesterov;

  /// `buffer` is null without momentum.
  EOSIN_HOST_DEVICE void operator()(T& value, T gradient, T* buffer) const {
    const T g = scale * gradient + decay * value;
    T direction = g;
    if (buffer != nullptr) {
      *buffer = momentum * *buffer + fresh * g;
      direction = nesterov ? g + momentum * *buffer : *buffer;
    }
    value -= rate * direction;
  }
};

/// The update of n elements without gaps; `buffer` is empty without momentum.
template <class T>
void sgd_step(CpuContext& context, const SgdUpdate<T>& update, VectorView<T> values, VectorView<const T> gradients,
              VectorView<T> buffer) {
  context.parallel_for(values.size(), 16384, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      update(values[i], gradients[i], buffer.empty() ? nullptr : buffer.data() + i);
  });
}

}  // namespace EOSIN_ISA_NAMESPACE

#if defined(EOSIN_CUDA_KERNELS)
}  // namespace eosin::optim
#include <eosin/optim/sgd.cuh>
namespace eosin::optim {
#endif

template <class T, class Space = Host>
class Sgd {
 public:
  /// `parameters` must be allocated.
  Sgd(const Parameters<T, Space>& parameters, const SgdOptions& options)
      : options_(options),
        size_(parameters.values().size()),
        momentum_(options.momentum != 0 ? parameters.values().size() : 0) {
    require_value(!options.nesterov || (options.momentum > 0 && options.dampening == 0), "Sgd",
                  "Nesterov's step needs momentum and no dampening");
  }

  const SgdOptions& options() const { return options_; }
  VectorView<T, Space> momentum() { return momentum_.view(); }
  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  template <Context C>
  void step(C& context, Parameters<T, Space>& parameters, double learning_rate, double gradient_scale = 1.0) {
    require_size("Sgd::step", "parameters", "elements", parameters.values().size(), size_);
    const SgdUpdate<T> update{static_cast<T>(learning_rate),
                              static_cast<T>(gradient_scale),
                              static_cast<T>(options_.weight_decay),
                              static_cast<T>(options_.momentum),
                              steps_ == 0 ? T(1) : static_cast<T>(1 - options_.dampening),
                              options_.nesterov};
    ++steps_;
    sgd_step<T>(context, update, parameters.values(), std::as_const(parameters).gradients(), momentum_.view());
  }

 private:
  SgdOptions options_;
  Index size_;
  Vector<T, Space> momentum_;
  Index steps_ = 0;
};

}  // namespace eosin::optim
