#include "golden_check/projection_head.hpp"

#include "support/arrays.hpp"
#include "support/golden_test.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

TEST_CASE("layers::ProjectionHead: golden cases in double and in float") {
  testing::check_golden_cases("projection_head", testing::check_projection_head<double>,
                              testing::check_projection_head<float>);
}

TEST_CASE("layers::ProjectionHead: six-point differences with and without dropout, errors") {
  CpuContext context({.threads = 2});
  for (const double rate : {0.0, 0.4}) {
    Parameters<double> parameters;
    layers::ProjectionHead<double> head(parameters, "image", {.inputs = 5, .outputs = 4, .layer_norm_eps = 0.1});
    CHECK(parameters.contains("image.layer_norm.weight"));
    parameters.allocate(context, 1);
    auto x = testing::normal_matrix<double>(7, 5, 1);
    const auto weights = testing::normal_matrix<double>(7, 4, 2);
    Matrix<double> h(7, 4), dx(7, 5);
    layers::ProjectionHead<double>::Cache cache;
    const auto value = [&] {
      head.forward(context, x, h.view(), cache, {.rate = rate, .seed = 3});
      return testing::inner_product(h, weights);
    };
    value();
    head.backward(context, x, weights, dx.view(), cache, GradientMode::overwrite);
    testing::check_parameter_gradients(parameters, value);
    CHECK(testing::gradient_error(x.flat(), std::as_const(dx).flat(), value) <= testing::gradient_tolerance);
    Matrix<double> wide(7, 6);
    CHECK_THROWS_WITH_AS(head.forward(context, wide, h.view(), cache),
                         "ProjectionHead: x has 6 columns, expected 5 (inputs)", ShapeError);
  }
}
