#include <eosin/optim/clip.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;

TEST_CASE("optim::gradient_norm: against a plain sum; the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  for (const Index size : {0, 1, 7, 16384, 50000}) {
    const auto g = testing::normal_matrix<float>(1, size, 1);
    long double squares = 0;
    for (Index i = 0; i < size; ++i) squares += static_cast<long double>(g(0, i)) * static_cast<long double>(g(0, i));
    const double norm = optim::gradient_norm<float>(one, g.row(0));
    CHECK(norm == doctest::Approx(static_cast<double>(std::sqrt(squares))).epsilon(1e-12));
    CHECK(norm == optim::gradient_norm<float>(three, g.row(0)));
  }
}

TEST_CASE("optim::gradient_norm: squares that float cannot hold, and what is not a number") {
  CpuContext context({.threads = 1});
  Matrix<float> g(1, 2);
  g(0, 0) = 3e30f;
  g(0, 1) = 4e30f;
  CHECK(optim::gradient_norm<float>(context, std::as_const(g).row(0)) == doctest::Approx(5e30).epsilon(1e-6));
  g(0, 1) = std::nanf("");
  CHECK(std::isnan(optim::gradient_norm<float>(context, std::as_const(g).row(0))));
}

TEST_CASE("optim::clip_factor") {
  CHECK(optim::clip_factor(0, 0.5) == 1);
  CHECK(optim::clip_factor(0.4, 0.5) == 1);
  CHECK(optim::clip_factor(2, 0.5) == 0.5 / (2 + 1e-6));
  CHECK(optim::clip_factor(1e30, 1) * 1e30 == doctest::Approx(1));
}
