#include <eosin/layers/linear.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

namespace {

struct Fixture {
  CpuContext context{{.threads = 2}};
  Parameters<double> parameters;
  layers::Linear<double> layer{parameters, "fc", 5, 3};
  Matrix<double> x = testing::normal_matrix<double>(7, 5, 1), weights = testing::normal_matrix<double>(7, 3, 2);
  Matrix<double> y{7, 3}, dx{7, 5};

  Fixture() {
    parameters.allocate(context, 3);
    auto bias = parameters.value(parameters.find("fc.bias"));
    for (Index i = 0; i < bias.size(); ++i) bias[i] = 0.5 * static_cast<double>(i) - 1;
  }
  double value() {
    layer.forward(context, x, y.view());
    return testing::inner_product(y, weights);
  }
  Matrix<double> weight_gradient() {
    return testing::copy_of<double>(parameters.gradient_matrix(parameters.find("fc.weight")));
  }
};

}  // namespace

TEST_CASE("layers::Linear: y = x W^T + b under the names of PyTorch") {
  Fixture f;
  f.value();
  const auto w = f.parameters.matrix(f.parameters.find("fc.weight"));
  const auto b = f.parameters.value(f.parameters.find("fc.bias"));
  CHECK(f.layer.inputs() == 5);
  CHECK(f.layer.outputs() == 3);
  CHECK(w.rows() == 3);
  CHECK(w.cols() == 5);
  for (Index n = 0; n < 7; ++n)
    for (Index o = 0; o < 3; ++o) {
      double want = b[o];
      for (Index i = 0; i < 5; ++i) want += f.x(n, i) * w(o, i);
      CHECK(f.y(n, o) == doctest::Approx(want).epsilon(1e-14));
    }
}

TEST_CASE("layers::Linear: gradients by six-point differences") {
  Fixture f;
  f.layer.backward(f.context, f.x, f.weights, f.dx.view(), GradientMode::overwrite);
  testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
  CHECK(testing::gradient_error(f.x.flat(), std::as_const(f.dx).flat(), [&] { return f.value(); }) <=
        testing::gradient_tolerance);
}

TEST_CASE("layers::Linear: gradient modes") {
  Fixture f;
  const auto gradients = f.parameters.gradients();
  const auto backward = [&](GradientMode mode) { f.layer.backward(f.context, f.x, f.weights, {}, mode); };
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
  backward(GradientMode::ignore);
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);
  backward(GradientMode::overwrite);
  const auto once = f.weight_gradient();
  backward(GradientMode::overwrite);
  CHECK(testing::same_bits(f.weight_gradient(), once));
  backward(GradientMode::accumulate);
  auto twice = once;
  for (Index i = 0; i < twice.size(); ++i) twice.data()[i] *= 2;
  CHECK(testing::relative_difference(f.weight_gradient(), twice) <= 1e-15);
  const auto db = f.parameters.gradient(f.parameters.find("fc.bias"));
  for (Index o = 0; o < 3; ++o) {
    double sum = 0;
    for (Index n = 0; n < 7; ++n) sum += f.weights(n, o);
    CHECK(db[o] == doctest::Approx(2 * sum).epsilon(1e-14));
  }
  // An empty dx is left out, so nothing else is asked of the call than dy.
  f.dx.fill(3);
  f.layer.backward(f.context, {}, f.weights, f.dx.view(), GradientMode::ignore);
  CHECK(f.dx(0, 0) != 3);
}

TEST_CASE("layers::Linear: shapes that do not fit are named") {
  Fixture f;
  CHECK_THROWS_WITH_AS(f.layer.forward(f.context, f.x.view().middle_cols(0, 4), f.y.view()),
                       "Linear: x has 4 columns, expected 5 (inputs)", ShapeError);
  CHECK_THROWS_AS(f.layer.forward(f.context, f.x, f.y.view().middle_rows(0, 6)), ShapeError);
  CHECK_THROWS_AS(f.layer.backward(f.context, f.x, f.weights.view().middle_rows(0, 6), {}, GradientMode::overwrite),
                  ShapeError);
  CHECK_THROWS_AS(f.layer.backward(f.context, f.x, f.weights, f.dx.view().middle_cols(0, 4), GradientMode::ignore),
                  ShapeError);
}

TEST_CASE("layers::Linear: without bias, added to what is there, PyTorch's start") {
  CpuContext context({.threads = 2});
  Parameters<double> parameters;
  const layers::Linear<double> layer(parameters, "qkv", 16, 3, {.bias = false, .start = layers::LinearStart::fan_in});
  const layers::Linear<double> biased(parameters, "out", 16, 3, {.start = layers::LinearStart::fan_in});
  CHECK_FALSE(layer.has_bias());
  CHECK(layer.bias().empty());
  REQUIRE(parameters.segments().size() == 3);
  parameters.allocate(context, 1);
  for (Index i = 0; i < 48; ++i) REQUIRE(std::abs(layer.weight().data()[i]) < 0.25);
  CHECK(biased.bias()[0] != 0);
  const auto x = testing::normal_matrix<double>(5, 16, 1), dy = testing::normal_matrix<double>(5, 3, 2);
  Matrix<double> y(5, 3), sum(5, 3), dx(5, 16);
  layer.forward(context, x, y.view());
  sum.fill(1);
  layer.forward_add(context, x, sum.view());
  for (Index i = 0; i < y.size(); ++i) CHECK(sum.data()[i] == doctest::Approx(1 + y.data()[i]).epsilon(1e-14));
  biased.forward(context, x, y.view());
  sum.fill(1);
  biased.forward_add(context, x, sum.view());
  for (Index i = 0; i < y.size(); ++i) CHECK(sum.data()[i] == doctest::Approx(1 + y.data()[i]).epsilon(1e-14));
  layer.backward(context, x, dy, dx.view(), GradientMode::overwrite);
  testing::check_parameter_gradients(parameters, [&] {
    layer.forward(context, x, y.view());
    return testing::inner_product(y, dy);
  });
}
