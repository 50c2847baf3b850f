#pragma once

// A zero of a continuous function between two points of opposite sign: Brent's method (Algorithms for Minimization
// without Derivatives, 1973, chapter 4): inverse quadratic interpolation and secants, bisection where they do not help.

#include <eosin/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

// Before a function for processor and device that calls what its argument has: nvcc need not ask whether that could be
// called on both.
#if defined(__CUDACC__)
#define EOSIN_EITHER_SIDE _Pragma("nv_exec_check_disable")
#else
#define EOSIN_EITHER_SIDE
#endif

namespace eosin::glm::detail {

/// x in [a, b] with f changing its sign within `tolerance` of x. Precondition: fa = f(a) and fb = f(b) have opposite
/// signs or one is 0. Usually 5 to 9 evaluations.
EOSIN_EITHER_SIDE
template <class F>
EOSIN_HOST_DEVICE double find_root(F&& f, double a, double fa, double b, double fb, double tolerance) {
  double c = a, fc = fa, step = b - a, before = step;
  for (int i = 0; i < 200; ++i) {
    if ((fb > 0.0) == (fc > 0.0)) {
      c = a;
      fc = fa;
      step = before = b - a;
    }
    if (std::abs(fc) < std::abs(fb)) {  // b is the best point, c the other side
      a = std::exchange(b, c);
      c = a;
      fa = std::exchange(fb, fc);
      fc = fa;
    }
    const double close = 2.0 * std::numeric_limits<double>::epsilon() * std::abs(b) + 0.5 * tolerance;
    const double middle = 0.5 * (c - b);
    if (std::abs(middle) <= close || fb == 0.0) break;
    if (std::abs(before) < close || std::abs(fa) <= std::abs(fb)) {
      step = before = middle;
    } else {
      const double s = fb / fa;
      double p, q;
      if (a == c) {
        p = 2.0 * middle * s;
        q = 1.0 - s;
      } else {
        const double u = fa / fc, v = fb / fc;
        p = s * (2.0 * middle * u * (u - v) - (b - a) * (v - 1.0));
        q = (u - 1.0) * (v - 1.0) * (s - 1.0);
      }
      if (p > 0.0) q = -q;
      p = std::abs(p);
      const double last = std::exchange(before, step);
      if (2.0 * p < std::min(3.0 * middle * q - std::abs(close * q), std::abs(last * q))) {
        step = p / q;
      } else {
        step = before = middle;
      }
    }
    a = b;
    fa = fb;
    b += std::abs(step) > close ? step : std::copysign(close, middle);
    fb = f(b);
  }
  return b;
}

}  // namespace eosin::glm::detail
