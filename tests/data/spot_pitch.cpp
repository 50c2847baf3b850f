#include <eosin/data/spot_pitch.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("spot pitch: median distance to the nearest neighbour") {
  std::vector<double> x;
  std::vector<double> y;
  for (int i = 0; i < 12; ++i)
    for (int j = 0; j < 9; ++j) {
      x.push_back(290.0 * i + 5);
      y.push_back(290.0 * j - 70);
    }
  CHECK(data::spot_pitch(x, y) == doctest::Approx(290).epsilon(1e-12));
  // A lost corner and a doubled spot do not move the median.
  x.push_back(1e6);
  y.push_back(1e6);
  x.push_back(x[0]);
  y.push_back(y[0]);
  CHECK(data::spot_pitch(x, y) == doctest::Approx(290).epsilon(1e-12));
}

TEST_CASE("spot pitch: the sweep finds what trying all pairs finds") {
  std::vector<double> x;
  std::vector<double> y;
  for (int i = 0; i < 60; ++i) {
    x.push_back(std::fmod(i * 37.7, 101));
    y.push_back(std::fmod(i * i * 11.3, 89));
  }
  std::vector<double> nearest;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double best = 1e300;
    for (std::size_t j = 0; j < x.size(); ++j)
      if (j != i) best = std::min(best, std::hypot(x[i] - x[j], y[i] - y[j]));
    nearest.push_back(best);
  }
  std::sort(nearest.begin(), nearest.end());
  CHECK(data::spot_pitch(x, y) == doctest::Approx((nearest[29] + nearest[30]) / 2).epsilon(1e-12));
}

TEST_CASE("spot pitch: too few places") {
  CHECK_THROWS_AS(data::spot_pitch({1}, {1}), ValueError);
  CHECK_THROWS_AS(data::spot_pitch({1, 1}, {2, 2}), ValueError);
  CHECK_THROWS_AS(data::spot_pitch({1, 1}, {2}), ShapeError);
  CHECK(data::spot_pitch({0, 3}, {0, 4}) == 5);
}
