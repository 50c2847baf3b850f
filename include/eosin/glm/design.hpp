#pragma once

// The design of the prototype model, log mean = log size factor + type + batch, and the grouping of the cells by
// distinct design row. Cells of one group share their linear predictor up to the size factor, which is what makes the
// cost of a fit independent of the number of cells.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/categories.hpp>
#include <eosin/glm/components.hpp>

#include <algorithm>
#include <cmath>
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

}  // namespace detail

/// Types x batches over the cells. Without batches there is one, named "all".
class Design {
 public:
  explicit Design(Categories type) : Design(std::move(type), Categories{}) {}

  /// Cells without a type or a batch take no part; dropped() counts them. Throws ShapeError where the lengths differ,
  /// ValueError on codes out of range or duplicate names, DesignError where a level has no cell or the coefficients
  /// cannot be told apart (the message names the columns).
  Design(Categories type, Categories batch) : types_(std::move(type)), batches_(std::move(batch)) {
    if (batches_.names.empty() && batches_.codes.empty()) {
      batches_.names = {"all"};
      batches_.codes.assign(types_.codes.size(), 0);
    }
    require_size("Design", "batches", "cells", batches_.cells(), types_.cells(), "cells of types");
    check_levels(types_, "type");
    check_levels(batches_, "batch");
    for (Index cell = 0; cell < cells(); ++cell)
      if (!has(cell)) ++dropped_;
    std::vector<char> observed(static_cast<std::size_t>(types() * batches()), 0);
    for (Index cell = 0; cell < cells(); ++cell)
      if (has(cell)) observed[static_cast<std::size_t>(type_of(cell) * batches() + batch_of(cell))] = 1;
    require_estimable(observed);
  }

  Index cells() const { return types_.cells(); }
  Index types() const { return types_.levels(); }
  Index batches() const { return batches_.levels(); }
  const std::vector<std::string>& type_names() const { return types_.names; }
  const std::vector<std::string>& batch_names() const { return batches_.names; }
  Index type_of(Index cell) const { return types_.codes[static_cast<std::size_t>(cell)]; }
  Index batch_of(Index cell) const { return batches_.codes[static_cast<std::size_t>(cell)]; }
  /// The cell has both labels.
  bool has(Index cell) const { return type_of(cell) >= 0 && batch_of(cell) >= 0; }
  Index dropped() const { return dropped_; }

  /// Throws DesignError unless the observed groups, [types x batches] flags, determine all coefficients.
  void require_estimable(const std::vector<char>& observed) const {
    detail::require_linked(observed, type_names(), batch_names(), "batch", "batches");
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

  Categories types_, batches_;
  Index dropped_ = 0;
};

/// The cells of a design sorted by group; groups are ordered by type, then batch, and are never empty.
class CellGroups {
 public:
  static constexpr Index without_label = -1;
  static constexpr Index without_depth = -2;

  /// size_factors [cells]; a cell with size factor 0 takes no part (its mean is 0). Throws ShapeError, ValueError (NaN,
  /// infinite or negative size factor, naming the cell) and DesignError as Design does.
  CellGroups(const Design& design, VectorView<const double> size_factors)
      : types_(design.types()), batches_(design.batches()) {
    require_size("CellGroups", "size_factors", "elements", size_factors.size(), design.cells(), "cells");
    std::vector<Index> count(static_cast<std::size_t>(types_ * batches_), 0);
    for (Index cell = 0; cell < design.cells(); ++cell) {
      const double s = size_factors[cell];
      if (!(s >= 0.0) || std::isinf(s))
        throw ValueError("size factor of cell " + std::to_string(cell) + " (from 0) is " +
                         (std::isnan(s) ? std::string("NaN") : std::to_string(s)) + ", expected a finite number >= 0");
      if (design.has(cell) && s > 0.0) ++count[slot(design, cell)];
    }
    std::vector<char> observed(count.begin(), count.end());
    for (std::size_t i = 0; i < count.size(); ++i) observed[i] = count[i] > 0;
    design.require_estimable(observed);
    std::vector<Index> place(count.size(), 0);
    offsets_.push_back(0);
    number_.assign(count.size(), Index{-1});
    for (Index t = 0; t < types_; ++t)
      for (Index b = 0; b < batches_; ++b) {
        const auto i = static_cast<std::size_t>(t * batches_ + b);
        if (count[i] == 0) continue;
        number_[i] = static_cast<Index>(type_.size());
        type_.push_back(t);
        batch_.push_back(b);
        place[i] = offsets_.back();
        offsets_.push_back(offsets_.back() + count[i]);
      }
    size_factors_.resize(static_cast<std::size_t>(offsets_.back()));
    group_of_.assign(static_cast<std::size_t>(design.cells()), without_label);
    size_factor_of_.assign(static_cast<std::size_t>(design.cells()), 0.0);
    for (Index cell = 0; cell < design.cells(); ++cell) {
      if (!design.has(cell)) continue;
      if (size_factors[cell] == 0.0) {
        group_of_[static_cast<std::size_t>(cell)] = without_depth;
        continue;
      }
      const std::size_t i = slot(design, cell);
      size_factors_[static_cast<std::size_t>(place[i]++)] = size_factors[cell];
      group_of_[static_cast<std::size_t>(cell)] = number_[i];
      size_factor_of_[static_cast<std::size_t>(cell)] = size_factors[cell];
    }
    // Sums over a group then do not depend on the order in which the cells came.
    for (Index k = 0; k < groups(); ++k)
      std::sort(size_factors_.begin() + offsets_[static_cast<std::size_t>(k)],
                size_factors_.begin() + offsets_[static_cast<std::size_t>(k + 1)]);
  }

  Index groups() const { return static_cast<Index>(type_.size()); }
  Index types() const { return types_; }
  Index batches() const { return batches_; }
  Index cells() const { return static_cast<Index>(group_of_.size()); }
  /// Cells that take part.
  Index used() const { return offsets_.back(); }
  Index type(Index group) const { return type_[static_cast<std::size_t>(group)]; }
  Index batch(Index group) const { return batch_[static_cast<std::size_t>(group)]; }
  /// Group of a cell, or why the cell takes no part: without_label, without_depth (size factor 0).
  Index group_of(Index cell) const { return group_of_[static_cast<std::size_t>(cell)]; }
  double size_factor_of(Index cell) const { return size_factor_of_[static_cast<std::size_t>(cell)]; }
  /// Group of a type and a batch, -1 where it has no cell.
  Index group(Index type, Index batch) const { return number_[static_cast<std::size_t>(type * batches_ + batch)]; }
  /// Size factors of the group's cells, ascending.
  VectorView<const double> size_factors(Index group) const {
    const Index begin = offsets_[static_cast<std::size_t>(group)];
    return {size_factors_.data() + begin, offsets_[static_cast<std::size_t>(group + 1)] - begin};
  }

 private:
  std::size_t slot(const Design& design, Index cell) const {
    return static_cast<std::size_t>(design.type_of(cell) * batches_ + design.batch_of(cell));
  }

  Index types_, batches_;
  std::vector<Index> type_, batch_, offsets_, number_, group_of_;
  std::vector<double> size_factors_, size_factor_of_;
};

}  // namespace eosin::glm
