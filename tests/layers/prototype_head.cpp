#include <eosin/layers/prototype_head.hpp>
#include <eosin/optim/adam.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;
using layers::GradientMode;
using layers::PrototypeHeadOptions;

namespace {

constexpr Index types = 4, genes = 21, rows = 5;
constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// Log prototypes with a zero prototype at (1, 2), and a mask that cuts (0, 3) and (3, 20).
Matrix<double> log_prototypes() {
  auto logs = testing::normal_matrix<double>(types, genes, 1);
  logs(1, 2) = minus_infinity;
  return logs;
}
Matrix<double> cut_mask() {
  Matrix<double> mask(types, genes);
  mask.fill(1);
  mask(0, 3) = mask(3, 20) = 0;
  return mask;
}

struct Fixture {
  CpuContext context;
  Parameters<double> parameters;
  layers::PrototypeHead<double> head;
  layers::PrototypeHead<double>::Cache cache;
  Matrix<double> composition = testing::composition_matrix<double>(rows, types, 5);
  Matrix<double> weights = testing::normal_matrix<double>(rows, genes, 6);
  Matrix<double> v{rows, genes}, d_composition{rows, types};

  explicit Fixture(const PrototypeHeadOptions& options, bool mask = true, int threads = 2)
      : context({.threads = threads}),
        head(parameters, log_prototypes(), mask ? cut_mask().view() : MatrixView<double>{}, {}, options) {
    parameters.allocate(context, 3);
    if (!options.correction) return;
    const auto noise = testing::normal_matrix<double>(2, genes, 7, 0.5);
    for (Index g = 0; g < genes; ++g) {
      parameters.value(parameters.find("alpha_g"))[g] = noise(0, g);
      parameters.value(parameters.find("beta_g"))[g] = noise(1, g) - 1;
    }
  }
  double value() {
    head.begin(context, cache);
    head.forward(context, composition, v.view(), cache);
    return testing::inner_product(v, weights);
  }
  /// The whole gradient; rows [0, split) and [split, rows) one after the other.
  void backward(Index split, GradientMode mode = GradientMode::overwrite) {
    parameters.zero_gradients();
    head.begin(context, cache);
    for (const auto& [begin, count] : {std::pair{Index{0}, split}, std::pair{split, rows - split}}) {
      if (count == 0) continue;
      const auto p = std::as_const(composition).view().middle_rows(begin, count);
      head.forward(context, p, v.view().middle_rows(begin, count), cache);
      auto dv = testing::copy_of<double>(weights.view().middle_rows(begin, count));
      head.backward(context, p, dv.view(), d_composition.view().middle_rows(begin, count), cache, mode);
    }
    head.end(context, cache);
  }
};

}  // namespace

TEST_CASE("layers::PrototypeHead: v = exp(a) (P E) + exp(b), zero prototypes exactly zero") {
  Fixture f({});
  f.value();
  const auto logs = log_prototypes();
  const auto mask = cut_mask();
  const auto a = f.parameters.value(f.parameters.find("alpha_g")), b = f.parameters.value(f.parameters.find("beta_g"));
  for (Index c = 0; c < types; ++c)
    for (Index g = 0; g < genes; ++g) {
      const double want = std::exp(logs(c, g)) * mask(c, g);
      if (want == 0) {
        CHECK(f.cache.expression(c, g) == 0);
      } else {
        CHECK(f.cache.expression(c, g) == doctest::Approx(want).epsilon(1e-14));
      }
    }
  CHECK(f.head.log_prototypes()(1, 2) == 0);
  for (Index r = 0; r < rows; ++r)
    for (Index g = 0; g < genes; ++g) {
      double mixed = 0;
      for (Index c = 0; c < types; ++c) mixed += f.composition(r, c) * std::exp(logs(c, g)) * mask(c, g);
      CHECK(f.v(r, g) == doctest::Approx(std::exp(a[g]) * mixed + std::exp(b[g])).epsilon(1e-13));
    }
}

TEST_CASE("layers::PrototypeHead: what the options make of it") {
  SUBCASE("without correction v = P E") {
    Fixture f({.correction = false});
    f.value();
    CHECK_FALSE(f.parameters.contains("alpha_g"));
    for (Index g = 0; g < genes; ++g) {
      double want = 0;
      for (Index c = 0; c < types; ++c) want += f.composition(2, c) * f.cache.expression(c, g);
      CHECK(f.v(2, g) == doctest::Approx(want).epsilon(1e-13));
    }
  }
  SUBCASE("static prototypes are no parameter") {
    Fixture f({.trained = false});
    CHECK_FALSE(f.parameters.contains("exp_template"));
    CHECK(f.head.log_prototype_gradient().empty());
    CHECK(f.head.log_prototypes()(0, 0) == log_prototypes()(0, 0));
    Fixture trained({});
    CHECK(f.value() == doctest::Approx(trained.value()).epsilon(1e-14));
  }
  SUBCASE("mask_as_one: a masked entry contributes 1") {
    Fixture f({.mask_as_one = true});
    f.value();
    for (const auto& [c, g] : {std::pair<Index, Index>{1, 2}, {0, 3}, {3, 20}}) CHECK(f.cache.expression(c, g) == 1);
    CHECK(f.cache.expression(0, 0) == doctest::Approx(std::exp(log_prototypes()(0, 0))).epsilon(1e-14));
  }
  SUBCASE("starts of a and b") {
    CpuContext context({.threads = 1});
    Parameters<double> parameters;
    const auto start = testing::normal_matrix<double>(1, genes, 9);
    const layers::PrototypeHead<double> head(parameters, log_prototypes(), {}, start.row(0), {});
    parameters.allocate(context, 1);
    CHECK(head.types() == types);
    CHECK(head.genes() == genes);
    for (Index g = 0; g < genes; ++g) {
      CHECK(parameters.value(parameters.find("alpha_g"))[g] == start(0, g));
      CHECK(parameters.value(parameters.find("beta_g"))[g] == doctest::Approx(std::log(1e-10)));
    }
  }
}

TEST_CASE("layers::PrototypeHead: gradients by six-point differences") {
  for (const bool trained : {true, false})
    for (const bool correction : {true, false})
      for (const bool mask_as_one : {false, true})
        for (const Index split : {Index{0}, Index{2}}) {
          CAPTURE(trained);
          CAPTURE(correction);
          CAPTURE(mask_as_one);
          CAPTURE(split);
          Fixture f({trained, correction, mask_as_one});
          f.backward(split);
          const auto d_composition = f.d_composition;
          testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
          CHECK(testing::gradient_error(f.composition.flat(), d_composition.flat(), [&] { return f.value(); }) <=
                testing::gradient_tolerance);
        }
}

TEST_CASE("layers::PrototypeHead: ignored parameter gradients stay zero, that of the composition is the same") {
  Fixture f({});
  f.backward(0);
  const auto d_composition = f.d_composition;
  f.d_composition.fill(0);
  f.backward(0, GradientMode::ignore);
  CHECK(testing::same_bits(f.d_composition, d_composition));
  for (Index i = 0; i < f.parameters.gradients().size(); ++i) REQUIRE(f.parameters.gradients()[i] == 0);
}

TEST_CASE("layers::PrototypeHead: a zero prototype is never moved by AdamW") {
  for (const bool mask_as_one : {false, true}) {
    Fixture f({.mask_as_one = mask_as_one}, false);
    optim::Adam<double> adam(f.parameters, {.weight_decay = 0.1});
    const double before = f.head.log_prototypes()(0, 0);
    for (int step = 0; step < 20; ++step) {
      f.backward(2);
      CHECK(f.head.log_prototype_gradient()(1, 2) == 0);
      adam.step(f.context, f.parameters, 0.05);
      REQUIRE(f.head.log_prototypes()(1, 2) == 0);
    }
    CHECK(f.head.log_prototypes()(0, 0) != before);
    f.value();
    CHECK(f.cache.expression(1, 2) == (mask_as_one ? 1 : 0));
  }
}

TEST_CASE("layers::PrototypeHead: the same bits on any number of threads") {
  Fixture one({}, true, 1), three({}, true, 3);
  one.backward(2);
  three.backward(2);
  CHECK(testing::same_bits(one.v, three.v));
  CHECK(testing::same_bits(one.d_composition, three.d_composition));
  CHECK(testing::same_bits(one.parameters.gradients(), three.parameters.gradients()));
}

TEST_CASE("layers::PrototypeHead: errors name what is wrong") {
  Parameters<double> parameters;
  auto logs = log_prototypes();
  const auto make = [&](MatrixView<const double> mask, VectorView<const double> log_alpha) {
    layers::PrototypeHead<double>(parameters, logs, mask, log_alpha, {});
  };
  Matrix<double> narrow(types, genes - 1);
  CHECK_THROWS_WITH_AS(make(narrow, {}), "PrototypeHead: mask is [4 x 20], expected [4 x 21]", ShapeError);
  auto mask = cut_mask();
  mask(2, 5) = 0.5;
  CHECK_THROWS_WITH_AS(make(mask, {}), "PrototypeHead: mask(2, 5) is 0.500000, expected 0 or 1", ValueError);
  logs(0, 1) = std::nan("");
  CHECK_THROWS_WITH_AS(make({}, {}), "PrototypeHead: log_prototypes(0, 1) is nan, expected a finite number or -inf",
                       ValueError);
  logs(0, 1) = -minus_infinity;
  CHECK_THROWS_AS(make({}, {}), ValueError);
  logs(0, 1) = 0;
  CHECK_THROWS_WITH_AS(make({}, narrow.row(0)), "PrototypeHead: log_alpha has 20 elements, expected 21 (genes)",
                       ShapeError);
  Fixture f({});
  f.head.begin(f.context, f.cache);
  CHECK_THROWS_AS(f.head.forward(f.context, f.weights, f.v.view(), f.cache), ShapeError);
  CHECK_THROWS_AS(f.head.forward(f.context, f.composition, f.v.view().middle_rows(0, 2), f.cache), ShapeError);
}
