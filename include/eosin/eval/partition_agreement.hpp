#pragma once

// How far two partitions of the same spots agree, whatever their labels are called: domains found in predicted
// expression against a pathologist's annotation. With n_ij spots in class i of one and j of the other, a_i, b_j their
// sums and C(n) = n (n - 1) / 2:
//
//   adjusted Rand index (Hubert and Arabie, J. Classification 2, 1985)
//     ( sum C(n_ij) - E ) / ( (sum C(a_i) + sum C(b_j)) / 2 - E ),   E = sum C(a_i) sum C(b_j) / C(n)
//   normalised mutual information, by the arithmetic mean of the entropies
//     I / ((H_a + H_b) / 2),   I = sum n_ij/n log( n n_ij / (a_i b_j) ),   H_a = - sum a_i/n log(a_i/n)
//
// The index is 1 for equal partitions and has expectation 0 for random ones; the information lies in [0, 1]. Where they
// are 0/0 they are what scikit-learn's adjusted_rand_score and normalized_mutual_info_score give: two partitions that
// are the same (one class each, or no spots) score 1, and where only one of them has a single class the information is
// 0.

#include <eosin/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <span>
#include <utility>
#include <vector>

namespace eosin::eval {

namespace detail {

/// Counts of pairs of labels; spots without a label (negative) on either side are left out.
struct ContingencyTable {
  std::map<std::pair<Index, Index>, Index> both;
  std::map<Index, Index> first, second;
  Index spots = 0;

  ContingencyTable(const char* function, std::span<const Index> a, std::span<const Index> b) {
    require_size(function, "b", "labels", static_cast<Index>(b.size()), static_cast<Index>(a.size()), "labels of a");
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i] < 0 || b[i] < 0) continue;
      ++both[{a[i], b[i]}];
      ++first[a[i]];
      ++second[b[i]];
      ++spots;
    }
  }
};

}  // namespace detail

/// a and b [spots]: labels >= 0 of any value, negative where a spot has none; such spots do not count. Throws
/// ShapeError. O(spots log classes).
inline double adjusted_rand_index(std::span<const Index> a, std::span<const Index> b) {
  const detail::ContingencyTable table("adjusted_rand_index", a, b);
  const auto pairs = [](Index n) { return static_cast<long double>(n) * static_cast<long double>(n - 1) / 2; };
  long double together = 0, first = 0, second = 0;
  for (const auto& [labels, count] : table.both) together += pairs(count);
  for (const auto& [label, count] : table.first) first += pairs(count);
  for (const auto& [label, count] : table.second) second += pairs(count);
  // Equal partitions, also where there is nothing to be right about.
  if (together == first && together == second) return 1;
  const long double expected = first * second / pairs(table.spots);
  return static_cast<double>((together - expected) / ((first + second) / 2 - expected));
}

/// Arguments as adjusted_rand_index.
inline double normalised_mutual_information(std::span<const Index> a, std::span<const Index> b) {
  const detail::ContingencyTable table("normalised_mutual_information", a, b);
  if (table.first.size() == table.second.size() && table.first.size() <= 1) return 1;
  const double n = static_cast<double>(table.spots);
  const auto entropy = [n](const std::map<Index, Index>& counts) {
    double sum = 0;
    for (const auto& [label, count] : counts) {
      const double share = static_cast<double>(count) / n;
      sum -= share * std::log(share);
    }
    return sum;
  };
  double information = 0;
  for (const auto& [labels, count] : table.both) {
    const double c = static_cast<double>(count);
    const double product =
        static_cast<double>(table.first.at(labels.first)) * static_cast<double>(table.second.at(labels.second));
    information += c / n * std::log(n * c / product);
  }
  // Independent partitions leave a rest of rounding.
  if (information <= std::numeric_limits<double>::epsilon()) return 0;
  return std::min(1.0, information / ((entropy(table.first) + entropy(table.second)) / 2));
}

}  // namespace eosin::eval
