#pragma once

// What can be said of a gene from the sums of its counts by group alone, before any iteration: which groups, types and
// levels take part, which coefficients the counts determine, and a start from two sweeps of iterative proportional
// fitting of the Poisson model. Types and levels without counts leave; groups whose fitted mean tends to 0 along a
// direction leave too (with one factor by the graph of components.hpp, with several by null spaces and, where these do
// not decide, by linear programming); each part that hangs together has a reference of its own. Separation:
// docs/derivations/nb_glm.md.
//
// Cost: O(groups) for most genes, O(groups columns + columns^3) where several factors do not determine everything.

#include <eosin/core/buffer.hpp>
#include <eosin/glm/components.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/null_space.hpp>
#include <eosin/glm/separation.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace eosin::glm {

/// How the fit of a gene ended. Where several hold, the one listed first.
enum class FitStatus {
  no_counts,        ///< no cell has a count: every type's coefficient is -inf
  iteration_limit,  ///< not converged
  separated,        ///< beyond types and levels without counts, the fitted mean of a further group is 0
  disconnected,     ///< the gene's counts do not link all its types and levels; some coefficients are not estimable
  converged         ///< all is finite but the -inf of types and levels without counts
};

namespace detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
/// Stands for "not estimable" in results.
inline constexpr double not_estimable = std::numeric_limits<double>::quiet_NaN();

}  // namespace detail

/// One gene after the other; scratch is kept from gene to gene.
class GeneStructure {
 public:
  /// Both arguments must outlive the object.
  GeneStructure(const CellGroups& groups, const GroupSums& sums) : groups_(&groups), sums_(&sums) {
    const auto t = static_cast<std::size_t>(groups.types());
    const auto c = static_cast<std::size_t>(groups.columns());
    total_.resize(static_cast<std::size_t>(groups.groups()));
    type_total_.resize(t);
    type_number_.resize(t);
    column_total_.resize(c);
    slots_.resize(c);
    not_estimable_type_.resize(t);
    not_estimable_column_.resize(c);
    sum1_ = Buffer<double>(padded(groups.groups()));
    for (Buffer<double>* array : {&beta_, &type_part_}) *array = Buffer<double>(groups.types());
    for (Buffer<double>* array : {&gamma_, &column_part_, &column_step_}) *array = Buffer<double>(groups.columns());
  }

  /// Takes a gene by the sums of its counts, [groups].
  void load_totals(const std::vector<double>& totals) {
    total_ = totals;
    find_structure();
    start();
  }
  /// Where the iteration starts, and where it ended if that is told: by type and by column.
  VectorView<const double> type_effects() const { return {beta_.data(), beta_.size()}; }
  VectorView<const double> column_effects() const { return {gamma_.data(), gamma_.size()}; }
  void set_effects(const double* types, const double* columns) {
    std::copy(types, types + groups_->types(), beta_.begin());
    std::copy(columns, columns + groups_->columns(), gamma_.begin());
  }

  double total() const { return gene_total_; }
  /// How the fit ends unless its iteration does not.
  FitStatus structure() const { return status_; }

  /// The groups that take part, ascending, and the types that have some.
  const std::vector<Index>& active_groups() const { return active_; }
  const std::vector<Index>& active_types() const { return active_types_; }
  /// Those of active type i are the active groups type_range()[i] .. type_range()[i + 1].
  const std::vector<Index>& type_range() const { return type_range_; }
  /// Number of each column among the free ones, -1 for references and columns without a part.
  const std::vector<Index>& slots() const { return slots_; }
  Index free_columns() const { return free_; }
  bool has_type(Index type) const { return type_total_[at(type)] > 0.0; }
  bool has_column(Index column) const { return column_total_[at(column)] > 0.0; }
  /// Numbers that are equal for what hangs together: -1 for a column without counts.
  Index part_of_type(Index type) const { return whole_ || groups_->factors() > 1 ? 0 : components_.of_type(type); }
  Index part_of_column(Index column) const {
    return !has_column(column) ? -1 : whole_ || groups_->factors() > 1 ? 0 : components_.of_batch(column);
  }

  /// The coefficient is a finite number.
  bool estimable_type(Index type) const { return type_total_[at(type)] > 0.0 && !not_estimable_type_[at(type)]; }
  bool estimable_column(Index column) const {
    return column_total_[at(column)] > 0.0 && !not_estimable_column_[at(column)];
  }
  /// -inf without counts, NaN where not estimable.
  double type_coefficient(Index type) const {
    return type_total_[at(type)] == 0.0    ? -detail::infinity
           : not_estimable_type_[at(type)] ? detail::not_estimable
                                           : beta_[type];
  }
  /// The same; a gene without counts has no columns to tell apart, and all are 0.
  double column_coefficient(Index column) const {
    return status_ == FitStatus::no_counts     ? 0.0
           : column_total_[at(column)] == 0.0  ? -detail::infinity
           : not_estimable_column_[at(column)] ? detail::not_estimable
                                               : gamma_[column];
  }
  /// beta_t + sum_f log sum_c weights[c] exp(gamma_c), c over the levels of factor f, weights of sum 1 per factor: -inf
  /// for a type without counts, NaN where a level with weight is not linked to the type. Where it is finite, shares
  /// [columns] receives its derivatives by gamma.
  double log_prototype(Index type, VectorView<const double> weights, double* shares) const {
    if (type_total_[at(type)] == 0.0) return -detail::infinity;
    if (!linked(type, weights)) return detail::not_estimable;
    double value = beta_[type];
    for (Index f = 0; f < groups_->factors(); ++f) {
      const Index from = groups_->column_begin(f), to = groups_->column_begin(f + 1);
      double largest = -detail::infinity;
      for (Index c = from; c < to; ++c) {
        shares[c] = 0.0;
        if (counted(type, c, weights)) largest = std::max(largest, gamma_[c]);
      }
      if (largest == -detail::infinity) return -detail::infinity;
      double sum = 0.0;
      for (Index c = from; c < to; ++c)
        if (counted(type, c, weights)) sum += shares[c] = weights[c] * std::exp(gamma_[c] - largest);
      for (Index c = from; c < to; ++c) shares[c] /= sum;
      value += largest + std::log(sum);
    }
    return value;
  }

 protected:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  static Index padded(Index n) {
    return (n + math::Pack<double>::size - 1) / math::Pack<double>::size * math::Pack<double>::size;
  }

  /// From total_ to all but the start.
  void find_structure() {
    std::fill(type_total_.begin(), type_total_.end(), 0.0);
    std::fill(column_total_.begin(), column_total_.end(), 0.0);
    gene_total_ = 0.0;
    for (Index k = 0; k < groups_->groups(); ++k) {
      const double total = total_[at(k)];
      gene_total_ += total;
      type_total_[at(groups_->type(k))] += total;
      for (Index f = 0; f < groups_->factors(); ++f) column_total_[at(groups_->column(k, f))] += total;
    }
    find_active();
  }

  /// Two sweeps of iterative proportional fitting of the Poisson model.
  void start() {
    if (status_ == FitStatus::no_counts) return;
    const Index factors = groups_->factors(), columns = groups_->columns();
    for (Index c = 0; c < columns; ++c) column_part_[c] = 1.0;  // exp(gamma)
    for (int sweep = 0; sweep < 2; ++sweep) {
      for (std::size_t i = 0; i < active_types_.size(); ++i) {
        double sum = 0.0;
        for (Index j = type_range_[i]; j < type_range_[i + 1]; ++j) sum += sum1_[j] * column_factor(j, -1);
        type_part_[static_cast<Index>(i)] = type_total_[at(active_types_[i])] / sum;  // exp(beta)
      }
      for (Index f = 0; f < factors; ++f) {
        const Index from = groups_->column_begin(f), to = groups_->column_begin(f + 1);
        for (Index c = from; c < to; ++c) column_step_[c] = 0.0;
        for (Index j = 0; j < groups_active_; ++j)
          column_step_[active_column_[at(j * factors + f)]] +=
              sum1_[j] * type_part_[active_type_[at(j)]] * column_factor(j, f);
        for (Index c = from; c < to; ++c)
          if (column_step_[c] > 0.0) column_part_[c] = column_total_[at(c)] / column_step_[c];
      }
    }
    for (Index c = 0; c < columns; ++c) gamma_[c] = column_total_[at(c)] > 0.0 ? std::log(column_part_[c]) : 0.0;
    for (std::size_t i = 0; i < active_types_.size(); ++i)
      beta_[active_types_[i]] = std::log(type_part_[static_cast<Index>(i)]);
    if (groups_->factors() == 1 && !whole_) {
      gauge_components();
      return;
    }
    for (Index f = 0; f < factors; ++f) {
      Index reference = groups_->column_begin(f);
      while (column_total_[at(reference)] == 0.0) ++reference;
      const double shift = gamma_[reference];
      for (const Index t : active_types_) beta_[t] += shift;
      for (Index c = groups_->column_begin(f); c < groups_->column_begin(f + 1); ++c)
        if (column_total_[at(c)] > 0.0) gamma_[c] -= shift;
    }
    for (Index c = 0; c < columns; ++c)
      if (slots_[at(c)] < 0) gamma_[c] = 0.0;  // references exactly; levels that depend on others
  }
  void gauge_components() {
    for (Index b = 0; b < groups_->batches(); ++b)
      if (column_total_[at(b)] > 0.0 && slots_[at(b)] < 0) {
        const double shift = gamma_[b];
        const Index part = components_.of_batch(b);
        for (Index t = 0; t < groups_->types(); ++t)
          if (type_total_[at(t)] > 0.0 && components_.of_type(t) == part) beta_[t] += shift;
        for (Index other = 0; other < groups_->batches(); ++other)
          if (column_total_[at(other)] > 0.0 && components_.of_batch(other) == part) gamma_[other] -= shift;
      }
  }
  /// Product of exp(gamma) over the group's levels, but for one factor.
  double column_factor(Index j, Index without) const {
    const Index factors = groups_->factors();
    double product = 1.0;
    for (Index f = 0; f < factors; ++f)
      if (f != without) product *= column_part_[active_column_[at(j * factors + f)]];
    return product;
  }

  const CellGroups* groups_;
  const GroupSums* sums_;

  std::vector<double> total_, type_total_, column_total_;  // of the counts, by group, type and column
  double gene_total_ = 0.0;
  Components components_;
  bool whole_ = true;  // one component, nothing lost
  std::vector<Index> active_, active_type_, active_column_, active_types_, type_range_, type_number_;
  Index groups_active_ = 0;
  std::vector<Index> slots_;
  std::vector<char> not_estimable_type_, not_estimable_column_;
  Index free_ = 0;
  FitStatus status_ = FitStatus::no_counts;
  Buffer<double> sum1_;                                   // of the size factors, by active group
  Buffer<double> beta_, gamma_;                           // by type, by column
  Buffer<double> type_part_, column_part_, column_step_;  // scratch, also of what derives from this

 private:
  /// Whether a prototype of the type over these weights is determined: every level with weight and counts has a known
  /// mean there, 0 included.
  bool linked(Index type, VectorView<const double> weights) const {
    if (whole_) return true;
    for (Index c = 0; c < groups_->columns(); ++c) {
      if (weights[c] == 0.0 || column_total_[at(c)] == 0.0) continue;
      if (groups_->factors() > 1) {
        if (not_estimable_column_[at(c)] || not_estimable_type_[at(type)]) return false;
      } else if (const Index own = components_.of_type(type), other = components_.of_batch(c);
                 own != other && !components_.reaches(own, other)) {
        return false;
      }
    }
    return true;
  }
  /// The level has a part in the type's prototype that is not 0.
  bool counted(Index type, Index column, VectorView<const double> weights) const {
    if (weights[column] == 0.0 || column_total_[at(column)] == 0.0) return false;
    return whole_ || groups_->factors() > 1 || components_.of_type(type) == components_.of_batch(column);
  }

  bool present(Index k) const {
    bool all = type_total_[at(groups_->type(k))] > 0.0;
    for (Index f = 0; f < groups_->factors(); ++f) all = all && column_total_[at(groups_->column(k, f))] > 0.0;
    return all;
  }

  /// Which groups take part, which columns are free, what is not estimable.
  void find_active() {
    active_.clear();
    std::fill(not_estimable_type_.begin(), not_estimable_type_.end(), char{0});
    std::fill(not_estimable_column_.begin(), not_estimable_column_.end(), char{0});
    status_ = gene_total_ > 0.0 ? FitStatus::converged : FitStatus::no_counts;
    for (Index k = 0; k < groups_->groups(); ++k)
      if (present(k)) active_.push_back(k);
    choose_references();
    if (groups_->factors() == 1) {
      find_components();
    } else {
      find_dependencies();
    }
    active_type_.clear();
    active_column_.clear();
    type_range_.assign(1, 0);
    active_types_.clear();
    for (std::size_t i = 0; i < active_.size(); ++i) {
      const Index k = active_[i], t = groups_->type(k);
      if (active_types_.empty() || active_types_.back() != t) {
        active_types_.push_back(t);
        if (i > 0) type_range_.push_back(static_cast<Index>(i));
      }
      type_number_[at(t)] = static_cast<Index>(active_types_.size()) - 1;
      active_type_.push_back(type_number_[at(t)]);
      for (Index f = 0; f < groups_->factors(); ++f) active_column_.push_back(groups_->column(k, f));
      sum1_[static_cast<Index>(i)] = sums_->sum_of_size_factors(k);
    }
    type_range_.push_back(static_cast<Index>(active_.size()));
    groups_active_ = static_cast<Index>(active_.size());
    for (Index j = groups_active_; j < padded(groups_active_); ++j) sum1_[j] = 0.0;
  }

  /// The first level with counts of each factor is its reference.
  void choose_references() {
    free_ = 0;
    for (Index f = 0; f < groups_->factors(); ++f) {
      bool reference = true;
      for (Index c = groups_->column_begin(f); c < groups_->column_begin(f + 1); ++c) {
        slots_[at(c)] = -1;
        if (column_total_[at(c)] == 0.0) continue;
        if (!std::exchange(reference, false)) slots_[at(c)] = free_++;
      }
    }
  }

  /// One factor: the graph of types and batches.
  void find_components() {
    const Index batches = groups_->batches();
    bool all_linked = true;  // types and batches in one component by the groups with counts alone
    components_.reset(groups_->types(), batches);
    for (const Index k : active_)
      if (total_[at(k)] > 0.0) components_.link(groups_->type(k), groups_->batch(k));
    Index root = -1;
    for (Index t = 0; t < groups_->types(); ++t) {
      if (type_total_[at(t)] == 0.0) continue;
      if (root < 0) root = components_.linked_to(t);
      all_linked = all_linked && components_.linked_to(t) == root;
    }
    whole_ = all_linked;  // every batch with counts is linked to some type
    if (whole_) return;
    for (const Index k : active_)
      if (total_[at(k)] == 0.0) components_.arc(groups_->type(k), groups_->batch(k));
    components_.finish();
    std::size_t kept = 0;
    for (const Index k : active_) {
      if (components_.of_type(groups_->type(k)) == components_.of_batch(groups_->batch(k))) {
        active_[kept++] = k;
      } else {
        status_ = FitStatus::separated;
      }
    }
    active_.resize(kept);
    // Each component has its own gauge: its first batch.
    free_ = 0;
    Index reference_part = -1;
    for (Index b = 0; b < batches; ++b) {
      slots_[at(b)] = -1;
      if (column_total_[at(b)] == 0.0) continue;
      const Index part = components_.of_batch(b);
      if (reference_part < 0) reference_part = part;
      if (part != reference_part && status_ == FitStatus::converged) status_ = FitStatus::disconnected;
      bool first = true;
      for (Index before = 0; before < b; ++before)
        first = first && !(column_total_[at(before)] > 0.0 && components_.of_batch(before) == part);
      if (!first) slots_[at(b)] = free_++;
    }
    for (Index t = 0; t < groups_->types(); ++t) not_estimable_type_[at(t)] = components_.of_type(t) != reference_part;
    for (Index b = 0; b < batches; ++b) not_estimable_column_[at(b)] = components_.of_batch(b) != reference_part;
  }

  /// Several factors: groups whose fitted mean tends to 0 along a direction leave, columns that depend on others are
  /// fixed.
  void find_dependencies() {
    whole_ = true;
    if (status_ == FitStatus::no_counts) return;
    for (;;) {
      const auto with_counts = null_space(true);
      if (with_counts.basis().empty()) return;
      if (drop_recessive(with_counts)) {
        status_ = FitStatus::separated;
        continue;
      }
      // Directions none of which is of one sign may have a combination that is.
      if (with_counts.basis().size() > 1 && drop_vanishing()) status_ = FitStatus::separated;
      break;
    }
    const auto dependencies = null_space(false);
    if (dependencies.basis().empty()) return;
    whole_ = false;
    if (status_ == FitStatus::converged) status_ = FitStatus::disconnected;
    for (const auto& direction : dependencies.basis()) {
      for (Index c = 0; c < groups_->columns(); ++c)
        if (slots_[at(c)] >= 0 && direction[at(slots_[at(c)])] != 0.0) not_estimable_column_[at(c)] = 1;
      for (const Index k : active_)
        if (shift_along(direction, k) != 0.0) not_estimable_type_[at(groups_->type(k))] = 1;
    }
    for (const Index dependent : dependencies.dependent())
      for (auto& slot : slots_)
        if (slot == dependent) slot = -2;
    free_ = 0;
    for (auto& slot : slots_) slot = slot >= 0 ? free_++ : -1;
  }
  detail::NullSpace null_space(bool with_counts_only) const {
    std::vector<Index> type, column;
    for (const Index k : active_) {
      if (with_counts_only && total_[at(k)] == 0.0) continue;
      type.push_back(groups_->type(k));
      for (Index f = 0; f < groups_->factors(); ++f) column.push_back(groups_->column(k, f));
    }
    return {detail::column_gram(type, column, groups_->factors(), slots_, free_), free_};
  }
  double shift_along(const std::vector<double>& direction, Index k) const {
    double sum = 0.0;
    for (Index f = 0; f < groups_->factors(); ++f)
      if (const Index slot = slots_[at(groups_->column(k, f))]; slot >= 0) sum += direction[at(slot)];
    return std::abs(sum) < 1e-9 ? 0.0 : sum;
  }
  /// Takes out the groups without counts that one of the directions, or its opposite, moves downwards only.
  bool drop_recessive(const detail::NullSpace& directions) {
    for (const auto& direction : directions.basis()) {
      bool falls = false, rises = false;
      for (std::size_t i = 0; i < active_.size(); ++i) {
        // A type follows so that its groups with counts stay: its shift is that of its first one.
        const double shift = shift_along(direction, active_[i]) - shift_of_type(direction, groups_->type(active_[i]));
        falls = falls || shift < -1e-9;
        rises = rises || shift > 1e-9;
      }
      if (falls == rises) continue;
      std::erase_if(active_, [&](Index k) {
        return std::abs(shift_along(direction, k) - shift_of_type(direction, groups_->type(k))) > 1e-9;
      });
      return true;
    }
    return false;
  }
  /// Takes out the groups without counts whose fitted mean tends to 0, by linear programming.
  bool drop_vanishing() {
    const Index columns = groups_->types() + groups_->columns();
    Matrix<int> design(static_cast<Index>(active_.size()), columns);
    std::vector<char> has_counts;
    for (std::size_t i = 0; i < active_.size(); ++i) {
      const Index k = active_[i], row = static_cast<Index>(i);
      for (Index c = 0; c < columns; ++c) design(row, c) = 0;
      design(row, groups_->type(k)) = 1;
      for (Index f = 0; f < groups_->factors(); ++f) design(row, groups_->types() + groups_->column(k, f)) = 1;
      has_counts.push_back(total_[at(k)] > 0.0 ? 1 : 0);
    }
    const auto vanishes = vanishing_groups(std::as_const(design).view(), has_counts);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < active_.size(); ++i)
      if (!vanishes[i]) active_[kept++] = active_[i];
    const bool dropped = kept < active_.size();
    active_.resize(kept);
    return dropped;
  }
  double shift_of_type(const std::vector<double>& direction, Index type) const {
    for (const Index k : active_)
      if (groups_->type(k) == type && total_[at(k)] > 0.0) return shift_along(direction, k);
    return 0.0;
  }
};

}  // namespace eosin::glm
