#include <eosin/core/random.hpp>
#include <eosin/glm/soft_labels.hpp>

#include <doctest/doctest.h>

#include "support/message.hpp"

#include <cmath>

using namespace eosin;
using testing::contains, testing::message_of;

namespace {

struct Mixtures {
  SparseMatrix<int> counts;  // genes x spots
  Matrix<double> proportions;
  std::vector<double> size_factors;
  std::vector<Index> section;
  Matrix<double> truth;           // [types x genes]
  Matrix<double> section_factor;  // [genes x sections], mean 1
  std::vector<std::string> names;
};

/// Gene 0 has no counts; type 0 does not express the genes divisible by 3.
Mixtures simulate_mixtures(Index genes, Index spots, Index types, Index sections, double dispersion,
                           std::uint64_t seed) {
  RandomStream random(seed);
  Mixtures data;
  data.proportions = Matrix<double>(spots, types);
  data.truth = Matrix<double>(types, genes);
  data.section_factor = Matrix<double>(genes, sections);
  for (Index t = 0; t < types; ++t) {
    data.names.push_back("type" + std::to_string(t));
    for (Index g = 1; g < genes; ++g) data.truth(t, g) = t == 0 && g % 3 == 0 ? 0.0 : std::exp(random.normal(1.0, 1.0));
  }
  for (Index g = 0; g < genes; ++g) {
    double mean = 0.0;
    for (Index e = 0; e < sections; ++e)
      mean += (data.section_factor(g, e) = std::exp(random.normal(0.0, 0.4))) / static_cast<double>(sections);
    for (Index e = 0; e < sections; ++e) data.section_factor(g, e) /= mean;
  }
  std::vector<Triplet<int>> entries;
  for (Index i = 0; i < spots; ++i) {
    double sum = 0.0;
    for (Index t = 0; t < types; ++t) sum += data.proportions(i, t) = random.gamma(0.6);
    for (Index t = 0; t < types; ++t) data.proportions(i, t) /= sum;
    data.size_factors.push_back(std::exp(random.normal(0.0, 0.4)));
    data.section.push_back(i % sections);
    for (Index g = 0; g < genes; ++g) {
      double mu = 0.0;
      for (Index t = 0; t < types; ++t) mu += data.proportions(i, t) * data.truth(t, g);
      const auto y =
          random.negative_binomial(mu * data.size_factors.back() * data.section_factor(g, i % sections), dispersion);
      if (y > 0) entries.push_back({g, i, static_cast<int>(y)});
    }
  }
  data.counts = SparseMatrix<int>::from_triplets(genes, spots, entries);
  return data;
}

/// Correlation of log(1 + estimate) with log(1 + truth) over all types and genes.
double correlation(const Matrix<double>& estimate, const Matrix<double>& truth) {
  double n = 0, sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (Index i = 0; i < truth.size(); ++i) {
    const double x = std::log1p(estimate.data()[i]), y = std::log1p(truth.data()[i]);
    n += 1, sx += x, sy += y, sxx += x * x, syy += y * y, sxy += x * y;
  }
  return (sxy - sx * sy / n) / std::sqrt((sxx - sx * sx / n) * (syy - sy * sy / n));
}

/// The gene's derivative of the log-likelihood in each prototype, summed directly over all spots.
std::vector<double> score(const Mixtures& data, Index gene, const Matrix<double>& prototypes, double phi) {
  std::vector<double> result(static_cast<std::size_t>(prototypes.rows()), 0.0);
  for (Index i = 0; i < data.proportions.rows(); ++i) {
    const double s = data.size_factors[static_cast<std::size_t>(i)];
    double mu = 0.0;
    for (Index t = 0; t < prototypes.rows(); ++t) mu += s * data.proportions(i, t) * prototypes(t, gene);
    const double y = data.counts.at(gene, i);
    const double pull = (y > 0 ? y / mu : 0.0) - (1.0 + phi * y) / (1.0 + phi * mu);
    for (Index t = 0; t < prototypes.rows(); ++t)
      result[static_cast<std::size_t>(t)] += s * data.proportions(i, t) * pull;
  }
  return result;
}

}  // namespace

TEST_CASE("glm::fit_soft_labels: the conditions of the maximum hold, zeros exact") {
  const auto data = simulate_mixtures(30, 200, 5, 1, 0.3, 1);
  CpuContext context({.threads = 2});
  for (const bool estimate : {false, true})
    for (const double phi : {0.0, 0.3}) {
      glm::SoftLabelOptions options;
      options.size_factors = data.size_factors;
      options.tolerance = 1e-12;
      if (!estimate) options.dispersion = glm::Fixed{phi};
      const auto results = glm::fit_soft_labels(context, data.counts, data.proportions.view(), data.names, options);
      const auto prototypes = results.prototypes.expression();
      Index zeros = 0;
      for (Index g = 1; g < 30; ++g) {
        CHECK(results.converged[static_cast<std::size_t>(g)]);
        const auto slope = score(data, g, prototypes, results.dispersion[g]);
        for (Index t = 0; t < 5; ++t) {
          const double d = slope[static_cast<std::size_t>(t)];
          zeros += prototypes(t, g) == 0.0;
          if (prototypes(t, g) == 0.0) {
            CHECK(d < 1e-6);
          } else {
            CHECK(std::abs(d * prototypes(t, g)) < 1e-4);
          }
        }
      }
      CHECK(zeros > 3);
      for (Index t = 0; t < 5; ++t) CHECK(prototypes(t, 0) == 0.0);
    }
}

TEST_CASE("glm::fit_soft_labels: simulated truth is recovered, better with the section factors it has") {
  const auto data = simulate_mixtures(60, 600, 4, 3, 0.2, 2);
  CpuContext context({.threads = 2});
  glm::SoftLabelOptions options;
  options.size_factors = data.size_factors;
  const auto plain = glm::fit_soft_labels(context, data.counts, data.proportions.view(), data.names, options);
  options.sections = glm::Categories::from_codes(data.section, "S");
  const auto corrected = glm::fit_soft_labels(context, data.counts, data.proportions.view(), data.names, options);
  CHECK(correlation(plain.prototypes.expression(), data.truth) > 0.97);
  CHECK(correlation(corrected.prototypes.expression(), data.truth) > 0.985);
  double likelihood = 0.0, dispersion = 0.0, worst = 0.0;
  for (Index g = 1; g < 60; ++g) {
    CHECK(corrected.converged[static_cast<std::size_t>(g)]);
    likelihood += corrected.log_likelihood[g] - plain.log_likelihood[g];
    CHECK(corrected.log_likelihood[g] > plain.log_likelihood[g] - 1e-4);
    dispersion += corrected.dispersion[g] / 59.0;
    for (Index e = 0; e < 3; ++e)
      worst = std::max(worst, std::abs(std::log(corrected.section_factors(g, e) / data.section_factor(g, e))));
  }
  CHECK(likelihood > 500.0);
  CHECK(dispersion == doctest::Approx(0.2).epsilon(0.1));
  CHECK(worst < 0.5);
}

TEST_CASE("glm::MixtureSolver: every step raises the likelihood, and all ways lead to the same maximum") {
  const auto data = simulate_mixtures(12, 150, 4, 1, 0.5, 3);
  glm::Exposure exposure(4, 150);
  for (std::size_t i = 0; i < 150; ++i)
    for (std::size_t t = 0; t < 4; ++t)
      exposure.row(t)[i] = data.size_factors[i] * data.proportions(static_cast<Index>(i), static_cast<Index>(t));
  const std::vector<Index> section(150, 0);
  glm::MixtureSolver solver(exposure, section, 1);
  for (const double phi : {0.0, 0.5})
    for (Index g = 1; g < 12; ++g) {
      CAPTURE(g);
      const auto row = data.counts.row(g);
      const std::vector<Index> spots(row.columns.begin(), row.columns.end());
      const std::vector<double> counts(row.values.begin(), row.values.end());
      solver.load(spots, counts);
      solver.set_dispersion(phi);
      double now = solver.log_likelihood();
      for (int step = 0; step < 40; ++step) {
        solver.newton_step();
        const double next = solver.log_likelihood();
        CHECK(next >= now - 1e-10 * std::abs(now));
        now = next;
      }
      solver.load(spots, counts);
      solver.set_dispersion(phi);
      double slow = solver.log_likelihood();
      for (int step = 0; step < 3000; ++step) {
        solver.multiplicative_step();
        const double next = solver.log_likelihood();
        CHECK(next >= slow - 1e-10 * std::abs(slow));
        slow = next;
      }
      CHECK(now == doctest::Approx(slow).epsilon(1e-5));
      CHECK(now >= slow - 1e-8 * std::abs(slow));
      const double before = solver.log_likelihood();
      solver.fit_dispersion(1e8);
      CHECK(solver.log_likelihood() >= before - 1e-10 * std::abs(before));
    }
}

TEST_CASE("glm::fit_soft_labels: pure spots give means; threads, storage and order of spots play no part") {
  auto data = simulate_mixtures(20, 120, 3, 1, 0.3, 4);
  CpuContext one({.threads = 1}), many({.threads = 3});
  glm::SoftLabelOptions options;
  options.size_factors = data.size_factors;
  const auto base = glm::fit_soft_labels(one, data.counts, data.proportions.view(), data.names, options);
  options.block_genes = 3;
  const auto threaded = glm::fit_soft_labels(many, data.counts.transposed(), data.proportions.view(), data.names,
                                             options, glm::Orientation::cells_by_genes);
  for (Index g = 0; g < 20; ++g)
    for (Index t = 0; t < 3; ++t)
      CHECK(base.prototypes.log_expression()(t, g) == threaded.prototypes.log_expression()(t, g));

  Matrix<double> pure(120, 3);
  for (Index i = 0; i < 120; ++i) pure(i, i % 3) = 1.0;
  options.dispersion = glm::Fixed{0.0};
  const auto means = glm::fit_soft_labels(one, data.counts, pure.view(), data.names, options);
  for (Index t = 0; t < 3; ++t) {
    double sum = 0.0, depth = 0.0;
    for (Index i = t; i < 120; i += 3) {
      sum += data.counts.at(4, i);
      depth += data.size_factors[static_cast<std::size_t>(i)];
    }
    CHECK(std::exp(means.prototypes.log_expression()(t, 4)) == doctest::Approx(sum / depth).epsilon(1e-9));
  }
}

TEST_CASE("glm::fit_soft_labels: bad input is refused") {
  const auto data = simulate_mixtures(5, 40, 3, 2, 0.3, 5);
  CpuContext context({.threads = 1});
  const auto message = [&](const Matrix<double>& q, const glm::SoftLabelOptions& options = {}) {
    return message_of([&] { glm::fit_soft_labels(context, data.counts, q.view(), data.names, options); });
  };
  auto q = data.proportions;
  q(7, 1) = std::nan("");
  CHECK(contains(message(q), "type 'type1' in spot 7"));
  q(7, 1) = -0.1;
  CHECK(contains(message(q), "type 'type1' in spot 7"));
  q = data.proportions;
  for (Index t = 0; t < 3; ++t) q(9, t) = 0.0;
  CHECK(contains(message(q), "spot 9"));
  q = data.proportions;
  for (Index i = 0; i < 40; ++i) {
    q(i, 0) += q(i, 2);
    q(i, 2) = 0.0;
  }
  CHECK(contains(message(q), "type 'type2'"));
  for (Index i = 0; i < 40; ++i) q(i, 2) = 0.5 * (q(i, 0) + q(i, 1));
  CHECK(contains(message(q), "linear combination"));
  CHECK(contains(message(Matrix<double>(39, 3)), "39"));
  CHECK(contains(message(data.proportions, {.sections = glm::Categories::from_codes({0, 1})}), "2 spots"));
  CHECK(contains(message(data.proportions, {.dispersion = glm::Fixed{-1.0}}), "dispersion"));
  std::stop_source stop;
  stop.request_stop();
  glm::SoftLabelOptions stopped;
  stopped.cancellation = stop.get_token();
  CHECK_THROWS_AS(glm::fit_soft_labels(context, data.counts, data.proportions.view(), data.names, stopped), Cancelled);
}
