#pragma once

// Gradients against six-point central differences:
//
//   f'(x) = [45 (f(x+h) - f(x-h)) - 9 (f(x+2h) - f(x-2h)) + (f(x+3h) - f(x-3h))] / (60 h) + O(h^6)
//
// In double with h = 0.01 both the remainder and the rounding are far below 1e-8 for functions that vary on a scale
// of 1.

#include <eosin/core/parameters.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace eosin::testing {

/// What a gradient may be off by, relative to its largest entry.
inline constexpr double gradient_tolerance = 1e-8;

/// Derivative of value() by `x`, which it reads.
template <class F>
double six_point_difference(double& x, F&& value, double h = 0.01) {
  const double at = x;
  const auto f = [&](double shift) {
    x = at + shift;
    const double result = value();
    x = at;
    return result;
  };
  return (45 * (f(h) - f(-h)) - 9 * (f(2 * h) - f(-2 * h)) + (f(3 * h) - f(-3 * h))) / (60 * h);
}

/// Largest difference between `gradient` and that of value() by the elements of `x`, relative to the largest entry.
template <class F>
double gradient_error(VectorView<double> x, VectorView<const double> gradient, F&& value, double h = 0.01) {
  if (x.size() != gradient.size()) return std::numeric_limits<double>::infinity();
  double error = 0, scale = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const double want = six_point_difference(x[i], value, h);
    if (!std::isfinite(want) || !std::isfinite(gradient[i])) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(gradient[i] - want));
    scale = std::max({scale, std::abs(want), std::abs(gradient[i])});
  }
  return scale > 0 ? error / scale : 0;
}

/// Checks the gradient in `parameters` segment by segment; value() must not read or write gradients that matter.
template <class F>
void check_parameter_gradients(Parameters<double>& parameters, F&& value, double h = 0.01) {
  const auto gradients = std::as_const(parameters).gradients();
  const std::vector<double> computed(gradients.data(), gradients.data() + gradients.size());
  for (const Segment& segment : parameters.segments()) {
    CAPTURE(segment.name);
    const VectorView<const double> gradient(computed.data() + segment.offset, segment.size);
    CHECK(gradient_error(parameters.values().segment(segment.offset, segment.size), gradient, value, h) <=
          gradient_tolerance);
  }
}

}  // namespace eosin::testing
