#pragma once

// The part of the negative binomial likelihood that depends on the counts and the dispersion alone: with N_j the number
// of counts above j,
//
//   sum_i log[ Gamma(y_i + 1/phi) phi^y_i / Gamma(1/phi) ] = sum_i sum_{j < y_i} log(1 + phi j) = sum_j N_j log(1 + phi
//   j) its derivative in phi                                   = sum_j N_j j / (1 + phi j)
//
// No gamma functions, stable as phi -> 0. The sums run to 64; beyond, each distinct count adds an Euler-Maclaurin sum
// (integral, end points, three derivatives), exact to rounding there because the terms vary on the scale of j >= 64.

#include <eosin/core/config.hpp>
#include <eosin/glm/log1p_forms.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace eosin::glm {

class CountSums {
 public:
  /// Takes the positive counts of a gene (any order; sorts them in place).
  void load(std::vector<double>& counts) {
    std::sort(counts.begin(), counts.end());
    above_.fill(0.0);
    large_.clear();
    for (const double y : counts) {
      const auto limit = static_cast<std::size_t>(std::min(y, static_cast<double>(split)));
      above_[limit] += 1.0;
      if (y <= static_cast<double>(split)) continue;
      if (large_.empty() || large_.back().count != y) large_.push_back({y, 0.0});
      large_.back().times += 1.0;
    }
    // above_[j] from "counts equal to j (or beyond the split)" to "counts above j".
    double total = 0.0;
    for (std::size_t j = split + 1; j-- > 0;) {
      const double equal = above_[j];
      above_[j] = total;
      total += equal;
    }
    last_ = 0;
    for (std::size_t j = 0; j < split; ++j)
      if (above_[j] > 0.0) last_ = j;
  }

  /// sum_j N_j log(1 + phi j)
  double log_rising(double phi) const {
    double sum = 0.0;
    for (std::size_t j = 1; j <= last_; ++j) sum += above_[j] * std::log1p(phi * static_cast<double>(j));
    for (const auto& [count, times] : large_)
      sum += times * (log_terms(count, phi) - log_terms(static_cast<double>(split), phi));
    return sum;
  }

  /// sum_j N_j j / (1 + phi j)
  double derivative(double phi) const {
    double sum = 0.0;
    for (std::size_t j = 1; j <= last_; ++j) {
      const double x = static_cast<double>(j);
      sum += above_[j] * x / (1.0 + phi * x);
    }
    for (const auto& [count, times] : large_)
      sum += times * (ratio_terms(count, phi) - ratio_terms(static_cast<double>(split), phi));
    return sum;
  }

 private:
  static constexpr std::size_t split = 64;

  /// Euler-Maclaurin for sum_{j < b} log(1 + phi j), up to a constant.
  static double log_terms(double b, double phi) {
    const double x = phi * b;
    const double q = phi / (1.0 + x);
    return b * detail::log1p_integral_ratio(x) - 0.5 * std::log1p(x) + q / 12.0 - q * q * q / 360.0 +
           q * q * q * q * q / 1260.0;
  }

  /// The same for sum_{j < b} j / (1 + phi j).
  static double ratio_terms(double b, double phi) {
    const double x = phi * b;
    const double r = 1.0 / (1.0 + x);
    const double q = phi * r;
    return b * b * detail::log1p_defect(x) - 0.5 * b * r + r * r * (1.0 / 12.0 - q * q / 120.0 + q * q * q * q / 252.0);
  }

  struct Large {
    double count, times;
  };

  std::array<double, split + 1> above_{};
  std::size_t last_ = 0;
  std::vector<Large> large_;
};

}  // namespace eosin::glm
