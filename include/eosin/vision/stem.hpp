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

template <class T>
class Stem {
 public:
  struct Cache {
    Matrix<T> z;
    Matrix<std::uint8_t> source;
    typename layers::BatchNorm<T>::Cache norm;
  };

  Stem(Parameters<T>& parameters, const std::string& convolution, const std::string& norm, Index channels,
       layers::Fan fan, const layers::BatchNormOptions& options)
      : convolution_(parameters, convolution, 3, channels, {.kernel = 7, .stride = 2, .padding = 3, .fan = fan}),
        norm_(parameters, norm, channels, options) {}

  Index channels() const { return norm_.channels(); }
  layers::BatchNorm<T>& norm() { return norm_; }

  ops::PoolShape pool(const ImageBatch<const T>& images) const {
    const auto shape = convolution_.shape(images.images, images.height, images.width);
    return {images.images, shape.out_height(), shape.out_width(), channels(), 3, 2, 1};
  }

  /// y [images * pool height * pool width x channels]; calls finish(image, its rows of y) once they are there.
  template <class Finish>
  void forward(CpuContext& context, layers::BatchNormMode mode, const ImageBatch<const T>& images, MatrixView<T> y,
               Cache& cache, Finish&& finish) {
    const auto shape = convolution_.shape(images.images, images.height, images.width);
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    cache.z.resize(shape.out_rows(), channels());
    const auto blocks = ops::convolution_blocks(shape);
    const bool training = mode == layers::BatchNormMode::training;
    const ops::BlockMoments<T> moments(workspace, blocks.count, channels());
    ops::convolution_streamed<T>(
        context, shape, [&](Index row, Index rows, MatrixView<T>) { return images.pixels.middle_rows(row, rows); },
        convolution_.weight(),
        [&](Index row, Index rows, MatrixView<T>) { return cache.z.view().middle_rows(row, rows); },
        [&](Index row, Index, MatrixView<T> z) {
          if (training) moments.add(row / blocks.out_rows, z);
        });
    const auto mean = workspace.take<T>(channels()), variance = workspace.take<T>(channels());
    if (training) moments.finish(mean, variance);
    norm_.prepare(mode, mean, variance, shape.out_rows(), cache.norm);
    const auto pooling = pool(images);
    cache.source.resize(pooling.out_rows(), channels());
    const auto norm = cache.norm.coefficients();
    const MatrixView<const T> z = cache.z.view();
    context.parallel_for(images.images, 1, [&](Index image, Index) {
      const auto rows = y.middle_rows(image * pooling.out_pixels(), pooling.out_pixels());
      ops::max_pool_image<T>(pooling, z.middle_rows(image * pooling.in_pixels(), pooling.in_pixels()), &norm, rows,
                             cache.source.view().middle_rows(image * pooling.out_pixels(), pooling.out_pixels()));
      finish(image, rows);
    });
  }

  /// Parameter gradients by `mode`; an empty `d_images` is not computed.
  void backward(CpuContext& context, layers::BatchNormMode batch_mode, const ImageBatch<const T>& images,
                MatrixView<const T> dy, Cache& cache, layers::GradientMode mode, MatrixView<T> d_images) const {
    const auto shape = convolution_.shape(images.images, images.height, images.width);
    const auto pooling = pool(images);
    auto& workspace = context.workspace();
    const auto mark = workspace.mark();
    const auto norm = cache.norm.coefficients();
    const MatrixView<const T> z = cache.z.view();
    const MatrixView<const std::uint8_t> source = cache.source.view();
    constexpr Index block = 512;
    const Index blocks = (z.rows() + block - 1) / block;
    const ops::BlockGradientSums<T> sums(workspace, blocks, channels());
    const auto scratch = workspace.take<T>(context.threads(), block * channels());
    context.pool().run(blocks, [&](Index b, int worker) {
      const Index row = b * block, rows = std::min(block, z.rows() - row);
      const MatrixView<T> up(&scratch(worker, 0), rows, channels());
      ops::max_pool_backward_rows<T>(pooling, dy, source, row, up);
      sums.template add<true>(b, z.middle_rows(row, rows), up, norm, [](Index, auto, auto) {});
    });
    const auto sum = workspace.take<double>(channels()), centred = workspace.take<double>(channels());
    sums.finish(sum, centred);
    norm_.parameter_gradients(batch_mode, sum, centred, cache.norm, mode);
    const auto gradient =
        layers::BatchNorm<T>::input_gradient(workspace, batch_mode, norm, norm.scale, sum, centred, z.rows());
    ops::convolution_backward_streamed<T>(
        context, shape, [&](Index row, Index rows, MatrixView<T>) { return images.pixels.middle_rows(row, rows); },
        [&](Index row, Index rows, MatrixView<T> dz) {
          ops::max_pool_backward_rows<T>(pooling, dy, source, row, dz);
          const auto in = z.middle_rows(row, rows);
          ops::relu_backward_rows<T>(in, norm, dz);
          ops::batch_norm_backward_rows<T>(in, dz, gradient, dz);
          return MatrixView<const T>(dz);
        },
        convolution_.weight(), [&](Index row, Index rows, MatrixView<T>) { return d_images.middle_rows(row, rows); },
        [](Index, Index, MatrixView<T>) {},
        mode == layers::GradientMode::ignore ? VectorView<T>() : convolution_.weight_gradient(),
        {.data = !d_images.empty(),
         .weights = mode != layers::GradientMode::ignore,
         .accumulate_weights = mode == layers::GradientMode::accumulate});
  }

 private:
  layers::Convolution<T> convolution_;
  layers::BatchNorm<T> norm_;
};

}  // namespace eosin::vision
