#include <eosin/glm/quasi_likelihood.hpp>

#include <doctest/doctest.h>

#include <eosin/core/random.hpp>
#include <eosin/glm/contrasts.hpp>
#include <eosin/glm/dispersion_trend.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::shrink_quasi_dispersions: the moment estimates of Smyth (2004)") {
  const std::vector<double> s2{0.5, 0.9, 1.4, 2.2, 0.8, 5.0, 0.31}, df(7, 4.0);
  const auto fit = glm::shrink_quasi_dispersions(s2, df, {}, {.trend = false});
  // The same formulas with scipy's digamma, polygamma and brentq.
  const std::vector<double> expected{1.0551191497973071, 1.1693350855036706, 1.3121050051366248, 1.540536876549352,
                                     1.1407811015770797, 2.340048426493896,  1.0008665803367844};
  CHECK(fit.prior_df == doctest::Approx(10.008553098172074).epsilon(1e-10));
  for (Index g = 0; g < 7; ++g) {
    CHECK(fit.prior_dispersion[g] == doctest::Approx(1.2769770524740456).epsilon(1e-10));
    CHECK(fit.shrunken[g] == doctest::Approx(expected[static_cast<std::size_t>(g)]).epsilon(1e-10));
    CHECK(fit.total_df[g] == doctest::Approx(14.008553098172074));
  }
}

TEST_CASE("glm::shrink_quasi_dispersions: finds the prior; F tests keep their level exactly") {
  for (const double df0 : {6.0, 40.0, 1e9}) {
    CAPTURE(df0);
    RandomStream random(21);
    const Index genes = 6000;
    std::vector<double> s2, df, mean, ratio;
    const bool scattered = df0 < 1e6;
    for (Index g = 0; g < genes; ++g) {
      mean.push_back(std::exp(random.normal(0.0, 1.0)));
      const double prior = 1.5 * std::exp(0.2 * std::log(mean.back()));
      const double sigma2 = scattered ? prior * df0 / random.gamma(0.5 * df0, 2.0) : prior;
      df.push_back(g % 2 == 0 ? 5.0 : 9.0);
      s2.push_back(sigma2 * random.gamma(0.5 * df.back(), 2.0) / df.back());
      const double z = random.normal();
      ratio.push_back(sigma2 * z * z);
    }
    const auto fit = glm::shrink_quasi_dispersions(s2, df, mean);
    if (scattered) CHECK(fit.prior_df == doctest::Approx(df0).epsilon(df0 < 10.0 ? 0.12 : 0.5));
    if (!scattered) CHECK(fit.prior_df > 200.0);
    double worst = 0.0;
    for (Index g = 0; g < genes; ++g)
      if (std::abs(std::log(mean[static_cast<std::size_t>(g)])) < 2.0)
        worst = std::max(worst, std::abs(std::log(fit.prior_dispersion[g] / 1.5) -
                                         0.2 * std::log(mean[static_cast<std::size_t>(g)])));
    CHECK(worst < 0.15);
    const auto p = glm::quasi_f_tests(ratio, 1.0, fit);
    for (const double level : {0.01, 0.05, 0.5}) {
      const auto below = static_cast<double>(std::count_if(p.begin(), p.end(), [&](double v) { return v < level; }));
      const double n = static_cast<double>(genes);
      CHECK(std::abs(below - n * level) < 4.0 * std::sqrt(n * level * (1.0 - level)) + 0.06 * n * level);
    }
  }
}

TEST_CASE("glm::shrink_quasi_dispersions: genes that take no part, and errors") {
  const double nan = std::nan("");
  const std::vector<double> s2{1.0, 2.0, nan, 0.0, 1.5, 0.7}, df{4.0, 4.0, 4.0, 4.0, 0.0, 4.0},
      mean{1.0, 2.0, 3.0, 4.0, 5.0, 0.0};
  const auto fit = glm::shrink_quasi_dispersions(s2, df, mean);
  CHECK(std::isnan(fit.dispersion[2]));
  CHECK(fit.shrunken[2] == fit.prior_dispersion[2]);
  CHECK(fit.shrunken[4] == fit.prior_dispersion[4]);
  CHECK(fit.total_df[4] == std::min(fit.prior_df, 12.0));
  for (const double s : fit.shrunken) CHECK(s > 0.0);
  const auto p = glm::quasi_f_tests(std::vector<double>{1.0, nan, 1.0, 1.0, 1.0, 1.0}, 1.0, fit);
  CHECK(p[0] > 0.0);
  CHECK(std::isnan(p[1]));
  CHECK_THROWS_AS(
      glm::shrink_quasi_dispersions(std::vector<double>{1.0, nan}, std::vector<double>{1.0, 1.0}, {}, {.trend = false}),
      ValueError);
  CHECK_THROWS_AS(glm::shrink_quasi_dispersions(s2, std::vector<double>{1.0}, mean), ShapeError);
  const auto d = glm::deviance_dispersions(std::vector<double>{6.0, 1.0}, std::vector<double>{3.0, 0.0});
  CHECK(d[0] == 2.0);
  CHECK(std::isnan(d[1]));
  CHECK(glm::quasi_dispersion(10.0, 0.3, 0.1) == doctest::Approx(2.0));
}

TEST_CASE("glm: quasi-likelihood F tests of counts keep their level where few cells estimate a dispersion") {
  // 12 cells a gene, dispersions scattered about a trend.
  RandomStream random(31);
  const Index genes = 1500, cells = 12;
  std::vector<Index> type;
  for (Index i = 0; i < cells; ++i) type.push_back(i % 2);
  std::vector<Triplet<int>> entries;
  for (Index g = 0; g < genes; ++g) {
    const double mean = std::exp(random.normal(3.5, 0.7));
    const double phi = (0.1 + 0.8 / mean) * std::exp(random.normal(0.0, 0.7));
    for (Index i = 0; i < cells; ++i) entries.push_back({g, i, static_cast<int>(random.negative_binomial(mean, phi))});
  }
  const auto counts = SparseMatrix<int>::from_triplets(genes, cells, entries);
  const glm::Design design(glm::Categories::from_codes(type, "T"));
  const std::vector<double> ones(static_cast<std::size_t>(cells), 1.0);
  CpuContext context({.threads = 2});
  const auto own = glm::fit(context, counts, design, {.size_factors = ones, .standard_errors = false});
  const glm::DispersionTrend trend(own.mean.view(), own.dispersion.view());
  std::vector<double> at_trend;
  for (Index g = 0; g < genes; ++g) at_trend.push_back(trend(own.mean[g]));
  const auto fitted = glm::fit(context, counts, design, {.dispersion = glm::Fixed{at_trend}, .size_factors = ones});
  const auto tested = glm::test_contrasts(context, counts, design, fitted, {glm::type_against_type(design, 1, 0)});
  const std::vector<double> df(static_cast<std::size_t>(genes), static_cast<double>(cells - 2));
  const auto quasi =
      glm::shrink_quasi_dispersions(glm::deviance_dispersions(fitted.deviance.view(), df).view(), df, own.mean.view());
  const auto p = glm::quasi_f_tests(tested.ratio.row(0), 1.0, quasi);
  int rejected = 0, plain = 0;
  for (Index g = 0; g < genes; ++g) {
    rejected += p[g] < 0.05;
    plain += tested.ratio_p(0, g) < 0.05;
  }
  CAPTURE(rejected);
  CAPTURE(plain);
  MESSAGE("of 75 expected: F " << rejected << ", likelihood ratio at the trend " << plain);
  CHECK(rejected > 41);  // 75 +- 4 * 8.4
  CHECK(rejected < 109);
}
