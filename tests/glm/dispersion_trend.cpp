#include <eosin/glm/dispersion_trend.hpp>
#include <eosin/glm/gene_counts.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"

#include <eosin/glm/fit.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace eosin;
using glm::DispersionTrend, glm::TrendForm;

namespace {

struct Genes {
  std::vector<double> mean, truth, estimate, curvature;
};

/// log phi about log(a0 + a1 / m) with variance tau2, estimates with sampling variances of their own.
Genes simulate_genes(Index genes, double tau2, std::uint64_t seed) {
  RandomStream random(seed);
  Genes result;
  for (Index g = 0; g < genes; ++g) {
    result.mean.push_back(std::exp(random.normal(1.0, 1.5)));
    const double v = std::exp(random.normal(-2.5, 0.5));
    const double log_phi = std::log(0.1 + 0.8 / result.mean.back()) + random.normal(0.0, std::sqrt(tau2));
    result.truth.push_back(std::exp(log_phi));
    result.estimate.push_back(std::exp(log_phi + random.normal(0.0, std::sqrt(v))));
    result.curvature.push_back(1.0 / v);
  }
  return result;
}

double log_error(const Vector<double>& got, const std::vector<double>& truth) {
  double sum = 0.0;
  for (Index g = 0; g < got.size(); ++g) {
    const double d = std::log(got[g] / truth[static_cast<std::size_t>(g)]);
    sum += d * d;
  }
  return std::sqrt(sum / static_cast<double>(got.size()));
}

}  // namespace

TEST_CASE("glm::DispersionTrend: the parametric form satisfies its equations and finds the truth") {
  std::vector<double> mean, exact;
  for (int g = 0; g < 50; ++g) {
    mean.push_back(0.05 * std::pow(1.3, g));
    exact.push_back(0.07 + 1.9 / mean.back());
  }
  const DispersionTrend of_exact(mean, exact);
  CHECK(of_exact.form() == TrendForm::parametric);
  CHECK(of_exact.asymptote() == doctest::Approx(0.07).epsilon(1e-8));
  CHECK(of_exact.slope() == doctest::Approx(1.9).epsilon(1e-8));
  CHECK(of_exact(10.0) == doctest::Approx(0.26));

  // Gamma scatter about the trend, 5 % outliers far above: the score of the gamma regression vanishes over what is
  // kept.
  RandomStream random(2);
  mean.clear();
  std::vector<double> dispersion;
  for (int g = 0; g < 3000; ++g) {
    mean.push_back(std::exp(random.normal(1.0, 1.5)));
    const double f = 0.1 + 0.8 / mean.back();
    dispersion.push_back(g % 20 == 0 ? 100.0 * f : f * random.gamma(4.0, 0.25));
  }
  dispersion[7] = 0.0;
  mean[8] = 0.0;
  dispersion[9] = std::nan("");
  const DispersionTrend trend(mean, dispersion);
  CHECK(trend.form() == TrendForm::parametric);
  CHECK(trend.asymptote() == doctest::Approx(0.1).epsilon(0.08));
  CHECK(trend.slope() == doctest::Approx(0.8).epsilon(0.08));
  double score = 0.0, score_slope = 0.0, size = 0.0;
  for (std::size_t g = 0; g < mean.size(); ++g) {
    const double f = trend(mean[g]), ratio = dispersion[g] / f;
    if (!(mean[g] > 0.0) || !(ratio > 1e-4 && ratio < 15.0)) continue;
    score += (ratio - 1.0) / f;
    score_slope += (ratio - 1.0) / (f * mean[g]);
    size += std::abs(ratio - 1.0) / f;
  }
  CHECK(std::abs(score) < 1e-6 * size);
  CHECK(std::abs(score_slope) < 1e-6 * size);
}

TEST_CASE("glm::DispersionTrend: falls back to the local median") {
  // A trend that rises cannot be a0 + a1 / m.
  RandomStream random(4);
  std::vector<double> mean, dispersion;
  for (int g = 0; g < 4000; ++g) {
    mean.push_back(std::exp(random.normal(0.0, 1.5)));
    dispersion.push_back(0.2 * std::sqrt(mean.back()) * std::exp(random.normal(0.0, 0.3)));
  }
  const DispersionTrend trend(mean, dispersion);
  CHECK(trend.form() == TrendForm::local_median);
  for (const double m : {0.2, 1.0, 5.0}) CHECK(trend(m) == doctest::Approx(0.2 * std::sqrt(m)).epsilon(0.1));
  CHECK(trend(1e-9) > 0.0);
  CHECK(trend(1e9) == trend(1e8));
  // Windows of zeros give a positive trend.
  for (std::size_t g = 0; g < mean.size(); ++g)
    if (mean[g] < 0.5) dispersion[g] = 0.0;
  const DispersionTrend with_zeros(mean, dispersion, {.form = TrendForm::local_median});
  CHECK(with_zeros(0.1) > 0.0);
  CHECK_THROWS_AS(DispersionTrend(std::vector<double>{1.0, 2.0}, std::vector<double>{0.1, 0.1}), ValueError);
  CHECK_THROWS_AS(DispersionTrend(std::vector<double>{1.0, 2.0}, std::vector<double>{0.1}), ShapeError);
}

TEST_CASE("glm::shrink_dispersions: prior found, error smaller, limits as documented") {
  for (const double tau2 : {0.0, 0.05, 0.4}) {
    CAPTURE(tau2);
    Genes genes = simulate_genes(3000, tau2, 12);
    std::vector<double> trend;
    for (const double m : genes.mean) trend.push_back((0.1 + 0.8 / m) * std::exp(0.25));  // off by a factor: the shift
    const auto prior = glm::estimate_dispersion_prior(genes.estimate, genes.curvature, trend);
    CHECK(prior.shift == doctest::Approx(-0.25).epsilon(0.12));
    CHECK(std::abs(prior.variance - tau2) < 0.012 + 0.1 * tau2);
    const auto shrunken = glm::shrink_dispersions(genes.estimate, genes.curvature, trend, prior);
    Vector<double> raw(3000);
    std::copy(genes.estimate.begin(), genes.estimate.end(), raw.begin());
    CHECK(log_error(shrunken, genes.truth) < (tau2 < 0.1 ? 0.75 : 0.95) * log_error(raw, genes.truth));
  }
  const std::vector<double> dispersion{0.0, 5.0, 0.2, 1e8}, curvature{std::nan(""), 4.0, 4.0, 0.0}, trend(4, 0.1);
  const glm::DispersionPrior prior{0.0, 0.25};
  const auto shrunken = glm::shrink_dispersions(dispersion, curvature, trend, prior, 3.0);
  CHECK(shrunken[0] == doctest::Approx(0.1));
  CHECK(shrunken[1] == 5.0);                                    // an outlier keeps its own
  CHECK(shrunken[2] == doctest::Approx(std::sqrt(0.1 * 0.2)));  // both variances 1/4: half way
  CHECK(shrunken[3] == doctest::Approx(0.1));
}

TEST_CASE("glm::shrunken_dispersion: maximum of likelihood and prior, also where the gene's own is 0") {
  const auto data = testing::simulate_counts(60, 200, 4, 2, 0.5, 19);
  CpuContext context({.threads = 1});
  const glm::Design design = data.design();
  const glm::CellGroups groups(design, data.size_factors);
  const glm::GroupSums sums(context, groups);
  glm::GeneSolver solver(groups, sums, 100);
  glm::GeneCounts arranged(groups);
  auto source = glm::gene_blocks(data.counts);
  const auto block = source.next(60);
  Index zeros = 0, inside = 0;
  for (Index g = 1; g < 60; ++g) {
    const auto cells = block.cells_of(g);
    const auto counts = block.counts_of(g);
    solver.load(arranged.arrange(g, cells.data(), counts.data(), cells.size()));
    if (solver.status() == glm::FitStatus::no_counts) continue;
    const auto [own, how, precision] = solver.maximise_dispersion(0.99, 1e8);
    const double centre = std::log(0.3);
    const double shrunken = glm::shrunken_dispersion(solver, centre, 0.2, 0.99);
    const double balance = shrunken * solver.dispersion_score(shrunken, 0.99) - (std::log(shrunken) - centre) / 0.2;
    CHECK(std::abs(balance) < 1e-6);
    CHECK(glm::shrunken_dispersion(solver, centre, 0.0, 0.99) == doctest::Approx(0.3));
    if (how == glm::DispersionStatus::zero) {
      CHECK(shrunken > 0.0);
      CHECK(shrunken < 0.3);
      ++zeros;
    }
    if (how != glm::DispersionStatus::maximum) continue;
    ++inside;
    CHECK((shrunken - 0.3) * (own - shrunken) >= -1e-9);  // between the two
    // A weak prior leaves the estimate; its curvature is that of the second difference of log-likelihoods.
    CHECK(glm::shrunken_dispersion(solver, std::log(own), 1e6, 0.99) == doctest::Approx(own).epsilon(1e-6));
    CHECK(glm::dispersion_curvature(solver, own, 0.99) == doctest::Approx(precision).epsilon(1e-2));
    const double curvature = glm::dispersion_curvature(solver, own, 0.0);
    const auto profile = [&](double phi) {
      solver.solve(phi);
      return solver.log_likelihood(phi);
    };
    const double h = 0.02;
    const double second = -(profile(own * std::exp(h)) - 2.0 * profile(own) + profile(own * std::exp(-h))) / (h * h);
    CHECK(curvature == doctest::Approx(second).epsilon(1e-2));
  }
  CHECK(zeros > 3);
  CHECK(inside > 20);
}
