#pragma once

// How work on a CUDA device is timed: by events around it, the second-level cache flushed before each run, as a share
// of what this device was measured to reach in the same process: bytes per second of a copy, operations per second of a
// cuBLAS product. Each case says how many bytes it must move and how many operations it needs; where there is no
// device, these and the time that a device of known rates would take are all that is told.

#include <eosin/core/cuda_context.cuh>
#include <eosin/ops/gemm.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace bench {

using eosin::CudaContext;
using eosin::Device;
using eosin::Index;

struct Case {
  std::string name;
  double bytes;       ///< that must be read or written, each once
  double operations;  ///< a multiplication with its addition counts two
  bool products;      ///< whether the operations are those of matrix products, so that cuBLAS's rate is their limit
  /// Makes inputs and returns the work, which queues on the context.
  std::function<std::function<void()>(CudaContext&)> setup;
};

/// Rates of a device.
struct Rates {
  double bytes;     ///< per second, read and written
  double products;  ///< float operations per second of matrix products
  double simple;    ///< other float operations per second
};

/// H200 as NVIDIA states it: 4.8 TB/s, 67 TFLOP/s in float outside of tensor cores (which `full` precision does not
/// use).
inline constexpr Rates h200{4.8e12, 67e12, 67e12};

/// Seconds that a case takes at least.
inline double limit(const Case& c, const Rates& rates) {
  return std::max(c.bytes / rates.bytes, c.operations / (c.products ? rates.products : rates.simple));
}

class Timer {
 public:
  explicit Timer(CudaContext& context) : context_(context), flush_(Index{256} << 20) {
    eosin::cuda::check(cudaEventCreate(&begin_), "cudaEventCreate");
    eosin::cuda::check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }

  /// Median seconds of `runs` runs, after two that are not counted.
  double seconds(const std::function<void()>& work, int runs) {
    std::vector<double> all;
    for (int i = 0; i < runs + 2; ++i) {
      eosin::zero(context_, flush_.view());
      eosin::cuda::check(cudaEventRecord(begin_, context_.stream()), "cudaEventRecord");
      work();
      eosin::cuda::check(cudaEventRecord(end_, context_.stream()), "cudaEventRecord");
      eosin::cuda::check(cudaEventSynchronize(end_), "cudaEventSynchronize");
      float milliseconds = 0;
      eosin::cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
      if (i >= 2) all.push_back(1e-3 * static_cast<double>(milliseconds));
    }
    std::nth_element(all.begin(), all.begin() + runs / 2, all.end());
    return all[static_cast<std::size_t>(runs / 2)];
  }

 private:
  CudaContext& context_;
  eosin::Vector<char, Device> flush_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// What this device reaches: a copy of 1 GiB, a product of 8,192 x 8,192 matrices in the context's precision, which
/// also stands for other operations.
inline Rates measure(CudaContext& context, Timer& timer) {
  constexpr Index edge = 8192, count = Index{1} << 28;
  Rates rates{};
  {
    const eosin::Vector<float, Device> from(count);
    eosin::Vector<float, Device> to(count);
    const double seconds = timer.seconds(
        [&] {
          eosin::cuda::check(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(count) * 4,
                                             cudaMemcpyDeviceToDevice, context.stream()),
                             "cudaMemcpyAsync");
        },
        9);
    rates.bytes = 8.0 * static_cast<double>(count) / seconds;
  }
  const eosin::Matrix<float, Device> a(edge, edge), b(edge, edge);
  eosin::Matrix<float, Device> c(edge, edge);
  const double seconds = timer.seconds(
      [&] { eosin::ops::gemm<float>(context, eosin::Transpose::no, eosin::Transpose::no, 1.0f, a, b, 0.0f, c.view()); },
      9);
  rates.products = rates.simple = 2.0 * edge * edge * edge / seconds;
  return rates;
}

/// Calls f for the cases whose name contains `filter`.
template <class F>
void for_each_case(const std::vector<Case>& cases, const std::string& filter, F&& f) {
  for (const auto& c : cases)
    if (c.name.find(filter) != std::string::npos) f(c);
}

/// Prints bytes, operations and the least time on an H200, as Markdown.
inline void predict_times(const std::vector<Case>& cases, const std::string& filter) {
  std::printf("| work | MB | GFLOP | at least, on an H200 (ms) | limited by |\n|---|---|---|---|---|\n");
  for_each_case(cases, filter, [](const Case& c) {
    const double by_bytes = c.bytes / h200.bytes, all = limit(c, h200);
    std::printf("| %s | %.1f | %.2f | %.3f | %s |\n", c.name.c_str(), c.bytes * 1e-6, c.operations * 1e-9, all * 1e3,
                by_bytes >= all ? "memory" : "arithmetic");
  });
}

/// Times the cases and prints them beside the limits of this device, as Markdown.
inline void time(CudaContext& context, Timer& timer, const Rates& rates, const std::vector<Case>& cases,
                 const std::string& filter) {
  std::printf("%s: copy %.0f GB/s, product %.1f TFLOP/s\n\n", context.device_name().c_str(), rates.bytes * 1e-9,
              rates.products * 1e-12);
  std::printf("| work | ms | GB/s | TFLOP/s | of the limit measured here |\n|---|---|---|---|---|\n");
  for_each_case(cases, filter, [&](const Case& c) {
    const auto work = c.setup(context);
    const double seconds = timer.seconds(work, 9);
    std::printf("| %s | %.3f | %.0f | %.2f | %.0f %% |\n", c.name.c_str(), seconds * 1e3, c.bytes / seconds * 1e-9,
                c.operations / seconds * 1e-12, 100 * limit(c, rates) / seconds);
    std::fflush(stdout);
  });
}

}  // namespace bench
