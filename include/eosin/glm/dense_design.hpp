#pragma once

// Designs beyond types x batches: cell types, any number of further categorical covariates, and continuous covariates,
//
//   log mean of cell i = offset_i + beta_t(i) + sum_f gamma_f,l_f(i) + x_i'delta
//
// The cells are sorted by group (distinct combination of levels), so that the categorical part of the linear predictor
// is a constant of the group and only the few continuous columns are dense. Columns of coefficients: the types, then
// the levels of each covariate, then the continuous covariates.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/categories.hpp>
#include <eosin/glm/dense_factor.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

/// Numbers per cell. NaN is missing.
struct ContinuousCovariates {
  std::vector<std::string> names = {};
  Matrix<double> values = {};  ///< [cells x names]
};

class DenseDesign {
 public:
  /// Cells that lack a type, a level or a number take no part; dropped() counts them. Throws ShapeError where lengths
  /// differ, ValueError on codes out of range, infinite numbers and duplicate names.
  explicit DenseDesign(Categories type, std::vector<Covariate> covariates = {}, ContinuousCovariates continuous = {})
      : continuous_(std::move(continuous)) {
    factors_.push_back({"type", std::move(type)});
    for (auto& covariate : covariates) factors_.push_back(std::move(covariate));
    for (const Covariate& factor : factors_) {
      require_size("DenseDesign", "covariate '" + factor.name + "'", "cells", factor.levels.cells(), cells(),
                   "cells of types");
      require_value(factor.levels.levels() > 0, "DenseDesign", "there is no level of '" + factor.name + "'");
      for (Index cell = 0; cell < cells(); ++cell) {
        const Index code = factor.levels.codes[static_cast<std::size_t>(cell)];
        if (code < Categories::missing || code >= factor.levels.levels())
          throw ValueError("DenseDesign: cell " + std::to_string(cell) + " (from 0) has code " + std::to_string(code) +
                           " of '" + factor.name + "', there are " + std::to_string(factor.levels.levels()) +
                           " levels");
      }
      first_column_.push_back(static_cast<Index>(column_names_.size()));
      for (const auto& level : factor.levels.names) column_names_.push_back(factor.name + ":" + level);
    }
    first_column_.push_back(static_cast<Index>(column_names_.size()));
    const Index numbers = static_cast<Index>(continuous_.names.size());
    require_size("DenseDesign", "continuous values", "columns", continuous_.values.cols(), numbers, "names");
    if (numbers > 0)
      require_size("DenseDesign", "continuous values", "rows", continuous_.values.rows(), cells(), "cells of types");
    for (const auto& name : continuous_.names) column_names_.push_back(name);
    std::vector<std::string> sorted = column_names_;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) throw ValueError("DenseDesign: two columns are named '" + *twice + "'");
    for (Index cell = 0; cell < cells(); ++cell) {
      for (Index j = 0; j < numbers; ++j)
        if (std::isinf(continuous_.values(cell, j)))
          throw ValueError("DenseDesign: '" + continuous_.names[static_cast<std::size_t>(j)] + "' of cell " +
                           std::to_string(cell) + " (from 0) is infinite");
      if (!has(cell)) ++dropped_;
    }
  }

  Index cells() const { return factors_.front().levels.cells(); }
  /// Types and categorical covariates.
  Index factors() const { return static_cast<Index>(factors_.size()); }
  const Covariate& factor(Index f) const { return factors_[static_cast<std::size_t>(f)]; }
  Index types() const { return factors_.front().levels.levels(); }
  Index continuous() const { return static_cast<Index>(continuous_.names.size()); }
  const ContinuousCovariates& continuous_covariates() const { return continuous_; }
  /// "type:T cell", "batch:B2", ..., and the names of the continuous covariates.
  const std::vector<std::string>& column_names() const { return column_names_; }
  Index columns() const { return static_cast<Index>(column_names_.size()); }
  /// First column of a factor, and for factors() that of the continuous covariates.
  Index first_column(Index f) const { return first_column_[static_cast<std::size_t>(f)]; }
  bool has(Index cell) const {
    for (const Covariate& factor : factors_)
      if (factor.levels.codes[static_cast<std::size_t>(cell)] < 0) return false;
    for (Index j = 0; j < continuous(); ++j)
      if (std::isnan(continuous_.values(cell, j))) return false;
    return true;
  }
  Index dropped() const { return dropped_; }

 private:
  std::vector<Covariate> factors_;
  ContinuousCovariates continuous_;
  std::vector<Index> first_column_;
  std::vector<std::string> column_names_;
  Index dropped_ = 0;
};

/// Sums over the cells of each group, weighted: of 1, of the continuous columns and of their products.
struct GroupMoments {
  std::vector<double> weight;  ///< [groups]
  std::vector<double> first;   ///< [groups x continuous]
  std::vector<double> second;  ///< [groups x continuous x continuous], lower triangle

  void reset(Index groups, Index continuous) {
    weight.assign(static_cast<std::size_t>(groups), 0.0);
    first.assign(static_cast<std::size_t>(groups * continuous), 0.0);
    second.assign(static_cast<std::size_t>(groups * continuous * continuous), 0.0);
  }
};

/// The cells of a dense design sorted by group, each group filled up to whole packs with places without a cell (offset
/// `no_cell`, whose exponential is 0). Continuous columns are centred and scaled to mean 0, variance 1.
class DenseCells {
 public:
  static constexpr double no_cell = -1e4;
  static constexpr Index without_label = -1;
  static constexpr Index without_depth = -2;

  /// size_factors [cells]; a cell with size factor 0 takes no part. Throws ShapeError, ValueError as CellGroups does,
  /// and DesignError where a level has no cell, a continuous covariate is constant or a column depends linearly on
  /// others (the message names the columns).
  DenseCells(const DenseDesign& design, VectorView<const double> size_factors) : design_(&design) {
    require_size("DenseCells", "size_factors", "elements", size_factors.size(), design.cells(), "cells");
    const Index factors = design.factors(), numbers = design.continuous();
    place_.assign(static_cast<std::size_t>(design.cells()), without_label);
    std::map<std::vector<Index>, std::vector<Index>> members;  // by columns of the levels
    for (Index cell = 0; cell < design.cells(); ++cell) {
      const double s = size_factors[cell];
      if (!(s >= 0.0) || std::isinf(s))
        throw ValueError("size factor of cell " + std::to_string(cell) + " (from 0) is " +
                         (std::isnan(s) ? std::string("NaN") : std::to_string(s)) + ", expected a finite number >= 0");
      if (!design.has(cell)) continue;
      if (s == 0.0) {
        place_[static_cast<std::size_t>(cell)] = without_depth;
        continue;
      }
      std::vector<Index> columns;
      for (Index f = 0; f < factors; ++f)
        columns.push_back(design.first_column(f) + design.factor(f).levels.codes[static_cast<std::size_t>(cell)]);
      members[columns].push_back(cell);
      ++used_;
    }
    begin_.push_back(0);
    for (const auto& [columns, cells] : members) {
      columns_.insert(columns_.end(), columns.begin(), columns.end());
      count_.push_back(static_cast<Index>(cells.size()));
      const Index lanes = math::Pack<double>::size;
      begin_.push_back(begin_.back() + (count_.back() + lanes - 1) / lanes * lanes);
    }
    log_size_factors_ = Vector<double>(places());
    log_size_factors_.fill(no_cell);
    x_ = Matrix<double>(numbers, places());
    cell_.assign(static_cast<std::size_t>(places()), -1);
    Index k = 0;
    for (const auto& entry : members) {
      Index place = begin_[static_cast<std::size_t>(k++)];
      for (const Index cell : entry.second) {
        place_[static_cast<std::size_t>(cell)] = place;
        cell_[static_cast<std::size_t>(place)] = cell;
        log_size_factors_[place] = std::log(size_factors[cell]);
        for (Index j = 0; j < numbers; ++j) x_(j, place) = design.continuous_covariates().values(cell, j);
        ++place;
      }
    }
    require_value(used_ > 0, "DenseCells", "no cell takes part");
    standardise();
    unweighted_.reset(groups(), numbers);
    const std::vector<double> ones(static_cast<std::size_t>(places()), 1.0);
    for (Index group = 0; group < groups(); ++group) {
      add_moments(group, begin(group), end(group), ones.data(), unweighted_);  // x is 0 in places without a cell
      unweighted_.weight[static_cast<std::size_t>(group)] =
          static_cast<double>(count_[static_cast<std::size_t>(group)]);
    }
    require_estimable();
  }

  const DenseDesign& design() const { return *design_; }
  Index groups() const { return static_cast<Index>(count_.size()); }
  Index used() const { return used_; }
  Index continuous() const { return x_.rows(); }
  Index places() const { return begin_.back(); }
  Index begin(Index group) const { return begin_[static_cast<std::size_t>(group)]; }
  Index end(Index group) const { return begin_[static_cast<std::size_t>(group + 1)]; }
  /// Column of the group's level of a factor.
  Index column(Index group, Index factor) const {
    return columns_[static_cast<std::size_t>(group * design_->factors() + factor)];
  }
  /// Place of a cell, or why it has none.
  Index place_of(Index cell) const { return place_[static_cast<std::size_t>(cell)]; }
  /// Cell at a place, -1 without.
  Index cell_at(Index place) const { return cell_[static_cast<std::size_t>(place)]; }
  const double* log_size_factors() const { return log_size_factors_.data(); }
  /// Centred and scaled column of a continuous covariate, over the places.
  const double* x(Index j) const { return x_.data() + j * x_.cols(); }
  double centre(Index j) const { return centre_[static_cast<std::size_t>(j)]; }
  double scale(Index j) const { return scale_[static_cast<std::size_t>(j)]; }
  /// Moments with weight 1.
  const GroupMoments& unweighted() const { return unweighted_; }

  /// Adds the moments of places [begin, end) of a group, weights[place - begin].
  void add_moments(Index group, Index begin, Index end, const double* weights, GroupMoments& moments) const {
    using V = math::Pack<double>;
    const Index numbers = continuous(), count = end - begin;
    const auto sum = [&](auto&& term) {
      V total(0.0);
      for (Index i = 0; i < count; i += V::size) total = total + term(math::FullLanes<double>{i});
      double result = 0.0;
      for (Index lane = 0; lane < V::size; ++lane) result += total.lanes[lane];
      return result;
    };
    moments.weight[static_cast<std::size_t>(group)] += sum([&](auto lanes) { return lanes.load(weights); });
    for (Index a = 0; a < numbers; ++a) {
      const double* xa = x(a) + begin;
      moments.first[static_cast<std::size_t>(group * numbers + a)] +=
          sum([&](auto lanes) { return lanes.load(weights) * lanes.load(xa); });
      for (Index b = 0; b <= a; ++b) {
        const double* xb = x(b) + begin;
        moments.second[static_cast<std::size_t>((group * numbers + a) * numbers + b)] +=
            sum([&](auto lanes) { return lanes.load(weights) * lanes.load(xa) * lanes.load(xb); });
      }
    }
  }

  /// X'WX, lower triangle, of the active groups; slots [columns]: row of a column, -1 for none. matrix [n x n].
  void assemble(const std::vector<Index>& active, const std::vector<Index>& slots, std::size_t n,
                const GroupMoments& moments, std::vector<double>& matrix) const {
    matrix.assign(n * n, 0.0);
    const Index factors = design_->factors(), numbers = continuous(), dense = design_->first_column(factors);
    const auto add = [&](Index a, Index b, double value) {
      if (a < 0 || b < 0) return;
      matrix[static_cast<std::size_t>(std::max(a, b)) * n + static_cast<std::size_t>(std::min(a, b))] += value;
    };
    for (const Index k : active) {
      for (Index f = 0; f < factors; ++f) {
        const Index a = slots[static_cast<std::size_t>(column(k, f))];
        for (Index g = 0; g <= f; ++g)
          add(a, slots[static_cast<std::size_t>(column(k, g))], moments.weight[static_cast<std::size_t>(k)]);
        for (Index j = 0; j < numbers; ++j)
          add(a, slots[static_cast<std::size_t>(dense + j)], moments.first[static_cast<std::size_t>(k * numbers + j)]);
      }
      for (Index i = 0; i < numbers; ++i)
        for (Index j = 0; j <= i; ++j)
          add(slots[static_cast<std::size_t>(dense + i)], slots[static_cast<std::size_t>(dense + j)],
              moments.second[static_cast<std::size_t>((k * numbers + i) * numbers + j)]);
    }
  }

 private:
  void standardise() {
    for (Index j = 0; j < x_.rows(); ++j) {
      double* column = x_.data() + j * x_.cols();
      const double count = static_cast<double>(used_);
      double mean = 0.0, squares = 0.0, largest = 0.0;
      for (Index i = 0; i < places(); ++i) {
        mean += column[i];
        largest = std::max(largest, std::abs(column[i]));
      }
      mean /= count;
      for (Index i = 0; i < places(); ++i) {
        if (cell_at(i) < 0) continue;
        column[i] -= mean;
        squares += column[i] * column[i];
      }
      const double deviation = std::sqrt(squares / count);
      if (!(deviation > 1e-12 * largest))
        throw DesignError("'" + design_->continuous_covariates().names[static_cast<std::size_t>(j)] +
                          "' is the same for all cells: its effect cannot be told from that of the types");
      for (Index i = 0; i < places(); ++i) column[i] /= deviation;
      centre_.push_back(mean);
      scale_.push_back(deviation);
    }
  }

  void require_estimable() const {
    std::vector<char> seen(static_cast<std::size_t>(design_->columns()), 0);
    for (const Index c : columns_) seen[static_cast<std::size_t>(c)] = 1;
    const auto& names = design_->column_names();
    for (Index c = 0; c < design_->first_column(design_->factors()); ++c)
      if (!seen[static_cast<std::size_t>(c)])
        throw DesignError("'" + names[static_cast<std::size_t>(c)] + "' has no cell that takes part");
    std::vector<Index> slots(seen.size(), -1), column_of;
    for (Index c = 0; c < design_->columns(); ++c) {
      bool reference = false;
      for (Index f = 1; f < design_->factors(); ++f) reference = reference || c == design_->first_column(f);
      if (reference) continue;
      slots[static_cast<std::size_t>(c)] = static_cast<Index>(column_of.size());
      column_of.push_back(c);
    }
    std::vector<Index> all(static_cast<std::size_t>(groups()));
    for (Index k = 0; k < groups(); ++k) all[static_cast<std::size_t>(k)] = k;
    std::vector<double> gram;
    assemble(all, slots, column_of.size(), unweighted_, gram);
    const auto dependent = dependent_columns(gram, column_of.size());
    if (dependent.empty()) return;
    std::vector<std::string> others;
    for (std::size_t i = 0; i < column_of.size(); ++i)
      if (std::abs(dependent.front().weights[i]) > 1e-6)
        others.push_back(names[static_cast<std::size_t>(column_of[i])]);
    throw DesignError("'" + names[static_cast<std::size_t>(column_of[dependent.front().column])] +
                      "' is a linear combination of " + detail::listed(others) +
                      ": their effects cannot be told apart");
  }

  const DenseDesign* design_;
  Index used_ = 0;
  std::vector<Index> columns_, count_, begin_, place_, cell_;
  Vector<double> log_size_factors_;
  Matrix<double> x_;  // [continuous x places]
  std::vector<double> centre_, scale_;
  GroupMoments unweighted_;
};

}  // namespace eosin::glm
