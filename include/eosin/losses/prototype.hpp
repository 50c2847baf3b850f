#pragma once

// Prototype regularisers: how far trained log prototypes L [C x G] have moved from the fitted prototypes T0 [C x G].
//
//   softmax_mse   mean_cg (R - R0)^2,  R = softmax_g(L), R0 = T0 / sum_g T0
//                 dL = R (D - sum_g D R),  D = 2 (R - R0) / (C G)
//   exp_mse       mean_cg (exp(L) - T0)^2                                    dL = 2 (exp(L) - T0) exp(L) / (C G)
//   pearson       -mean_g corr over the types of E and T0 / sum(T0)          dE by losses/pearson.hpp, eps 1e-16
//
// Entries with T0 = 0 are masked prototypes (layers/prototype_head.hpp) and take no part in the first two.
// Derivation: docs/derivations/prototype_regularisers.md.

#include <eosin/core/constant_matrix.hpp>
#include <eosin/losses/pearson.hpp>
#include <eosin/math/exponential.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace eosin::losses {

enum class PrototypeLoss { off, softmax_mse, exp_mse, pearson };

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// exp(l - largest), at most 1 whatever l is where the prototype is masked.
template <class T>
EOSIN_HOST_DEVICE T prototype_share(T log, T largest) {
  return math::exp(std::min(log - largest, T(0)));
}

/// scale * R (D - sum_g D R) for R - R0 in place of D; `inner` is the sum.
template <class T>
EOSIN_HOST_DEVICE T softmax_mse_gradient(T scale, T share, T reference, T inner) {
  return scale * share * (share - reference - inner);
}

template <class T>
struct ExpMseTerm {
  T expression;  ///< exp(L)
  T difference;  ///< exp(L) - T0
};
template <class T>
EOSIN_HOST_DEVICE ExpMseTerm<T> exp_mse_term(T log, T reference) {
  const T expression = math::exp(log);
  return {expression, expression - reference};
}
template <class T>
EOSIN_HOST_DEVICE T exp_mse_gradient(T scale, const ExpMseTerm<T>& term) {
  return scale * term.difference * term.expression;
}

}  // namespace detail
}  // namespace EOSIN_ISA_NAMESPACE

/// The reference T0 prepared for its regulariser.
template <class T, class Space = Host>
class PrototypeRegulariser {
 public:
  PrototypeRegulariser() = default;

  /// `reference` T0 [C x G] >= 0; each type must have a positive entry unless `kind` is off.
  PrototypeRegulariser(PrototypeLoss kind, MatrixView<const double> reference) : kind_(kind) {
    if (kind == PrototypeLoss::off) return;
    Matrix<T> prepared(reference.rows(), reference.cols());
    double total = 0;
    for (Index c = 0; c < reference.rows(); ++c)
      for (Index g = 0; g < reference.cols(); ++g) total += reference(c, g);
    for (Index c = 0; c < reference.rows(); ++c) {
      double sum = 0;
      for (Index g = 0; g < reference.cols(); ++g) {
        require_value(!(reference(c, g) < 0), "PrototypeRegulariser",
                      "the reference has a negative entry at (" + std::to_string(c) + ", " + std::to_string(g) + ")");
        sum += reference(c, g);
      }
      require_value(sum > 0 && std::isfinite(sum), "PrototypeRegulariser",
                    "prototype " + std::to_string(c) + " sums to " + std::to_string(sum));
      const double scale = kind == PrototypeLoss::softmax_mse ? sum : kind == PrototypeLoss::pearson ? total : 1.0;
      for (Index g = 0; g < reference.cols(); ++g) prepared(c, g) = static_cast<T>(reference(c, g) / scale);
    }
    reference_ = ConstantMatrix<T, Space>(std::move(prepared));
  }

  PrototypeLoss kind() const { return kind_; }

  /// The value; weight * gradient is added to d_log (softmax_mse, exp_mse) or to d_expression (pearson). `expression` is E,
  /// masked. Empty gradients are not computed.
  double operator()(CpuContext& context, MatrixView<const T> log_prototypes, MatrixView<const T> expression, T weight,
                    MatrixView<T> d_log, MatrixView<T> d_expression) const
    requires std::is_same_v<Space, Host>
  {
    if (kind_ == PrototypeLoss::off) return 0;
    require_shape("PrototypeRegulariser", "log_prototypes", log_prototypes, reference_.rows(), reference_.cols());
    if (!d_log.empty()) require_shape("PrototypeRegulariser", "d_log", d_log, reference_.rows(), reference_.cols());
    switch (kind_) {
      case PrototypeLoss::off: break;
      case PrototypeLoss::softmax_mse: return softmax_mse(context, log_prototypes, weight, d_log);
      case PrototypeLoss::exp_mse: return exp_mse(context, log_prototypes, weight, d_log);
      case PrototypeLoss::pearson: break;
    }
    PearsonOptions<T> options{.eps = 1e-16, .weight = weight, .gradient = d_expression, .accumulate = true};
    return pearson<T>(context, expression, reference_.view(), options);
  }
  /// The same on a device: `sum` [1] receives the value.
  template <Context C>
  void operator()(C& context, MatrixView<const T, Space> log_prototypes, MatrixView<const T, Space> expression, T weight,
                  MatrixView<T, Space> d_log, MatrixView<T, Space> d_expression, VectorView<double, Space> sum) const {
    prototype_loss(context, kind_, reference_.on(context), log_prototypes, expression, weight, d_log, d_expression, sum);
  }

 private:
  double softmax_mse(CpuContext& context, MatrixView<const T> logs, T weight, MatrixView<T> d_log) const {
    const Index genes = logs.cols();
    const auto reference = reference_.view();
    const T scale = T(2) * weight / static_cast<T>(logs.size());
    const double sum = context.parallel_sum<double>(logs.rows(), 1, [&](Index c, Index) {
      const T* l = logs.row(c).data();
      const T* r0 = reference.row(c).data();
      T largest = -std::numeric_limits<T>::infinity();
      for (Index g = 0; g < genes; ++g) largest = r0[g] > T(0) ? std::max(largest, l[g]) : largest;
      std::vector<T> share(static_cast<std::size_t>(genes));
      for (Index g = 0; g < genes; ++g)
        share[static_cast<std::size_t>(g)] = detail::prototype_share(l[g], largest);
      double total = 0;
      for (Index g = 0; g < genes; ++g) {
        if (!(r0[g] > T(0))) share[static_cast<std::size_t>(g)] = T(0);
        total += static_cast<double>(share[static_cast<std::size_t>(g)]);
      }
      double squares = 0;
      double inner = 0;
      for (Index g = 0; g < genes; ++g) {
        T& r = share[static_cast<std::size_t>(g)];
        r = static_cast<T>(static_cast<double>(r) / total);
        const double difference = static_cast<double>(r) - static_cast<double>(r0[g]);
        squares += difference * difference;
        inner += difference * static_cast<double>(r);
      }
      if (!d_log.empty()) {
        T* out = d_log.row(c).data();
        for (Index g = 0; g < genes; ++g)
          out[g] += detail::softmax_mse_gradient(scale, share[static_cast<std::size_t>(g)], r0[g], static_cast<T>(inner));
      }
      return squares;
    });
    return sum / static_cast<double>(logs.size());
  }

  double exp_mse(CpuContext& context, MatrixView<const T> logs, T weight, MatrixView<T> d_log) const {
    const auto reference = reference_.view();
    const T scale = T(2) * weight / static_cast<T>(logs.size());
    const double sum = context.parallel_sum<double>(logs.rows(), 1, [&](Index c, Index) {
      double squares = 0;
      for (Index g = 0; g < logs.cols(); ++g) {
        if (!(reference(c, g) > T(0))) continue;
        const auto term = detail::exp_mse_term(logs(c, g), reference(c, g));
        squares += static_cast<double>(term.difference) * static_cast<double>(term.difference);
        if (!d_log.empty()) d_log(c, g) += detail::exp_mse_gradient(scale, term);
      }
      return squares;
    });
    return sum / static_cast<double>(logs.size());
  }

  PrototypeLoss kind_ = PrototypeLoss::off;
  ConstantMatrix<T, Space> reference_;
};

}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/prototype.cuh>
#endif
