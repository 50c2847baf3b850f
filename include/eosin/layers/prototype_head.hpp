#pragma once

// From composition to expression: prototypes and modality correction (Nishimura et al., CVPR 2026).
//
//   E = exp(L) * mask            [types x genes]    L log prototypes, trained or static
//   e = P E                      [rows x genes]     P a pooled composition per slide, or a block of patches
//   v = exp(a) e + exp(b)                           a, b per gene: from single cells to the tissue's assay
//
// Backward, for dv:  da = sum_rows dv exp(a) e,  db = sum_rows dv exp(b),  de = dv exp(a),
//                    dP = de E^T,  dE = P^T de,  dL = dE * E
//
// A prototype of zero is a masked entry: expression exactly 0, L = 0 there and never moved by gradient or weight decay.
// E does not depend on the rows, so a step calls begin() once, forward and backward per slide or block, end() once.
// Parameter names: exp_template, alpha_g, beta_g. Derivation: docs/derivations/prototype_head.md.

#include <eosin/core/constant_matrix.hpp>
#include <eosin/core/parameters.hpp>
#include <eosin/layers/gradient_mode.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/prototypes.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace eosin::layers {

struct PrototypeHeadOptions {
  bool trained = true;     ///< L is a parameter; otherwise static
  bool correction = true;  ///< alpha_g, beta_g are parameters; otherwise v = e
  /// What the released code does with a masked entry: E = exp(L * mask), that is 1 instead of 0.
  bool mask_as_one = false;
};

template <class T, class Space = Host>
class PrototypeHead {
 public:
  struct Cache {
    Matrix<T, Space> expression;    ///< E
    Matrix<T, Space> d_expression;  ///< sum of dE since begin()
    Vector<T, Space> alpha;         ///< exp(a), empty without correction
    Vector<T, Space> beta;          ///< exp(b)
    Matrix<T, Space> mixed;         ///< e of the last forward
  };

  /// `log_prototypes` [types x genes] start (or static value) of L; -inf is a zero prototype and becomes a masked
  /// entry. `mask` [types x genes] of 0 and 1, or empty. `log_alpha` [genes] start of a (empty: 0); b starts at
  /// log 1e-10.
  PrototypeHead(Parameters<T, Space>& parameters, MatrixView<const double> log_prototypes,
                MatrixView<const double> mask, VectorView<const double> log_alpha, const PrototypeHeadOptions& options)
      : parameters_(&parameters), options_(options), types_(log_prototypes.rows()), genes_(log_prototypes.cols()) {
    if (!mask.empty()) require_shape("PrototypeHead", "mask", mask, types_, genes_);
    Matrix<T> kept(types_, genes_);
    std::vector<double> start(static_cast<std::size_t>(types_ * genes_));
    for (Index c = 0; c < types_; ++c)
      for (Index g = 0; g < genes_; ++g) {
        const double value = log_prototypes(c, g);
        const bool zero = value == -std::numeric_limits<double>::infinity();
        require_value(zero || std::isfinite(value), "PrototypeHead",
                      "log_prototypes(" + std::to_string(c) + ", " + std::to_string(g) + ") is " +
                          std::to_string(value) + ", expected a finite number or -inf");
        const double keep = mask.empty() ? 1.0 : mask(c, g);
        require_value(keep == 0.0 || keep == 1.0, "PrototypeHead",
                      "mask(" + std::to_string(c) + ", " + std::to_string(g) + ") is " + std::to_string(keep) +
                          ", expected 0 or 1");
        start[static_cast<std::size_t>(c * genes_ + g)] = zero ? 0.0 : value;
        kept(c, g) = zero ? T(0) : static_cast<T>(keep);
      }
    keep_ = ConstantMatrix<T, Space>(std::move(kept));
    if (options.trained) {
      template_ = parameters.add("exp_template", {types_, genes_}, init::Values{std::move(start)});
    } else {
      Matrix<T> fixed(types_, genes_);
      for (Index i = 0; i < fixed.size(); ++i) fixed.data()[i] = static_cast<T>(start[static_cast<std::size_t>(i)]);
      fixed_ = ConstantMatrix<T, Space>(std::move(fixed));
    }
    if (options.correction) {
      Initialiser alpha = init::Zeros{};
      if (!log_alpha.empty()) {
        require_size("PrototypeHead", "log_alpha", "elements", log_alpha.size(), genes_, "genes");
        std::vector<double> values;
        for (Index g = 0; g < genes_; ++g) values.push_back(log_alpha[g]);
        alpha = init::Values{std::move(values)};
      }
      alpha_ = parameters.add("alpha_g", {genes_}, std::move(alpha));
      beta_ = parameters.add("beta_g", {genes_}, init::Constant{std::log(1e-10)});
    }
  }

  Index types() const { return types_; }
  Index genes() const { return genes_; }
  const PrototypeHeadOptions& options() const { return options_; }

  /// L, whatever its kind; static ones come to a device with the first begin().
  MatrixView<const T, Space> log_prototypes() const {
    return template_ ? std::as_const(*parameters_).matrix(*template_) : fixed_.view();
  }
  /// Its gradient; empty for static prototypes.
  MatrixView<T, Space> log_prototype_gradient() const {
    return template_ ? parameters_->gradient_matrix(*template_) : MatrixView<T, Space>{};
  }

  /// Computes E, exp(a), exp(b) from the parameters and forgets dE. O(types x genes).
  template <Context C>
  void begin(C& context, Cache& cache) const {
    cache.expression.resize(types_, genes_);
    cache.d_expression.resize(types_, genes_);
    fixed_.on(context);
    ops::prototype_expression<T>(context, log_prototypes(), keep_.on(context), options_.mask_as_one,
                                 cache.expression.view(), cache.d_expression.view());
    if (!alpha_) return;
    if (cache.alpha.size() != genes_) {
      cache.alpha = Vector<T, Space>(genes_);
      cache.beta = Vector<T, Space>(genes_);
    }
    ops::correction_factors<T>(context, std::as_const(*parameters_).value(*alpha_),
                               std::as_const(*parameters_).value(*beta_), cache.alpha.view(), cache.beta.view());
  }

  /// v [rows x genes] from compositions [rows x types].
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> composition, MatrixView<T, Space> v, Cache& cache) const {
    require_size("PrototypeHead", "composition", "columns", composition.cols(), types_, "cell types");
    require_shape("PrototypeHead", "v", v, composition.rows(), genes_);
    const auto expression = std::as_const(cache.expression).view();
    if (!alpha_) {
      ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), composition, expression, T(0), v);
      return;
    }
    cache.mixed.resize(composition.rows(), genes_);
    ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), composition, expression, T(0), cache.mixed.view());
    ops::correct_modality<T>(context, std::as_const(cache.mixed).view(), std::as_const(cache.alpha).view(),
                             std::as_const(cache.beta).view(), v);
  }

  /// From dv of the last forward: d_composition [rows x types]; adds to dE, and to da, db (by accumulation: zero the
  /// gradients before the step). dv is overwritten.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> composition, MatrixView<T, Space> dv,
                MatrixView<T, Space> d_composition, Cache& cache, GradientMode mode) const {
    if (alpha_) {
      const bool trained = mode != GradientMode::ignore;
      const VectorView<T, Space> none;
      ops::correct_modality_backward<T>(context, std::as_const(cache.mixed).view(), std::as_const(cache.alpha).view(),
                                        std::as_const(cache.beta).view(), dv,
                                        trained ? parameters_->gradient(*alpha_) : none,
                                        trained ? parameters_->gradient(*beta_) : none);
    }
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), dv, std::as_const(cache.expression).view(), T(0),
                 d_composition);
    if (template_ && mode != GradientMode::ignore)
      ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), composition, dv, T(1), cache.d_expression.view());
  }

  /// Passes the collected dE on to the gradient of L (by accumulation). O(types x genes).
  template <Context C>
  void end(C& context, const Cache& cache) const {
    if (!template_) return;
    ops::prototype_expression_backward<T>(context, cache.expression.view(), keep_.view(), options_.mask_as_one,
                                          cache.d_expression.view(), log_prototype_gradient());
  }

 private:
  Parameters<T, Space>* parameters_;
  PrototypeHeadOptions options_;
  Index types_;
  Index genes_;
  ConstantMatrix<T, Space> keep_;
  ConstantMatrix<T, Space> fixed_;
  std::optional<SegmentId> template_;
  std::optional<SegmentId> alpha_;
  std::optional<SegmentId> beta_;
};

}  // namespace eosin::layers
