#pragma once

// The pitch of an array of spots: the median over spots of the distance to the nearest other spot.

#include <eosin/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace eosin::data {

/// In the unit of x and y (pixels, mostly). Spots at the very same place do not count as neighbours. Throws ShapeError
/// when the lengths differ, ValueError with fewer than two places. About O(n^1.5) on an array.
inline double spot_pitch(const std::vector<double>& x, const std::vector<double>& y) {
  require_size("spot_pitch", "y", "entries", static_cast<Index>(y.size()), static_cast<Index>(x.size()));
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
  std::vector<double> nearest;
  for (std::size_t i = 0; i < order.size(); ++i) {
    double best = std::numeric_limits<double>::infinity();
    const auto look = [&](std::size_t j) {
      const double dx = x[order[j]] - x[order[i]];
      if (dx * dx >= best) return false;
      const double dy = y[order[j]] - y[order[i]];
      const double square = dx * dx + dy * dy;
      if (square > 0) best = std::min(best, square);
      return true;
    };
    for (std::size_t j = i + 1; j < order.size() && look(j); ++j) {
    }
    for (std::size_t j = i; j-- > 0 && look(j);) {
    }
    if (std::isfinite(best)) nearest.push_back(std::sqrt(best));
  }
  if (nearest.empty()) throw ValueError("spot_pitch: at least two spots at different places are needed");
  std::sort(nearest.begin(), nearest.end());
  const std::size_t half = nearest.size() / 2;
  return nearest.size() % 2 == 1 ? nearest[half] : (nearest[half - 1] + nearest[half]) / 2;
}

}  // namespace eosin::data
