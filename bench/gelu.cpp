// GELU forward, backward and fused with the bias: nanoseconds per element, bytes read and written per second.

#include <eosin/core/random.hpp>
#include <eosin/ops/gelu.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace eosin;

template <class T>
Matrix<T> normal_matrix(Index rows, Index cols) {
  Matrix<T> m(rows, cols);
  RandomStream random(1);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<T>(random.normal());
  return m;
}

void report(benchmark::State& state, Index elements, Index bytes_per_element) {
  const double work = static_cast<double>(state.iterations()) * static_cast<double>(elements);
  state.counters["per_element"] = benchmark::Counter(work, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.SetBytesProcessed(static_cast<int64_t>(work) * bytes_per_element);
}

template <class T>
void gelu_forward(benchmark::State& state) {
  CpuContext context({.threads = static_cast<int>(state.range(2))});
  const auto x = normal_matrix<T>(state.range(0), state.range(1));
  Matrix<T> y(x.rows(), x.cols());
  for (auto _ : state) {
    ops::gelu(context, x, y.view());
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 2 * static_cast<Index>(sizeof(T)));
}

template <class T>
void gelu_backward(benchmark::State& state) {
  CpuContext context({.threads = static_cast<int>(state.range(2))});
  const auto x = normal_matrix<T>(state.range(0), state.range(1));
  Matrix<T> gradient = x;
  for (auto _ : state) {
    ops::gelu_backward(context, x, x, gradient.view());
    benchmark::ClobberMemory();
  }
  report(state, x.size(), 3 * static_cast<Index>(sizeof(T)));
}

template <class T>
void bias_gelu(benchmark::State& state) {
  CpuContext context({.threads = static_cast<int>(state.range(2))});
  auto pre = normal_matrix<T>(state.range(0), state.range(1));
  Vector<T> bias(pre.cols());
  Matrix<T> y(pre.rows(), pre.cols());
  for (auto _ : state) {
    ops::bias_gelu(context, pre.view(), bias, y.view());
    benchmark::ClobberMemory();
  }
  report(state, pre.size(), 3 * static_cast<Index>(sizeof(T)));
}

// In the cache (16 x 1024) and a batch of patches (4096 x 1024); one and two threads.
void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"rows", "cols", "threads"})->ArgsProduct({{16, 4096}, {1024}, {1, 2}})->UseRealTime();
}
BENCHMARK(gelu_forward<float>)->Apply(sizes);
BENCHMARK(gelu_forward<double>)->Apply(sizes);
BENCHMARK(gelu_backward<float>)->Apply(sizes);
BENCHMARK(bias_gelu<float>)->Apply(sizes);

}  // namespace
