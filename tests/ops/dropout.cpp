#include <eosin/ops/dropout.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE("ops::dropout: share, scale, the same elements in backward, in place and on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  Matrix<float> ones(301, 77), y(301, 77), again(301, 77);
  ones.fill(1);
  const ops::DropoutKey key{.rate = 0.25, .seed = 5, .stream = 9};
  ops::dropout<float>(one, key, ones, y.view());
  again = ones;
  ops::dropout<float>(three, key, again, again.view());
  CHECK(testing::same_bits(y, again));
  double dropped = 0;
  for (Index i = 0; i < y.size(); ++i) {
    REQUIRE((y.data()[i] == 0 || y.data()[i] == 1 / 0.75f));
    dropped += y.data()[i] == 0;
  }
  CHECK(dropped / static_cast<double>(y.size()) == doctest::Approx(0.25).epsilon(0.03));
  ops::dropout<float>(one, key.at(1), ones, again.view());
  CHECK_FALSE(testing::same_bits(y, again));
  ops::dropout<float>(one, {}, ones, again.view());
  CHECK(testing::same_bits(ones, again));
}

TEST_CASE("ops::dropout: nested places differ, errors") {
  const ops::DropoutKey key{.rate = 0.5, .seed = 1, .stream = 3};
  CHECK(key.at(1).at(0).stream != key.at(0).at(1).stream);
  CpuContext context({.threads = 1});
  Matrix<double> x(2, 3), y(2, 3), wide(2, 4);
  CHECK_THROWS_WITH_AS(ops::dropout<double>(context, {.rate = 1}, x, y.view()), "dropout: the rate must be in [0, 1)",
                       ValueError);
  CHECK_THROWS_AS(ops::dropout<double>(context, {}, x, wide.view()), ShapeError);
}
