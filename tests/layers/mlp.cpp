#include <eosin/layers/mlp.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <memory>

using namespace eosin;
using layers::GradientMode;

namespace {

template <class T>
struct Fixture {
  CpuContext context;
  Parameters<T> parameters;
  layers::Mlp<T> mlp;
  typename layers::Mlp<T>::Cache cache;
  Matrix<T> x, weights, logits, dx;

  explicit Fixture(const std::vector<Index>& sizes, Index rows = 6, int threads = 2)
      : context({.threads = threads}),
        mlp(parameters, "prj", sizes),
        x(testing::normal_matrix<T>(rows, sizes.front(), 1)),
        weights(testing::normal_matrix<T>(rows, sizes.back(), 2)),
        logits(rows, sizes.back()),
        dx(rows, sizes.front()) {
    parameters.allocate(context, 3);
    const auto noise = testing::normal_matrix<T>(1, parameters.values().size(), 4, 0.1);
    for (const Segment& segment : parameters.segments())
      for (Index i = segment.offset; i < segment.offset + segment.size; ++i) parameters.values()[i] += noise(0, i);
  }
  double value() {
    mlp.forward(context, x, logits.view(), cache);
    return testing::inner_product(logits, weights);
  }
  void backward(GradientMode mode) { mlp.backward(context, x, weights, dx.view(), cache, mode); }
};

}  // namespace

TEST_CASE("layers::Mlp: names of PyTorch's Sequential, sizes") {
  Fixture<double> f({4, 6, 5, 3});
  CHECK(f.mlp.inputs() == 4);
  CHECK(f.mlp.outputs() == 3);
  REQUIRE(f.parameters.segments().size() == 6);
  const char* names[] = {"prj.0.weight", "prj.0.bias", "prj.2.weight", "prj.2.bias", "prj.4.weight", "prj.4.bias"};
  for (std::size_t i = 0; i < 6; ++i) CHECK(f.parameters.segments()[i].name == names[i]);
}

TEST_CASE("layers::Mlp: gradients by six-point differences with two, one and no hidden layers") {
  for (const auto& sizes : {std::vector<Index>{4, 6, 5, 3}, std::vector<Index>{4, 6, 3}, std::vector<Index>{4, 3},
                            std::vector<Index>{1, 1, 1}}) {
    CAPTURE(sizes.size());
    Fixture<double> f(sizes);
    f.value();
    f.backward(GradientMode::overwrite);
    testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
    CHECK(testing::gradient_error(f.x.flat(), std::as_const(f.dx).flat(), [&] { return f.value(); }) <=
          testing::gradient_tolerance);
  }
}

TEST_CASE("layers::Mlp: gradient modes") {
  Fixture<double> f({4, 6, 3});
  const auto gradients = f.parameters.gradients();
  f.value();
  f.backward(GradientMode::overwrite);
  const std::vector<double> once(gradients.data(), gradients.data() + gradients.size());
  const auto dx = f.dx;
  f.value();
  f.backward(GradientMode::accumulate);
  for (Index i = 0; i < gradients.size(); ++i)
    REQUIRE(gradients[i] == doctest::Approx(2 * once[static_cast<std::size_t>(i)]).epsilon(1e-14));
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
  f.value();
  f.backward(GradientMode::ignore);
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);
  CHECK(testing::same_bits(f.dx, dx));
}

TEST_CASE("layers::Mlp: the same bits on any number of threads, in float") {
  Fixture<float> one({30, 70, 40, 9}, 600, 1), three({30, 70, 40, 9}, 600, 3);
  for (auto* f : {&one, &three}) {
    f->mlp.forward(f->context, f->x, f->logits.view(), f->cache);
    f->backward(GradientMode::overwrite);
  }
  CHECK(testing::same_bits(one.logits, three.logits));
  CHECK(testing::same_bits(one.dx, three.dx));
  CHECK(testing::same_bits(one.parameters.gradients(), three.parameters.gradients()));
}

TEST_CASE("layers::Mlp: no rows, and errors") {
  Fixture<double> f({4, 6, 3}, 0);
  CHECK_NOTHROW(f.value());
  CHECK_NOTHROW(f.backward(GradientMode::overwrite));
  for (Index i = 0; i < f.parameters.gradients().size(); ++i) REQUIRE(f.parameters.gradients()[i] == 0);
  Matrix<double> wide(2, 5), logits(2, 3);
  CHECK_THROWS_WITH_AS(f.mlp.forward(f.context, wide, logits.view(), f.cache),
                       "Mlp: x has 5 columns, expected 4 (inputs)", ShapeError);
  Parameters<double> parameters;
  CHECK_THROWS_WITH_AS((layers::Mlp<double>(parameters, "prj", {4})), "Mlp: sizes need an input and an output",
                       ValueError);
}
