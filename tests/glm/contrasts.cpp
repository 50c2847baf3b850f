#include <eosin/glm/contrasts.hpp>
#include <eosin/glm/markers.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"
#include "support/message.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

using namespace eosin;
using glm::ContrastStatus, glm::Fixed, glm::FitStatus;
using testing::contains, testing::DenseRegression, testing::message_of, testing::simulate_counts;

namespace {

std::vector<double> dense_row(const SparseMatrix<int>& counts, Index gene) {
  std::vector<double> row(static_cast<std::size_t>(counts.cols()), 0.0);
  const auto entries = counts.row(gene);
  for (std::size_t e = 0; e < entries.columns.size(); ++e)
    row[static_cast<std::size_t>(entries.columns[e])] = entries.values[e];
  return row;
}

/// Types and batches without effect on genes of a level each, so that every hypothesis is true.
testing::SimulatedCounts simulate_null(Index genes, Index cells, std::uint64_t seed) {
  RandomStream random(seed);
  testing::SimulatedCounts data;
  for (Index i = 0; i < cells; ++i) {
    data.type.push_back(i < 6 ? i % 3 : random.below(3));
    data.batch.push_back(i < 6 ? i / 3 : random.below(2));
    data.size_factors.push_back(std::exp(random.normal(0.0, 0.3)));
  }
  std::vector<Triplet<int>> entries;
  for (Index g = 0; g < genes; ++g) {
    data.dispersion.push_back(0.4);
    const double level = std::exp(random.normal(0.5, 0.5));
    for (Index i = 0; i < cells; ++i) {
      const auto y = random.negative_binomial(level * data.size_factors[static_cast<std::size_t>(i)], 0.4);
      if (y > 0) entries.push_back({g, i, static_cast<int>(y)});
    }
  }
  data.counts = SparseMatrix<int>::from_triplets(genes, cells, entries);
  return data;
}

}  // namespace

TEST_CASE("glm::test_contrasts: estimates, variances and likelihood ratios of the dense regression") {
  const auto data = simulate_counts(40, 240, 4, 3, 1.0, 77);
  CpuContext context({.threads = 2});
  const auto design = data.design();
  const auto fitted =
      glm::fit(context, data.counts, design, {.dispersion = Fixed{0.6}, .size_factors = data.size_factors});
  glm::Contrast mixture{"mixture", {0.5, -1.0, 0.25, 0.25}, {0.0, 1.0, 0.5}};
  const std::vector<glm::Contrast> contrasts{glm::type_against_type(design, 2, 1), glm::type_against_others(design, 0),
                                             glm::batch_against_batch(design, 2, 1), mixture};
  const auto got = glm::test_contrasts(context, data.counts, design, fitted, contrasts);
  CHECK(got.names[0] == "T2 / T1");
  CHECK(got.names[1] == "T0 / others");
  CHECK(got.names[2] == "B2 / B1");
  Index compared = 0;
  for (Index g = 0; g < 40; ++g) {
    CAPTURE(g);
    if (fitted.status[static_cast<std::size_t>(g)] != FitStatus::converged) continue;
    bool complete = true;
    for (Index t = 0; t < 4; ++t) complete = complete && std::isfinite(fitted.type_coefficients(g, t));
    for (Index b = 0; b < 3; ++b) complete = complete && std::isfinite(fitted.batch_coefficients(g, b));
    if (!complete) continue;
    ++compared;
    const auto counts = dense_row(data.counts, g);
    DenseRegression full(counts, data.size_factors, data.type, data.batch, 4, 3);
    full.solve(0.6L);
    for (Index c = 0; c < 4; ++c) {
      CAPTURE(c);
      const auto& contrast = contrasts[static_cast<std::size_t>(c)];
      std::vector<long double> w(6, 0.0L);
      for (std::size_t t = 0; t < contrast.types.size(); ++t) w[t] = contrast.types[t];
      for (std::size_t b = 1; b < contrast.batches.size(); ++b) w[3 + b] = contrast.batches[b];
      const auto solved = DenseRegression::solve_with(full.information(0.6L, true), w);
      long double estimate = 0.0L, variance = 0.0L;
      for (std::size_t i = 0; i < 6; ++i) {
        estimate += w[i] * full.beta[i];
        variance += w[i] * solved[i];
      }
      CHECK(std::abs(got.estimate(c, g) - static_cast<double>(estimate)) < 1e-9);
      CHECK(std::abs(got.standard_error(c, g) / static_cast<double>(std::sqrt(variance)) - 1.0) < 1e-9);
      CHECK(got.z(c, g) == doctest::Approx(static_cast<double>(estimate / std::sqrt(variance))));
      CHECK(got.wald_p(c, g) == doctest::Approx(std::erfc(std::abs(got.z(c, g)) / std::sqrt(2.0))));
      CHECK(got.status[static_cast<std::size_t>(c * 40 + g)] == ContrastStatus::finite);
    }
    auto merged_types = data.type, merged_batches = data.batch;
    for (Index& t : merged_types) t = t == 2 ? 1 : t == 3 ? 2 : t;
    for (Index& b : merged_batches) b = b == 2 ? 1 : b;
    DenseRegression types(counts, data.size_factors, merged_types, data.batch, 3, 3);
    DenseRegression batches(counts, data.size_factors, data.type, merged_batches, 4, 2);
    types.solve(0.6L);
    batches.solve(0.6L);
    const long double top = full.log_likelihood(0.6L);
    CHECK(std::abs(got.ratio(0, g) - static_cast<double>(2.0L * (top - types.log_likelihood(0.6L)))) < 1e-9);
    CHECK(std::abs(got.ratio(2, g) - static_cast<double>(2.0L * (top - batches.log_likelihood(0.6L)))) < 1e-9);
    CHECK(got.ratio_p(0, g) == doctest::Approx(math::chi_squared_upper_tail(got.ratio(0, g), 1.0)));
    CHECK(std::isnan(got.ratio(1, g)));
    CHECK(std::isnan(got.ratio(3, g)));
  }
  CHECK(compared > 15);
  // The merged model is also what fit() makes of the design with the levels merged.
  auto merged = data;
  for (Index& t : merged.type) t = t == 2 ? 1 : t == 3 ? 2 : t;
  const auto reduced =
      glm::fit(context, data.counts, merged.design(), {.dispersion = Fixed{0.6}, .size_factors = data.size_factors});
  for (Index g = 0; g < 40; ++g)
    if (!std::isnan(got.ratio(0, g)))
      CHECK(std::abs(got.ratio(0, g) - std::max(0.0, 2.0 * (fitted.log_likelihood[g] - reduced.log_likelihood[g]))) <
            1e-8 * (1.0 + std::abs(fitted.log_likelihood[g])));
}

TEST_CASE("glm::test_contrasts: levels without counts and levels that are not linked") {
  // Genes: 0 no counts in T1; 1 none in T1 and T2; 2 T0 in B0 and T1, T2 in B1 only, where T0 and B1 do not meet.
  const std::vector<Index> type{0, 0, 0, 1, 1, 2, 2, 2}, batch{0, 0, 0, 0, 1, 0, 1, 1};
  const auto counts = SparseMatrix<int>::from_triplets(
      3, 8,
      {{0, 0, 3}, {0, 1, 2}, {0, 5, 4}, {0, 6, 1}, {1, 0, 2}, {1, 2, 5}, {2, 0, 2}, {2, 1, 1}, {2, 4, 4}, {2, 7, 3}});
  const glm::Design design(glm::Categories::from_codes(type, "T"), glm::Categories::from_codes(batch, "B"));
  CpuContext context({.threads = 1});
  const auto fitted =
      glm::fit(context, counts, design, {.dispersion = Fixed{0.2}, .size_factors = std::vector<double>(8, 1.0)});
  const auto got = glm::test_contrasts(context, counts, design, fitted,
                                       {glm::type_against_type(design, 1, 0), glm::type_against_type(design, 1, 2),
                                        glm::batch_against_batch(design, 1, 0)});
  const auto status = [&](Index c, Index g) { return got.status[static_cast<std::size_t>(c * 3 + g)]; };
  CHECK(got.estimate(0, 0) == -glm::detail::infinity);
  CHECK(status(0, 0) == ContrastStatus::infinite);
  CHECK(std::isnan(got.standard_error(0, 0)));
  CHECK(std::isnan(got.wald_p(0, 0)));
  CHECK(got.ratio(0, 0) > 1.0);
  CHECK(got.ratio_p(0, 0) < 0.3);
  CHECK(status(0, 1) == ContrastStatus::infinite);
  CHECK(got.ratio(0, 1) > 1.0);
  CHECK(status(1, 1) == ContrastStatus::not_estimable);
  CHECK(std::isnan(got.estimate(1, 1)));
  CHECK(std::isnan(got.ratio_p(1, 1)));
  // Gene 2: T1 and T2 hang together through B1, apart from T0 and B0: their difference is estimable, others are not.
  CHECK(std::isnan(fitted.type_coefficients(2, 1)));
  CHECK(status(1, 2) == ContrastStatus::finite);
  CHECK(got.estimate(1, 2) == doctest::Approx(std::log(4.0 / 1.5)).epsilon(1e-9));
  CHECK(got.ratio(1, 2) > 0.0);
  CHECK(status(0, 2) == ContrastStatus::not_estimable);
  CHECK(std::isnan(got.ratio(0, 2)));
  CHECK(status(2, 2) == ContrastStatus::not_estimable);
  CHECK(std::isnan(got.ratio_p(2, 2)));
}

TEST_CASE("glm::test_contrasts: tests of true hypotheses keep their level") {
  const auto data = simulate_null(800, 180, 41);
  CpuContext context({.threads = 2});
  const auto design = data.design();
  const auto fitted = glm::fit(context, data.counts, design, {.size_factors = data.size_factors});
  const auto got = glm::test_contrasts(context, data.counts, design, fitted,
                                       {glm::type_against_type(design, 0, 1), glm::type_against_others(design, 2),
                                        glm::batch_against_batch(design, 1, 0)});
  for (Index c = 0; c < 3; ++c) {
    CAPTURE(c);
    int wald = 0, ratio = 0;
    for (Index g = 0; g < 800; ++g) {
      wald += got.wald_p(c, g) < 0.05;
      ratio += got.ratio_p(c, g) < 0.05;
    }
    CAPTURE(wald);
    CAPTURE(ratio);
    // Binomial(800, 0.05): 40 +- 6.2; the dispersion is estimated, the tests are asymptotic.
    CHECK(wald > 21);
    CHECK(wald < 63);
    if (c == 1) continue;
    CHECK(ratio > 21);
    CHECK(ratio < 63);
  }
  // Threads play no part.
  CpuContext one({.threads = 1});
  const auto again =
      glm::test_contrasts(one, data.counts, design, fitted, {glm::type_against_type(design, 0, 1)}, {.block_genes = 7});
  for (Index g = 0; g < 800; ++g) CHECK(again.ratio(0, g) == got.ratio(0, g));
}

TEST_CASE("glm::test_contrasts: bad contrasts are named") {
  const auto data = simulate_null(2, 30, 42);
  CpuContext context({.threads = 1});
  const auto design = data.design();
  const auto fitted = glm::fit(context, data.counts, design, {.size_factors = data.size_factors});
  const auto message = [&](glm::Contrast contrast) {
    return message_of([&] { glm::test_contrasts(context, data.counts, design, fitted, {contrast}); });
  };
  CHECK(contains(message({"x", {1.0}}), "contrast 'x' has 1 type weights, expected 3"));
  CHECK(contains(message({"x", {0.0, 0.0, 0.0}}), "no weight but 0"));
  CHECK(contains(message({"x", {0.0, std::nan(""), 0.0}}), "not finite"));
  std::vector<Index> half;
  for (Index i = 0; i < design.cells(); ++i) half.push_back(i / 6 % 2);
  const glm::Design wider(glm::Categories::from_codes(data.type, "T"), glm::Categories::from_codes(data.batch, "B"),
                          {{"half", glm::Categories::from_codes(half, "h")}});
  CHECK_THROWS_WITH_AS(glm::test_contrasts(context, data.counts, wider, fitted, {{"x", {1.0, -1.0, 0.0}}}),
                       "test_contrasts: the design has covariates beside types and batches", ValueError);
  CHECK_THROWS_WITH_AS(glm::find_markers(context, data.counts, wider, fitted),
                       "find_markers: the design has covariates beside types and batches", ValueError);
  CHECK_THROWS_AS(glm::type_against_type(design, 1, 1), ValueError);
  CHECK_THROWS_AS(glm::batch_against_batch(design, 1, 2), ValueError);
}
