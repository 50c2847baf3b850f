#include <eosin/glm/prototypes.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"

#include <cmath>

using namespace eosin;
using testing::simulate_counts;

namespace {

glm::PrototypeOptions options_for(const testing::SimulatedCounts& data) {
  glm::PrototypeOptions options;
  options.type = glm::Categories::from_codes(data.type, "T");
  options.batch = glm::Categories::from_codes(data.batch, "B");
  options.fit.size_factors = data.size_factors;
  options.fit.dispersion = glm::Fixed{data.dispersion};
  return options;
}

}  // namespace

TEST_CASE("glm::fit_prototypes: the standardised coefficients, names, exact zeros") {
  const auto data = simulate_counts(12, 300, 4, 3, 0.5, 2);
  CpuContext context({.threads = 2});
  auto options = options_for(data);
  options.fit.batch_weights = glm::WeightsByCells{};
  const auto fit = glm::fit(context, data.counts, data.design(), options.fit);
  std::vector<double> weights(3, 0.0);
  for (const Index b : data.batch) weights[static_cast<std::size_t>(b)] += 1.0 / 300.0;
  const auto prototypes = glm::fit_prototypes(context, data.counts, options);
  REQUIRE(prototypes.types() == 4);
  REQUIRE(prototypes.genes() == 12);
  CHECK(prototypes.type_names() == std::vector<std::string>{"T0", "T1", "T2", "T3"});
  const auto expression = prototypes.expression();
  Index compared = 0;
  for (Index g = 0; g < 12; ++g) {
    if (fit.status[static_cast<std::size_t>(g)] != glm::FitStatus::converged) continue;
    for (Index t = 0; t < 4; ++t) {
      double sum = 0.0;
      for (Index b = 0; b < 3; ++b)
        sum +=
            weights[static_cast<std::size_t>(b)] * std::exp(fit.batch_coefficients(g, b) + fit.type_coefficients(g, t));
      CHECK(expression(t, g) == doctest::Approx(sum).epsilon(1e-12));
      ++compared;
    }
  }
  CHECK(compared > 20);
  CHECK(expression(0, 0) == 0.0);  // the gene without counts
  CHECK(prototypes.log_expression()(0, 0) == -glm::detail::infinity);
  CHECK(prototypes.not_estimable(0) == 0);
  const auto single = prototypes.as<float>();
  CHECK(single.log_expression()(1, 5) == static_cast<float>(prototypes.log_expression()(1, 5)));
}

TEST_CASE("glm::fit_prototypes: batches without counts do no harm, and the truth is recovered") {
  // Depth enough for a standard error of about 3 %: all prototypes within five of them.
  const auto data = simulate_counts(40, 3000, 3, 3, 0.3, 12);
  CpuContext context({.threads = 2});
  const auto options = options_for(data);
  const auto fit = glm::fit(context, data.counts, data.design(), options.fit);
  Index checked = 0, within = 0;
  for (Index g = 2; g < 40; ++g)
    for (Index t = 0; t < 3; ++t) {
      if (!std::isfinite(fit.log_prototypes(t, g)) || !(fit.log_prototype_errors(t, g) < 0.2)) continue;
      double truth = 0.0;
      for (Index b = 0; b < 3; ++b) truth += std::exp(data.type_effect(g, t) + data.batch_effect(g, b)) / 3.0;
      const double z = std::abs(fit.log_prototypes(t, g) - std::log(truth)) / fit.log_prototype_errors(t, g);
      CHECK(z < 5.0);
      within += z < 1.96;
      ++checked;
    }
  CHECK(checked > 60);
  CHECK(static_cast<double>(within) > 0.88 * static_cast<double>(checked));
}

TEST_CASE("glm::Prototypes: names must fit") {
  CHECK_THROWS_AS(glm::Prototypes<double>({"a"}, {}, Matrix<double>(2, 3)), ShapeError);
  CHECK_THROWS_AS(glm::Prototypes<double>({"a", "b"}, {"g"}, Matrix<double>(2, 3)), ShapeError);
}
