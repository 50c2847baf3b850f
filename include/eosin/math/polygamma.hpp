#pragma once

// Digamma, trigamma and the inverse of trigamma, x > 0:
//
//     digamma(x)  = log x - 1/(2 x) - r(x)                                       r of stirling.hpp
//     trigamma(x) = 1/x + 1/(2 x^2) + 1/(6 x^3) - 1/(30 x^5) + 1/(42 x^7) - ...  from x = 16 on, below it by
//     trigamma(x) = trigamma(x + 1) + 1/x^2
//
// Relative error of trigamma about 1e-15; digamma loses digits relative to itself next to its zero at 1.46.

#include <eosin/math/stirling.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace eosin::math {

/// digamma(x), x > 0.
inline double digamma(double x) {
  return std::log(x) - 0.5 / x - stirling(x).slope;
}

/// trigamma(x) = digamma'(x), x > 0: positive and falling.
inline double trigamma(double x) {
  double below = 0.0;
  for (; x < 16.0; x += 1.0) below += 1.0 / (x * x);
  const double v = 1.0 / x, w = v * v;
  const double series =
      1.0 / 6.0 - w * (1.0 / 30.0 -
                       w * (1.0 / 42.0 - w * (1.0 / 30.0 - w * (5.0 / 66.0 - w * (691.0 / 2730.0 - w * (7.0 / 6.0))))));
  return below + v + w * (0.5 + v * series);
}

/// x > 0 with trigamma(x) = y, y > 0. Newton on 1 / trigamma, which is convex and nearly straight, from the bound
/// 1/2 + 1/y, which lies above the solution (Smyth 2004, appendix): falls monotonically, some five steps.
inline double inverse_trigamma(double y) {
  if (y > 1e7) return 1.0 / std::sqrt(y);  // trigamma(x) = 1/x^2 + pi^2/6 - ...
  if (y < 1e-7) return 1.0 / y;
  double x = 0.5 + 1.0 / y;
  for (int step = 0; step < 50; ++step) {
    const double h = 1e-3 * x;  // of trigamma's slope only the rate of convergence depends
    const double now = trigamma(x);
    const double slope = (trigamma(x + h) - trigamma(x - h)) / (2.0 * h);
    const double move = now * (1.0 - now / y) / slope;
    x = std::max(x + move, 1e-4);
    if (std::abs(move) <= 4.0 * std::numeric_limits<double>::epsilon() * x) break;
  }
  return x;
}

}  // namespace eosin::math
