#pragma once

// Which columns of a categorical design depend on others: the null space of its Gram matrix M [n x n], by
// Gauss-Jordan elimination with the largest diagonal entry as pivot. M comes from small integer weights, so that a
// pivot is either of the order of its column or rounding.

#include <eosin/core/config.hpp>

#include <cmath>
#include <utility>
#include <vector>

namespace eosin::glm::detail {

class NullSpace {
 public:
  /// Takes M, row-major and symmetric. Cost O(n^3).
  NullSpace(std::vector<double> m, Index n) {
    std::vector<double> scale(to(n));
    for (Index i = 0; i < n; ++i) scale[to(i)] = m[to(i * n + i)];
    std::vector<char> pivot(to(n), 0);
    for (;;) {
      Index best = -1;
      for (Index i = 0; i < n; ++i)
        if (!pivot[to(i)] && m[to(i * n + i)] > tolerance * scale[to(i)] &&
            (best < 0 || m[to(i * n + i)] > m[to(best * n + best)]))
          best = i;
      if (best < 0) break;
      pivot[to(best)] = 1;
      const double inverse = 1.0 / m[to(best * n + best)];
      for (Index j = 0; j < n; ++j) m[to(best * n + j)] *= inverse;
      for (Index i = 0; i < n; ++i) {
        const double factor = m[to(i * n + best)];
        if (i == best || factor == 0.0) continue;
        for (Index j = 0; j < n; ++j) m[to(i * n + j)] -= factor * m[to(best * n + j)];
      }
    }
    for (Index free = 0; free < n; ++free) {
      if (pivot[to(free)]) continue;
      std::vector<double> direction(to(n), 0.0);
      direction[to(free)] = 1.0;
      for (Index i = 0; i < n; ++i)
        if (pivot[to(i)] && std::abs(m[to(i * n + free)]) > tolerance) direction[to(i)] = -m[to(i * n + free)];
      basis_.push_back(std::move(direction));
      dependent_.push_back(free);
    }
  }

  /// Vectors with M v = 0; vector i is 1 in column dependent()[i] and 0 in the other dependent columns.
  const std::vector<std::vector<double>>& basis() const { return basis_; }
  const std::vector<Index>& dependent() const { return dependent_; }
  /// Whether the column takes part in a dependency.
  bool touches(Index column) const {
    for (const auto& direction : basis_)
      if (direction[to(column)] != 0.0) return true;
    return false;
  }

 private:
  static constexpr double tolerance = 1e-9;
  static std::size_t to(Index i) { return static_cast<std::size_t>(i); }

  std::vector<std::vector<double>> basis_;
  std::vector<Index> dependent_;
};

}  // namespace eosin::glm::detail
