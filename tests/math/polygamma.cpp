#include <eosin/math/polygamma.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("math: digamma, trigamma and its inverse") {
  struct Row {
    double x, digamma, trigamma;
  };
  // mpmath, 40 digits
  const std::vector<Row> rows{{0.001, -1000.5755719318102797, 1000001.6425331958273},
                              {0.1, -10.423754940411076232, 101.4332991507927477},
                              {0.5, -1.9635100260214234794, 4.9348022005446793094},
                              {1, -0.57721566490153286061, 1.6449340668482264365},
                              {2.7, 0.79678316899114109494, 0.44721206891832360647},
                              {15.9, 2.7345430701757738806, 0.064912281599060113516},
                              {16.1, 2.7474420055146230693, 0.064080645042418556761},
                              {100, 4.6001618527380874002, 0.010050166663333571395},
                              {1000000.0, 13.815510057964190771, 1.0000005000001666667e-6}};
  for (const Row& row : rows) {
    const double x = row.x, digamma = row.digamma, trigamma = row.trigamma;
    CAPTURE(x);
    CHECK(math::digamma(x) == doctest::Approx(digamma).epsilon(1e-14));
    CHECK(std::abs(math::trigamma(x) / trigamma - 1.0) < 2e-15);
    CHECK(std::abs(math::inverse_trigamma(trigamma) / x - 1.0) < 1e-10);
  }
  for (double y = 1e-12; y < 1e12; y *= 3.7) {
    CAPTURE(y);
    CHECK(std::abs(math::trigamma(math::inverse_trigamma(y)) / y - 1.0) < 1e-6);
    if (y > 1e-6 && y < 1e6) CHECK(std::abs(math::trigamma(math::inverse_trigamma(y)) / y - 1.0) < 1e-13);
  }
}
