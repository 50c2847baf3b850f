#include <eosin/glm/markers.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

using namespace eosin;
using glm::MarkerComparison;

namespace {

/// Genes 0..3 are up threefold in the type of their number, gene 4 is up in types 0 and 1, gene 5 is in type 2 alone,
/// the others are alike in all; a batch doubles everything.
testing::SimulatedCounts simulate_markers(Index genes, Index cells, std::uint64_t seed) {
  RandomStream random(seed);
  testing::SimulatedCounts data;
  for (Index i = 0; i < cells; ++i) {
    data.type.push_back(i % 4);
    data.batch.push_back(random.below(2));
    data.size_factors.push_back(std::exp(random.normal(0.0, 0.3)));
  }
  std::vector<Triplet<int>> entries;
  for (Index g = 0; g < genes; ++g)
    for (Index i = 0; i < cells; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Index t = data.type[at];
      double mean = data.size_factors[at] * (data.batch[at] == 1 ? 2.0 : 1.0);
      if (g < 4 && t == g) mean *= 3.0;
      if (g == 4 && t < 2) mean *= 3.0;
      if (g == 5 && t != 2) mean = 0.0;
      const auto y = random.negative_binomial(mean, 0.3);
      if (y > 0) entries.push_back({g, i, static_cast<int>(y)});
    }
  data.counts = SparseMatrix<int>::from_triplets(genes, cells, entries);
  return data;
}

std::vector<Index> genes_of(const std::vector<glm::Marker>& table, Index type) {
  std::vector<Index> genes;
  for (const auto& row : table)
    if (row.type == type) genes.push_back(row.gene);
  std::sort(genes.begin(), genes.end());
  return genes;
}

}  // namespace

TEST_CASE("glm::find_markers: finds what was put in, with fold changes of the prototypes") {
  const auto data = simulate_markers(60, 400, 3);
  CpuContext context({.threads = 2});
  const auto design = data.design();
  const auto fitted = glm::fit(context, data.counts, design, {.size_factors = data.size_factors});
  const auto table = glm::find_markers(context, data.counts, design, fitted,
                                       {.comparison = MarkerComparison::largest,
                                        .order = glm::MarkerOrder::lower_bound,
                                        .largest_q = 1e-3,
                                        .smallest_log2_fold_change = 0.0});
  CHECK(genes_of(table, 0) == std::vector<Index>{0});
  CHECK(genes_of(table, 1) == std::vector<Index>{1});
  CHECK(genes_of(table, 2) == std::vector<Index>{2, 5});
  CHECK(genes_of(table, 3) == std::vector<Index>{3});
  const auto mean =
      glm::find_markers(context, data.counts, design, fitted,
                        {.comparison = MarkerComparison::mean, .largest_q = 1e-3, .smallest_log2_fold_change = 0.0});
  CHECK(genes_of(mean, 0) == std::vector<Index>{0, 4});
  CHECK(genes_of(mean, 1) == std::vector<Index>{1, 4});
  CHECK(genes_of(mean, 2) == std::vector<Index>{2, 5});

  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto& row = table[i];
    CAPTURE(row.gene);
    if (i > 0) CHECK(table[i - 1].type <= row.type);
    if (i > 0 && table[i - 1].type == row.type) CHECK(table[i - 1].log2_lower_bound >= row.log2_lower_bound);
    const double own = fitted.log_prototypes(row.type, row.gene);
    double best = -glm::detail::infinity, sum = 0.0;
    for (Index u = 0; u < 4; ++u) {
      if (u == row.type) continue;
      best = std::max(best, fitted.log_prototypes(u, row.gene));
      sum += std::exp(fitted.log_prototypes(u, row.gene));
    }
    CHECK(row.log_prototype == own);
    if (row.gene == 5) {
      CHECK(row.log2_over_largest == glm::detail::infinity);
      CHECK(row.log2_over_mean == glm::detail::infinity);
      CHECK(std::isnan(row.wald_p));
      CHECK(row.ratio > 50.0);
      CHECK(row.p == row.ratio_p);
      CHECK(row.detected_others == 0.0);
      double others = 0.0;
      for (std::size_t c = 0; c < 400; ++c) others += data.type[c] != 2 ? data.size_factors[c] : 0.0;
      const double lower = own - 1.6448536269514727 * fitted.log_prototype_errors(2, 5);
      CHECK(row.log2_lower_bound == doctest::Approx((lower + std::log(others / 2.99573227)) / std::log(2.0)));
      continue;
    }
    CHECK(row.log2_over_largest == doctest::Approx((own - best) / std::log(2.0)));
    CHECK(row.log2_over_mean == doctest::Approx((own - std::log(sum / 3.0)) / std::log(2.0)));
    CHECK(row.log2_over_largest == doctest::Approx(std::log2(3.0)).epsilon(0.35));
    CHECK(row.log2_lower_bound ==
          doctest::Approx(row.log2_over_largest - 1.6448536269514727 * row.log2_over_largest / row.z));
    CHECK(row.p == row.ratio_p);
    CHECK(row.ratio_p == doctest::Approx(0.5 * math::chi_squared_upper_tail(row.ratio, 1.0)));
    CHECK(row.q >= row.p);
    CHECK(row.z * row.z == doctest::Approx(row.ratio).epsilon(0.4));  // two asymptotically equal statistics
    Index with = 0, cells = 0;
    for (Index c = 0; c < 400; ++c)
      if (data.type[static_cast<std::size_t>(c)] == row.type) {
        ++cells;
        with += data.counts.at(row.gene, c) > 0;
      }
    CHECK(row.detected == doctest::Approx(static_cast<double>(with) / static_cast<double>(cells)));
  }

  // Against the contrasts: the same Wald statistic and likelihood ratio for the runner-up, delta method for the mean.
  for (const auto& row : table) {
    const auto contrast = glm::test_contrasts(context, data.counts, design, fitted,
                                              {glm::type_against_type(design, row.type, row.runner_up)});
    if (row.gene != 5) CHECK(contrast.z(0, row.gene) == doctest::Approx(row.z).epsilon(1e-9));
    CHECK(contrast.ratio(0, row.gene) == doctest::Approx(row.ratio).epsilon(1e-9));
  }
  for (const auto& row : mean) {
    if (row.gene == 5) continue;
    glm::Contrast contrast{"mean", std::vector<double>(4, 0.0)};
    double sum = 0.0;
    for (Index u = 0; u < 4; ++u)
      if (u != row.type) sum += std::exp(fitted.log_prototypes(u, row.gene));
    for (Index u = 0; u < 4; ++u)
      contrast.types[static_cast<std::size_t>(u)] =
          u == row.type ? 1.0 : -std::exp(fitted.log_prototypes(u, row.gene)) / sum;
    const auto tested = glm::test_contrasts(context, data.counts, design, fitted, {contrast});
    CHECK(row.z ==
          doctest::Approx(row.log2_over_mean * std::log(2.0) / tested.standard_error(0, row.gene)).epsilon(1e-9));
  }

  const auto few = glm::find_markers(context, data.counts, design, fitted,
                                     {.comparison = MarkerComparison::largest,
                                      .order = glm::MarkerOrder::significance,
                                      .largest_q = 1.0,
                                      .smallest_log2_fold_change = 0.0,
                                      .most_per_type = 1});
  REQUIRE(few.size() == 4);
  CHECK(few[0].gene == 0);
  CHECK(few[1].gene == 1);
  CHECK(few[3].gene == 3);
  CpuContext one({.threads = 1});
  const auto again = glm::find_markers(one, data.counts, design, fitted,
                                       {.comparison = MarkerComparison::largest,
                                        .order = glm::MarkerOrder::lower_bound,
                                        .largest_q = 1e-3,
                                        .smallest_log2_fold_change = 0.0,
                                        .block_genes = 7});
  REQUIRE(again.size() == table.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    CHECK(again[i].gene == table[i].gene);
    CHECK(again[i].p == table[i].p);
  }
  CHECK_THROWS_AS(glm::find_markers(one, data.counts, design, fitted, {.largest_q = 2.0}), ValueError);
}

TEST_CASE("glm::find_markers: few false markers where there are none") {
  auto data = simulate_markers(406, 160, 4);
  std::vector<Index> kept;
  for (Index g = 6; g < 406; ++g) kept.push_back(g);
  data.counts = data.counts.select_rows(kept);
  CpuContext context({.threads = 2});
  const auto design = data.design();
  const auto fitted = glm::fit(context, data.counts, design, {.size_factors = data.size_factors});
  for (const auto comparison : {MarkerComparison::largest, MarkerComparison::mean}) {
    const auto table =
        glm::find_markers(context, data.counts, design, fitted,
                          {.comparison = comparison, .largest_q = 1.0, .smallest_log2_fold_change = 0.0});
    // One-sided tests of true hypotheses; the type's own genes above 0 are in the table, the others have p of at least
    // 1/2.
    int low = 0, called = 0;
    for (const auto& row : table) {
      low += row.p < 0.05;
      called += row.q < 0.05;
    }
    CAPTURE(low);
    // 1600 tests: 80 +- 8.7 against the mean, fewer against the largest of three.
    CHECK(low < (comparison == MarkerComparison::mean ? 120 : 80));
    if (comparison == MarkerComparison::mean) CHECK(low > 50);
    CHECK(called <= 4);
  }
}

TEST_CASE("glm::find_markers: one type has no others") {
  const auto counts = SparseMatrix<int>::from_triplets(1, 3, {{0, 0, 2}});
  const glm::Design design(glm::Categories::from_codes({0, 0, 0}, "T"));
  CpuContext context({.threads = 1});
  const auto fitted = glm::fit(context, counts, design, {.size_factors = std::vector<double>(3, 1.0)});
  CHECK(
      glm::find_markers(context, counts, design, fitted, {.largest_q = 1.0, .smallest_log2_fold_change = 0.0}).empty());
}
