#include <eosin/glm/fit.hpp>

#include <eosin/io/matrix_market.hpp>
#include <eosin/io/table.hpp>

#include <doctest/doctest.h>

#include "support/golden_folder.hpp"

#include "glm/dense_reference.hpp"
#include "support/message.hpp"

#include <array>
#include <filesystem>
#include <numeric>
#include <utility>

using namespace eosin;
using glm::CoxReid, glm::Fixed, glm::FitStatus, glm::MaximumLikelihood;
using testing::contains, testing::DenseRegression, testing::message_of, testing::simulate_counts;

namespace {

struct GoldenSet {
  SparseMatrix<int> counts;
  std::vector<Index> type, batch;
  std::vector<double> size_factors, dispersion;
  io::Table exact;

  glm::Design design() const {
    return glm::Design(glm::Categories::from_codes(type, "T"), glm::Categories::from_codes(batch, "B"));
  }
};

GoldenSet load_golden_set() {
  const std::filesystem::path folder = testing::golden_folder() / "glm" / "small";
  GoldenSet set;
  set.counts = io::read_matrix_market<int>(folder / "counts.mtx.gz");
  const auto cells = io::Table::read(folder / "cells.csv");
  for (Index i = 0; i < cells.rows(); ++i) {
    set.type.push_back(cells.integer(i, cells.column("type")));
    set.batch.push_back(cells.integer(i, cells.column("batch")));
    set.size_factors.push_back(cells.number(i, cells.column("size_factor")));
  }
  const auto truth = io::Table::read(folder / "truth.csv");
  for (Index g = 0; g < truth.rows(); ++g) {
    const double phi = truth.number(g, truth.column("theta"));
    set.dispersion.push_back(phi == 0.0 ? 1e-8 : phi);
  }
  set.exact = io::Table::read(folder / "exact_fixed_true.csv");
  return set;
}

template <class M>
std::vector<double> dense_row(const SparseMatrix<M>& counts, Index gene) {
  std::vector<double> row(static_cast<std::size_t>(counts.cols()), 0.0);
  const auto entries = counts.row(gene);
  for (std::size_t e = 0; e < entries.columns.size(); ++e)
    row[static_cast<std::size_t>(entries.columns[e])] = static_cast<double>(entries.values[e]);
  return row;
}

/// Largest |a - b| where infinities must agree, relative to 1 + |b|.
double largest_difference(const Matrix<double>& a, const Matrix<double>& b) {
  REQUIRE(a.rows() == b.rows());
  REQUIRE(a.cols() == b.cols());
  double worst = 0.0;
  for (Index r = 0; r < a.rows(); ++r)
    for (Index c = 0; c < a.cols(); ++c) {
      const double x = a(r, c), y = b(r, c);
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const double difference = std::abs(x - y) / (1.0 + std::abs(y));
      worst = std::isnan(difference) ? glm::detail::infinity : std::max(worst, difference);
    }
  return worst;
}

/// Where the maximiser of the adjusted profile lies from phi, in log phi, by Newton on differences in long double.
long double distance_to_maximum(DenseRegression& regression, double phi, double factor) {
  const long double h = 0.01L, x = std::log(static_cast<long double>(phi));
  std::array<long double, 7> f{};
  for (int k = -3; k <= 3; ++k)
    f[static_cast<std::size_t>(k + 3)] = regression.adjusted_profile(std::exp(x + h * k), factor);
  const long double slope = ((f[6] - f[0]) - 9.0L * (f[5] - f[1]) + 45.0L * (f[4] - f[2])) / (60.0L * h);
  const long double bend =
      (2.0L * (f[6] + f[0]) - 27.0L * (f[5] + f[1]) + 270.0L * (f[4] + f[2]) - 490.0L * f[3]) / (180.0L * h * h);
  CHECK(bend < 0.0L);
  return -slope / bend;
}

}  // namespace

TEST_CASE("glm::fit: coefficients of the golden set at given dispersion") {
  const GoldenSet set = load_golden_set();
  CpuContext context({.threads = 2});
  const auto results = glm::fit(context, set.counts, set.design(),
                                {.dispersion = Fixed{set.dispersion}, .size_factors = set.size_factors});
  Index compared = 0;
  double worst = 0.0, worst_deviance = 0.0;
  for (Index g = 0; g < set.exact.rows(); ++g) {
    const Index flag = set.exact.integer(g, set.exact.column("flag"));
    const auto status = results.status[static_cast<std::size_t>(g)];
    CHECK(status == ((flag & 4) != 0 ? FitStatus::no_counts : FitStatus::converged));
    if ((flag & 62) != 0) continue;
    for (Index c = 0; c < 7; ++c) {
      const auto& text = set.exact.text(g, 4 + c);
      const double got = c < 5 ? results.type_coefficients(g, c) : results.batch_coefficients(g, c - 4);
      if (text == "-inf") {
        CHECK(got == -glm::detail::infinity);
      } else {
        worst = std::max(worst, std::abs(got - set.exact.number(g, 4 + c)));
        ++compared;
      }
    }
    const double deviance = set.exact.number(g, set.exact.column("deviance"));
    worst_deviance = std::max(worst_deviance, std::abs(results.deviance[g] - deviance) / (1.0 + deviance));
  }
  CHECK(compared > 500);
  CHECK(worst <= 1e-9);
  CHECK(worst_deviance <= 1e-9);
}

TEST_CASE("glm::fit: the dispersion maximises the (adjusted) profile likelihood") {
  const GoldenSet set = load_golden_set();
  CpuContext context({.threads = 2});
  for (const double factor : {0.99, 0.0}) {
    glm::FitOptions options;
    options.size_factors = set.size_factors;
    if (factor == 0.0) options.dispersion = MaximumLikelihood{};
    const auto results = glm::fit(context, set.counts, set.design(), options);
    Index interior = 0, boundary = 0;
    for (const Index g : {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 28, 30, 31, 32, 46, 49, 71, 92}) {
      CAPTURE(g);
      const double phi = results.dispersion[g];
      DenseRegression regression(dense_row(set.counts, g), set.size_factors, set.type, set.batch, 5, 3);
      if (results.dispersion_status[static_cast<std::size_t>(g)] == glm::DispersionStatus::zero) {
        CHECK(phi == 0.0);
        const long double at_zero = regression.adjusted_profile(0.0L, factor);
        for (const long double other : {1e-4L, 0.01L, 0.1L, 1.0L, 10.0L, 100.0L})
          CHECK(regression.adjusted_profile(other, factor) < at_zero);
        ++boundary;
      } else {
        CHECK(std::abs(distance_to_maximum(regression, phi, factor)) < 1e-7L);
        ++interior;
      }
    }
    CHECK(interior >= 8);
    CHECK(boundary >= 3);
  }
}

TEST_CASE("glm::fit: simulated designs against the dense regression") {
  CpuContext context({.threads = 2});
  std::uint64_t seed = 10;
  for (const auto& shape : {std::pair{1, 1}, {1, 4}, {3, 1}, {7, 3}, {20, 10}})
    for (const double largest : {0.0, 0.5, 100.0}) {
      const Index types = shape.first, batches = shape.second;
      CAPTURE(types);
      CAPTURE(batches);
      CAPTURE(largest);
      const auto data = simulate_counts(10, 400, types, batches, largest, ++seed);
      const auto results = glm::fit(context, data.counts, data.design(),
                                    {.dispersion = Fixed{data.dispersion}, .size_factors = data.size_factors});
      CHECK(results.status[0] == FitStatus::no_counts);
      CHECK(results.type_coefficients(0, 0) == -glm::detail::infinity);
      for (Index g = 1; g < 10; ++g) {
        CAPTURE(g);
        REQUIRE(results.status[static_cast<std::size_t>(g)] != FitStatus::iteration_limit);
        if (results.status[static_cast<std::size_t>(g)] != FitStatus::converged) continue;
        DenseRegression regression(dense_row(data.counts, g), data.size_factors, data.type, data.batch, types, batches);
        const auto phi = static_cast<long double>(data.dispersion[static_cast<std::size_t>(g)]);
        regression.solve(phi);
        const auto check = [&](Index column, double coefficient, double error, bool reference) {
          if (column < 0) {
            CHECK((reference ? coefficient == 0.0 : coefficient == -glm::detail::infinity));
            return;
          }
          const double expected = static_cast<double>(regression.beta[static_cast<std::size_t>(column)]);
          CHECK(std::abs(coefficient - expected) <= 1e-9);
          CHECK(error == doctest::Approx(static_cast<double>(regression.standard_error(phi, column))).epsilon(1e-9));
        };
        for (Index t = 0; t < types; ++t)
          check(regression.type_column[static_cast<std::size_t>(t)], results.type_coefficients(g, t),
                results.type_standard_errors(g, t), false);
        for (Index b = 0; b < batches; ++b)
          check(regression.batch_column[static_cast<std::size_t>(b)], results.batch_coefficients(g, b),
                results.batch_standard_errors(g, b), results.batch_standard_errors(g, b) == 0.0);
      }
    }
}

TEST_CASE("glm::fit: log-likelihood and deviance of one cell type by hand") {
  // Counts 0, 2, 5 at size factors 1: mean 7/3, dispersion 1/2.
  SparseMatrix<int> counts(1, 3, {0, 2}, {1, 2}, {2, 5});
  CpuContext context({.threads = 1});
  const auto results = glm::fit(context, counts, glm::Design(glm::Categories::from_codes({0, 0, 0})),
                                {.dispersion = Fixed{0.5}, .size_factors = std::vector<double>{1.0, 1.0, 1.0}});
  const double mu = 7.0 / 3.0, theta = 2.0;
  const auto log_mass = [&](double y, double mean) {
    return std::lgamma(y + theta) - std::lgamma(theta) - std::lgamma(y + 1.0) +
           theta * std::log(theta / (theta + mean)) + (y > 0.0 ? y * std::log(mean / (theta + mean)) : 0.0);
  };
  double likelihood = 0.0, deviance = 0.0;
  for (const double y : {0.0, 2.0, 5.0}) {
    likelihood += log_mass(y, mu);
    deviance += 2.0 * (log_mass(y, y) - log_mass(y, mu));
  }
  CHECK(results.type_coefficients(0, 0) == doctest::Approx(std::log(mu)).epsilon(1e-13));
  CHECK(results.log_likelihood[0] == doctest::Approx(likelihood).epsilon(1e-12));
  CHECK(results.deviance[0] == doctest::Approx(deviance).epsilon(1e-12));
  CHECK(results.mean[0] == doctest::Approx(mu));
}

TEST_CASE("glm::fit: results do not depend on threads, blocks, the order of cells or genes, or the kind of storage") {
  const auto data = simulate_counts(30, 500, 4, 3, 0.6, 5);
  CpuContext one({.threads = 1}), many({.threads = 4});
  const glm::FitOptions options{.size_factors = data.size_factors};
  const auto base = glm::fit(one, data.counts, data.design(), options);

  auto other_options = options;
  other_options.block_genes = 7;
  const auto threaded = glm::fit(many, data.counts, data.design(), other_options);
  const auto dense = data.counts.dense();
  const auto from_dense = glm::fit(many, dense.view(), data.design(), options);
  const auto from_cells =
      glm::fit(many, data.counts.transposed(), data.design(), options, glm::Orientation::cells_by_genes);
  for (const auto* other : {&threaded, &from_dense, &from_cells}) {
    CHECK(largest_difference(other->type_coefficients, base.type_coefficients) == 0.0);
    CHECK(largest_difference(other->batch_coefficients, base.batch_coefficients) == 0.0);
    CHECK(largest_difference(other->log_prototype_errors, base.log_prototype_errors) == 0.0);
    for (Index g = 0; g < 30; ++g) CHECK(other->dispersion[g] == base.dispersion[g]);
  }

  RandomStream random(3);
  const auto cell_order = random.permutation(500), gene_order = random.permutation(30);
  auto permuted = data;
  permuted.counts = data.counts.select_columns(cell_order).select_rows(gene_order);
  for (std::size_t i = 0; i < 500; ++i) {
    const auto from = static_cast<std::size_t>(cell_order[i]);
    permuted.type[i] = data.type[from];
    permuted.batch[i] = data.batch[from];
    permuted.size_factors[i] = data.size_factors[from];
  }
  const auto shuffled = glm::fit(many, permuted.counts, permuted.design(), {.size_factors = permuted.size_factors});
  for (Index g = 0; g < 30; ++g) {
    const Index from = gene_order[static_cast<std::size_t>(g)];
    CHECK(shuffled.dispersion[g] == doctest::Approx(base.dispersion[from]).epsilon(1e-9));
    for (Index t = 0; t < 4; ++t) {
      const double a = shuffled.log_prototypes(t, g), b = base.log_prototypes(t, from);
      CHECK((a == b || std::abs(a - b) < 1e-9));
    }
  }
}

TEST_CASE("glm::fit: scaling size factors shifts type coefficients; relabelling batches leaves prototypes") {
  auto data = simulate_counts(20, 400, 3, 4, 0.4, 6);
  CpuContext context({.threads = 2});
  const glm::FitOptions options{.dispersion = Fixed{0.3}, .size_factors = data.size_factors};
  const auto base = glm::fit(context, data.counts, data.design(), options);

  auto scaled = data.size_factors;
  for (double& s : scaled) s *= 1000.0;
  auto scaled_options = options;
  scaled_options.size_factors = scaled;
  const auto shifted = glm::fit(context, data.counts, data.design(), scaled_options);
  for (auto& b : data.batch) b = 3 - b;
  const auto relabelled = glm::fit(context, data.counts, data.design(), options);
  for (Index g = 0; g < 20; ++g) {
    if (base.status[static_cast<std::size_t>(g)] != FitStatus::converged) continue;
    for (Index t = 0; t < 3; ++t) {
      const double b = base.log_prototypes(t, g);
      if (std::isinf(b)) {
        CHECK(relabelled.log_prototypes(t, g) == b);
        CHECK(shifted.log_prototypes(t, g) == b);
        continue;
      }
      CHECK(std::abs(relabelled.log_prototypes(t, g) - b) < 1e-10);
      CHECK(std::abs(relabelled.log_prototype_errors(t, g) - base.log_prototype_errors(t, g)) < 1e-9);
      CHECK(std::abs(shifted.type_coefficients(g, t) - base.type_coefficients(g, t) + std::log(1000.0)) < 1e-10);
    }
    for (Index k = 0; k < 4; ++k) {
      const double a = shifted.batch_coefficients(g, k), b = base.batch_coefficients(g, k);
      CHECK((a == b || std::abs(a - b) < 1e-10));
    }
  }
}

TEST_CASE("glm::fit: what has no finite estimate is said") {
  const double inf = glm::detail::infinity;
  CpuContext context({.threads = 1});
  // Cells as (type, batch, counts of the genes). Observed groups: A in b0, b1, b2; B in b1, b2.
  const std::vector<Index> type{0, 0, 0, 0, 1, 1, 1}, batch{0, 0, 1, 2, 1, 1, 2};
  const glm::Design design(glm::Categories::from_codes(type, "T"), glm::Categories::from_codes(batch, "B"));
  Matrix<int> counts(4, 7);
  const int table[4][7] = {
      {1, 3, 0, 0, 2, 4, 1},  // A only in b0 (its groups in b1, b2 are 0), B in b1 and b2: A's arcs lead to B's part
      {1, 3, 2, 0, 0, 0, 0},  // no counts in B nor in b2
      {2, 2, 0, 1, 1, 3, 0},  // a cycle of links and arcs: finite
      {0, 0, 0, 2, 1, 2, 3},  // no counts in b0: the reference is b1
  };
  for (Index g = 0; g < 4; ++g)
    for (Index i = 0; i < 7; ++i) counts(g, i) = table[g][i];
  const glm::FitOptions options{.dispersion = Fixed{0.1}, .size_factors = std::vector<double>(7, 1.0)};
  const auto results = glm::fit(context, counts.view(), design, options);

  CHECK(results.status[0] == FitStatus::separated);
  CHECK(results.type_coefficients(0, 0) == doctest::Approx(std::log(2.0)));
  CHECK(std::isnan(results.type_coefficients(0, 1)));
  CHECK(std::isnan(results.batch_coefficients(0, 1)));
  // A has mean 2 in b0 and 0 in the others; B's mean in b0 is not determined.
  CHECK(results.log_prototypes(0, 0) == doctest::Approx(std::log(2.0 / 3.0)));
  CHECK(std::isnan(results.log_prototypes(1, 0)));

  CHECK(results.status[1] == FitStatus::converged);
  CHECK(results.type_coefficients(1, 1) == -inf);
  CHECK(results.log_prototypes(1, 1) == -inf);
  CHECK(results.batch_coefficients(1, 2) == -inf);
  CHECK(results.log_prototypes(0, 1) == doctest::Approx(std::log((2.0 + 2.0 + 0.0) / 3.0)));

  CHECK(results.status[2] == FitStatus::converged);
  for (Index b = 0; b < 3; ++b) CHECK(std::isfinite(results.batch_coefficients(2, b)));

  CHECK(results.batch_coefficients(3, 0) == -inf);
  CHECK(results.batch_coefficients(3, 1) == 0.0);

  // Without its zero batches a gene's counts may fall apart: A is in b0 and b2, B in b1 and b2, nothing in b2.
  const glm::Design linked(glm::Categories::from_codes({0, 0, 1, 1}, "T"),
                           glm::Categories::from_codes({0, 2, 1, 2}, "B"));
  Matrix<int> apart(1, 4);
  apart(0, 0) = 3;
  apart(0, 2) = 5;
  auto four = options;
  four.size_factors = std::vector<double>(4, 1.0);
  const auto fallen = glm::fit(context, apart.view(), linked, four);
  CHECK(fallen.status[0] == FitStatus::disconnected);
  CHECK(fallen.type_coefficients(0, 0) == doctest::Approx(std::log(3.0)));
  CHECK(std::isnan(fallen.log_prototypes(0, 0)));
}

TEST_CASE("glm::fit: standard errors of prototypes by the delta method") {
  const auto data = simulate_counts(8, 300, 3, 3, 0.5, 21);
  CpuContext context({.threads = 1});
  const std::vector<double> weights{1.0, 2.0, 5.0};
  const auto results =
      glm::fit(context, data.counts, data.design(),
               {.dispersion = Fixed{0.4}, .size_factors = data.size_factors, .batch_weights = weights});
  for (Index g = 2; g < 8; ++g) {
    if (results.status[static_cast<std::size_t>(g)] != FitStatus::converged) continue;
    DenseRegression regression(dense_row(data.counts, g), data.size_factors, data.type, data.batch, 3, 3);
    if (regression.columns != 5) continue;
    regression.solve(0.4L);
    // A prototype's log at coefficients moved along the inverse information: its variance is gradient' inverse
    // gradient.
    const auto log_prototype = [&](const std::vector<long double>& beta, std::size_t t) {
      return beta[t] + std::log((1.0L + 2.0L * std::exp(beta[3]) + 5.0L * std::exp(beta[4])) / 8.0L);
    };
    for (std::size_t t = 0; t < 3; ++t) {
      const long double total = 1.0L + 2.0L * std::exp(regression.beta[3]) + 5.0L * std::exp(regression.beta[4]);
      std::vector<long double> gradient(5, 0.0L);
      gradient[t] = 1.0L;
      gradient[3] = 2.0L * std::exp(regression.beta[3]) / total;
      gradient[4] = 5.0L * std::exp(regression.beta[4]) / total;
      const auto solved = DenseRegression::solve_with(regression.information(0.4L, true), gradient);
      long double variance = 0.0L;
      for (std::size_t c = 0; c < 5; ++c) variance += gradient[c] * solved[c];
      CHECK(results.log_prototypes(static_cast<Index>(t), g) ==
            doctest::Approx(static_cast<double>(log_prototype(regression.beta, t))).epsilon(1e-10));
      CHECK(results.log_prototype_errors(static_cast<Index>(t), g) ==
            doctest::Approx(static_cast<double>(std::sqrt(variance))).epsilon(1e-9));
    }
  }
}

TEST_CASE("glm::fit: progress, cancellation, cells left out") {
  const auto data = simulate_counts(20, 100, 2, 2, 0.3, 8);
  CpuContext context({.threads = 2});
  std::vector<Index> seen;
  glm::FitOptions options{.size_factors = data.size_factors, .block_genes = 8};
  options.progress = [&](Index done, Index all) {
    CHECK(all == 20);
    seen.push_back(done);
  };
  const auto base = glm::fit(context, data.counts, data.design(), options);
  CHECK(seen == std::vector<Index>{8, 16, 20});

  std::stop_source stop;
  options.cancellation = stop.get_token();
  options.progress = [&](Index, Index) { stop.request_stop(); };
  CHECK_THROWS_AS(glm::fit(context, data.counts, data.design(), options), Cancelled);

  // A cell without a label weighs nothing, as if it were not there.
  auto partial = data;
  partial.type[50] = -1;
  auto shorter = data;
  std::vector<Index> kept(100);
  std::iota(kept.begin(), kept.end(), 0);
  kept.erase(kept.begin() + 50);
  shorter.counts = data.counts.select_columns(kept);
  shorter.type.erase(shorter.type.begin() + 50);
  shorter.batch.erase(shorter.batch.begin() + 50);
  shorter.size_factors.erase(shorter.size_factors.begin() + 50);
  const auto left_out = glm::fit(context, partial.counts, partial.design(), {.size_factors = partial.size_factors});
  const auto without = glm::fit(context, shorter.counts, shorter.design(), {.size_factors = shorter.size_factors});
  CHECK(left_out.cells_used == 99);
  CHECK(partial.design().dropped() == 1);
  CHECK(largest_difference(left_out.type_coefficients, without.type_coefficients) == 0.0);
}

TEST_CASE("glm::fit: bad input is refused") {
  const auto data = simulate_counts(4, 60, 2, 2, 0.3, 9);
  CpuContext context({.threads = 1});
  const auto design = data.design();
  const auto fit_with = [&](glm::FitOptions options) {
    return message_of([&] { glm::fit(context, data.counts, design, options); });
  };
  CHECK(contains(fit_with({.size_factors = std::vector<double>(59, 1.0)}), "59"));
  auto factors = data.size_factors;
  factors[7] = std::nan("");
  CHECK(contains(fit_with({.size_factors = factors}), "size factor of cell 7"));
  factors[7] = -1.0;
  CHECK(contains(fit_with({.size_factors = factors}), "size factor of cell 7"));
  std::vector<double> zero = data.size_factors;
  zero[static_cast<std::size_t>(data.counts.row(2).columns[0])] = 0.0;
  CHECK(contains(fit_with({.size_factors = zero}), "size factor 0 but a count"));
  CHECK(contains(fit_with({.dispersion = Fixed{-0.1}}), "dispersion"));
  CHECK(contains(fit_with({.dispersion = Fixed{std::vector<double>(3, 0.1)}}), "dispersion has 3"));
  CHECK(contains(fit_with({.dispersion = CoxReid{.factor = 2.0}}), "factor"));
  CHECK(contains(fit_with({.batch_weights = std::vector<double>{0.0, 0.0}}), "batch_weights"));
  CHECK(contains(fit_with({.max_iterations = 0}), "max_iterations"));
  const SparseMatrix<double> fractional(4, 60, {0, 1, 1, 1, 1}, {3}, {1.5});
  CHECK(contains(message_of([&] { glm::fit(context, fractional, design, {.size_factors = data.size_factors}); }),
                 "gene 0, cell 3"));
  const SparseMatrix<double> negative(4, 60, {0, 0, 1, 1, 1}, {5}, {-2.0});
  CHECK(contains(message_of([&] { glm::fit(context, negative, design, {.size_factors = data.size_factors}); }),
                 "gene 1, cell 5"));
  CHECK_THROWS_AS(glm::fit(context, data.counts.transposed(), design), ShapeError);
}
