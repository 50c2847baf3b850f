#pragma once

// Vision Transformer (Dosovitskiy et al. 2021) as an encoder of images, with the parts and names of timm:
//
//   tokens = W p + b for every p x p patch of the image (row by row),   x = [class token, tokens] + pos_embed
//   x = blocks of layers/transformer_block.hpp, attention among the tokens of an image
//   features = LayerNorm( mean of the patch tokens )                        [images x size]
//
//   d tokens = norm'(d features) / patches, back through the blocks;   d pos_embed = sum over the images of dx,
//   dW = d tokens^T p,   dp = d tokens W
//
// ViT-B/32 is {.height = 224, .width = 224, .patch = 32, .size = 768, .depth = 12, .heads = 12}. An image is a row per
// pixel, its channels together; the weight of the patches is [size x channels x patch x patch], as in PyTorch.

#include <eosin/layers/batch_norm.hpp>
#include <eosin/layers/transformer.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace eosin::vision {

struct VitOptions {
  Index height = 224, width = 224;  ///< pixels; multiples of patch
  Index channels = 3;
  Index patch = 32;
  Index size = 768;  ///< of a token; a multiple of heads
  Index depth = 12;
  Index heads = 12;
  Index mlp_ratio = 4;
  double layer_norm_eps = 1e-6;
};

template <class T, class Space = Host>
class Vit {
 public:
  struct Cache {
    Matrix<T, Space> patches, input, output, pooled;
    typename layers::Transformer<T, Space>::Cache blocks;
    typename layers::LayerNorm<T, Space>::Cache norm;
    std::vector<Index> offsets;
  };

  /// Registers cls_token, pos_embed, patch_embed.proj.*, blocks.B.*, fc_norm.*, each behind `prefix`.
  Vit(Parameters<T, Space>& parameters, const VitOptions& options, const std::string& prefix = "")
      : parameters_(&parameters),
        options_(checked(options)),
        prefix_(prefix),
        first_segment_(parameters.segments().size()),
        class_token_(parameters.add(prefix + "cls_token", {1, 1, options.size}, init::Normal{0, 1e-6})),
        positions_(parameters.add(prefix + "pos_embed", {1, tokens(), options.size}, init::Normal{0, 0.02})),
        patch_weight_(parameters.add(prefix + "patch_embed.proj.weight",
                                     {options.size, options.channels, options.patch, options.patch},
                                     init::Normal{0, 0.02})),
        patch_bias_(parameters.add(prefix + "patch_embed.proj.bias", {options.size})),
        blocks_(parameters, options.depth, block_options(options),
                [&](Index block) {
                  return layers::TransformerBlockNames::timm(prefix + "blocks." + std::to_string(block));
                }),
        norm_(parameters, prefix + "fc_norm", options.size, {.eps = options.layer_norm_eps}),
        last_segment_(parameters.segments().size()) {}

  const VitOptions& options() const { return options_; }
  /// Features per image.
  Index channels() const { return options_.size; }
  Index patches() const { return (options_.height / options_.patch) * (options_.width / options_.patch); }
  /// Of an image, the class token included.
  Index tokens() const { return patches() + 1; }

  // For io/image_encoder_weights.hpp: nothing but the parameters is saved, under timm's names.
  const std::string& prefix() const { return prefix_; }
  /// Its segments in the parameters: [first, last).
  std::pair<std::size_t, std::size_t> segments() const { return {first_segment_, last_segment_}; }
  std::vector<layers::NamedBuffer<T>> buffers() const { return {}; }
  static std::vector<std::string> spellings(const std::string& name) { return {name, "image_encoder.model." + name}; }

  /// images [n height width x channels] (rows any stride apart) to features [n x size]. Keep the cache until backward.
  template <Context C>
  void forward(C& context, MatrixView<const T, Space> images, MatrixView<T, Space> features, Cache& cache) const {
    require_size("Vit", "images", "columns", images.cols(), options_.channels, "channels");
    const Index n = features.rows(), size = options_.size;
    require_size("Vit", "images", "rows", images.rows(), n * options_.height * options_.width,
                 "pixels of the images that features has rows for");
    require_size("Vit", "features", "columns", features.cols(), size, "size of a token");
    cache.patches.resize(n * patches(), options_.channels * options_.patch * options_.patch);
    cache.input.resize(n * tokens(), size);
    cache.output.resize(n * tokens(), size);
    cache.pooled.resize(n, size);
    cache.offsets.resize(static_cast<std::size_t>(n) + 1);
    for (Index i = 0; i <= n; ++i) cache.offsets[static_cast<std::size_t>(i)] = i * tokens();
    for_patch_rows(context, n, [&](Index image, Index patch, Index at, Index pixel) {
      const T* from = images.row(image * options_.height * options_.width + pixel).data();
      T* to = cache.patches.row(image * patches() + patch).data() + at;
      copy_pixels(from, images.stride(), Index{1}, to, Index{1}, options_.patch * options_.patch);
    });
    embed(context, n, cache);
    blocks_.forward(context, cache.input.view(), cache.offsets, cache.output.view(), cache.blocks);
    const T share = T(1) / static_cast<T>(patches());
    context.parallel_for(n, 1, [&](Index begin, Index end) {
      for (Index image = begin; image < end; ++image) {
        T* mean = cache.pooled.row(image).data();
        std::fill_n(mean, size, T(0));
        for (Index t = 1; t < tokens(); ++t) {
          const T* token = cache.output.row(image * tokens() + t).data();
          for (Index c = 0; c < size; ++c) mean[c] += token[c];
        }
        for (Index c = 0; c < size; ++c) mean[c] *= share;
      }
    });
    norm_.forward(context, cache.pooled.view(), features, cache.norm);
  }

  /// Parameter gradients by `mode`, and, unless empty, d_images as images. Uses the cache as scratch: one backward per
  /// forward.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> d_features, MatrixView<T, Space> d_images, Cache& cache,
                layers::GradientMode mode) const {
    using layers::GradientMode;
    const Index n = d_features.rows(), size = options_.size;
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto d_pooled = workspace.template take<T>(n, size);
    norm_.backward(context, cache.pooled.view(), d_features, d_pooled, cache.norm, mode);
    const auto dx = workspace.template take<T>(n * tokens(), size);
    const T share = T(1) / static_cast<T>(patches());
    for (Index row = 0; row < dx.rows(); ++row)
      for (Index c = 0; c < size; ++c) dx(row, c) = row % tokens() == 0 ? T(0) : share * d_pooled(row / tokens(), c);
    blocks_.backward(context, cache.input.view(), cache.offsets, dx, dx, cache.blocks, mode);
    const auto d_tokens = workspace.template take<T>(n * patches(), size);
    for (Index image = 0; image < n; ++image)
      ops::copy<T>(context, dx.middle_rows(image * tokens() + 1, patches()),
                   d_tokens.middle_rows(image * patches(), patches()));
    if (mode != GradientMode::ignore) {
      const bool add = mode == GradientMode::accumulate;
      const auto d_positions = as_matrix(parameters_->gradient(positions_), tokens());
      const auto d_class = parameters_->gradient(class_token_);
      for (Index t = 0; t < tokens(); ++t)
        for (Index c = 0; c < size; ++c) {
          T sum = 0;
          for (Index image = 0; image < n; ++image) sum += dx(image * tokens() + t, c);
          d_positions(t, c) = (add ? d_positions(t, c) : T(0)) + sum;
          if (t == 0) d_class[c] = (add ? d_class[c] : T(0)) + sum;
        }
      ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), d_tokens, cache.patches.view(), add ? T(1) : T(0),
                   as_matrix(parameters_->gradient(patch_weight_), size));
      ops::column_sums<T>(context, d_tokens, parameters_->gradient(patch_bias_), T(1), add);
    }
    if (d_images.empty()) return;
    require_shape("Vit", "d_images", d_images, n * options_.height * options_.width, options_.channels);
    const auto d_patches = cache.patches.view();
    ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), d_tokens, patch_weight(), T(0), d_patches);
    for_patch_rows(context, n, [&](Index image, Index patch, Index at, Index pixel) {
      const T* from = d_patches.row(image * patches() + patch).data() + at;
      T* to = d_images.row(image * options_.height * options_.width + pixel).data();
      copy_pixels(from, Index{1}, options_.patch * options_.patch, to, d_images.stride(), Index{1});
    });
  }

 private:
  static const VitOptions& checked(const VitOptions& options) {
    require_value(options.patch > 0 && options.height > 0 && options.width > 0 && options.height % options.patch == 0 &&
                      options.width % options.patch == 0,
                  "Vit", "height and width must be multiples of the patch");
    require_value(options.heads > 0 && options.size % options.heads == 0, "Vit",
                  "the size of a token must be a multiple of the heads");
    return options;
  }
  static layers::TransformerBlockOptions block_options(const VitOptions& options) {
    return {.attention = {.size = options.size,
                          .heads = options.heads,
                          .head_width = options.size / options.heads,
                          .qkv_bias = true,
                          .start = layers::LinearStart::xavier},
            .hidden = options.mlp_ratio * options.size,
            .layer_norm_eps = options.layer_norm_eps};
  }

  template <class View>
  static auto as_matrix(View values, Index rows) {
    return MatrixView<std::remove_pointer_t<decltype(values.data())>, Space>(values.data(), rows, values.size() / rows);
  }
  MatrixView<const T, Space> patch_weight() const {
    return as_matrix(std::as_const(*parameters_).value(patch_weight_), options_.size);
  }

  /// f(image, patch, position within the patch, first pixel within the image) for every row of pixels of every patch.
  template <Context C, class F>
  void for_patch_rows(C& context, Index images, F&& f) const {
    const Index p = options_.patch, across = options_.width / p;
    context.parallel_for(images * patches(), 4, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index patch = i % patches(), top = patch / across * p, left = patch % across * p;
        for (Index y = 0; y < p; ++y) f(i / patches(), patch, y * p, (top + y) * options_.width + left);
      }
    });
  }

  /// One row of pixels of a patch; strides from pixel to pixel and from channel to channel.
  void copy_pixels(const T* from, Index from_pixel, Index from_channel, T* to, Index to_pixel, Index to_channel) const {
    for (Index x = 0; x < options_.patch; ++x)
      for (Index c = 0; c < options_.channels; ++c)
        to[x * to_pixel + c * to_channel] = from[x * from_pixel + c * from_channel];
  }

  /// The input of the blocks from the unfolded patches.
  template <Context C>
  void embed(C& context, Index images, Cache& cache) const {
    const Index size = options_.size;
    const auto mark = context.workspace().mark();
    const auto embedded = context.workspace().template take<T>(images * patches(), size);
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), cache.patches.view(), patch_weight(), T(0), embedded);
    const auto bias = std::as_const(*parameters_).value(patch_bias_);
    const auto class_token = std::as_const(*parameters_).value(class_token_);
    const auto positions = as_matrix(std::as_const(*parameters_).value(positions_), tokens());
    context.parallel_for(images * tokens(), 16, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const Index image = row / tokens(), t = row % tokens();
        T* to = cache.input.row(row).data();
        const T* position = positions.row(t).data();
        if (t == 0) {
          for (Index c = 0; c < size; ++c) to[c] = class_token[c] + position[c];
        } else {
          const T* token = embedded.row(image * patches() + t - 1).data();
          for (Index c = 0; c < size; ++c) to[c] = token[c] + bias[c] + position[c];
        }
      }
    });
  }

  Parameters<T, Space>* parameters_;
  VitOptions options_;
  std::string prefix_;
  std::size_t first_segment_;
  SegmentId class_token_, positions_, patch_weight_, patch_bias_;
  layers::Transformer<T, Space> blocks_;
  layers::LayerNorm<T, Space> norm_;
  std::size_t last_segment_;
};

}  // namespace eosin::vision
