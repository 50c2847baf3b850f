#pragma once

// What stands before the image head: features that were computed before, or a network that is trained along.

#include "batch_rows.hpp"
#include "image_network.hpp"

#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>
#include <eosin/vision/patch_loader.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

namespace mclstexp {

/// Features [N x D] of each training section. Training adds normal noise of deviation `noise` (standardised features):
/// to first order a ridge penalty on what the head does with them (Bishop, "Training with noise is equivalent to
/// Tikhonov regularization", 1995).
class GivenFeatures {
 public:
  GivenFeatures(std::vector<MatrixView<const float>> sections, double noise)
      : sections_(std::move(sections)), noise_(noise) {}

  void begin_epoch(const std::vector<BatchRows>&, Index epoch, std::uint64_t seed) {
    random_ = eosin::Philox(seed ^ 0x6e6f697365u, static_cast<std::uint64_t>(epoch));
  }
  void end_epoch() {}

  /// Features [rows x D] of a mini-batch.
  MatrixView<const float> forward(eosin::CpuContext& context, const BatchRows& rows) {
    const Index width = sections_.front().cols();
    features_.resize(static_cast<Index>(rows.size()), width);
    context.parallel_for(features_.rows(), 32, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const auto [section, row] = rows[static_cast<std::size_t>(i)];
        const auto& from = sections_[static_cast<std::size_t>(section)];
        float* to = features_.row(i).data();
        std::copy_n(from.row(row).data(), width, to);
        if (noise_ <= 0) continue;
        // One number per spot and feature, whichever batch the spot is in.
        const auto first = (static_cast<std::uint64_t>(section) << 40) + static_cast<std::uint64_t>(row * width);
        for (Index c = 0; c < width; ++c)
          to[c] += static_cast<float>(noise_ * random_.normal(first + static_cast<std::uint64_t>(c)));
      }
    });
    return std::as_const(features_).view();
  }

 private:
  std::vector<MatrixView<const float>> sections_;
  double noise_;
  eosin::Philox random_{0, 0};
  Matrix<float> features_;
};

/// A network on the patches of each training section, augmented, which a thread of their own prepares.
class TrainedNetwork {
 public:
  /// `sections`: the patches of each training section. The network must outlive the branch.
  TrainedNetwork(ImageNetwork& network, const std::vector<std::vector<eosin::vision::PatchSource>>& sections,
                 const eosin::vision::PatchLoaderOptions& options)
      : network_(&network) {
    std::vector<eosin::vision::PatchSource> all;
    for (const auto& section : sections) {
      first_.push_back(static_cast<Index>(all.size()));
      all.insert(all.end(), section.begin(), section.end());
    }
    loader_ = std::make_unique<eosin::vision::PatchLoader>(std::move(all), options);
  }

  void begin_epoch(const std::vector<BatchRows>& batches, Index epoch, std::uint64_t) {
    std::vector<std::vector<Index>> rows;
    for (const auto& batch : batches) {
      auto& numbers = rows.emplace_back();
      for (const auto& spot : batch) numbers.push_back(first_[static_cast<std::size_t>(spot.section)] + spot.row);
    }
    loader_->start(static_cast<std::uint64_t>(epoch), std::move(rows));
    network_->set_training(true);
  }
  void end_epoch() { network_->set_training(false); }

  /// Features [rows x channels] of the epoch's next mini-batch.
  MatrixView<const float> forward(eosin::CpuContext& context, const BatchRows& rows) {
    const auto* batch = loader_->next();
    eosin::require_value(batch != nullptr && batch->rows.size() == rows.size(), "TrainedNetwork",
                         "batches are not taken in the order of the epoch");
    features_.resize(static_cast<Index>(rows.size()), network_->channels());
    network_->forward(context, batch->pixels.view().middle_rows(0, features_.rows()), features_.view(), true);
    return std::as_const(features_).view();
  }
  void backward(eosin::CpuContext& context, MatrixView<const float> d_features) {
    network_->backward(context, d_features);
  }
  std::vector<common::StateBuffer<float>> buffers() { return network_->buffers(); }

 private:
  ImageNetwork* network_;
  std::vector<Index> first_;  ///< number of the first patch of each section
  std::unique_ptr<eosin::vision::PatchLoader> loader_;
  Matrix<float> features_;
};

class ImageBranch {
 public:
  explicit ImageBranch(GivenFeatures features) : form_(std::move(features)) {}
  explicit ImageBranch(TrainedNetwork network) : form_(std::move(network)) {}

  /// Whether gradients are wanted.
  bool trained() const { return std::holds_alternative<TrainedNetwork>(form_); }
  /// What is not trained and belongs to the state of a training.
  std::vector<common::StateBuffer<float>> buffers() {
    return trained() ? std::get<TrainedNetwork>(form_).buffers() : std::vector<common::StateBuffer<float>>();
  }
  void begin_epoch(const std::vector<BatchRows>& batches, Index epoch, std::uint64_t seed) {
    std::visit([&](auto& form) { form.begin_epoch(batches, epoch, seed); }, form_);
  }
  void end_epoch() {
    std::visit([](auto& form) { form.end_epoch(); }, form_);
  }
  MatrixView<const float> forward(eosin::CpuContext& context, const BatchRows& rows) {
    return std::visit([&](auto& form) { return form.forward(context, rows); }, form_);
  }
  void backward(eosin::CpuContext& context, MatrixView<const float> d_features) {
    if (auto* network = std::get_if<TrainedNetwork>(&form_)) network->backward(context, d_features);
  }

 private:
  std::variant<GivenFeatures, TrainedNetwork> form_;
};

}  // namespace mclstexp
