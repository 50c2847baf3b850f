#pragma once

// The part of the negative binomial likelihood that depends on the counts and the dispersion alone: with N_j the number
// of counts above j,
//
//   sum_i log[ Gamma(y_i + 1/phi) phi^y_i / Gamma(1/phi) ] = sum_i sum_{j < y_i} log(1 + phi j) = sum_j N_j log(1 + phi
//   j) its derivatives in phi   sum_j N_j j / (1 + phi j)   and   -sum_j N_j j^2 / (1 + phi j)^2
//
// No gamma functions, stable as phi -> 0. The sums run to 64; beyond, each distinct count adds an Euler-Maclaurin sum
// (integral, end points, three derivatives), exact to rounding there because the terms vary on the scale of j >= 64.
// Cost: O(min(largest count, 64) + distinct counts above 64), eight at a time with AVX-512.

#include <eosin/core/config.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/math/stirling.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace eosin::glm {

namespace detail {

/// log(y!) for y >= 0, by Stirling's formula with its remainder.
template <class V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V log_factorial(V y) {
  const V z = y + V(1.0);
  return (z - V(0.5)) * math::log(z) - z + V(0.91893853320467274178) + math::stirling_from_one(z).remainder;
}

/// Euler-Maclaurin for sum_{j < b} log(1 + phi j), up to a constant.
template <class Value>
EOSIN_HOST_DEVICE inline Value log_terms(Value b, double phi) {
  const Value x = Value(phi) * b;
  const Value q = Value(phi) / (Value(1.0) + x), q2 = q * q;
  return b * log1p_integral_ratio(x) - Value(0.5) * math::log1p(x) +
         q * (Value(1.0 / 12.0) - q2 * (Value(1.0 / 360.0) - q2 * Value(1.0 / 1260.0)));
}

template <class Value>
struct RatioTerms {
  Value first, second;
};
/// The same for sum_{j < b} j / (1 + phi j) and sum_{j < b} j^2 / (1 + phi j)^2, the latter to some digits only.
template <class Value>
EOSIN_HOST_DEVICE inline RatioTerms<Value> ratio_terms(Value b, double phi) {
  const Value x = Value(phi) * b;
  const Value r = Value(1.0) / (Value(1.0) + x);
  const Value q = Value(phi) * r, q2 = q * q;
  const Value defect = log1p_defect(x);
  const Value first = b * b * defect - Value(0.5) * b * r +
                      r * r * (Value(1.0 / 12.0) - q2 * (Value(1.0 / 120.0) - q2 * Value(1.0 / 252.0)));
  // int u^2 / (1 + phi u)^2 du = b^3 [x / (1 + x) + x - 2 log(1 + x)] / x^3; series x (1/3 - x/2 ...) near 0.
  const Value near = Value(1.0 / 3.0) - x * (Value(0.5) - x * (Value(0.6) - x * Value(2.0 / 3.0)));
  const Value far = (Value(2.0) * defect - r) / x;
  const Value second = b * b * b * math::select(x < Value(1e-3), near, far) - Value(0.5) * b * b * r * r;
  return {first, second};
}

}  // namespace detail

class CountSums {
 public:
  /// Takes the positive counts of a gene, in any order.
  void load(const double* counts, Index n) {
    // Four tallies, so that equal counts one after the other do not wait for each other.
    std::array<std::array<int, split + 1>, 4> tally{};
    large_count_.clear();
    large_times_.clear();
    std::size_t largest = 0;
    for (Index i = 0; i < n; ++i) {
      const double y = counts[i];
      if (y <= static_cast<double>(split)) {
        const auto j = static_cast<std::size_t>(y);
        largest = std::max(largest, j);
        ++tally[static_cast<std::size_t>(i & 3)][j];
      } else {
        large_count_.push_back(y);
      }
    }
    double total = static_cast<double>(large_count_.size());
    std::sort(large_count_.begin(), large_count_.end());
    std::size_t distinct = 0;
    for (const double y : large_count_) {
      if (distinct == 0 || large_count_[distinct - 1] != y) {
        large_count_[distinct++] = y;
        large_times_.push_back(0.0);
      }
      large_times_.back() += 1.0;
    }
    large_count_.resize(distinct);
    // The sums over N_j go below the split, where the large counts take over.
    largest_small_ = static_cast<Index>(largest);
    last_ = total > 0.0 ? static_cast<Index>(split) - 1 : std::max<Index>(0, largest_small_ - 1);
    std::size_t j = static_cast<std::size_t>(std::max(last_, largest_small_)) + 1;
    while (j-- > 0) {
      equal_[j] = static_cast<double>(tally[0][j] + tally[1][j] + tally[2][j] + tally[3][j]);
      above_[j] = total;
      total += equal_[j];
    }
  }

  /// sum_j N_j log(1 + phi j)
  double log_rising(double phi) const {
    double sum = over_small([&](V j, V n) { return n * math::log1p(V(phi) * j); });
    if (!large_count_.empty()) {
      const double at_split = detail::log_terms(static_cast<double>(split), phi);
      sum += over_large([&](V y, V times) { return times * (detail::log_terms(y, phi) - V(at_split)); });
    }
    return sum;
  }

  struct Derivatives {
    double first, second;
  };
  /// sum_j N_j j / (1 + phi j) and -sum_j N_j j^2 / (1 + phi j)^2
  Derivatives derivatives(double phi) const {
    double second = 0.0;
    double first = over_small(
        [&](V j, V n) {
          const V ratio = j / math::multiply_add(V(phi), j, V(1.0));
          return Pair{n * ratio, n * ratio * ratio};
        },
        second);
    if (!large_count_.empty()) {
      const auto at_split = detail::ratio_terms(static_cast<double>(split), phi);
      first += over_large(
          [&](V y, V times) {
            const auto terms = detail::ratio_terms(y, phi);
            return Pair{times * (terms.first - V(at_split.first)), times * (terms.second - V(at_split.second))};
          },
          second);
    }
    return {first, -second};
  }

  double derivative(double phi) const { return derivatives(phi).first; }

  /// sum of f(count) over the counts; f takes and gives packs.
  template <class F>
  double sum_of(F&& f) const {
    math::PackSum<double> sum;
    math::for_each_pack<double>(1, largest_small_ + 1, [&](auto lanes) {
      sum.add(lanes.keep(lanes.load(equal_.data()) * f(lanes.load(numbers().data(), 1.0))));
    });
    return sum.total() + over_large([&](V y, V times) { return times * f(y); });
  }

  /// Counts above it are kept one by one.
  static constexpr std::size_t split = 64;
  /// By j = 0 .. split: the number of counts above j, for j <= last_above(), and of those equal to j, for j <=
  /// last_equal().
  const std::array<double, split + 1>& above() const { return above_; }
  const std::array<double, split + 1>& equal() const { return equal_; }
  Index last_above() const { return last_; }
  Index last_equal() const { return largest_small_; }
  /// The distinct counts beyond, and how many there are of each.
  const std::vector<double>& large_counts() const { return large_count_; }
  const std::vector<double>& large_times() const { return large_times_; }

 private:
  using V = math::Pack<double>;
  struct Pair {
    V first, second;
  };

  static const std::array<double, split + 1>& numbers() {
    static constexpr auto values = [] {
      std::array<double, split + 1> result{};
      for (std::size_t j = 0; j <= split; ++j) result[j] = static_cast<double>(j);
      return result;
    }();
    return values;
  }

  template <class F>
  double over_small(F&& f) const {
    math::PackSum<double> sum;
    math::for_each_pack<double>(0, last_ + 1, [&](auto lanes) {
      sum.add(lanes.keep(f(lanes.load(numbers().data()), lanes.load(above_.data()))));
    });
    return sum.total();
  }
  template <class F>
  double over_small(F&& f, double& second) const {
    math::PackSum<double> sum, other;
    math::for_each_pack<double>(0, last_ + 1, [&](auto lanes) {
      const Pair terms = f(lanes.load(numbers().data()), lanes.load(above_.data()));
      sum.add(lanes.keep(terms.first));
      other.add(lanes.keep(terms.second));
    });
    second += other.total();
    return sum.total();
  }
  template <class F>
  double over_large(F&& f) const {
    math::PackSum<double> sum;
    math::for_each_pack<double>(0, static_cast<Index>(large_count_.size()), [&](auto lanes) {
      sum.add(lanes.keep(f(lanes.load(large_count_.data(), 1.0), lanes.load(large_times_.data()))));
    });
    return sum.total();
  }
  template <class F>
  double over_large(F&& f, double& second) const {
    math::PackSum<double> sum, other;
    math::for_each_pack<double>(0, static_cast<Index>(large_count_.size()), [&](auto lanes) {
      const Pair terms = f(lanes.load(large_count_.data(), 1.0), lanes.load(large_times_.data()));
      sum.add(lanes.keep(terms.first));
      other.add(lanes.keep(terms.second));
    });
    second += other.total();
    return sum.total();
  }

  std::array<double, split + 1> above_{}, equal_{};
  Index last_ = 0, largest_small_ = 0;  // with above_ and with equal_ not 0
  std::vector<double> large_count_, large_times_;
};

}  // namespace eosin::glm
