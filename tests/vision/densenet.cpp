#include <eosin/vision/densenet.hpp>

#include "golden_check/densenet.hpp"
#include "support/image_network.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::BatchNormMode;
using layers::GradientMode;

namespace {

template <class T>
using Fixture = testing::NetworkFixture<T, vision::DenseNet, vision::DenseNetOptions>;

std::vector<vision::DenseNetOptions> small() {
  return {{.growth_rate = 3, .block_config = {2, 1}, .num_init_features = 5, .bn_size = 2, .norm = {}},
          {.growth_rate = 4,
           .block_config = {1, 2, 1},
           .num_init_features = 4,
           .bn_size = 1,
           .final_relu = false,
           .norm = {}}};
}

}  // namespace

TEST_CASE("vision::DenseNet: directional derivatives in training and evaluation") {
  for (const auto& options : small())
    for (const auto mode : {BatchNormMode::training, BatchNormMode::evaluation}) {
      Fixture<double> f(options, {.threads = 2});
      f.network.set_mode(mode);
      testing::check_directional_gradients(f);
    }
}

TEST_CASE("vision::DenseNet: gradient modes, forward alone, no images, steady memory") {
  for (const auto& options : small()) {
    Fixture<double> f(options, {.threads = 2}), none(options, {.threads = 2}, 0);
    testing::check_gradient_modes(f);
    testing::check_steady(f);
    testing::check_forward_alone(f);
    testing::check_no_images(none);
  }
}

TEST_CASE("vision::DenseNet: frozen norms have no gradient") {
  Fixture<double> f(small()[0], {.threads = 2});
  f.network.set_mode(BatchNormMode::frozen);
  f.value();
  f.backward(GradientMode::overwrite);
  for (const Segment& segment : f.parameters.segments()) {
    double largest = 0;
    for (Index i = 0; i < segment.size; ++i)
      largest = std::max(largest, std::abs(f.parameters.gradients()[segment.offset + i]));
    CHECK((largest == 0) == (segment.shape.size() == 1));
  }
}

TEST_CASE("vision::DenseNet: the same bits on any number of threads, and again") {
  for (const auto& options : small()) {
    Fixture<float> one(options, {.threads = 1}, 3), three(options, {.threads = 3}, 3);
    testing::check_same_bits(one, three);
  }
}

TEST_CASE("vision::DenseNet: refuses what does not fit") {
  Fixture<double> f(small()[0], {.threads = 1});
  CHECK_THROWS_AS(f.backward(GradientMode::overwrite), Error);
  Matrix<double> pixels(2 * 4, 3);
  CHECK_THROWS_AS(f.network.forward(f.context, {pixels.view(), 2, 5, 5}, f.features.view(), f.cache), ShapeError);
}

TEST_CASE("vision::DenseNet: names and shapes of torchvision, behind a prefix") {
  Parameters<float> parameters;
  vision::DenseNet<float> network(parameters, "image_encoder");
  CHECK(parameters.segments().front().name == "image_encoder.features.conv0.weight");
  CHECK(parameters.segments().front().shape == std::vector<Index>{64, 3, 7, 7});
  CHECK(network.buffers().back().name == "image_encoder.features.norm5.running_var");
}

TEST_CASE("golden: densenet") {
  for (const auto& folder : testing::golden_cases("densenet")) {
    const auto golden = testing::load_golden(folder);
    if (golden.config.contains("parameters")) continue;  // large: eosin_golden_check runs them
    CAPTURE(golden.name);
    testing::Comparison wide(golden, false), single(golden, true);
    testing::check_densenet<double>(golden, wide);
    testing::check_densenet<float>(golden, single);
    wide.finish();
    single.finish();
    CHECK_MESSAGE(wide.ok(), wide.summary());
    CHECK_MESSAGE(single.ok(), single.summary());
  }
}
