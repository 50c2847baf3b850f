#include <eosin/core/context.hpp>

#include <doctest/doctest.h>

#include <eosin/core/random.hpp>

#include <atomic>
#include <cstddef>
#include <stdexcept>
#include <vector>

using namespace eosin;

static_assert(Context<CpuContext>);
static_assert(!Context<int>);

TEST_CASE("context: options and defaults") {
  CpuContext standard;
  CHECK(standard.threads() >= 1);
  CHECK(standard.math_mode() == MathMode::full);
  CHECK(standard.gemm_backend() == nullptr);
  CpuContext three({.threads = 3, .math_mode = MathMode::bf16});
  CHECK(three.threads() == 3);
  CHECK(three.pool().threads() == 3);
  CHECK(three.math_mode() == MathMode::bf16);
}

TEST_CASE("context: parallel_for covers every item once in blocks") {
  for (const int threads : {1, 2, 5}) {
    CpuContext context({.threads = threads});
    for (const Index count : {0, 1, 6, 7, 8, 100})
      for (const Index block : {1, 7, 1000}) {
        CAPTURE(count);
        CAPTURE(block);
        std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
        std::atomic<bool> shaped{true};
        context.parallel_for(count, block, [&](Index begin, Index end) {
          if (begin % block != 0 || end <= begin || end - begin > block || end > count) shaped = false;
          for (Index i = begin; i < end; ++i) ++runs[static_cast<std::size_t>(i)];
        });
        bool once = true;
        for (const auto& n : runs) once = once && n == 1;
        CHECK(once);
        CHECK(shaped);
      }
  }
}

TEST_CASE("context: a parallel sum is the same to the last bit for any number of threads") {
  std::vector<double> values(12345);
  RandomStream random(1);
  for (auto& value : values) value = random.normal() * std::exp(5 * random.normal());
  const auto sum = [&](CpuContext& context, auto zero) {
    using T = decltype(zero);
    return context.parallel_sum<T>(static_cast<Index>(values.size()), 100, [&](Index begin, Index end) {
      T part = 0;
      for (Index i = begin; i < end; ++i) part += static_cast<T>(values[static_cast<std::size_t>(i)]);
      return part;
    });
  };
  CpuContext one({.threads = 1});
  const double wide = sum(one, 0.0);
  const float narrow = sum(one, 0.0f);
  for (const int threads : {2, 3, 4, 7}) {
    CpuContext many({.threads = threads});
    for (int repeat = 0; repeat < 20; ++repeat) {
      CHECK(sum(many, 0.0) == wide);
      CHECK(sum(many, 0.0f) == narrow);
    }
  }
}

TEST_CASE("context: parallel_sum of nothing is zero, and gives its scratch back") {
  CpuContext context({.threads = 2});
  CHECK(context.parallel_sum<double>(0, 8, [](Index, Index) { return 1.0; }) == 0);
  CHECK(context.parallel_sum<double>(-4, 8, [](Index, Index) { return 1.0; }) == 0);
  const auto mark = context.workspace().mark();
  const double* place = nullptr;
  {
    const auto inner = context.workspace().mark();
    place = context.workspace().take<double>(1).data();
  }
  CHECK(context.parallel_sum<int>(17, 8, [](Index begin, Index end) { return static_cast<int>(end - begin); }) == 17);
  CHECK(context.workspace().take<double>(1).data() == place);
}

TEST_CASE("context: exceptions pass through parallel_for and parallel_sum") {
  CpuContext context({.threads = 2});
  const auto fail = [](Index begin, Index) {
    if (begin == 30) throw std::invalid_argument("block 30");
    return 1.0;
  };
  CHECK_THROWS_AS(context.parallel_for(100, 10, fail), std::invalid_argument);
  CHECK_THROWS_AS(context.parallel_sum<double>(100, 10, fail), std::invalid_argument);
  CHECK(context.parallel_sum<double>(100, 10, [](Index, Index) { return 1.0; }) == 10);
}

TEST_CASE("context: loops inside loops") {
  CpuContext context({.threads = 3});
  std::vector<double> sums(40);
  context.parallel_for(40, 1, [&](Index begin, Index) {
    double total = 0;
    context.parallel_for(100, 9, [&](Index b, Index e) {
      for (Index i = b; i < e; ++i) total += static_cast<double>(i * begin);
    });
    sums[static_cast<std::size_t>(begin)] = total;
  });
  for (std::size_t i = 0; i < 40; ++i) CHECK(sums[i] == 4950.0 * static_cast<double>(i));
}
