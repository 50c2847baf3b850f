#pragma once

// CPNN: patch features -> composition over cell types -> expression through cell-type prototypes.
//
//   P = softmax(projector(X)),   E = exp(L),   v = exp(a) (P E) + exp(b),   p = v / sum v
//
// Slide level: the composition is pooled over the slide first (the mean commutes with everything after the softmax), so
// the head works on one row per slide. Patch level: the Pearson loss is computed from Gram matrices of the composition,
// the other observations block by block; a patches x genes array of predictions never exists in training.
//
//   loss = mean_s observation_s + w ( k mean_s composition_s + prototype )
//
// Everything here is composition of public parts of eosin; parameter names are those of the released code.

#include "options.hpp"

#include <eosin/core/parameters.hpp>
#include <eosin/layers/adapter.hpp>
#include <eosin/layers/mlp.hpp>
#include <eosin/layers/prototype_head.hpp>
#include <eosin/losses/composition_pearson.hpp>
#include <eosin/losses/pearson.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/negative_binomial.hpp>
#include <eosin/ops/normalise_rows.hpp>
#include <eosin/ops/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

namespace cpnn {

using eosin::Context;
using eosin::Matrix;
using eosin::MatrixView;
using eosin::Vector;
using eosin::VectorView;
using eosin::layers::GradientMode;

/// The terms of the loss: means over slides or sections, regularisers without their weights; `total` is the sum with
/// weights.
struct Losses {
  double total = 0;
  double observation = 0;
  double composition = 0;
  double prototype = 0;
};

/// One slide: features of its patches, its bulk counts, its composition (empty where unknown; any positive scale).
template <class T>
struct Slide {
  MatrixView<const T> patches;      ///< [N x inputs]
  VectorView<const T> expression;   ///< [genes]
  VectorView<const T> composition;  ///< [types] or empty
};

/// One section with an expression profile per patch.
template <class T>
struct Section {
  MatrixView<const T> patches;                               ///< [N x inputs]
  const eosin::losses::PearsonTarget<T>* target = nullptr;   ///< for the Pearson observation
  MatrixView<const T> counts;                                ///< [N x genes], for the other observations
  MatrixView<const T> composition;                           ///< [N x types], [1 x types] by section, or empty
};

/// Optional results of a pass; empty views are not filled. One row per slide or patch, slides one after the other.
template <class T>
struct Outputs {
  MatrixView<T> composition{};         ///< [patches x types]
  MatrixView<T> pooled_composition{};  ///< [slides x types]
  MatrixView<T> scale{};               ///< p [slides x genes]
  MatrixView<T> rate{};                ///< mu [slides x genes]
  MatrixView<T> correlation{};         ///< [sections x genes]
  MatrixView<T> d_patches{};           ///< gradient of the features [patches x inputs]
};

template <class T>
class Model {
 public:
  /// `prototypes` T0 [types x genes] >= 0 (any positive scale; may be empty for Prototypes::scratch); zeros are masked.
  /// `mask` [types x genes] of 0 and 1, or empty. `log_alpha` [genes] start of alpha, or empty. Call
  /// parameters().allocate() before use.
  Model(const ModelOptions& options, MatrixView<const double> prototypes, MatrixView<const double> mask = {},
        VectorView<const double> log_alpha = {}, std::uint64_t scratch_seed = 0)
      : options_(options),
        parameters_(std::make_unique<eosin::Parameters<T>>()),
        projector_(make_projector(*parameters_, options)),
        head_(*parameters_, start_of_prototypes(options, prototypes, scratch_seed), mask, log_alpha,
              {.trained = options.prototypes != Prototypes::fixed,
               .correction = options.correction,
               .mask_as_one = options.mask_as_one}) {
    if (options.observation == Observation::negative_binomial)
      theta_ = parameters_->add("px_theta", {options.genes});
    if (options.prototypes == Prototypes::trained)
      regulariser_ = eosin::losses::PrototypeRegulariser<T>(options.prototype_regulariser, prototypes);
  }

  const ModelOptions& options() const { return options_; }
  /// Changes the library to which targets are scaled (validation takes another one than training).
  void set_library(std::optional<double> library) { options_.library = library; }
  eosin::Parameters<T>& parameters() { return *parameters_; }
  const eosin::Parameters<T>& parameters() const { return *parameters_; }
  const eosin::layers::PrototypeHead<T>& head() const { return head_; }

  /// P [N x types] of patches [N x inputs].
  template <Context C>
  void compose(C& context, MatrixView<const T> patches, MatrixView<T> composition) {
    std::visit([&](auto& projector) { projector.layer.forward(context, patches, composition, projector.cache); },
               projector_);
    eosin::ops::softmax_rows<T>(context, composition, composition);
  }

  /// v [rows x genes] of compositions [rows x types], correction included.
  template <Context C>
  void express(C& context, MatrixView<const T> composition, MatrixView<T> v) {
    head_.begin(context, head_cache_);
    head_.forward(context, composition, v, head_cache_);
  }

  /// P E [rows x genes]: what express() gives without the correction.
  template <Context C>
  void mix(C& context, MatrixView<const T> composition, MatrixView<T> mixed) {
    head_.begin(context, head_cache_);
    eosin::ops::gemm<T>(context, eosin::Transpose::no, eosin::Transpose::no, T(1), composition,
                        std::as_const(head_cache_.expression).view(), T(0), mixed);
  }

  /// Loss of a batch of slides and, unless `mode` is ignore, its gradient in parameters() (overwritten). One slide is
  /// in flight at a time: memory is that of the largest slide.
  template <Context C>
  Losses slide_step(C& context, std::span<const Slide<T>> slides, GradientMode mode, const Outputs<T>& outputs = {}) {
    const auto batch = static_cast<T>(slides.size());
    Losses losses;
    begin_step(context, mode);
    Index row = 0;
    for (std::size_t s = 0; s < slides.size(); ++s) {
      const auto& slide = slides[s];
      const Index index = static_cast<Index>(s);
      const Index patches = slide.patches.rows();
      const auto mark = context.workspace().mark();
      const auto composition = rows_or_scratch(context, outputs.composition, row, patches, options_.types);
      compose(context, slide.patches, composition);
      const auto pooled = rows_or_scratch(context, outputs.pooled_composition, index, 1, options_.types);
      eosin::ops::column_means<T>(context, composition, pooled.row(0));

      const auto d_pooled = zeros(context, 1, options_.types);
      const auto counts = MatrixView<const T>(slide.expression.data(), 1, slide.expression.size());
      losses.observation += observe(context, pooled, counts, T(1) / batch, d_pooled, mode,
                                    rows_of(outputs.scale, index), rows_of(outputs.rate, index));
      if (!slide.composition.empty())
        losses.composition += eosin::losses::composition_loss<T>(
            options_.composition_regulariser, pooled.row(0), slide.composition,
            static_cast<T>(options_.regulariser_weight * options_.composition_scale) / batch, d_pooled.row(0));
      if (mode != GradientMode::ignore) {
        const auto d_logits = context.workspace().template take<T>(patches, options_.types);
        eosin::ops::softmax_mean_backward<T>(context, composition, d_pooled.row(0), d_logits);
        project_backward(context, slide.patches, d_logits, outputs.d_patches, row);
      }
      row += patches;
    }
    return end_step(context, losses, static_cast<double>(batch), mode);
  }

  /// The same for a batch of sections at patch level.
  template <Context C>
  Losses patch_step(C& context, std::span<const Section<T>> sections, GradientMode mode,
                    const Outputs<T>& outputs = {}) {
    const auto batch = static_cast<T>(sections.size());
    Losses losses;
    begin_step(context, mode);
    Index row = 0;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      const auto& section = sections[s];
      const Index patches = section.patches.rows();
      const auto mark = context.workspace().mark();
      const auto composition = rows_or_scratch(context, outputs.composition, row, patches, options_.types);
      compose(context, section.patches, composition);
      const auto d_composition = zeros(context, patches, options_.types);
      losses.observation += observe_section(context, section, composition, T(1) / batch, d_composition, mode,
                                            rows_of(outputs.correlation, static_cast<Index>(s)));
      const auto pooled =
          rows_or_scratch(context, outputs.pooled_composition, static_cast<Index>(s), 1, options_.types);
      eosin::ops::column_means<T>(context, composition, pooled.row(0));
      if (!section.composition.empty())
        losses.composition += regularise_section(context, section, composition, pooled.row(0),
                                                 static_cast<T>(options_.regulariser_weight *
                                                                options_.composition_scale) / batch,
                                                 d_composition);
      if (mode != GradientMode::ignore) {
        eosin::ops::softmax_rows_backward<T>(context, composition, d_composition, d_composition);
        project_backward(context, section.patches, d_composition, outputs.d_patches, row);
      }
      row += patches;
    }
    return end_step(context, losses, static_cast<double>(batch), mode);
  }

 private:
  template <class Layer>
  struct WithCache {
    Layer layer;
    typename Layer::Cache cache;
  };
  using Mlp = WithCache<eosin::layers::Mlp<T>>;
  using Adapter = WithCache<eosin::layers::Adapter<T>>;

  static std::variant<Mlp, Adapter> make_projector(eosin::Parameters<T>& parameters, const ModelOptions& options) {
    if (options.projector == Projector::adapter)
      return Adapter{{parameters, "prj", options.inputs, static_cast<Index>(options.hidden.size()), options.types,
                      options.head_gain},
                     {}};
    std::vector<Index> sizes{options.inputs};
    if (options.projector == Projector::mlp) sizes.insert(sizes.end(), options.hidden.begin(), options.hidden.end());
    sizes.push_back(options.types);
    return Mlp{{parameters, "prj", sizes, options.head_gain}, {}};
  }

  /// log T0; for scratch prototypes standard normal numbers.
  static Matrix<double> start_of_prototypes(const ModelOptions& options, MatrixView<const double> prototypes,
                                            std::uint64_t seed) {
    Matrix<double> logs(options.types, options.genes);
    if (options.prototypes == Prototypes::scratch) {
      const eosin::Philox random(seed, 0x70726f746fu);
      for (Index i = 0; i < logs.size(); ++i) logs.data()[i] = random.normal(static_cast<std::uint64_t>(i));
      return logs;
    }
    eosin::require_shape("cpnn::Model", "prototypes", prototypes, options.types, options.genes);
    for (Index c = 0; c < options.types; ++c)
      for (Index g = 0; g < options.genes; ++g) {
        eosin::require_value(prototypes(c, g) >= 0, "cpnn::Model", "prototypes must not be negative");
        logs(c, g) = std::log(prototypes(c, g));
      }
    return logs;
  }

  static MatrixView<T> rows_of(MatrixView<T> output, Index row) {
    return output.empty() ? output : output.middle_rows(row, 1);
  }

  template <Context C>
  static MatrixView<T> rows_or_scratch(C& context, MatrixView<T> output, Index row, Index rows, Index cols) {
    return output.empty() ? context.workspace().template take<T>(rows, cols) : output.middle_rows(row, rows);
  }

  template <Context C>
  static MatrixView<T> zeros(C& context, Index rows, Index cols) {
    const auto view = context.workspace().template take<T>(rows, cols);
    std::fill(view.data(), view.data() + view.size(), T(0));
    return view;
  }

  template <Context C>
  void begin_step(C& context, GradientMode mode) {
    if (mode != GradientMode::ignore) parameters_->zero_gradients();
    head_.begin(context, head_cache_);
  }

  template <Context C>
  Losses end_step(C& context, Losses losses, double batch, GradientMode mode) {
    losses.observation /= batch;
    losses.composition /= batch;
    const bool backward = mode != GradientMode::ignore;
    losses.prototype = regulariser_(context, head_.log_prototypes(), std::as_const(head_cache_.expression).view(),
                                    static_cast<T>(options_.regulariser_weight),
                                    backward ? head_.log_prototype_gradient() : MatrixView<T>{},
                                    backward ? head_cache_.d_expression.view() : MatrixView<T>{});
    if (backward) head_.end(context, head_cache_);
    losses.total = losses.observation + options_.regulariser_weight *
                                            (options_.composition_scale * losses.composition + losses.prototype);
    return losses;
  }

  template <Context C>
  void project_backward(C& context, MatrixView<const T> patches, MatrixView<const T> d_logits, MatrixView<T> d_patches,
                        Index row) {
    const auto dx = d_patches.empty() ? d_patches : d_patches.middle_rows(row, patches.rows());
    std::visit(
        [&](auto& projector) {
          projector.layer.backward(context, patches, d_logits, dx, projector.cache, GradientMode::accumulate);
        },
        projector_);
  }

  /// Sum over rows of the observation loss of compositions [R x C] against counts [R x G]; sets d_composition to
  /// weight * gradient and accumulates those of the head.
  template <Context C>
  double observe(C& context, MatrixView<const T> composition, MatrixView<const T> counts, T weight,
                 MatrixView<T> d_composition, GradientMode mode, MatrixView<T> scale_out, MatrixView<T> rate_out) {
    const Index rows = composition.rows();
    const Index genes = options_.genes;
    eosin::require_shape("cpnn::Model", "counts", counts, rows, genes);
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto v = workspace.template take<T>(rows, genes);
    const auto p = rows_or_scratch(context, scale_out, 0, rows, genes);
    const auto sums = workspace.template take<T>(rows);
    head_.forward(context, composition, v, head_cache_);
    eosin::ops::normalise_rows<T>(context, v, p, sums);

    // From here on v holds the target on its scale, then the gradient.
    const auto libraries = workspace.template take<T>(rows);
    const auto target = workspace.template take<T>(rows, genes);
    for (Index r = 0; r < rows; ++r) {
      double total = 0;
      for (Index g = 0; g < genes; ++g) total += static_cast<double>(counts(r, g));
      if (!(total > 0)) {
        // A profile without counts says nothing about the shares: no loss, no gradient.
        eosin::require_value(options_.observation != Observation::pearson, "cpnn::Model",
                             "an expression profile has no counts");
        libraries[r] = T(0);
        const bool shares = options_.observation == Observation::mean_squared_error;
        for (Index g = 0; g < genes; ++g) target(r, g) = shares ? p(r, g) : T(0);
        continue;
      }
      const double library = options_.library.value_or(total);
      libraries[r] = static_cast<T>(library);
      const double factor = options_.observation == Observation::pearson ? 1 / total
                            : options_.library && options_.observation == Observation::negative_binomial
                                ? library / total
                                : 1.0;
      for (Index g = 0; g < genes; ++g) target(r, g) = static_cast<T>(static_cast<double>(counts(r, g)) * factor);
    }
    const bool backward = mode != GradientMode::ignore;
    double loss = 0;
    const auto dp = v;
    const auto rate = rows_or_scratch(context, rate_out, 0, rows, genes);
    for (Index r = 0; r < rows; ++r)
      for (Index g = 0; g < genes; ++g) rate(r, g) = p(r, g) * libraries[r];
    switch (options_.observation) {
      case Observation::negative_binomial: {
        const auto log_theta = std::as_const(*parameters_).value(*theta_);
        const auto theta = workspace.template take<T>(genes);
        for (Index g = 0; g < genes; ++g) theta[g] = eosin::math::exp(log_theta[g]);
        eosin::ops::NegativeBinomialOptions<T> options{.eps = static_cast<T>(options_.eps), .gradient_scale = weight};
        if (backward) {
          options.gradient_mu = dp;
          options.gradient_log_theta = parameters_->gradient(*theta_);
          options.accumulate = true;
        }
        loss = eosin::ops::negative_binomial(context, rate, theta, target, options);
        if (backward)
          for (Index r = 0; r < rows; ++r)
            for (Index g = 0; g < genes; ++g) dp(r, g) *= libraries[r];
        break;
      }
      case Observation::pearson:
        for (Index r = 0; r < rows; ++r) {
          // One correlation across the genes of the row: a column of genes.
          const MatrixView<const T> predicted(p.row(r).data(), genes, 1);
          const MatrixView<const T> measured(target.row(r).data(), genes, 1);
          eosin::losses::PearsonOptions<T> options{.eps = 1e-16, .weight = weight};
          if (backward) options.gradient = MatrixView<T>(dp.row(r).data(), genes, 1);
          loss += eosin::losses::pearson<T>(context, predicted, measured, options);
        }
        break;
      case Observation::mean_squared_error: {
        const T share = T(1) / static_cast<T>(genes);
        for (Index r = 0; r < rows; ++r)
          for (Index g = 0; g < genes; ++g) {
            const T difference = p(r, g) - target(r, g);
            loss += static_cast<double>(share * difference * difference);
            if (backward) dp(r, g) = T(2) * weight * share * difference;
          }
        break;
      }
    }
    if (backward) {
      eosin::ops::normalise_rows_backward<T>(context, p, sums, dp, dp);
      head_.backward(context, composition, dp, d_composition, head_cache_, GradientMode::accumulate);
    }
    return loss;
  }

  template <Context C>
  double observe_section(C& context, const Section<T>& section, MatrixView<const T> composition, T weight,
                         MatrixView<T> d_composition, GradientMode mode, MatrixView<T> correlation) {
    const bool backward = mode != GradientMode::ignore;
    if (options_.observation == Observation::pearson) {
      eosin::require_value(section.target != nullptr, "cpnn::Model", "the section has no Pearson target");
      eosin::losses::CompositionPearsonOptions<T> options{.weight = weight};
      if (!correlation.empty()) options.correlation = correlation.row(0);
      if (backward) {
        options.d_composition = d_composition;
        options.d_expression = head_cache_.d_expression.view();
      }
      return eosin::losses::composition_pearson<T>(context, composition, std::as_const(head_cache_.expression).view(),
                                                   *section.target, options);
    }
    constexpr Index block = 256;
    const Index patches = composition.rows();
    double loss = 0;
    for (Index begin = 0; begin < patches; begin += block) {
      const Index count = std::min(block, patches - begin);
      loss += observe(context, composition.middle_rows(begin, count), section.counts.middle_rows(begin, count),
                      weight / static_cast<T>(patches), d_composition.middle_rows(begin, count), mode, {}, {});
    }
    return loss / static_cast<double>(patches);
  }

  template <Context C>
  double regularise_section(C& context, const Section<T>& section, MatrixView<const T> composition,
                            VectorView<const T> pooled, T weight, MatrixView<T> d_composition) {
    const Index patches = composition.rows();
    const T share = T(1) / static_cast<T>(patches);
    if (options_.composition_level == CompositionLevel::patch) {
      eosin::require_shape("cpnn::Model", "composition", section.composition, patches, options_.types);
      double loss = 0;
      for (Index n = 0; n < patches; ++n)
        loss += eosin::losses::composition_loss<T>(options_.composition_regulariser, composition.row(n),
                                                   section.composition.row(n), weight * share, d_composition.row(n));
      return loss / static_cast<double>(patches);
    }
    eosin::require_shape("cpnn::Model", "composition", section.composition, 1, options_.types);
    const auto mark = context.workspace().mark();
    const auto d_pooled = zeros(context, 1, options_.types);
    const double loss = eosin::losses::composition_loss<T>(options_.composition_regulariser, pooled,
                                                           section.composition.row(0), weight * share, d_pooled.row(0));
    for (Index n = 0; n < patches; ++n)
      for (Index c = 0; c < options_.types; ++c) d_composition(n, c) += d_pooled(0, c);
    return loss;
  }

  ModelOptions options_;
  std::unique_ptr<eosin::Parameters<T>> parameters_;  // layers point to it, so it must not move with the model
  std::variant<Mlp, Adapter> projector_;
  eosin::layers::PrototypeHead<T> head_;
  typename eosin::layers::PrototypeHead<T>::Cache head_cache_;
  std::optional<eosin::SegmentId> theta_;
  eosin::losses::PrototypeRegulariser<T> regulariser_;
};

}  // namespace cpnn
