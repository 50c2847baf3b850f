#include "golden_check/mclstexp_spot.hpp"

#include "support/arrays.hpp"
#include "support/golden_test.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

namespace {

mclstexp::ModelOptions small_options() {
  mclstexp::ModelOptions options;
  options.genes = 5;
  options.depth = 1;
  options.heads = 2;
  options.head_width = 3;
  options.x_rows = 4;
  options.y_rows = 6;
  options.image_features = 4;
  options.projection = 3;
  options.layer_norm_eps = 0.1;
  return options;
}

struct Data {
  Matrix<double> expression = testing::normal_matrix<double>(6, 5, 1),
                 features = testing::normal_matrix<double>(6, 4, 2);
  Matrix<Index> positions{6, 2};
  std::vector<Index> offsets{0, 4, 6};

  Data() {
    for (Index i = 0; i < 12; ++i) positions.data()[i] = i % 4;
  }
  mclstexp::Batch<double> batch() const { return {expression, positions.view(), offsets, features}; }
};

}  // namespace

TEST_CASE("mclstexp::Model: golden cases in double and in float") {
  testing::check_golden_cases("mclstexp_spot", testing::check_mclstexp_spot<double>,
                              testing::check_mclstexp_spot<float>);
}

TEST_CASE("mclstexp::Model: six-point differences with a learned temperature and dropout") {
  CpuContext context({.threads = 2});
  auto options = small_options();
  options.normalize = options.learned_temperature = true;
  options.temperature = 0.5;
  mclstexp::Model<double> model(options);
  model.parameters().allocate(context, 1);
  Data data;
  const ops::DropoutKey dropout{.rate = 0.2, .seed = 9, .stream = 1};
  const auto value = [&] { return model.step(context, data.batch(), GradientMode::ignore, {}, dropout); };
  Matrix<double> d_expression(6, 5), d_features(6, 4);
  const double loss = model.step(context, data.batch(), GradientMode::overwrite,
                                 {.d_expression = d_expression.view(), .d_image_features = d_features.view()}, dropout);
  CHECK(value() == loss);
  // Steeper than a function of scale 1: unit vectors of three numbers, and a softmax at temperature 0.5.
  constexpr double step = 0.003;
  testing::check_parameter_gradients(model.parameters(), value, step);
  CHECK(testing::gradient_error(data.expression.flat(), std::as_const(d_expression).flat(), value, step) <=
        testing::gradient_tolerance);
  CHECK(testing::gradient_error(data.features.flat(), std::as_const(d_features).flat(), value, step) <=
        testing::gradient_tolerance);
}

TEST_CASE("mclstexp::Model: parameters shared with another network, accumulated, errors") {
  CpuContext context({.threads = 2});
  Parameters<double> parameters;
  parameters.add("image_encoder.weight", {3});
  auto options = small_options();
  options.encoder = mclstexp::SpotEncoder::mlp;
  options.position = mclstexp::Position::none;
  mclstexp::Model<double> model(options, &parameters);
  CHECK(parameters.contains("spot_projection.fc.weight"));
  CHECK_FALSE(parameters.contains("x_embed.weight"));
  parameters.allocate(context, 1);
  Data data;
  model.step(context, data.batch(), GradientMode::overwrite);
  const auto id = parameters.find("spot_projection.fc.bias");
  const double once = parameters.gradient(id)[0];
  model.step(context, data.batch(), GradientMode::accumulate);
  CHECK(parameters.gradient(id)[0] == doctest::Approx(2 * once));
  Matrix<double> few(5, 4);
  auto batch = data.batch();
  batch.image_features = few;
  CHECK_THROWS_WITH_AS(model.step(context, batch, GradientMode::overwrite),
                       "mclstexp::Model: image_features has 5 rows, expected 6 (spots)", ShapeError);
  options.temperature = 0;
  CHECK_THROWS_AS((mclstexp::Model<double>(options)), ValueError);
}
