#pragma once

// A whole training step as one CUDA graph: loss and gradient, the gradient's norm, the clipping factor, Adam.
//
// What changes from step to step, the learning rate and Adam's bias corrections, lies in device memory and is written
// by a kernel before the graph; the norm and the clipping factor are computed where they are used. So a step waits for
// nothing, allocates nothing and costs the processor two launches. The bits are those of the same calls one by one.

#include <eosin/core/cuda_graph.cuh>
#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>

#include <limits>
#include <utility>

namespace eosin::optim {

template <class T>
class CapturedStep {
 public:
  /// `queue()` queues loss and gradient of a step into the gradients of `parameters`, the same work on the same memory
  /// each time. It is run twice: once to give workspace and caches their sizes (parameters stay as they are), once to
  /// be recorded. `clip_norm` 0: no clipping. Parameters and optimiser must outlive this.
  template <class F>
  CapturedStep(CudaContext& context, Parameters<T, Device>& parameters, Adam<T, Device>& optimiser, double clip_norm,
               F&& queue)
      : optimiser_(&optimiser), update_(1), norm_and_factor_(2) {
    const auto queue_gradient = [&] {
      queue();
      queue_gradient_norm<T>(context, std::as_const(parameters).gradients(), norm());
    };
    queue_gradient();
    const double limit = clip_norm > 0 ? clip_norm : std::numeric_limits<double>::infinity();
    graph_ = CudaGraph(context, [&] {
      queue_gradient();
      queue_clip_factor(context, std::as_const(norm_and_factor_).view().segment(0, 1), limit,
                        norm_and_factor_.view().segment(1, 1));
      optimiser.queue_step(context, parameters, std::as_const(update_).view(),
                           std::as_const(norm_and_factor_).view().segment(1, 1));
    });
  }

  /// Queues the next step.
  void run(CudaContext& context, double learning_rate) {
    set_on_device(context, optimiser_->next_update(learning_rate), update_.view());
    graph_.launch(context);
  }

  /// Norm of the gradient of the last step, before clipping; waits for it.
  double gradient_norm(CudaContext& context) const { return on_host(context, norm_and_factor_.view())[0]; }

 private:
  VectorView<double, Device> norm() { return norm_and_factor_.view().segment(0, 1); }

  Adam<T, Device>* optimiser_;
  Vector<AdamUpdate<T>, Device> update_;
  Vector<double, Device> norm_and_factor_;
  CudaGraph graph_;
};

}  // namespace eosin::optim
