#include <eosin/layers/adapter.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

namespace {

struct Fixture {
  CpuContext context{{.threads = 2}};
  Parameters<double> parameters;
  layers::Adapter<double> adapter;
  layers::Adapter<double>::Cache cache;
  Matrix<double> x = testing::normal_matrix<double>(5, 4, 1), weights = testing::normal_matrix<double>(5, 3, 2);
  Matrix<double> logits{5, 3}, dx{5, 4};

  explicit Fixture(Index layers) : adapter(parameters, "prj", 4, layers, 3) { parameters.allocate(context, 3); }
  double value() {
    adapter.forward(context, x, logits.view(), cache);
    return testing::inner_product(logits, weights);
  }
};

}  // namespace

TEST_CASE("layers::Adapter: names, and the residual around all layers") {
  Fixture f(2);
  CHECK(f.adapter.inputs() == 4);
  CHECK(f.adapter.outputs() == 3);
  for (const char* name : {"prj.projection_layers.0.0.weight", "prj.projection_layers.1.0.bias", "prj.head.weight"})
    CHECK(f.parameters.contains(name));
  // With zero weights in the hidden layers only the residual reaches the head.
  for (const char* name : {"prj.projection_layers.0.0.weight", "prj.projection_layers.1.0.weight"}) {
    const auto w = f.parameters.value(f.parameters.find(name));
    for (Index i = 0; i < w.size(); ++i) w[i] = 0;
  }
  f.value();
  const auto head = f.parameters.matrix(f.parameters.find("prj.head.weight"));
  for (Index n = 0; n < 5; ++n)
    for (Index o = 0; o < 3; ++o) {
      double want = 0;
      for (Index i = 0; i < 4; ++i) want += f.x(n, i) * head(o, i);
      CHECK(f.logits(n, o) == doctest::Approx(want).epsilon(1e-14));
    }
}

TEST_CASE("layers::Adapter: gradients by six-point differences") {
  for (const Index layers : {1, 3}) {
    CAPTURE(layers);
    Fixture f(layers);
    f.value();
    f.adapter.backward(f.context, f.x, f.weights, f.dx.view(), f.cache, GradientMode::overwrite);
    testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
    CHECK(testing::gradient_error(f.x.flat(), std::as_const(f.dx).flat(), [&] { return f.value(); }) <=
          testing::gradient_tolerance);
  }
}

TEST_CASE("layers::Adapter: gradient modes, and no gradient of the input where none is asked for") {
  Fixture f(2);
  const auto gradients = f.parameters.gradients();
  f.value();
  f.adapter.backward(f.context, f.x, f.weights, f.dx.view(), f.cache, GradientMode::overwrite);
  const std::vector<double> once(gradients.data(), gradients.data() + gradients.size());
  f.value();
  f.adapter.backward(f.context, f.x, f.weights, {}, f.cache, GradientMode::accumulate);
  for (Index i = 0; i < gradients.size(); ++i)
    REQUIRE(gradients[i] == doctest::Approx(2 * once[static_cast<std::size_t>(i)]).epsilon(1e-14));
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
  f.value();
  auto dx = f.dx;
  f.adapter.backward(f.context, f.x, f.weights, dx.view(), f.cache, GradientMode::ignore);
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);
  CHECK(testing::same_bits(dx, f.dx));
}

TEST_CASE("layers::Adapter: errors") {
  Parameters<double> parameters;
  CHECK_THROWS_WITH_AS((layers::Adapter<double>(parameters, "prj", 4, 0, 3)), "Adapter: layers must be at least 1",
                       ValueError);
  Fixture f(1);
  Matrix<double> wide(5, 6);
  CHECK_THROWS_WITH_AS(f.adapter.forward(f.context, wide, f.logits.view(), f.cache),
                       "Adapter: x has 6 columns, expected 4 (inputs)", ShapeError);
}
