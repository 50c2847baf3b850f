#pragma once

// The negative binomial GLM of one gene on grouped cells:
//
//   y_i ~ NB(mu_i, phi),  Var = mu + phi mu^2,  log mu_i = log s_i + eta_k,  eta_k = beta_t + sum_f gamma_c(k, f)
//
// With E_k = exp(eta_k) of group k, a = phi E_k, r_i = 1 / (1 + a s_i), sums over the nonzero counts, and the sums S,
// P, T, V over all cells (group_sums.hpp):
//
//   score_k = sum y r - E S(a)           in the linear predictor of group k
//   info_k  = E P(a) + sum y r (1 - r)   the observed information; W_k = E S(a) the expected one
//   pull_k  = E^2 V - E sum y s r^2      d score_k / d phi
//   score in phi = sum_j N_j j / (1 + phi j) - sum y mu r + sum_k E^2 T(a)
//
// Coefficients: Newton's method; the negative log-likelihood is convex with |f'''| <= f'', so the step shortened by
// log(1 + d) / d, d the largest change of a linear predictor, always descends. Dispersion: zero of the total derivative
// of the profile likelihood, with Cox and Reid's term -(c/2) log det X'WX, the coefficients following phi:
//
//   X' info X (d beta / d phi) = X' pull      dW_k / d phi = -E^2 V + E P x_k' (d beta / d phi)
//
// Both are solved for together: each evaluation gives a Newton step of the coefficients and, with the score in phi
// corrected for that step to second order, one of log phi.
//
// Cost of an evaluation, in multiply-adds: 20 per nonzero (with one reciprocal), 60 per group (with an exponential and
// a logarithm), types columns^2 + columns^3 / 3 for each of two factorisations; whatever the number of cells. Usually
// six or seven evaluations for coefficients, dispersion and standard errors. All loops over nonzeros and groups run in
// packs; what a gene gives depends on its own counts alone. Derivation and the treatment of separation:
// docs/derivations/nb_glm.md. Cox and Reid, J. R. Statist. Soc. B 49, 1987; the factor c: glmGamPoi (Ahlmann-Eltze and
// Huber, Bioinformatics 36, 2020).

#include <eosin/core/buffer.hpp>
#include <eosin/glm/arrow_factor.hpp>
#include <eosin/glm/components.hpp>
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/gene_counts.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/glm/null_space.hpp>
#include <eosin/glm/separation.hpp>
#include <eosin/glm/root.hpp>
#include <eosin/math/exponential.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string>
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

/// How the dispersion came about.
enum class DispersionStatus {
  given,
  maximum,      ///< the derivative vanishes there
  zero,         ///< on the boundary: the likelihood falls from 0 on
  upper_limit,  ///< still rising at the largest dispersion allowed
  none,         ///< no counts to estimate it from; 0 is reported
  shrunken      ///< moved towards those of the other genes
};

namespace detail {

inline constexpr double infinity = std::numeric_limits<double>::infinity();
/// Stands for "not estimable" in results.
inline constexpr double not_estimable = std::numeric_limits<double>::quiet_NaN();

/// 1 / q for normal q > 0 with 1/q normal, to 1.5 ulp: the processor's 14-bit estimate and two Newton steps where it
/// has one, three times as fast as the division.
EOSIN_ALWAYS_INLINE inline math::Pack<double> reciprocal(math::Pack<double> q) {
  using V = math::Pack<double>;
#if defined(__AVX512F__)
  V r(_mm512_maskz_rcp14_pd(0xFF, q.lanes));
  r = math::multiply_add(r, math::multiply_add(-q, r, V(1.0)), r);
  return math::multiply_add(r, math::multiply_add(-q, r, V(1.0)), r);
#else
  return V(1.0) / q;
#endif
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
    const auto c = static_cast<std::size_t>(groups.columns());
    begin_.resize(g + 1);
    total_.resize(g);
    weighted_.resize(g);
    squared_.resize(g);
    type_total_.resize(t);
    type_number_.resize(t);
    column_total_.resize(c);
    slots_.resize(c);
    not_estimable_type_.resize(t);
    not_estimable_column_.resize(c);
    const Index room = padded(groups.groups());
    for (Buffer<double>* array : {&eta_,
                                  &mean_,
                                  &a_,
                                  &s_,
                                  &p_,
                                  &t_,
                                  &v_,
                                  &yr_,
                                  &ysr_,
                                  &ysr2_,
                                  &ys2r2_,
                                  &score_,
                                  &information_,
                                  &expected_,
                                  &pull_,
                                  &leverage_,
                                  &sum1_,
                                  &sum2_,
                                  &sum3_,
                                  &still_,
                                  &active_total_,
                                  &active_weighted_,
                                  &active_squared_,
                                  &step_eta_,
                                  &follow_eta_})
      *array = Buffer<double>(room);
    for (Buffer<double>* array : {&beta_, &kept_beta_, &type_step_, &type_follow_, &type_part_})
      *array = Buffer<double>(groups.types());
    for (Buffer<double>* array :
         {&gamma_, &kept_gamma_, &column_step_, &column_follow_, &column_part_, &shares_, &scratch_columns_})
      *array = Buffer<double>(groups.columns());
  }

  /// Takes a gene: its counts at the cells that take part, by position.
  void load(std::span<const CellCount> counts) {
    read(counts);
    find_active();
    make_chunks();
    factor_.reset(active_type_, active_column_, groups_->factors(), slots_, free_);
    iterations_ = 0;
    converged_ = true;
    start();
  }

  FitStatus status() const {
    return status_ != FitStatus::no_counts && !converged_ ? FitStatus::iteration_limit : status_;
  }
  /// Evaluations of likelihood derivatives since load(), those at dispersion 0 (which read no counts) included.
  int iterations() const { return iterations_; }
  double total() const { return gene_total_; }

  /// Maximises over the coefficients at dispersion phi >= 0, from where they are. No counts: does nothing. The
  /// observed information at the solution is left factored.
  void solve(double phi) { solve_to(phi, last_step); }

  /// Total derivative in phi of the profile log-likelihood less (c/2) log det X'WX; solves at phi first.
  double dispersion_score(double phi, double cox_reid_factor) {
    if (status_ == FitStatus::no_counts) return 0.0;
    solve_to(phi, last_step);
    return profile(phi, cox_reid_factor).score;
  }

  struct DispersionEstimate {
    double phi = 0.0;
    DispersionStatus status = DispersionStatus::none;
    /// Minus the second derivative of the adjusted profile log-likelihood in log phi at the estimate: its precision.
    /// 0 where the estimate is 0 or there are no counts.
    double precision = 0.0;
  };

  /// The dispersion that maximises the profile likelihood, adjusted by Cox and Reid's term where the factor is not 0.
  /// Where the derivative at 0 is negative, maxima at larger dispersions are looked for and the better end is taken.
  /// The coefficients follow and are left near those of the estimate.
  DispersionEstimate maximise_dispersion(double cox_reid_factor, double largest) {
    if (status_ == FitStatus::no_counts) return {};
    // The score is corrected to second order, so that a coarse solution shows a clear rise; a fall is looked at again.
    solve_to(0.0, 0.1);
    Profile zero = profile(0.0, cox_reid_factor);
    if (!(zero.score > 0.0)) {
      solve_to(0.0, 1e-5);
      zero = profile(0.0, cox_reid_factor);
    }
    const double at_zero = zero.score;
    const double upper = std::log(largest);
    const double start = std::log(std::clamp(moment_dispersion(), 1e-4, 0.5 * largest));
    if (at_zero > 0.0) {
      DispersionEstimate result;
      if (climb(start, upper, cox_reid_factor, false, zero.adjustment, result)) return result;
      return search_dispersion(at_zero, start, largest, cox_reid_factor);
    }
    // Is there a rising branch beyond? Coarse solutions do: the score is corrected to second order.
    remember();
    for (const double probe : {0.03, 1.0, 30.0}) {
      if (probe >= largest) break;
      solve_to(probe, 0.05);
      if (!(profile(probe, cox_reid_factor).score > 0.0)) continue;
      const auto result = search_dispersion(at_zero, start, largest, cox_reid_factor);
      if (result.status != DispersionStatus::zero) return result;
      break;
    }
    recall();
    converged_ = true;
    return {0.0, DispersionStatus::zero, 0.0};
  }

  /// The one-pass form: the coefficients are fitted at the moment estimate of the dispersion (made from the Poisson
  /// fit), then the dispersion maximises l - (c/2) log det X'WX with all means fixed.
  DispersionEstimate maximise_dispersion_plugin(double cox_reid_factor, double largest) {
    if (status_ == FitStatus::no_counts) return {};
    solve_to(0.0, 1e-5);
    const double moment = std::clamp(moment_dispersion(), 0.0, 0.5 * largest);
    solve(moment);
    const Profile zero = plugin(0.0, cox_reid_factor);
    if (!(zero.score > 0.0)) return {0.0, DispersionStatus::zero, 0.0};
    const double start = std::log(std::max(moment, 1e-4)), upper = std::log(largest);
    DispersionEstimate result;
    if (!climb(start, upper, cox_reid_factor, true, zero.adjustment, result)) converged_ = false;
    return result;
  }

  /// Log-likelihood at the present coefficients, evaluated last at phi.
  double log_likelihood(double phi) {
    if (status_ == FitStatus::no_counts) return 0.0;
    return counts_.log_rising(phi) - counts_.sum_of([](V y) { return detail::log_factorial(y); }) + linear_part(phi);
  }

  /// The log-likelihood, and the deviance: twice what the saturated model has more, at the same dispersion. The
  /// saturated model has mu = y, so that its likelihood is a sum over the distinct counts.
  void likelihoods(double phi, double& log_likelihood_there, double& deviance) {
    log_likelihood_there = deviance = 0.0;
    if (status_ == FitStatus::no_counts) return;
    const double linear = linear_part(phi);
    log_likelihood_there =
        counts_.log_rising(phi) - counts_.sum_of([](V y) { return detail::log_factorial(y); }) + linear;
    const double saturated = counts_.sum_of([&](V y) {
      const V x = V(phi) * y;
      return y * (math::log(y) - math::log1p(x) - detail::log1p_ratio(x));
    });
    deviance = std::max(0.0, 2.0 * (saturated - linear));
  }

  /// Coefficients in the gauge where the first level with counts of each factor is 0: -inf without counts, NaN where
  /// not estimable.
  void coefficients(VectorView<double> types, VectorView<double> columns) const {
    for (Index t = 0; t < types.size(); ++t) types[t] = type_coefficient(t);
    for (Index c = 0; c < columns.size(); ++c) columns[c] = column_coefficient(c);
  }

  /// Readies the observed information that solve() left for the functions below; false where it is singular to
  /// rounding.
  bool prepare_standard_errors() {
    if (status_ == FitStatus::no_counts || !converged_) return false;
    if (!factor_.factor(information_.data())) return false;
    factor_.invert();
    return true;
  }
  /// Standard errors of coefficients(); 0 for the reference, NaN beside -inf and NaN.
  void standard_errors(VectorView<double> types, VectorView<double> columns) {
    for (Index t = 0; t < types.size(); ++t)
      types[t] = estimable_type(t) ? std::sqrt(factor_.variance_of_type(type_number_[at(t)])) : detail::not_estimable;
    for (Index c = 0; c < columns.size(); ++c)
      columns[c] = column_total_[at(c)] > 0.0 && !not_estimable_column_[at(c)]
                       ? std::sqrt(factor_.variance_of_column(c))
                       : detail::not_estimable;
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
  /// Variance of sum_t c_t beta_t + sum_c p_c gamma_c over estimable coefficients, after prepare_standard_errors().
  double variance(std::span<const double> types, std::span<const double> columns) {
    std::fill(type_part_.begin(), type_part_.end(), 0.0);
    for (std::size_t t = 0; t < types.size(); ++t) {
      if (types[t] == 0.0) continue;
      if (!estimable_type(static_cast<Index>(t))) return detail::not_estimable;
      type_part_[type_number_[t]] = types[t];
    }
    for (std::size_t c = 0; c < columns.size(); ++c)
      if (columns[c] != 0.0 && !estimable_column(static_cast<Index>(c))) return detail::not_estimable;
    // A reference is no parameter: its weight must not meet the means of the types.
    for (Index c = 0; c < groups_->columns(); ++c)
      scratch_columns_[c] = columns.empty() || slots_[at(c)] < 0 ? 0.0 : columns[at(c)];
    return factor_.variance_of(type_part_.data(), scratch_columns_.data());
  }

  double covariance_of_types(Index one, Index other) {
    return factor_.covariance_of_types(type_number_[at(one)], type_number_[at(other)]);
  }

  struct LogPrototype {
    double value, standard_error;
  };
  /// beta_t + sum_f log sum_c weights[c] exp(gamma_c), c over the levels of factor f, weights of sum 1 per factor: -inf
  /// for a type without counts, NaN where a level with weight is not linked to the type. The standard error (delta
  /// method) needs prepare_standard_errors().
  LogPrototype log_prototype(Index type, VectorView<const double> weights, bool with_error) {
    if (type_total_[at(type)] == 0.0) return {-detail::infinity, detail::not_estimable};
    if (!linked(type, weights)) return {detail::not_estimable, detail::not_estimable};
    double value = beta_[type];
    for (Index f = 0; f < groups_->factors(); ++f) {
      const Index from = groups_->column_begin(f), to = groups_->column_begin(f + 1);
      double largest = -detail::infinity;
      for (Index c = from; c < to; ++c) {
        shares_[c] = 0.0;
        if (counted(type, c, weights)) largest = std::max(largest, gamma_[c]);
      }
      if (largest == -detail::infinity) return {-detail::infinity, detail::not_estimable};
      double sum = 0.0;
      for (Index c = from; c < to; ++c)
        if (counted(type, c, weights)) sum += shares_[c] = weights[c] * std::exp(gamma_[c] - largest);
      for (Index c = from; c < to; ++c) shares_[c] /= sum;
      value += largest + std::log(sum);
    }
    return {value,
            with_error ? std::sqrt(factor_.variance(type_number_[at(type)], shares_.data())) : detail::not_estimable};
  }

 private:
  using V = math::Pack<double>;

  static constexpr double full_step = 0.7;
  static constexpr double last_step = 1e-9;  // of a linear predictor; the information is then exact to as much
  static constexpr double smallest_log_dispersion = -32.0;
  static constexpr double root_tolerance = 1e-10;
  static constexpr Index chunk = 16;  // nonzeros

  struct Profile {
    double score;       ///< total derivative in phi
    double curvature;   ///< second derivative in phi of the profile likelihood, without Cox and Reid's term
    double adjustment;  ///< derivative of Cox and Reid's term
    double largest;     ///< change of a linear predictor in the Newton step
  };

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  static Index padded(Index n) { return (n + V::size - 1) / V::size * V::size; }

  /// Counts and size factors by group, their sums.
  void read(std::span<const CellCount> counts) {
    const Index n = static_cast<Index>(counts.size());
    if (y_.size() < n) {
      y_ = Buffer<double>(n + n / 2);
      depth_ = Buffer<double>(n + n / 2);
    }
    std::fill(type_total_.begin(), type_total_.end(), 0.0);
    std::fill(column_total_.begin(), column_total_.end(), 0.0);
    const double* const depth = groups_->size_factors().data();
    const double* const log_depth = groups_->log_size_factors().data();
    gene_total_ = gene_squares_ = log_depth_sum_ = 0.0;
    Index e = 0;
    const Index factors = groups_->factors();
    for (Index k = 0; k < groups_->groups(); ++k) {
      begin_[at(k)] = e;
      const Index end = groups_->end(k);
      double total = 0.0, weighted = 0.0, squared = 0.0, logs = 0.0, squares = 0.0;
      for (; e < n && static_cast<Index>(counts[at(e)].position) < end; ++e) {
        const Index position = static_cast<Index>(counts[at(e)].position);
        const double y = static_cast<double>(counts[at(e)].count), s = depth[position];
        y_[e] = y;
        depth_[e] = s;
        total += y;
        squares += y * y;
        weighted += y * s;
        squared += y * s * s;
        logs += y * log_depth[position];
      }
      total_[at(k)] = total;
      weighted_[at(k)] = weighted;
      squared_[at(k)] = squared;
      gene_squares_ += squares;
      log_depth_sum_ += logs;
      gene_total_ += total;
      type_total_[at(groups_->type(k))] += total;
      for (Index f = 0; f < factors; ++f) column_total_[at(groups_->column(k, f))] += total;
    }
    begin_.back() = e;
    counts_.load(y_.data(), n);
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
      const auto j = static_cast<Index>(i);
      sum1_[j] = sums_->sum_of_size_factors(k);
      sum2_[j] = sums_->sum_of_squares(k);
      sum3_[j] = sums_->sum_of_cubes(k);
      active_total_[j] = total_[at(k)];
      active_weighted_[j] = weighted_[at(k)];
      active_squared_[j] = squared_[at(k)];
    }
    type_range_.push_back(static_cast<Index>(active_.size()));
    groups_active_ = static_cast<Index>(active_.size());
    for (Index j = groups_active_; j < padded(groups_active_); ++j) {
      sum1_[j] = sum2_[j] = sum3_[j] = active_total_[j] = active_weighted_[j] = active_squared_[j] = eta_[j] = 0.0;
      s_[j] = p_[j] = t_[j] = v_[j] = yr_[j] = ysr_[j] = ysr2_[j] = ys2r2_[j] = leverage_[j] = 0.0;
      step_eta_[j] = follow_eta_[j] = 0.0;
    }
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

  /// The nonzeros, cut into chunks of one group, as many side by side as a pack has lanes: the lanes of a block have
  /// the same number of rows, short ones being filled with zeros. Long chunks come first, so that little is filled.
  void make_chunks() {
    chunk_group_.clear();
    chunk_begin_.clear();
    for (auto& bucket : tails_) bucket.clear();
    for (Index i = 0; i < groups_active_; ++i) {
      const Index k = active_[at(i)], end = begin_[at(k + 1)];
      Index e = begin_[at(k)];
      for (; e + chunk <= end; e += chunk) {
        chunk_group_.push_back(i);
        chunk_begin_.push_back(e);
      }
      if (e < end) tails_[at(end - e)].push_back({i, e});
    }
    rows_.clear();
    const Index full = static_cast<Index>(chunk_group_.size());
    Index total_rows = 0;
    chunk_length_.assign(at(full), chunk);
    for (Index length = chunk - 1; length > 0; --length)
      for (const auto& [i, e] : tails_[at(length)]) {
        chunk_group_.push_back(i);
        chunk_begin_.push_back(e);
        chunk_length_.push_back(length);
      }
    const Index chunks = static_cast<Index>(chunk_group_.size());
    for (Index c = 0; c < chunks; c += V::size) {
      rows_.push_back(chunk_length_[at(c)]);
      total_rows += rows_.back();
    }
    if (lanes_y_.size() < total_rows * V::size) {
      lanes_y_ = Buffer<double>(2 * total_rows * V::size);
      lanes_depth_ = Buffer<double>(2 * total_rows * V::size);
    }
    if (chunk_sums_.size() < 4 * padded(chunks)) {
      chunk_sums_ = Buffer<double>(8 * padded(chunks));
      chunk_a_ = Buffer<double>(2 * padded(chunks));
    }
    Index row = 0;
    for (Index c = 0; c < chunks; c += V::size) {
      const Index rows = rows_[at(c / V::size)];
      for (Index lane = 0; lane < V::size; ++lane) {
        const bool used = c + lane < chunks;
        const Index length = used ? chunk_length_[at(c + lane)] : 0, from = used ? chunk_begin_[at(c + lane)] : 0;
        double* const y = lanes_y_.data() + row * V::size + lane;
        double* const s = lanes_depth_.data() + row * V::size + lane;
        for (Index r = 0; r < length; ++r) {
          y[r * V::size] = y_[from + r];
          s[r * V::size] = depth_[from + r];
        }
        for (Index r = length; r < rows; ++r) y[r * V::size] = s[r * V::size] = 0.0;
      }
      row += rows;
    }
    chunks_ = chunks;
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

  /// Fills the arrays by group at phi and the present coefficients.
  void evaluate(double phi) {
    ++iterations_;
    const Index n = groups_active_;
    for (std::size_t i = 0; i < active_types_.size(); ++i) type_part_[static_cast<Index>(i)] = beta_[active_types_[i]];
    add_up(type_part_, gamma_, eta_);
    for (Index j = 0; j < n; j += V::size) {
      const math::FullLanes<double> lanes{j};
      const V mean = math::exp(lanes.load(eta_.data()));
      lanes.store(mean_.data(), mean);
      lanes.store(a_.data(), V(phi) * mean);
    }
    if (phi == 0.0) {
      // r = 1: everything is known from load().
      for (Index j = 0; j < n; j += V::size) {
        const math::FullLanes<double> lanes{j};
        const V sum1 = lanes.load(sum1_.data()), sum2 = lanes.load(sum2_.data());
        lanes.store(s_.data(), sum1);
        lanes.store(p_.data(), sum1);
        lanes.store(t_.data(), V(0.5) * sum2);
        lanes.store(v_.data(), sum2);
        lanes.store(yr_.data(), lanes.load(active_total_.data()));
        lanes.store(ysr_.data(), lanes.load(active_weighted_.data()));
        lanes.store(ysr2_.data(), lanes.load(active_weighted_.data()));
        lanes.store(ys2r2_.data(), lanes.load(active_squared_.data()));
      }
    } else {
      sums_->values(active_.data(), n, a_.data(), s_.data(), p_.data(), t_.data(), v_.data());
      sum_nonzeros();
    }
    for (Index j = 0; j < n; j += V::size) {
      const math::FullLanes<double> lanes{j};
      const V mean = lanes.load(mean_.data());
      const V expected = mean * lanes.load(s_.data());
      const V ysr2 = lanes.load(ysr2_.data());
      lanes.store(expected_.data(), expected);
      lanes.store(score_.data(), lanes.load(yr_.data()) - expected);
      // r (1 - r) = a s r^2
      lanes.store(information_.data(), mean * lanes.load(p_.data()) + lanes.load(a_.data()) * ysr2);
      lanes.store(pull_.data(), mean * (mean * lanes.load(v_.data()) - ysr2));
    }
  }

  /// Sums over the nonzeros of each group: y r, y s r, y s r^2, y s^2 r^2.
  void sum_nonzeros() {
    const Index n = groups_active_;
    for (Index c = 0; c < chunks_; ++c) chunk_a_[c] = a_[chunk_group_[at(c)]];
    for (Index c = chunks_; c < padded(chunks_); ++c) chunk_a_[c] = 0.0;
    const double* y = lanes_y_.data();
    const double* s = lanes_depth_.data();
    double* sums = chunk_sums_.data();
    for (std::size_t block = 0; block < rows_.size(); ++block) {
      const V a = math::FullLanes<double>{static_cast<Index>(block) * V::size}.load(chunk_a_.data());
      V yr(0.0), ysr(0.0), ysr2(0.0), ys2r2(0.0);
      for (Index row = 0; row < rows_[block]; ++row, y += V::size, s += V::size) {
        const math::FullLanes<double> lanes{0};
        const V count = lanes.load(y), depth = lanes.load(s);
        const V r = detail::reciprocal(math::multiply_add(a, depth, V(1.0)));
        const V sr = depth * r, w = count * sr;
        yr = math::multiply_add(count, r, yr);
        ysr = ysr + w;
        ysr2 = math::multiply_add(w, r, ysr2);
        ys2r2 = math::multiply_add(w, sr, ys2r2);
      }
      const math::FullLanes<double> lanes{0};
      lanes.store(sums, yr);
      lanes.store(sums + V::size, ysr);
      lanes.store(sums + 2 * V::size, ysr2);
      lanes.store(sums + 3 * V::size, ys2r2);
      sums += 4 * V::size;
    }
    for (Index j = 0; j < n; ++j) yr_[j] = ysr_[j] = ysr2_[j] = ys2r2_[j] = 0.0;
    for (Index c = 0; c < chunks_; ++c) {
      const Index j = chunk_group_[at(c)];
      const double* sum = chunk_sums_.data() + c / V::size * 4 * V::size + c % V::size;
      yr_[j] += sum[0];
      ysr_[j] += sum[V::size];
      ysr2_[j] += sum[2 * V::size];
      ys2r2_[j] += sum[3 * V::size];
    }
  }

  /// sum y [log mu - log(1 + phi mu)] - (1/phi) sum log(1 + phi mu) at the arrays that evaluate(phi) left.
  double linear_part(double phi) {
    double sum = log_depth_sum_;
    for (Index j = 0; j < groups_active_; ++j) sum += active_total_[j] * eta_[j] - mean_[j] * (s_[j] + a_[j] * t_[j]);
    if (phi == 0.0) return sum;
    math::PackSum<double> logs;
    const double* y = lanes_y_.data();
    const double* s = lanes_depth_.data();
    for (Index c = 0; c < chunks_; ++c) chunk_a_[c] = a_[chunk_group_[at(c)]];
    for (Index c = chunks_; c < padded(chunks_); ++c) chunk_a_[c] = 0.0;
    for (std::size_t block = 0; block < rows_.size(); ++block) {
      const V a = math::FullLanes<double>{static_cast<Index>(block) * V::size}.load(chunk_a_.data());
      for (Index row = 0; row < rows_[block]; ++row, y += V::size, s += V::size) {
        const math::FullLanes<double> lanes{0};
        logs.add(lanes.load(y) * math::log1p(a * lanes.load(s)));
      }
    }
    return sum - logs.total();
  }

  /// Changes of the linear predictors, and the largest of them.
  double predictors(const Buffer<double>& types, const Buffer<double>& columns, Buffer<double>& eta) const {
    add_up(types, columns, eta);
    V high(0.0), low(0.0), none(0.0);
    for (Index j = 0; j < groups_active_; j += V::size) {
      const V change = math::FullLanes<double>{j}.load(eta.data());
      high = math::select(change > high, change, high);
      low = math::select(change < low, change, low);
      none = none + V(0.0) * change;  // NaN where one is not finite
    }
    double largest = 0.0;
    for (Index lane = 0; lane < V::size; ++lane) {
      if (!(none.lanes[lane] == 0.0)) return detail::infinity;
      largest = std::max({largest, high.lanes[lane], -low.lanes[lane]});
    }
    return largest;
  }
  /// By group: the type's number (of those that take part) and the columns of all factors.
  void add_up(const Buffer<double>& types, const Buffer<double>& columns, Buffer<double>& eta) const {
    const Index factors = groups_->factors();
    const Index *type = active_type_.data(), *column = active_column_.data();
    if (factors == 1) {
      for (Index j = 0; j < groups_active_; ++j) eta[j] = types[type[j]] + columns[column[j]];
      return;
    }
    for (Index j = 0; j < groups_active_; ++j) {
      double sum = types[type[j]];
      for (Index f = 0; f < factors; ++f) sum += columns[column[j * factors + f]];
      eta[j] = sum;
    }
  }
  void add_step(double step, const Buffer<double>& types, const Buffer<double>& columns) {
    for (std::size_t i = 0; i < active_types_.size(); ++i)
      beta_[active_types_[i]] += step * types[static_cast<Index>(i)];
    for (Index c = 0; c < groups_->columns(); ++c) gamma_[c] += step * columns[c];
  }
  static double damping(double largest) { return largest <= full_step ? 1.0 : std::log1p(largest) / largest; }

  /// Newton's method until the step is below `enough`; that last step is taken too.
  void solve_to(double phi, double enough) {
    if (status_ == FitStatus::no_counts) return;
    converged_ = false;
    for (int i = 0; i < max_iterations_ && !converged_; ++i) {
      evaluate(phi);
      if (!factor_.factor(information_.data())) return;
      factor_.solve(score_.data(), type_step_.data(), column_step_.data());
      const double largest = predictors(type_step_, column_step_, step_eta_);
      if (!std::isfinite(largest)) return;
      add_step(damping(largest), type_step_, column_step_);
      converged_ = largest < enough;
    }
  }

  /// Derivatives in phi at the arrays that evaluate(phi) left, corrected to second order for the Newton step of the
  /// coefficients, which is computed (type_step_, column_step_) with what they change by phi (type_follow_, ...).
  Profile profile(double phi, double cox_reid_factor) {
    const auto by_counts = counts_.derivatives(phi);
    Profile result{by_counts.first, by_counts.second, 0.0, detail::infinity};
    if (!factor_.factor(information_.data())) return result;
    factor_.solve(score_.data(), type_step_.data(), column_step_.data());
    factor_.solve(pull_.data(), type_follow_.data(), column_follow_.data());
    result.largest = predictors(type_step_, column_step_, step_eta_);
    predictors(type_follow_, column_follow_, follow_eta_);
    add_means(result, step_eta_, follow_eta_);
    if (cox_reid_factor == 0.0) return result;
    // At phi = 0 the observed information, which is factored, is the expected one.
    if (phi != 0.0 && !factor_.factor(expected_.data())) return result;
    adjust(result, cox_reid_factor, follow_eta_);
    return result;
  }
  /// The same with all means fixed.
  Profile plugin(double phi, double cox_reid_factor) {
    evaluate(phi);
    const auto by_counts = counts_.derivatives(phi);
    Profile result{by_counts.first, by_counts.second, 0.0, 0.0};
    add_means(result, still_, still_);
    if (cox_reid_factor != 0.0 && factor_.factor(expected_.data())) adjust(result, cox_reid_factor, still_);
    return result;
  }

  /// The parts of the score and its slope that depend on the means, which move by `step` and, with phi, by `follow`.
  /// dT/da = (V - 2 T) / a, -2/3 sum s^3 at 0; for the slope, which needs no more than some digits.
  void add_means(Profile& result, const Buffer<double>& step, const Buffer<double>& follow) const {
    math::PackSum<double> score, curvature;
    for (Index j = 0; j < groups_active_; j += V::size) {
      const math::FullLanes<double> lanes{j};
      const V mean = lanes.load(mean_.data()), a = lanes.load(a_.data()), t = lanes.load(t_.data());
      const V pull = lanes.load(pull_.data()), cubes = lanes.load(sum3_.data());
      const auto small = a * cubes <= V(1e-8) * lanes.load(sum2_.data());
      const V slope = math::select(small, V(-2.0 / 3.0) * cubes,
                                   (lanes.load(v_.data()) - V(2.0) * t) / math::select(small, V(1.0), a));
      score.add(mean * (mean * t - lanes.load(ysr_.data())) + pull * lanes.load(step.data()));
      curvature.add(mean * mean * (lanes.load(ys2r2_.data()) + mean * slope) + pull * lanes.load(follow.data()));
    }
    result.score += score.total();
    result.curvature += curvature.total();
  }
  /// Cox and Reid's term, the expected information being factored.
  void adjust(Profile& result, double cox_reid_factor, const Buffer<double>& follow) {
    factor_.invert();
    factor_.variances_of_groups(leverage_.data());
    math::PackSum<double> trace;
    for (Index j = 0; j < groups_active_; j += V::size) {
      const math::FullLanes<double> lanes{j};
      const V mean = lanes.load(mean_.data());
      trace.add(lanes.load(leverage_.data()) * mean *
                (lanes.load(p_.data()) * lanes.load(follow.data()) - mean * lanes.load(v_.data())));
    }
    result.adjustment = -0.5 * cox_reid_factor * trace.total();
    result.score += result.adjustment;
  }

  /// Newton's method in log phi and the coefficients together, from log phi = x. The slope of Cox and Reid's term comes
  /// from its last two values (`adjustment` is the one at phi = 0), the second derivative from the last two first ones:
  /// convergence is better than quadratic. False where it does not settle.
  bool climb(double x, double upper, double cox_reid_factor, bool means_fixed, double adjustment,
             DispersionEstimate& result) {
    double low = smallest_log_dispersion, high = upper, last_change = 1.0;
    double before_phi = 0.0, before_x = 0.0, before_bend = 0.0;
    bool bracketed_above = false;
    for (int i = 0; i < 60; ++i) {
      const double phi = std::exp(x);
      if (!means_fixed) evaluate(phi);
      const Profile now = means_fixed ? plugin(phi, cox_reid_factor) : profile(phi, cox_reid_factor);
      if (!std::isfinite(now.largest) || !std::isfinite(now.score)) return false;
      double curvature = now.curvature;
      if (phi != before_phi) curvature += (now.adjustment - adjustment) / (phi - before_phi);
      const double slope = phi * now.score, bend = phi * (phi * curvature + now.score);
      double change = bend < 0.0 ? -slope / bend : std::copysign(1.0, slope);
      if (i > 0 && bend < 0.0 && before_bend < 0.0 && std::abs(x - before_x) > 1e-6)
        change *= std::clamp(1.0 - 0.5 * change * (bend - before_bend) / ((x - before_x) * bend), 0.7, 1.4);
      before_phi = phi;
      before_x = x;
      before_bend = bend;
      adjustment = now.adjustment;
      change = std::clamp(change, -2.0, 2.0);
      if (now.largest > 0.5) {
        change = 0.0;  // first the coefficients
      } else if (now.largest < 1e-2) {
        if (slope > 0.0) {
          low = std::max(low, x);
        } else {
          high = std::min(high, x);
          bracketed_above = true;
        }
        if (low > high) return false;
      }
      if (x + change > high) change = bracketed_above ? 0.5 * (low + high) - x : high - x;
      if (x + change < low) change = 0.5 * (low + high) - x;
      const double size = std::abs(change);
      const bool settled = now.largest < 1e-4 && size < 1e-4 && size * std::max(size, last_change) < 1e-12;
      const bool at_limit = x == upper && slope > 0.0 && now.largest < 1e-4;
      last_change = now.largest > 0.5 ? 1.0 : size;
      if (!means_fixed) {
        add_step(damping(now.largest), type_step_, column_step_);
        double follow = std::exp(x + change) - phi;
        for (Index j = 0; j < groups_active_; ++j)
          if (const double moved = std::abs(follow * follow_eta_[j]); moved > full_step) follow *= full_step / moved;
        add_step(follow, type_follow_, column_follow_);
      }
      if (at_limit) {
        result = {std::exp(upper), DispersionStatus::upper_limit, std::max(0.0, -bend)};
        return true;
      }
      x += change;
      if (settled) {
        result = {std::exp(x), DispersionStatus::maximum, std::max(0.0, -bend)};
        return true;
      }
      if (x <= smallest_log_dispersion + 1.0) return false;
    }
    return false;
  }

  /// The careful way: brackets the zero of the derivative with the coefficients solved for at each dispersion, and
  /// finds it by Brent's method.
  DispersionEstimate search_dispersion(double at_zero, double start, double largest, double cox_reid_factor) {
    const auto score = [&](double log_phi) { return dispersion_score(std::exp(log_phi), cox_reid_factor); };
    const double upper = std::log(largest);
    double low, low_score, high, high_score;
    if (at_zero > 0.0) {
      low = high = start;
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
    if (low_score < 0.0) return {0.0, DispersionStatus::zero, 0.0};
    const bool rising = high_score > 0.0;
    const double x = rising ? upper : detail::find_root(score, low, low_score, high, high_score, root_tolerance);
    const double phi = rising ? largest : std::exp(x);
    if (at_zero <= 0.0 && adjusted_likelihood(0.0, cox_reid_factor) >= adjusted_likelihood(phi, cox_reid_factor))
      return {0.0, DispersionStatus::zero, 0.0};
    const double h = 1e-4;
    const double bend = (std::exp(x + h) * score(x + h) - std::exp(x - h) * score(x - h)) / (2.0 * h);
    solve(phi);
    return {phi, rising ? DispersionStatus::upper_limit : DispersionStatus::maximum, std::max(0.0, -bend)};
  }

  double adjusted_likelihood(double phi, double cox_reid_factor) {
    solve(phi);
    double value = log_likelihood(phi);
    if (cox_reid_factor != 0.0 && factor_.factor(expected_.data()))
      value -= 0.5 * cox_reid_factor * factor_.log_determinant();
    return value;
  }

  /// Estimate from the second moment about the present (Poisson) means: sum[(y - mu)^2 - mu] / sum mu^2.
  double moment_dispersion() const {
    double excess = gene_squares_, squares = 0.0;
    for (Index j = 0; j < groups_active_; ++j) {
      const double mean = mean_[j], square = mean * mean * sum2_[j];
      excess += square - mean * (2.0 * active_weighted_[j] + sum1_[j]);
      squares += square;
    }
    return squares > 0.0 ? excess / squares : 0.0;
  }

  void remember() {
    std::copy(beta_.begin(), beta_.end(), kept_beta_.begin());
    std::copy(gamma_.begin(), gamma_.end(), kept_gamma_.begin());
  }
  void recall() {
    std::copy(kept_beta_.begin(), kept_beta_.end(), beta_.begin());
    std::copy(kept_gamma_.begin(), kept_gamma_.end(), gamma_.begin());
  }

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

  const CellGroups* groups_;
  const GroupSums* sums_;
  int max_iterations_;

  // The gene: nonzeros by group, totals, what hangs together.
  std::vector<Index> begin_;
  Buffer<double> y_, depth_;
  std::vector<double> total_, weighted_, squared_, type_total_, column_total_;  // of y, y s, y s^2 by group; of y
  double gene_total_ = 0.0, gene_squares_ = 0.0, log_depth_sum_ = 0.0;
  CountSums counts_;
  Components components_;
  bool whole_ = true;  // one component, nothing lost
  std::vector<Index> active_, active_type_, active_column_, active_types_, type_range_, type_number_;
  Index groups_active_ = 0;
  std::vector<Index> slots_;
  std::vector<char> not_estimable_type_, not_estimable_column_;
  Index free_ = 0;
  FitStatus status_ = FitStatus::no_counts;

  // Nonzeros in chunks.
  struct Tail {
    Index group, begin;
  };
  std::array<std::vector<Tail>, static_cast<std::size_t>(chunk)> tails_;
  std::vector<Index> chunk_group_, chunk_begin_, chunk_length_, rows_;
  Index chunks_ = 0;
  Buffer<double> lanes_y_, lanes_depth_, chunk_a_, chunk_sums_;

  // Where the fit stands: by active group, by active type (steps) or type (beta), by column.
  Buffer<double> eta_, mean_, a_, s_, p_, t_, v_, yr_, ysr_, ysr2_, ys2r2_;
  Buffer<double> score_, information_, expected_, pull_, leverage_, step_eta_, follow_eta_;
  Buffer<double> sum1_, sum2_, sum3_, still_, active_total_, active_weighted_, active_squared_;
  Buffer<double> beta_, gamma_, kept_beta_, kept_gamma_;
  Buffer<double> type_step_, type_follow_, type_part_, column_step_, column_follow_, column_part_, shares_,
      scratch_columns_;
  ArrowFactor factor_;
  int iterations_ = 0;
  bool converged_ = true;
};

}  // namespace eosin::glm
