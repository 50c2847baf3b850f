#include <eosin/vision/augmentation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

using namespace eosin;
using vision::Augmentation;
using vision::PixelNormalisation;

namespace {

/// Pixel (x, y) is {x, y, 7}.
vision::Image coordinates(Index width, Index height) {
  vision::Image image(width, height);
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<std::uint8_t>(x);
      image.at(x, y)[1] = static_cast<std::uint8_t>(y);
      image.at(x, y)[2] = 7;
    }
  return image;
}

/// Coordinates of the pixel that ended up at (x, y).
struct Rendered {
  Index width;
  std::vector<float> values;

  Rendered(const vision::Image& image, const Augmentation& draw) : width(image.width), values(image.pixels.size()) {
    vision::render_patch(image, draw, PixelNormalisation::unit, values);
  }
  std::pair<int, int> source(Index x, Index y) const {
    const float* p = values.data() + 3 * (y * width + x);
    return {static_cast<int>(std::lround(255 * p[0])), static_cast<int>(std::lround(255 * p[1]))};
  }
};

std::vector<float> jittered(std::vector<float> rgb, const Augmentation& draw) {
  vision::jitter_colours(rgb, draw);
  return rgb;
}

void check_values(const std::vector<float>& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    CHECK(static_cast<double>(got[i]) == doctest::Approx(want[i]).epsilon(1e-6));
}

}  // namespace

TEST_CASE("vision::augmentation: colour changes follow their formulas") {
  Augmentation draw;
  CHECK(jittered({0.2f, 0.4f, 0.6f}, draw) == std::vector<float>{0.2f, 0.4f, 0.6f});
  draw.brightness = 2;
  check_values(jittered({0.2f, 0.4f, 0.6f}, draw), {0.4, 0.8, 1.0});
  draw = {};
  draw.saturation = 0.5;
  const double grey = 0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6;
  check_values(jittered({0.2f, 0.4f, 0.6f}, draw), {0.1 + grey / 2, 0.2 + grey / 2, 0.3 + grey / 2});
  draw = {};
  draw.contrast = 1.5;
  const double mean = (grey + 0.9999) / 2;  // of the grey pixel and of white
  const auto away = [&](double x) { return std::clamp(1.5 * x - 0.5 * mean, 0.0, 1.0); };
  check_values(jittered({0.2f, 0.4f, 0.6f, 1, 1, 1}, draw), {away(0.2), away(0.4), away(0.6), 1, 1, 1});
}

TEST_CASE("vision::augmentation: hue turns as in HSV") {
  Augmentation draw;
  const auto turned = [&](std::vector<float> rgb, float hue) {
    draw.hue = hue;
    return jittered(std::move(rgb), draw);
  };
  // Python's colorsys.
  check_values(turned({0.2f, 0.4f, 0.6f}, 0.1f), {0.24, 0.2, 0.6});
  check_values(turned({0.9f, 0.3f, 0.25f}, -0.2f), {0.82, 0.25, 0.9});
  check_values(turned({0.3f, 0.8f, 0.1f}, 0.45f), {0.39, 0.1, 0.8});
  // A third of the circle moves the channels on; grey and black have no hue.
  check_values(turned({0.2f, 0.4f, 0.6f}, 1.0f / 3), {0.6, 0.2, 0.4});
  check_values(turned({0.5f, 0.5f, 0.5f, 0, 0, 0}, 0.3f), {0.5, 0.5, 0.5, 0, 0, 0});
}

TEST_CASE("vision::augmentation: the order of the colour changes matters and is kept") {
  Augmentation draw;
  draw.brightness = 2;
  draw.saturation = 0;
  const auto first = jittered({0.2f, 0.4f, 0.6f}, draw);
  draw.order = {Augmentation::Colour::saturation, Augmentation::Colour::hue, Augmentation::Colour::contrast,
                Augmentation::Colour::brightness};
  const auto second = jittered({0.2f, 0.4f, 0.6f}, draw);
  CHECK(first[0] == doctest::Approx(0.2989 * 0.4 + 0.587 * 0.8 + 0.114).epsilon(1e-6));
  CHECK(second[0] == doctest::Approx(2 * (0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6)).epsilon(1e-6));
}

TEST_CASE("vision::augmentation: flips and turns move pixels where they belong") {
  for (const Index edge : {4, 5}) {
    const auto image = coordinates(edge, edge);
    const int last = static_cast<int>(edge) - 1;
    for (Index y = 0; y < edge; ++y)
      for (Index x = 0; x < edge; ++x) {
        const int i = static_cast<int>(x), j = static_cast<int>(y);
        const auto at = [&](double angle, bool horizontal, bool vertical) {
          Augmentation draw;
          draw.angle = angle;
          draw.horizontal_flip = horizontal;
          draw.vertical_flip = vertical;
          return Rendered(image, draw).source(x, y);
        };
        REQUIRE(at(0, false, false) == std::pair(i, j));
        REQUIRE(at(0, true, false) == std::pair(last - i, j));
        REQUIRE(at(0, false, true) == std::pair(i, last - j));
        // Counterclockwise: the right column becomes the top row.
        REQUIRE(at(90, false, false) == std::pair(last - j, i));
        REQUIRE(at(-90, false, false) == std::pair(j, last - i));
        REQUIRE(at(180, false, false) == std::pair(last - i, last - j));
        // Flipped first, then turned.
        REQUIRE(at(90, true, false) == std::pair(j, i));
      }
  }
  // Corners of a patch turned by 45 degrees come from outside.
  Augmentation draw;
  draw.angle = 45;
  vision::Image white(21, 21);
  std::fill(white.pixels.begin(), white.pixels.end(), std::uint8_t{255});
  CHECK(Rendered(white, draw).values[0] == 1.0f);
  draw.fill = vision::RotationFill::black;
  const Rendered black(white, draw);
  CHECK(black.values[0] == 0.0f);
  CHECK(black.values[3 * (10 * 21 + 10)] == 1.0f);
}

TEST_CASE("vision::augmentation: normalisations") {
  vision::Image pixel(1, 1);
  pixel.pixels = {255, 51, 0};
  std::vector<float> out(3);
  vision::render_patch(pixel, {}, PixelNormalisation::unit, out);
  check_values(out, {1, 0.2, 0});
  vision::render_patch(pixel, {}, PixelNormalisation::imagenet, out);
  check_values(out, {(1 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, -0.406 / 0.225});
  vision::render_patch(pixel, {}, PixelNormalisation::bgr_bytes, out);
  check_values(out, {0, 51, 255});
}

TEST_CASE("vision::augmentation: draws are functions of seed, epoch and spot, within their ranges") {
  const vision::AugmentationOptions options{.hue = 0.1, .vertical_flip = 0.25};
  int horizontal = 0, vertical = 0;
  double angles = 0;
  std::set<double> seen;
  std::set<int> first;
  for (std::uint64_t spot = 0; spot < 1000; ++spot) {
    const auto draw = vision::draw_augmentation(options, 3, 5, spot);
    CHECK((draw.brightness >= 0.5f && draw.brightness <= 1.5f && draw.contrast >= 0.5f && draw.contrast <= 1.5f));
    CHECK((draw.saturation >= 0.5f && draw.saturation <= 1.5f && std::abs(draw.hue) <= 0.1f));
    CHECK(std::abs(draw.angle) <= 180);
    horizontal += draw.horizontal_flip;
    vertical += draw.vertical_flip;
    angles += draw.angle;
    seen.insert(draw.angle);
    first.insert(static_cast<int>(draw.order[0]));
  }
  CHECK(seen.size() == 1000);
  CHECK(first.size() == 4);
  // Four standard deviations.
  CHECK(std::abs(horizontal - 500) < 64);
  CHECK(std::abs(vertical - 250) < 55);
  CHECK(std::abs(angles / 1000) < 13.2);
  const auto angle = [&](std::uint64_t seed, std::uint64_t epoch, std::uint64_t spot) {
    return vision::draw_augmentation(options, seed, epoch, spot).angle;
  };
  CHECK(angle(3, 5, 7) == angle(3, 5, 7));
  CHECK(angle(3, 5, 7) != angle(4, 5, 7));
  CHECK(angle(3, 5, 7) != angle(3, 6, 7));
  CHECK(angle(3, 5, 7) != angle(3, 5, 8));
  const vision::AugmentationOptions none{
      .brightness = 0, .contrast = 0, .saturation = 0, .horizontal_flip = 0, .rotation = 0};
  const auto still = vision::draw_augmentation(none, 1, 2, 3);
  CHECK((still.brightness == 1 && still.contrast == 1 && still.saturation == 1 && still.hue == 0));
  CHECK((!still.horizontal_flip && !still.vertical_flip && still.angle == 0));
}

TEST_CASE("vision::augmentation: refusals") {
  CHECK_THROWS_AS(vision::draw_augmentation({.brightness = -1}, 1, 1, 1), ValueError);
  CHECK_THROWS_AS(vision::draw_augmentation({.hue = 0.6}, 1, 1, 1), ValueError);
  CHECK_THROWS_AS(vision::draw_augmentation({.horizontal_flip = 1.5}, 1, 1, 1), ValueError);
  std::vector<float> four(4);
  CHECK_THROWS_AS(vision::jitter_colours(four, {}), ValueError);
  CHECK_THROWS_AS(vision::render_patch(coordinates(2, 2), {}, PixelNormalisation::unit, four), ShapeError);
  CHECK_THROWS_AS(vision::render_patch(vision::Image{}, {}, PixelNormalisation::unit, {}), ShapeError);
}
