// Multi-head self-attention, forward and backward, 8 heads of 64, one sentence of n spots: 4,096 beside PyTorch's
// scaled dot-product attention, 16,384 for the memory. Counters:
//   forward, backward   seconds (medians)
//   rate                operations per second, 4 n^2 512 forward and 10 n^2 512 backward
//   scratch             bytes of workspace: everything but Q, K, V, O, log sums and the gradients

#include "support.hpp"

#include <eosin/ops/attention.hpp>

#include <benchmark/benchmark.h>

namespace {

using namespace bench;

constexpr Index heads = 8, width = 64, inner = heads * width;

void attention(benchmark::State& state) {
  const Index n = state.range(0);
  CpuContext context({.threads = threads()});
  const auto qkv = normal_matrix<float>(n, 3 * inner), d_out = normal_matrix<float>(n, inner, 2);
  Matrix<float> d_qkv(n, 3 * inner), out(n, inner), log_sums(heads, n);
  const std::vector<Index> offsets{0, n};
  const auto part = [](auto view, Index i) { return view.middle_cols(i * inner, inner); };
  const auto forward = [&] {
    eosin::ops::attention<float>(context, part(qkv.view(), 0), part(qkv.view(), 1), part(qkv.view(), 2), offsets, heads,
                                 0.125f, out.view(), log_sums.view());
  };
  const auto backward = [&] {
    eosin::ops::attention_backward<float>(context, part(qkv.view(), 0), part(qkv.view(), 1), part(qkv.view(), 2),
                                          offsets, heads, 0.125f, out, log_sums, d_out, part(d_qkv.view(), 0),
                                          part(d_qkv.view(), 1), part(d_qkv.view(), 2));
  };
  forward();
  backward();
  std::vector<double> forward_seconds, backward_seconds;
  for (auto _ : state) {
    forward_seconds.push_back(seconds_of(forward));
    backward_seconds.push_back(seconds_of(backward));
    state.SetIterationTime(forward_seconds.back() + backward_seconds.back());
  }
  const double unit = static_cast<double>(n) * static_cast<double>(n * inner);
  state.counters["forward"] = median(forward_seconds);
  state.counters["backward"] = median(backward_seconds);
  state.counters["rate"] = 14 * unit / (median(forward_seconds) + median(backward_seconds));
  state.counters["scratch"] = static_cast<double>(context.workspace().capacity());
}

BENCHMARK(attention)->ArgName("n")->Arg(4096)->Iterations(5)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK(attention)->ArgName("n")->Arg(16384)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);

}  // namespace
