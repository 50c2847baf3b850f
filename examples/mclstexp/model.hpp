#pragma once

// mclSTExp without its image network: the spots' expression and the patches' image features, brought into one space.
//
//   x = expression + position code,   s = spot head( spot encoder(x) ),   f = image head(image features)
//   loss = symmetric InfoNCE of s and f (losses/info_nce.hpp), over all rows of the batch
//
// The spot encoder is a stack of Transformer blocks in which the spots of a sentence attend to each other, or nothing
// (`SpotEncoder::mlp`: the head alone). Sentences are ragged: a section, a mini-batch, or several. Parameter names are
// those of the released code; the gradient with respect to the image features is what the image network takes on.
//
// Everything here is composition of public parts of eosin.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/embedding.hpp>
#include <eosin/layers/projection_head.hpp>
#include <eosin/layers/transformer.hpp>
#include <eosin/losses/info_nce.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/sinusoidal_position.hpp>

#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace mclstexp {

using eosin::Context;
using eosin::Host;
using eosin::Index;
using eosin::Matrix;
using eosin::MatrixView;
using eosin::VectorView;
using eosin::layers::GradientMode;

enum class SpotEncoder { attention, mlp };
enum class Position { learned, sinusoidal, none };

struct ModelOptions {
  Index genes = 0;
  SpotEncoder encoder = SpotEncoder::attention;
  Index depth = 2;
  Index heads = 8;
  Index head_width = 64;
  Index hidden = 0;  ///< of the feed-forward halves; 0: genes
  Position position = Position::learned;
  /// Rows of the tables of learned positions. The release has 65,536 of each; layers::CompactRows numbers the
  /// coordinates that occur, which needs a few dozen.
  Index x_rows = 65536, y_rows = 65536;
  eosin::ops::SinusoidalOptions sinusoidal{};
  Index image_features = 1024;
  Index projection = 256;
  double layer_norm_eps = 1e-5;
  bool normalize = false;            ///< embeddings to length 1 before they are compared
  double temperature = 1;            ///< fixed, or the start of the learned one
  bool learned_temperature = false;  ///< adds the parameter log_scale = -log temperature
  double image_weight = 0.5;
};

/// Spots with the features of their patches, row by row.
template <class T, class Space = Host>
struct Batch {
  MatrixView<const T, Space> expression;      ///< [n x genes]
  MatrixView<const Index, Space> positions;   ///< [n x 2]: rows of the tables, or coordinates; empty for Position::none
  std::span<const Index> offsets;             ///< sentences: ascending, first 0, last n; in host memory
  MatrixView<const T, Space> image_features;  ///< [n x image_features]
  typename eosin::losses::PositivePairsIn<Space>::type positives{};
};

/// Optional results of a step; empty views are not filled.
template <class T, class Space = Host>
struct Outputs {
  MatrixView<T, Space> spot_embeddings{};   ///< [n x projection], as they come from the head
  MatrixView<T, Space> image_embeddings{};  ///< the same
  MatrixView<T, Space> d_expression{};      ///< [n x genes]
  MatrixView<T, Space> d_image_features{};  ///< [n x image_features]
};

/// On a device steps are queued and nothing is waited for until loss().
template <class T, class Space = Host>
class Model {
 public:
  /// Registers its parameters in `shared`, where other networks of the same training have theirs, or in its own where
  /// `shared` is null. Call parameters().allocate() before use.
  explicit Model(const ModelOptions& options, eosin::Parameters<T, Space>* shared = nullptr)
      : options_(options),
        own_(shared == nullptr ? std::make_unique<eosin::Parameters<T, Space>>() : nullptr),
        parameters_(shared == nullptr ? own_.get() : shared),
        tables_(make_tables(*parameters_, options)),
        encoder_(*parameters_, options.encoder == SpotEncoder::attention ? options.depth : 0, block_options(options),
                 [](Index block) {
                   return eosin::layers::TransformerBlockNames::nested("spot_encoder." + std::to_string(block));
                 }),
        image_head_(*parameters_, "image_projection", head_options(options, options.image_features)),
        spot_head_(*parameters_, "spot_projection", head_options(options, options.genes)) {
    eosin::require_value(options.temperature > 0, "mclstexp::Model", "the temperature must be positive");
    if (options.learned_temperature)
      log_scale_ = parameters_->add("log_scale", {1}, eosin::init::Constant{-std::log(options.temperature)});
  }

  const ModelOptions& options() const { return options_; }
  eosin::Parameters<T, Space>& parameters() { return *parameters_; }
  const eosin::Parameters<T, Space>& parameters() const { return *parameters_; }

  /// Embeddings [n x projection] of spots; arguments as in Batch.
  template <Context C>
  void embed_spots(C& context, MatrixView<const T, Space> expression, MatrixView<const Index, Space> positions,
                   std::span<const Index> offsets, MatrixView<T, Space> embeddings,
                   const eosin::ops::DropoutKey& dropout = {}) {
    const Index n = expression.rows();
    eosin::require_size("mclstexp::Model", "expression", "columns", expression.cols(), options_.genes, "genes");
    input_.resize(n, options_.genes);
    eosin::ops::copy<T>(context, expression, input_.view());
    if (options_.position != Position::none) eosin::require_shape("mclstexp::Model", "positions", positions, n, 2);
    if (options_.position == Position::sinusoidal) {
      eosin::ops::add_sinusoidal_position<T>(context, positions, options_.sinusoidal, input_.view());
    } else if (tables_) {
      for (std::size_t axis = 0; axis < 2; ++axis) number_rows(positions, axis);
      tables_->x.forward_add(context, rows_[0], input_.view());
      tables_->y.forward_add(context, rows_[1], input_.view());
    }
    if (encoder_.depth() > 0) {
      encoded_.resize(n, options_.genes);
      encoder_.forward(context, input_.view(), offsets, encoded_.view(), encoder_cache_, dropout.at(0));
    }
    spot_head_.forward(context, encoded(), embeddings, spot_cache_, dropout.at(1));
  }

  /// Embeddings [n x projection] of patches from their features.
  template <Context C>
  void embed_images(C& context, MatrixView<const T, Space> features, MatrixView<T, Space> embeddings,
                    const eosin::ops::DropoutKey& dropout = {}) {
    image_head_.forward(context, features, embeddings, image_cache_, dropout.at(2));
  }

  /// Loss of a batch and, unless `mode` is ignore, its gradient in parameters().
  template <Context C>
  double step(C& context, const Batch<T, Space>& batch, GradientMode mode, const Outputs<T, Space>& outputs = {},
              const eosin::ops::DropoutKey& dropout = {}) {
    queue_step(context, batch, mode, outputs, dropout);
    return loss(context);
  }

  /// step() without its loss, which loss() returns. On a device it waits for nothing.
  template <Context C>
  void queue_step(C& context, const Batch<T, Space>& batch, GradientMode mode, const Outputs<T, Space>& outputs = {},
                  const eosin::ops::DropoutKey& dropout = {}) {
    const Index n = batch.expression.rows();
    eosin::require_size("mclstexp::Model", "image_features", "rows", batch.image_features.rows(), n, "spots");
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto rows_or_scratch = [&](MatrixView<T, Space> output, Index cols) {
      return output.empty() ? workspace.template take<T>(n, cols) : output;
    };
    const auto spots = rows_or_scratch(outputs.spot_embeddings, options_.projection);
    const auto images = rows_or_scratch(outputs.image_embeddings, options_.projection);
    embed_spots(context, batch.expression, batch.positions, batch.offsets, spots, dropout);
    embed_images(context, batch.image_features, images, dropout);
    if (mode == GradientMode::ignore) {
      contrast(context, batch, spots, images, {}, {}, {});
      return;
    }
    const auto d_spots = workspace.template take<T>(n, options_.projection);
    const auto d_images = workspace.template take<T>(n, options_.projection);
    if (log_scale_) {
      const auto d_log_scale = workspace.template take<T>(1, 1);
      contrast(context, batch, spots, images, d_spots, d_images, d_log_scale.row(0));
      const MatrixView<T, Space> gradient(parameters_->gradient(*log_scale_).data(), 1, 1);
      if (mode == GradientMode::accumulate) {
        eosin::ops::add<T>(context, d_log_scale, gradient);
      } else {
        eosin::ops::copy<T>(context, d_log_scale, gradient);
      }
    } else {
      contrast(context, batch, spots, images, d_spots, d_images, {});
    }
    image_head_.backward(context, batch.image_features, d_images, outputs.d_image_features, image_cache_, mode);
    const bool below = encoder_.depth() > 0 || tables_ || !outputs.d_expression.empty();
    const auto dx = below ? rows_or_scratch(outputs.d_expression, options_.genes) : MatrixView<T, Space>();
    spot_head_.backward(context, encoded(), d_spots, dx, spot_cache_, mode);
    if (encoder_.depth() > 0) encoder_.backward(context, input_.view(), batch.offsets, dx, dx, encoder_cache_, mode);
    if (tables_) {
      tables_->x.backward(context, rows_[0], dx, mode);
      tables_->y.backward(context, rows_[1], dx, mode);
    }
  }

  /// The loss of the last step; waits for the device.
  template <Context C>
  double loss([[maybe_unused]] C& context) const {
    if constexpr (std::is_same_v<Space, Host>) {
      return loss_[0];
    } else {
      return on_host(context, loss_.view())[0];
    }
  }

 private:
  struct Tables {
    eosin::layers::Embedding<T, Space> x, y;
  };

  static std::optional<Tables> make_tables(eosin::Parameters<T, Space>& parameters, const ModelOptions& options) {
    if (options.position != Position::learned) return std::nullopt;
    return Tables{{parameters, "x_embed", options.x_rows, options.genes},
                  {parameters, "y_embed", options.y_rows, options.genes}};
  }
  static eosin::layers::TransformerBlockOptions block_options(const ModelOptions& options) {
    return {.attention = {.size = options.genes,
                          .heads = options.heads,
                          .head_width = options.head_width,
                          .output_layer = options.heads != 1 || options.head_width != options.genes},
            .hidden = options.hidden > 0 ? options.hidden : options.genes,
            .layer_norm_eps = options.layer_norm_eps};
  }
  static eosin::layers::ProjectionHeadOptions head_options(const ModelOptions& options, Index inputs) {
    return {.inputs = inputs, .outputs = options.projection, .layer_norm_eps = options.layer_norm_eps};
  }
  /// The loss of the embeddings into loss_; gradients that are not empty are written.
  template <Context C>
  void contrast(C& context, const Batch<T, Space>& batch, MatrixView<const T, Space> spots,
                MatrixView<const T, Space> images, MatrixView<T, Space> d_spots, MatrixView<T, Space> d_images,
                VectorView<T, Space> d_log_scale) {
    const eosin::losses::BasicInfoNceOptions<typename eosin::losses::PositivePairsIn<Space>::type> options{
        .temperature = options_.temperature,
        .normalize = options_.normalize,
        .image_weight = options_.image_weight,
        .positives = batch.positives};
    VectorView<const T, Space> log_scale;
    if (log_scale_) log_scale = std::as_const(*parameters_).value(*log_scale_);
    if constexpr (std::is_same_v<Space, Host>) {
      loss_[0] = eosin::losses::info_nce<T>(context, spots, images, options, d_spots, d_images, log_scale.data(),
                                            d_log_scale.data());
    } else {
      eosin::losses::info_nce<T>(context, spots, images, options, d_spots, d_images, loss_.view(), log_scale,
                                 d_log_scale);
    }
  }

  /// The rows of a table that column `axis` of the positions names, as the embedding takes them.
  void number_rows(MatrixView<const Index, Space> positions, std::size_t axis) {
    if constexpr (std::is_same_v<Space, Host>) {
      rows_[axis].resize(static_cast<std::size_t>(positions.rows()));
      for (Index i = 0; i < positions.rows(); ++i)
        rows_[axis][static_cast<std::size_t>(i)] = positions(i, static_cast<Index>(axis));
    } else {
      rows_[axis] = positions.col(static_cast<Index>(axis));
    }
  }

  MatrixView<const T, Space> encoded() const { return encoder_.depth() > 0 ? encoded_.view() : input_.view(); }

  ModelOptions options_;
  std::unique_ptr<eosin::Parameters<T, Space>> own_;
  eosin::Parameters<T, Space>* parameters_;
  std::optional<Tables> tables_;
  eosin::layers::Transformer<T, Space> encoder_;
  eosin::layers::ProjectionHead<T, Space> image_head_, spot_head_;
  std::optional<eosin::SegmentId> log_scale_;

  Matrix<T, Space> input_, encoded_;
  std::conditional_t<std::is_same_v<Space, Host>, std::vector<Index>, VectorView<const Index, Space>> rows_[2];
  eosin::Vector<double, Space> loss_{1};
  typename eosin::layers::Transformer<T, Space>::Cache encoder_cache_;
  typename eosin::layers::ProjectionHead<T, Space>::Cache image_cache_, spot_cache_;
};

}  // namespace mclstexp
