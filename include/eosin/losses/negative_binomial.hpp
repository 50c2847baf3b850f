#pragma once

// Negative binomial loss: sum over rows r and genes g of the negative log-likelihood of counts y_rg under mean mu_rg
// and inverse dispersion theta_g (variance mu + mu^2 / theta), with gradients by mu and log theta. Formula and
// gradients: math/negative_binomial.hpp; derivation: docs/derivations/negative_binomial.md.
//
// Free functions take views of the caller's memory; the class NegativeBinomial trains log theta per gene as a
// parameter. Both check shapes, and values unless told not to.

#include <eosin/core/parameters.hpp>
#include <eosin/ops/negative_binomial.hpp>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

using ops::NegativeBinomialElementOptions;
using ops::NegativeBinomialOptions;

/// Whether values are looked at before anything is computed (one more reading pass).
enum class ValueCheck { on, off };

namespace detail {

/// Throws ValueError naming row and column of the first element outside [lowest, infinity) (for `open`, lowest itself
/// is outside too). NaN is outside.
template <class T>
void require_range(CpuContext& context, const char* argument, MatrixView<const T> values, T lowest, bool open,
                   const char* expected) {
  std::atomic<Index> first_bad_row{std::numeric_limits<Index>::max()};
  const auto good = [&](auto x, auto low, auto infinity) {
    return open ? x > low && x < infinity : x >= low && x < infinity;
  };
  const T infinity = std::numeric_limits<T>::infinity();
  const Index block = std::max(Index{1}, Index{16384} / std::max(Index{1}, values.cols()));
  context.parallel_for(values.rows(), block, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const T* row = values.data() + r * values.stride();
      bool bad = false;
      math::for_each_pack<T>(0, values.cols(), [&](auto lanes) {
        bad = bad || math::any(!good(lanes.load(row, T(1)), math::Pack<T>(lowest), math::Pack<T>(infinity)));
      });
      if (!bad) continue;
      Index known = first_bad_row.load();
      while (r < known && !first_bad_row.compare_exchange_weak(known, r)) {
      }
      return;
    }
  });
  const Index r = first_bad_row.load();
  if (r == std::numeric_limits<Index>::max()) return;
  Index c = 0;
  while (good(values(r, c), lowest, infinity)) ++c;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, values(r, c)).ptr;
  throw ValueError(std::string("negative_binomial: ") + argument + " is " + std::string(text, end) + " at row " +
                   std::to_string(r) + ", column " + std::to_string(c) + ", expected " + expected);
}

}  // namespace detail

/// Sum of the loss over mu [R x G] >= 0, theta [G] > 0, counts [R x G] >= 0 (not only integers); options say which
/// gradients are written where. Throws ShapeError, and ValueError naming argument, row and column of the first bad
/// value.
template <class Rates, class T = typename Rates::value_type>
double negative_binomial(CpuContext& context, const Rates& rates, VectorView<const std::type_identity_t<T>> theta,
                         MatrixView<const std::type_identity_t<T>> counts,
                         const NegativeBinomialOptions<std::type_identity_t<T>>& options = {},
                         ValueCheck check = ValueCheck::on) {
  const MatrixView<const T> mu = rates;
  if (check == ValueCheck::on) {
    detail::require_range<T>(context, "mu", mu, T(0), false, "a finite number >= 0");
    detail::require_range<T>(context, "theta", {theta.data(), 1, theta.size()}, T(0), true, "a finite number > 0");
    detail::require_range<T>(context, "counts", counts, T(0), false, "a finite number >= 0");
  }
  return ops::negative_binomial(context, mu, theta, counts, options);
}

/// The same with theta [R x G].
template <class Rates, class T = typename Rates::value_type>
double negative_binomial_by_element(CpuContext& context, const Rates& rates,
                                    MatrixView<const std::type_identity_t<T>> theta,
                                    MatrixView<const std::type_identity_t<T>> counts,
                                    const NegativeBinomialElementOptions<std::type_identity_t<T>>& options = {},
                                    ValueCheck check = ValueCheck::on) {
  const MatrixView<const T> mu = rates;
  if (check == ValueCheck::on) {
    detail::require_range<T>(context, "mu", mu, T(0), false, "a finite number >= 0");
    detail::require_range<T>(context, "theta", theta, T(0), true, "a finite number > 0");
    detail::require_range<T>(context, "counts", counts, T(0), false, "a finite number >= 0");
  }
  return ops::negative_binomial_by_element(context, mu, theta, counts, options);
}

struct NegativeBinomialLossOptions {
  /// Added inside the logarithms (the published models use 1e-8).
  double eps = 1e-8;
  /// Every gene starts at theta = exp(initial_log_theta).
  double initial_log_theta = 0;
  /// Name of the parameter log theta [G].
  std::string name = "px_theta";
};

/// The loss with one trained log theta per gene.
template <class T>
class NegativeBinomial {
 public:
  /// Registers log theta [genes] in `parameters`, which must outlive the loss.
  NegativeBinomial(Parameters<T>& parameters, Index genes, NegativeBinomialLossOptions options = {})
      : parameters_(&parameters),
        log_theta_(parameters.add(options.name, {genes}, init::Constant{options.initial_log_theta})),
        options_(std::move(options)) {}

  SegmentId log_theta() const { return log_theta_; }

  /// scale * (sum of the loss over mu [R x G] and counts [R x G]). Writes its gradient by mu to `gradient_mu` and adds
  /// its gradient by log theta to the parameter's. Values are not looked at unless `check` asks for it: counts are
  /// checked where they enter, rates come out of an exponential.
  double operator()(CpuContext& context, MatrixView<const std::type_identity_t<T>> mu,
                    MatrixView<const std::type_identity_t<T>> counts, MatrixView<T> gradient_mu, T scale = T(1),
                    ValueCheck check = ValueCheck::off) {
    NegativeBinomialOptions<T> options;
    options.gradient_scale = scale;
    options.gradient_mu = gradient_mu;
    options.gradient_log_theta = parameters_->gradient(log_theta_);
    options.accumulate = true;
    return static_cast<double>(scale) * evaluate(context, mu, counts, options, check);
  }

  /// scale * loss without gradients, for validation.
  double value(CpuContext& context, MatrixView<const std::type_identity_t<T>> mu,
               MatrixView<const std::type_identity_t<T>> counts, T scale = T(1),
               ValueCheck check = ValueCheck::off) const {
    return static_cast<double>(scale) * evaluate(context, mu, counts, {}, check);
  }

 private:
  double evaluate(CpuContext& context, MatrixView<const T> mu, MatrixView<const T> counts,
                  NegativeBinomialOptions<T> options, ValueCheck check) const {
    const VectorView<const T> log_theta = std::as_const(*parameters_).value(log_theta_);
    const auto mark = context.workspace().mark();
    const VectorView<T> theta = context.workspace().template take<T>(log_theta.size());
    math::for_each_pack<T>(0, theta.size(),
                           [&](auto lanes) { lanes.store(theta.data(), math::exp(lanes.load(log_theta.data()))); });
    options.eps = static_cast<T>(options_.eps);
    return losses::negative_binomial(context, mu, VectorView<const T>(theta), counts, options, check);
  }

  Parameters<T>* parameters_;
  SegmentId log_theta_;
  NegativeBinomialLossOptions options_;
};

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
