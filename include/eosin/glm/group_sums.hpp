#pragma once

// Sums over all cells of a group, zeros included, as functions of a = dispersion * exp(linear predictor):
//
//   S(a) = sum s / (1 + a s)                  P(a) = sum s / (1 + a s)^2          V(a) = sum s^2 / (1 + a s)^2
//   T(a) = sum [log(1 + a s) - a s / (1 + a s)] / a^2                             L(a) = sum log(1 + a s) / a
//
// They depend on the group's size factors alone, not on the gene: a group of some size gets a table, Chebyshev
// polynomials of degree 15 on unit intervals of log a. The singularities nearest to the real axis are at log a = -log s
// +- i pi, so the coefficients fall by a factor above 12 per degree: the table is exact to rounding. Below the table a
// series in a of two terms is exact to rounding, above it and for small groups the sums are taken directly.
// See docs/derivations/nb_glm.md.

#include <eosin/core/context.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/math/logarithm.hpp>

#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace eosin::glm {

/// The sums that the coefficients and the dispersion need; L comes by itself, for deviance and likelihood.
struct GroupSumValues {
  double s, p, t, v;
};

class GroupSums {
 public:
  /// Tabulates the groups of at least `smallest_table` cells: about 600 evaluations per cell, 25 KiB per group.
  /// `groups` must outlive the object.
  GroupSums(CpuContext& context, const CellGroups& groups, Index smallest_table = 48)
      : groups_(&groups), tables_(static_cast<std::size_t>(groups.groups())) {
    context.parallel_for(groups.groups(), 1, [&](Index begin, Index) {
      tables_[static_cast<std::size_t>(begin)].build(groups.size_factors(begin), smallest_table);
    });
  }

  /// S, P, T and V of a group at a >= 0.
  GroupSumValues values(Index group, double a) const {
    const Table& table = tables_[static_cast<std::size_t>(group)];
    if (a <= table.lowest)
      return {table.sum1 - a * table.sum2, table.sum1 - 2.0 * a * table.sum2,
              0.5 * table.sum2 - a * table.sum3 * (2.0 / 3.0), table.sum2 - 2.0 * a * table.sum3};
    if (a < table.highest) {
      const Position at = table.position(a);
      const auto v = clenshaw(table.values[at.interval], at.x);
      return {v[0], v[1], v[2], v[3]};
    }
    return direct(groups_->size_factors(group), a);
  }

  /// L of a group at a >= 0.
  double log_sum(Index group, double a) const {
    const Table& table = tables_[static_cast<std::size_t>(group)];
    if (a <= table.lowest) return table.sum1 - 0.5 * a * table.sum2;
    if (a < table.highest) {
      const Position at = table.position(a);
      return clenshaw(table.logs[at.interval], at.x)[0];
    }
    return direct_log(groups_->size_factors(group), a);
  }

  /// Sums of the size factors and of their squares.
  double sum_of_size_factors(Index group) const { return tables_[static_cast<std::size_t>(group)].sum1; }
  double sum_of_squares(Index group) const { return tables_[static_cast<std::size_t>(group)].sum2; }

 private:
  static constexpr std::size_t order = 16;
  template <std::size_t Lanes>
  using Piece = std::array<std::array<double, Lanes>, order>;

  struct Position {
    std::size_t interval;
    double x;
  };

  struct Table {
    double sum1 = 0.0, sum2 = 0.0, sum3 = 0.0;  // of s, s^2, s^3
    double lowest = 0.0, highest = 0.0;         // the table holds between; equal where there is none
    double origin = 0.0;                        // log of lowest
    std::vector<Piece<4>> values;
    std::vector<Piece<1>> logs;

    Position position(double a) const {
      const double u = std::log(a) - origin;
      const auto interval = std::min(static_cast<std::size_t>(std::max(u, 0.0)), values.size() - 1);
      return {interval, 2.0 * (u - static_cast<double>(interval)) - 1.0};
    }

    void build(VectorView<const double> s, Index smallest_table) {
      for (Index i = 0; i < s.size(); ++i) {
        sum1 += s[i];
        sum2 += s[i] * s[i];
        sum3 += s[i] * s[i] * s[i];
      }
      // The next term of the series is below (a s)^2 relative to the first.
      const double largest = s[s.size() - 1];
      lowest = highest = 1e-9 / largest;
      if (s.size() < smallest_table) return;
      origin = std::log(lowest);
      const auto intervals = static_cast<std::size_t>(std::ceil(std::log(1e6 / s[s.size() / 2]) - origin));
      highest = lowest * std::exp(static_cast<double>(intervals));
      values.resize(intervals);
      logs.resize(intervals);
      for (std::size_t interval = 0; interval < intervals; ++interval) {
        Piece<4> value_at;
        Piece<1> log_at;
        for (std::size_t node = 0; node < order; ++node) {
          const double x = std::cos(std::numbers::pi * (static_cast<double>(node) + 0.5) / order);
          const double a = std::exp(origin + static_cast<double>(interval) + 0.5 * (x + 1.0));
          const GroupSumValues sums = direct(s, a);
          value_at[node] = {sums.s, sums.p, sums.t, sums.v};
          log_at[node] = {direct_log(s, a)};
        }
        values[interval] = coefficients(value_at);
        logs[interval] = coefficients(log_at);
      }
    }
  };

  /// Chebyshev coefficients of the polynomial through the values at the roots of T_16.
  template <std::size_t Lanes>
  static Piece<Lanes> coefficients(const Piece<Lanes>& at_node) {
    Piece<Lanes> result{};
    for (std::size_t j = 0; j < order; ++j)
      for (std::size_t node = 0; node < order; ++node) {
        const double weight =
            (j == 0 ? 1.0 : 2.0) / order *
            std::cos(std::numbers::pi * static_cast<double>(j) * (static_cast<double>(node) + 0.5) / order);
        for (std::size_t lane = 0; lane < Lanes; ++lane) result[j][lane] += weight * at_node[node][lane];
      }
    return result;
  }

  template <std::size_t Lanes>
  static std::array<double, Lanes> clenshaw(const Piece<Lanes>& c, double x) {
    std::array<double, Lanes> next{}, after{};
    for (std::size_t j = order - 1; j > 0; --j)
      for (std::size_t lane = 0; lane < Lanes; ++lane) {
        const double now = c[j][lane] + 2.0 * x * next[lane] - after[lane];
        after[lane] = next[lane];
        next[lane] = now;
      }
    std::array<double, Lanes> result;
    for (std::size_t lane = 0; lane < Lanes; ++lane) result[lane] = c[0][lane] + x * next[lane] - after[lane];
    return result;
  }

  static GroupSumValues direct(VectorView<const double> size_factors, double a) {
    using V = math::Pack<double>;
    math::PackSum<double> s_sum, p_sum, t_sum, v_sum;
    math::for_each_pack<double>(0, size_factors.size(), [&](auto lanes) {
      const V s = lanes.load(size_factors.data());
      const V x = V(a) * s;
      const V q = V(1.0) + x;
      const V sr = s / q;
      s_sum.add(sr);
      p_sum.add(sr / q);
      v_sum.add(sr * sr);
      t_sum.add(detail::log1p_excess(x) / V(a * a));
    });
    return {s_sum.total(), p_sum.total(), t_sum.total(), v_sum.total()};
  }

  static double direct_log(VectorView<const double> size_factors, double a) {
    using V = math::Pack<double>;
    math::PackSum<double> sum;
    math::for_each_pack<double>(0, size_factors.size(),
                                [&](auto lanes) { sum.add(math::log1p(V(a) * lanes.load(size_factors.data()))); });
    return sum.total() / a;
  }

  const CellGroups* groups_;
  std::vector<Table> tables_;
};

}  // namespace eosin::glm
