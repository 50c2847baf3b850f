#include <eosin/vision/nuclei.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

using namespace eosin;
using vision::Plane;

namespace {

// Adds an ellipse of amount 1 with soft borders.
void draw(Plane& plane, double cx, double cy, double a, double b, double angle) {
  for (Index y = 0; y < plane.height; ++y)
    for (Index x = 0; x < plane.width; ++x) {
      const double dx = static_cast<double>(x) - cx, dy = static_cast<double>(y) - cy;
      const double u = (dx * std::cos(angle) + dy * std::sin(angle)) / a;
      const double v = (dy * std::cos(angle) - dx * std::sin(angle)) / b;
      const double value = std::clamp(0.5 + std::min(a, b) * (1.0 - std::hypot(u, v)), 0.0, 1.0);
      plane(x, y) = std::max(plane(x, y), static_cast<float>(value));
    }
}

}  // namespace

TEST_CASE("Otsu parts two heaps between them") {
  std::vector<float> values(100, 0.2f);
  values.insert(values.end(), 40, 0.8f);
  const float t = vision::otsu_threshold(values, 0.0f, 1.0f);
  CHECK(t > 0.2f);
  CHECK(t < 0.8f);
  CHECK(vision::otsu_threshold({}, 0.0f, 1.0f) == doctest::Approx(0.498).epsilon(0.01));
}

TEST_CASE("segments: areas, places and shapes of drawn ellipses") {
  Plane plane(80, 60);
  draw(plane, 20, 20, 6, 6, 0.0);
  draw(plane, 55.5, 30.25, 10, 4, 0.7);
  plane(2, 50) = 1.0f;  // a speck
  const auto segments = vision::nuclear_segments(plane, 0.5f, 5);
  REQUIRE(segments.size() == 2);
  const auto& disc = segments[0];
  CHECK(disc.x == doctest::Approx(20.0));
  CHECK(disc.y == doctest::Approx(20.0));
  CHECK(disc.area == doctest::Approx(std::numbers::pi * 36).epsilon(0.08));
  CHECK(disc.eccentricity < 0.25);
  const auto& ellipse = segments[1];
  CHECK(ellipse.x == doctest::Approx(55.5).epsilon(0.01));
  CHECK(ellipse.y == doctest::Approx(30.25).epsilon(0.01));
  CHECK(ellipse.area == doctest::Approx(std::numbers::pi * 40).epsilon(0.08));
  CHECK(ellipse.eccentricity == doctest::Approx(std::sqrt(1.0 - 16.0 / 100.0)).epsilon(0.03));
  CHECK(vision::nuclear_segments(plane, 0.5f, 1).size() == 3);
  CHECK(vision::nuclear_segments(Plane(0, 0), 0.5f, 1).empty());
}

TEST_CASE("blobs: touching nuclei are counted apart, sizes and elongation told") {
  Plane plane(90, 60);
  draw(plane, 15, 15, 4, 4, 0.0);
  draw(plane, 22.5, 15, 4, 4, 0.0);  // touches the first
  draw(plane, 60, 20, 7, 7, 0.0);
  draw(plane, 30, 45, 6.5, 3, 0.3);
  CHECK(vision::nuclear_segments(plane, 0.5f, 5).size() == 3);
  const std::array<double, 2> sigmas{4 / std::numbers::sqrt2, 5 / std::numbers::sqrt2};
  vision::BlobScratch scratch;
  const auto blobs = vision::nuclear_blobs(plane, sigmas, 0.3, scratch);
  REQUIRE(blobs.size() == 4);
  const auto at = [&](double x, double y) {
    const vision::NuclearBlob* best = &blobs[0];
    for (const auto& blob : blobs)
      if (std::hypot(static_cast<double>(blob.x) - x, static_cast<double>(blob.y) - y) <
          std::hypot(static_cast<double>(best->x) - x, static_cast<double>(best->y) - y))
        best = &blob;
    return *best;
  };
  CHECK(at(15, 15).x <= 16);
  CHECK(at(22.5, 15).x >= 21);
  CHECK(at(60, 20).sigma == sigmas[1]);
  CHECK(at(15, 15).sigma == sigmas[0]);
  CHECK(at(60, 20).elongation < 0.1);
  CHECK(at(30, 45).elongation > 0.5);
  CHECK(vision::nuclear_blobs(Plane(20, 20), sigmas, 0.1, scratch).empty());
  CHECK(vision::nuclear_blobs(Plane(1, 1), sigmas, 0.1, scratch).empty());
}
