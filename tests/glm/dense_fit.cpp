#include <eosin/glm/dense_fit.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"
#include "support/message.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

using namespace eosin;
using glm::CoxReid, glm::Fixed, glm::FitStatus, glm::MaximumLikelihood;
using testing::contains, testing::message_of, testing::simulate_counts;

namespace {

glm::DenseDesign with_batches(const testing::SimulatedCounts& data) {
  return glm::DenseDesign(glm::Categories::from_codes(data.type, "T"),
                          {{"batch", glm::Categories::from_codes(data.batch, "B")}});
}

/// Largest |a - b| relative to 1 + |b|; infinities and NaN must agree.
double difference(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0.0;
  const double d = std::abs(a - b) / (1.0 + std::abs(b));
  return std::isnan(d) ? glm::detail::infinity : d;
}

/// Regression in long double on dense columns, Newton on the likelihood.
struct Reference {
  using Real = long double;
  std::vector<std::vector<Real>> x;  // [cells][columns]
  std::vector<Real> y, offset, beta;

  Real mean(std::size_t i) const {
    Real eta = offset[i];
    for (std::size_t c = 0; c < beta.size(); ++c) eta += x[i][c] * beta[c];
    return std::exp(eta);
  }
  std::vector<Real> information(Real phi, bool observed) const {
    const std::size_t n = beta.size();
    std::vector<Real> matrix(n * n, 0.0L);
    for (std::size_t i = 0; i < y.size(); ++i) {
      const Real mu = mean(i), r = 1.0L / (1.0L + phi * mu);
      const Real w = observed ? mu * r * r * (1.0L + phi * y[i]) : mu * r;
      for (std::size_t a = 0; a < n; ++a)
        for (std::size_t b = 0; b < n; ++b) matrix[a * n + b] += w * x[i][a] * x[i][b];
    }
    return matrix;
  }
  void solve(Real phi) {
    for (int step = 0; step < 200; ++step) {
      std::vector<Real> score(beta.size(), 0.0L);
      for (std::size_t i = 0; i < y.size(); ++i) {
        const Real mu = mean(i);
        for (std::size_t c = 0; c < beta.size(); ++c) score[c] += x[i][c] * (y[i] - mu) / (1.0L + phi * mu);
      }
      const auto move = testing::DenseRegression::solve_with(information(phi, true), score);
      Real largest = 0.0L;
      for (std::size_t i = 0; i < y.size(); ++i) {
        Real change = 0.0L;
        for (std::size_t c = 0; c < beta.size(); ++c) change += x[i][c] * move[c];
        largest = std::max(largest, std::abs(change));
      }
      const Real length = largest > 0.5L ? std::log1p(largest) / largest : 1.0L;
      for (std::size_t c = 0; c < beta.size(); ++c) beta[c] += length * move[c];
      if (largest < 1e-13L) return;
    }
  }
  Real adjusted_profile(Real phi, Real factor) {
    solve(phi);
    Real value = 0.0L;
    for (std::size_t i = 0; i < y.size(); ++i) {
      const Real mu = mean(i);
      for (Real j = 1.0L; j < y[i]; j += 1.0L) value += std::log1p(phi * j);
      value += y[i] * std::log(mu) - (phi > 0.0L ? (y[i] + 1.0L / phi) * std::log1p(phi * mu) : mu);
    }
    const auto lower = testing::DenseRegression::cholesky(information(phi, false));
    for (std::size_t c = 0; c < beta.size(); ++c) value -= factor * std::log(lower[c * beta.size() + c]);
    return value;
  }
  Real variance(Real phi, std::vector<Real> weights) const {
    const auto solved = testing::DenseRegression::solve_with(information(phi, true), weights);
    Real sum = 0.0L;
    for (std::size_t c = 0; c < weights.size(); ++c) sum += weights[c] * solved[c];
    return sum;
  }
};

struct Continuous {
  SparseMatrix<int> counts;
  std::vector<Index> type, batch;
  std::vector<double> size_factors, offsets;
  Matrix<double> x;  // age (far from 0), dose

  glm::DenseDesign design() const {
    return glm::DenseDesign(glm::Categories::from_codes(type, "T"),
                            {{"batch", glm::Categories::from_codes(batch, "B")}}, {{"age", "dose"}, x});
  }
};

Continuous simulate_continuous(Index genes, Index cells, double dispersion, std::uint64_t seed, double age_effect) {
  RandomStream random(seed);
  Continuous data;
  data.x = Matrix<double>(cells, 2);
  std::vector<Triplet<int>> entries;
  for (Index i = 0; i < cells; ++i) {
    data.type.push_back(i < 3 ? i : random.below(3));
    data.batch.push_back(i < 2 ? i : random.below(2));
    data.size_factors.push_back(std::exp(random.normal(0.0, 0.4)));
    data.offsets.push_back(random.normal(0.0, 0.3));
    data.x(i, 0) = 60.0 + random.normal(0.0, 12.0);
    data.x(i, 1) = random.uniform() + 0.3 * static_cast<double>(data.type.back());
  }
  for (Index g = 0; g < genes; ++g) {
    const double level = random.normal(0.5, 0.8);
    for (Index i = 0; i < cells; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double eta = level + 0.4 * static_cast<double>(data.type[at]) - 0.3 * static_cast<double>(data.batch[at]) +
                         age_effect * (data.x(i, 0) - 60.0) + 0.8 * data.x(i, 1) + data.offsets[at];
      const auto y = random.negative_binomial(data.size_factors[at] * std::exp(eta), dispersion);
      if (y > 0) entries.push_back({g, i, static_cast<int>(y)});
    }
  }
  data.counts = SparseMatrix<int>::from_triplets(genes, cells, entries);
  return data;
}

Reference reference_of(const Continuous& data, Index gene) {
  Reference reference;
  for (std::size_t i = 0; i < data.type.size(); ++i) {
    const auto cell = static_cast<Index>(i);
    reference.x.push_back({data.type[i] == 0 ? 1.0L : 0.0L, data.type[i] == 1 ? 1.0L : 0.0L,
                           data.type[i] == 2 ? 1.0L : 0.0L, data.batch[i] == 1 ? 1.0L : 0.0L, data.x(cell, 0),
                           data.x(cell, 1)});
    reference.y.push_back(data.counts.at(gene, cell));
    reference.offset.push_back(std::log(static_cast<long double>(data.size_factors[i])) +
                               static_cast<long double>(data.offsets[i]));
  }
  reference.beta.assign(6, 0.0L);
  return reference;
}

}  // namespace

TEST_CASE("glm::fit_dense: what glm::fit gives on types x batches") {
  CpuContext context({.threads = 2});
  const std::vector<glm::Dispersion> choices{Fixed{0.0}, Fixed{0.7}, MaximumLikelihood{}, CoxReid{}};
  Index odd = 0;
  for (std::size_t choice = 0; choice < choices.size(); ++choice) {
    CAPTURE(choice);
    const auto data = simulate_counts(120, choice < 2 ? 80 : 150, 5, 4, 1.5, 31 + choice);
    const auto expected = glm::fit(context, data.counts, data.design(),
                                   {.dispersion = choices[choice], .size_factors = data.size_factors});
    const auto got = glm::fit_dense(context, data.counts, with_batches(data),
                                    {.dispersion = choices[choice], .size_factors = data.size_factors});
    double worst = 0.0, worst_error = 0.0, worst_dispersion = 0.0, worst_likelihood = 0.0;
    for (Index g = 0; g < 120; ++g) {
      CAPTURE(g);
      const auto at = static_cast<std::size_t>(g);
      CHECK(got.status[at] == expected.status[at]);
      CHECK(got.dispersion_status[at] == expected.dispersion_status[at]);
      odd += got.status[at] == FitStatus::separated || got.status[at] == FitStatus::disconnected;
      worst_dispersion =
          std::max(worst_dispersion, std::abs(std::log1p(got.dispersion[g]) - std::log1p(expected.dispersion[g])));
      worst_likelihood = std::max({worst_likelihood, difference(got.log_likelihood[g], expected.log_likelihood[g]),
                                   difference(got.deviance[g], expected.deviance[g])});
      for (Index c = 0; c < 9; ++c) {
        const double b = c < 5 ? expected.type_coefficients(g, c) : expected.batch_coefficients(g, c - 5);
        worst = std::max(worst, difference(got.coefficients(g, c), b));
        const double s = c < 5 ? expected.type_standard_errors(g, c) : expected.batch_standard_errors(g, c - 5);
        worst_error = std::max(worst_error, difference(got.standard_errors(g, c), s));
      }
    }
    CHECK(worst < 1e-10);
    // fit() takes the information at the point before its last step, which is below 1e-9.
    CHECK(worst_error < 1e-9);
    CHECK(worst_dispersion < 1e-9);
    // fit() reads its sums from tables; the deviance is a small difference of large sums.
    CHECK(worst_likelihood < 1e-10);
    CHECK(got.mean[5] == doctest::Approx(expected.mean[5]));
    CHECK(got.cells_used == expected.cells_used);
  }
  CHECK(odd > 3);
}

TEST_CASE("glm::fit_dense: continuous covariates and offsets against long double") {
  const Continuous data = simulate_continuous(6, 220, 0.4, 5, 0.02);
  CpuContext context({.threads = 2});
  for (const bool per_gene : {false, true}) {
    glm::DenseFitOptions options;
    options.size_factors = data.size_factors;
    options.dispersion = Fixed{0.35};
    if (per_gene) {
      options.gene_log_offsets = [&](Index, VectorView<double> out) {
        std::copy(data.offsets.begin(), data.offsets.end(), out.data());
      };
    } else {
      options.log_offsets = data.offsets;
    }
    std::vector<double> contrast_variance(6), contrast(6);
    options.inspect = [&](Index gene, glm::DenseSolver& fit) {
      const std::vector<double> weights{-1.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.5};
      contrast[static_cast<std::size_t>(gene)] = fit.estimate(weights);
      contrast_variance[static_cast<std::size_t>(gene)] = fit.variance(weights);
    };
    const auto got = glm::fit_dense(context, data.counts, data.design(), options);
    CHECK(got.column_names ==
          std::vector<std::string>{"type:T0", "type:T1", "type:T2", "batch:B0", "batch:B1", "age", "dose"});
    for (Index g = 0; g < 6; ++g) {
      CAPTURE(g);
      Reference reference = reference_of(data, g);
      reference.solve(0.35L);
      const std::array<Index, 6> column{0, 1, 2, 4, 5, 6};
      for (std::size_t c = 0; c < 6; ++c) {
        CHECK(difference(got.coefficients(g, column[c]), static_cast<double>(reference.beta[c])) < 1e-10);
        std::vector<long double> unit(6, 0.0L);
        unit[c] = 1.0L;
        const double error = static_cast<double>(std::sqrt(reference.variance(0.35L, unit)));
        CHECK(std::abs(got.standard_errors(g, column[c]) / error - 1.0) < 1e-9);
      }
      CHECK(got.coefficients(g, 3) == 0.0);
      CHECK(got.standard_errors(g, 3) == 0.0);
      const double expected = static_cast<double>(-reference.beta[0] + reference.beta[2] + 2.0L * reference.beta[4] +
                                                  0.5L * reference.beta[5]);
      CHECK(difference(contrast[static_cast<std::size_t>(g)], expected) < 1e-10);
      const double variance = static_cast<double>(reference.variance(0.35L, {-1.0L, 0.0L, 1.0L, 0.0L, 2.0L, 0.5L}));
      CHECK(std::abs(contrast_variance[static_cast<std::size_t>(g)] / variance - 1.0) < 1e-9);
    }
  }
}

TEST_CASE("glm::fit_dense: the dispersion maximises the adjusted profile") {
  const Continuous data = simulate_continuous(8, 160, 0.5, 8, 0.0);
  CpuContext context({.threads = 2});
  glm::DenseFitOptions options;
  options.size_factors = data.size_factors;
  options.log_offsets = data.offsets;
  const auto got = glm::fit_dense(context, data.counts, data.design(), options);
  Index interior = 0;
  for (Index g = 0; g < 8; ++g) {
    if (got.dispersion_status[static_cast<std::size_t>(g)] != glm::DispersionStatus::maximum) continue;
    ++interior;
    Reference reference = reference_of(data, g);
    const long double h = 0.01L, x = std::log(static_cast<long double>(got.dispersion[g]));
    std::array<long double, 7> f{};
    for (int k = -3; k <= 3; ++k)
      f[static_cast<std::size_t>(k + 3)] = reference.adjusted_profile(std::exp(x + h * k), 0.99L);
    const long double slope = ((f[6] - f[0]) - 9.0L * (f[5] - f[1]) + 45.0L * (f[4] - f[2])) / (60.0L * h);
    const long double bend =
        (2.0L * (f[6] + f[0]) - 27.0L * (f[5] + f[1]) + 270.0L * (f[4] + f[2]) - 490.0L * f[3]) / (180.0L * h * h);
    CHECK(bend < 0.0L);
    CHECK(std::abs(slope / bend) < 1e-7L);
  }
  CHECK(interior >= 5);
}

TEST_CASE("glm::fit_dense: three factors, exact separation") {
  // Batch and sex cross; no cell of T1 in B1/female has a count, nothing else holds both coefficients.
  std::vector<Index> type, batch, sex;
  std::vector<Triplet<int>> entries;
  const auto add = [&](Index t, Index b, Index s, int count) {
    if (count > 0) entries.push_back({0, static_cast<Index>(type.size()), count});
    type.push_back(t);
    batch.push_back(b);
    sex.push_back(s);
  };
  for (int copy = 0; copy < 3; ++copy)
    for (Index t = 0; t < 2; ++t)
      for (Index b = 0; b < 2; ++b)
        for (Index s = 0; s < 2; ++s)
          if (t + b + s != 3) add(t, b, s, t + b + s == 2 ? 2 + copy : 0);
  const Index cells = static_cast<Index>(type.size());
  const auto counts = SparseMatrix<int>::from_triplets(1, cells, entries);
  const glm::DenseDesign design(
      glm::Categories::from_codes(type, "T"),
      {{"batch", glm::Categories::from_codes(batch, "B")}, {"sex", glm::Categories::from_codes(sex, "S")}});
  CpuContext context({.threads = 1});
  const auto got = glm::fit_dense(
      context, counts, design,
      {.dispersion = Fixed{0.1}, .size_factors = std::vector<double>(static_cast<std::size_t>(cells), 1.0)});
  CHECK(got.status[0] == FitStatus::separated);
  // Three groups with counts are left for four coefficients.
  for (const Index c : {0, 1, 3, 5}) CHECK(std::isnan(got.coefficients(0, c)));
  CHECK(got.coefficients(0, 2) == 0.0);
  CHECK(got.coefficients(0, 4) == 0.0);
  // Each of the groups is fitted by its own mean.
  const double phi = 0.1, m = 3.0;
  double expected = 0.0;
  for (const double y : {2.0, 3.0, 4.0})
    expected += 3.0 * (std::lgamma(y + 1 / phi) - std::lgamma(1 / phi) - std::lgamma(y + 1) + y * std::log(phi * m) -
                       (y + 1 / phi) * std::log1p(phi * m));
  CHECK(got.log_likelihood[0] == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("glm::fit_dense: results do not depend on threads, units of a covariate shift nothing else") {
  const Continuous data = simulate_continuous(20, 180, 0.3, 9, 0.01);
  glm::DenseFitOptions options;
  options.size_factors = data.size_factors;
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto a = glm::fit_dense(one, data.counts, data.design(), options);
  options.block_genes = 3;
  const auto b = glm::fit_dense(three, data.counts, data.design(), options);
  for (Index g = 0; g < 20; ++g)
    for (Index c = 0; c < 7; ++c) CHECK(difference(a.coefficients(g, c), b.coefficients(g, c)) == 0.0);
  Continuous other = data;
  for (Index i = 0; i < 180; ++i) other.x(i, 0) = 1000.0 * data.x(i, 0);
  const auto scaled = glm::fit_dense(one, data.counts, other.design(), options);
  for (Index g = 0; g < 20; ++g) {
    CHECK(difference(scaled.coefficients(g, 0), a.coefficients(g, 0)) < 1e-9);
    CHECK(std::abs(1000.0 * scaled.coefficients(g, 5) - a.coefficients(g, 5)) < 1e-9);
    CHECK(std::abs(1000.0 * scaled.standard_errors(g, 5) / a.standard_errors(g, 5) - 1.0) < 1e-8);
  }
}

TEST_CASE("glm::fit_dense: Wald tests of a covariate without effect keep their level") {
  const Continuous data = simulate_continuous(600, 150, 0.5, 10, 0.0);
  CpuContext context({.threads = 2});
  glm::DenseFitOptions options;
  options.size_factors = data.size_factors;
  options.log_offsets = data.offsets;
  const auto got = glm::fit_dense(context, data.counts, data.design(), options);
  int rejected = 0;
  for (Index g = 0; g < 600; ++g) rejected += std::abs(got.coefficients(g, 5) / got.standard_errors(g, 5)) > 1.959964;
  CAPTURE(rejected);
  // Binomial(600, 0.05): 30 +- 5.3; Wald's test is a little liberal with 144 degrees of freedom.
  CHECK(rejected > 14);
  CHECK(rejected < 50);
}

TEST_CASE("glm::fit_dense: bad input is named") {
  const std::vector<Index> type{0, 0, 1, 1, 0, 1};
  const auto types = glm::Categories::from_codes(type, "T");
  Matrix<double> x(6, 1);
  for (Index i = 0; i < 6; ++i) x(i, 0) = type[static_cast<std::size_t>(i)] == 0 ? 1.5 : 4.0;
  const std::vector<double> ones(6, 1.0);
  const auto cells_of = [&](const glm::DenseDesign& design) {
    return message_of([&] { glm::DenseCells cells(design, ones); });
  };
  CHECK(contains(cells_of(glm::DenseDesign(types, {}, {{"age"}, x})),
                 "'age' is a linear combination of 'type:T0', 'type:T1': their effects cannot be told apart"));
  CHECK(contains(cells_of(glm::DenseDesign(types, {{"batch", glm::Categories::from_codes(type, "B")}})),
                 "'batch:B1' is a linear combination of 'type:T1'"));
  for (Index i = 0; i < 6; ++i) x(i, 0) = 3.25;
  CHECK(contains(cells_of(glm::DenseDesign(types, {}, {{"age"}, x})), "'age' is the same for all cells"));
  x(2, 0) = glm::detail::infinity;
  CHECK(contains(message_of([&] {
                   glm::DenseDesign(types, {}, {{"age"}, x});
                 }),
                 "'age' of cell 2 (from 0) is infinite"));
  for (Index i = 0; i < 6; ++i) x(i, 0) = static_cast<double>(i * i);
  x(2, 0) = std::nan("");
  const glm::DenseDesign missing(types, {}, {{"age"}, x});
  CHECK(missing.dropped() == 1);
  CHECK(contains(message_of([&] { glm::DenseDesign(types, {{"type", types}}); }), "two columns are named 'type:T0'"));
  CHECK_THROWS_AS(glm::DenseDesign(types, {}, {{"age", "dose"}, x}), ShapeError);
  CpuContext context({.threads = 1});
  const auto counts = SparseMatrix<int>::from_triplets(1, 6, {{0, 0, 1}, {0, 3, 2}});
  glm::DenseFitOptions options;
  options.size_factors = ones;
  options.log_offsets = {0.0, 0.0, 0.0, std::nan(""), 0.0, 0.0};
  CHECK(contains(message_of([&] { glm::fit_dense(context, counts, missing, options); }),
                 "cell 3 (from 0) is not finite"));
  options.log_offsets = {0.0};
  CHECK_THROWS_AS(glm::fit_dense(context, counts, missing, options), ShapeError);
  // A covariate along which the counts' cells separate from the others: said, not approximated.
  options.log_offsets = {};
  options.dispersion = Fixed{0.0};
  for (Index i = 0; i < 6; ++i) x(i, 0) = i == 0 || i == 3 ? 1.0 : 0.0;
  const auto got = glm::fit_dense(context, counts, glm::DenseDesign(types, {}, {{"age"}, x}), options);
  CHECK(got.status[0] == FitStatus::iteration_limit);
  CHECK(std::isnan(got.coefficients(0, 2)));
  CHECK(std::isnan(got.standard_errors(0, 2)));
}
