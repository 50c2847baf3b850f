#pragma once

// The additive negative binomial model of one gene on spots of known composition:
//
//   y_i ~ NB(mu_i, phi),   mu_i = s_i c_{e(i)} sum_t q_it T_t = c_{e(i)} x_i' T,   T_t >= 0
//
// q the proportions, s the size factors, c a factor of the gene in section e (1 without sections), T the gene's
// prototypes. Negative log-likelihood and derivatives in mu, for count y:
//
//   f = (y + 1/phi) log(1 + phi mu) - y log mu     f' = (1 + phi y) / (1 + phi mu) - y / mu
//   f'' = y / mu^2 - phi (1 + phi y) / (1 + phi mu)^2       expected information 1 / (mu (1 + phi mu))
//
// Steps in T: the bounded minimum of the quadratic model (observed information, or the expected one where that is not
// positive definite) and a line search; where that fails, the multiplicative step
//
//   T_t <- T_t [sum_i x_it y_i / mu_i] / [sum_i x_it (1 + phi y_i) / (1 + phi mu_i)]
//
// which never lowers the likelihood (majorisation-minimisation: Gouvert, Oberlin and Fevotte, "Negative binomial matrix
// factorization", 2018; Richardson and Lucy's for phi = 0). Zeros of T are exact. Steps in c and phi are
// one-dimensional; every step raises the likelihood. Derivation: docs/derivations/soft_labels.md.

#include <eosin/core/buffer.hpp>
#include <eosin/glm/bounded_quadratic.hpp>
#include <eosin/glm/count_sums.hpp>
#include <eosin/glm/gene_solver.hpp>
#include <eosin/glm/log1p_forms.hpp>
#include <eosin/glm/root.hpp>
#include <eosin/math/logarithm.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace eosin::glm {

namespace detail {

/// Sum over i < n of term(lanes), a pack of values per call.
template <class Term>
double pack_sum(std::size_t n, Term&& term) {
  math::PackSum<double> sum;
  math::for_each_pack<double>(0, static_cast<Index>(n), [&](auto lanes) { sum.add(lanes.keep(term(lanes))); });
  return sum.total();
}

inline double dot(const std::vector<double>& a, const double* b) {
  return pack_sum(a.size(), [&](auto lanes) { return lanes.load(a.data()) * lanes.load(b); });
}

}  // namespace detail

/// Exposure of the spots to each type: rows [types x spots], s_i q_it.
struct Exposure {
  std::vector<double> values;
  std::size_t rows = 0, length = 0;

  Exposure() = default;
  Exposure(std::size_t row_count, std::size_t row_length)
      : values(row_count * row_length), rows(row_count), length(row_length) {}
  double* row(std::size_t t) { return values.data() + t * length; }
  const double* row(std::size_t t) const { return values.data() + t * length; }

  /// sum_t scale[t] row_t
  std::vector<double> combine(const std::vector<double>& scale) const {
    std::vector<double> result(length, 0.0);
    for (std::size_t t = 0; t < rows; ++t)
      if (scale[t] != 0.0)
        for (std::size_t i = 0; i < length; ++i) result[i] += scale[t] * row(t)[i];
    return result;
  }
  /// sums[t] += weight' row_t
  void add_sums(const std::vector<double>& weight, std::vector<double>& sums) const {
    for (std::size_t t = 0; t < rows; ++t) sums[t] += detail::dot(weight, row(t));
  }
  /// matrix[t, u] += sum_i weight_i row_t[i] row_u[i], the lower triangle
  void add_products(const std::vector<double>& weight, std::vector<double>& matrix) const {
    std::vector<double> weighted(length);
    for (std::size_t t = 0; t < rows; ++t) {
      for (std::size_t i = 0; i < length; ++i) weighted[i] = weight[i] * row(t)[i];
      for (std::size_t u = 0; u <= t; ++u) matrix[t * rows + u] += detail::dot(weighted, row(u));
    }
  }
};

/// Fits one gene after the other. One object per thread. With phi = 0 a step costs O(spots with a count x types^2),
/// otherwise O(spots x types^2).
class MixtureSolver {
 public:
  /// exposure [types x spots], s_i q_it >= 0, no type or spot without a positive entry; section [spots], codes
  /// 0 .. sections-1. Both must outlive the object.
  MixtureSolver(const Exposure& exposure, const std::vector<Index>& section, Index sections)
      : x_(&exposure),
        section_(&section),
        section_exposure_(exposure.rows, at(sections)),
        factor_(at(sections), 1.0),
        spot_factor_(exposure.length, 1.0),
        prototype_(exposure.rows, 0.0) {
    for (std::size_t t = 0; t < exposure.rows; ++t)
      for (std::size_t i = 0; i < exposure.length; ++i) section_exposure_.row(t)[at(section[i])] += exposure.row(t)[i];
  }

  /// Takes a gene: its spots with a count (places in the exposure) and the counts. Starts from the same prototype for
  /// every type, section factors of 1 (0 for a section without counts) and dispersion 0.
  void load(const std::vector<Index>& spots, const std::vector<double>& counts) {
    spots_ = spots;
    y_ = counts;
    x_positive_ = Exposure(x_->rows, spots.size());
    for (std::size_t t = 0; t < x_->rows; ++t)
      for (std::size_t k = 0; k < spots.size(); ++k) x_positive_.row(t)[k] = x_->row(t)[at(spots[k])];
    total_ = constant_ = 0.0;
    for (const double y : counts) {
      total_ += y;
      constant_ += detail::log_factorial(y);
    }
    counts_.load(counts.data(), static_cast<Index>(counts.size()));
    dispersion_ = 0.0;
    std::fill(factor_.begin(), factor_.end(), 1.0);
    if (factor_.size() > 1) {
      std::fill(factor_.begin(), factor_.end(), 0.0);
      for (const Index spot : spots) factor_[section_of(spot)] = 1.0;
    }
    spread_factors();
    double exposed = 0.0;
    for (const double x : exposure_) exposed += x;
    std::fill(prototype_.begin(), prototype_.end(), empty() ? 0.0 : total_ / exposed);
    update_means();
  }

  const std::vector<double>& prototype() const { return prototype_; }
  const std::vector<double>& section_factors() const { return factor_; }
  double dispersion() const { return dispersion_; }
  void set_dispersion(double phi) {
    dispersion_ = phi;
    update_means();
  }
  bool empty() const { return total_ == 0.0; }

  double log_likelihood() const {
    return empty() ? 0.0 : counts_.log_rising(dispersion_) - constant_ - objective(now_);
  }

  /// The multiplicative step.
  void multiplicative_step() {
    if (empty()) return;
    std::vector<double> up(prototype_.size(), 0.0), down(prototype_.size(), 0.0);
    weight_.resize(y_.size());
    for (std::size_t k = 0; k < y_.size(); ++k) weight_[k] = positive_factor_[k] * y_[k] / now_.positive[k];
    x_positive_.add_sums(weight_, up);
    if (dispersion_ == 0.0) {
      down = exposure_;
    } else {
      for (std::size_t k = 0; k < y_.size(); ++k)
        weight_[k] = positive_factor_[k] * dispersion_ * y_[k] / (1.0 + dispersion_ * now_.positive[k]);
      x_positive_.add_sums(weight_, down);
      weight_.resize(spot_factor_.size());
      for (std::size_t i = 0; i < weight_.size(); ++i) weight_[i] = spot_factor_[i] / (1.0 + dispersion_ * now_.all[i]);
      x_->add_sums(weight_, down);
    }
    for (std::size_t t = 0; t < prototype_.size(); ++t)
      if (down[t] > 0.0) prototype_[t] *= up[t] / down[t];
    update_means();
  }

  /// A step of the bounded Newton method. Returns the decrease of the negative log-likelihood that the quadratic model
  /// expected: near 0 the maximum is reached.
  double newton_step() {
    if (empty()) return 0.0;
    differentiate();
    const double before = objective(now_);
    const std::size_t n = prototype_.size();
    for (const bool expected : {false, true}) {
      assemble_curvature(expected);
      right_.assign(n, 0.0);
      for (std::size_t t = 0; t < n; ++t) {
        right_[t] = -gradient_[t];
        for (std::size_t u = 0; u < n; ++u) right_[t] += curvature_[t * n + u] * prototype_[u];
      }
      target_ = prototype_;
      if (!quadratic_.solve(curvature_, right_, target_)) continue;
      step_.resize(n);
      double slope = 0.0, bend = 0.0;
      for (std::size_t t = 0; t < n; ++t) {
        step_[t] = target_[t] - prototype_[t];
        slope += gradient_[t] * step_[t];
      }
      for (std::size_t t = 0; t < n; ++t)
        for (std::size_t u = 0; u < n; ++u) bend += step_[t] * curvature_[t * n + u] * step_[u];
      if (!(slope <= 0.0)) continue;
      const double promised = -slope - 0.5 * bend;
      if (promised <= 1e-12 * (1.0 + std::abs(before))) {
        // Below the rounding of the objective: the full step, unjudged, is the best there is.
        prototype_ = target_;
        update_means();
        return std::max(promised, 0.0);
      }
      const Means direction = means(step_);
      const auto objective_at = [&](double length) {
        trial_ = now_;
        for (std::size_t k = 0; k < trial_.positive.size(); ++k) trial_.positive[k] += length * direction.positive[k];
        for (std::size_t i = 0; i < trial_.all.size(); ++i) trial_.all[i] += length * direction.all[i];
        trial_.sum += length * direction.sum;
        return objective(trial_);
      };
      double length = 1.0, value = objective_at(length);
      while (value > before + 1e-4 * length * slope && length > 1e-9) value = objective_at(length *= 0.5);
      if (length <= 1e-9) continue;
      if (expected && length == 1.0) lengthen(objective_at, length, value);
      for (std::size_t t = 0; t < n; ++t) {
        const double moved = prototype_[t] + length * step_[t];
        prototype_[t] = length == 1.0 ? target_[t] : moved > 1e-14 * prototype_[t] ? moved : 0.0;
      }
      update_means();
      return promised;
    }
    multiplicative_step();
    return std::max(0.0, before - objective(now_));
  }

  /// Each section's factor at its maximum, then their mean over sections brought to 1 by the prototypes.
  void fit_sections() {
    const std::size_t sections = factor_.size();
    if (empty() || sections == 1) return;
    const std::vector<double> positive = x_positive_.combine(prototype_);
    const std::vector<double> all = dispersion_ > 0.0 ? x_->combine(prototype_) : std::vector<double>();
    const std::vector<double> rate = section_exposure_.combine(prototype_);  // sum of the means at factor 1
    for (int i = 0; i < 50; ++i) {
      std::vector<double> score(sections, 0.0), information(sections, 0.0);
      for (std::size_t k = 0; k < y_.size(); ++k) {
        const std::size_t e = section_of(spots_[k]);
        const double mu = factor_[e] * positive[k];
        const double r = 1.0 / (1.0 + dispersion_ * mu);
        score[e] += y_[k] * r;
        information[e] += dispersion_ * y_[k] * mu * r * r;
      }
      for (std::size_t spot = 0; spot < all.size(); ++spot) {
        const std::size_t e = section_of(static_cast<Index>(spot));
        const double mu = factor_[e] * all[spot];
        const double r = 1.0 / (1.0 + dispersion_ * mu);
        score[e] -= mu * r;
        information[e] += mu * r * r;
      }
      double largest = 0.0;
      for (std::size_t e = 0; e < sections; ++e) {
        if (all.empty()) {
          score[e] -= factor_[e] * rate[e];
          information[e] += factor_[e] * rate[e];
        }
        if (factor_[e] == 0.0 || !(information[e] > 0.0)) continue;
        const double change = score[e] / information[e];
        const double d = std::abs(change);
        factor_[e] *= std::exp(d <= 0.7 ? change : std::copysign(std::log1p(d), change));
        largest = std::max(largest, d);
      }
      if (largest < 1e-6) break;
    }
    double mean = 0.0;
    for (const double c : factor_) mean += c / static_cast<double>(sections);
    for (double& c : factor_) c /= mean;
    for (double& value : prototype_) value *= mean;
    spread_factors();
    update_means();
  }

  /// The dispersion that maximises the likelihood at the present means.
  void fit_dispersion(double largest) {
    if (empty()) return;
    if (now_.all.empty()) now_.all = all_means(prototype_);
    const auto score = [&](double log_phi) { return dispersion_score(std::exp(log_phi)); };
    if (dispersion_score(0.0) <= 0.0) return set_dispersion(0.0);
    const double upper = std::log(largest);
    double low = std::log(dispersion_ > 0.0 ? dispersion_ : std::clamp(moment_dispersion(), 1e-6, 0.5 * largest));
    double low_score = score(low), high = low, high_score = low_score;
    for (double step = 0.25; low_score < 0.0 && low > -32.0; step *= 2.0) {
      high = low;
      high_score = low_score;
      low -= step;
      low_score = score(low);
    }
    for (double step = 0.25; high_score > 0.0 && high < upper; step *= 2.0) {
      low = high;
      low_score = high_score;
      high = std::min(high + step, upper);
      high_score = score(high);
    }
    set_dispersion(low_score < 0.0    ? 0.0
                   : high_score > 0.0 ? largest
                                      : std::exp(detail::find_root(score, low, low_score, high, high_score, 1e-7)));
  }

 private:
  using V = math::Pack<double>;

  /// Means of the spots with a count, of all spots (may be empty while the dispersion is 0), and their sum over all.
  struct Means {
    std::vector<double> positive, all;
    double sum = 0.0;
  };

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  std::size_t section_of(Index spot) const { return at((*section_)[at(spot)]); }

  void spread_factors() {
    positive_factor_.resize(y_.size());
    for (std::size_t k = 0; k < y_.size(); ++k) positive_factor_[k] = factor_[section_of(spots_[k])];
    if (factor_.size() > 1)
      for (std::size_t i = 0; i < spot_factor_.size(); ++i)
        spot_factor_[i] = factor_[section_of(static_cast<Index>(i))];
    exposure_.assign(prototype_.size(), 0.0);
    section_exposure_.add_sums(factor_, exposure_);
  }

  std::vector<double> all_means(const std::vector<double>& prototype) const {
    std::vector<double> result = x_->combine(prototype);
    if (factor_.size() > 1)
      for (std::size_t i = 0; i < result.size(); ++i) result[i] *= spot_factor_[i];
    return result;
  }
  Means means(const std::vector<double>& prototype) const {
    Means result;
    result.positive = x_positive_.combine(prototype);
    for (std::size_t k = 0; k < y_.size(); ++k) result.positive[k] *= positive_factor_[k];
    if (dispersion_ > 0.0) result.all = all_means(prototype);
    result.sum = detail::dot(exposure_, prototype.data());
    return result;
  }
  void update_means() { now_ = means(prototype_); }

  /// Negative log-likelihood up to what depends on counts and dispersion alone; infinite where a count has mean 0.
  double objective(const Means& mu) const {
    for (const double m : mu.positive)
      if (!(m > 0.0)) return detail::infinity;
    const V phi(dispersion_);
    const double with_counts = detail::pack_sum(y_.size(), [&](auto lanes) {
      const V m = lanes.load(mu.positive.data(), 1.0);
      return lanes.load(y_.data()) * math::log(m / (V(1.0) + phi * m));
    });
    if (dispersion_ == 0.0) return mu.sum - with_counts;
    const double everywhere =
        detail::pack_sum(mu.all.size(), [&](auto lanes) { return math::log1p(phi * lanes.load(mu.all.data())); });
    return everywhere / dispersion_ - with_counts;
  }

  /// The expected information overstates the curvature where the likelihood is not concave: doubles the step while that
  /// helps, as far as the prototypes stay >= 0.
  template <class F>
  void lengthen(F&& objective_at, double& length, double& value) const {
    double limit = detail::infinity;
    for (std::size_t t = 0; t < step_.size(); ++t)
      if (step_[t] < 0.0) limit = std::min(limit, -prototype_[t] / step_[t]);
    while (length < limit) {
      const double next = std::min(2.0 * length, limit);
      const double there = objective_at(next);
      if (!(there < value)) return;
      length = next;
      value = there;
    }
  }

  void differentiate() {
    gradient_.assign(prototype_.size(), 0.0);
    weight_.resize(y_.size());
    for (std::size_t k = 0; k < y_.size(); ++k)
      weight_[k] = -positive_factor_[k] * y_[k] / (now_.positive[k] * (1.0 + dispersion_ * now_.positive[k]));
    x_positive_.add_sums(weight_, gradient_);
    if (dispersion_ == 0.0) {
      for (std::size_t t = 0; t < gradient_.size(); ++t) gradient_[t] += exposure_[t];
      return;
    }
    weight_.resize(spot_factor_.size());
    for (std::size_t i = 0; i < weight_.size(); ++i) weight_[i] = spot_factor_[i] / (1.0 + dispersion_ * now_.all[i]);
    x_->add_sums(weight_, gradient_);
  }

  void assemble_curvature(bool expected) {
    const double phi = dispersion_;
    const std::size_t n = prototype_.size();
    curvature_.assign(n * n, 0.0);
    if (expected) {
      const double floor = 1e-6 * total_ / static_cast<double>(x_->length);
      weight_ = all_means(prototype_);
      for (std::size_t i = 0; i < weight_.size(); ++i) {
        const double mu = std::max(weight_[i], floor);
        weight_[i] = spot_factor_[i] * spot_factor_[i] / (mu * (1.0 + phi * mu));
      }
      x_->add_products(weight_, curvature_);
    } else {
      weight_.resize(y_.size());
      for (std::size_t k = 0; k < y_.size(); ++k) {
        const double mu = now_.positive[k];
        const double r = phi / (1.0 + phi * mu);
        weight_[k] = positive_factor_[k] * positive_factor_[k] * y_[k] * (1.0 / (mu * mu) - r * r);
      }
      x_positive_.add_products(weight_, curvature_);
      if (phi > 0.0) {
        weight_.resize(spot_factor_.size());
        for (std::size_t i = 0; i < weight_.size(); ++i) {
          const double r = spot_factor_[i] / (1.0 + phi * now_.all[i]);
          weight_[i] = -phi * r * r;
        }
        x_->add_products(weight_, curvature_);
      }
    }
    // The ridge keeps directions that the data barely determine from running away; it does not move the maximum.
    double largest = 0.0;
    for (std::size_t t = 0; t < n; ++t) largest = std::max(largest, std::abs(curvature_[t * n + t]));
    for (std::size_t t = 0; t < n; ++t) {
      curvature_[t * n + t] += 1e-10 * largest;
      for (std::size_t u = 0; u < t; ++u) curvature_[u * n + t] = curvature_[t * n + u];
    }
  }

  /// Derivative of the log-likelihood in phi at the means in now_, `all` among them.
  double dispersion_score(double phi) const {
    double sum = counts_.derivative(phi);
    for (std::size_t k = 0; k < y_.size(); ++k) sum -= y_[k] * now_.positive[k] / (1.0 + phi * now_.positive[k]);
    if (phi == 0.0) return sum + 0.5 * detail::dot(now_.all, now_.all.data());
    return sum + detail::pack_sum(now_.all.size(), [&](auto lanes) {
             return detail::log1p_excess(V(phi) * lanes.load(now_.all.data())) / V(phi * phi);
           });
  }

  /// From the second moment: sum[(y - mu)^2 - mu] / sum mu^2.
  double moment_dispersion() const {
    const double squares = detail::dot(now_.all, now_.all.data());
    double excess = squares - now_.sum;
    for (std::size_t k = 0; k < y_.size(); ++k) excess += y_[k] * (y_[k] - 2.0 * now_.positive[k]);
    return squares > 0.0 ? excess / squares : 0.0;
  }

  const Exposure* x_;
  const std::vector<Index>* section_;
  Exposure section_exposure_;  // [types x sections], sums of the exposure

  std::vector<Index> spots_;
  std::vector<double> y_;  // the counts; what belongs to their spots follows
  Exposure x_positive_;
  std::vector<double> positive_factor_;
  CountSums counts_;
  double total_ = 0.0, constant_ = 0.0, dispersion_ = 0.0;

  std::vector<double> factor_, spot_factor_;
  std::vector<double> exposure_;  // sum over all spots of factor times exposure, per type
  std::vector<double> prototype_;
  Means now_, trial_;

  std::vector<double> weight_, gradient_, target_, right_, step_, curvature_;
  detail::BoundedQuadratic quadratic_;
};

}  // namespace eosin::glm
