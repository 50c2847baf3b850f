#include <eosin/vision/stain.hpp>

#include <eosin/core/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>

using namespace eosin;
using vision::Image;
using vision::StainEstimate;

namespace {

// Glass in the left third; elsewhere mixtures of the two stains with known amounts.
Image painted(const StainEstimate& truth, std::uint64_t seed) {
  Image image(300, 200);
  RandomStream random(seed);
  for (Index y = 0; y < image.height; ++y)
    for (Index x = 0; x < image.width; ++x) {
      double h = 0.0, e = 0.0;
      if (x >= 100) {
        const double share = random.uniform();
        // Some tissue is nearly pure: what Macenko's percentiles rest on.
        const double mix = share < 0.1 ? 0.0 : share > 0.9 ? 1.0 : random.uniform();
        const double amount = random.uniform(0.4, 1.0);
        h = amount * mix * truth.strength[0];
        e = amount * (1.0 - mix) * truth.strength[1];
      }
      for (std::size_t c = 0; c < 3; ++c) {
        const double value = (truth.white[c] + 1.0) * std::exp(-h * truth.haematoxylin[c] - e * truth.eosin[c]) - 1.0;
        image.at(x, y)[c] = static_cast<std::uint8_t>(std::clamp(std::lround(value), 0l, 255l));
      }
    }
  return image;
}

double angle(const std::array<double, 3>& a, const std::array<double, 3>& b) {
  const double dot = a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const double na = std::hypot(a[0], a[1], a[2]), nb = std::hypot(b[0], b[1], b[2]);
  return std::acos(std::min(1.0, dot / (na * nb)));
}

}  // namespace

TEST_CASE("stains of a painted slide are found again") {
  StainEstimate truth;
  truth.white = {236, 221, 234};
  truth.haematoxylin = vision::detail::unit({0.77, 0.56, 0.30});
  truth.eosin = vision::detail::unit({0.25, 0.83, 0.45});
  truth.strength = {1.6, 1.1};
  const Image image = painted(truth, 1);
  const StainEstimate found = vision::estimate_stains(image);
  CHECK(found.estimated);
  for (std::size_t c = 0; c < 3; ++c) CHECK(found.white[c] == doctest::Approx(truth.white[c]).epsilon(0.01));
  CHECK(angle(found.haematoxylin, truth.haematoxylin) < 0.03);
  CHECK(angle(found.eosin, truth.eosin) < 0.03);
  for (std::size_t s = 0; s < 2; ++s) CHECK(found.strength[s] == doctest::Approx(truth.strength[s]).epsilon(0.08));
  CHECK(found.tissue_fraction == doctest::Approx(2.0 / 3.0).epsilon(0.01));
}

TEST_CASE("separation inverts the law of absorption") {
  StainEstimate estimate;
  estimate.white = {240, 235, 238};
  estimate.strength = {2.0, 0.5};
  const vision::StainSeparator separator(estimate);
  const auto h = vision::detail::unit(estimate.haematoxylin), e = vision::detail::unit(estimate.eosin);
  for (const double amount_h : {0.0, 0.3, 0.8})
    for (const double amount_e : {0.0, 0.2, 0.6}) {
      std::array<std::uint8_t, 3> rgb{};
      double mean = 0.0;
      for (std::size_t c = 0; c < 3; ++c) {
        const double od = amount_h * h[c] + amount_e * e[c];
        mean += od / 3.0;
        rgb[c] = static_cast<std::uint8_t>(std::lround((estimate.white[c] + 1.0) * std::exp(-od) - 1.0));
      }
      const auto amount = separator(rgb.data());
      CHECK(std::abs(static_cast<double>(amount[0]) * 2.0 - amount_h) < 0.02);
      CHECK(std::abs(static_cast<double>(amount[1]) * 0.5 - amount_e) < 0.02);
      CHECK(std::abs(static_cast<double>(amount[2])) < 0.02);
      CHECK(std::abs(static_cast<double>(amount[3]) - mean) < 0.01);
    }
  StainEstimate parallel;
  parallel.eosin = parallel.haematoxylin;
  CHECK_THROWS_AS(vision::StainSeparator{parallel}, ValueError);
}

TEST_CASE("images without tissue or of one colour fall back to the published vectors") {
  const StainEstimate published;
  Image glass(50, 40);
  std::fill(glass.pixels.begin(), glass.pixels.end(), std::uint8_t{240});
  const auto empty = vision::estimate_stains(glass);
  CHECK_FALSE(empty.estimated);
  CHECK(empty.haematoxylin == published.haematoxylin);
  CHECK(empty.white[0] == doctest::Approx(240.0));
  CHECK(empty.tissue_fraction == 0.0);

  Image grey = glass;
  for (Index y = 0; y < 40; ++y)
    for (Index x = 0; x < 25; ++x) std::fill_n(grey.at(x, y), 3, static_cast<std::uint8_t>(60 + 3 * (y % 20)));
  const auto line = vision::estimate_stains(grey);
  CHECK_FALSE(line.estimated);
  CHECK(line.eosin == published.eosin);
  CHECK_THROWS_AS(vision::estimate_stains(Image{}), ShapeError);
  CHECK_THROWS_AS(vision::estimate_stains(glass, {.percentile = 50.0}), ValueError);
}

TEST_CASE("normalisation carries one slide's look to another") {
  StainEstimate a, b;
  a.white = {236, 221, 234};
  a.strength = {1.6, 1.1};
  b.white = {246, 240, 244};
  b.haematoxylin = vision::detail::unit({0.72, 0.62, 0.31});
  b.strength = {0.9, 0.8};
  CpuContext context({.threads = 2});
  // The same random amounts painted with both looks.
  const Image from = painted(a, 5), wanted = painted(b, 5);
  const Image got = vision::normalise_stains(context, from, a, b);
  double difference = 0.0;
  for (std::size_t i = 0; i < got.pixels.size(); ++i)
    difference += std::abs(static_cast<double>(got.pixels[i]) - static_cast<double>(wanted.pixels[i]));
  CHECK(difference / static_cast<double>(got.pixels.size()) < 1.0);
}
