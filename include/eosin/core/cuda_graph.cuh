#pragma once

// Queued work recorded once and repeated with one call: a training step of many small kernels is then limited by the
// device, not by the rate at which a processor launches kernels (a few microseconds each).

#include <eosin/core/cuda_context.cuh>

#include <utility>

namespace eosin {

/// A CUDA graph of what `work()` queues on the context's stream. It is recorded, not run. The work may neither wait nor
/// allocate: run it once before, so that workspace and caches have their sizes (CUDA refuses the capture otherwise, and
/// CudaError says so). A launch repeats it on the same memory, so whatever it reads and writes must still be there.
class CudaGraph {
 public:
  CudaGraph() = default;
  template <class F>
  CudaGraph(CudaContext& context, F&& work) {
    cuda::check(cudaStreamBeginCapture(context.stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
    try {
      work();
    } catch (...) {
      // The stream leaves its capture; what went wrong first is what is told.
      static_cast<void>(cudaStreamEndCapture(context.stream(), &graph));
      if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
      throw;
    }
    cuda::check(cudaStreamEndCapture(context.stream(), &graph), "cudaStreamEndCapture");
    const auto status = cudaGraphInstantiate(&executable_, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    cuda::check(status, "cudaGraphInstantiate");
  }
  CudaGraph(CudaGraph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(executable_, other.executable_);
    return *this;
  }
  ~CudaGraph() {
    if (executable_ != nullptr) static_cast<void>(cudaGraphExecDestroy(executable_));
  }

  bool empty() const { return executable_ == nullptr; }

  /// Queues the recorded work on the context's stream.
  void launch(CudaContext& context) const {
    require_value(!empty(), "CudaGraph::launch", "nothing was recorded");
    cuda::check(cudaGraphLaunch(executable_, context.stream()), "cudaGraphLaunch");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace eosin
