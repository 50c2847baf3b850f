#pragma once

// DenseNet (Huang et al., CVPR 2017) up to its pooled features, over images with their channels together:
//
//   x = stem(image)                                                           features.conv0, norm0
//   dense layer      y = conv2( relu(norm2( conv1( relu(norm1(x)) ) )) )   1 x 1 to bn_size * growth, 3 x 3 to growth
//                    x = concat(x, y)
//   transition       x = average_pool2( conv( relu(norm(x)) ) )               1 x 1 to half the channels
//   features         mean over the pixels of norm5(x), of relu(norm5(x)) with `final_relu`
//
// Gradients are those of the parts. What the layout gains:
//
//   - A block has one buffer, into which each layer writes its own channels: nothing is concatenated. What is kept for
//     backward is that buffer and conv1's output per layer; normalised inputs are made again (Pleiss et al. 2017).
//   - Every norm1 of a block that sees a channel has the same statistics of it, so that they are taken once, while the
//     channel is written. In backward the layers add gamma_l d_l to one gradient buffer, and the part of the batch
//     norm's gradient that goes through the statistics, which is linear in it, is applied once, when the channel is
//     reached.
//   - Pooling comes before the transition's convolution, which commutes with it: a quarter of the products.
//
// Names as in torchvision's state_dict, behind `prefix` if there is one. Derivation: docs/derivations/batch_norm.md.

#include <eosin/vision/stem.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace eosin::vision {

/// The defaults are DenseNet-121.
struct DenseNetOptions {
  Index growth_rate = 32;
  std::vector<Index> block_config = {6, 12, 24, 16};  ///< layers per block
  Index num_init_features = 64;
  Index bn_size = 4;
  bool final_relu = true;  ///< as torchvision's forward; mclSTExp's release drops it
  layers::BatchNormOptions norm;
};

namespace detail {

/// Adds the sums of one reader of a block's buffer to those of the buffer.
template <class T, class Space>
struct AddWeightedSums {
  VectorView<const T, Space> weight;
  VectorView<const double, Space> sum, centred;
  VectorView<double, Space> all, all_centred;

  EOSIN_HOST_DEVICE void operator()(Index c) const {
    all[c] += static_cast<double>(weight[c]) * sum[c];
    all_centred[c] += static_cast<double>(weight[c]) * centred[c];
  }
};

/// Coefficients with which dx = d.
template <class T, class Space>
struct SameGradient {
  ops::BatchNormInputGradient<T, Space> gradient;

  EOSIN_HOST_DEVICE void operator()(Index c) const {
    gradient.mean[c] = gradient.offset[c] = gradient.tilt[c] = T(0);
    gradient.slope[c] = T(1);
  }
};

}  // namespace detail

template <class T, class Space = Host>
class DenseNet {
  struct DenseLayer {
    layers::BatchNorm<T, Space> norm1;
    layers::Convolution<T, Space> conv1;
    layers::BatchNorm<T, Space> norm2;
    layers::Convolution<T, Space> conv2;
  };
  struct Transition {
    layers::BatchNorm<T, Space> norm;
    layers::Convolution<T, Space> conv;
  };
  using NormCache = typename layers::BatchNorm<T, Space>::Cache;

 public:
  /// What backward reads. About 17 MB per image of 224 x 224 in DenseNet-121 and float.
  class Cache {
   private:
    friend class DenseNet;
    struct LayerCache {
      NormCache norm1, norm2;
      Matrix<T, Space> bottleneck;
    };
    struct BlockCache {
      Index height = 0, width = 0;
      Matrix<T, Space> features;
      Vector<T, Space> mean, variance;  // of the batch
      NormCache statistics;             // with weight 1 and bias 0
      std::vector<LayerCache> layers;
      NormCache after;  // of the transition or of norm5
    };
    ImageBatch<const T, Space> images;
    typename Stem<T, Space>::Cache stem;
    std::vector<BlockCache> blocks;
    bool complete = false;
  };

  /// Registers the parameters in the order of torchvision's state_dict.
  DenseNet(Parameters<T, Space>& parameters, const std::string& prefix, const DenseNetOptions& options = {})
      : options_(checked(options)),
        prefix_(prefix.empty() ? "" : prefix + "."),
        parameters_(&parameters),
        first_segment_(parameters.segments().size()),
        stem_(parameters, prefix_ + "features.conv0", prefix_ + "features.norm0", options.num_init_features,
              layers::Fan::in, options.norm) {
    const std::string name = prefix_ + "features.";
    Index channels = options.num_init_features;
    const Index growth = options.growth_rate, bottleneck = options.bn_size * growth;
    for (std::size_t b = 0; b < options.block_config.size(); ++b) {
      const std::string number = std::to_string(b + 1);
      inputs_.push_back(channels);
      auto& block = blocks_.emplace_back();
      for (Index j = 0; j < options.block_config[b]; ++j, channels += growth) {
        const std::string layer = name + "denseblock" + number + ".denselayer" + std::to_string(j + 1) + ".";
        // In this order, which is that of the list of parameters.
        layers::BatchNorm<T, Space> norm1(parameters, layer + "norm1", channels, options.norm);
        layers::Convolution<T, Space> conv1(parameters, layer + "conv1", channels, bottleneck);
        layers::BatchNorm<T, Space> norm2(parameters, layer + "norm2", bottleneck, options.norm);
        layers::Convolution<T, Space> conv2(parameters, layer + "conv2", bottleneck, growth,
                                            {.kernel = 3, .padding = 1});
        block.push_back({std::move(norm1), std::move(conv1), std::move(norm2), std::move(conv2)});
      }
      outputs_.push_back(channels);
      if (b + 1 == options.block_config.size()) break;
      const std::string transition = name + "transition" + number + ".";
      layers::BatchNorm<T, Space> norm(parameters, transition + "norm", channels, options.norm);
      layers::Convolution<T, Space> conv(parameters, transition + "conv", channels, channels / 2);
      transitions_.push_back({std::move(norm), std::move(conv)});
      channels /= 2;
    }
    last_norm_.emplace_back(parameters, name + "norm5", channels, options.norm);
    last_segment_ = parameters.segments().size();
  }

  const DenseNetOptions& options() const { return options_; }
  /// Features per image.
  Index channels() const { return outputs_.back(); }
  layers::BatchNormMode mode() const { return mode_; }
  void set_mode(layers::BatchNormMode mode) { mode_ = mode; }

  /// Running statistics by name, for checkpoints; valid while the network lives.
  std::vector<layers::NamedBuffer<T, Space>> buffers() {
    std::vector<layers::NamedBuffer<T, Space>> list;
    stem_.norm().append_buffers(list);
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      for (auto& layer : blocks_[b]) {
        layer.norm1.append_buffers(list);
        layer.norm2.append_buffers(list);
      }
      if (b < transitions_.size()) transitions_[b].norm.append_buffers(list);
    }
    last_norm_.front().append_buffers(list);
    return list;
  }

  /// Names under which files keep the tensor that is called `name` here, without the prefix: torchvision's, that of the
  /// published ImageNet file, those of mclSTExp's checkpoints.
  static std::vector<std::string> spellings(const std::string& name) {
    std::string dotted = name;
    for (const char* part : {".norm1.", ".norm2.", ".conv1.", ".conv2."}) {
      const auto at = dotted.find(part);
      if (at != std::string::npos) dotted.insert(at + 5, ".");
    }
    std::vector<std::string> all{name};
    if (dotted != name) all.push_back(dotted);
    for (const char* encoder : {"image_encoder", "image_ecode"})
      all.push_back(encoder + std::string(".model.0.") + name.substr(std::string("features.").size()));
    return all;
  }

  /// Name of the network in front of its tensors' names, "" or "NAME.".
  const std::string& prefix() const { return prefix_; }
  /// Its segments in the parameters: [first, last).
  std::pair<std::size_t, std::size_t> segments() const { return {first_segment_, last_segment_}; }

  /// features [images x channels] of images with three channels. Keep the images and the cache until backward; without
  /// a backward pass to come (`keep` false) the cache takes a fraction of the memory. In training mode the running
  /// statistics move. Throws ShapeError for images that are too small.
  template <Context C>
  void forward(C& context, const ImageBatch<const T, Space>& images, MatrixView<T, Space> features, Cache& cache,
               bool keep = true) {
    require_shape("DenseNet", "images", images.pixels, images.images * images.height * images.width, 3);
    require_shape("DenseNet", "features", features, images.images, channels());
    auto& workspace = context.workspace();
    const bool training = mode_ == layers::BatchNormMode::training;
    cache.images = images;
    cache.complete = keep;
    cache.blocks.resize(blocks_.size());
    if (images.images == 0) return;
    lay_out(images, cache);

    auto& first = cache.blocks[0];
    {
      const auto mark = workspace.mark();
      const auto start = first.features.view().middle_cols(0, inputs_[0]);
      ops::BlockMoments<T, Space> moments(context, ops::row_blocks(context, images.images, 1), inputs_[0]);
      stem_.forward(context, mode_, images, start, cache.stem, [&](Index image, MatrixView<T, Space> rows) {
        if (training) moments.add(image, rows);
      });
      if (training)
        moments.finish(first.mean.view().segment(0, inputs_[0]), first.variance.view().segment(0, inputs_[0]));
    }
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      auto& block = cache.blocks[b];
      block.layers.resize(blocks_[b].size());
      for (std::size_t j = 0; j < blocks_[b].size(); ++j)
        layer_forward(context, blocks_[b][j], block, block.layers[j], block.layers[keep ? j : 0].bottleneck);
      if (training) {
        block.statistics.resize(outputs_[b]);
        ops::batch_norm_coefficients<T>(context, block.mean.view(), block.variance.view(), {}, {},
                                        static_cast<T>(options_.norm.eps), block.statistics.coefficients());
      }
      auto& norm = b < transitions_.size() ? transitions_[b].norm : last_norm_.front();
      norm.prepare(context, mode_, std::as_const(block.mean).view(), std::as_const(block.variance).view(),
                   block.features.rows(), block.after);
      if (b < transitions_.size()) transition_forward(context, transitions_[b], block, cache.blocks[b + 1]);
    }
    const auto norm = cache.blocks.back().after.coefficients();
    ops::mean_pixels<T>(context, cache.blocks.back().features, features, &norm, options_.final_relu);
  }

  /// From d_features [images x channels]: parameter gradients by `mode`, and d_images, shaped like the pixels, unless
  /// empty. The mode of the batch norms and the parameters must be those of the forward pass. Throws ValueError without
  /// a forward pass that kept its cache.
  template <Context C>
  void backward(C& context, MatrixView<const T, Space> d_features, Cache& cache, layers::GradientMode mode,
                MatrixView<T, Space> d_images = {}) const {
    const auto& images = cache.images;
    require_value(cache.complete, "DenseNet", "backward needs a forward pass that kept its cache");
    require_shape("DenseNet", "d_features", d_features, images.images, channels());
    if (!d_images.empty()) require_shape("DenseNet", "d_images", d_images, images.pixels.rows(), images.pixels.cols());
    if (images.images == 0) {
      if (mode == layers::GradientMode::overwrite)
        for (std::size_t s = first_segment_; s < last_segment_; ++s) {
          zero(context, parameters_->gradient({s}));
        }
      return;
    }
    if (mode == layers::GradientMode::ignore && d_images.empty()) return;
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    std::vector<Gradient> gradients(blocks_.size());
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      const auto& features = cache.blocks[b].features;
      gradients[b] = {workspace.template take<T>(features.rows(), features.cols()),
                      workspace.template take<double>(features.cols()),
                      workspace.template take<double>(features.cols())};
      zero(context, gradients[b].sum);
      zero(context, gradients[b].centred);
    }
    auto& last = cache.blocks.back();
    const Index pixels = last.height * last.width;
    const auto spread = [&](Index row, MatrixView<T, Space> up) {
      ops::mean_pixels_backward_rows<T>(context, d_features, pixels, row, up);
    };
    if (options_.final_relu) {
      norm_backward<true>(context, last_norm_.front(), last, gradients.back(), mode, spread);
    } else {
      norm_backward<false>(context, last_norm_.front(), last, gradients.back(), mode, spread);
    }
    for (std::size_t b = blocks_.size(); b-- > 0;) {
      auto& block = cache.blocks[b];
      for (std::size_t j = blocks_[b].size(); j-- > 0;)
        layer_backward(context, blocks_[b][j], block, block.layers[j], gradients[b], mode);
      if (b > 0) {
        transition_backward(context, transitions_[b - 1], cache.blocks[b - 1], gradients[b - 1], block, gradients[b],
                            mode);
        continue;
      }
      const auto inner = workspace.mark();
      const auto dy = workspace.template take<T>(block.features.rows(), inputs_[0]);
      const auto gradient = channel_gradient(context, block, gradients[0], 0, inputs_[0]);
      const MatrixView<const T, Space> x = block.features.view().middle_cols(0, inputs_[0]);
      const auto g = gradients[0].values.middle_cols(0, inputs_[0]);
      ops::for_row_blocks<T>(context, dy.rows(), row_block, 0, [&](Index, Index row, MatrixView<T, Space> rows) {
        ops::batch_norm_backward_rows<T>(context, x.middle_rows(row, rows.rows()), g.middle_rows(row, rows.rows()),
                                         gradient, dy.middle_rows(row, rows.rows()));
      });
      stem_.backward(context, mode_, images, dy, cache.stem, mode, d_images);
    }
  }

 private:
  using BlockCache = typename Cache::BlockCache;
  using LayerCache = typename Cache::LayerCache;

  /// Of a block's buffer: sum over the layers that read a channel of k_l d_l, k_l = gamma_l in training (what else the
  /// gradient needs is the same for all of them) and the whole scale otherwise; in training also the sums over the rows
  /// of it and of it times (x - mean).
  struct Gradient {
    MatrixView<T, Space> values;
    VectorView<double, Space> sum, centred;
  };

  static constexpr Index row_block = 256;

  static const DenseNetOptions& checked(const DenseNetOptions& options) {
    require_value(options.growth_rate > 0 && options.bn_size > 0 && options.num_init_features > 0 &&
                      !options.block_config.empty() &&
                      std::all_of(options.block_config.begin(), options.block_config.end(),
                                  [](Index layers) { return layers > 0; }),
                  "DenseNet", "sizes must be positive");
    return options;
  }

  void lay_out(const ImageBatch<const T, Space>& images, Cache& cache) const {
    const ConvolutionShape first{images.images, images.height, images.width, 3, 1, 7, 2, 3};
    ops::detail::require_convolution("DenseNet", first, first.weights());
    const auto pool = stem_.pool(images);
    Index height = pool.out_height(), width = pool.out_width();
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      if (height < 1 || width < 1)
        throw ShapeError("DenseNet: images of " + eosin::detail::shape_text(images.height, images.width) +
                         " pixels are too small for " + std::to_string(blocks_.size()) + " blocks");
      auto& block = cache.blocks[b];
      block.height = height;
      block.width = width;
      block.features.resize(images.images * height * width, outputs_[b]);
      if (block.mean.size() != outputs_[b]) {
        block.mean = Vector<T, Space>(outputs_[b]);
        block.variance = Vector<T, Space>(outputs_[b]);
      }
      height /= 2;
      width /= 2;
    }
  }

  template <Context C>
  void layer_forward(C& context, DenseLayer& layer, BlockCache& block, LayerCache& cache,
                     Matrix<T, Space>& bottleneck) {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const bool training = mode_ == layers::BatchNormMode::training;
    const Index rows = block.features.rows(), channels = layer.norm1.channels();
    const Index images = rows / (block.height * block.width);
    const auto in = std::as_const(block.features).view().middle_cols(0, channels);
    layer.norm1.prepare(context, mode_, std::as_const(block.mean).view(), std::as_const(block.variance).view(), rows,
                        cache.norm1);
    const auto norm1 = cache.norm1.coefficients();
    bottleneck.resize(rows, layer.conv1.outputs());
    const auto shape1 = layer.conv1.shape(images, block.height, block.width);
    const auto blocks1 = ops::convolution_blocks(context, shape1);
    ops::BlockMoments<T, Space> moments1(context, training ? blocks1.count : 0, layer.conv1.outputs());
    ops::convolution_streamed<T>(
        context, shape1,
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::normalise_rows_of_batch<true, T>(context, in.middle_rows(row, count), norm1, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        layer.conv1.weight(),
        [&](Index row, Index count, MatrixView<T, Space>) { return bottleneck.view().middle_rows(row, count); },
        [&](Index row, Index, MatrixView<T, Space> z) {
          if (training) moments1.add(row / blocks1.out_rows, z);
        });
    const auto mean = workspace.template take<T>(layer.conv1.outputs()),
               variance = workspace.template take<T>(layer.conv1.outputs());
    if (training) moments1.finish(mean, variance);
    layer.norm2.prepare(context, mode_, mean, variance, rows, cache.norm2);
    const auto norm2 = cache.norm2.coefficients();
    const auto shape2 = layer.conv2.shape(images, block.height, block.width);
    const auto blocks2 = ops::convolution_blocks(context, shape2);
    const Index growth = layer.conv2.outputs();
    const auto out = block.features.view().middle_cols(channels, growth);
    const MatrixView<const T, Space> z = bottleneck.view();
    ops::BlockMoments<T, Space> moments2(context, training ? blocks2.count : 0, growth);
    ops::convolution_streamed<T>(
        context, shape2,
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::normalise_rows_of_batch<true, T>(context, z.middle_rows(row, count), norm2, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        layer.conv2.weight(), [&](Index row, Index count, MatrixView<T, Space>) { return out.middle_rows(row, count); },
        [&](Index row, Index, MatrixView<T, Space> y) {
          if (training) moments2.add(row / blocks2.out_rows, y);
        });
    if (training)
      moments2.finish(block.mean.view().segment(channels, growth), block.variance.view().segment(channels, growth));
  }

  static ops::PoolShape halving(const BlockCache& block, Index channels) {
    return {block.features.rows() / (block.height * block.width), block.height, block.width, channels, 2, 2, 0};
  }

  template <Context C>
  void transition_forward(C& context, Transition& transition, BlockCache& block, BlockCache& next) {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const bool training = mode_ == layers::BatchNormMode::training;
    const Index outputs = transition.conv.outputs();
    const auto pool = halving(block, transition.norm.channels());
    const auto shape = transition.conv.shape(pool.images, next.height, next.width);
    const auto blocks = ops::convolution_blocks(context, shape);
    const auto norm = block.after.coefficients();
    ops::BlockMoments<T, Space> moments(context, training ? blocks.count : 0, outputs);
    ops::convolution_streamed<T>(
        context, shape,
        [&](Index row, Index, MatrixView<T, Space> scratch) {
          ops::average_pool_rows<T>(context, pool, block.features, &norm, row, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        transition.conv.weight(),
        [&](Index row, Index count, MatrixView<T, Space>) {
          return next.features.view().middle_rows(row, count).middle_cols(0, outputs);
        },
        [&](Index row, Index, MatrixView<T, Space> y) {
          if (training) moments.add(row / blocks.out_rows, y);
        });
    if (training) moments.finish(next.mean.view().segment(0, outputs), next.variance.view().segment(0, outputs));
  }

  /// What a norm multiplies d with on its way into the block's gradient buffer.
  VectorView<const T, Space> factor(const layers::BatchNorm<T, Space>& norm, NormCache& cache) const {
    return mode_ == layers::BatchNormMode::training ? norm.weight()
                                                    : VectorView<const T, Space>(cache.coefficients().scale);
  }

  /// Parameter gradients of a norm that reads the block's buffer, and its part of the buffer's sums.
  template <Context C>
  void take_sums(C& context, const layers::BatchNorm<T, Space>& norm, NormCache& cache,
                 const ops::BlockGradientSums<T, Space>& sums, const Gradient& gradient,
                 layers::GradientMode mode) const {
    auto& workspace = context.workspace();
    const Index channels = norm.channels();
    const auto sum = workspace.template take<double>(channels), centred = workspace.template take<double>(channels);
    sums.finish(sum, centred);
    norm.parameter_gradients(context, mode_, sum, centred, cache, mode);
    ops::for_each_channel(
        context, "densenet_add_sums", channels,
        detail::AddWeightedSums<T, Space>{factor(norm, cache), sum, centred, gradient.sum, gradient.centred});
  }

  /// Backward of the norm behind a block, the last to read its buffer, so that it overwrites the gradient. `spread`
  /// (row, rows of upstream gradient) fills its second argument.
  template <bool Relu, Context C, class Spread>
  void norm_backward(C& context, const layers::BatchNorm<T, Space>& norm, BlockCache& block, const Gradient& gradient,
                     layers::GradientMode mode, Spread&& spread) const {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const MatrixView<const T, Space> x = block.features.view();
    const auto coefficients = block.after.coefficients();
    ops::BlockGradientSums<T, Space> sums(context, ops::row_blocks(context, x.rows(), row_block), x.cols());
    const auto weight = factor(norm, block.after);
    ops::for_row_blocks<T>(context, x.rows(), row_block, x.cols(), [&](Index b, Index row, MatrixView<T, Space> up) {
      spread(row, up);
      const ops::KeepWeightedGradient<T, Space> keep{weight, gradient.values.middle_rows(row, up.rows())};
      sums.template add<Relu>(b, x.middle_rows(row, up.rows()), up, coefficients, keep);
    });
    take_sums(context, norm, block.after, sums, gradient, mode);
  }

  /// From the sum over the readers of a range of channels to the gradient of those channels.
  template <Context C>
  ops::BatchNormInputGradient<T, Space> channel_gradient(C& context, BlockCache& block, const Gradient& gradient,
                                                         Index begin, Index count) const {
    if (mode_ == layers::BatchNormMode::training) {
      const auto norm = block.statistics.coefficients().segment(begin, count);
      return layers::BatchNorm<T, Space>::input_gradient(context, mode_, norm, norm.scale,
                                                         gradient.sum.segment(begin, count),
                                                         gradient.centred.segment(begin, count), block.features.rows());
    }
    auto& workspace = context.workspace();
    const ops::BatchNormInputGradient<T, Space> same{
        workspace.template take<T>(count), workspace.template take<T>(count), workspace.template take<T>(count),
        workspace.template take<T>(count)};
    ops::for_each_channel(context, "densenet_same_gradient", count, detail::SameGradient<T, Space>{same});
    return same;
  }

  template <Context C>
  void layer_backward(C& context, const DenseLayer& layer, BlockCache& block, LayerCache& cache,
                      const Gradient& gradient, layers::GradientMode mode) const {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const Index rows = block.features.rows(), channels = layer.norm1.channels(), growth = layer.conv2.outputs();
    const Index images = rows / (block.height * block.width);
    const ops::ConvolutionGradients wanted{.data = true,
                                           .weights = mode != layers::GradientMode::ignore,
                                           .accumulate_weights = mode == layers::GradientMode::accumulate};
    const auto in = std::as_const(block.features).view().middle_cols(0, channels);
    const auto out = std::as_const(block.features).view().middle_cols(channels, growth);
    const MatrixView<const T, Space> z = cache.bottleneck.view();
    const auto norm1 = cache.norm1.coefficients(), norm2 = cache.norm2.coefficients();

    const auto dz = workspace.template take<T>(rows, layer.conv1.outputs());
    const auto out_gradient = channel_gradient(context, block, gradient, channels, growth);
    const auto shape2 = layer.conv2.shape(images, block.height, block.width);
    const auto blocks2 = ops::convolution_blocks(context, shape2);
    ops::BlockGradientSums<T, Space> sums2(context, blocks2.count, layer.conv1.outputs());
    ops::convolution_backward_streamed<T>(
        context, shape2,
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::normalise_rows_of_batch<true, T>(context, z.middle_rows(row, count), norm2, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::batch_norm_backward_rows<T>(context, out.middle_rows(row, count),
                                           gradient.values.middle_rows(row, count).middle_cols(channels, growth),
                                           out_gradient, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        layer.conv2.weight(), [&](Index row, Index count, MatrixView<T, Space>) { return dz.middle_rows(row, count); },
        [&](Index row, Index count, MatrixView<T, Space> d) {
          sums2.template add<true>(row / blocks2.in_rows, z.middle_rows(row, count), d, norm2,
                                   ops::KeepGradient<T, Space>{d});
        },
        layer.conv2.weight_gradient(), wanted);

    const auto sum = workspace.template take<double>(z.cols()), centred = workspace.template take<double>(z.cols());
    sums2.finish(sum, centred);
    layer.norm2.parameter_gradients(context, mode_, sum, centred, cache.norm2, mode);
    const auto z_gradient =
        layers::BatchNorm<T, Space>::input_gradient(context, mode_, norm2, norm2.scale, sum, centred, rows);
    const auto shape1 = layer.conv1.shape(images, block.height, block.width);
    const auto blocks1 = ops::convolution_blocks(context, shape1);
    ops::BlockGradientSums<T, Space> sums1(context, blocks1.count, channels);
    const auto weight = factor(layer.norm1, cache.norm1);
    ops::convolution_backward_streamed<T>(
        context, shape1,
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::normalise_rows_of_batch<true, T>(context, in.middle_rows(row, count), norm1, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::batch_norm_backward_rows<T>(context, z.middle_rows(row, count), dz.middle_rows(row, count), z_gradient,
                                           scratch);
          return MatrixView<const T, Space>(scratch);
        },
        layer.conv1.weight(), [](Index, Index, MatrixView<T, Space> scratch) { return scratch; },
        [&](Index row, Index count, MatrixView<T, Space> d) {
          sums1.template add<true>(row / blocks1.in_rows, in.middle_rows(row, count), d, norm1,
                                   ops::AddWeightedGradient<T, Space>{
                                       weight, gradient.values.middle_rows(row, count).middle_cols(0, channels)});
        },
        layer.conv1.weight_gradient(), wanted);
    take_sums(context, layer.norm1, cache.norm1, sums1, gradient, mode);
  }

  template <Context C>
  void transition_backward(C& context, const Transition& transition, BlockCache& block, const Gradient& block_gradient,
                           BlockCache& next, const Gradient& next_gradient, layers::GradientMode mode) const {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const Index outputs = transition.conv.outputs();
    const auto pool = halving(block, transition.norm.channels());
    const auto shape = transition.conv.shape(pool.images, next.height, next.width);
    const auto norm = block.after.coefficients();
    const auto gradient = channel_gradient(context, next, next_gradient, 0, outputs);
    const auto y = std::as_const(next.features).view().middle_cols(0, outputs);
    const auto d_pooled = workspace.template take<T>(shape.in_rows(), transition.norm.channels());
    ops::convolution_backward_streamed<T>(
        context, shape,
        [&](Index row, Index, MatrixView<T, Space> scratch) {
          ops::average_pool_rows<T>(context, pool, block.features, &norm, row, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        [&](Index row, Index count, MatrixView<T, Space> scratch) {
          ops::batch_norm_backward_rows<T>(context, y.middle_rows(row, count),
                                           next_gradient.values.middle_rows(row, count).middle_cols(0, outputs),
                                           gradient, scratch);
          return MatrixView<const T, Space>(scratch);
        },
        transition.conv.weight(),
        [&](Index row, Index count, MatrixView<T, Space>) { return d_pooled.middle_rows(row, count); },
        [](Index, Index, MatrixView<T, Space>) {}, transition.conv.weight_gradient(),
        {.data = true,
         .weights = mode != layers::GradientMode::ignore,
         .accumulate_weights = mode == layers::GradientMode::accumulate});
    norm_backward<true>(context, transition.norm, block, block_gradient, mode, [&](Index row, MatrixView<T, Space> up) {
      ops::average_pool_backward_rows<T>(context, pool, d_pooled, row, up);
    });
  }

  DenseNetOptions options_;
  std::string prefix_;
  Parameters<T, Space>* parameters_;
  std::size_t first_segment_, last_segment_ = 0;
  layers::BatchNormMode mode_ = layers::BatchNormMode::training;
  Stem<T, Space> stem_;
  std::vector<std::vector<DenseLayer>> blocks_;
  std::vector<Index> inputs_, outputs_;  // channels of each block
  std::vector<Transition> transitions_;
  std::vector<layers::BatchNorm<T, Space>> last_norm_;  // one
};

}  // namespace eosin::vision
