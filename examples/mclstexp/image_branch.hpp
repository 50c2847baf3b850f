#pragma once

// What stands before the image head: features that were computed before, with noise added in training.

#include "common/training_state.hpp"

#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <utility>
#include <vector>

namespace mclstexp {

using eosin::Index;
using eosin::Matrix;
using eosin::MatrixView;

/// A spot of one of the training sections.
struct SpotRow {
  Index section = 0;
  Index row = 0;

  auto operator<=>(const SpotRow&) const = default;
};
using BatchRows = std::vector<SpotRow>;

/// Features [N x D] of each training section. Training adds normal noise of deviation `noise` (standardised features):
/// to first order a ridge penalty on what the head does with them (Bishop, "Training with noise is equivalent to
/// Tikhonov regularization", 1995).
class ImageBranch {
 public:
  ImageBranch(std::vector<MatrixView<const float>> sections, double noise)
      : sections_(std::move(sections)), noise_(noise) {}

  /// Whether gradients are wanted.
  bool trained() const { return false; }
  std::vector<common::StateBuffer<float>> buffers() { return {}; }

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
  void backward(eosin::CpuContext&, MatrixView<const float>) {}

 private:
  std::vector<MatrixView<const float>> sections_;
  double noise_;
  eosin::Philox random_{0, 0};
  Matrix<float> features_;
};

}  // namespace mclstexp
