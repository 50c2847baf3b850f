// Negative binomial loss: nanoseconds per element with both gradients and without, scratch memory of the context.

#include <eosin/core/random.hpp>
#include <eosin/losses/negative_binomial.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace eosin;

template <class T>
void run(benchmark::State& state, bool gradients, losses::ValueCheck check = losses::ValueCheck::off) {
  CpuContext context({.threads = static_cast<int>(state.range(2))});
  const Index rows = state.range(0), genes = state.range(1);
  Matrix<T> mu(rows, genes), counts(rows, genes), gradient_mu(rows, genes);
  Vector<T> theta(genes), gradient_log_theta(genes);
  RandomStream random(1);
  for (Index i = 0; i < mu.size(); ++i) {
    mu.data()[i] = static_cast<T>(random.gamma(0.5, 2));
    counts.data()[i] = static_cast<T>(random.poisson(static_cast<double>(mu.data()[i])));
  }
  for (T& t : theta) t = static_cast<T>(0.1 + random.gamma(1));
  ops::NegativeBinomialOptions<T> options{.eps = T(1e-8)};
  if (gradients) {
    options.gradient_mu = gradient_mu.view();
    options.gradient_log_theta = gradient_log_theta;
  }
  for (auto _ : state) benchmark::DoNotOptimize(losses::negative_binomial(context, mu, theta, counts, options, check));
  const double work = static_cast<double>(state.iterations()) * static_cast<double>(mu.size());
  state.counters["per_element"] = benchmark::Counter(work, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["scratch_bytes"] = static_cast<double>(context.workspace().capacity());
}

void negative_binomial_gradients(benchmark::State& state) {
  run<float>(state, true);
}
void negative_binomial_gradients_checked(benchmark::State& state) {
  run<float>(state, true, losses::ValueCheck::on);
}
void negative_binomial_value(benchmark::State& state) {
  run<float>(state, false);
}
void negative_binomial_gradients_double(benchmark::State& state) {
  run<double>(state, true);
}

// A batch of eight slides with all genes, and a section with the variable genes.
void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"rows", "genes", "threads"})->UseRealTime();
  for (const int threads : {1, 2}) benchmark->Args({8, 14052, threads})->Args({4096, 2000, threads});
}
BENCHMARK(negative_binomial_gradients)->Apply(sizes);
BENCHMARK(negative_binomial_gradients_checked)->Apply(sizes);
BENCHMARK(negative_binomial_value)->Apply(sizes);
BENCHMARK(negative_binomial_gradients_double)->Apply(sizes);

}  // namespace
