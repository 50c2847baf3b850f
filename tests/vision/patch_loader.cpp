#include <eosin/vision/patch_loader.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;

namespace {

vision::Image noise(Index width, Index height) {
  vision::Image image(width, height);
  RandomStream random(4);
  for (auto& value : image.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return image;
}

std::vector<vision::PatchSource> sources_of(const vision::Image& image) {
  std::vector<vision::PatchSource> sources;
  // The last ones reach beyond the border; every third is resampled.
  for (Index i = 0; i < 30; ++i)
    sources.push_back({&image, {static_cast<double>(2 * i), static_cast<double>(50 - i)}, i % 3 == 0 ? 25.0 : 16.0});
  return sources;
}

const std::vector<std::vector<Index>> batches{{3, 1, 29}, {0}, {7, 7, 8, 9, 10}, {}, {28, 27}};

}  // namespace

TEST_CASE("vision::patch_loader: batches are what one patch after the other gives, for any depth and threads") {
  const auto image = noise(64, 56);
  const auto sources = sources_of(image);
  for (const Index depth : {1, 2, 9})
    for (const int threads : {1, 3}) {
      vision::PatchLoaderOptions options{.size = 16, .augmentation = vision::AugmentationOptions{}, .seed = 9};
      options.depth = depth;
      options.threads = threads;
      vision::PatchLoader loader(sources, options);
      for (const std::uint64_t epoch : {0, 1, 4}) {
        loader.start(epoch, batches);
        std::vector<float> want(16 * 16 * 3);
        for (const auto& rows : batches) {
          const auto* batch = loader.next();
          REQUIRE(batch != nullptr);
          CHECK(batch->rows == rows);
          REQUIRE(batch->pixels.rows() == static_cast<Index>(rows.size()));
          for (std::size_t i = 0; i < rows.size(); ++i) {
            vision::load_patch(sources[static_cast<std::size_t>(rows[i])], static_cast<std::uint64_t>(rows[i]), epoch,
                               options, want);
            REQUIRE(
                testing::same_bits<const float>(std::as_const(batch->pixels).row(static_cast<Index>(i)),
                                                VectorView<const float>(want.data(), static_cast<Index>(want.size()))));
          }
        }
        CHECK(loader.next() == nullptr);
        CHECK(loader.next() == nullptr);
      }
    }
}

TEST_CASE("vision::patch_loader: without augmentation a patch is the image's pixels") {
  const auto image = noise(64, 56);
  vision::PatchLoader loader({{&image, {20, 20}, 8}}, {.size = 8, .normalisation = vision::PixelNormalisation::unit});
  loader.start(0, {{0}});
  const auto* batch = loader.next();
  REQUIRE(batch != nullptr);
  for (Index y = 0; y < 8; ++y)
    for (Index x = 0; x < 8; ++x)
      CHECK(batch->pixels(0, 3 * (8 * y + x) + 1) == static_cast<float>(image.at(16 + x, 16 + y)[1]) / 255.0f);
}

TEST_CASE("vision::patch_loader: an epoch may be dropped, a loader may go away early") {
  const auto image = noise(64, 56);
  vision::PatchLoader loader(sources_of(image), {.size = 16});
  CHECK(loader.next() == nullptr);
  for (int again = 0; again < 20; ++again) {
    loader.start(1, batches);
    if (again % 2 == 0) CHECK(loader.next()->rows == batches[0]);
  }
  loader.start(2, {{5}, {6}});
  CHECK(loader.next()->rows == std::vector<Index>{5});
  CHECK(loader.next()->rows == std::vector<Index>{6});
  CHECK(loader.next() == nullptr);
  loader.start(3, batches);
}

TEST_CASE("vision::patch_loader: errors reach the consumer, at the batch that has them") {
  const auto image = noise(64, 56);
  auto sources = sources_of(image);
  sources[4].centre = {500, 3};
  sources[4].window = 16;
  sources[5].image = nullptr;
  vision::PatchLoader loader(sources, {.size = 16, .depth = 3});
  loader.start(0, {{1}, {2}, {4}, {3}});
  CHECK(loader.next()->rows == std::vector<Index>{1});
  CHECK(loader.next()->rows == std::vector<Index>{2});
  CHECK_THROWS_AS(loader.next(), ValueError);
  CHECK(loader.next() == nullptr);
  loader.start(0, {{5}});
  CHECK_THROWS_WITH_AS(loader.next(), "load_patch: the source has no image", ValueError);
  // The loader goes on.
  loader.start(0, {{3}});
  CHECK(loader.next()->rows == std::vector<Index>{3});
  CHECK_THROWS_WITH_AS(loader.start(0, {{30}}), "PatchLoader: row 30 lies outside 30 patches", ValueError);
  CHECK_THROWS_AS(vision::PatchLoader({}, {.size = 0}), ValueError);
  CHECK_THROWS_AS(vision::PatchLoader({}, {.depth = 0}), ValueError);
}
