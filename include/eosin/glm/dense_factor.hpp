#pragma once

// Cholesky factor of a dense symmetric matrix of some dozens of rows, with what regressions ask of it; and which of its
// columns depend on the ones before.

#include <eosin/core/config.hpp>

#include <cmath>
#include <utility>
#include <vector>

namespace eosin::glm {

class DenseFactor {
 public:
  /// A [n x n], row-major; the lower triangle is read. False where A is not positive definite to rounding.
  bool factor(const std::vector<double>& a, std::size_t n) {
    n_ = n;
    lower_ = a;
    for (std::size_t i = 0; i < n; ++i) {
      double* row = lower_.data() + i * n;
      for (std::size_t j = 0; j <= i; ++j) {
        const double* other = lower_.data() + j * n;
        double sum = row[j];
        for (std::size_t l = 0; l < j; ++l) sum -= row[l] * other[l];
        if (i != j) {
          row[j] = sum / other[j];
        } else {
          // Rounding of the sum above is of the order of 1e-16 of the entry.
          if (!(sum > 1e-15 * a[i * n + i]) || !std::isfinite(sum)) return false;
          row[i] = std::sqrt(sum);
        }
      }
    }
    return true;
  }

  /// b := A^-1 b
  void solve(std::vector<double>& b) const {
    forward(b);
    for (std::size_t i = n_; i-- > 0;) {
      double sum = b[i];
      for (std::size_t l = i + 1; l < n_; ++l) sum -= lower_[l * n_ + i] * b[l];
      b[i] = sum / lower_[i * n_ + i];
    }
  }
  /// b' A^-1 b; overwrites b.
  double squared_norm(std::vector<double>& b) const {
    forward(b);
    double sum = 0.0;
    for (const double x : b) sum += x * x;
    return sum;
  }
  double log_determinant() const {
    double sum = 0.0;
    for (std::size_t i = 0; i < n_; ++i) sum += 2.0 * std::log(lower_[i * n_ + i]);
    return sum;
  }
  /// Trace of A^-1 B, B symmetric [n x n] with its lower triangle given. O(n^3).
  double trace_of_product(const std::vector<double>& b) {
    inverse_.assign(n_ * n_, 0.0);  // L^-1, by columns stored as rows
    for (std::size_t c = 0; c < n_; ++c) {
      double* column = inverse_.data() + c * n_;
      for (std::size_t i = c; i < n_; ++i) {
        double sum = i == c ? 1.0 : 0.0;
        for (std::size_t l = c; l < i; ++l) sum -= lower_[i * n_ + l] * column[l];
        column[i] = sum / lower_[i * n_ + i];
      }
    }
    double trace = 0.0;
    for (std::size_t i = 0; i < n_; ++i)
      for (std::size_t j = 0; j <= i; ++j) {
        if (b[i * n_ + j] == 0.0) continue;
        double entry = 0.0;
        for (std::size_t l = i; l < n_; ++l) entry += inverse_[i * n_ + l] * inverse_[j * n_ + l];
        trace += (i == j ? 1.0 : 2.0) * entry * b[i * n_ + j];
      }
    return trace;
  }

 private:
  void forward(std::vector<double>& b) const {
    for (std::size_t i = 0; i < n_; ++i) {
      double sum = b[i];
      for (std::size_t l = 0; l < i; ++l) sum -= lower_[i * n_ + l] * b[l];
      b[i] = sum / lower_[i * n_ + i];
    }
  }

  std::size_t n_ = 0;
  std::vector<double> lower_, inverse_;
};

/// A column that depends on those before it: column = sum of weights times columns, weights [n] with 0 from the column
/// on and at other dependent columns.
struct DependentColumn {
  std::size_t column;
  std::vector<double> weights;
};

/// The dependent columns of X, from X'X [n x n] (lower triangle): what the independent ones before leave of a column's
/// squared length is below `tolerance` of it. Cholesky in the given order.
inline std::vector<DependentColumn> dependent_columns(const std::vector<double>& gram, std::size_t n,
                                                      double tolerance = 1e-10) {
  std::vector<DependentColumn> result;
  std::vector<std::size_t> kept;
  std::vector<std::vector<double>> lower;
  for (std::size_t j = 0; j < n; ++j) {
    std::vector<double> row;
    double left = gram[j * n + j];
    for (std::size_t i = 0; i < kept.size(); ++i) {
      double sum = gram[j * n + kept[i]];
      for (std::size_t l = 0; l < i; ++l) sum -= row[l] * lower[i][l];
      row.push_back(sum / lower[i][i]);
      left -= row[i] * row[i];
    }
    if (left > tolerance * gram[j * n + j]) {
      row.push_back(std::sqrt(left));
      lower.push_back(std::move(row));
      kept.push_back(j);
      continue;
    }
    DependentColumn dependent{j, std::vector<double>(n, 0.0)};
    for (std::size_t i = kept.size(); i-- > 0;) {
      double sum = row[i];
      for (std::size_t l = i + 1; l < kept.size(); ++l) sum -= lower[l][i] * dependent.weights[kept[l]];
      dependent.weights[kept[i]] = sum / lower[i][i];
    }
    result.push_back(std::move(dependent));
  }
  return result;
}

}  // namespace eosin::glm
