#pragma once

// The negative binomial GLM of one gene at a given dispersion where levels may be merged: under the hypothesis that two
// types (or batches) have the same coefficient, they are one level of the model. The groups of cells stay as they are,
// so the sums of group_sums.hpp serve the full model and every hypothesis alike. Gives the maximised log-likelihood
// and, at the maximum, the estimate and variance of any linear combination of coefficients.
//
// Mathematics, separation and damping are those of gene_solver.hpp. Cost of a step: O(nonzeros + groups + types
// batches^2).

#include <eosin/glm/arrow_factor.hpp>
#include <eosin/glm/components.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/group_sums.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

/// The level that stands for each level; a level that stands for itself has its own number.
struct MergedLevels {
  std::vector<Index> types, batches;

  static MergedLevels none(Index types, Index batches) {
    MergedLevels result;
    for (Index t = 0; t < types; ++t) result.types.push_back(t);
    for (Index b = 0; b < batches; ++b) result.batches.push_back(b);
    return result;
  }
};

class MergedGene {
 public:
  /// Both arguments must outlive the object. One object per thread.
  MergedGene(const CellGroups& groups, const GroupSums& sums, int max_iterations = 100)
      : groups_(&groups), sums_(&sums), max_iterations_(max_iterations) {
    const auto g = at(groups.groups());
    offsets_.resize(g + 1);
    place_.resize(g + 1);
    group_total_.resize(g);
    type_total_.resize(at(groups.types()));
    batch_total_.resize(at(groups.batches()));
  }

  /// Takes a gene. ValueError where a cell of size factor 0 has a count.
  void load(Index gene, VectorView<const Index> cells, VectorView<const double> counts) {
    std::fill(offsets_.begin(), offsets_.end(), Index{0});
    for (Index e = 0; e < cells.size(); ++e) {
      const Index k = groups_->group_of(cells[e]);
      if (k == CellGroups::without_depth)
        throw ValueError("cell " + std::to_string(cells[e]) + " (from 0) has size factor 0 but a count of gene " +
                         std::to_string(gene));
      if (k >= 0) ++offsets_[at(k + 1)];
    }
    for (std::size_t k = 1; k < offsets_.size(); ++k) offsets_[k] += offsets_[k - 1];
    place_ = offsets_;
    y_.resize(at(offsets_.back()));
    s_.resize(y_.size());
    log_factorials_ = 0.0;
    for (Index e = 0; e < cells.size(); ++e) {
      const Index k = groups_->group_of(cells[e]);
      if (k < 0) continue;
      const std::size_t to = at(place_[at(k)]++);
      y_[to] = counts[e];
      s_[to] = groups_->size_factor_of(cells[e]);
      log_factorials_ += detail::log_factorial(counts[e]);
    }
    for (Index k = 0; k < groups_->groups(); ++k) {
      group_total_[at(k)] = 0.0;
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e) group_total_[at(k)] += y_[at(e)];
    }
    counts_.load(y_.data(), static_cast<Index>(y_.size()));
  }

  /// Maximises at dispersion phi >= 0. False where Newton's method did not settle.
  bool maximise(const MergedLevels& levels, double phi) {
    levels_ = &levels;
    phi_ = phi;
    arrange();
    if (active_.empty()) return true;
    start();
    for (int i = 0; i < max_iterations_; ++i) {
      collect();
      if (!factor_.factor(weight_.data())) return false;
      factor_.solve(score_.data(), present_part_.data(), batch_part_.data());
      for (std::size_t p = 0; p < present_.size(); ++p) type_part_[at(present_[p])] = present_part_[p];
      double largest = 0.0;
      for (const Index k : active_) largest = std::max(largest, std::abs(type_part_[type(k)] + batch_part_[batch(k)]));
      if (!std::isfinite(largest)) return false;
      const double length = largest <= full_step ? 1.0 : std::log1p(largest) / largest;
      for (std::size_t t = 0; t < beta_.size(); ++t) beta_[t] += length * type_part_[t];
      for (std::size_t b = 0; b < gamma_.size(); ++b) gamma_[b] += length * batch_part_[b];
      if (largest < last_step) {
        collect();
        if (!factor_.factor(weight_.data())) return false;
        factor_.invert();
        return true;
      }
    }
    return false;
  }

  /// At the maximum.
  double log_likelihood() const {
    double sum = counts_.log_rising(phi_) - log_factorials_;
    for (const Index k : active_) {
      const double mean = std::exp(beta_[type(k)] + gamma_[batch(k)]), log_mean = beta_[type(k)] + gamma_[batch(k)];
      const double a = phi_ * mean;
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e)
        sum += y_[at(e)] * (log_mean + std::log(s_[at(e)]) - std::log1p(a * s_[at(e)]));
      sum -= mean * sums_->log_sum(k, a);
    }
    return sum;
  }

  bool type_has_counts(Index t) const { return type_total_[at(t)] > 0.0; }
  bool batch_has_counts(Index b) const { return batch_total_[at(b)] > 0.0; }
  /// Coefficients with counts that hang together in the gene; only equality means something.
  Index component_of_type(Index t) const { return components_.of_type(t); }
  Index component_of_batch(Index b) const { return components_.of_batch(b); }

  /// sum of weights times coefficients, in the gauge of fit(): NaN where not estimable or where infinities of both
  /// signs meet. A difference within a part of the gene's levels that does not hang together with the reference is
  /// estimable although its terms are not. Empty weights are 0.
  double estimate(const std::vector<double>& type_weights, const std::vector<double>& batch_weights) {
    double sum = 0.0;
    balance_.assign(beta_.size() + gamma_.size(), 0.0);
    magnitude_.assign(balance_.size(), 0.0);
    const auto add = [&](double weight, double value, bool has_counts, Index component, double sign) {
      if (weight == 0.0) return;
      sum += weight * (has_counts ? value : -detail::infinity);
      if (!has_counts) return;
      balance_[at(component)] += sign * weight;
      magnitude_[at(component)] += std::abs(weight);
    };
    for (std::size_t t = 0; t < type_weights.size(); ++t)
      add(type_weights[t], beta_[t], type_total_[t] > 0.0, components_.of_type(static_cast<Index>(t)), 1.0);
    for (std::size_t b = 0; b < batch_weights.size(); ++b)
      add(batch_weights[b], gamma_[b], batch_total_[b] > 0.0, components_.of_batch(static_cast<Index>(b)), -1.0);
    for (std::size_t c = 0; c < balance_.size(); ++c)
      if (static_cast<Index>(c) != reference_part_ && std::abs(balance_[c]) > 1e-12 * magnitude_[c])
        return detail::not_estimable;
    return sum;
  }
  /// Variance of the same; of use where the estimate is finite.
  double variance(const std::vector<double>& type_weights, const std::vector<double>& batch_weights) {
    if (active_.empty()) return detail::not_estimable;
    std::fill(present_part_.begin(), present_part_.end(), 0.0);
    for (std::size_t i = 0; i < present_.size() && !type_weights.empty(); ++i)
      present_part_[i] = type_weights[at(present_[i])];
    return factor_.variance_of(present_part_.data(), batch_weights.empty() ? nullptr : batch_weights.data());
  }

 private:
  static constexpr double full_step = 0.7;
  static constexpr double last_step = 1e-7;

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  std::size_t type(Index k) const { return at(levels_->types[at(groups_->type(k))]); }
  std::size_t batch(Index k) const { return at(levels_->batches[at(groups_->batch(k))]); }

  /// What takes part and hangs together; the gauge of each component is its first batch.
  void arrange() {
    std::fill(type_total_.begin(), type_total_.end(), 0.0);
    std::fill(batch_total_.begin(), batch_total_.end(), 0.0);
    for (Index k = 0; k < groups_->groups(); ++k) {
      type_total_[type(k)] += group_total_[at(k)];
      batch_total_[batch(k)] += group_total_[at(k)];
    }
    const auto present = [&](Index k) { return type_total_[type(k)] > 0.0 && batch_total_[batch(k)] > 0.0; };
    components_.reset(groups_->types(), groups_->batches());
    for (Index k = 0; k < groups_->groups(); ++k) {
      if (!present(k)) continue;
      const auto t = static_cast<Index>(type(k)), b = static_cast<Index>(batch(k));
      if (group_total_[at(k)] > 0.0) {
        components_.link(t, b);
      } else {
        components_.arc(t, b);
      }
    }
    components_.finish();
    active_.clear();
    for (Index k = 0; k < groups_->groups(); ++k)
      if (present(k) &&
          components_.of_type(static_cast<Index>(type(k))) == components_.of_batch(static_cast<Index>(batch(k))))
        active_.push_back(k);
    slots_.assign(batch_total_.size(), Index{-1});
    reference_of_.assign(batch_total_.size() + type_total_.size(), Index{-1});
    reference_part_ = -1;
    Index free = 0;
    for (Index b = 0; b < groups_->batches(); ++b) {
      if (batch_total_[at(b)] == 0.0) continue;
      const Index part = components_.of_batch(b);
      if (reference_part_ < 0) reference_part_ = part;
      if (reference_of_[at(part)] < 0) {
        reference_of_[at(part)] = b;
      } else {
        slots_[at(b)] = free++;
      }
    }
    number_cells();
    factor_.reset(cell_type_, cell_batch_, 1, slots_, free);
    beta_.assign(type_total_.size(), 0.0);
    gamma_.assign(batch_total_.size(), 0.0);
  }

  /// The distinct pairs of merged levels among the active groups, by type and batch; types numbered without gaps.
  void number_cells() {
    const auto key = [&](Index k) {
      return static_cast<Index>(type(k)) * groups_->batches() + static_cast<Index>(batch(k));
    };
    keys_.clear();
    for (const Index k : active_) keys_.push_back(key(k));
    std::sort(keys_.begin(), keys_.end());
    keys_.erase(std::unique(keys_.begin(), keys_.end()), keys_.end());
    present_.clear();
    cell_type_.clear();
    cell_batch_.clear();
    for (const Index pair : keys_) {
      const Index t = pair / groups_->batches();
      if (present_.empty() || present_.back() != t) present_.push_back(t);
      cell_type_.push_back(static_cast<Index>(present_.size()) - 1);
      cell_batch_.push_back(pair % groups_->batches());
    }
    cell_of_.resize(group_total_.size());
    for (const Index k : active_)
      cell_of_[at(k)] = std::lower_bound(keys_.begin(), keys_.end(), key(k)) - keys_.begin();
    weight_.resize(keys_.size());
    score_.resize(keys_.size());
    present_part_.resize(present_.size());
  }

  /// Two sweeps of iterative proportional fitting of the Poisson model.
  void start() {
    for (int sweep = 0; sweep < 2; ++sweep) {
      type_part_.assign(beta_.size(), 0.0);
      for (const Index k : active_) type_part_[type(k)] += std::exp(gamma_[batch(k)]) * sums_->sum_of_size_factors(k);
      for (std::size_t t = 0; t < beta_.size(); ++t)
        if (type_part_[t] > 0.0) beta_[t] = std::log(type_total_[t] / type_part_[t]);
      batch_part_.assign(gamma_.size(), 0.0);
      for (const Index k : active_) batch_part_[batch(k)] += std::exp(beta_[type(k)]) * sums_->sum_of_size_factors(k);
      for (std::size_t b = 0; b < gamma_.size(); ++b)
        if (batch_part_[b] > 0.0) gamma_[b] = std::log(batch_total_[b] / batch_part_[b]);
    }
    const std::vector<double> fitted = gamma_;
    const auto shift = [&](Index part) {
      const Index reference = reference_of_[at(part)];
      return reference >= 0 ? fitted[at(reference)] : 0.0;
    };
    for (std::size_t t = 0; t < beta_.size(); ++t)
      if (type_total_[t] > 0.0) beta_[t] += shift(components_.of_type(static_cast<Index>(t)));
    for (std::size_t b = 0; b < gamma_.size(); ++b)
      if (batch_total_[b] > 0.0) gamma_[b] -= shift(components_.of_batch(static_cast<Index>(b)));
  }

  /// Scores and observed information of the cells.
  void collect() {
    type_part_.assign(beta_.size(), 0.0);
    batch_part_.assign(gamma_.size(), 0.0);
    std::fill(weight_.begin(), weight_.end(), 0.0);
    std::fill(score_.begin(), score_.end(), 0.0);
    for (const Index k : active_) {
      const double mean = std::exp(beta_[type(k)] + gamma_[batch(k)]), a = phi_ * mean;
      const GroupSumValues sums = sums_->values(k, a);
      double score = -mean * sums.s, information = mean * sums.p;
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e) {
        const double r = 1.0 / (1.0 + a * s_[at(e)]), share = y_[at(e)] * r;
        score += share;
        information += a * share * s_[at(e)] * r;
      }
      score_[at(cell_of_[at(k)])] += score;
      weight_[at(cell_of_[at(k)])] += information;
    }
  }

  const CellGroups* groups_;
  const GroupSums* sums_;
  int max_iterations_;

  std::vector<Index> offsets_, place_;
  std::vector<double> y_, s_, group_total_;
  double log_factorials_ = 0.0;
  CountSums counts_;

  const MergedLevels* levels_ = nullptr;
  double phi_ = 0.0;
  std::vector<double> type_total_, batch_total_;
  Components components_;
  std::vector<Index> active_, slots_, reference_of_;
  Index reference_part_ = -1;
  // The cells of the merged model: pairs of a type, numbered in present_, and a batch.
  std::vector<Index> keys_, present_, cell_type_, cell_batch_, cell_of_;
  std::vector<double> weight_, score_, present_part_;
  ArrowFactor factor_;
  std::vector<double> beta_, gamma_, type_part_, batch_part_, balance_, magnitude_;
};

}  // namespace eosin::glm
