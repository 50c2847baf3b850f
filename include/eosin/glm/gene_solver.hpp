#pragma once

// The negative binomial GLM of one gene on grouped cells:
//
//   y_i ~ NB(mu_i, phi),  Var = mu + phi mu^2,  log mu_i = log s_i + beta_t(i) + gamma_b(i)
//
// With E_k = exp(beta_t + gamma_b) of group k, a = phi E_k, r_i = 1 / (1 + a s_i), sums over the nonzero counts, and
// the sums S, P, T, V, L over all cells (group_sums.hpp):
//
//   score_k = sum y r - E S(a)         in the linear predictor of group k
//   info_k  = E P(a) + sum y r (1 - r)   the observed information; W_k = E S(a) the expected one
//   score in phi = sum_j N_j j / (1 + phi j) - sum y mu r + sum_k E^2 T(a)
//
// Coefficients: Newton's method; the negative log-likelihood is convex with |f'''| <= f'', so the step shortened by
// log(1 + d) / d, d the largest change of a linear predictor, always descends. Dispersion: zero of the total derivative
// of the profile likelihood, with Cox and Reid's term -(c/2) log det X'WX, the coefficients following phi:
//
//   X' info X (d beta / d phi) = X' (E^2 V - sum y mu r^2)      dW_k / d phi = -E^2 V + E P x_k' (d beta / d phi)
//
// Cost of a step: O(nonzeros + groups + types batches^2), whatever the number of cells. Derivation and the treatment of
// separation: docs/derivations/nb_glm.md. Cox and Reid, J. R. Statist. Soc. B 49, 1987; the factor c: glmGamPoi
// (Ahlmann-Eltze and Huber, Bioinformatics 36, 2020).

#include <eosin/glm/arrow_factor.hpp>
#include <eosin/glm/components.hpp>
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/glm/root.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace eosin::glm {

/// How the fit of a gene ended. Where several hold, the one listed first.
enum class FitStatus {
  no_counts,        ///< no cell has a count: every type's coefficient is -inf
  iteration_limit,  ///< not converged
  separated,        ///< beyond types and batches without counts, the fitted mean of a further group is 0
  disconnected,     ///< the gene's counts do not link all its types and batches; some coefficients are not estimable
  converged         ///< all is finite but the -inf of types and batches without counts
};

/// How the dispersion came about.
enum class DispersionStatus {
  given,
  maximum,      ///< the derivative vanishes there
  zero,         ///< on the boundary: the likelihood falls from 0 on
  upper_limit,  ///< still rising at the largest dispersion allowed
  none          ///< no counts to estimate it from; 0 is reported
};

namespace detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
/// Stands for "not estimable" in results.
inline constexpr double not_estimable = std::numeric_limits<double>::quiet_NaN();

/// log(y!) for an integer y >= 0; Stirling's series beyond 15.
inline double log_factorial(double y) {
  if (y <= 15.0) {
    double product = 1.0;
    for (double j = 2.0; j <= y; j += 1.0) product *= j;
    return std::log(product);
  }
  const double z = y + 1.0, w = 1.0 / (z * z);
  return (z - 0.5) * std::log(z) - z + 0.91893853320467274178 +
         (1.0 / 12.0 - w * (1.0 / 360.0 - w * (1.0 / 1260.0 - w / 1680.0))) / z;
}

}  // namespace detail

/// Fits one gene after the other; scratch is kept from gene to gene. One object per thread.
class GeneSolver {
 public:
  /// Both arguments must outlive the object.
  GeneSolver(const CellGroups& groups, const GroupSums& sums, int max_iterations)
      : groups_(&groups), sums_(&sums), max_iterations_(max_iterations) {
    const auto g = static_cast<std::size_t>(groups.groups());
    const auto t = static_cast<std::size_t>(groups.types());
    const auto b = static_cast<std::size_t>(groups.batches());
    offsets_.resize(g + 1);
    place_.resize(g + 1);
    total_.resize(g);
    state_.resize(g);
    type_total_.resize(t);
    batch_total_.resize(b);
    beta_.resize(t);
    gamma_.resize(b);
    type_part_.resize(t);
    batch_part_.resize(b);
    shares_.resize(b);
    slots_.resize(b);
  }

  /// Takes a gene: its cells with a count, and the counts. `gene` is named in errors: ValueError where a cell of size
  /// factor 0 has a count.
  void load(Index gene, VectorView<const Index> cells, VectorView<const double> counts) {
    sort_by_group(gene, cells, counts);
    find_components();
    factor_.reset(groups_->types(), groups_->batches(), free_, slots_);
    iterations_ = 0;
    converged_ = true;
    if (status_ != FitStatus::no_counts) start();
  }

  FitStatus status() const {
    return status_ != FitStatus::no_counts && !converged_ ? FitStatus::iteration_limit : status_;
  }
  /// Newton steps since load().
  int iterations() const { return iterations_; }
  double total() const { return gene_total_; }

  /// Maximises over the coefficients at dispersion phi >= 0, from where they are. No counts: does nothing.
  void solve(double phi) {
    if (status_ == FitStatus::no_counts) return;
    converged_ = false;
    for (int i = 0; i < max_iterations_ && !converged_; ++i) {
      ++iterations_;
      collect(phi);
      if (!factor_information()) return;
      std::fill(type_part_.begin(), type_part_.end(), 0.0);
      std::fill(batch_part_.begin(), batch_part_.end(), 0.0);
      for (const Index k : active_) {
        const double score = state_[at(k)].score;
        type_part_[at(groups_->type(k))] += score;
        batch_part_[at(groups_->batch(k))] += score;
      }
      factor_.solve(type_part_, batch_part_);
      double largest = 0.0;
      for (const Index k : active_)
        largest = std::max(largest, std::abs(type_part_[at(groups_->type(k))] + batch_part_[at(groups_->batch(k))]));
      if (!std::isfinite(largest)) return;
      const double step = largest <= full_step ? 1.0 : std::log1p(largest) / largest;
      for (std::size_t t = 0; t < beta_.size(); ++t) beta_[t] += step * type_part_[t];
      for (std::size_t b = 0; b < gamma_.size(); ++b) gamma_[b] += step * batch_part_[b];
      converged_ = largest < last_step;
    }
  }

  /// Total derivative in phi of the profile log-likelihood less (c/2) log det X'WX; solves at phi first.
  double dispersion_score(double phi, double cox_reid_factor) {
    solve(phi);
    collect(phi);
    double score = counts_.derivative(phi);
    for (const Index k : active_) {
      const State& now = state_[at(k)];
      score += now.mean * now.mean * now.sums.t - now.mean * now.sum_ysr;
    }
    if (cox_reid_factor == 0.0 || !factor_information()) return score;
    std::fill(type_part_.begin(), type_part_.end(), 0.0);
    std::fill(batch_part_.begin(), batch_part_.end(), 0.0);
    for (const Index k : active_) {
      const State& now = state_[at(k)];
      const double pull = now.mean * now.mean * now.sums.v - now.mean * now.sum_ysr2;
      type_part_[at(groups_->type(k))] += pull;
      batch_part_[at(groups_->batch(k))] += pull;
    }
    factor_.solve(type_part_, batch_part_);
    if (!factor_expected_information()) return score;
    double trace = 0.0;
    for (const Index k : active_) {
      const State& now = state_[at(k)];
      const Index t = groups_->type(k), b = groups_->batch(k);
      const double change =
          -now.mean * now.mean * now.sums.v + now.mean * now.sums.p * (type_part_[at(t)] + batch_part_[at(b)]);
      trace += factor_.variance_of_group(t, b) * change;
    }
    return score - 0.5 * cox_reid_factor * trace;
  }

  /// The dispersion that maximises the profile likelihood, adjusted by Cox and Reid's term where the factor is not 0.
  /// Where the derivative at 0 is negative, maxima at larger dispersions are looked for and the better end is taken.
  double maximise_dispersion(double cox_reid_factor, double largest, DispersionStatus& how) {
    how = DispersionStatus::none;
    if (status_ == FitStatus::no_counts) return 0.0;
    const auto score = [&](double log_phi) { return dispersion_score(std::exp(log_phi), cox_reid_factor); };
    const double at_zero = dispersion_score(0.0, cox_reid_factor);
    const double upper = std::log(largest);
    double low, low_score, high, high_score;
    if (at_zero > 0.0) {
      low = high = std::log(std::clamp(moment_dispersion(), 1e-6, 0.5 * largest));
      low_score = high_score = score(low);
      for (double step = 1.0; low_score < 0.0 && low > smallest_log_dispersion; step *= 2.0) {
        high = low;
        high_score = low_score;
        low -= step;
        low_score = score(low);
      }
    } else {
      low = high = 0.0;
      low_score = high_score = at_zero;
      for (const double probe : {0.03, 1.0, 30.0}) {
        if (probe >= largest || low_score > 0.0) break;
        low = high = std::log(probe);
        low_score = high_score = score(low);
      }
    }
    for (double step = 1.0; high_score > 0.0 && high < upper; step *= 2.0) {
      low = high;
      low_score = high_score;
      high = std::min(high + step, upper);
      high_score = score(high);
    }
    if (low_score < 0.0) {
      how = DispersionStatus::zero;
      return 0.0;
    }
    how = high_score > 0.0 ? DispersionStatus::upper_limit : DispersionStatus::maximum;
    const double phi = high_score > 0.0
                           ? largest
                           : std::exp(detail::find_root(score, low, low_score, high, high_score, root_tolerance));
    if (at_zero <= 0.0 && adjusted_likelihood(0.0, cox_reid_factor) >= adjusted_likelihood(phi, cox_reid_factor)) {
      how = DispersionStatus::zero;
      return 0.0;
    }
    return phi;
  }

  /// Log-likelihood at the present coefficients.
  double log_likelihood(double phi) {
    if (status_ == FitStatus::no_counts) return 0.0;
    double sum = counts_.log_rising(phi);
    for (const Index k : active_) {
      const double mean = group_mean(k);
      const double a = phi * mean;
      const double log_mean = std::log(mean);
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e) {
        const double y = y_[at(e)], s = s_[at(e)];
        sum += y * (log_mean + std::log(s) - std::log1p(a * s)) - detail::log_factorial(y);
      }
      sum -= mean * sums_->log_sum(k, a);
    }
    return sum;
  }

  /// Twice the log-likelihood missed by the saturated model, at the present coefficients and the same dispersion.
  double deviance(double phi) {
    if (status_ == FitStatus::no_counts) return 0.0;
    double sum = 0.0;
    for (const Index k : active_) {
      const double mean = group_mean(k);
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e) {
        const double y = y_[at(e)], mu = mean * s_[at(e)];
        sum += y * (std::log(y / mu) + std::log1p(phi * mu) - std::log1p(phi * y) - detail::log1p_ratio(phi * y));
      }
      sum += mean * sums_->log_sum(k, phi * mean);
    }
    return std::max(0.0, 2.0 * sum);
  }

  /// Coefficients in the gauge where the first batch with counts is 0: -inf without counts, NaN where not estimable.
  void coefficients(VectorView<double> types, VectorView<double> batches) const {
    for (Index t = 0; t < types.size(); ++t)
      types[t] = type_total_[at(t)] == 0.0    ? -detail::infinity
                 : in_reference_part(t, true) ? beta_[at(t)]
                                              : detail::not_estimable;
    for (Index b = 0; b < batches.size(); ++b)
      batches[b] = status_ == FitStatus::no_counts ? 0.0
                   : batch_total_[at(b)] == 0.0    ? -detail::infinity
                   : in_reference_part(b, false)   ? gamma_[at(b)]
                                                   : detail::not_estimable;
  }

  /// Factors the observed information at phi and the present coefficients, for the two functions below; false where it
  /// is singular to rounding.
  bool prepare_standard_errors(double phi) {
    if (status_ == FitStatus::no_counts) return false;
    collect(phi);
    return factor_information();
  }
  /// Standard errors of coefficients(); 0 for the reference, NaN beside -inf and NaN.
  void standard_errors(VectorView<double> types, VectorView<double> batches) {
    std::fill(shares_.begin(), shares_.end(), 0.0);
    for (Index t = 0; t < types.size(); ++t)
      types[t] = type_total_[at(t)] > 0.0 && in_reference_part(t, true) ? std::sqrt(factor_.variance(t, shares_))
                                                                        : detail::not_estimable;
    for (Index b = 0; b < batches.size(); ++b)
      batches[b] = batch_total_[at(b)] > 0.0 && in_reference_part(b, false) ? std::sqrt(factor_.variance_of_batch(b))
                                                                            : detail::not_estimable;
  }

  struct LogPrototype {
    double value, standard_error;
  };
  /// log sum_b weights[b] exp(beta_t + gamma_b): -inf for a type without counts, NaN where a batch with weight is not
  /// linked to the type. The standard error (delta method) needs prepare_standard_errors().
  LogPrototype log_prototype(Index type, VectorView<const double> weights, bool with_error) {
    if (type_total_[at(type)] == 0.0) return {-detail::infinity, detail::not_estimable};
    const Index own = components_.of_type(type);
    double largest = -detail::infinity;
    for (Index b = 0; b < weights.size(); ++b) {
      shares_[at(b)] = -detail::infinity;
      if (weights[b] == 0.0 || batch_total_[at(b)] == 0.0) continue;
      const Index other = components_.of_batch(b);
      if (other == own) {
        shares_[at(b)] = std::log(weights[b]) + gamma_[at(b)];
        largest = std::max(largest, shares_[at(b)]);
      } else if (!components_.reaches(own, other)) {
        return {detail::not_estimable, detail::not_estimable};
      }
    }
    if (largest == -detail::infinity) return {-detail::infinity, detail::not_estimable};
    double sum = 0.0;
    for (double& share : shares_) sum += share = std::exp(share - largest);
    for (double& share : shares_) share /= sum;
    const double value = beta_[at(type)] + largest + std::log(sum);
    return {value, with_error ? std::sqrt(factor_.variance(type, shares_)) : detail::not_estimable};
  }

 private:
  static constexpr double full_step = 0.7;
  static constexpr double last_step = 1e-7;  // the error after such a step is of the order of its square
  static constexpr double smallest_log_dispersion = -32.0;
  static constexpr double root_tolerance = 1e-10;

  struct State {
    GroupSumValues sums;
    double mean, score, information;
    double sum_ysr, sum_ysr2;  // over the nonzeros: y s r and y s r^2
  };

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  double group_mean(Index k) const { return std::exp(beta_[at(groups_->type(k))] + gamma_[at(groups_->batch(k))]); }

  void sort_by_group(Index gene, VectorView<const Index> cells, VectorView<const double> counts) {
    std::fill(offsets_.begin(), offsets_.end(), Index{0});
    for (Index e = 0; e < cells.size(); ++e) {
      const Index k = groups_->group_of(cells[e]);
      if (k == CellGroups::without_depth)
        throw ValueError("fit: cell " + std::to_string(cells[e]) + " (from 0) has size factor 0 but a count of gene " +
                         std::to_string(gene));
      if (k >= 0) ++offsets_[at(k + 1)];
    }
    for (std::size_t k = 1; k < offsets_.size(); ++k) offsets_[k] += offsets_[k - 1];
    place_ = offsets_;
    y_.resize(at(offsets_.back()));
    s_.resize(y_.size());
    for (Index e = 0; e < cells.size(); ++e) {
      const Index k = groups_->group_of(cells[e]);
      if (k < 0) continue;
      const std::size_t to = at(place_[at(k)]++);
      y_[to] = counts[e];
      s_[to] = groups_->size_factor_of(cells[e]);
    }
    std::fill(type_total_.begin(), type_total_.end(), 0.0);
    std::fill(batch_total_.begin(), batch_total_.end(), 0.0);
    gene_total_ = 0.0;
    for (Index k = 0; k < groups_->groups(); ++k) {
      double total = 0.0;
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e) total += y_[at(e)];
      total_[at(k)] = total;
      type_total_[at(groups_->type(k))] += total;
      batch_total_[at(groups_->batch(k))] += total;
      gene_total_ += total;
    }
    sorted_ = y_;
    counts_.load(sorted_);
  }

  void find_components() {
    components_.reset(groups_->types(), groups_->batches());
    const auto present = [&](Index k) {
      return type_total_[at(groups_->type(k))] > 0.0 && batch_total_[at(groups_->batch(k))] > 0.0;
    };
    for (Index k = 0; k < groups_->groups(); ++k) {
      if (!present(k)) continue;
      if (total_[at(k)] > 0.0) {
        components_.link(groups_->type(k), groups_->batch(k));
      } else {
        components_.arc(groups_->type(k), groups_->batch(k));
      }
    }
    components_.finish();
    active_.clear();
    status_ = gene_total_ > 0.0 ? FitStatus::converged : FitStatus::no_counts;
    for (Index k = 0; k < groups_->groups(); ++k) {
      if (!present(k)) continue;
      if (components_.of_type(groups_->type(k)) == components_.of_batch(groups_->batch(k))) {
        active_.push_back(k);
      } else {
        status_ = FitStatus::separated;
      }
    }
    // Each component has its own gauge: its first batch.
    free_ = 0;
    reference_part_ = -1;
    for (Index b = 0; b < groups_->batches(); ++b) {
      slots_[at(b)] = -1;
      if (batch_total_[at(b)] == 0.0) continue;
      const Index part = components_.of_batch(b);
      if (reference_part_ < 0) reference_part_ = part;
      if (part != reference_part_ && status_ == FitStatus::converged) status_ = FitStatus::disconnected;
      bool first = true;
      for (Index before = 0; before < b; ++before)
        first = first && !(batch_total_[at(before)] > 0.0 && components_.of_batch(before) == part);
      if (!first) slots_[at(b)] = free_++;
    }
  }

  bool in_reference_part(Index level, bool is_type) const {
    return (is_type ? components_.of_type(level) : components_.of_batch(level)) == reference_part_;
  }

  /// Two sweeps of iterative proportional fitting of the Poisson model.
  void start() {
    std::fill(gamma_.begin(), gamma_.end(), 0.0);
    for (int sweep = 0; sweep < 2; ++sweep) {
      std::fill(type_part_.begin(), type_part_.end(), 0.0);
      for (const Index k : active_)
        type_part_[at(groups_->type(k))] += std::exp(gamma_[at(groups_->batch(k))]) * sums_->sum_of_size_factors(k);
      for (std::size_t t = 0; t < beta_.size(); ++t)
        beta_[t] = type_part_[t] > 0.0 ? std::log(type_total_[t] / type_part_[t]) : 0.0;
      std::fill(batch_part_.begin(), batch_part_.end(), 0.0);
      for (const Index k : active_)
        batch_part_[at(groups_->batch(k))] += std::exp(beta_[at(groups_->type(k))]) * sums_->sum_of_size_factors(k);
      for (std::size_t b = 0; b < gamma_.size(); ++b)
        gamma_[b] = batch_part_[b] > 0.0 ? std::log(batch_total_[b] / batch_part_[b]) : 0.0;
    }
    // Into the gauge of each component.
    for (Index b = 0; b < groups_->batches(); ++b)
      if (batch_total_[at(b)] > 0.0 && slots_[at(b)] < 0) {
        const double shift = gamma_[at(b)];
        const Index part = components_.of_batch(b);
        for (Index t = 0; t < groups_->types(); ++t)
          if (type_total_[at(t)] > 0.0 && components_.of_type(t) == part) beta_[at(t)] += shift;
        for (Index other = 0; other < groups_->batches(); ++other)
          if (batch_total_[at(other)] > 0.0 && components_.of_batch(other) == part) gamma_[at(other)] -= shift;
      }
  }

  /// Fills state_ at phi and the present coefficients.
  void collect(double phi) {
    for (const Index k : active_) {
      State& now = state_[at(k)];
      now.mean = group_mean(k);
      const double a = phi * now.mean;
      now.sums = sums_->values(k, a);
      double yr = 0.0, ysr = 0.0, ysr2 = 0.0;
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e) {
        const double s = s_[at(e)];
        const double r = 1.0 / (1.0 + a * s);
        const double w = y_[at(e)] * r;
        yr += w;
        ysr += w * s;
        ysr2 += w * s * r;
      }
      now.sum_ysr = ysr;
      now.sum_ysr2 = ysr2;
      now.score = yr - now.mean * now.sums.s;
      now.information = now.mean * now.sums.p + a * ysr2;  // r (1 - r) = a s r^2
    }
  }

  bool factor_information() {
    factor_.clear();
    for (const Index k : active_) factor_.add(groups_->type(k), groups_->batch(k), state_[at(k)].information);
    return factor_.factor();
  }
  bool factor_expected_information() {
    factor_.clear();
    for (const Index k : active_)
      factor_.add(groups_->type(k), groups_->batch(k), state_[at(k)].mean * state_[at(k)].sums.s);
    return factor_.factor();
  }

  double adjusted_likelihood(double phi, double cox_reid_factor) {
    solve(phi);
    double value = log_likelihood(phi);
    if (cox_reid_factor != 0.0) {
      collect(phi);
      if (factor_expected_information()) value -= 0.5 * cox_reid_factor * factor_.log_determinant();
    }
    return value;
  }

  /// Estimate from the second moment about the present (Poisson) means: sum[(y - mu)^2 - mu] / sum mu^2.
  double moment_dispersion() const {
    double excess = 0.0, squares = 0.0;
    for (const Index k : active_) {
      const double mean = group_mean(k);
      for (Index e = offsets_[at(k)]; e < offsets_[at(k + 1)]; ++e)
        excess += y_[at(e)] * (y_[at(e)] - 2.0 * mean * s_[at(e)]);
      const double square = mean * mean * sums_->sum_of_squares(k);
      excess += square - mean * sums_->sum_of_size_factors(k);
      squares += square;
    }
    return squares > 0.0 ? excess / squares : 0.0;
  }

  const CellGroups* groups_;
  const GroupSums* sums_;
  int max_iterations_;

  // The gene: nonzeros sorted by group, totals, what hangs together.
  std::vector<Index> offsets_, place_;
  std::vector<double> y_, s_, sorted_;
  std::vector<double> total_, type_total_, batch_total_;
  double gene_total_ = 0.0;
  CountSums counts_;
  Components components_;
  std::vector<Index> active_, slots_;
  Index free_ = 0, reference_part_ = -1;
  FitStatus status_ = FitStatus::no_counts;

  // Where the fit stands.
  std::vector<double> beta_, gamma_;
  std::vector<State> state_;
  ArrowFactor factor_;
  int iterations_ = 0;
  bool converged_ = true;

  std::vector<double> type_part_, batch_part_, shares_;
};

}  // namespace eosin::glm
