#pragma once

// Whether a log-linear count model has a finite maximum of its likelihood, for any design. Group k has design row x_k
// and a total that is positive or 0. Along a direction d of the coefficients the likelihood of the counts does not fall
// iff
//
//     x_k'd = 0 for groups with counts,     x_k'd <= 0 for groups without,
//
// and if x_k'd < 0 for some k the fitted mean of that group tends to 0. The directions form a cone, so there is a
// largest set of groups that vanish together. Here it is found exactly, in fractions: the equalities are eliminated,
// the inequalities left become a homogeneous linear programme y >= 0, y = C y', solved by the simplex method with
// Bland's rule, whose pivots all stay at y = 0 until a ray is found. For two factors the graph of components.hpp gives
// the same. Derivation: docs/derivations/separation.md.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/math/rational.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace eosin::glm {

namespace detail {

using math::Rational;
using RationalRows = std::vector<std::vector<Rational>>;

inline bool all_zero(const std::vector<Rational>& row) {
  return std::all_of(row.begin(), row.end(), [](Rational x) { return x.zero(); });
}

/// row -= factor * other
inline void subtract(std::vector<Rational>& row, Rational factor, const std::vector<Rational>& other) {
  for (std::size_t j = 0; j < row.size(); ++j)
    if (!other[j].zero()) row[j] = row[j] - factor * other[j];
}

/// Reduced rows of a growing set, and what they leave of a further row.
class Elimination {
 public:
  /// Takes the reduced rows' part out of `row`.
  void reduce(std::vector<Rational>& row) const {
    for (std::size_t i = 0; i < rows_.size(); ++i)
      if (const Rational factor = row[pivots_[i]]; !factor.zero()) subtract(row, factor, rows_[i]);
  }
  void add(std::vector<Rational> row) {
    reduce(row);
    const auto found = std::find_if(row.begin(), row.end(), [](Rational x) { return !x.zero(); });
    if (found == row.end()) return;
    const auto pivot = static_cast<std::size_t>(found - row.begin());
    const Rational scale = row[pivot];
    for (Rational& x : row)
      if (!x.zero()) x = x / scale;
    for (auto& other : rows_)
      if (const Rational factor = other[pivot]; !factor.zero()) subtract(other, factor, row);
    rows_.push_back(std::move(row));
    pivots_.push_back(pivot);
  }

 private:
  RationalRows rows_;
  std::vector<std::size_t> pivots_;
};

/// For y = A w >= 0 (one row of A per y, no row zero): flags of the y that are positive along some ray, empty if only
/// y = 0 is possible. Not the largest set.
inline std::vector<char> positive_ray(RationalRows a) {
  const std::size_t rows = a.size(), cols = rows == 0 ? 0 : a[0].size();
  // Columns become those of a dictionary: after each step one more y is a column of its own.
  std::vector<std::size_t> column_variable, row_variable;
  std::vector<char> is_column(rows, 0);
  std::vector<char> taken(cols, 0);
  std::vector<std::size_t> used;
  for (std::size_t k = 0; k < rows; ++k) {
    std::size_t pivot = cols;
    for (std::size_t j = 0; j < cols && pivot == cols; ++j)
      if (!taken[j] && !a[k][j].zero()) pivot = j;
    if (pivot == cols) continue;
    // y_k replaces the unknown of column `pivot`: w_pivot = (y_k - sum a_kj w_j) / a_k,pivot.
    const std::vector<Rational> row = a[k];
    for (auto& other : a) {
      if (other[pivot].zero()) continue;
      const Rational factor = other[pivot] / row[pivot];
      for (std::size_t j = 0; j < cols; ++j)
        if (j != pivot && !row[j].zero()) other[j] = other[j] - factor * row[j];
      other[pivot] = factor;
    }
    taken[pivot] = 1;
    used.push_back(pivot);
    column_variable.push_back(k);
    is_column[k] = 1;
  }
  RationalRows dictionary;
  for (std::size_t k = 0; k < rows; ++k) {
    if (is_column[k]) continue;
    row_variable.push_back(k);
    std::vector<Rational> row;
    for (const std::size_t j : used) row.push_back(a[k][j]);
    dictionary.push_back(std::move(row));
  }
  for (;;) {
    // Enters: the first variable, by number, whose growth raises the sum of all y.
    std::size_t enter = column_variable.size();
    for (std::size_t j = 0; j < column_variable.size(); ++j) {
      if (enter < column_variable.size() && column_variable[enter] < column_variable[j]) continue;
      Rational gain = 1;
      for (const auto& row : dictionary)
        if (!row[j].zero()) gain = gain + row[j];
      if (gain.sign() > 0) enter = j;
    }
    if (enter == column_variable.size()) return {};
    std::size_t leave = dictionary.size();
    for (std::size_t i = 0; i < dictionary.size(); ++i)
      if (dictionary[i][enter].sign() < 0 && (leave == dictionary.size() || row_variable[i] < row_variable[leave]))
        leave = i;
    if (leave == dictionary.size()) {
      std::vector<char> positive(rows, 0);
      positive[column_variable[enter]] = 1;
      for (std::size_t i = 0; i < dictionary.size(); ++i)
        if (dictionary[i][enter].sign() > 0) positive[row_variable[i]] = 1;
      return positive;
    }
    // y_leave = sum row_j y_j turned into y_enter = (y_leave - the others) / row_enter.
    std::vector<Rational> row = dictionary[leave];
    const Rational scale = row[enter];
    for (Rational& x : row)
      if (!x.zero()) x = -x / scale;
    row[enter] = Rational(1) / scale;
    for (std::size_t i = 0; i < dictionary.size(); ++i) {
      if (i == leave) continue;
      const Rational factor = dictionary[i][enter];
      if (factor.zero()) continue;
      dictionary[i][enter] = 0;
      for (std::size_t j = 0; j < row.size(); ++j)
        if (!row[j].zero()) dictionary[i][j] = dictionary[i][j] + factor * row[j];
    }
    dictionary[leave] = std::move(row);
    std::swap(row_variable[leave], column_variable[enter]);
  }
}

}  // namespace detail

/// Flags of the groups whose fitted mean tends to 0; all 0 iff the likelihood has a finite maximum (unique where the
/// design has full rank). design [groups x columns], small integers (0 and 1, or -1, 0, 1 for contrasts);
/// has_counts [groups]: the group's total is positive. Throws ShapeError, and ValueError where the fractions outgrow 64
/// bits, which needs entries beyond those of factors. Cost: where only levels without counts vanish, O(groups columns);
/// else an elimination O(groups columns rank) and a few pivots.
inline std::vector<char> vanishing_groups(MatrixView<const int> design, const std::vector<char>& has_counts) {
  require_size("vanishing_groups", "has_counts", "elements", static_cast<Index>(has_counts.size()), design.rows(),
               "groups");
  const Index groups = design.rows(), columns = design.cols();
  const auto at = [](Index i) { return static_cast<std::size_t>(i); };
  std::vector<char> vanishes(has_counts.size(), 0);

  // Columns of one sign over what is left, without counts: levels that no count was seen in.
  for (bool changed = true; changed;) {
    changed = false;
    for (Index j = 0; j < columns; ++j) {
      bool up = false, down = false, counts = false;
      for (Index k = 0; k < groups; ++k) {
        const int x = design(k, j);
        if (x == 0 || vanishes[at(k)]) continue;
        up = up || x > 0;
        down = down || x < 0;
        counts = counts || has_counts[at(k)] != 0;
      }
      if (counts || up == down) continue;
      for (Index k = 0; k < groups; ++k)
        if (design(k, j) != 0) vanishes[at(k)] = 1;
      changed = true;
    }
  }

  const auto row_of = [&](Index k) {
    std::vector<detail::Rational> row(at(columns));
    for (Index j = 0; j < columns; ++j) row[at(j)] = design(k, j);
    return row;
  };
  detail::Elimination equalities;
  bool any_zero = false;
  for (Index k = 0; k < groups; ++k) {
    if (has_counts[at(k)]) equalities.add(row_of(k));
    any_zero = any_zero || (!has_counts[at(k)] && !vanishes[at(k)]);
  }
  if (!any_zero) return vanishes;
  std::vector<Index> open;
  detail::RationalRows left;  // y = -x'd over the directions that the equalities leave
  for (Index k = 0; k < groups; ++k) {
    if (has_counts[at(k)] || vanishes[at(k)]) continue;
    auto row = row_of(k);
    equalities.reduce(row);
    if (detail::all_zero(row)) continue;
    for (auto& x : row) x = -x;
    open.push_back(k);
    left.push_back(std::move(row));
  }
  // Once some groups vanish along one direction, a large multiple of it outweighs what any other does to them.
  while (!open.empty()) {
    const auto positive = detail::positive_ray(left);
    if (positive.empty()) break;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (positive[i]) {
        vanishes[at(open[i])] = 1;
        continue;
      }
      if (kept != i) {
        open[kept] = open[i];
        left[kept] = std::move(left[i]);
      }
      ++kept;
    }
    open.resize(kept);
    left.resize(kept);
  }
  return vanishes;
}

}  // namespace eosin::glm
