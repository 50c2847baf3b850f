// Negative binomial GLM of cell types and batches, from compressed columns (cell after cell) in memory to coefficients,
// Cox-Reid dispersions and standard errors; simulated counts with 90 % zeros, 12 types and 4 batches. Set-up (reading
// the columns for size factors, grouping the cells, tables) is also shown apart. The curve over cells keeps the number
// of nonzeros. The largest case, 20,000 x 100,000, needs 3 GiB and runs where EOSIN_LARGE is set.

#include <eosin/glm/fit.hpp>

#include <benchmark/benchmark.h>

#include "support.hpp"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <tuple>

namespace {

using namespace eosin;

/// splitmix64: the simulation of 2e8 counts should not take longer than the benchmark.
class FastRandom {
 public:
  explicit FastRandom(std::uint64_t seed) : state_(seed) {}
  double uniform() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (static_cast<double>((z ^ (z >> 31)) >> 12) + 0.5) * 0x1p-52;
  }
  double normal() { return std::sqrt(-2.0 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }

 private:
  std::uint64_t state_;
};

struct Data {
  Index genes, cells;
  std::vector<Index> offsets{0};
  std::vector<std::int32_t> indices;
  std::vector<std::int32_t> values;
  glm::Categories type, batch;

  double bytes() const { return 8.0 * static_cast<double>(indices.size() + offsets.size()); }
};

/// Counts with the given share of nonzeros. A gene's level is such that its share of nonzeros at size factor 1 is
/// spread evenly over [0, 2 share]; size factors, type and batch effects are lognormal.
Data simulate(Index genes, Index cells, double share) {
  constexpr Index types = 12, batches = 4;
  FastRandom random(7);
  Data data{genes, cells, {0}, {}, {}, {}, {}};
  std::vector<double> level(static_cast<std::size_t>(genes)), phi(level.size());
  Matrix<float> effect(types * batches, genes);
  for (Index g = 0; g < genes; ++g) {
    phi[static_cast<std::size_t>(g)] = 0.1 + random.uniform();
    const double p = share * 1.6 * (static_cast<double>((g * 7919) % genes) + 0.5) / static_cast<double>(genes);
    level[static_cast<std::size_t>(g)] =
        std::expm1(-phi[static_cast<std::size_t>(g)] * std::log1p(-p)) / phi[static_cast<std::size_t>(g)];
    double by_type[types], by_batch[batches];
    for (double& e : by_type) e = 0.6 * random.normal();
    for (double& e : by_batch) e = 0.3 * random.normal();
    for (Index t = 0; t < types; ++t)
      for (Index b = 0; b < batches; ++b)
        effect(t * batches + b, g) = static_cast<float>(std::exp(by_type[t] + by_batch[b]));
  }
  const double most = std::min(1.0, 8.0 * share);
  const double skip = std::log1p(-most);
  std::vector<Index> type, batch;
  data.offsets.reserve(static_cast<std::size_t>(cells) + 1);
  data.indices.reserve(
      static_cast<std::size_t>(1.15 * share * static_cast<double>(genes) * static_cast<double>(cells)));
  data.values.reserve(data.indices.capacity());
  for (Index i = 0; i < cells; ++i) {
    const Index t = static_cast<Index>(random.uniform() * random.uniform() * types), b = i % batches;
    type.push_back(t);
    batch.push_back(b);
    const double s = std::exp(0.4 * random.normal());
    const auto row = effect.row(t * batches + b);
    for (Index g = -1;;) {
      g += 1 + (most < 1.0 ? static_cast<Index>(std::log(random.uniform()) / skip) : 0);
      if (g >= genes) break;
      const double a = phi[static_cast<std::size_t>(g)],
                   mu = s * level[static_cast<std::size_t>(g)] * static_cast<double>(row[g]);
      const double q = 1.0 / (1.0 + a * mu);
      double mass = std::exp(std::log(q) / a);
      if (random.uniform() * most > 1.0 - mass) continue;
      const double u = mass + (1.0 - mass) * random.uniform();
      std::int32_t y = 0;
      for (double below = mass; below < u && y < 10000; ++y) {
        mass *= (static_cast<double>(y) * a + 1.0) * mu * q / static_cast<double>(y + 1);
        below += mass;
      }
      data.indices.push_back(static_cast<std::int32_t>(g));
      data.values.push_back(y);
    }
    data.offsets.push_back(static_cast<Index>(data.indices.size()));
  }
  data.type = glm::Categories::from_codes(std::move(type), "T");
  data.batch = glm::Categories::from_codes(std::move(batch), "B");
  return data;
}

/// The last simulated data set; benchmarks with the same one follow each other.
const Data& simulated(Index genes, Index cells, double share) {
  static std::unique_ptr<Data> last;
  static std::tuple<Index, Index, double> key;
  if (last == nullptr || key != std::tuple(genes, cells, share)) {
    last.reset();
    last = std::make_unique<Data>(simulate(genes, cells, share));
    key = {genes, cells, share};
  }
  return *last;
}

using Columns = glm::CscGeneBlocks<std::int32_t, Index, std::int32_t>;
Columns columns(const Data& data) {
  return Columns(data.genes, data.cells, data.offsets, data.indices, data.values);
}

void count(benchmark::State& state, const Data& data) {
  const double work = static_cast<double>(state.iterations()) * static_cast<double>(data.genes);
  state.counters["per_gene"] = benchmark::Counter(work, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["nonzeros"] = static_cast<double>(data.indices.size());
}

void run(benchmark::State& state, double share, const glm::FitOptions& options) {
  const Data& data = simulated(state.range(0), state.range(1), share);
  CpuContext context({.threads = static_cast<int>(state.range(2))});
  const glm::Design design(data.type, data.batch);
  bench::PeakMemory::reset();
  const double before = bench::PeakMemory::bytes();
  for (auto _ : state) {
    auto source = columns(data);
    benchmark::DoNotOptimize(glm::fit(context, source, design, options));
  }
  state.counters["extra_bytes_of_input"] = (bench::PeakMemory::bytes() - before) / data.bytes();
  count(state, data);
}

/// Moments, coefficients, Cox-Reid dispersion, coefficients, standard errors.
void nb_glm_pipeline(benchmark::State& state) {
  run(state, 0.1, {});
}
/// Coefficients at given dispersion, without standard errors.
void nb_glm_fixed_dispersion(benchmark::State& state) {
  run(state, 0.1, {.dispersion = glm::Fixed{0.5}, .standard_errors = false});
}
/// What precedes the first gene.
void run_setup(benchmark::State& state, double density) {
  const Data& data = simulated(state.range(0), state.range(1), density);
  CpuContext context({.threads = static_cast<int>(state.range(2))});
  const glm::Design design(data.type, data.batch);
  for (auto _ : state) {
    auto source = columns(data);
    const auto factors = glm::size_factors(context, source, glm::SizeFactors{});
    const glm::CellGroups groups(design, factors.view());
    const glm::GroupSums sums(context, groups);
    benchmark::DoNotOptimize(&sums);
  }
  count(state, data);
}
void nb_glm_setup(benchmark::State& state) {
  run_setup(state, 0.1);
}
/// 200 genes, 400 nonzeros per gene on average, whatever the number of cells.
void nb_glm_cells(benchmark::State& state) {
  run(state, 400.0 / static_cast<double>(state.range(1)), {});
}
void nb_glm_cells_setup(benchmark::State& state) {
  run_setup(state, 400.0 / static_cast<double>(state.range(1)));
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"genes", "cells", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const int threads : {1, 2}) benchmark->Args({2000, 4000, threads});
  for (const int threads : {1, 2}) benchmark->Args({500, 40000, threads});
}
void cells(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"genes", "cells", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const int cells : {1000, 4000, 10000, 100000, 1000000}) benchmark->Args({200, cells, 1});
}
BENCHMARK(nb_glm_pipeline)->Apply(sizes);
BENCHMARK(nb_glm_fixed_dispersion)->Apply(sizes);
BENCHMARK(nb_glm_setup)->Apply(sizes);
BENCHMARK(nb_glm_cells)->Apply(cells);
BENCHMARK(nb_glm_cells_setup)->Apply(cells);

const bool large = [] {
  if (std::getenv("EOSIN_LARGE") == nullptr) return false;
  benchmark::RegisterBenchmark("nb_glm_pipeline_large", nb_glm_pipeline)
      ->ArgNames({"genes", "cells", "threads"})
      ->Args({20000, 100000, 2})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
