// Changes of colour and orientation on the device against the processor: every normalisation, each change alone and
// all of them, both fills, patches that are not square.

#include <eosin/vision/augmentation.hpp>

#include "support/cuda.hpp"

#include <vector>

using namespace eosin;
using namespace eosin::testing;
using vision::Augmentation;
using vision::PixelNormalisation;

namespace {

/// Patches of random bytes, one per row.
Matrix<std::uint8_t> random_patches(Index count, Index width, Index height) {
  Matrix<std::uint8_t> patches(count, 3 * width * height);
  const Philox random(7);
  for (Index i = 0; i < patches.size(); ++i)
    patches.data()[i] = static_cast<std::uint8_t>(random.words(static_cast<std::uint64_t>(i))[0]);
  return patches;
}

Matrix<float> rendered(const Matrix<std::uint8_t>& patches, Index width, Index height,
                       const std::vector<Augmentation>& draws, PixelNormalisation normalisation) {
  Matrix<float> out(patches.rows() * width * height, 3);
  for (Index n = 0; n < patches.rows(); ++n) {
    vision::Image image(width, height);
    std::copy_n(&patches(n, 0), patches.cols(), image.pixels.data());
    vision::render_patch(image, draws[static_cast<std::size_t>(n)], normalisation,
                         std::span<float>(out.data() + n * patches.cols(), image.pixels.size()));
  }
  return out;
}

/// Nothing; each change alone; both fills of a turn; then draws as in training.
std::vector<Augmentation> draws_of_all_kinds(Index count) {
  std::vector<Augmentation> draws(9);
  draws[1].brightness = 1.4f;
  draws[2].contrast = 0.6f;
  draws[3].saturation = 1.3f;
  draws[4].hue = 0.2f;
  draws[5].horizontal_flip = true;
  draws[6].vertical_flip = true;
  draws[7].angle = 33;
  draws[8].angle = -71;
  draws[8].fill = vision::RotationFill::black;
  vision::AugmentationOptions options{.hue = 0.3, .vertical_flip = 0.5};
  for (std::uint64_t spot = 0; static_cast<Index>(draws.size()) < count; ++spot) {
    options.fill = spot % 2 == 0 ? vision::RotationFill::reflection : vision::RotationFill::black;
    draws.push_back(vision::draw_augmentation(options, 11, 2, spot));
  }
  draws.resize(static_cast<std::size_t>(count));
  return draws;
}

}  // namespace

TEST_CASE("vision::render_patches: device and processor agree") {
  for (const auto& [count, width, height] : {std::tuple<Index, Index, Index>{1, 1, 1}, {30, 19, 14}, {12, 8, 32}})
    for (const auto normalisation :
         {PixelNormalisation::imagenet, PixelNormalisation::unit, PixelNormalisation::bgr_bytes}) {
      if (!affordable(count * width * height)) continue;
      CAPTURE(count);
      CAPTURE(static_cast<int>(normalisation));
      const auto patches = random_patches(count, width, height);
      const auto draws = draws_of_all_kinds(count);
      const auto want = rendered(patches, width, height, draws, normalisation);
      in_every_order([&] {
        CudaContext gpu;
        const auto patches_d = on_device(gpu, patches.view());
        Matrix<float, Device> out(want.rows(), 3);
        Matrix<double, Device> wide(want.rows(), 3);
        vision::render_patches<float>(gpu, patches_d, width, height, draws, normalisation, out.view());
        vision::render_patches<double>(gpu, patches_d, width, height, draws, normalisation, wide.view());
        const auto got = on_host(gpu, out.view());
        CHECK(relative_difference(got, want) < 1e-5);
        CHECK(relative_difference(on_host(gpu, wide.view()), converted<double>(got)) == 0);
      });
    }
}

TEST_CASE("vision::render_patches takes no patches and refuses what does not fit") {
  CudaContext gpu;
  Matrix<std::uint8_t, Device> none(0, 12), one(1, 12);
  Matrix<float, Device> nothing(0, 3), out(4, 3);
  vision::render_patches<float>(gpu, none, 2, 2, {}, PixelNormalisation::unit, nothing.view());
  CHECK_THROWS_AS(vision::render_patches<float>(gpu, one, 2, 2, {}, PixelNormalisation::unit, out.view()), ShapeError);
  const std::vector<Augmentation> draws(1);
  CHECK_THROWS_AS(vision::render_patches<float>(gpu, one, 2, 3, draws, PixelNormalisation::unit, out.view()),
                  ShapeError);
}
