#include <eosin/glm/trend_shrinkage.hpp>

#include <eosin/core/random.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::shrink_to_trend: closer to the truth than the genes' own estimates; degenerate inputs keep theirs") {
  // 2 batches, 3 types, 90 cells; dispersions scatter about 0.2 + 0.5 / mean.
  const Index cells = 90, genes = 300;
  RandomStream random(3);
  std::vector<Index> type, batch;
  for (Index i = 0; i < cells; ++i) {
    type.push_back(i % 3);
    batch.push_back(i / 3 % 2);
  }
  Matrix<double> counts(genes, cells);
  std::vector<double> truth;
  for (Index g = 0; g < genes; ++g) {
    const double level = 0.5 + random.gamma(1.0, 8.0);
    truth.push_back((0.2 + 0.5 / level) * std::exp(0.25 * random.normal()));
    for (Index i = 0; i < cells; ++i)
      counts(g, i) = static_cast<double>(random.poisson(level * random.gamma(1.0 / truth.back(), truth.back())));
  }
  const glm::Design design(glm::Categories::from_codes(type, "t"), glm::Categories::from_codes(batch, "b"));
  CpuContext context({.threads = 2});
  glm::FitOptions options;
  options.size_factors = std::vector<double>(static_cast<std::size_t>(cells), 1.0);
  options.dispersion = glm::shrunken_to_trend();
  const auto fit = glm::fit(context, counts.view(), design, options);
  double own = 0.0, shrunken = 0.0;
  for (Index g = 0; g < genes; ++g) {
    const auto distance = [&](double phi) {
      const double d = std::log(std::max(phi, 1e-3)) - std::log(truth[static_cast<std::size_t>(g)]);
      return d * d;
    };
    own += distance(fit.gene_wise_dispersion[g]);
    shrunken += distance(fit.dispersion[g]);
    CHECK(fit.dispersion_status[static_cast<std::size_t>(g)] == glm::DispersionStatus::shrunken);
  }
  CHECK(shrunken < 0.6 * own);

  // The coefficients are those of a fit at the shrunken dispersions.
  options.dispersion = glm::Fixed{std::vector<double>(fit.dispersion.begin(), fit.dispersion.end())};
  const auto given = glm::fit(context, counts.view(), design, options);
  for (Index g = 0; g < genes; ++g)
    for (Index t = 0; t < 3; ++t)
      CHECK(given.type_coefficients(g, t) == doctest::Approx(fit.type_coefficients(g, t)).epsilon(1e-12));

  const std::vector<double> mean{1.0, 0.0, 2.0}, dispersion{0.5, 0.0, 0.0}, precision{3.0, 0.0, 0.0};
  const auto kept = glm::shrink_to_trend({VectorView<const double>(mean), VectorView<const double>(dispersion),
                                          VectorView<const double>(precision)});
  CHECK(kept == dispersion);
}
