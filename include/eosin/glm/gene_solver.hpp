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
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/gene_counts.hpp>
#include <eosin/glm/gene_structure.hpp>
#include <eosin/glm/group_sums.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/glm/profile_maximum.hpp>
#include <eosin/math/exponential.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace eosin::glm {

namespace detail {

/// 1 / q for normal q > 0 with 1/q normal, to 1.5 ulp: the processor's 14-bit estimate and two Newton steps where it
/// has one, three times as fast as the division.
EOSIN_ALWAYS_INLINE inline math::Pack<double> reciprocal(math::Pack<double> q) {
  using V = math::Pack<double>;
#if defined(EOSIN_PACK_AVX512)
  V r(_mm512_maskz_rcp14_pd(0xFF, q.lanes));
  r = math::multiply_add(r, math::multiply_add(-q, r, V(1.0)), r);
  return math::multiply_add(r, math::multiply_add(-q, r, V(1.0)), r);
#else
  return V(1.0) / q;
#endif
}

}  // namespace detail

/// Fits one gene after the other; scratch is kept from gene to gene. One object per thread.
class GeneSolver : public GeneStructure {
 public:
  /// Both arguments must outlive the object.
  GeneSolver(const CellGroups& groups, const GroupSums& sums, int max_iterations)
      : GeneStructure(groups, sums), max_iterations_(max_iterations) {
    const auto g = static_cast<std::size_t>(groups.groups());
    begin_.resize(g + 1);
    weighted_.resize(g);
    squared_.resize(g);
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
                                  &sum2_,
                                  &sum3_,
                                  &still_,
                                  &active_total_,
                                  &active_weighted_,
                                  &active_squared_,
                                  &step_eta_,
                                  &follow_eta_})
      *array = Buffer<double>(room);
    for (Buffer<double>* array : {&kept_beta_, &type_step_, &type_follow_}) *array = Buffer<double>(groups.types());
    for (Buffer<double>* array : {&kept_gamma_, &column_follow_, &shares_, &scratch_columns_})
      *array = Buffer<double>(groups.columns());
  }

  /// Takes a gene: its counts at the cells that take part, by position.
  void load(std::span<const CellCount> counts) {
    read(counts);
    find_structure();
    take_active();
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

  /// Maximises over the coefficients at dispersion phi >= 0, from where they are. No counts: does nothing. The
  /// observed information at the solution is left factored.
  void solve(double phi) { solve_to(phi, last_step); }

  /// Total derivative in phi of the profile log-likelihood less (c/2) log det X'WX; solves at phi first.
  double dispersion_score(double phi, double cox_reid_factor) {
    if (status_ == FitStatus::no_counts) return 0.0;
    solve_to(phi, last_step);
    return profile(phi, cox_reid_factor).score;
  }

  /// The dispersion that maximises the profile likelihood, adjusted by Cox and Reid's term where the factor is not 0.
  /// The coefficients follow and are left near those of the estimate.
  DispersionEstimate maximise_dispersion(double cox_reid_factor, double largest) {
    return ProfileMaximum<GeneSolver>(*this).maximise(cox_reid_factor, largest);
  }
  /// The one-pass form: all means fixed at those of the moment estimate of the dispersion.
  DispersionEstimate maximise_dispersion_plugin(double cox_reid_factor, double largest) {
    return ProfileMaximum<GeneSolver>(*this).maximise_plugin(cox_reid_factor, largest);
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
  /// GeneStructure::log_prototype with its standard error (delta method), which needs prepare_standard_errors().
  LogPrototype log_prototype(Index type, VectorView<const double> weights, bool with_error) {
    const double value = GeneStructure::log_prototype(type, weights, shares_.data());
    return {value, with_error && std::isfinite(value)
                       ? std::sqrt(factor_.variance(type_number_[at(type)], shares_.data()))
                       : detail::not_estimable};
  }

 private:
  friend class ProfileMaximum<GeneSolver>;
  using V = math::Pack<double>;

  static constexpr double full_step = 0.7;
  static constexpr double last_step = 1e-9;  // of a linear predictor; the information is then exact to as much
  static constexpr Index chunk = 16;         // nonzeros

  /// Counts and size factors by group, their sums.
  void read(std::span<const CellCount> counts) {
    const Index n = static_cast<Index>(counts.size());
    if (y_.size() < n) {
      y_ = Buffer<double>(n + n / 2);
      depth_ = Buffer<double>(n + n / 2);
    }
    const double* const depth = groups_->size_factors().data();
    const double* const log_depth = groups_->log_size_factors().data();
    gene_squares_ = log_depth_sum_ = 0.0;
    Index e = 0;
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
    }
    begin_.back() = e;
    counts_.load(y_.data(), n);
  }

  /// What is known of the groups that take part; zeros up to a whole pack.
  void take_active() {
    for (Index j = 0; j < groups_active_; ++j) {
      const Index k = active_[at(j)];
      sum2_[j] = sums_->sum_of_squares(k);
      sum3_[j] = sums_->sum_of_cubes(k);
      active_total_[j] = total_[at(k)];
      active_weighted_[j] = weighted_[at(k)];
      active_squared_[j] = squared_[at(k)];
    }
    for (Index j = groups_active_; j < padded(groups_active_); ++j) {
      sum2_[j] = sum3_[j] = active_total_[j] = active_weighted_[j] = active_squared_[j] = eta_[j] = 0.0;
      s_[j] = p_[j] = t_[j] = v_[j] = yr_[j] = ysr_[j] = ysr2_[j] = ys2r2_[j] = leverage_[j] = 0.0;
      step_eta_[j] = follow_eta_[j] = 0.0;
    }
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

  void add_newton_step(double largest) { add_step(damping(largest), type_step_, column_step_); }
  /// The coefficients follow a change of phi; less far where a linear predictor would change by more than a full step.
  void add_follow(double follow) {
    for (Index j = 0; j < groups_active_; ++j)
      if (const double moved = std::abs(follow * follow_eta_[j]); moved > full_step) follow *= full_step / moved;
    add_step(follow, type_follow_, column_follow_);
  }
  bool has_counts() const { return status_ != FitStatus::no_counts; }
  void set_converged(bool converged) { converged_ = converged; }

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
  DispersionProfile profile(double phi, double cox_reid_factor) {
    const auto by_counts = counts_.derivatives(phi);
    DispersionProfile result{by_counts.first, by_counts.second, 0.0, detail::infinity};
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
  DispersionProfile plugin(double phi, double cox_reid_factor) {
    evaluate(phi);
    const auto by_counts = counts_.derivatives(phi);
    DispersionProfile result{by_counts.first, by_counts.second, 0.0, 0.0};
    add_means(result, still_, still_);
    if (cox_reid_factor != 0.0 && factor_.factor(expected_.data())) adjust(result, cox_reid_factor, still_);
    return result;
  }

  /// The parts of the score and its slope that depend on the means, which move by `step` and, with phi, by `follow`.
  /// dT/da = (V - 2 T) / a, -2/3 sum s^3 at 0; for the slope, which needs no more than some digits.
  void add_means(DispersionProfile& result, const Buffer<double>& step, const Buffer<double>& follow) const {
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
  void adjust(DispersionProfile& result, double cox_reid_factor, const Buffer<double>& follow) {
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

  int max_iterations_;

  // The gene: nonzeros by group, totals, what hangs together.
  std::vector<Index> begin_;
  Buffer<double> y_, depth_;
  std::vector<double> weighted_, squared_;  // of y s, y s^2 by group
  double gene_squares_ = 0.0, log_depth_sum_ = 0.0;
  CountSums counts_;

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
  Buffer<double> sum2_, sum3_, still_, active_total_, active_weighted_, active_squared_;
  Buffer<double> kept_beta_, kept_gamma_;
  Buffer<double> type_step_, type_follow_, column_follow_, shares_, scratch_columns_;
  ArrowFactor factor_;
  int iterations_ = 0;
  bool converged_ = true;
};

}  // namespace eosin::glm
