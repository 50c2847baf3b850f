#pragma once

// The dispersion at which the profile likelihood of a gene, adjusted by Cox and Reid's term or not, is highest, given
// the derivatives that the gene evaluates: Newton's method in log phi and the coefficients together, and where that
// does not settle a bracket and Brent's method. One text for processor and device: `Gene` is GeneSolver there, what a
// block of threads works on here, in which case all threads take every step with the same numbers.
//
// A Gene has
//   bool has_counts()
//   void evaluate(phi)                         what the next takes its sums from
//   DispersionProfile profile(phi, factor)     with the Newton step of the coefficients, and what they change by phi
//   DispersionProfile plugin(phi, factor)      evaluates, with all means fixed
//   void add_newton_step(largest)              that step, shortened if its largest change asks for it
//   void add_follow(by)                        the coefficients follow phi, as far as they may
//   void solve_to(phi, enough), solve(phi)     the coefficients at phi
//   double dispersion_score(phi, factor), adjusted_likelihood(phi, factor), moment_dispersion()
//   void remember(), recall()                  the coefficients
//   void set_converged(bool)

#include <eosin/core/config.hpp>
#include <eosin/glm/root.hpp>

#include <algorithm>
#include <cmath>

namespace eosin::glm {

/// How the dispersion came about.
enum class DispersionStatus {
  given,
  maximum,      ///< the derivative vanishes there
  zero,         ///< on the boundary: the likelihood falls from 0 on
  upper_limit,  ///< still rising at the largest dispersion allowed
  none,         ///< no counts to estimate it from; 0 is reported
  shrunken      ///< moved towards those of the other genes
};

struct DispersionEstimate {
  double phi = 0.0;
  DispersionStatus status = DispersionStatus::none;
  /// Minus the second derivative of the adjusted profile log-likelihood in log phi at the estimate: its precision.
  /// 0 where the estimate is 0 or there are no counts.
  double precision = 0.0;
};

struct DispersionProfile {
  double score;       ///< total derivative in phi
  double curvature;   ///< second derivative in phi of the profile likelihood, without Cox and Reid's term
  double adjustment;  ///< derivative of Cox and Reid's term
  double largest;     ///< change of a linear predictor in the Newton step
};

template <class Gene>
class ProfileMaximum {
 public:
  EOSIN_HOST_DEVICE explicit ProfileMaximum(Gene& gene) : gene_(&gene) {}

  /// The dispersion that maximises the profile likelihood, adjusted by Cox and Reid's term where the factor is not 0.
  /// Where the derivative at 0 is negative, maxima at larger dispersions are looked for and the better end is taken.
  /// The coefficients follow and are left near those of the estimate.
  EOSIN_EITHER_SIDE
  EOSIN_HOST_DEVICE DispersionEstimate maximise(double cox_reid_factor, double largest) {
    if (!gene_->has_counts()) return {};
    // The score is corrected to second order, so that a coarse solution shows a clear rise; a fall is looked at again.
    gene_->solve_to(0.0, 0.1);
    DispersionProfile zero = gene_->profile(0.0, cox_reid_factor);
    if (!(zero.score > 0.0)) {
      gene_->solve_to(0.0, 1e-5);
      zero = gene_->profile(0.0, cox_reid_factor);
    }
    const double at_zero = zero.score;
    const double upper = std::log(largest);
    const double start = std::log(std::clamp(gene_->moment_dispersion(), 1e-4, 0.5 * largest));
    if (at_zero > 0.0) {
      DispersionEstimate result;
      if (climb(start, upper, cox_reid_factor, false, zero.adjustment, result)) return result;
      return search(at_zero, start, largest, cox_reid_factor);
    }
    // Is there a rising branch beyond? Coarse solutions do: the score is corrected to second order.
    gene_->remember();
    for (const double probe : {0.03, 1.0, 30.0}) {
      if (probe >= largest) break;
      gene_->solve_to(probe, 0.05);
      if (!(gene_->profile(probe, cox_reid_factor).score > 0.0)) continue;
      const auto result = search(at_zero, start, largest, cox_reid_factor);
      if (result.status != DispersionStatus::zero) return result;
      break;
    }
    gene_->recall();
    gene_->set_converged(true);
    return {0.0, DispersionStatus::zero, 0.0};
  }

  /// The one-pass form: the coefficients are fitted at the moment estimate of the dispersion (made from the Poisson
  /// fit), then the dispersion maximises l - (c/2) log det X'WX with all means fixed.
  EOSIN_EITHER_SIDE
  EOSIN_HOST_DEVICE DispersionEstimate maximise_plugin(double cox_reid_factor, double largest) {
    if (!gene_->has_counts()) return {};
    gene_->solve_to(0.0, 1e-5);
    const double moment = std::clamp(gene_->moment_dispersion(), 0.0, 0.5 * largest);
    gene_->solve(moment);
    const DispersionProfile zero = gene_->plugin(0.0, cox_reid_factor);
    if (!(zero.score > 0.0)) return {0.0, DispersionStatus::zero, 0.0};
    const double start = std::log(std::max(moment, 1e-4)), upper = std::log(largest);
    DispersionEstimate result;
    if (!climb(start, upper, cox_reid_factor, true, zero.adjustment, result)) gene_->set_converged(false);
    return result;
  }

 private:
  static constexpr double smallest_log_dispersion = -32.0;
  static constexpr double root_tolerance = 1e-10;

  /// The derivative in phi at log phi = x. (Not a lambda: nvcc would ask whether both sides could call it.)
  struct Score {
    Gene* gene;
    double cox_reid_factor;
    EOSIN_EITHER_SIDE
    EOSIN_HOST_DEVICE double operator()(double x) const { return gene->dispersion_score(std::exp(x), cox_reid_factor); }
  };

  /// Newton's method in log phi and the coefficients together, from log phi = x. The slope of Cox and Reid's term comes
  /// from its last two values (`adjustment` is the one at phi = 0), the second derivative from the last two first ones:
  /// convergence is better than quadratic. False where it does not settle.
  EOSIN_EITHER_SIDE
  EOSIN_HOST_DEVICE bool climb(double x, double upper, double cox_reid_factor, bool means_fixed, double adjustment,
                               DispersionEstimate& result) {
    double low = smallest_log_dispersion, high = upper, last_change = 1.0;
    double before_phi = 0.0, before_x = 0.0, before_bend = 0.0;
    bool bracketed_above = false;
    for (int i = 0; i < 60; ++i) {
      const double phi = std::exp(x);
      if (!means_fixed) gene_->evaluate(phi);
      const DispersionProfile now =
          means_fixed ? gene_->plugin(phi, cox_reid_factor) : gene_->profile(phi, cox_reid_factor);
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
        gene_->add_newton_step(now.largest);
        gene_->add_follow(std::exp(x + change) - phi);
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
  EOSIN_EITHER_SIDE
  EOSIN_HOST_DEVICE DispersionEstimate search(double at_zero, double start, double largest, double cox_reid_factor) {
    const Score score{gene_, cox_reid_factor};
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
    if (at_zero <= 0.0 &&
        gene_->adjusted_likelihood(0.0, cox_reid_factor) >= gene_->adjusted_likelihood(phi, cox_reid_factor))
      return {0.0, DispersionStatus::zero, 0.0};
    const double h = 1e-4;
    const double bend = (std::exp(x + h) * score(x + h) - std::exp(x - h) * score(x - h)) / (2.0 * h);
    gene_->solve(phi);
    return {phi, rising ? DispersionStatus::upper_limit : DispersionStatus::maximum, std::max(0.0, -bend)};
  }

  Gene* gene_;
};

}  // namespace eosin::glm
