#include <eosin/ops/gemm_onednn.hpp>

#include "support/gemm_reference.hpp"
#include "support/skip.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/time.h>

#include <atomic>

using namespace eosin;

namespace {

std::atomic<int> ticks = 0;  // the signal may come to a thread of a library
static_assert(std::atomic<int>::is_always_lock_free);

/// While it lives, a signal comes every 0.2 ms.
class Ticking {
 public:
  Ticking() {
    ticks = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { ++ticks; };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &before_);
    set(200);
  }
  ~Ticking() {
    set(0);
    sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  static void set(int microseconds) {
    const itimerval every{{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, nullptr);
  }
  struct sigaction before_ {};
};

}  // namespace

TEST_CASE("ops::OneDnnGemm: products of floats and doubles") {
  const ops::OneDnnGemm backend;
  CpuContext context({.threads = 2, .gemm = &backend});
  testing::check_gemm<float>(context, {1, 17, 70});
  CHECK(testing::gemm_error<double>(context, {.m = 40, .n = 40, .k = 40, .tb = Transpose::yes, .beta = 0.5}) <= 43);
}

TEST_CASE("ops::OneDnnGemm: X^T Y in panels, with a last panel that is not full") {
  const ops::OneDnnGemm backend;
  CpuContext context({.threads = 1, .gemm = &backend});
  for (const Index rows : {3, 512, 515, 1100})
    for (const double beta : {0.0, 1.0, 0.25}) {
      CAPTURE(rows);
      CAPTURE(beta);
      CHECK(testing::gemm_error<float>(
                context, {.m = 70, .n = 65, .k = rows, .ta = Transpose::yes, .alpha = 2, .beta = beta, .gap = 2}) <=
            static_cast<double>(rows + 3));
    }
}

TEST_CASE("ops::OneDnnGemm: the same bits on any number of threads") {
  const ops::OneDnnGemm backend;
  CpuContext one({.threads = 1, .gemm = &backend}), three({.threads = 3, .gemm = &backend});
  const auto a = testing::normal_matrix<float>(700, 70, 1), b = testing::normal_matrix<float>(70, 600, 2);
  Matrix<float> first(700, 600), second(700, 600);
  ops::gemm(one, Transpose::no, Transpose::no, 1, a, b, 0, first.view());
  ops::gemm(three, Transpose::no, Transpose::no, 1, a, b, 0, second.view());
  CHECK(testing::same_bits(first, second));
}

TEST_CASE("ops::OneDnnGemm: bf16 product") {
  if (dnnl::get_effective_cpu_isa() < dnnl::cpu_isa::avx512_core)
    EOSIN_SKIP("oneDNN has no bf16 products on this processor");
  const ops::OneDnnGemm backend(true);
  CpuContext context({.threads = 2, .math_mode = MathMode::bf16, .gemm = &backend});
  testing::check_gemm<float>(context, {1, 20, 35}, true);
}

TEST_CASE("ops::OneDnnGemm: a signal during a product does no harm") {
  const ops::OneDnnGemm backend;
  CpuContext context({.threads = 1, .gemm = &backend});
  const auto a = testing::normal_matrix<float>(96, 192, 1), b = testing::normal_matrix<float>(192, 192, 2);
  Matrix<float> expected(96, 192);
  ops::gemm(context, Transpose::no, Transpose::no, 1, a, b, 0, expected.view());
  const Ticking ticking;
  for (int round = 0; round < 1000 || ticks < 20; ++round) {
    Matrix<float> got(96, 192);
    ops::gemm(context, Transpose::no, Transpose::no, 1, a, b, 0, got.view());
    REQUIRE(testing::same_bits(expected, got));
  }
}
