#pragma once

// A context says where and how work is done: threads, scratch memory, matrix-product backend, math mode. It is
// passed first to every operation; there is no global state.

#include <eosin/core/buffer.hpp>
#include <eosin/core/convolution_backend.hpp>
#include <eosin/core/gemm_backend.hpp>
#include <eosin/core/thread_pool.hpp>
#include <eosin/core/workspace.hpp>

#include <algorithm>
#include <concepts>
#include <thread>

namespace eosin {

struct CpuOptions {
  /// Number of threads, the caller's included; 0 takes what the machine has. Results do not depend on it.
  int threads = 0;
  /// Precision of float matrix products.
  MathMode math_mode = MathMode::full;
  /// Matrix products; null means the library's own. Not owned; must outlive the context. See ops/gemm_onednn.hpp,
  /// gemm_cblas.hpp, gemm_eigen.hpp.
  const GemmBackend* gemm = nullptr;
  /// Convolutions of floats; null means products of matrices. Not owned. See ops/convolution_onednn.hpp.
  const ConvolutionBackend* convolution = nullptr;
};

/// Work on the processor. One thread at a time may use a context; it uses its own pool inside.
class CpuContext {
 public:
  using space = Host;

  explicit CpuContext(const CpuOptions& options = {})
      : options_(options),
        pool_(options.threads > 0 ? options.threads
                                  : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))) {}

  const CpuOptions& options() const { return options_; }
  int threads() const { return pool_.threads(); }
  ThreadPool& pool() { return pool_; }
  Workspace& workspace() { return workspace_; }
  MathMode math_mode() const { return options_.math_mode; }
  const GemmBackend* gemm_backend() const { return options_.gemm; }
  const ConvolutionBackend* convolution_backend() const { return options_.convolution; }

  /// Calls f(begin, end) for consecutive blocks of at most `block` items that cover [0, count).
  template <class F>
  void parallel_for(Index count, Index block, F&& f) {
    pool_.run((count + block - 1) / block, [&](Index task, int) {
      const Index begin = task * block;
      f(begin, std::min(count, begin + block));
    });
  }

  /// Sum of f(begin, end) over the blocks, added in the order of the blocks whatever the number of threads.
  template <class T, class F>
  T parallel_sum(Index count, Index block, F&& f) {
    if (count <= 0) return T(0);
    const auto mark = workspace_.mark();
    const Index blocks = (count + block - 1) / block;
    auto partial = workspace_.take<T>(blocks);
    parallel_for(count, block, [&](Index begin, Index end) { partial[begin / block] = f(begin, end); });
    T sum = 0;
    for (Index i = 0; i < blocks; ++i) sum += partial[i];
    return sum;
  }

 private:
  CpuOptions options_;
  ThreadPool pool_;
  Workspace workspace_;
};

/// All elements become zero.
template <class T>
void zero(CpuContext&, VectorView<T> out) {
  require_value(out.contiguous() || out.size() <= 1, "zero", "the elements of out are not contiguous");
  std::fill(out.data(), out.data() + out.size(), T(0));
}

/// What layers and losses ask of a context; operations are overloaded on the concrete type.
template <class C>
concept Context = requires(C& context) {
  typename C::space;
  context.workspace();
  context.math_mode();
};

/// The value of a loss into slot[0], where the context computes: what loss() returns on the processor, what loss(slot)
/// queues on a device. So a model that runs on both writes its call once, with `auto... slot` as last argument.
template <Context C, class F>
void store_value(C&, VectorView<double, typename C::space> slot, F&& loss) {
  if constexpr (std::is_same_v<typename C::space, Host>) {
    slot[0] = loss();
  } else {
    loss(slot);
  }
}

}  // namespace eosin
