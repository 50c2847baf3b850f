#include <eosin/vision/patch_encoder.hpp>

#include <eosin/core/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

using namespace eosin;
using vision::Image;
using vision::PatchEncoder;
using vision::Point;

namespace {

// A slide of pink ground: the left half with few long nuclei, the right half with many round ones.
Image slide(std::uint64_t seed, double stain) {
  Image image(600, 320);
  std::vector<double> h(static_cast<std::size_t>(image.width * image.height), 0.02);
  RandomStream random(seed);
  const auto nucleus = [&](double cx, double cy, double a, double b, double angle) {
    for (auto y = static_cast<Index>(cy - a - 1); y <= static_cast<Index>(cy + a + 1); ++y)
      for (auto x = static_cast<Index>(cx - a - 1); x <= static_cast<Index>(cx + a + 1); ++x) {
        if (x < 0 || y < 0 || x >= image.width || y >= image.height) continue;
        const double dx = static_cast<double>(x) - cx, dy = static_cast<double>(y) - cy;
        const double u = (dx * std::cos(angle) + dy * std::sin(angle)) / a;
        const double v = (dy * std::cos(angle) - dx * std::sin(angle)) / b;
        if (u * u + v * v < 1.0) h[static_cast<std::size_t>(y * image.width + x)] = 0.9;
      }
  };
  for (int i = 0; i < 120; ++i)
    nucleus(random.uniform(0, 300), random.uniform(0, 320), 5.5, 1.6, random.uniform(0.0, 3.14));
  for (int i = 0; i < 900; ++i) nucleus(random.uniform(300, 600), random.uniform(0, 320), 3.0, 2.7, 0.0);
  const vision::StainEstimate look;
  for (Index y = 0; y < image.height; ++y)
    for (Index x = 0; x < image.width; ++x) {
      const bool glass = y < 50;
      const double amount_h = glass ? 0.0 : h[static_cast<std::size_t>(y * image.width + x)];
      const double amount_e = glass ? 0.0 : random.uniform(0.3, 0.6);
      for (std::size_t c = 0; c < 3; ++c) {
        const double od = stain * (amount_h * look.haematoxylin[c] + amount_e * look.eosin[c]);
        image.at(x, y)[c] = static_cast<std::uint8_t>(std::lround(244.0 * std::exp(-od)));
      }
    }
  return image;
}

std::vector<Point> grid() {
  std::vector<Point> centres;
  for (int row = 0; row < 2; ++row)
    for (int column = 0; column < 5; ++column) centres.push_back({60.0 + 120.0 * column, 120.0 + 120.0 * row});
  return centres;
}

Index column(const PatchEncoder& encoder, const std::string& name) {
  const auto& names = encoder.feature_names();
  const auto found = std::find(names.begin(), names.end(), name);
  REQUIRE(found != names.end());
  return static_cast<Index>(found - names.begin());
}

}  // namespace

TEST_CASE("the names of the features are different from each other and fit the matrix") {
  const PatchEncoder encoder;
  CHECK(encoder.features() == 273);
  CHECK(std::set<std::string>(encoder.feature_names().begin(), encoder.feature_names().end()).size() == 273);
  CpuContext context({.threads = 2});
  const auto features = encoder.encode(context, slide(1, 1.0), grid(), 120.0);
  CHECK(features.rows() == 10);
  CHECK(features.cols() == 273);
  for (Index i = 0; i < features.size(); ++i) REQUIRE(std::isfinite(features.data()[i]));
}

TEST_CASE("features tell what was drawn") {
  const PatchEncoder encoder;
  CpuContext context({.threads = 1});
  const auto features = encoder.encode(context, slide(2, 1.0), grid(), 120.0);
  const auto mean = [&](const std::string& name, Index first) {
    const Index c = column(encoder, name);
    return 0.25 * static_cast<double>(features(first, c) + features(first + 1, c) + features(first + 5, c) +
                                      features(first + 6, c));
  };
  // Spots 0, 1, 5, 6 lie in the half with few long nuclei, 3, 4, 8, 9 in the other one.
  for (const std::string name : {"spot.nuclear", "spot.blobs.count", "spot.haematoxylin.mean"})
    CHECK(mean(name, 3) > mean(name, 0));
  CHECK(mean("spot.blobs.elongation", 0) > mean("spot.blobs.elongation", 3) + 0.1);
  CHECK(mean("spot.segments.eccentricity", 0) > mean("spot.segments.eccentricity", 3) + 0.1);
  CHECK(mean("spot.nuclear_cytoplasmic", 3) > mean("spot.nuclear_cytoplasmic", 0));
}

TEST_CASE("the same bits on any number of threads and in any order of the spots") {
  const PatchEncoder encoder;
  const Image image = slide(3, 1.0);
  const auto centres = grid();
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto a = encoder.encode(one, image, centres, 120.0);
  const auto b = encoder.encode(three, image, centres, 120.0);
  CHECK(std::equal(a.data(), a.data() + a.size(), b.data()));
  auto reversed = centres;
  std::reverse(reversed.begin(), reversed.end());
  const auto c = encoder.encode(three, image, reversed, 120.0);
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j) REQUIRE(a(i, j) == c(a.rows() - 1 - i, j));
}

TEST_CASE("a stronger stain changes normalised features little") {
  const PatchEncoder encoder;
  CpuContext context({.threads = 2});
  const auto pale = encoder.encode(context, slide(4, 0.8), grid(), 120.0);
  const auto dark = encoder.encode(context, slide(4, 1.3), grid(), 120.0);
  const Index h = column(encoder, "spot.haematoxylin.mean"), n = column(encoder, "spot.nuclear");
  for (Index i = 0; i < pale.rows(); ++i) {
    CHECK(std::abs(pale(i, h) - dark(i, h)) < 0.06f);
    CHECK(std::abs(pale(i, n) - dark(i, n)) < 0.06f);
  }
}

TEST_CASE("blank, tiny and border cases stay finite; bad arguments are refused") {
  const PatchEncoder encoder;
  CpuContext context({.threads = 2});
  for (const std::uint8_t colour : {std::uint8_t{0}, std::uint8_t{128}, std::uint8_t{255}}) {
    Image flat(5, 3);
    std::fill(flat.pixels.begin(), flat.pixels.end(), colour);
    const std::vector<Point> centres{{0, 0}, {4, 2}};
    for (const double pitch : {0.5, 4.0, 300.0}) {
      const auto features = encoder.encode(context, flat, centres, pitch);
      for (Index i = 0; i < features.size(); ++i) REQUIRE(std::isfinite(features.data()[i]));
    }
  }
  const Image image = slide(5, 1.0);
  const std::vector<Point> outside{{10, 10}, {601, 10}};
  const std::vector<std::string> names{"1x1", "2x1"};
  CHECK_THROWS_WITH_AS(encoder.encode(context, image, outside, 120.0, names),
                       "spot '2x1' lies at pixel (601.0, 10.0), outside the image of 600 x 320 pixels: image smaller "
                       "than the coordinates",
                       ValueError);
  CHECK_THROWS_AS(encoder.encode(context, image, grid(), 0.0), ValueError);
  CHECK_THROWS_AS(encoder.encode(context, image, grid(), std::nan("")), ValueError);
  CHECK_THROWS_AS(encoder.encode(context, Image{}, grid(), 120.0), ShapeError);
  CHECK(encoder.encode(context, image, {}, 120.0).rows() == 0);
  CHECK_THROWS_AS(PatchEncoder({.fields = {}}), ValueError);
  CHECK_THROWS_AS(PatchEncoder({.nucleus_diameter = 0.0}), ValueError);
  CHECK_THROWS_AS(PatchEncoder({.fields = {{.name = "a", .window = 0.0}}}), ValueError);
  CHECK_THROWS_AS(PatchEncoder({.fields = {{.name = "a", .resolution = 1}}}), ValueError);
}

TEST_CASE("fields are the user's choice") {
  const PatchEncoder encoder(
      {.fields = {{.name = "near", .window = 1.5, .resolution = 64, .levels = 2, .pairs = true}}});
  CHECK(encoder.features() == 20 + 8 + 2 * 2 * 3 + 10 + 2 * 5);
  CHECK(encoder.feature_names().front() == "near.haematoxylin.mean");
  CpuContext context({.threads = 1});
  CHECK(encoder.encode(context, slide(6, 1.0), grid(), 120.0).cols() == encoder.features());
}
