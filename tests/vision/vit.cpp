#include "golden_check/vit.hpp"

#include "support/arrays.hpp"
#include "support/golden_test.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

namespace {

constexpr vision::VitOptions tiny{
    .height = 4, .width = 6, .channels = 2, .patch = 2, .size = 6, .depth = 1, .heads = 2, .mlp_ratio = 2};

}  // namespace

TEST_CASE("vision::Vit: golden cases in double and in float") {
  testing::check_golden_cases("vit", testing::check_vit<double>, testing::check_vit<float>);
}

TEST_CASE("vision::Vit: six-point differences, accumulated gradients, names behind a prefix") {
  CpuContext context({.threads = 2});
  Parameters<double> parameters;
  auto options = tiny;
  options.layer_norm_eps = 0.1;
  const vision::Vit<double> vit(parameters, options, "image.");
  CHECK(vit.tokens() == 7);
  CHECK(parameters.contains("image.blocks.0.mlp.fc2.bias"));
  parameters.allocate(context, 1);
  // Tokens of a usual size: with the start's small ones the norms before the blocks are steep.
  for (const char* name : {"image.cls_token", "image.pos_embed", "image.patch_embed.proj.weight"}) {
    const auto value = parameters.value(parameters.find(name));
    const auto start = testing::normal_matrix<double>(1, value.size(), 4, 0.5);
    for (Index i = 0; i < value.size(); ++i) value[i] = start(0, i);
  }
  auto images = testing::normal_matrix<double>(2 * 24, 2, 1);
  const auto weights = testing::normal_matrix<double>(2, 6, 2);
  Matrix<double> features(2, 6), d_images(48, 2);
  vision::Vit<double>::Cache cache;
  const auto value = [&] {
    vit.forward(context, images, features.view(), cache);
    return testing::inner_product(features, weights);
  };
  value();
  vit.backward(context, weights, d_images.view(), cache, GradientMode::overwrite);
  constexpr double step = 0.003;
  testing::check_parameter_gradients(parameters, value, step);
  CHECK(testing::gradient_error(images.flat(), std::as_const(d_images).flat(), value, step) <=
        testing::gradient_tolerance);
  const auto gradients = parameters.gradients();
  const std::vector<double> once(gradients.data(), gradients.data() + gradients.size());
  value();
  vit.backward(context, weights, {}, cache, GradientMode::accumulate);
  for (Index i = 0; i < gradients.size(); ++i)
    REQUIRE(gradients[i] == doctest::Approx(2 * once[static_cast<std::size_t>(i)]).epsilon(1e-12));
}

TEST_CASE("vision::Vit: an image alone, any number of threads, and an image within a wider buffer give the same bits") {
  Parameters<float> parameters;
  CpuContext one({.threads = 1}), three({.threads = 3});
  const vision::Vit<float> vit(parameters, tiny);
  parameters.allocate(one, 1);
  const auto images = testing::normal_matrix<float>(5 * 24, 3, 1);
  Matrix<float> together(5, 6), again(5, 6), alone(1, 6);
  vision::Vit<float>::Cache cache;
  vit.forward(one, images.view().middle_cols(0, 2), together.view(), cache);
  vit.forward(three, images.view().middle_cols(0, 2), again.view(), cache);
  CHECK(testing::same_bits(together, again));
  vit.forward(one, images.view().middle_rows(72, 24).middle_cols(0, 2), alone.view(), cache);
  for (Index c = 0; c < 6; ++c) CHECK(alone(0, c) == doctest::Approx(together(3, c)).epsilon(1e-5));
}

TEST_CASE("vision::Vit: errors") {
  CpuContext context({.threads = 1});
  Parameters<float> parameters;
  auto options = tiny;
  options.width = 5;
  CHECK_THROWS_WITH_AS((vision::Vit<float>(parameters, options)),
                       "Vit: height and width must be multiples of the patch", ValueError);
  options = tiny;
  options.heads = 4;
  CHECK_THROWS_AS((vision::Vit<float>(parameters, options)), ValueError);
  const vision::Vit<float> vit(parameters, tiny);
  parameters.allocate(context, 1);
  Matrix<float> images(20, 2), features(1, 6);
  vision::Vit<float>::Cache cache;
  CHECK_THROWS_AS(vit.forward(context, images, features.view(), cache), ShapeError);
}
