#pragma once

// ResNet (He et al., CVPR 2016) up to its pooled features, over images with their channels together:
//
//   x = stem(image)                                                                conv1, bn1
//   basic block        y = bn2(conv2( relu(bn1(conv1(x))) ))                       3 x 3 with the stride, 3 x 3
//   bottleneck block   y = bn3(conv3( relu(bn2(conv2( relu(bn1(conv1(x))) ))) ))   1 x 1, 3 x 3 with the stride, 1 x 1
//                      x = relu( y + shortcut(x) )     shortcut: x, or norm(1 x 1 convolution) where the shape changes
//   features           mean over the pixels
//
//   backward of a block: d = dx_out where x_out > 0; it goes into both branches, and their dx are added.
//
// Kept for backward are the convolutions' outputs and the blocks'; relu(bn(.)) is made again. Names as in torchvision's
// state_dict, behind `prefix` if there is one.

#include <eosin/vision/stem.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace eosin::vision {

enum class ResNetBlock { basic, bottleneck };

/// The defaults are ResNet-18.
struct ResNetOptions {
  ResNetBlock block = ResNetBlock::basic;
  std::vector<Index> layers = {2, 2, 2, 2};  ///< blocks per stage
  Index base_planes = 64;
  layers::BatchNormOptions norm;
};

inline ResNetOptions resnet18() {
  return {};
}
inline ResNetOptions resnet50() {
  return {.block = ResNetBlock::bottleneck, .layers = {3, 4, 6, 3}, .norm = {}};
}
inline ResNetOptions resnet101() {
  return {.block = ResNetBlock::bottleneck, .layers = {3, 4, 23, 3}, .norm = {}};
}

template <class T>
class ResNet {
  struct Unit {
    layers::Convolution<T> convolution;
    layers::BatchNorm<T> norm;
  };
  struct Block {
    std::vector<Unit> units;
    std::vector<Unit> shortcut;  // none or one
  };

 public:
  /// What backward reads.
  class Cache {
   private:
    friend class ResNet;
    struct UnitCache {
      Matrix<T> z;
      typename layers::BatchNorm<T>::Cache norm;
    };
    struct BlockCache {
      Index height = 0, width = 0;  // of the input
      std::vector<UnitCache> units;
      UnitCache shortcut;
    };
    ImageBatch<const T> images;
    typename Stem<T>::Cache stem;
    std::vector<BlockCache> blocks;
    std::vector<Matrix<T>> outputs;  // of the stem and of each block
    bool complete = false;
  };

  /// Registers the parameters in the order of torchvision's state_dict.
  ResNet(Parameters<T>& parameters, const std::string& prefix, const ResNetOptions& options = {})
      : options_(checked(options)),
        prefix_(prefix.empty() ? "" : prefix + "."),
        parameters_(&parameters),
        first_segment_(parameters.segments().size()),
        stem_(parameters, prefix_ + "conv1", prefix_ + "bn1", options.base_planes, layers::Fan::out, options.norm) {
    const bool basic = options.block == ResNetBlock::basic;
    Index channels = options.base_planes;
    for (std::size_t stage = 0; stage < options.layers.size(); ++stage) {
      const Index planes = options.base_planes << stage, outputs = basic ? planes : 4 * planes;
      for (Index j = 0; j < options.layers[stage]; ++j) {
        const std::string name = prefix_ + "layer" + std::to_string(stage + 1) + "." + std::to_string(j) + ".";
        const Index stride = stage > 0 && j == 0 ? 2 : 1;
        auto& block = blocks_.emplace_back();
        const auto add = [&](std::vector<Unit>& units, const std::string& convolution, const std::string& norm,
                             Index inputs, Index results, Index kernel, Index step) {
          layers::Convolution<T> weights(
              parameters, name + convolution, inputs, results,
              {.kernel = kernel, .stride = step, .padding = kernel / 2, .fan = layers::Fan::out});
          units.push_back({std::move(weights), layers::BatchNorm<T>(parameters, name + norm, results, options.norm)});
        };
        if (basic) {
          add(block.units, "conv1", "bn1", channels, planes, 3, stride);
          add(block.units, "conv2", "bn2", planes, planes, 3, 1);
        } else {
          add(block.units, "conv1", "bn1", channels, planes, 1, 1);
          add(block.units, "conv2", "bn2", planes, planes, 3, stride);
          add(block.units, "conv3", "bn3", planes, outputs, 1, 1);
        }
        if (stride != 1 || channels != outputs)
          add(block.shortcut, "downsample.0", "downsample.1", channels, outputs, 1, stride);
        channels = outputs;
      }
    }
    channels_ = channels;
    last_segment_ = parameters.segments().size();
  }

  const ResNetOptions& options() const { return options_; }
  /// Features per image.
  Index channels() const { return channels_; }
  layers::BatchNormMode mode() const { return mode_; }
  void set_mode(layers::BatchNormMode mode) { mode_ = mode; }

  /// Running statistics by name, for checkpoints; valid while the network lives.
  std::vector<layers::NamedBuffer<T>> buffers() {
    std::vector<layers::NamedBuffer<T>> list;
    stem_.norm().append_buffers(list);
    for (auto& block : blocks_)
      for (auto* units : {&block.units, &block.shortcut})
        for (auto& unit : *units) unit.norm.append_buffers(list);
    return list;
  }

  /// Names under which files keep the tensor that is called `name` here, without the prefix: torchvision's and those of
  /// mclSTExp's checkpoints, whose encoder is a numbered sequence.
  static std::vector<std::string> spellings(const std::string& name) {
    static const std::pair<const char*, const char*> numbers[] = {
        {"conv1.", "0."}, {"bn1.", "1."}, {"layer1.", "4."}, {"layer2.", "5."}, {"layer3.", "6."}, {"layer4.", "7."}};
    std::vector<std::string> all{name};
    for (const auto& [start, number] : numbers)
      if (name.rfind(start, 0) == 0)
        for (const char* encoder : {"image_encoder", "image_ecode"})
          all.push_back(encoder + std::string(".model.") + number + name.substr(std::string(start).size()));
    return all;
  }

  /// Name of the network in front of its tensors' names, "" or "NAME.".
  const std::string& prefix() const { return prefix_; }
  /// Its segments in the parameters: [first, last).
  std::pair<std::size_t, std::size_t> segments() const { return {first_segment_, last_segment_}; }

  /// features [images x channels] of images with three channels. Keep the images and the cache until backward; without
  /// a backward pass to come (`keep` false) the cache takes a fraction of the memory. In training mode the running
  /// statistics move. Throws ShapeError for images that are too small.
  void forward(CpuContext& context, const ImageBatch<const T>& images, MatrixView<T> features, Cache& cache,
               bool keep = true) {
    require_shape("ResNet", "images", images.pixels, images.images * images.height * images.width, 3);
    require_shape("ResNet", "features", features, images.images, channels_);
    cache.images = images;
    cache.complete = keep;
    cache.outputs.resize(keep ? blocks_.size() + 1 : 2);
    cache.blocks.resize(keep ? blocks_.size() : 1);
    if (images.images == 0) return;
    ops::detail::require_convolution("ResNet", {images.images, images.height, images.width, 3, 1, 7, 2, 3}, 147);
    const auto pool = stem_.pool(images);
    Index height = pool.out_height(), width = pool.out_width();
    cache.outputs[0].resize(pool.out_rows(), stem_.channels());
    stem_.forward(context, mode_, images, cache.outputs[0].view(), cache.stem, [](Index, MatrixView<T>) {});
    std::size_t last = 0;
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      auto& block = cache.blocks[keep ? b : 0];
      const std::size_t next = keep ? b + 1 : 1 - last;
      block.height = height;
      block.width = width;
      block_forward(context, blocks_[b], images.images, std::as_const(cache.outputs[last]).view(), block,
                    cache.outputs[next], height, width);
      last = next;
    }
    ops::mean_pixels<T>(context, cache.outputs[last], features);
  }

  /// From d_features [images x channels]: parameter gradients by `mode`, and d_images, shaped like the pixels, unless
  /// empty. The mode of the batch norms and the parameters must be those of the forward pass. Throws ValueError without
  /// a forward pass that kept its cache.
  void backward(CpuContext& context, MatrixView<const T> d_features, Cache& cache, layers::GradientMode mode,
                MatrixView<T> d_images = {}) const {
    const auto& images = cache.images;
    require_value(cache.complete, "ResNet", "backward needs a forward pass that kept its cache");
    require_shape("ResNet", "d_features", d_features, images.images, channels_);
    if (!d_images.empty()) require_shape("ResNet", "d_images", d_images, images.pixels.rows(), images.pixels.cols());
    if (images.images == 0) {
      if (mode == layers::GradientMode::overwrite)
        for (std::size_t s = first_segment_; s < last_segment_; ++s) {
          const auto gradient = parameters_->gradient({s});
          std::fill_n(gradient.data(), gradient.size(), T(0));
        }
      return;
    }
    if (mode == layers::GradientMode::ignore && d_images.empty()) return;
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    Index largest = 0;
    for (const auto& output : cache.outputs) largest = std::max(largest, output.size());
    T* memory[2] = {workspace.take<T>(largest).data(), workspace.take<T>(largest).data()};
    const auto& last = cache.outputs.back();
    MatrixView<T> d(memory[0], last.rows(), last.cols());
    const Index pixels = last.rows() / images.images;
    context.parallel_for(d.rows(), row_block, [&](Index begin, Index end) {
      ops::mean_pixels_backward_rows<T>(d_features, pixels, begin, d.middle_rows(begin, end - begin));
    });
    for (std::size_t b = blocks_.size(); b-- > 0;) {
      const auto& input = cache.outputs[b];
      const MatrixView<T> dx(memory[d.data() == memory[0] ? 1 : 0], input.rows(), input.cols());
      block_backward(context, blocks_[b], images.images, input.view(), cache.outputs[b + 1].view(), cache.blocks[b], d,
                     dx, mode);
      d = dx;
    }
    stem_.backward(context, mode_, images, d, cache.stem, mode, d_images);
  }

 private:
  using UnitCache = typename Cache::UnitCache;
  using BlockCache = typename Cache::BlockCache;

  static constexpr Index row_block = 256;

  static const ResNetOptions& checked(const ResNetOptions& options) {
    require_value(options.base_planes > 0 && !options.layers.empty() && options.layers.size() < 32 &&
                      std::all_of(options.layers.begin(), options.layers.end(), [](Index n) { return n > 0; }),
                  "ResNet", "sizes must be positive");
    return options;
  }

  bool training() const { return mode_ == layers::BatchNormMode::training; }

  /// z = convolution of what `source` makes, and the coefficients of its norm.
  template <class Source>
  void unit_forward(CpuContext& context, Unit& unit, const ConvolutionShape& shape, Source&& source,
                    UnitCache& cache) const {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    cache.z.resize(shape.out_rows(), shape.outputs);
    const auto blocks = ops::convolution_blocks(shape);
    const ops::BlockMoments<T> moments(workspace, training() ? blocks.count : 0, shape.outputs);
    ops::convolution_streamed<T>(
        context, shape, source, unit.convolution.weight(),
        [&](Index row, Index rows, MatrixView<T>) { return cache.z.view().middle_rows(row, rows); },
        [&](Index row, Index, MatrixView<T> z) {
          if (training()) moments.add(row / blocks.out_rows, z);
        });
    const auto mean = workspace.take<T>(shape.outputs), variance = workspace.take<T>(shape.outputs);
    if (training()) moments.finish(mean, variance);
    unit.norm.prepare(context, mode_, mean, variance, shape.out_rows(), cache.norm);
  }

  /// What the unit behind this one reads: relu(norm(z)).
  static auto activation(UnitCache& cache) {
    return [z = MatrixView<const T>(cache.z.view()), norm = cache.norm.coefficients()](Index row, Index rows,
                                                                                       MatrixView<T> scratch) {
      ops::normalise_rows_of_batch<true, T>(z.middle_rows(row, rows), norm, scratch);
      return MatrixView<const T>(scratch);
    };
  }

  /// `height` and `width` go from those of the input to those of the output.
  void block_forward(CpuContext& context, Block& block, Index images, MatrixView<const T> x, BlockCache& cache,
                     Matrix<T>& out, Index& height, Index& width) {
    const auto input = [&](Index row, Index rows, MatrixView<T>) { return x.middle_rows(row, rows); };
    if (!block.shortcut.empty())
      unit_forward(context, block.shortcut[0], block.shortcut[0].convolution.shape(images, height, width), input,
                   cache.shortcut);
    cache.units.resize(block.units.size());
    for (std::size_t u = 0; u < block.units.size(); ++u) {
      const auto shape = block.units[u].convolution.shape(images, height, width);
      if (u == 0) {
        unit_forward(context, block.units[u], shape, input, cache.units[u]);
      } else {
        unit_forward(context, block.units[u], shape, activation(cache.units[u - 1]), cache.units[u]);
      }
      height = shape.out_height();
      width = shape.out_width();
    }
    auto& last = cache.units.back();
    out.resize(last.z.rows(), last.z.cols());
    const auto norm = last.norm.coefficients();
    const bool plain = block.shortcut.empty();
    const MatrixView<const T> other = plain ? x : MatrixView<const T>(cache.shortcut.z.view());
    const auto other_norm = plain ? norm : cache.shortcut.norm.coefficients();
    context.parallel_for(out.rows(), row_block, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r)
        math::for_each_pack<T>(0, out.cols(), [&](auto lanes) {
          const auto y = math::multiply_add(lanes.load(&last.z(r, 0)), lanes.load(norm.scale.data()),
                                            lanes.load(norm.shift.data()));
          auto side = lanes.load(&other(r, 0));
          if (!plain)
            side = math::multiply_add(side, lanes.load(other_norm.scale.data()), lanes.load(other_norm.shift.data()));
          lanes.store(&out(r, 0), ops::detail::positive_part(y + side));
        });
    });
  }

  /// Gradients of a norm's parameters from the sums of its rows, and what makes dz of d.
  ops::BatchNormInputGradient<T> norm_backward(CpuContext& context, const Unit& unit, UnitCache& cache,
                                               const ops::BlockGradientSums<T>& sums, layers::GradientMode mode) const {
    auto& workspace = context.workspace();
    const Index channels = unit.norm.channels();
    const auto norm = cache.norm.coefficients();
    const auto sum = workspace.take<double>(channels), centred = workspace.take<double>(channels);
    sums.finish(sum, centred);
    unit.norm.parameter_gradients(context, mode_, sum, centred, cache.norm, mode);
    return layers::BatchNorm<T>::input_gradient(context, mode_, norm, norm.scale, sum, centred, cache.z.rows());
  }

  /// From d = d out, which is overwritten, to dx.
  void block_backward(CpuContext& context, const Block& block, Index images, MatrixView<const T> x,
                      MatrixView<const T> out, BlockCache& cache, MatrixView<T> d, MatrixView<T> dx,
                      layers::GradientMode mode) const {
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const ops::ConvolutionGradients wanted{.data = true,
                                           .weights = mode != layers::GradientMode::ignore,
                                           .accumulate_weights = mode == layers::GradientMode::accumulate};
    const bool plain = block.shortcut.empty();
    auto& last = cache.units.back();
    const Index row_blocks = (d.rows() + row_block - 1) / row_block;
    const ops::BlockGradientSums<T> last_sums(workspace, row_blocks, d.cols());
    const ops::BlockGradientSums<T> shortcut_sums(workspace, plain ? 0 : row_blocks, d.cols());
    context.parallel_for(d.rows(), row_block, [&](Index begin, Index end) {
      const auto rows = d.middle_rows(begin, end - begin);
      for (Index r = begin; r < end; ++r)
        math::for_each_pack<T>(0, d.cols(), [&](auto lanes) {
          using Pack = math::Pack<T>;
          lanes.store(&d(r, 0), math::select(lanes.load(&out(r, 0)) > Pack(0), lanes.load(&d(r, 0)), Pack(0)));
        });
      const auto nothing = [](Index, auto, auto) {};
      last_sums.template add<false>(begin / row_block, std::as_const(last.z).view().middle_rows(begin, end - begin),
                                    rows, last.norm.coefficients(), nothing);
      if (!plain)
        shortcut_sums.template add<false>(begin / row_block,
                                          std::as_const(cache.shortcut.z).view().middle_rows(begin, end - begin), rows,
                                          cache.shortcut.norm.coefficients(), nothing);
    });
    const auto input = [&](Index row, Index rows, MatrixView<T>) { return x.middle_rows(row, rows); };
    auto gradient = norm_backward(context, block.units.back(), last, last_sums, mode);
    MatrixView<T> upstream = d;
    std::vector<ConvolutionShape> shapes;
    Index height = cache.height, width = cache.width;
    for (const Unit& unit : block.units) {
      shapes.push_back(unit.convolution.shape(images, height, width));
      height = shapes.back().out_height();
      width = shapes.back().out_width();
    }
    for (std::size_t u = block.units.size(); u-- > 0;) {
      const Unit& unit = block.units[u];
      const MatrixView<const T> z = cache.units[u].z.view();
      const auto dz = [&](Index row, Index rows, MatrixView<T> scratch) {
        ops::batch_norm_backward_rows<T>(z.middle_rows(row, rows), upstream.middle_rows(row, rows), gradient, scratch);
        return MatrixView<const T>(scratch);
      };
      if (u == 0) {
        ops::convolution_backward_streamed<T>(
            context, shapes[u], input, dz, unit.convolution.weight(),
            [&](Index row, Index rows, MatrixView<T>) { return dx.middle_rows(row, rows); },
            [&](Index row, Index rows, MatrixView<T> back) {
              if (plain) add_rows(d.middle_rows(row, rows), back);
            },
            unit.convolution.weight_gradient(), wanted);
        break;
      }
      auto& before = cache.units[u - 1];
      const MatrixView<const T> z_before = before.z.view();
      const auto norm = before.norm.coefficients();
      const auto blocks = ops::convolution_blocks(shapes[u]);
      const ops::BlockGradientSums<T> sums(workspace, blocks.count, z_before.cols());
      const auto d_before = workspace.take<T>(z_before.rows(), z_before.cols());
      ops::convolution_backward_streamed<T>(
          context, shapes[u], activation(before), dz, unit.convolution.weight(),
          [&](Index row, Index rows, MatrixView<T>) { return d_before.middle_rows(row, rows); },
          [&](Index row, Index rows, MatrixView<T> back) {
            sums.template add<true>(row / blocks.in_rows, z_before.middle_rows(row, rows), back, norm,
                                    [&](Index r, auto lanes, auto value) { lanes.store(&back(r, 0), value); });
          },
          unit.convolution.weight_gradient(), wanted);
      gradient = norm_backward(context, block.units[u - 1], before, sums, mode);
      upstream = d_before;
    }
    if (plain) return;
    const Unit& shortcut = block.shortcut[0];
    const auto shortcut_gradient = norm_backward(context, shortcut, cache.shortcut, shortcut_sums, mode);
    const MatrixView<const T> z = cache.shortcut.z.view();
    ops::convolution_backward_streamed<T>(
        context, shortcut.convolution.shape(images, cache.height, cache.width), input,
        [&](Index row, Index rows, MatrixView<T> scratch) {
          ops::batch_norm_backward_rows<T>(z.middle_rows(row, rows), d.middle_rows(row, rows), shortcut_gradient,
                                           scratch);
          return MatrixView<const T>(scratch);
        },
        shortcut.convolution.weight(), [](Index, Index, MatrixView<T> scratch) { return scratch; },
        [&](Index row, Index rows, MatrixView<T> back) { add_rows(back, dx.middle_rows(row, rows)); },
        shortcut.convolution.weight_gradient(), wanted);
  }

  static void add_rows(MatrixView<const T> from, MatrixView<T> to) {
    for (Index r = 0; r < to.rows(); ++r)
      math::for_each_pack<T>(
          0, to.cols(), [&](auto lanes) { lanes.store(&to(r, 0), lanes.load(&to(r, 0)) + lanes.load(&from(r, 0))); });
  }

  ResNetOptions options_;
  std::string prefix_;
  Parameters<T>* parameters_;
  std::size_t first_segment_, last_segment_ = 0;
  layers::BatchNormMode mode_ = layers::BatchNormMode::training;
  Stem<T> stem_;
  std::vector<Block> blocks_;
  Index channels_ = 0;
};

}  // namespace eosin::vision
