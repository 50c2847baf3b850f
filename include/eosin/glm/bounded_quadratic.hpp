#pragma once

// Minimum of x' H x / 2 - b' x over x >= 0 for a positive definite H of a few dozen rows: Lawson and Hanson's
// active-set method (Solving Least Squares Problems, 1974, chapter 23) started from a feasible point. Exact up to
// rounding, zeros exact, and never worse than the start.

#include <eosin/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace eosin::glm::detail {

class BoundedQuadratic {
 public:
  /// Improves x (>= 0, n entries) in place; h [n x n]. False where H is not positive definite to rounding; x is then of
  /// no use. Cost O(n^3) for each change of the set of positive entries.
  bool solve(const std::vector<double>& h, const std::vector<double>& b, std::vector<double>& x) {
    const std::size_t n = x.size();
    positive_.assign(n, 0);
    double slack = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      positive_[i] = x[i] > 0.0;
      slack = std::max(slack, 1e-13 * std::abs(b[i]));
    }
    for (std::size_t change = 0; change <= 3 * n; ++change) {
      if (!descend(h, b, x)) return false;
      std::size_t best = n;
      double steepest = slack;
      for (std::size_t i = 0; i < n; ++i) {
        if (positive_[i]) continue;
        double gain = b[i];
        for (std::size_t j = 0; j < n; ++j) gain -= h[i * n + j] * x[j];
        if (gain > steepest) {
          steepest = gain;
          best = i;
        }
      }
      if (best == n) return true;
      positive_[best] = 1;
    }
    return true;
  }

 private:
  /// Moves to the minimum over the positive entries, dropping those that reach 0 on the way.
  bool descend(const std::vector<double>& h, const std::vector<double>& b, std::vector<double>& x) {
    for (;;) {
      index_.clear();
      for (std::size_t i = 0; i < x.size(); ++i)
        if (positive_[i]) index_.push_back(i);
      if (index_.empty()) return true;
      if (!solve_positive(h, b, x.size())) return false;
      double step = 1.0;
      for (std::size_t i = 0; i < index_.size(); ++i)
        if (solution_[i] <= 0.0) step = std::min(step, share(x[index_[i]], solution_[i]));
      bool dropped = false;
      for (std::size_t i = 0; i < index_.size(); ++i) {
        double& value = x[index_[i]];
        if (solution_[i] <= 0.0 && share(value, solution_[i]) <= step) {
          value = 0.0;
          positive_[index_[i]] = 0;
          dropped = true;
        } else {
          value = std::max(0.0, value + step * (solution_[i] - value));
        }
      }
      if (!dropped) {
        for (std::size_t i = 0; i < index_.size(); ++i) x[index_[i]] = solution_[i];
        return true;
      }
    }
  }

  /// Part of the way from `now` >= 0 to `target` <= 0 until 0.
  static double share(double now, double target) { return now > 0.0 ? now / (now - target) : 0.0; }

  /// solution_ := minimum over the entries of index_, by Cholesky.
  bool solve_positive(const std::vector<double>& h, const std::vector<double>& b, std::size_t n) {
    const std::size_t m = index_.size();
    factor_.resize(m * m);
    solution_.resize(m);
    for (std::size_t i = 0; i < m; ++i) {
      double right = b[index_[i]];
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = h[index_[i] * n + index_[j]];
        for (std::size_t l = 0; l < j; ++l) sum -= factor_[i * m + l] * factor_[j * m + l];
        if (j < i) {
          factor_[i * m + j] = sum / factor_[j * m + j];
          right -= factor_[i * m + j] * solution_[j];
        } else {
          if (!(sum > 0.0) || !std::isfinite(sum)) return false;
          factor_[i * m + i] = std::sqrt(sum);
        }
      }
      solution_[i] = right / factor_[i * m + i];
    }
    for (std::size_t i = m; i-- > 0;) {
      for (std::size_t l = i + 1; l < m; ++l) solution_[i] -= factor_[l * m + i] * solution_[l];
      solution_[i] /= factor_[i * m + i];
      if (!std::isfinite(solution_[i])) return false;
    }
    return true;
  }

  std::vector<char> positive_;
  std::vector<std::size_t> index_;
  std::vector<double> factor_, solution_;
};

}  // namespace eosin::glm::detail
