#include "golden_check/layer_norm.hpp"

#include "support/arrays.hpp"
#include "support/golden_test.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

TEST_CASE("layers::LayerNorm: golden cases in double and in float") {
  testing::check_golden_cases("layer_norm", testing::check_layer_norm<double>, testing::check_layer_norm<float>);
}

TEST_CASE("layers::LayerNorm: start, gradient modes, errors") {
  CpuContext context({.threads = 2});
  Parameters<double> parameters;
  const layers::LayerNorm<double> layer(parameters, "norm", 5), plain(parameters, "plain", 5, {.affine = false});
  REQUIRE(parameters.segments().size() == 2);
  CHECK(parameters.segments()[0].name == "norm.weight");
  parameters.allocate(context, 1);
  const auto x = testing::normal_matrix<double>(4, 5, 1), dy = testing::normal_matrix<double>(4, 5, 2);
  Matrix<double> y(4, 5), other(4, 5), dx(4, 5), again(4, 5);
  layers::LayerNorm<double>::Cache cache, plain_cache;
  layer.forward(context, x, y.view(), cache);
  plain.forward(context, x, other.view(), plain_cache);
  CHECK(testing::same_bits(y, other));  // weight 1, bias 0
  parameters.gradients()[0] = 7;
  layer.backward(context, x, dy, dx.view(), cache, GradientMode::ignore);
  CHECK(parameters.gradients()[0] == 7);
  layer.backward(context, x, dy, again.view(), cache, GradientMode::overwrite);
  CHECK(testing::same_bits(dx, again));
  const double once = parameters.gradients()[0];
  layer.backward(context, x, dy, again.view(), cache, GradientMode::accumulate);
  CHECK(parameters.gradients()[0] == doctest::Approx(2 * once));
  Matrix<double> wide(4, 6);
  CHECK_THROWS_WITH_AS(layer.forward(context, wide, y.view(), cache),
                       "LayerNorm: x has 6 columns, expected 5 (size of the layer)", ShapeError);
}
