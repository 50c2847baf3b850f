#pragma once

// Sums over all cells of a group, zeros included, as functions of a = dispersion * exp(linear predictor):
//
//   S(a) = sum s / (1 + a s)                  P(a) = sum s / (1 + a s)^2          V(a) = sum s^2 / (1 + a s)^2
//   T(a) = sum [log(1 + a s) - a s / (1 + a s)] / a^2                             L(a) = sum log(1 + a s) / a = S + a T
//
// They depend on the group's size factors alone, not on the gene, and are analytic in log a and in log s but for the
// points log a + log s = +- i pi. That is used twice (docs/derivations/nb_glm.md):
//
// - Cells to nodes. Where a unit interval of log s holds many cells, 16 Chebyshev nodes with weights that reproduce
//   the first 16 moments stand for them, exact to rounding (2e-18 times a small constant). Cost: a logarithm and 16
//   multiply-adds per cell; what follows is independent of the number of cells.
// - Nodes to a table over log a: polynomials of degree 11 on intervals of length 1/2 (error 25^-12 = 2e-17), one load
//   and one multiply-add per degree for S, P, T and V together. Below the table the Taylor series in a, to the same
//   degree and evaluated by the same code; above it (a s of some 10^4) and without a table the sum over the nodes.
//
// Memory: 12 KiB for a usual group with a table.

#include <eosin/core/context.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/math/exponential.hpp>
#include <eosin/math/logarithm.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <numbers>
#include <vector>

namespace eosin::glm {

/// The sums that the coefficients and the dispersion need.
struct GroupSumValues {
  double s, p, t, v;
};

namespace detail {

/// What a node s of weight w adds to S, P, T and V at a > 0; x = a s.
template <class V>
struct GroupSumTerms {
  V s, p, t, v;
};
template <class V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE GroupSumTerms<V> group_sum_terms(V s, V weight, V scale,
                                                                              V inverse_square) {
  const V x = scale * s;
  const V r = V(1.0) / (V(1.0) + x);
  const V sr = s * r, weighted = weight * sr;
  return {weighted, weighted * r, weight * log1p_excess(x) * inverse_square, weighted * sr};
}

}  // namespace detail

/// The tables one after the other, for where vectors cannot follow.
struct FlatGroupSums {
  struct Table {
    double sum1, sum2, sum3;        // of s, s^2, s^3
    double lowest, highest;         // Taylor below, table between; equal where there is none
    double inverse_lowest, origin;  // log of lowest
    std::int32_t first_piece, pieces;
    std::int32_t first_node, nodes;
  };
  std::vector<Table> tables;
  std::vector<double> pieces;  // [pieces x order x 4]
  std::vector<double> nodes, weights;
};

class GroupSums {
 public:
  static constexpr std::size_t order = 12;        ///< coefficients of a piece
  static constexpr double pieces_per_unit = 2.0;  ///< of log a
  static constexpr double smallest = 1e-300;      ///< of a, for its logarithm

  /// A table takes some 300 sums over the group's nodes, about 15 microseconds, and 10 KiB; a sum over even a few cells
  /// costs a gene five times what the table does. So groups from 2 cells on get one, but from 24 where there are more
  /// than 4,096 groups, so that memory stays bounded.
  GroupSums(CpuContext& context, const CellGroups& groups)
      : GroupSums(context, groups, groups.groups() <= 4096 ? 2 : 24) {}
  /// Groups of at least `smallest_table` cells get a table.
  GroupSums(CpuContext& context, const CellGroups& groups, Index smallest_table)
      : tables_(static_cast<std::size_t>(groups.groups())) {
    context.parallel_for(groups.groups(), 1, [&](Index begin, Index) {
      tables_[static_cast<std::size_t>(begin)].build(groups.size_factors(begin), smallest_table);
    });
  }

  /// S, P, T and V of a group at a >= 0.
  GroupSumValues values(Index group, double a) const {
    const Table& table = tables_[static_cast<std::size_t>(group)];
    GroupSumValues result;
    evaluate(table, a, a > 0.0 ? math::log_normal(std::max(a, smallest)) : -1e3, &result.s, &result.p, &result.t,
             &result.v);
    return result;
  }

  /// The same for group[i] at a[i], i < n; the arrays have room for whole packs.
  void values(const Index* group, Index n, const double* a, double* s, double* p, double* t, double* v) const {
    for (Index i = 0; i < n; i += V::size) {
      alignas(alignment) double logs[static_cast<std::size_t>(V::size)];
      const V x = math::FullLanes<double>{i}.load(a);
      math::FullLanes<double>{0}.store(logs, math::log_normal(math::select(x < V(smallest), V(smallest), x)));
      for (Index lane = 0; lane < V::size && i + lane < n; ++lane)
        evaluate(tables_[static_cast<std::size_t>(group[i + lane])], a[i + lane], logs[lane], s + i + lane,
                 p + i + lane, t + i + lane, v + i + lane);
    }
  }

  /// L of a group at a >= 0.
  double log_sum(Index group, double a) const {
    const auto sums = values(group, a);
    return sums.s + a * sums.t;
  }

  /// Sums of the size factors, of their squares and cubes.
  double sum_of_size_factors(Index group) const { return tables_[static_cast<std::size_t>(group)].sum1; }
  double sum_of_squares(Index group) const { return tables_[static_cast<std::size_t>(group)].sum2; }
  double sum_of_cubes(Index group) const { return tables_[static_cast<std::size_t>(group)].sum3; }

  FlatGroupSums flat() const {
    FlatGroupSums result;
    for (const Table& table : tables_) {
      result.tables.push_back({table.sum1, table.sum2, table.sum3, table.lowest, table.highest, table.inverse_lowest,
                               table.origin, static_cast<std::int32_t>(result.pieces.size() / (4 * order)),
                               static_cast<std::int32_t>(table.pieces.size()),
                               static_cast<std::int32_t>(result.nodes.size()),
                               static_cast<std::int32_t>(table.node.size())});
      for (const Piece& piece : table.pieces)
        for (const auto& coefficients : piece.c)
          result.pieces.insert(result.pieces.end(), std::begin(coefficients), std::end(coefficients));
      result.nodes.insert(result.nodes.end(), table.node.begin(), table.node.end());
      result.weights.insert(result.weights.end(), table.weight.begin(), table.weight.end());
    }
    return result;
  }

 private:
  using V = math::Pack<double>;
  static constexpr std::size_t nodes = 16;  ///< for a unit interval of log s

  /// Coefficients of S, P, T and V side by side.
  struct alignas(32) Piece {
    double c[order][4];
  };
  typedef double Four __attribute__((vector_size(32)));

  struct Table {
    double sum1 = 0.0, sum2 = 0.0, sum3 = 0.0;  // of s, s^2, s^3
    double lowest = 0.0, highest = 0.0;         // Taylor below, table between; equal where there is none
    double inverse_lowest = 0.0, origin = 0.0;  // log of lowest
    std::vector<Piece> pieces;                  // the first is the Taylor series
    Buffer<double> node, weight;                // what stands for the cells, padded to whole packs with weight 0

    void build(VectorView<const double> s, Index smallest_table) {
      double largest = 0.0, log_sum = 0.0;
      for (Index i = 0; i < s.size(); ++i) {
        sum1 += s[i];
        sum2 += s[i] * s[i];
        sum3 += s[i] * s[i] * s[i];
        largest = std::max(largest, s[i]);
      }
      make_nodes(s, log_sum);
      lowest = highest = 0.04 / largest;
      inverse_lowest = 1.0 / lowest;
      origin = std::log(lowest);
      pieces.push_back(taylor());
      if (s.size() < smallest_table) return;
      const double middle = log_sum / static_cast<double>(s.size());
      const auto count = static_cast<std::size_t>(std::ceil((std::log(1e4) - middle - origin) * pieces_per_unit));
      highest = lowest * std::exp(static_cast<double>(count) / pieces_per_unit);
      pieces.reserve(count + 1);
      for (std::size_t i = 0; i < count; ++i) pieces.push_back(interpolate(i));
    }

    /// Cells to nodes, interval by interval of log s where that makes fewer of them.
    void make_nodes(VectorView<const double> s, double& log_total) {
      const Index n = s.size();
      Buffer<double> logs(n);
      double least = std::numeric_limits<double>::infinity(), most = -least;
      math::for_each_pack<double>(
          0, n, [&](auto lanes) { lanes.store(logs.data(), math::log_normal(lanes.load(s.data(), 1.0))); });
      for (const double x : logs) {
        least = std::min(least, x);
        most = std::max(most, x);
        log_total += x;
      }
      const auto intervals = static_cast<std::size_t>(std::floor(most - least)) + 1;
      std::vector<Index> begin(intervals + 1, 0);
      const auto interval_of = [&](double x) { return std::min(static_cast<std::size_t>(x - least), intervals - 1); };
      for (const double x : logs) ++begin[interval_of(x) + 1];
      Index total = 0;
      for (std::size_t i = 0; i < intervals; ++i) total += std::min(begin[i + 1], static_cast<Index>(nodes));
      for (std::size_t i = 0; i < intervals; ++i) begin[i + 1] += begin[i];
      std::vector<Index> place(begin.begin(), begin.end() - 1);
      Buffer<double> sorted(n);  // positions x in [-1, 1] of their interval, or the size factors themselves
      const auto kept = [&](std::size_t i) { return begin[i + 1] - begin[i] <= static_cast<Index>(nodes); };
      for (Index cell = 0; cell < n; ++cell) {
        const std::size_t i = interval_of(logs[cell]);
        sorted[place[i]++] = kept(i) ? s[cell] : 2.0 * (logs[cell] - least - static_cast<double>(i)) - 1.0;
      }
      const Index room = (total + V::size - 1) / V::size * V::size;
      node = Buffer<double>(room);
      weight = Buffer<double>(room);
      node.fill(s[0]);
      Index to = 0;
      for (std::size_t i = 0; i < intervals; ++i) {
        if (kept(i)) {
          for (Index e = begin[i]; e < begin[i + 1]; ++e, ++to) {
            node[to] = sorted[e];
            weight[to] = 1.0;
          }
          continue;
        }
        const auto weights = chebyshev_weights(sorted.data(), begin[i], begin[i + 1]);
        for (std::size_t j = 0; j < nodes; ++j, ++to) {
          node[to] = std::exp(least + static_cast<double>(i) + 0.5 * (root(j, nodes) + 1.0));
          weight[to] = weights[j];
        }
      }
    }

    /// Weights of the roots of T_16 that integrate polynomials of degree 15 like the points x[begin .. end).
    static std::array<double, nodes> chebyshev_weights(const double* x, Index begin, Index end) {
      std::array<math::PackSum<double>, nodes> sums;
      math::for_each_pack<double>(begin, end, [&](auto lanes) {
        const V at = lanes.load(x), twice = at + at;
        V before(1.0), now = at;
        sums[0].add(lanes.keep(before));
        for (std::size_t m = 1; m < nodes; ++m) {
          sums[m].add(lanes.keep(now));
          const V next = math::multiply_add(twice, now, -before);
          before = now;
          now = next;
        }
      });
      std::array<double, nodes> moments, weights;
      for (std::size_t m = 0; m < nodes; ++m) moments[m] = sums[m].total() * (m == 0 ? 1.0 : 2.0) / nodes;
      for (std::size_t j = 0; j < nodes; ++j) {
        weights[j] = 0.0;
        for (std::size_t m = 0; m < nodes; ++m) weights[j] += moments[m] * chebyshev(m, j, nodes);
      }
      return weights;
    }

    /// The series in a, in powers of a / lowest.
    Piece taylor() const {
      Piece piece{};
      std::array<double, order + 2> moments{};  // sum s (s lowest)^m
      for (Index i = 0; i < node.size(); ++i) {
        double power = weight[i] * node[i];
        for (double& m : moments) {
          m += power;
          power *= node[i] * lowest;
        }
      }
      for (std::size_t m = 0; m < order; ++m) {
        const double sign = m % 2 == 0 ? 1.0 : -1.0, n = static_cast<double>(m);
        piece.c[m][0] = sign * moments[m];
        piece.c[m][1] = sign * (n + 1.0) * moments[m];
        piece.c[m][2] = sign * (n + 1.0) / (n + 2.0) * moments[m + 1] * inverse_lowest;
        piece.c[m][3] = sign * (n + 1.0) * moments[m + 1] * inverse_lowest;
      }
      piece.c[0][0] = piece.c[0][1] = sum1;
      piece.c[0][2] = 0.5 * sum2;
      piece.c[0][3] = sum2;
      return piece;
    }

    Piece interpolate(std::size_t interval) const {
      std::array<std::array<double, 4>, order> at_root;
      for (std::size_t j = 0; j < order; ++j) {
        const double u = origin + (static_cast<double>(interval) + 0.5 * (root(j, order) + 1.0)) / pieces_per_unit;
        const GroupSumValues sums = direct(*this, std::exp(u));
        at_root[j] = {sums.s, sums.p, sums.t, sums.v};
      }
      return in_powers(at_root);
    }
  };

  static double root(std::size_t j, std::size_t n) {
    return std::cos(std::numbers::pi * (static_cast<double>(j) + 0.5) / static_cast<double>(n));
  }
  /// T_m at root j of T_n.
  static double chebyshev(std::size_t m, std::size_t j, std::size_t n) {
    return std::cos(std::numbers::pi * static_cast<double>(m) * (static_cast<double>(j) + 0.5) /
                    static_cast<double>(n));
  }

  /// Values at the roots of T_12 to coefficients in powers of x, by way of the Chebyshev coefficients: these carry the
  /// rounding of the values, which then stays bounded by T_m; the powers in T_m grow by 2.4 per degree while the
  /// coefficients fall by 25. (One matrix from values to powers would lose three digits.)
  static Piece in_powers(const std::array<std::array<double, 4>, order>& at_root) {
    struct Matrices {
      std::array<std::array<double, order>, order> chebyshev_of_values{}, powers_of_chebyshev{};
    };
    static const Matrices matrices = [] {
      Matrices result;
      auto& t = result.powers_of_chebyshev;
      t[0][0] = t[1][1] = 1.0;
      for (std::size_t m = 2; m < order; ++m)
        for (std::size_t p = 0; p < order; ++p) t[m][p] = (p > 0 ? 2.0 * t[m - 1][p - 1] : 0.0) - t[m - 2][p];
      for (std::size_t m = 0; m < order; ++m)
        for (std::size_t j = 0; j < order; ++j)
          result.chebyshev_of_values[m][j] = (m == 0 ? 1.0 : 2.0) / order * chebyshev(m, j, order);
      return result;
    }();
    Piece piece{};
    for (std::size_t m = 0; m < order; ++m) {
      std::array<double, 4> coefficient{};
      for (std::size_t j = 0; j < order; ++j)
        for (std::size_t lane = 0; lane < 4; ++lane)
          coefficient[lane] += matrices.chebyshev_of_values[m][j] * at_root[j][lane];
      for (std::size_t p = m % 2; p <= m; p += 2)
        for (std::size_t lane = 0; lane < 4; ++lane)
          piece.c[p][lane] += matrices.powers_of_chebyshev[m][p] * coefficient[lane];
    }
    return piece;
  }

  /// Sums over the nodes.
  static GroupSumValues direct(const Table& table, double a) {
    math::PackSum<double> s_sum, p_sum, t_sum, v_sum;
    const V scale(a), inverse_square(1.0 / (a * a));
    for (Index i = 0; i < table.node.size(); i += V::size) {
      const math::FullLanes<double> lanes{i};
      const V s = lanes.load(table.node.data()), weight = lanes.load(table.weight.data());
      const auto terms = detail::group_sum_terms(s, weight, scale, inverse_square);
      s_sum.add(terms.s);
      p_sum.add(terms.p);
      v_sum.add(terms.v);
      t_sum.add(terms.t);
    }
    return {s_sum.total(), p_sum.total(), t_sum.total(), v_sum.total()};
  }

  static EOSIN_ALWAYS_INLINE void evaluate(const Table& table, double a, double log_a, double* s, double* p, double* t,
                                           double* v) {
    const Piece* piece = table.pieces.data();
    double x = a * table.inverse_lowest;
    if (a > table.lowest) {
      if (a >= table.highest) {
        const auto sums = direct(table, a);
        *s = sums.s;
        *p = sums.p;
        *t = sums.t;
        *v = sums.v;
        return;
      }
      const double u = (log_a - table.origin) * pieces_per_unit;
      const auto interval = std::min(static_cast<std::size_t>(std::max(u, 0.0)), table.pieces.size() - 2);
      piece += interval + 1;
      x = 2.0 * (u - static_cast<double>(interval)) - 1.0;
    }
    // Even and odd powers apart: two chains of half the length.
    const double x2 = x * x;
    const Four square = {x2, x2, x2, x2}, at = {x, x, x, x};
    Four sum, odd;
    std::memcpy(&sum, piece->c[order - 2], sizeof(sum));
    std::memcpy(&odd, piece->c[order - 1], sizeof(odd));
    for (std::size_t m = order - 2; m > 0; m -= 2) {
      multiply_add(sum, square, piece->c[m - 2]);
      multiply_add(odd, square, piece->c[m - 1]);
    }
    odd = odd * at;
    sum = sum + odd;
    *s = sum[0];
    *p = sum[1];
    *t = sum[2];
    *v = sum[3];
  }
  /// sum := sum * x + c. By reference: how vectors are passed depends on the instruction set.
  static EOSIN_ALWAYS_INLINE void multiply_add(Four& sum, const Four& x, const double* c) {
    Four addend;
    std::memcpy(&addend, c, sizeof(addend));
#if defined(EOSIN_PACK_AVX512) || defined(EOSIN_PACK_AVX2)
    sum = _mm256_fmadd_pd(sum, x, addend);
#else
    sum = sum * x + addend;
#endif
  }

  std::vector<Table> tables_;
};

}  // namespace eosin::glm
