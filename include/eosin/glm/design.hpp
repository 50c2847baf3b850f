#pragma once

// The design of the prototype model, log mean = log size factor + type + batch + further categorical covariates, and
// the grouping of the cells by distinct design row. Cells of one group share their linear predictor up to the size
// factor, which is what makes the cost of a fit independent of the number of cells.
//
// Beside the types there are factors: factor 0 is the batch, the others are the covariates. Their levels are the
// columns of the model, numbered through: factor f has the columns column_begin(f) .. column_begin(f + 1).

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/categories.hpp>
#include <eosin/glm/components.hpp>
#include <eosin/glm/null_space.hpp>
#include <eosin/math/logarithm.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

namespace detail {

inline std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) {
    if (!text.empty()) text += ", ";
    text += '\'';
    text += name;
    text += '\'';
  }
  return text;
}

/// Throws DesignError unless `observed`, [types x batches] flags of what occurs together, has every level and links all
/// types and batches; the message names the columns. `batch` and `batches` are the words for the second factor.
inline void require_linked(const std::vector<char>& observed, const std::vector<std::string>& type_names,
                           const std::vector<std::string>& batch_names, const std::string& batch,
                           const std::string& batches) {
  const std::size_t types = type_names.size(), columns = batch_names.size();
  Components components;
  components.reset(static_cast<Index>(types), static_cast<Index>(columns));
  std::vector<char> type_seen(types, 0), batch_seen(columns, 0);
  for (std::size_t t = 0; t < types; ++t)
    for (std::size_t b = 0; b < columns; ++b)
      if (observed[t * columns + b]) {
        components.link(static_cast<Index>(t), static_cast<Index>(b));
        type_seen[t] = batch_seen[b] = 1;
      }
  for (std::size_t t = 0; t < types; ++t)
    if (!type_seen[t]) throw DesignError("type '" + type_names[t] + "' has no cell that takes part");
  for (std::size_t b = 0; b < columns; ++b)
    if (!batch_seen[b]) throw DesignError(batch + " '" + batch_names[b] + "' has no cell that takes part");
  components.finish();
  // Of the parts apart from the first batch's, the one that is met first is named.
  for (std::size_t b = 1; b < columns; ++b) {
    const Index apart = components.of_batch(static_cast<Index>(b));
    if (apart == components.of_batch(0)) continue;
    std::vector<std::string> types_apart, batches_apart;
    for (std::size_t t = 0; t < types; ++t)
      if (components.of_type(static_cast<Index>(t)) == apart) types_apart.push_back(type_names[t]);
    for (std::size_t other = 0; other < columns; ++other)
      if (components.of_batch(static_cast<Index>(other)) == apart) batches_apart.push_back(batch_names[other]);
    const bool one_batch = batches_apart.size() == 1, one_type = types_apart.size() == 1;
    throw DesignError((one_batch ? batch + " " : batches + " ") + listed(batches_apart) +
                      (one_batch ? " holds" : " hold") + " only cells of " + (one_type ? "type " : "types ") +
                      listed(types_apart) + ", and no other " + batch + " holds " +
                      (one_type ? "that type" : "those types") + ": their effects cannot be told apart");
  }
}

/// Gram matrix of what the 0/1 columns of groups add to their types: sum_k u_k u_k' with u_k = z_k - z of the type's
/// first group, over `slots` (-1: not taken). Its null space tells which columns cannot be told apart.
inline std::vector<double> column_gram(const std::vector<Index>& type, const std::vector<Index>& column, Index factors,
                                       const std::vector<Index>& slots, Index size) {
  std::vector<double> gram(static_cast<std::size_t>(size * size), 0.0);
  std::vector<std::pair<Index, double>> entries;
  const Index groups = static_cast<Index>(type.size());
  for (Index k = 0, first = 0; k < groups; ++k) {
    if (type[static_cast<std::size_t>(k)] != type[static_cast<std::size_t>(first)]) first = k;
    entries.clear();
    for (Index f = 0; f < factors; ++f) {
      const Index own = column[static_cast<std::size_t>(k * factors + f)];
      const Index other = column[static_cast<std::size_t>(first * factors + f)];
      if (own == other) continue;
      if (slots[static_cast<std::size_t>(own)] >= 0) entries.push_back({slots[static_cast<std::size_t>(own)], 1.0});
      if (slots[static_cast<std::size_t>(other)] >= 0)
        entries.push_back({slots[static_cast<std::size_t>(other)], -1.0});
    }
    for (const auto& [i, a] : entries)
      for (const auto& [j, b] : entries) gram[static_cast<std::size_t>(i * size + j)] += a * b;
  }
  return gram;
}

}  // namespace detail

/// A further categorical covariate.
struct Covariate {
  std::string name;
  Categories levels;
};

/// Types x batches, by choice with further covariates, over the cells. Without batches there is one, named "all".
class Design {
 public:
  explicit Design(Categories type) : Design(std::move(type), Categories{}) {}

  /// Cells without a type, a batch or a covariate take no part; dropped() counts them. Throws ShapeError where the
  /// lengths differ, ValueError on codes out of range or duplicate names, DesignError where a level has no cell or the
  /// coefficients cannot be told apart (the message names the columns).
  Design(Categories type, Categories batch, std::vector<Covariate> covariates = {}) : types_(std::move(type)) {
    if (batch.names.empty() && batch.codes.empty()) {
      batch.names = {"all"};
      batch.codes.assign(types_.codes.size(), 0);
    }
    factors_.push_back({"batch", std::move(batch)});
    for (auto& covariate : covariates) {
      for (const auto& other : factors_)
        require_value(covariate.name != other.name && covariate.name != "type", "Design",
                      "two factors are named '" + covariate.name + "'");
      factors_.push_back(std::move(covariate));
    }
    check_levels(types_, "type");
    column_begin_.push_back(0);
    for (const auto& factor : factors_) {
      require_size("Design", factor.name == "batch" ? "batches" : factor.name, "cells", factor.levels.cells(),
                   types_.cells(), "cells of types");
      check_levels(factor.levels, factor.name);
      column_begin_.push_back(column_begin_.back() + factor.levels.levels());
    }
    double rows = static_cast<double>(types());
    for (const auto& factor : factors_) rows *= static_cast<double>(factor.levels.levels());
    require_value(rows < 9e15, "Design", "the covariates have too many combinations of levels");
    for (Index cell = 0; cell < cells(); ++cell)
      if (!has(cell)) ++dropped_;
    const auto rows_seen = distinct_rows([&](Index cell) { return has(cell); });
    require_estimable(rows_seen);
  }

  Index cells() const { return types_.cells(); }
  Index types() const { return types_.levels(); }
  Index batches() const { return factors_.front().levels.levels(); }
  const std::vector<std::string>& type_names() const { return types_.names; }
  const std::vector<std::string>& batch_names() const { return factors_.front().levels.names; }
  Index type_of(Index cell) const { return types_.codes[static_cast<std::size_t>(cell)]; }
  Index batch_of(Index cell) const { return level_of(cell, 0); }

  /// Batch and covariates.
  Index factors() const { return static_cast<Index>(factors_.size()); }
  const std::string& factor_name(Index factor) const { return factors_[static_cast<std::size_t>(factor)].name; }
  const std::vector<std::string>& level_names(Index factor) const {
    return factors_[static_cast<std::size_t>(factor)].levels.names;
  }
  Index level_of(Index cell, Index factor) const {
    return factors_[static_cast<std::size_t>(factor)].levels.codes[static_cast<std::size_t>(cell)];
  }
  /// Levels of all factors.
  Index columns() const { return column_begin_.back(); }
  Index column_begin(Index factor) const { return column_begin_[static_cast<std::size_t>(factor)]; }
  /// FACTOR:LEVEL.
  std::string column_name(Index column) const {
    Index f = 0;
    while (column_begin(f + 1) <= column) ++f;
    return factor_name(f) + ":" + level_names(f)[static_cast<std::size_t>(column - column_begin(f))];
  }

  /// The cell has all labels.
  bool has(Index cell) const {
    bool all = type_of(cell) >= 0;
    for (Index f = 0; f < factors(); ++f) all = all && level_of(cell, f) >= 0;
    return all;
  }
  Index dropped() const { return dropped_; }

  /// Number of the design row of a cell that has all labels: rows are ordered by type, then by the levels of the
  /// factors one after the other.
  std::int64_t row_of(Index cell) const {
    std::int64_t row = type_of(cell);
    for (Index f = 0; f < factors(); ++f)
      row = row * factors_[static_cast<std::size_t>(f)].levels.levels() + level_of(cell, f);
    return row;
  }
  /// Type and levels of a row.
  std::pair<Index, std::vector<Index>> labels_of(std::int64_t row) const {
    std::vector<Index> levels(static_cast<std::size_t>(factors()));
    for (Index f = factors() - 1; f >= 0; --f) {
      const Index count = factors_[static_cast<std::size_t>(f)].levels.levels();
      levels[static_cast<std::size_t>(f)] = static_cast<Index>(row % count);
      row /= count;
    }
    return {static_cast<Index>(row), std::move(levels)};
  }
  /// The rows of the cells that `takes_part` (given a cell) says, ascending. Cost O(cells), O(cells log cells) where
  /// the combinations of levels are more than some millions.
  template <class Predicate>
  std::vector<std::int64_t> distinct_rows(Predicate&& takes_part) const {
    std::int64_t all = types();
    for (const auto& factor : factors_) all *= factor.levels.levels();
    std::vector<std::int64_t> rows;
    if (all <= (std::int64_t{1} << 22)) {
      std::vector<char> seen(static_cast<std::size_t>(all), 0);
      for (Index cell = 0; cell < cells(); ++cell)
        if (takes_part(cell)) seen[static_cast<std::size_t>(row_of(cell))] = 1;
      for (std::int64_t row = 0; row < all; ++row)
        if (seen[static_cast<std::size_t>(row)]) rows.push_back(row);
      return rows;
    }
    for (Index cell = 0; cell < cells(); ++cell)
      if (takes_part(cell)) rows.push_back(row_of(cell));
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    return rows;
  }

  /// Throws DesignError unless these distinct rows, ascending, determine all coefficients.
  void require_estimable(const std::vector<std::int64_t>& rows) const {
    if (factors() == 1) {
      std::vector<char> observed(static_cast<std::size_t>(types() * batches()), 0);
      for (const auto row : rows) observed[static_cast<std::size_t>(row)] = 1;
      detail::require_linked(observed, type_names(), batch_names(), "batch", "batches");
      return;
    }
    std::vector<Index> type, column;
    std::vector<char> type_seen(static_cast<std::size_t>(types()), 0), seen(static_cast<std::size_t>(columns()), 0);
    for (const auto row : rows) {
      const auto [t, levels] = labels_of(row);
      type.push_back(t);
      type_seen[static_cast<std::size_t>(t)] = 1;
      for (Index f = 0; f < factors(); ++f) {
        column.push_back(column_begin(f) + levels[static_cast<std::size_t>(f)]);
        seen[static_cast<std::size_t>(column.back())] = 1;
      }
    }
    for (Index t = 0; t < types(); ++t)
      if (!type_seen[static_cast<std::size_t>(t)])
        throw DesignError("type '" + type_names()[static_cast<std::size_t>(t)] + "' has no cell that takes part");
    std::vector<Index> slots(seen.size(), -1), column_of;
    for (Index f = 0; f < factors(); ++f)
      for (Index c = column_begin(f); c < column_begin(f + 1); ++c) {
        if (!seen[static_cast<std::size_t>(c)])
          throw DesignError("level '" + column_name(c) + "' has no cell that takes part");
        if (c == column_begin(f)) continue;
        slots[static_cast<std::size_t>(c)] = static_cast<Index>(column_of.size());
        column_of.push_back(c);
      }
    const Index free = static_cast<Index>(column_of.size());
    const detail::NullSpace dependencies(detail::column_gram(type, column, factors(), slots, free), free);
    if (dependencies.basis().empty()) return;
    std::vector<std::string> names;
    for (Index i = 0; i < free; ++i)
      if (dependencies.basis().front()[static_cast<std::size_t>(i)] != 0.0)
        names.push_back(column_name(column_of[static_cast<std::size_t>(i)]));
    throw DesignError("columns " + detail::listed(names) + (names.size() == 1 ? " is" : " are") +
                      " a linear combination of the types and of the other levels: their effects cannot be told apart");
  }

 private:
  static void check_levels(const Categories& categories, const std::string& what) {
    require_value(categories.levels() > 0, "Design", "there is no " + what);
    std::vector<std::string> sorted = categories.names;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) throw ValueError("Design: two levels of the " + what + " are named '" + *twice + "'");
    for (Index cell = 0; cell < categories.cells(); ++cell) {
      const Index code = categories.codes[static_cast<std::size_t>(cell)];
      if (code < Categories::missing || code >= categories.levels())
        throw ValueError("Design: cell " + std::to_string(cell) + " (from 0) has " + what + " code " +
                         std::to_string(code) + ", there are " + std::to_string(categories.levels()) + " levels");
    }
  }

  Categories types_;
  std::vector<Covariate> factors_;
  std::vector<Index> column_begin_;
  Index dropped_ = 0;
};

/// The cells of a design sorted by group; groups are ordered by type, then by the levels of the factors, and are never
/// empty. Within a group the cells keep their order. A cell's place in this order is its position.
class CellGroups {
 public:
  static constexpr Index without_label = -1;
  static constexpr Index without_depth = -2;

  /// size_factors [cells]; a cell with size factor 0 takes no part (its mean is 0). Throws ShapeError, ValueError (NaN,
  /// infinite or negative size factor, naming the cell) and DesignError as Design does. Cost O(cells).
  CellGroups(const Design& design, VectorView<const double> size_factors)
      : types_(design.types()), factors_(design.factors()), columns_(design.columns()) {
    require_size("CellGroups", "size_factors", "elements", size_factors.size(), design.cells(), "cells");
    require_value(design.cells() < std::numeric_limits<std::int32_t>::max(), "CellGroups", "too many cells");
    for (Index cell = 0; cell < design.cells(); ++cell) {
      const double s = size_factors[cell];
      if (!(s >= 0.0) || std::isinf(s))
        throw ValueError("size factor of cell " + std::to_string(cell) + " (from 0) is " +
                         (std::isnan(s) ? std::string("NaN") : std::to_string(s)) + ", expected a finite number >= 0");
    }
    for (Index f = 0; f <= factors_; ++f) column_begin_.push_back(design.column_begin(f));
    const auto rows = design.distinct_rows([&](Index cell) { return design.has(cell) && size_factors[cell] > 0.0; });
    design.require_estimable(rows);
    for (const auto row : rows) {
      const auto [t, levels] = design.labels_of(row);
      type_.push_back(t);
      for (Index f = 0; f < factors_; ++f)
        column_.push_back(column_begin_[static_cast<std::size_t>(f)] + levels[static_cast<std::size_t>(f)]);
    }
    group_of_.resize(static_cast<std::size_t>(design.cells()));
    position_of_.assign(group_of_.size(), -1);
    offsets_.assign(type_.size() + 1, 0);
    // Usually the rows are few beside the cells: a table from row to group where that is so.
    const std::int64_t last = rows.empty() ? 0 : rows.back();
    std::vector<std::int32_t> number;
    if (last < (std::int64_t{1} << 22)) {
      number.assign(static_cast<std::size_t>(last) + 1, -1);
      for (std::size_t k = 0; k < rows.size(); ++k) number[static_cast<std::size_t>(rows[k])] = static_cast<int>(k);
    }
    for (Index cell = 0; cell < design.cells(); ++cell) {
      auto& group = group_of_[static_cast<std::size_t>(cell)];
      if (!design.has(cell)) {
        group = static_cast<std::int32_t>(without_label);
      } else if (size_factors[cell] == 0.0) {
        group = static_cast<std::int32_t>(without_depth);
      } else {
        const std::int64_t row = design.row_of(cell);
        group = !number.empty()
                    ? number[static_cast<std::size_t>(row)]
                    : static_cast<std::int32_t>(std::lower_bound(rows.begin(), rows.end(), row) - rows.begin());
        ++offsets_[static_cast<std::size_t>(group) + 1];
      }
    }
    for (std::size_t k = 0; k < type_.size(); ++k) offsets_[k + 1] += offsets_[k];
    std::vector<Index> place(offsets_.begin(), offsets_.end() - 1);
    size_factors_ = Vector<double>(offsets_.back());
    cell_at_.resize(static_cast<std::size_t>(offsets_.back()));
    for (Index cell = 0; cell < design.cells(); ++cell) {
      const auto group = group_of_[static_cast<std::size_t>(cell)];
      if (group < 0) continue;
      const Index position = place[static_cast<std::size_t>(group)]++;
      position_of_[static_cast<std::size_t>(cell)] = static_cast<std::int32_t>(position);
      cell_at_[static_cast<std::size_t>(position)] = static_cast<std::int32_t>(cell);
      size_factors_[position] = size_factors[cell];
    }
    log_size_factors_ = Vector<double>(size_factors_.size());
    math::for_each_pack<double>(0, size_factors_.size(), [&](auto lanes) {
      lanes.store(log_size_factors_.data(), math::log(lanes.load(size_factors_.data(), 1.0)));
    });
    type_begin_.assign(static_cast<std::size_t>(types_) + 1, 0);
    for (const Index t : type_) ++type_begin_[static_cast<std::size_t>(t) + 1];
    for (std::size_t t = 0; t < static_cast<std::size_t>(types_); ++t) type_begin_[t + 1] += type_begin_[t];
  }

  Index groups() const { return static_cast<Index>(type_.size()); }
  Index types() const { return types_; }
  Index factors() const { return factors_; }
  /// Levels of factor 0.
  Index batches() const { return column_begin_[1]; }
  /// Levels of all factors; factor f has the columns column_begin(f) .. column_begin(f + 1).
  Index columns() const { return columns_; }
  Index column_begin(Index factor) const { return column_begin_[static_cast<std::size_t>(factor)]; }
  Index cells() const { return static_cast<Index>(group_of_.size()); }
  /// Cells that take part.
  Index used() const { return offsets_.back(); }
  Index type(Index group) const { return type_[static_cast<std::size_t>(group)]; }
  Index batch(Index group) const { return column(group, 0); }
  Index column(Index group, Index factor) const { return column_[static_cast<std::size_t>(group * factors_ + factor)]; }
  /// Group of a cell, or why the cell takes no part: without_label, without_depth (size factor 0).
  Index group_of(Index cell) const { return group_of_[static_cast<std::size_t>(cell)]; }
  double size_factor_of(Index cell) const {
    const auto position = position_of_[static_cast<std::size_t>(cell)];
    return position < 0 ? 0.0 : size_factors_[position];
  }
  /// Place of a cell among all that take part, -1 for the others, and back.
  std::int32_t position_of(Index cell) const { return position_of_[static_cast<std::size_t>(cell)]; }
  Index cell_at(Index position) const { return cell_at_[static_cast<std::size_t>(position)]; }
  /// First group of a type and a batch, -1 where they have no cell.
  Index group(Index type, Index batch_level) const {
    for (Index k = type_begin_[static_cast<std::size_t>(type)]; k < type_begin_[static_cast<std::size_t>(type) + 1];
         ++k)
      if (batch(k) == batch_level) return k;
    return -1;
  }
  /// Positions of the group's cells.
  Index begin(Index group) const { return offsets_[static_cast<std::size_t>(group)]; }
  Index end(Index group) const { return offsets_[static_cast<std::size_t>(group) + 1]; }
  /// Size factors by position, and those of a group's cells.
  VectorView<const double> size_factors() const { return size_factors_.view(); }
  VectorView<const double> log_size_factors() const { return log_size_factors_.view(); }
  VectorView<const double> size_factors(Index group) const {
    return {size_factors_.data() + begin(group), end(group) - begin(group)};
  }

 private:
  Index types_, factors_, columns_;
  std::vector<Index> type_, column_, offsets_, type_begin_, column_begin_;
  std::vector<std::int32_t> group_of_, position_of_, cell_at_;
  Vector<double> size_factors_, log_size_factors_;
};

}  // namespace eosin::glm
