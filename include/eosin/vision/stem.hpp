#pragma once

// How DenseNet and ResNet begin: convolution 7 x 7 of stride 2, batch norm, ReLU, maximum over 3 x 3 of stride 2.
//
//   z = conv(x),   y = max_pool( relu( norm(z) ) )
//
// z and the positions of the maxima are kept for backward; relu(norm(z)) is made while it is pooled and never stored.
// Its gradient is made twice, for the sums of the batch norm and for the convolution, which is cheaper than storing it.

#include <eosin/layers/batch_norm.hpp>
#include <eosin/layers/convolution.hpp>
#include <eosin/ops/pooling.hpp>
#include <eosin/vision/image_batch.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace eosin::vision {

template <class T, class Space = Host>
class Stem {
 public:
  struct Cache {
    Matrix<T, Space> z;
    Matrix<std::uint8_t, Space> source;
    typename layers::BatchNorm<T, Space>::Cache norm;
  };

  Stem(Parameters<T, Space>& parameters, const std::string& convolution, const std::string& norm, Index channels,
       layers::Fan fan, const layers::BatchNormOptions& options)
      : convolution_(parameters, convolution, 3, channels, {.kernel = 7, .stride = 2, .padding = 3, .fan = fan}),
        norm_(parameters, norm, channels, options) {}

  Index channels() const { return norm_.channels(); }
  layers::BatchNorm<T, Space>& norm() { return norm_; }

  ops::PoolShape pool(const ImageBatch<const T, Space>& images) const {
    const auto shape = convolution_.shape(images.images, images.height, images.width);
    return {images.images, shape.out_height(), shape.out_width(), channels(), 3, 2, 1};
  }

  /// y [images * pool height * pool width x channels]; calls finish(block, its rows of y) once they are there, an image
  /// being a block of ops::row_blocks.
  template <Context C, class Finish>
  void forward(C& context, layers::BatchNormMode mode, const ImageBatch<const T, Space>& images, MatrixView<T, Space> y,
               Cache& cache, Finish&& finish) {
    const auto shape = convolution_.shape(images.images, images.height, images.width);
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    cache.z.resize(shape.out_rows(), channels());
    const auto blocks = ops::convolution_blocks(context, shape);
    const bool training = mode == layers::BatchNormMode::training;
    ops::BlockMoments<T, Space> moments(context, blocks.count, channels());
    ops::convolution_streamed<T>(
        context, shape,
        [&](Index row, Index rows, MatrixView<T, Space>) { return images.pixels.middle_rows(row, rows); },
        convolution_.weight(),
        [&](Index row, Index rows, MatrixView<T, Space>) { return cache.z.view().middle_rows(row, rows); },
        [&](Index row, Index, MatrixView<T, Space> z) {
          if (training) moments.add(row / blocks.out_rows, z);
        });
    const auto mean = workspace.template take<T>(channels()), variance = workspace.template take<T>(channels());
    if (training) moments.finish(mean, variance);
    norm_.prepare(context, mode, mean, variance, shape.out_rows(), cache.norm);
    const auto pooling = pool(images);
    cache.source.resize(pooling.out_rows(), channels());
    const auto norm = cache.norm.coefficients();
    ops::max_pool<T>(context, pooling, cache.z.view(), y, cache.source.view(), &norm, finish);
  }

  /// Parameter gradients by `mode`; an empty `d_images` is not computed.
  template <Context C>
  void backward(C& context, layers::BatchNormMode batch_mode, const ImageBatch<const T, Space>& images,
                MatrixView<const T, Space> dy, Cache& cache, layers::GradientMode mode,
                MatrixView<T, Space> d_images) const {
    const auto shape = convolution_.shape(images.images, images.height, images.width);
    const auto pooling = pool(images);
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto norm = cache.norm.coefficients();
    const MatrixView<const T, Space> z = cache.z.view();
    const MatrixView<const std::uint8_t, Space> source = cache.source.view();
    constexpr Index block = 512;
    ops::BlockGradientSums<T, Space> sums(context, ops::row_blocks(context, z.rows(), block), channels());
    ops::for_row_blocks<T>(context, z.rows(), block, channels(), [&](Index b, Index row, MatrixView<T, Space> up) {
      ops::max_pool_backward_rows<T>(context, pooling, dy, source, row, up);
      sums.template add<true>(b, z.middle_rows(row, up.rows()), up, norm, ops::DropGradient{});
    });
    const auto sum = workspace.template take<double>(channels()), centred = workspace.template take<double>(channels());
    sums.finish(sum, centred);
    norm_.parameter_gradients(context, batch_mode, sum, centred, cache.norm, mode);
    const auto gradient =
        layers::BatchNorm<T, Space>::input_gradient(context, batch_mode, norm, norm.scale, sum, centred, z.rows());
    ops::convolution_backward_streamed<T>(
        context, shape,
        [&](Index row, Index rows, MatrixView<T, Space>) { return images.pixels.middle_rows(row, rows); },
        [&](Index row, Index rows, MatrixView<T, Space> dz) {
          ops::max_pool_backward_rows<T>(context, pooling, dy, source, row, dz);
          const auto in = z.middle_rows(row, rows);
          ops::relu_backward_rows<T>(context, in, norm, dz);
          ops::batch_norm_backward_rows<T>(context, in, dz, gradient, dz);
          return MatrixView<const T, Space>(dz);
        },
        convolution_.weight(),
        [&](Index row, Index rows, MatrixView<T, Space>) { return d_images.middle_rows(row, rows); },
        [](Index, Index, MatrixView<T, Space>) {},
        mode == layers::GradientMode::ignore ? VectorView<T, Space>() : convolution_.weight_gradient(),
        {.data = !d_images.empty(),
         .weights = mode != layers::GradientMode::ignore,
         .accumulate_weights = mode == layers::GradientMode::accumulate});
  }

 private:
  layers::Convolution<T, Space> convolution_;
  layers::BatchNorm<T, Space> norm_;
};

}  // namespace eosin::vision
