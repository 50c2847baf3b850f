#include <eosin/vision/texture.hpp>

#include <eosin/core/random.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

using namespace eosin;
using vision::Plane;

namespace {

Plane noise(Index width, Index height, std::uint64_t seed) {
  Plane plane(width, height);
  RandomStream random(seed);
  for (float& v : plane.values) v = static_cast<float>(random.uniform());
  return plane;
}

Plane turned(const Plane& plane) {
  Plane result(plane.height, plane.width);
  for (Index y = 0; y < plane.height; ++y)
    for (Index x = 0; x < plane.width; ++x) result(plane.height - 1 - y, x) = plane(x, y);
  return result;
}

}  // namespace

TEST_CASE("smooth_separable equals the direct double sum") {
  const Plane plane = noise(11, 6, 3);
  const auto half = vision::gaussian_half(1.3);
  const Index reach = static_cast<Index>(half.size()) - 1;
  vision::FilterScratch scratch;
  Plane got;
  vision::smooth_separable(plane, half, got, scratch);
  for (Index y = 0; y < 6; ++y)
    for (Index x = 0; x < 11; ++x) {
      double sum = 0.0;
      for (Index j = -reach; j <= reach; ++j)
        for (Index i = -reach; i <= reach; ++i)
          sum += static_cast<double>(half[static_cast<std::size_t>(std::abs(i))]) *
                 static_cast<double>(half[static_cast<std::size_t>(std::abs(j))]) *
                 static_cast<double>(plane(vision::mirror_index(x + i, 11), vision::mirror_index(y + j, 6)));
      CHECK(static_cast<double>(got(x, y)) == doctest::Approx(sum).epsilon(1e-5));
    }
  // In place, the same.
  Plane own = plane;
  vision::smooth_separable(own, half, own, scratch);
  CHECK(own.values == got.values);
}

TEST_CASE("gaussian_half sums to one over both sides") {
  for (const double sigma : {0.3, 1.0, 4.0}) {
    const auto half = vision::gaussian_half(sigma);
    const double sum = 2.0 * std::accumulate(half.begin(), half.end(), 0.0) - static_cast<double>(half[0]);
    CHECK(sum == doctest::Approx(1.0).epsilon(1e-6));
  }
}

TEST_CASE("moments and quantiles") {
  const std::vector<float> values{1, 2, 3, 4};
  const auto m = vision::moments(values);
  CHECK(m.mean == doctest::Approx(2.5));
  CHECK(m.deviation == doctest::Approx(std::sqrt(1.25)));
  CHECK(vision::moments({}).deviation == 0.0);
  std::vector<float> ramp(10001);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) / 10000.0f;
  const auto q = vision::quantiles<3>(ramp, -1.0f, 3.0f, {0.05, 0.5, 0.95});
  CHECK(q[0] == doctest::Approx(0.05).epsilon(0.02));
  CHECK(q[1] == doctest::Approx(0.5).epsilon(0.002));
  CHECK(q[2] == doctest::Approx(0.95).epsilon(0.002));
  CHECK(vision::quantiles<1>({}, -1.0f, 3.0f, {0.5})[0] == -1.0);
}

TEST_CASE("band_texture tells stripes from noise and does not see turns") {
  vision::BandScratch scratch;
  Plane stripes(64, 64);
  for (Index y = 0; y < 64; ++y)
    for (Index x = 0; x < 64; ++x) stripes(x, y) = static_cast<float>(std::sin(0.9 * static_cast<double>(x + y)));
  const auto parallel = vision::band_texture(stripes, scratch);
  const auto random = vision::band_texture(noise(64, 64, 1), scratch);
  CHECK(parallel.coherence > 0.9);
  CHECK(random.coherence < 0.6);
  CHECK(parallel.roughness < random.roughness);

  const Plane plane = noise(40, 24, 2);
  const auto a = vision::band_texture(plane, scratch);
  const auto b = vision::band_texture(turned(plane), scratch);
  CHECK(a.energy == doctest::Approx(b.energy).epsilon(1e-5));
  CHECK(a.gradient == doctest::Approx(b.gradient).epsilon(1e-5));
  CHECK(a.coherence == doctest::Approx(b.coherence).epsilon(1e-5));

  const Plane flat(32, 32);
  const auto nothing = vision::band_texture(flat, scratch);
  CHECK(nothing.energy == 0.0);
  CHECK(nothing.coherence == 0.0);
  CHECK(nothing.roughness == 0.0);
  // Twice the amplitude: energies double, ratios stay.
  Plane doubled = plane;
  for (float& v : doubled.values) v *= 2.0f;
  const auto c = vision::band_texture(doubled, scratch);
  CHECK(c.energy == doctest::Approx(2.0 * a.energy).epsilon(1e-5));
  CHECK(c.coherence == doctest::Approx(a.coherence).epsilon(1e-5));
}

TEST_CASE("local binary patterns of hand-made planes") {
  Plane dot(3, 3);
  dot(1, 1) = 1.0f;
  CHECK(vision::local_binary_patterns(dot, 0.0f)[0] == 1.0);
  for (float& v : dot.values) v = 1.0f - v;
  CHECK(vision::local_binary_patterns(dot, 0.0f)[8] == 1.0);
  Plane edge(3, 3);
  for (Index x = 0; x < 3; ++x) edge(x, 0) = 1.0f;
  CHECK(vision::local_binary_patterns(edge, 0.0f)[3] == 1.0);
  CHECK(vision::local_binary_patterns(edge, 2.0f)[0] == 1.0);
  Plane corners(3, 3);
  corners(0, 0) = corners(2, 2) = 1.0f;
  CHECK(vision::local_binary_patterns(corners, 0.0f)[9] == 1.0);

  const Plane plane = noise(31, 17, 9);
  const auto shares = vision::local_binary_patterns(plane, 0.0f);
  CHECK(std::accumulate(shares.begin(), shares.end(), 0.0) == doctest::Approx(1.0));
  CHECK(shares == vision::local_binary_patterns(turned(plane), 0.0f));
  CHECK(vision::local_binary_patterns(Plane(2, 2), 0.0f)[0] == 0.0);
}

TEST_CASE("co-occurrence of a checkerboard and of a constant") {
  Plane board(16, 16);
  for (Index y = 0; y < 16; ++y)
    for (Index x = 0; x < 16; ++x) board(x, y) = (x + y) % 2 == 0 ? 0.0f : 1.0f;
  // At distance 1 the neighbours along the axes differ by 15 levels and the diagonal ones by none.
  const auto pairs = vision::co_occurrence(board, 1, 0.0f, 1.0f);
  const double axis = 2.0 * 15 * 16, diagonal = 2.0 * 15 * 15;
  CHECK(pairs.contrast == doctest::Approx(225.0 * axis / (axis + diagonal)));
  CHECK(pairs.correlation == doctest::Approx((diagonal - axis) / (axis + diagonal)).epsilon(1e-3));
  const auto constant = vision::co_occurrence(Plane(8, 8), 1, 0.0f, 1.0f);
  CHECK(constant.contrast == 0.0);
  CHECK(constant.homogeneity == 1.0);
  CHECK(constant.entropy == 0.0);
  CHECK(vision::co_occurrence(Plane(2, 2), 5, 0.0f, 1.0f).uniformity == 0.0);
}
