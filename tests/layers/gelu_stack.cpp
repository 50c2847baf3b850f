#include <eosin/layers/gelu_stack.hpp>
#include <eosin/ops/elementwise.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

namespace {

struct Fixture {
  CpuContext context{{.threads = 2}};
  Parameters<double> parameters;
  layers::GeluStack<double> stack;
  layers::GeluStack<double>::Cache cache;
  Matrix<double> x = testing::normal_matrix<double>(6, 4, 1), weights = testing::normal_matrix<double>(6, 3, 2);

  Fixture() {
    stack.append({parameters, "a", 4, 5});
    stack.append({parameters, "b", 5, 3});
    parameters.allocate(context, 3);
    const auto bias = testing::normal_matrix<double>(1, 5, 4);
    for (Index i = 0; i < 5; ++i) parameters.value(parameters.find("a.bias"))[i] = bias(0, i);
  }
  double value() { return testing::inner_product(stack.forward(context, x, cache), weights); }
};

}  // namespace

TEST_CASE("layers::GeluStack: each layer is GELU of a linear layer") {
  Fixture f;
  const auto last = f.stack.forward(f.context, f.x, f.cache);
  CHECK(last.data() == f.cache.hidden[1].data());
  Matrix<double> input = f.x;
  for (const char* name : {"a", "b"}) {
    const auto w = f.parameters.matrix(f.parameters.find(std::string(name) + ".weight"));
    const auto b = f.parameters.value(f.parameters.find(std::string(name) + ".bias"));
    Matrix<double> output(6, w.rows());
    for (Index n = 0; n < 6; ++n)
      for (Index o = 0; o < w.rows(); ++o) {
        double u = b[o];
        for (Index i = 0; i < w.cols(); ++i) u += input(n, i) * w(o, i);
        output(n, o) = u * 0.5 * std::erfc(-u / std::sqrt(2.0));
      }
    input = output;
  }
  CHECK(testing::relative_difference(f.cache.hidden[1], input) <= 1e-14);
}

TEST_CASE("layers::GeluStack: gradients by six-point differences") {
  Fixture f;
  f.value();
  auto d_last = f.weights;
  Matrix<double> dx(6, 4);
  f.stack.backward(f.context, f.x, d_last.view(), dx.view(), f.cache, GradientMode::overwrite);
  testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
  CHECK(testing::gradient_error(f.x.flat(), std::as_const(dx).flat(), [&] { return f.value(); }) <=
        testing::gradient_tolerance);
}

TEST_CASE("layers::GeluStack: the gradient in the memory of the result; dx alone; a smaller batch after a larger") {
  Fixture f;
  f.value();
  auto d_last = f.weights;
  Matrix<double> dx(6, 4), again(6, 4);
  f.stack.backward(f.context, f.x, d_last.view(), dx.view(), f.cache, GradientMode::overwrite);
  f.value();
  const auto last = f.cache.hidden[1].view();
  ops::copy<double>(f.context, f.weights, last);
  const auto gradients = f.parameters.gradients();
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
  f.stack.backward(f.context, f.x, last, again.view(), f.cache, GradientMode::ignore);
  CHECK(testing::same_bits(again, dx));
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);

  const auto few = f.x.view().middle_rows(2, 3);
  const auto result = f.stack.forward(f.context, few, f.cache);
  CHECK(result.rows() == 3);
  Matrix<double> small(3, 4);
  auto d_few = testing::normal_matrix<double>(3, 3, 2);
  for (Index r = 0; r < 3; ++r)
    for (Index c = 0; c < 3; ++c) d_few(r, c) = f.weights(r + 2, c);
  f.stack.backward(f.context, few, d_few.view(), small.view(), f.cache, GradientMode::ignore);
  for (Index r = 0; r < 3; ++r)
    for (Index c = 0; c < 4; ++c) CHECK(small(r, c) == doctest::Approx(dx(r + 2, c)).epsilon(1e-13));
}

TEST_CASE("layers::GeluStack: without layers the input is the result") {
  CpuContext context({.threads = 1});
  const layers::GeluStack<double> empty;
  layers::GeluStack<double>::Cache cache;
  const auto x = testing::normal_matrix<double>(2, 3, 1);
  CHECK(empty.size() == 0);
  CHECK(empty.forward(context, x.view(), cache).data() == x.data());
}
