#include <eosin/optim/sgd.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;

namespace {

struct Problem {
  CpuContext context;
  Parameters<double> parameters;

  explicit Problem(Index size, int threads = 2) : context({.threads = threads}) {
    parameters.add("x", {size}, init::Normal{});
    parameters.allocate(context, 1);
  }
  VectorView<double> x() { return parameters.value({0}); }
  VectorView<double> g() { return parameters.gradient({0}); }
};

}  // namespace

TEST_CASE("optim::Sgd: the recurrence, step by step") {
  const optim::SgdOptions variants[] = {{},
                                        {.weight_decay = 0.1},
                                        {.momentum = 0.9},
                                        {.momentum = 0.9, .dampening = 0.3, .weight_decay = 0.1},
                                        {.momentum = 0.9, .nesterov = true}};
  for (const auto& options : variants) {
    Problem p(11);
    optim::Sgd<double> sgd(p.parameters, options);
    std::vector<double> x(p.x().data(), p.x().data() + 11), buffer(11);
    for (int t = 1; t <= 4; ++t) {
      const double rate = 0.1 / t, scale = 0.5;
      for (Index i = 0; i < 11; ++i) p.g()[i] = std::sin(static_cast<double>(i + 7 * t));
      sgd.step(p.context, p.parameters, rate, scale);
      for (std::size_t i = 0; i < 11; ++i) {
        const double g = scale * std::sin(static_cast<double>(i) + 7 * t) + options.weight_decay * x[i];
        double direction = g;
        if (options.momentum != 0) {
          buffer[i] = t == 1 ? g : options.momentum * buffer[i] + (1 - options.dampening) * g;
          direction = options.nesterov ? g + options.momentum * buffer[i] : buffer[i];
        }
        x[i] -= rate * direction;
        REQUIRE(p.x()[static_cast<Index>(i)] == doctest::Approx(x[i]).epsilon(1e-13));
      }
    }
    CHECK(sgd.steps() == 4);
    CHECK(sgd.momentum().empty() == (options.momentum == 0));
  }
}

TEST_CASE("optim::Sgd: finds the minimum of a quadratic, with momentum in fewer steps") {
  const auto steps_needed = [](const optim::SgdOptions& options) {
    Problem p(12);
    optim::Sgd<double> sgd(p.parameters, options);
    for (int step = 1;; ++step) {
      double largest = 0;
      for (Index i = 0; i < 12; ++i) {
        const double off = p.x()[i] - static_cast<double>(i);
        p.g()[i] = (1 + 9 * static_cast<double>(i)) * off;
        largest = std::max(largest, std::abs(off));
      }
      if (largest < 1e-6 || step > 5000) return step;
      sgd.step(p.context, p.parameters, 0.01);
    }
  };
  const int plain = steps_needed({}), momentum = steps_needed({.momentum = 0.8});
  CHECK(plain <= 5000);
  CHECK(momentum < plain / 2);
}

TEST_CASE("optim::Sgd: the same bits on any number of threads, and after a resumption") {
  Problem one(40000, 1), three(40000, 3), resumed(40000, 2);
  const optim::SgdOptions options{.momentum = 0.9, .dampening = 0.1};
  optim::Sgd<double> a(one.parameters, options), b(three.parameters, options);
  const auto step = [](Problem& p, optim::Sgd<double>& sgd) {
    for (Index i = 0; i < p.x().size(); ++i) p.g()[i] = p.x()[i] * 0.3 - 1;
    sgd.step(p.context, p.parameters, 0.1);
  };
  for (int i = 0; i < 2; ++i) {
    step(one, a);
    step(three, b);
  }
  const auto values = one.parameters.values();
  std::copy(values.data(), values.data() + values.size(), resumed.parameters.values().data());
  optim::Sgd<double> c(resumed.parameters, options);
  std::copy(a.momentum().data(), a.momentum().data() + values.size(), c.momentum().data());
  c.set_steps(a.steps());
  for (int i = 0; i < 2; ++i) {
    step(one, a);
    step(three, b);
    step(resumed, c);
  }
  CHECK(testing::same_bits(one.parameters.values(), three.parameters.values()));
  CHECK(testing::same_bits(one.parameters.values(), resumed.parameters.values()));
}

TEST_CASE("optim::Sgd: errors") {
  Problem p(5), q(50);
  CHECK_THROWS_WITH_AS(optim::Sgd<double>(p.parameters, {.nesterov = true}),
                       "Sgd: Nesterov's step needs momentum and no dampening", ValueError);
  CHECK_THROWS_AS(optim::Sgd<double>(p.parameters, {.momentum = 0.9, .dampening = 0.1, .nesterov = true}), ValueError);
  optim::Sgd<double> sgd(p.parameters, {});
  CHECK_THROWS_AS(sgd.step(q.context, q.parameters, 0.1), ShapeError);
}
