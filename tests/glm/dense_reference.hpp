#pragma once

// What the GLM tests compare with: simulated counts, and a dense negative binomial regression in long double that
// shares no formula with the library beyond the likelihood itself (every sum runs over all cells, the gradient of the
// adjusted profile comes from differences).

#include <eosin/core/buffer.hpp>
#include <eosin/core/random.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/glm/design.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace eosin::testing {

struct SimulatedCounts {
  SparseMatrix<int> counts;  // genes x cells
  std::vector<Index> type, batch;
  std::vector<double> size_factors;
  std::vector<double> dispersion;            // per gene
  Matrix<double> type_effect, batch_effect;  // [genes x levels], log

  glm::Design design() const {
    return glm::Design(glm::Categories::from_codes(type, "T"), glm::Categories::from_codes(batch, "B"));
  }
};

/// Every level has cells, about a third of the groups are empty; the first gene has no counts, the second a single one.
inline SimulatedCounts simulate_counts(Index genes, Index cells, Index types, Index batches, double largest_dispersion,
                                       std::uint64_t seed) {
  RandomStream random(seed);
  SimulatedCounts result;
  for (Index i = 0; i < cells; ++i) {
    Index t = random.below(types), b = random.below(batches);
    if (t != 0 && b != 0 && (t + 2 * b) % 3 == 0) b = 0;  // leaves groups empty; type 0 and batch 0 link the rest
    if (i < types) t = i, b = 0;
    if (i >= types && i < types + batches) t = 0, b = i - types;
    result.type.push_back(t);
    result.batch.push_back(b);
    result.size_factors.push_back(std::exp(random.normal(0.0, 0.5)));
  }
  result.type_effect = Matrix<double>(genes, types);
  result.batch_effect = Matrix<double>(genes, batches);
  std::vector<Triplet<int>> entries;
  for (Index g = 0; g < genes; ++g) {
    const double level = random.normal(-1.0, 2.0);
    result.dispersion.push_back(g % 4 == 3 ? 0.0 : largest_dispersion * random.uniform());
    for (Index t = 0; t < types; ++t) result.type_effect(g, t) = level + random.normal(0.0, 0.7);
    for (Index b = 1; b < batches; ++b) result.batch_effect(g, b) = random.normal(0.0, 0.5);
    for (Index i = 0; i < cells; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const double mu = result.size_factors[at] *
                        std::exp(result.type_effect(g, result.type[at]) + result.batch_effect(g, result.batch[at]));
      std::int64_t y = random.negative_binomial(mu, result.dispersion.back());
      if (g == 0) y = 0;
      if (g == 1) y = i == cells / 2 ? 1 : 0;
      if (y > 0) entries.push_back({g, i, static_cast<int>(y)});
    }
  }
  result.counts = SparseMatrix<int>::from_triplets(genes, cells, entries);
  return result;
}

/// One gene's regression on dense columns.
class DenseRegression {
 public:
  using Real = long double;

  /// Columns: types with counts, then batches with counts but the first, then likewise for each covariate (codes by
  /// cell). Correct where no further coefficient is infinite.
  DenseRegression(const std::vector<double>& counts, const std::vector<double>& size_factors,
                  const std::vector<Index>& type, const std::vector<Index>& batch, Index types, Index batches,
                  const std::vector<std::pair<std::vector<Index>, Index>>& covariates = {}) {
    std::vector<std::pair<std::vector<Index>, Index>> factors{{type, types}, {batch, batches}};
    factors.insert(factors.end(), covariates.begin(), covariates.end());
    std::vector<std::vector<double>> totals;
    std::vector<std::vector<Index>> column;
    for (std::size_t f = 0; f < factors.size(); ++f) {
      auto& total = totals.emplace_back(static_cast<std::size_t>(factors[f].second), 0.0);
      for (std::size_t i = 0; i < counts.size(); ++i) total[static_cast<std::size_t>(factors[f].first[i])] += counts[i];
      bool reference = f > 0;
      auto& own = column.emplace_back(total.size(), Index{-1});
      for (std::size_t level = 0; level < total.size(); ++level)
        if (total[level] > 0.0 && !std::exchange(reference, false)) own[level] = columns++;
    }
    type_column = column[0];
    batch_column = column[1];
    covariate_column.assign(column.begin() + 2, column.end());
    for (std::size_t i = 0; i < counts.size(); ++i) {
      Cell cell{static_cast<Real>(counts[i]), static_cast<Real>(size_factors[i]), {}};
      bool present = true;
      for (std::size_t f = 0; f < factors.size(); ++f) {
        const auto level = static_cast<std::size_t>(factors[f].first[i]);
        present = present && totals[f][level] > 0.0;
        if (column[f][level] >= 0) cell.columns.push_back(static_cast<std::size_t>(column[f][level]));
      }
      if (!present) continue;
      cells.push_back(std::move(cell));
      sum += static_cast<Real>(counts[i]);
      depth += static_cast<Real>(size_factors[i]);
    }
    beta.assign(static_cast<std::size_t>(columns), 0.0L);
    for (const Index c : type_column)
      if (c >= 0) beta[static_cast<std::size_t>(c)] = std::log(sum / depth);
  }

  Real mean(std::size_t i) const {
    Real eta = 0.0L;
    for (const std::size_t c : cells[i].columns) eta += beta[c];
    return cells[i].s * std::exp(eta);
  }

  /// Without what depends on counts and dispersion alone.
  Real likelihood_of_means(Real phi) const {
    Real total = 0.0L;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const Real mu = mean(i), y = cells[i].y;
      total += y * std::log(mu) - (phi > 0.0L ? (y + 1.0L / phi) * std::log1p(phi * mu) : mu);
    }
    return total;
  }
  Real log_likelihood(Real phi) const {
    Real total = likelihood_of_means(phi);
    for (const Cell& cell : cells)
      for (Real j = 1.0L; j < cell.y; j += 1.0L) total += std::log1p(phi * j);
    return total;
  }

  /// Newton with step halving on the likelihood.
  void solve(Real phi) {
    Real now = likelihood_of_means(phi);
    for (int iteration = 0; iteration < 200; ++iteration) {
      std::vector<Real> score(beta.size(), 0.0L);
      for (std::size_t i = 0; i < cells.size(); ++i) {
        const Real mu = mean(i);
        add(score, cells[i], (cells[i].y - mu) / (1.0L + phi * mu));
      }
      const auto start = beta;
      const auto step = solve_with(information(phi, true), score);
      Real largest = 0.0L;
      for (const Real d : step) largest = std::max(largest, std::abs(d));
      for (Real length = 1.0L;; length *= 0.5L) {
        for (std::size_t c = 0; c < beta.size(); ++c) beta[c] = start[c] + length * step[c];
        const Real there = likelihood_of_means(phi);
        if (there >= now || largest * length < 1e-9L) {
          now = there;
          break;
        }
      }
      if (largest < 1e-14L) return;
    }
  }

  /// Likelihood less (factor / 2) log det of the expected information, at its maximum over the coefficients.
  Real adjusted_profile(Real phi, Real factor) {
    solve(phi);
    Real value = log_likelihood(phi);
    if (factor != 0.0L) {
      const auto lower = cholesky(information(phi, false));
      for (std::size_t c = 0; c < beta.size(); ++c) value -= factor * std::log(lower[c * beta.size() + c]);
    }
    return value;
  }

  /// Observed or expected information, dense.
  std::vector<Real> information(Real phi, bool observed) const {
    const std::size_t n = beta.size();
    std::vector<Real> matrix(n * n, 0.0L);
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const Real mu = mean(i), r = 1.0L / (1.0L + phi * mu);
      const Real w = mu * r * (observed ? (1.0L + phi * cells[i].y) * r : 1.0L);
      for (const std::size_t a : cells[i].columns)
        for (const std::size_t b : cells[i].columns) matrix[a * n + b] += w;
    }
    return matrix;
  }

  /// Square root of the diagonal entry of the inverse observed information.
  Real standard_error(Real phi, Index column) const {
    std::vector<Real> unit(beta.size(), 0.0L);
    unit[static_cast<std::size_t>(column)] = 1.0L;
    return std::sqrt(solve_with(information(phi, true), unit)[static_cast<std::size_t>(column)]);
  }

  struct Cell {
    Real y, s;
    std::vector<std::size_t> columns;
  };
  std::vector<Cell> cells;
  std::vector<Index> type_column, batch_column;  // -1: no column
  std::vector<std::vector<Index>> covariate_column;
  Index columns = 0;
  std::vector<Real> beta;
  Real sum = 0.0L, depth = 0.0L;

  static void add(std::vector<Real>& sums, const Cell& cell, Real value) {
    for (const std::size_t c : cell.columns) sums[c] += value;
  }
  static std::vector<Real> cholesky(std::vector<Real> a) {
    const auto n = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(a.size()))));
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        for (std::size_t l = 0; l < j; ++l) a[i * n + j] -= a[i * n + l] * a[j * n + l];
        a[i * n + j] = i == j ? std::sqrt(a[i * n + i]) : a[i * n + j] / a[j * n + j];
      }
    return a;
  }
  static std::vector<Real> solve_with(std::vector<Real> a, std::vector<Real> b) {
    const std::size_t n = b.size();
    const auto lower = cholesky(std::move(a));
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t l = 0; l < i; ++l) b[i] -= lower[i * n + l] * b[l];
      b[i] /= lower[i * n + i];
    }
    for (std::size_t i = n; i-- > 0;) {
      for (std::size_t l = i + 1; l < n; ++l) b[i] -= lower[l * n + i] * b[l];
      b[i] /= lower[i * n + i];
    }
    return b;
  }
};

}  // namespace eosin::testing
