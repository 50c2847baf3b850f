#include <eosin/optim/adam.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;

namespace {

/// Parameters of one segment that starts at normal numbers.
template <class T>
struct Problem {
  CpuContext context;
  Parameters<T> parameters;

  explicit Problem(Index size, int threads = 2) : context({.threads = threads}) {
    parameters.add("x", {size}, init::Normal{});
    parameters.allocate(context, 1);
  }
  VectorView<T> x() { return parameters.value({0}); }
  VectorView<T> g() { return parameters.gradient({0}); }
  /// Gradient of sum_i k_i (x_i - i)^2 / 2 with k from 1 to 100.
  void quadratic() {
    for (Index i = 0; i < x().size(); ++i)
      g()[i] = static_cast<T>(1 + 99 * static_cast<double>(i) / static_cast<double>(x().size())) *
               (x()[i] - static_cast<T>(i));
  }
};

}  // namespace

TEST_CASE("optim::Adam: the recurrence, step by step, with both weight decays") {
  for (const auto decay : {optim::WeightDecay::decoupled, optim::WeightDecay::coupled}) {
    Problem<double> p(19);
    const optim::AdamOptions options{.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1, .decay = decay};
    optim::Adam<double> adam(p.parameters, options);
    std::vector<double> x(p.x().data(), p.x().data() + 19), m(19), v(19);
    for (int t = 1; t <= 5; ++t) {
      const double rate = 0.1 / t, scale = 0.5;
      for (Index i = 0; i < 19; ++i) p.g()[i] = std::sin(static_cast<double>(i + 7 * t));
      adam.step(p.context, p.parameters, rate, scale);
      for (std::size_t i = 0; i < 19; ++i) {
        double g = scale * std::sin(static_cast<double>(i) + 7 * t);
        if (decay == optim::WeightDecay::coupled) g += 0.1 * x[i];
        if (decay == optim::WeightDecay::decoupled) x[i] *= 1 - rate * 0.1;
        m[i] = 0.8 * m[i] + 0.2 * g;
        v[i] = 0.95 * v[i] + 0.05 * g * g;
        const double mean = m[i] / (1 - std::pow(0.8, t)), square = v[i] / (1 - std::pow(0.95, t));
        x[i] -= rate * mean / (std::sqrt(square) + 1e-3);
        REQUIRE(p.x()[static_cast<Index>(i)] == doctest::Approx(x[i]).epsilon(1e-13));
      }
    }
    CHECK(adam.steps() == 5);
    // The padding behind the segment stays zero.
    const auto all = p.parameters.values();
    for (Index i = 19; i < all.size(); ++i) CHECK(all[i] == 0);
  }
}

TEST_CASE_TEMPLATE("optim::Adam: finds the minimum of a quadratic", T, float, double) {
  Problem<T> p(12);
  optim::Adam<T> adam(p.parameters, {});
  for (int step = 0; step < 5000; ++step) {
    p.quadratic();
    adam.step(p.context, p.parameters, 0.1 * std::pow(0.998, step));
  }
  for (Index i = 0; i < 12; ++i)
    CHECK(static_cast<double>(p.x()[i]) == doctest::Approx(static_cast<double>(i)).epsilon(1e-4));
}

TEST_CASE("optim::Adam: zero gradients move nothing but by decay") {
  Problem<double> p(5);
  const double start = p.x()[2];
  optim::Adam<double> still(p.parameters, {}), decaying(p.parameters, {.weight_decay = 0.5});
  for (int step = 0; step < 3; ++step) still.step(p.context, p.parameters, 0.1);
  CHECK(p.x()[2] == start);
  for (int step = 0; step < 3; ++step) decaying.step(p.context, p.parameters, 0.1);
  CHECK(p.x()[2] == doctest::Approx(start * std::pow(0.95, 3)).epsilon(1e-14));
}

TEST_CASE("optim::Adam: the same bits on any number of threads, and after a resumption") {
  Problem<float> one(40000, 1), three(40000, 3), resumed(40000, 2);
  optim::Adam<float> a(one.parameters, {.weight_decay = 0.01}), b(three.parameters, {.weight_decay = 0.01});
  for (int step = 0; step < 4; ++step) {
    one.quadratic();
    three.quadratic();
    a.step(one.context, one.parameters, 0.01);
    b.step(three.context, three.parameters, 0.01);
    if (step != 1) continue;
    const auto values = one.parameters.values();
    std::copy(values.data(), values.data() + values.size(), resumed.parameters.values().data());
    optim::Adam<float> c(resumed.parameters, {.weight_decay = 0.01});
    std::copy(a.first_moment().data(), a.first_moment().data() + values.size(), c.first_moment().data());
    std::copy(a.second_moment().data(), a.second_moment().data() + values.size(), c.second_moment().data());
    c.set_steps(a.steps());
    for (int more = 0; more < 2; ++more) {
      resumed.quadratic();
      c.step(resumed.context, resumed.parameters, 0.01);
    }
  }
  CHECK(testing::same_bits(one.parameters.values(), three.parameters.values()));
  CHECK(testing::same_bits(one.parameters.values(), resumed.parameters.values()));
}

TEST_CASE("optim::Adam: errors") {
  Problem<double> p(5), q(50);
  CHECK_THROWS_WITH_AS(optim::Adam<double>(p.parameters, {.eps = 0}), "Adam: eps must be positive", ValueError);
  CHECK_THROWS_WITH_AS(optim::Adam<double>(p.parameters, {.beta1 = 1}), "Adam: betas must be in [0, 1)", ValueError);
  CHECK_THROWS_AS(optim::Adam<double>(p.parameters, {.beta2 = -0.1}), ValueError);
  CHECK_THROWS_AS(optim::Adam<double>(p.parameters, {.beta2 = std::nan("")}), ValueError);
  optim::Adam<double> adam(p.parameters, {});
  CHECK_THROWS_AS(adam.step(q.context, q.parameters, 0.1), ShapeError);
}
