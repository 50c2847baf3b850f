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
#include <eosin/losses/composition.hpp>
#include <eosin/losses/composition_pearson.hpp>
#include <eosin/losses/mean_squared_error.hpp>
#include <eosin/losses/pearson.hpp>
#include <eosin/losses/prototype.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/library_target.hpp>
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
using eosin::Host;
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
template <class T, class Space = Host>
struct Slide {
  MatrixView<const T, Space> patches;      ///< [N x inputs]
  VectorView<const T, Space> expression;   ///< [genes]
  VectorView<const T, Space> composition;  ///< [types] or empty
};

/// One section with an expression profile per patch.
template <class T, class Space = Host>
struct Section {
  MatrixView<const T, Space> patches;                              ///< [N x inputs]
  const eosin::losses::PearsonTarget<T, Space>* target = nullptr;  ///< for the Pearson observation
  MatrixView<const T, Space> counts;                               ///< [N x genes], for the other observations
  MatrixView<const T, Space> composition;                          ///< [N x types], [1 x types] by section, or empty
};

/// Optional results of a pass; empty views are not filled. One row per slide or patch, slides one after the other.
template <class T, class Space = Host>
struct Outputs {
  MatrixView<T, Space> composition{};         ///< [patches x types]
  MatrixView<T, Space> pooled_composition{};  ///< [slides x types]
  MatrixView<T, Space> scale{};               ///< p [slides x genes]
  MatrixView<T, Space> rate{};                ///< mu [slides x genes]
  MatrixView<T, Space> correlation{};         ///< [sections x genes]
  MatrixView<T, Space> d_patches{};           ///< gradient of the features [patches x inputs]
};

/// On a device steps are queued and nothing is waited for until losses().
template <class T, class Space = Host>
class Model {
 public:
  /// `prototypes` T0 [types x genes] >= 0 (any positive scale; may be empty for Prototypes::scratch); zeros are masked.
  /// `mask` [types x genes] of 0 and 1, or empty. `log_alpha` [genes] start of alpha, or empty. Call
  /// parameters().allocate() before use.
  Model(const ModelOptions& options, MatrixView<const double> prototypes, MatrixView<const double> mask = {},
        VectorView<const double> log_alpha = {}, std::uint64_t scratch_seed = 0)
      : options_(options),
        parameters_(std::make_unique<eosin::Parameters<T, Space>>()),
        projector_(make_projector(*parameters_, options)),
        head_(*parameters_, start_of_prototypes(options, prototypes, scratch_seed), mask, log_alpha,
              {.trained = options.prototypes != Prototypes::fixed,
               .correction = options.correction,
               .mask_as_one = options.mask_as_one}) {
    if (options.observation == Observation::negative_binomial) theta_ = parameters_->add("px_theta", {options.genes});
    if (options.prototypes == Prototypes::trained)
      regulariser_ = eosin::losses::PrototypeRegulariser<T, Space>(options.prototype_regulariser, prototypes);
  }

  const ModelOptions& options() const { return options_; }
  /// Changes the library to which targets are scaled (validation takes another one than training).
  void set_library(std::optional<double> library) { options_.library = library; }
  eosin::Parameters<T, Space>& parameters() { return *parameters_; }
  const eosin::Parameters<T, Space>& parameters() const { return *parameters_; }
  const eosin::layers::PrototypeHead<T, Space>& head() const { return head_; }

  /// P [N x types] of patches [N x inputs].
  template <Context C>
  void compose(C& context, MatrixView<const T, Space> patches, MatrixView<T, Space> composition) {
    std::visit([&](auto& projector) { projector.layer.forward(context, patches, composition, projector.cache); },
               projector_);
    eosin::ops::softmax_rows<T>(context, composition, composition);
  }

  /// v [rows x genes] of compositions [rows x types], correction included.
  template <Context C>
  void express(C& context, MatrixView<const T, Space> composition, MatrixView<T, Space> v) {
    head_.begin(context, head_cache_);
    head_.forward(context, composition, v, head_cache_);
  }

  /// P E [rows x genes]: what express() gives without the correction.
  template <Context C>
  void mix(C& context, MatrixView<const T, Space> composition, MatrixView<T, Space> mixed) {
    head_.begin(context, head_cache_);
    eosin::ops::gemm<T>(context, eosin::Transpose::no, eosin::Transpose::no, T(1), composition,
                        std::as_const(head_cache_.expression).view(), T(0), mixed);
  }

  /// Loss of a batch of slides and, unless `mode` is ignore, its gradient in parameters() (overwritten). One slide is
  /// in flight at a time: memory is that of the largest slide.
  template <Context C>
  Losses slide_step(C& context, std::span<const Slide<T, Space>> slides, GradientMode mode,
                    const Outputs<T, Space>& outputs = {}) {
    queue_slide_step(context, slides, mode, outputs);
    return losses(context);
  }

  /// The same for a batch of sections at patch level.
  template <Context C>
  Losses patch_step(C& context, std::span<const Section<T, Space>> sections, GradientMode mode,
                    const Outputs<T, Space>& outputs = {}) {
    queue_patch_step(context, sections, mode, outputs);
    return losses(context);
  }

  /// slide_step without its losses, which losses() returns. On a device it waits for nothing; after a first step of the
  /// same size it also allocates nothing.
  template <Context C>
  void queue_slide_step(C& context, std::span<const Slide<T, Space>> slides, GradientMode mode,
                        const Outputs<T, Space>& outputs = {}) {
    const auto batch = static_cast<T>(slides.size());
    begin_step(context, slides.size(), mode);
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
      const MatrixView<const T, Space> counts(slide.expression.data(), 1, slide.expression.size());
      observe(context, pooled, counts, T(1) / batch, d_pooled, mode, rows_of(outputs.scale, index),
              rows_of(outputs.rate, index), observation_slot(index));
      if (!slide.composition.empty())
        regularise(context, pooled, {slide.composition.data(), 1, slide.composition.size()},
                   composition_weight() / batch, d_pooled, index);
      if (mode != GradientMode::ignore) {
        const auto d_logits = context.workspace().template take<T>(patches, options_.types);
        eosin::ops::softmax_mean_backward<T>(context, composition, d_pooled.row(0), d_logits);
        project_backward(context, slide.patches, d_logits, outputs.d_patches, row);
      }
      row += patches;
    }
    end_step(context, mode);
  }

  /// patch_step without its losses, as queue_slide_step.
  template <Context C>
  void queue_patch_step(C& context, std::span<const Section<T, Space>> sections, GradientMode mode,
                        const Outputs<T, Space>& outputs = {}) {
    const auto batch = static_cast<T>(sections.size());
    begin_step(context, sections.size(), mode);
    Index row = 0;
    for (std::size_t s = 0; s < sections.size(); ++s) {
      const auto& section = sections[s];
      const Index index = static_cast<Index>(s);
      const Index patches = section.patches.rows();
      const auto mark = context.workspace().mark();
      const auto composition = rows_or_scratch(context, outputs.composition, row, patches, options_.types);
      compose(context, section.patches, composition);
      const auto d_composition = zeros(context, patches, options_.types);
      observe_section(context, section, composition, T(1) / batch, d_composition, mode,
                      rows_of(outputs.correlation, index), index);
      const auto pooled = rows_or_scratch(context, outputs.pooled_composition, index, 1, options_.types);
      eosin::ops::column_means<T>(context, composition, pooled.row(0));
      if (!section.composition.empty())
        regularise_section(context, section, composition, pooled, composition_weight() / batch, d_composition, index);
      if (mode != GradientMode::ignore) {
        eosin::ops::softmax_rows_backward<T>(context, composition, d_composition, d_composition);
        project_backward(context, section.patches, d_composition, outputs.d_patches, row);
      }
      row += patches;
    }
    end_step(context, mode);
  }

  /// The losses of the last step; waits for the device.
  template <Context C>
  Losses losses(C& context) const {
    const auto values = on_this_side(context);
    const auto batch = static_cast<Index>(divisors_.size());
    Losses losses;
    for (Index s = 0; s < batch; ++s) {
      const auto& divisor = divisors_[static_cast<std::size_t>(s)];
      losses.observation += values[s] / divisor.observation;
      losses.composition += values[batch + s] / divisor.composition;
    }
    losses.observation /= static_cast<double>(batch);
    losses.composition /= static_cast<double>(batch);
    losses.prototype = values[2 * batch];
    losses.total = losses.observation +
                   options_.regulariser_weight * (options_.composition_scale * losses.composition + losses.prototype);
    return losses;
  }

 private:
  template <class Layer>
  struct WithCache {
    Layer layer;
    typename Layer::Cache cache;
  };
  using Mlp = WithCache<eosin::layers::Mlp<T, Space>>;
  using Adapter = WithCache<eosin::layers::Adapter<T, Space>>;

  static std::variant<Mlp, Adapter> make_projector(eosin::Parameters<T, Space>& parameters,
                                                   const ModelOptions& options) {
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

  static MatrixView<T, Space> rows_of(MatrixView<T, Space> output, Index row) {
    return output.empty() ? output : output.middle_rows(row, 1);
  }

  template <Context C>
  static MatrixView<T, Space> rows_or_scratch(C& context, MatrixView<T, Space> output, Index row, Index rows,
                                              Index cols) {
    return output.empty() ? context.workspace().template take<T>(rows, cols) : output.middle_rows(row, rows);
  }

  template <Context C>
  static MatrixView<T, Space> zeros(C& context, Index rows, Index cols) {
    const auto view = context.workspace().template take<T>(rows, cols);
    zero(context, VectorView<T, Space>(view.data(), view.size()));
    return view;
  }

  /// Factor on the gradient of a composition regulariser.
  T composition_weight() const { return static_cast<T>(options_.regulariser_weight * options_.composition_scale); }

  // The values of a step: observation and composition loss of each item, then the prototypes'.
  VectorView<double, Space> slot(Index index) { return {values_.data() + index, 1}; }
  VectorView<double, Space> observation_slot(Index item) { return slot(item); }
  VectorView<double, Space> composition_slot(Index item) { return slot(static_cast<Index>(divisors_.size()) + item); }

  template <Context C>
  Vector<double> on_this_side(C& context) const {
    if constexpr (std::is_same_v<Space, Host>) {
      static_cast<void>(context);
      return values_;
    } else {
      return on_host(context, values_.view());
    }
  }

  template <Context C>
  void begin_step(C& context, std::size_t items, GradientMode mode) {
    const auto count = static_cast<Index>(2 * items + 1);
    if (values_.size() != count) values_ = Vector<double, Space>(count);
    divisors_.assign(items, {});
    zero(context, values_.view());
    if (mode != GradientMode::ignore) parameters_->zero_gradients(context);
    head_.begin(context, head_cache_);
  }

  template <Context C>
  void end_step(C& context, GradientMode mode) {
    const bool backward = mode != GradientMode::ignore;
    store_value(context, slot(values_.size() - 1), [&](auto... slot) {
      return regulariser_(context, head_.log_prototypes(), std::as_const(head_cache_.expression).view(),
                          static_cast<T>(options_.regulariser_weight),
                          backward ? head_.log_prototype_gradient() : MatrixView<T, Space>{},
                          backward ? head_cache_.d_expression.view() : MatrixView<T, Space>{}, slot...);
    });
    if (backward) head_.end(context, head_cache_);
  }

  template <Context C>
  void project_backward(C& context, MatrixView<const T, Space> patches, MatrixView<const T, Space> d_logits,
                        MatrixView<T, Space> d_patches, Index row) {
    const auto dx = d_patches.empty() ? d_patches : d_patches.middle_rows(row, patches.rows());
    std::visit(
        [&](auto& projector) {
          projector.layer.backward(context, patches, d_logits, dx, projector.cache, GradientMode::accumulate);
        },
        projector_);
  }

  /// `sum` [1] receives the sum over rows of the observation loss of compositions [R x C] against counts [R x G]; sets
  /// d_composition to weight * gradient and accumulates those of the head.
  template <Context C>
  void observe(C& context, MatrixView<const T, Space> composition, MatrixView<const T, Space> counts, T weight,
               MatrixView<T, Space> d_composition, GradientMode mode, MatrixView<T, Space> scale_out,
               MatrixView<T, Space> rate_out, VectorView<double, Space> sum) {
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

    const bool backward = mode != GradientMode::ignore;
    const auto libraries = workspace.template take<T>(rows);
    const auto target = workspace.template take<T>(rows, genes);
    eosin::ops::library_target<T>(context, counts, target_options(), libraries, target);
    const auto dp = v;  // v is read no more: its memory takes the gradient of p
    switch (options_.observation) {
      case Observation::negative_binomial: {
        const auto rate = rows_or_scratch(context, rate_out, 0, rows, genes);
        eosin::ops::scale_rows<T>(context, libraries, p, rate);
        const auto theta = workspace.template take<T>(genes);
        eosin::ops::exponentials<T>(context, std::as_const(*parameters_).value(*theta_), theta);
        eosin::ops::NegativeBinomialOptions<T, Space> options{.eps = static_cast<T>(options_.eps),
                                                              .gradient_scale = weight};
        if (backward) {
          options.gradient_mu = dp;
          options.gradient_log_theta = parameters_->gradient(*theta_);
          options.accumulate = true;
        }
        store_value(context, sum, [&](auto... slot) {
          return eosin::ops::negative_binomial(context, rate, theta, target, options, slot...);
        });
        if (backward) eosin::ops::scale_rows<T>(context, libraries, dp, dp);
        break;
      }
      case Observation::pearson: {
        const auto values = workspace.template take<double>(rows);
        for (Index r = 0; r < rows; ++r) {
          // One correlation across the genes of the row: a column of genes.
          const auto column = [&](auto matrix) {
            using Element = std::remove_pointer_t<decltype(matrix.data())>;
            return MatrixView<Element, Space>(matrix.row(r).data(), genes, 1);
          };
          eosin::losses::PearsonOptions<T, Space> options{.eps = 1e-16, .weight = weight};
          if (backward) options.gradient = column(dp);
          store_value(context, VectorView<double, Space>(values.data() + r, 1), [&](auto... slot) {
            return eosin::losses::pearson<T>(context, column(p), column(target), options, slot...);
          });
        }
        eosin::ops::sum_elements<double>(context, values, sum);
        break;
      }
      case Observation::mean_squared_error: {
        // A profile without counts says nothing about the shares.
        const eosin::losses::MeanSquaredErrorOptions<T, Space> options{
            .scale = weight, .gradient = backward ? dp : MatrixView<T, Space>{}, .weights = libraries};
        store_value(context, sum, [&](auto... slot) {
          return eosin::losses::mean_squared_error<T>(context, p, target, options, slot...);
        });
        break;
      }
    }
    if (!rate_out.empty() && options_.observation != Observation::negative_binomial)
      eosin::ops::scale_rows<T>(context, libraries, p, rate_out);
    if (backward) {
      eosin::ops::normalise_rows_backward<T>(context, p, sums, dp, dp);
      head_.backward(context, composition, dp, d_composition, head_cache_, GradientMode::accumulate);
    }
  }

  /// How the observation wants its counts.
  eosin::ops::LibraryTargetOptions target_options() const {
    using eosin::ops::LibraryScale;
    switch (options_.observation) {
      case Observation::pearson:
        return {LibraryScale::shares, options_.library};
      case Observation::negative_binomial:
        return {options_.library ? LibraryScale::library : LibraryScale::counts, options_.library};
      case Observation::mean_squared_error:
        break;
    }
    return {LibraryScale::counts, options_.library};
  }

  template <Context C>
  void observe_section(C& context, const Section<T, Space>& section, MatrixView<const T, Space> composition, T weight,
                       MatrixView<T, Space> d_composition, GradientMode mode, MatrixView<T, Space> correlation,
                       Index item) {
    const bool backward = mode != GradientMode::ignore;
    if (options_.observation == Observation::pearson) {
      eosin::require_value(section.target != nullptr, "cpnn::Model", "the section has no Pearson target");
      eosin::losses::CompositionPearsonOptions<T, Space> options{.weight = weight};
      if (!correlation.empty()) options.correlation = correlation.row(0);
      if (backward) {
        options.d_composition = d_composition;
        options.d_expression = head_cache_.d_expression.view();
      }
      store_value(context, observation_slot(item), [&](auto... slot) {
        return eosin::losses::composition_pearson<T>(context, composition, std::as_const(head_cache_.expression).view(),
                                                     *section.target, options, slot...);
      });
      return;
    }
    constexpr Index block = 256;
    const Index patches = composition.rows();
    const auto values = context.workspace().template take<double>((patches + block - 1) / block);
    for (Index begin = 0; begin < patches; begin += block) {
      const Index count = std::min(block, patches - begin);
      observe(context, composition.middle_rows(begin, count), section.counts.middle_rows(begin, count),
              weight / static_cast<T>(patches), d_composition.middle_rows(begin, count), mode, {}, {},
              {values.data() + begin / block, 1});
    }
    eosin::ops::sum_elements<double>(context, values, observation_slot(item));
    divisors_[static_cast<std::size_t>(item)].observation = static_cast<double>(patches);
  }

  /// Composition loss of p [R x C], `weight` times its gradient added to d_p.
  template <Context C>
  void regularise(C& context, MatrixView<const T, Space> p, MatrixView<const T, Space> reference, T weight,
                  MatrixView<T, Space> d_p, Index item) {
    store_value(context, composition_slot(item), [&](auto... slot) {
      return eosin::losses::composition_loss<T>(context, options_.composition_regulariser, p, reference, weight, d_p,
                                                slot...);
    });
  }

  template <Context C>
  void regularise_section(C& context, const Section<T, Space>& section, MatrixView<const T, Space> composition,
                          MatrixView<const T, Space> pooled, T weight, MatrixView<T, Space> d_composition, Index item) {
    const Index patches = composition.rows();
    const T share = T(1) / static_cast<T>(patches);
    if (options_.composition_level == CompositionLevel::patch) {
      eosin::require_shape("cpnn::Model", "composition", section.composition, patches, options_.types);
      regularise(context, composition, section.composition, weight * share, d_composition, item);
      divisors_[static_cast<std::size_t>(item)].composition = static_cast<double>(patches);
      return;
    }
    eosin::require_shape("cpnn::Model", "composition", section.composition, 1, options_.types);
    const auto mark = context.workspace().mark();
    const auto d_pooled = zeros(context, 1, options_.types);
    regularise(context, pooled, section.composition, weight * share, d_pooled, item);
    eosin::ops::add_bias<T>(context, d_pooled.row(0), d_composition);
  }

  /// What the values of an item are divided by.
  struct Divisor {
    double observation = 1;
    double composition = 1;
  };

  ModelOptions options_;
  std::unique_ptr<eosin::Parameters<T, Space>> parameters_;  // layers point to it, so it must not move with the model
  std::variant<Mlp, Adapter> projector_;
  eosin::layers::PrototypeHead<T, Space> head_;
  typename eosin::layers::PrototypeHead<T, Space>::Cache head_cache_;
  std::optional<eosin::SegmentId> theta_;
  eosin::losses::PrototypeRegulariser<T, Space> regulariser_;
  Vector<double, Space> values_;
  std::vector<Divisor> divisors_;
};

}  // namespace cpnn
