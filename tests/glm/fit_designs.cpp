#include <eosin/glm/fit.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"
#include "support/message.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

using namespace eosin;
using glm::Categories, glm::CoxReid, glm::CoxReidPlugin, glm::Fixed, glm::FitStatus, glm::Shrunken;
using testing::contains, testing::DenseRegression, testing::message_of, testing::simulate_counts;

namespace {

struct Cells {
  std::vector<Index> type, batch, chip, site;
  std::vector<double> size_factors;

  glm::Design design() const { return glm::Design(Categories::from_codes(type), Categories::from_codes(batch)); }
  glm::Design design_with_covariates() const {
    return glm::Design(Categories::from_codes(type), Categories::from_codes(batch),
                       {{"chip", Categories::from_codes(chip)}, {"site", Categories::from_codes(site)}});
  }
};

/// Random labels, about a third of the pairs of type and batch being empty; size factors log-uniform over `decades`.
Cells random_cells(Index cells, Index types, Index batches, double decades, std::uint64_t seed) {
  RandomStream random(seed);
  Cells result;
  for (Index i = 0; i < cells; ++i) {
    Index t = random.below(types), b = random.below(batches);
    if (t != 0 && b != 0 && (t + 2 * b) % 3 == 0) b = 0;
    if (i < types) t = i, b = 0;
    if (i >= types && i < types + batches) t = 0, b = i - types;
    result.type.push_back(t);
    result.batch.push_back(b);
    result.chip.push_back(random.below(2));
    result.site.push_back(random.below(3));
    result.size_factors.push_back(std::pow(10.0, decades * (random.uniform() - 0.5)));
  }
  return result;
}

std::vector<double> simulate_gene(const Cells& cells, double level, double phi, RandomStream& random) {
  std::vector<double> counts, type_effect(100), batch_effect(100);
  for (double& e : type_effect) e = random.normal(0.0, 0.7);
  for (double& e : batch_effect) e = random.normal(0.0, 0.4);
  for (std::size_t i = 0; i < cells.type.size(); ++i) {
    const double eta = type_effect[static_cast<std::size_t>(cells.type[i])] +
                       batch_effect[static_cast<std::size_t>(cells.batch[i])] +
                       0.3 * static_cast<double>(cells.chip[i]) - 0.4 * static_cast<double>(cells.site[i]);
    const double mu = cells.size_factors[i] * std::exp(level + eta);
    counts.push_back(std::min(1e7, static_cast<double>(random.negative_binomial(mu, phi))));
  }
  return counts;
}

Matrix<double> as_row(const std::vector<double>& counts) {
  Matrix<double> row(1, static_cast<Index>(counts.size()));
  std::copy(counts.begin(), counts.end(), row.data());
  return row;
}

std::vector<std::pair<std::vector<Index>, Index>> covariates_of(const Cells& cells) {
  return {{cells.chip, 2}, {cells.site, 3}};
}

/// Newton step in log phi to the maximum of `objective(phi)`, from differences in long double.
template <class F>
std::pair<long double, long double> newton_step(F&& objective, double phi, long double h) {
  const long double x = std::log(static_cast<long double>(phi));
  std::array<long double, 7> f{};
  for (int k = -3; k <= 3; ++k) f[static_cast<std::size_t>(k + 3)] = objective(std::exp(x + h * k));
  const long double slope = ((f[6] - f[0]) - 9.0L * (f[5] - f[1]) + 45.0L * (f[4] - f[2])) / (60.0L * h);
  const long double bend =
      (2.0L * (f[6] + f[0]) - 27.0L * (f[5] + f[1]) + 270.0L * (f[4] + f[2]) - 490.0L * f[3]) / (180.0L * h * h);
  return {-slope / bend, bend};
}

}  // namespace

TEST_CASE("glm::fit: exact for 1 to 60 types, 1 to 40 batches, size factors over six decades, counts to 1e7") {
  CpuContext context({.threads = 2});
  struct Case {
    Index cells, types, batches;
    double decades, level;
  };
  std::uint64_t seed = 40;
  double worst = 0.0, largest_count = 0.0;
  Index compared = 0;
  for (const Case& c : {Case{150, 1, 1, 6.0, 0.0},
                        {200, 1, 1, 0.5, 15.0},
                        {300, 5, 3, 6.0, 1.0},
                        {300, 3, 4, 6.0, 9.0},
                        {700, 60, 1, 1.0, 0.0},
                        {400, 1, 40, 1.0, 1.0},
                        {1500, 60, 40, 2.0, 1.0}})
    for (const double phi : {0.0, 1e-3, 0.5, 100.0}) {
      const Cells cells = random_cells(c.cells, c.types, c.batches, c.decades, ++seed);
      RandomStream random(seed);
      const auto counts = simulate_gene(cells, c.level, phi, random);
      largest_count = std::max(largest_count, *std::max_element(counts.begin(), counts.end()));
      const auto results = glm::fit(context, as_row(counts).view(), cells.design(),
                                    {.dispersion = Fixed{phi}, .size_factors = cells.size_factors});
      CAPTURE(c.types);
      CAPTURE(c.batches);
      CAPTURE(c.level);
      CAPTURE(phi);
      CHECK(results.status[0] != FitStatus::iteration_limit);
      if (results.status[0] != FitStatus::converged) continue;
      DenseRegression regression(counts, cells.size_factors, cells.type, cells.batch, c.types, c.batches);
      regression.solve(phi);
      const auto check = [&](Index column, double coefficient, double error) {
        if (column < 0) return;
        ++compared;
        const double expected = static_cast<double>(regression.beta[static_cast<std::size_t>(column)]);
        worst = std::max(worst, std::abs(coefficient - expected));
        if (column % 7 == 0)
          CHECK(error == doctest::Approx(static_cast<double>(regression.standard_error(phi, column))).epsilon(1e-9));
      };
      for (Index t = 0; t < c.types; ++t)
        check(regression.type_column[static_cast<std::size_t>(t)], results.type_coefficients(0, t),
              results.type_standard_errors(0, t));
      for (Index b = 0; b < c.batches; ++b)
        check(regression.batch_column[static_cast<std::size_t>(b)], results.batch_coefficients(0, b),
              results.batch_standard_errors(0, b));
    }
  CHECK(largest_count == 1e7);
  CHECK(compared > 300);
  CHECK(worst <= 1e-9);
}

TEST_CASE("glm::fit: covariates beside type and batch") {
  CpuContext context({.threads = 2});
  const Cells cells = random_cells(500, 3, 3, 0.8, 5);
  RandomStream random(9);
  const auto design = cells.design_with_covariates();
  REQUIRE(design.columns() == 8);
  CHECK(design.column_name(7) == "site:2");
  for (const double level : {-2.5, 0.0, 2.0}) {
    CAPTURE(level);
    const auto counts = simulate_gene(cells, level, 0.4, random);
    const auto results = glm::fit(context, as_row(counts).view(), design,
                                  {.size_factors = cells.size_factors, .batch_weights = glm::WeightsByCells{}});
    REQUIRE(results.status[0] == FitStatus::converged);
    DenseRegression regression(counts, cells.size_factors, cells.type, cells.batch, 3, 3, covariates_of(cells));
    const double phi = results.dispersion[0];
    if (phi > 0.0) {
      const auto [step, bend] =
          newton_step([&](long double at) { return regression.adjusted_profile(at, 0.99L); }, phi, 0.01L);
      CHECK(std::abs(static_cast<double>(step)) <= 1e-7);
      CHECK(results.dispersion_precision[0] == doctest::Approx(static_cast<double>(-bend)).epsilon(0.02));
    }
    regression.solve(phi);
    const auto beta = [&](Index column) {
      return column < 0 ? 0.0 : static_cast<double>(regression.beta[static_cast<std::size_t>(column)]);
    };
    const auto error = [&](Index column) {
      return column < 0 ? 0.0 : static_cast<double>(regression.standard_error(phi, column));
    };
    double of_batches = 0.0, of_sites = 0.0, of_chips = 0.0;
    for (std::size_t i = 0; i < 500; ++i) {
      of_batches += std::exp(beta(regression.batch_column[static_cast<std::size_t>(cells.batch[i])])) / 500.0;
      of_chips += std::exp(beta(regression.covariate_column[0][static_cast<std::size_t>(cells.chip[i])])) / 500.0;
      of_sites += std::exp(beta(regression.covariate_column[1][static_cast<std::size_t>(cells.site[i])])) / 500.0;
    }
    for (Index t = 0; t < 3; ++t) {
      const Index column = regression.type_column[static_cast<std::size_t>(t)];
      CHECK(std::abs(results.type_coefficients(0, t) - beta(column)) <= 1e-9);
      CHECK(results.type_standard_errors(0, t) == doctest::Approx(error(column)).epsilon(1e-9));
      CHECK(results.log_prototypes(t, 0) ==
            doctest::Approx(beta(column) + std::log(of_batches * of_chips * of_sites)).epsilon(1e-9));
    }
    for (Index l = 0; l < 5; ++l) {
      const Index column = l < 2 ? regression.covariate_column[0][static_cast<std::size_t>(l)]
                                 : regression.covariate_column[1][static_cast<std::size_t>(l - 2)];
      CHECK(std::abs(results.covariate_coefficients(0, l) - beta(column)) <= 1e-9);
      CHECK(results.covariate_standard_errors(0, l) == doctest::Approx(error(column)).epsilon(1e-9));
    }
  }
}

TEST_CASE("glm::fit: covariates that cannot be told apart, and what a gene cannot tell apart") {
  const Cells cells = random_cells(60, 2, 3, 0.5, 6);
  CHECK(contains(message_of([&] {
                   glm::Design(Categories::from_codes(cells.type), Categories::from_codes(cells.batch),
                               {{"chip", Categories::from_codes(cells.batch)}});
                 }),
                 "chip:"));
  CHECK(contains(message_of([&] {
                   glm::Design(Categories::from_codes(cells.type), Categories::from_codes(cells.batch),
                               {{"batch", Categories::from_codes(cells.chip)}});
                 }),
                 "two factors"));
  // Pairs of batch and chip with cells, of two types; counts only where batch and chip agree.
  const auto fit_pairs = [](const std::vector<std::pair<Index, Index>>& pairs) {
    Cells two;
    std::vector<double> counts;
    for (const Index t : {0, 1})
      for (const auto& [b, c] : pairs)
        for (int copy = 0; copy < 3; ++copy) {
          two.type.push_back(t);
          two.batch.push_back(b);
          two.chip.push_back(c);
          counts.push_back(b != c ? 0.0 : 1.0 + static_cast<double>((copy + t + c) % 3));
        }
    CpuContext context({.threads = 1});
    const glm::Design design(Categories::from_codes(two.type), Categories::from_codes(two.batch),
                             {{"chip", Categories::from_codes(two.chip)}});
    return glm::fit(context, as_row(counts).view(), design,
                    {.dispersion = Fixed{0.2}, .size_factors = std::vector<double>(counts.size(), 1.0)});
  };
  // With all four pairs, what lowers the mean of (0, 1) raises that of (1, 0): the optimum is finite.
  CHECK(fit_pairs({{0, 0}, {0, 1}, {1, 0}, {1, 1}}).status[0] == FitStatus::converged);
  // Without cells in (1, 0) the mean of (0, 1) falls without end, and batch and chip are not told apart by the rest.
  const auto apart = fit_pairs({{0, 0}, {0, 1}, {1, 1}});
  CHECK(apart.status[0] == FitStatus::separated);
  CHECK(apart.type_coefficients(0, 0) == doctest::Approx(std::log(2.0)));
  CHECK(std::isnan(apart.covariate_coefficients(0, 1)));
  CHECK(std::isnan(apart.log_prototypes(0, 0)));
}

TEST_CASE("glm::fit: separation with three factors is that of the linear programme") {
  CpuContext context({.threads = 1});
  int separated = 0, finite = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    CAPTURE(trial);
    RandomStream random(900 + static_cast<std::uint64_t>(trial));
    Cells three;
    std::vector<double> counts;
    std::vector<std::array<Index, 3>> groups;
    std::vector<char> has_counts;
    for (Index t = 0; t < 3; ++t)
      for (Index b = 0; b < 3; ++b)
        for (Index c = 0; c < 4; ++c) {
          if (random.uniform() < 0.6 && !(t == b && b == c)) continue;
          groups.push_back({t, b, c});
          has_counts.push_back(random.uniform() < 0.6 ? 1 : 0);
          for (int copy = 0; copy < 2; ++copy) {
            three.type.push_back(t);
            three.batch.push_back(b);
            three.chip.push_back(c);
            counts.push_back(has_counts.back() ? 1.0 + static_cast<double>(copy) : 0.0);
          }
        }
    Matrix<int> design(static_cast<Index>(groups.size()), 10);
    std::array<bool, 10> seen{};
    for (std::size_t k = 0; k < groups.size(); ++k) {
      const std::array<Index, 3> columns{groups[k][0], 3 + groups[k][1], 6 + groups[k][2]};
      for (Index c = 0; c < 10; ++c) design(static_cast<Index>(k), c) = 0;
      for (const Index c : columns) {
        design(static_cast<Index>(k), c) = 1;
        seen[static_cast<std::size_t>(c)] = seen[static_cast<std::size_t>(c)] || has_counts[k];
      }
    }
    const auto vanishes = glm::vanishing_groups(std::as_const(design).view(), has_counts);
    bool expected = false;  // a group vanishes though its levels have counts
    for (std::size_t k = 0; k < groups.size(); ++k)
      expected = expected || (vanishes[k] && seen[static_cast<std::size_t>(groups[k][0])] &&
                              seen[static_cast<std::size_t>(3 + groups[k][1])] &&
                              seen[static_cast<std::size_t>(6 + groups[k][2])]);
    glm::FitResults results;
    try {
      const glm::Design fitted(Categories::from_codes(three.type), Categories::from_codes(three.batch),
                               {{"chip", Categories::from_codes(three.chip)}});
      results = glm::fit(context, as_row(counts).view(), fitted,
                         {.dispersion = Fixed{0.2}, .size_factors = std::vector<double>(counts.size(), 1.0)});
    } catch (const DesignError&) {
      continue;  // the cells themselves do not tell the factors apart
    }
    CHECK((results.status[0] == FitStatus::separated) == expected);
    CHECK(results.status[0] != FitStatus::iteration_limit);
    ++(expected ? separated : finite);
  }
  CHECK(separated > 100);
  CHECK(finite > 100);
}

TEST_CASE("glm::fit: the one-pass dispersion maximises with all means fixed") {
  CpuContext context({.threads = 1});
  const Cells cells = random_cells(400, 4, 3, 0.8, 12);
  RandomStream random(13);
  const auto counts = simulate_gene(cells, 0.5, 0.6, random);
  const auto results = glm::fit(context, as_row(counts).view(), cells.design(),
                                {.dispersion = CoxReidPlugin{}, .size_factors = cells.size_factors});
  const auto profile = glm::fit(context, as_row(counts).view(), cells.design(), {.size_factors = cells.size_factors});
  REQUIRE(results.dispersion[0] > 0.0);
  CHECK(std::abs(std::log(results.dispersion[0] / profile.dispersion[0])) < 0.1);
  CHECK(results.dispersion[0] != profile.dispersion[0]);
  DenseRegression regression(counts, cells.size_factors, cells.type, cells.batch, 4, 3);
  regression.solve(0.0L);
  long double excess = 0.0L, squares = 0.0L;
  for (std::size_t i = 0; i < regression.cells.size(); ++i) {
    const long double mu = regression.mean(i), y = regression.cells[i].y;
    excess += (y - mu) * (y - mu) - mu;
    squares += mu * mu;
  }
  regression.solve(excess / squares);
  const auto n = regression.beta.size();
  const auto objective = [&](long double phi) {
    long double value = regression.log_likelihood(phi);
    const auto lower = DenseRegression::cholesky(regression.information(phi, false));
    for (std::size_t c = 0; c < n; ++c) value -= 0.99L * std::log(lower[c * n + c]);
    return value;
  };
  CHECK(std::abs(static_cast<double>(newton_step(objective, results.dispersion[0], 0.01L).first)) <= 1e-7);
  // The coefficients belong to the dispersion reported.
  regression.solve(results.dispersion[0]);
  CHECK(std::abs(results.type_coefficients(0, 1) - static_cast<double>(regression.beta[1])) <= 1e-9);
}

TEST_CASE("glm::fit: shrunken dispersions are those of the rule; inspect sees each gene once") {
  const auto data = simulate_counts(20, 300, 3, 3, 0.6, 31);
  CpuContext context({.threads = 2});
  const auto own = glm::fit(context, data.counts, data.design(), {.size_factors = data.size_factors});
  std::vector<double> rule(20);
  std::array<std::atomic<int>, 20> seen{};
  Matrix<double> contrast(20, 2);
  glm::FitOptions options{.dispersion = Shrunken{.shrink =
                                                     [&](const glm::GeneDispersions& genes) {
                                                       for (Index g = 0; g < 20; ++g) {
                                                         CHECK(genes.dispersion[g] == own.dispersion[g]);
                                                         CHECK(genes.mean[g] == own.mean[g]);
                                                         rule[static_cast<std::size_t>(g)] =
                                                             0.05 + 0.5 * genes.dispersion[g];
                                                       }
                                                       return rule;
                                                     }},
                          .size_factors = data.size_factors};
  options.inspect = [&](Index gene, const glm::GeneFit& fit) {
    ++seen[static_cast<std::size_t>(gene)];
    const std::array<double, 3> difference{0.0, 1.0, -1.0};
    contrast(gene, 0) = fit.variance(difference);
    contrast(gene, 1) =
        fit.covariance_of_types(1, 1) + fit.covariance_of_types(2, 2) - 2.0 * fit.covariance_of_types(1, 2);
  };
  const auto shrunken = glm::fit(context, data.counts, data.design(), options);
  const auto fixed =
      glm::fit(context, data.counts, data.design(), {.dispersion = Fixed{rule}, .size_factors = data.size_factors});
  for (Index g = 0; g < 20; ++g) {
    CAPTURE(g);
    CHECK(seen[static_cast<std::size_t>(g)] == 1);
    CHECK(shrunken.dispersion[g] == rule[static_cast<std::size_t>(g)]);
    CHECK(shrunken.gene_wise_dispersion[g] == own.dispersion[g]);
    for (Index t = 0; t < 3; ++t)
      CHECK((shrunken.type_coefficients(g, t) == fixed.type_coefficients(g, t) ||
             std::isnan(fixed.type_coefficients(g, t))));
    if (fixed.status[static_cast<std::size_t>(g)] != FitStatus::converged) continue;
    if (!std::isfinite(fixed.type_coefficients(g, 1) + fixed.type_coefficients(g, 2))) {
      CHECK(std::isnan(contrast(g, 0)));
      continue;
    }
    std::vector<double> row(300, 0.0);
    const auto entries = data.counts.row(g);
    for (std::size_t e = 0; e < entries.columns.size(); ++e)
      row[static_cast<std::size_t>(entries.columns[e])] = static_cast<double>(entries.values[e]);
    DenseRegression regression(row, data.size_factors, data.type, data.batch, 3, 3);
    const auto phi = static_cast<long double>(rule[static_cast<std::size_t>(g)]);
    regression.solve(phi);
    std::vector<long double> x(regression.beta.size(), 0.0L);
    const auto one = static_cast<std::size_t>(regression.type_column[1]);
    const auto other = static_cast<std::size_t>(regression.type_column[2]);
    x[one] = 1.0L;
    x[other] = -1.0L;
    const auto solved = DenseRegression::solve_with(regression.information(phi, true), x);
    const double expected = static_cast<double>(solved[one] - solved[other]);
    CHECK(contrast(g, 0) == doctest::Approx(expected).epsilon(1e-9));
    CHECK(contrast(g, 1) == doctest::Approx(expected).epsilon(1e-9));
  }
  CHECK(contains(message_of([&] { glm::fit(context, data.counts, data.design(), {.dispersion = Shrunken{}}); }),
                 "shrink"));
}

TEST_CASE("glm::fit: columns in memory, in order or not, of several types, give the results of rows bit by bit") {
  const auto data = simulate_counts(70, 400, 4, 3, 0.5, 77);
  const auto columns = data.counts.transposed();  // its rows are the columns of genes x cells
  CpuContext one({.threads = 1}), many({.threads = 3});
  const auto base = glm::fit(one, data.counts, data.design());
  std::vector<std::uint16_t> small(columns.values().begin(), columns.values().end());
  std::vector<float> real(columns.values().begin(), columns.values().end());
  auto reversed = columns.column_indices();
  auto reversed_values = real;
  for (Index cell = 0; cell < 400; ++cell) {
    const auto begin = columns.row_offsets()[static_cast<std::size_t>(cell)],
               end = columns.row_offsets()[static_cast<std::size_t>(cell) + 1];
    std::reverse(reversed.begin() + begin, reversed.begin() + end);
    std::reverse(reversed_values.begin() + begin, reversed_values.begin() + end);
  }
  const auto same = [&](const glm::FitResults& results) {
    for (Index g = 0; g < 70; ++g) {
      CHECK(results.dispersion[g] == base.dispersion[g]);
      CHECK(results.log_likelihood[g] == base.log_likelihood[g]);
      for (Index t = 0; t < 4; ++t) {
        const double a = results.log_prototypes(t, g), b = base.log_prototypes(t, g);
        CHECK((a == b || (std::isnan(a) && std::isnan(b))));
      }
    }
  };
  using Shorts = glm::CscGeneBlocks<std::uint16_t, Index, std::int32_t>;
  using Reals = glm::CscGeneBlocks<float, Index, std::int32_t>;
  same(glm::fit(many, Shorts(70, 400, columns.row_offsets(), columns.column_indices(), small), data.design()));
  same(glm::fit(one, Reals(70, 400, columns.row_offsets(), columns.column_indices(), real), data.design()));
  same(glm::fit(many, Reals(70, 400, columns.row_offsets(), reversed, reversed_values), data.design()));
  glm::FitOptions blocks{.block_genes = 9};
  Index done = 0;
  blocks.progress = [&](Index now, Index) { done = now; };
  same(glm::fit(many, Shorts(70, 400, columns.row_offsets(), columns.column_indices(), small), data.design(), blocks));
  CHECK(done == 70);
  real[5] = 0.5f;
  CHECK(contains(message_of([&] {
                   glm::fit(one, Reals(70, 400, columns.row_offsets(), columns.column_indices(), real), data.design());
                 }),
                 "not a count"));
}

TEST_CASE("glm::fit: 95 % intervals of log prototypes cover the truth in 93 to 97 % of cases") {
  // 450 genes, 3 types x 2 batches of 60 cells a group, 30 to 600 expected counts in each type.
  Cells cells;
  RandomStream random(101);
  for (Index i = 0; i < 360; ++i) {
    cells.type.push_back(i % 3);
    cells.batch.push_back(i / 3 % 2);
    cells.size_factors.push_back(std::exp(random.normal(0.0, 0.3)));
  }
  constexpr Index genes = 450;
  Matrix<double> truth(3, genes);
  Matrix<int> counts(genes, 360);
  for (Index g = 0; g < genes; ++g) {
    const double level = std::log(0.35) + 2.2 * random.uniform(), phi = 0.05 + 0.6 * random.uniform();
    const double batch = random.normal(0.0, 0.3);
    for (Index t = 0; t < 3; ++t) truth(t, g) = level + 0.8 * random.uniform();
    for (Index i = 0; i < 360; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double eta = truth(cells.type[at], g) + (cells.batch[at] == 1 ? batch : 0.0);
      counts(g, i) = static_cast<int>(random.negative_binomial(cells.size_factors[at] * std::exp(eta), phi));
    }
    for (Index t = 0; t < 3; ++t) truth(t, g) += std::log(0.5 + 0.5 * std::exp(batch));
  }
  CpuContext context({.threads = 2});
  const auto results = glm::fit(context, counts.view(), cells.design(), {.size_factors = cells.size_factors});
  Index covered = 0;
  for (Index g = 0; g < genes; ++g)
    for (Index t = 0; t < 3; ++t)
      covered += std::abs(results.log_prototypes(t, g) - truth(t, g)) <= 1.959964 * results.log_prototype_errors(t, g);
  const double share = static_cast<double>(covered) / static_cast<double>(3 * genes);
  CAPTURE(share);
  CHECK(share > 0.93);
  CHECK(share < 0.97);
}
