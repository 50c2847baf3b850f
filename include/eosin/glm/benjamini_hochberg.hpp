#pragma once

// p-values adjusted for the false discovery rate (Benjamini and Hochberg, J. R. Statist. Soc. B 57, 1995): with the m
// p-values in rising order,
//
//   q_(i) = min(1, min_{j >= i} m p_(j) / j)
//
// so that calling what has q <= alpha keeps the expected share of false calls below alpha. A p-value that is NaN (not
// estimable, not tested) stays NaN and does not count in m. Equal p-values get equal q.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace eosin::glm {

/// Writes the adjusted p-values; `adjusted` may be `p` itself. Throws ShapeError where the lengths differ, ValueError
/// where a p-value is outside [0, 1]. O(n log n).
inline void benjamini_hochberg(VectorView<const double> p, VectorView<double> adjusted) {
  require_size("benjamini_hochberg", "adjusted", "elements", adjusted.size(), p.size(), "p-values");
  struct Entry {
    double p;
    Index place;
  };
  std::vector<Entry> order;
  for (Index i = 0; i < p.size(); ++i) {
    const double value = p[i];
    if (value < 0.0 || value > 1.0)
      throw ValueError("benjamini_hochberg: p-value " + std::to_string(i) + " (from 0) is " + std::to_string(value) +
                       ", expected a number in [0, 1] or NaN");
    if (!std::isnan(value)) order.push_back({value, i});
    adjusted[i] = value;
  }
  std::sort(order.begin(), order.end(), [](const Entry& a, const Entry& b) { return a.p < b.p; });
  const double count = static_cast<double>(order.size());
  double least = 1.0;
  for (std::size_t i = order.size(); i-- > 0;) {
    least = std::min(least, count / static_cast<double>(i + 1) * order[i].p);
    adjusted[order[i].place] = least;
  }
}

/// The same as a new vector.
inline Vector<double> benjamini_hochberg(VectorView<const double> p) {
  Vector<double> adjusted(p.size());
  benjamini_hochberg(p, adjusted.view());
  return adjusted;
}

}  // namespace eosin::glm
