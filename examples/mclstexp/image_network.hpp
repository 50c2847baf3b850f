#pragma once

// The image networks that the program offers, behind one face: patches to features, forward and backward.

#include "settings.hpp"

#include "common/study.hpp"
#include "common/training_state.hpp"

#include <eosin/io/checkpoint.hpp>
#include <eosin/io/image_encoder_weights.hpp>
#include <eosin/vision/densenet.hpp>
#include <eosin/vision/patch_loader.hpp>
#include <eosin/vision/resnet.hpp>
#include <eosin/vision/vit.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace mclstexp {

/// Parameters are registered under "image_encoder".
class ImageNetwork {
 public:
  /// Throws ValueError for a size of patches that the network does not take. Call parameters.allocate() before use.
  ImageNetwork(eosin::Parameters<float>& parameters, const Settings& settings)
      : parameters_(&parameters), size_(settings.image_size), network_(make(parameters, settings)) {}

  /// Features per patch.
  Index channels() const {
    return std::visit([](const auto& form) { return form.network.channels(); }, network_);
  }
  Index size() const { return size_; }

  /// Batch statistics in training, running ones elsewhere.
  void set_training(bool training) {
    std::visit(
        [&](auto& form) {
          if constexpr (requires { form.network.set_mode(eosin::layers::BatchNormMode::training); })
            form.network.set_mode(training ? eosin::layers::BatchNormMode::training
                                           : eosin::layers::BatchNormMode::evaluation);
        },
        network_);
  }

  /// Running statistics, which move with every forward pass in training.
  std::vector<common::StateBuffer<float>> buffers() {
    std::vector<common::StateBuffer<float>> all;
    std::visit(
        [&](auto& form) {
          for (const auto& buffer : form.network.buffers()) all.push_back({buffer.name, buffer.values});
        },
        network_);
    return all;
  }

  /// Weights in torchvision's or timm's names, or those of a mclSTExp checkpoint. Throws FileError, ParseError.
  void load(const std::filesystem::path& path) {
    const auto file = eosin::io::SafeTensors::read(path);
    std::visit([&](auto& form) { eosin::io::load_image_encoder<float>(file, form.network, *parameters_); }, network_);
  }

  /// features [n x channels] of pixels [n x size * size * 3]. `keep`: a backward pass follows; keep the pixels until
  /// then.
  void forward(eosin::CpuContext& context, MatrixView<const float> pixels, MatrixView<float> features, bool keep) {
    const MatrixView<const float> rows(pixels.data(), pixels.rows() * size_ * size_, 3);
    std::visit(
        [&](auto& form) {
          if constexpr (requires { form.network.patches(); }) {
            form.network.forward(context, rows, features, form.cache);
          } else {
            form.network.forward(context, {rows, pixels.rows(), size_, size_}, features, form.cache, keep);
          }
        },
        network_);
  }
  /// Parameter gradients, overwritten.
  void backward(eosin::CpuContext& context, MatrixView<const float> d_features) {
    std::visit(
        [&](auto& form) {
          if constexpr (requires { form.network.patches(); }) {
            form.network.backward(context, d_features, MatrixView<float>(), form.cache, GradientMode::overwrite);
          } else {
            form.network.backward(context, d_features, form.cache, GradientMode::overwrite);
          }
        },
        network_);
  }

 private:
  template <class Network>
  struct Form {
    Network network;
    typename Network::Cache cache{};
  };
  using DenseNet = Form<eosin::vision::DenseNet<float>>;
  using ResNet = Form<eosin::vision::ResNet<float>>;
  using Vit = Form<eosin::vision::Vit<float>>;
  using Network = std::variant<DenseNet, ResNet, Vit>;

  static Network make(eosin::Parameters<float>& parameters, const Settings& settings) {
    const std::string name = "image_encoder";
    const auto resnet = [&](const eosin::vision::ResNetOptions& options) {
      return ResNet{eosin::vision::ResNet<float>(parameters, name, options)};
    };
    switch (settings.encoder.value()) {
      case Encoder::resnet18: return resnet(eosin::vision::resnet18());
      case Encoder::resnet50: return resnet(eosin::vision::resnet50());
      case Encoder::resnet101: return resnet(eosin::vision::resnet101());
      case Encoder::vit_b32:
        return Vit{eosin::vision::Vit<float>(parameters, {.height = settings.image_size, .width = settings.image_size},
                                             name + ".")};
      case Encoder::densenet121:
      case Encoder::features: break;
    }
    return DenseNet{eosin::vision::DenseNet<float>(
        parameters, name, {.final_relu = !settings.has_compat("no-final-relu"), .norm = {}})};
  }

  eosin::Parameters<float>* parameters_;
  Index size_;
  Network network_;
};

/// Writes all parameters and, where a network is among them, its running statistics.
inline void save_parameters(const std::filesystem::path& path, const eosin::Parameters<float>& parameters,
                            ImageNetwork* network) {
  eosin::io::SafeTensorsWriter writer;
  eosin::io::add_segments<float>(writer, "", parameters, parameters.values());
  if (network != nullptr)
    for (const auto& buffer : network->buffers())
      writer.add<float>(buffer.name, {buffer.values.size()}, eosin::VectorView<const float>(buffer.values));
  writer.write(path);
}

/// Reads what save_parameters() wrote. Throws FileError, ParseError.
inline void load_parameters(const std::filesystem::path& path, eosin::Parameters<float>& parameters,
                            ImageNetwork* network) {
  const auto file = eosin::io::SafeTensors::read(path);
  eosin::io::load_segments<float>(file, "", parameters, parameters.values());
  if (network != nullptr)
    for (const auto& buffer : network->buffers()) file.copy_to<float>(buffer.name, buffer.values);
}

inline eosin::vision::PixelNormalisation pixel_normalisation(ImageNormalisation normalisation) {
  switch (normalisation) {
    case ImageNormalisation::none: return eosin::vision::PixelNormalisation::unit;
    case ImageNormalisation::compat: return eosin::vision::PixelNormalisation::bgr_bytes;
    case ImageNormalisation::imagenet: break;
  }
  return eosin::vision::PixelNormalisation::imagenet;
}

/// How patches come to a network; `augmented` in training, and with compat augmented-test everywhere.
inline eosin::vision::PatchLoaderOptions loader_options(const Settings& settings, bool augmented, std::uint64_t seed) {
  eosin::vision::PatchLoaderOptions options;
  options.size = settings.image_size;
  options.normalisation = pixel_normalisation(settings.image_normalisation);
  options.seed = seed;
  if (augmented || settings.has_compat("augmented-test"))
    options.augmentation = eosin::vision::AugmentationOptions{.brightness = settings.jitter,
                                                              .contrast = settings.jitter,
                                                              .saturation = settings.jitter,
                                                              .horizontal_flip = settings.flip ? 0.5 : 0.0,
                                                              .rotation = settings.rotation};
  return options;
}

/// The patches of a sample, in the order of its spots.
inline std::vector<eosin::vision::PatchSource> patch_sources(const Settings& settings, const study::Sample& sample) {
  std::vector<eosin::vision::PatchSource> sources;
  for (Index i = 0; i < sample.size(); ++i)
    sources.push_back({sample.image.get(),
                       {sample.x[static_cast<std::size_t>(i)], sample.y[static_cast<std::size_t>(i)]},
                       settings.patch_size > 0 ? settings.patch_size : sample.pitch});
  return sources;
}

/// Features [N x channels] of all spots of a sample, in evaluation mode.
inline Matrix<float> encode_sample(eosin::CpuContext& context, const Settings& settings, ImageNetwork& network,
                                   const study::Sample& sample) {
  constexpr Index batch = 16;
  const auto options = loader_options(settings, false, settings.seed);
  const auto sources = patch_sources(settings, sample);
  Matrix<float> features(sample.size(), network.channels());
  Matrix<float> pixels(std::min(batch, sample.size()), options.size * options.size * 3);
  network.set_training(false);
  for (Index begin = 0; begin < sample.size(); begin += batch) {
    const Index count = std::min(batch, sample.size() - begin);
    context.parallel_for(count, 1, [&](Index first, Index last) {
      for (Index i = first; i < last; ++i) {
        const auto row = pixels.row(i);
        eosin::vision::load_patch(sources[static_cast<std::size_t>(begin + i)], static_cast<std::uint64_t>(begin + i),
                                  0, options, std::span<float>(row.data(), static_cast<std::size_t>(row.size())));
      }
    });
    network.forward(context, std::as_const(pixels).view().middle_rows(0, count),
                    features.view().middle_rows(begin, count), false);
  }
  return features;
}

}  // namespace mclstexp
