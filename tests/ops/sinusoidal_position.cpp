#include <eosin/ops/sinusoidal_position.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;

TEST_CASE("ops::add_sinusoidal_position: both layouts, odd widths, negative coordinates") {
  CpuContext context({.threads = 2});
  Matrix<Index> positions(2, 2);
  positions(0, 0) = 7;
  positions(0, 1) = -3;
  positions(1, 0) = -3;
  positions(1, 1) = 7;
  Matrix<double> split(2, 5), sum(2, 5);
  ops::add_sinusoidal_position<double>(context, positions, {.base = 100}, split.view());
  CHECK(split(0, 0) == doctest::Approx(std::sin(7.0)));
  CHECK(split(0, 1) == doctest::Approx(std::cos(7.0)));
  CHECK(split(0, 2) == doctest::Approx(std::sin(7 * std::pow(100.0, -2.0 / 3))));
  CHECK(split(0, 3) == doctest::Approx(std::sin(-3.0)));
  CHECK(split(0, 4) == doctest::Approx(std::cos(-3.0)));
  ops::add_sinusoidal_position<double>(context, positions, {.layout = ops::SinusoidalLayout::sum, .base = 100},
                                       sum.view());
  CHECK(sum(0, 4) ==
        doctest::Approx(std::sin(7 * std::pow(100.0, -4.0 / 5)) + std::sin(-3 * std::pow(100.0, -4.0 / 5))));
  for (Index c = 0; c < 5; ++c) CHECK(sum(0, c) == doctest::Approx(sum(1, c)));
  Matrix<double> three(3, 5);
  CHECK_THROWS_AS(ops::add_sinusoidal_position<double>(context, positions, {}, three.view()), ShapeError);
}
