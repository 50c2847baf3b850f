#pragma once

// Training of one mclSTExp: epochs over mini-batches of spots in a seeded random order. The spots of a mini-batch that
// come from one section are a sentence; the contrastive loss runs over all of them. Order, noise, dropout and
// augmentation are functions of seed and epoch, so that a saved state continues bit for bit.

#include "image_branch.hpp"
#include "model.hpp"
#include "train_options.hpp"

#include "common/training_state.hpp"

#include <eosin/optim/clip.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace mclstexp {

/// The spots of one section as the spot encoder takes them.
struct SpotInputs {
  Matrix<float> expression;  ///< [N x genes]
  Matrix<Index> positions;   ///< [N x 2]; 0 x 0 for Position::none
  Matrix<float> centres;     ///< [N x 2] in units of the spot pitch, for neighbours
};

struct EpochRecord {
  Index epoch = 0;
  double loss = 0;  ///< mean over the steps
  double validation = std::numeric_limits<double>::quiet_NaN();
  double learning_rate = 0;
  double gradient_norm = 0;
  double seconds = 0;
  bool best = false;
};

class Trainer {
 public:
  /// `spots` are the training sections, in the order of `images`. `validate` gives the value that early stopping
  /// minimises; empty: there is nothing to validate on.
  Trainer(eosin::CpuContext& context, Model<float>& model, ImageBranch& images, std::vector<const SpotInputs*> spots,
          std::function<double()> validate, const TrainOptions& options)
      : context_(&context),
        model_(&model),
        images_(&images),
        spots_(std::move(spots)),
        validate_(std::move(validate)),
        options_(options),
        state_(model.parameters(), options.optimiser, images.buffers()) {
    eosin::require_value(!spots_.empty(), "Trainer", "there is nothing to train on");
    eosin::require_value(options.batch == 0 || options.batch >= 2, "Trainer",
                         "a batch needs at least 2 spots to tell apart");
  }

  Index epoch() const { return state_.epoch(); }
  Index best_epoch() const { return state_.best_epoch(); }
  bool done() const {
    return epoch() >= options_.epochs ||
           (options_.patience > 0 && validate_ && epoch() - best_epoch() > options_.patience);
  }
  void restore_best() { state_.restore_best(); }
  void save(const std::filesystem::path& path, const nlohmann::json& extra) { state_.save(path, extra); }
  nlohmann::json load(const std::filesystem::path& path) { return state_.load(path); }

  /// One epoch; `between_steps` may throw to end it early. Throws ValueError if the loss stops being a number.
  EpochRecord run_epoch(const std::function<void(Index step, Index steps)>& between_steps = {}) {
    const auto begin = std::chrono::steady_clock::now();
    EpochRecord record;
    record.learning_rate = options_.schedule(options_.learning_rate, epoch());
    const auto batches = plan_epoch();
    images_->begin_epoch(batches, epoch(), options_.seed);
    for (std::size_t b = 0; b < batches.size(); ++b) {
      if (between_steps) between_steps(static_cast<Index>(b), static_cast<Index>(batches.size()));
      const auto [loss, norm] = named([&] { return step(batches[b], record.learning_rate); });
      record.loss += loss / static_cast<double>(batches.size());
      record.gradient_norm += norm / static_cast<double>(batches.size());
    }
    images_->end_epoch();
    if (validate_) record.validation = named(validate_);
    record.best = state_.end_epoch(validate_ ? std::optional(record.validation) : std::nullopt);
    record.epoch = epoch();
    record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return record;
  }

 private:
  /// What `work` gives; numbers that are none are found in many places, and all come from steps that were too long.
  template <class Work>
  std::invoke_result_t<const Work&> named(const Work& work) const {
    try {
      return work();
    } catch (const eosin::ValueError& error) {
      throw eosin::ValueError("training: " + std::string(error.what()) + " in epoch " + std::to_string(epoch() + 1) +
                              "; a smaller learning rate may help");
    }
  }

  /// All spots in random order, cut into batches of nearly equal size, each sorted by section; or the sections in
  /// random order.
  std::vector<BatchRows> plan_epoch() const {
    eosin::RandomStream random(options_.seed, 0x65706f6368u + static_cast<std::uint64_t>(epoch()));
    std::vector<SpotRow> all;
    std::vector<BatchRows> batches;
    if (options_.batch == 0) {
      for (const Index s : random.permutation(static_cast<Index>(spots_.size()))) {
        BatchRows batch;
        for (Index i = 0; i < spots_[static_cast<std::size_t>(s)]->expression.rows(); ++i) batch.push_back({s, i});
        if (batch.size() >= 2) batches.push_back(std::move(batch));
      }
      return batches;
    }
    for (std::size_t s = 0; s < spots_.size(); ++s)
      for (Index i = 0; i < spots_[s]->expression.rows(); ++i) all.push_back({static_cast<Index>(s), i});
    const auto n = static_cast<Index>(all.size());
    const auto order = random.permutation(n);
    const Index count = std::max(Index{1}, (n + options_.batch - 1) / options_.batch);
    for (Index b = 0; b < count; ++b) {
      BatchRows batch;
      for (Index i = b * n / count; i < (b + 1) * n / count; ++i)
        batch.push_back(all[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
      std::sort(batch.begin(), batch.end());
      batches.push_back(std::move(batch));
    }
    return batches;
  }

  std::pair<double, double> step(const BatchRows& rows, double learning_rate) {
    gather(rows);
    const auto steps = static_cast<std::uint64_t>(state_.steps());
    const eosin::ops::DropoutKey dropout{options_.dropout, options_.seed ^ 0x64726f70u, steps};
    const auto features = images_->forward(*context_, rows);
    const bool network = images_->trained();
    if (network) d_features_.resize(features.rows(), features.cols());
    const Batch<float> batch{expression_.view(), positions_.view(), offsets_, features, positives()};
    const double loss = model_->step(*context_, batch, GradientMode::overwrite,
                                     {.d_image_features = network ? d_features_.view() : MatrixView<float>{}}, dropout);
    if (network) images_->backward(*context_, d_features_.view());
    const double norm = eosin::optim::gradient_norm<float>(*context_, std::as_const(model_->parameters()).gradients());
    if (!std::isfinite(loss) || !std::isfinite(norm))
      throw eosin::ValueError("loss " + std::to_string(loss) + ", gradient norm " + std::to_string(norm));
    const double scale = options_.clip_norm > 0 ? eosin::optim::clip_factor(norm, options_.clip_norm) : 1.0;
    state_.step(*context_, learning_rate, scale);
    return {loss, norm};
  }

  void gather(const BatchRows& rows) {
    const auto n = static_cast<Index>(rows.size());
    const Index genes = spots_.front()->expression.cols();
    expression_.resize(n, genes);
    const bool positions = !spots_.front()->positions.empty();
    if (positions) positions_.resize(n, 2);
    offsets_.assign(1, 0);
    for (Index i = 0; i < n; ++i) {
      const auto [section, row] = rows[static_cast<std::size_t>(i)];
      const auto& spots = *spots_[static_cast<std::size_t>(section)];
      std::copy_n(spots.expression.row(row).data(), genes, expression_.row(i).data());
      if (positions) std::copy_n(spots.positions.row(row).data(), 2, positions_.row(i).data());
      const bool last = i + 1 == n || (options_.sentences == Sentences::section &&
                                       rows[static_cast<std::size_t>(i) + 1].section != section);
      if (last) offsets_.push_back(i + 1);
    }
    find_positives(rows);
  }

  /// Pairs of different spots of a section that lie within positive_radius.
  void find_positives(const BatchRows& rows) {
    if (options_.positive_radius <= 0) return;
    positive_offsets_.assign(1, 0);
    positive_columns_.clear();
    const double limit = options_.positive_radius * options_.positive_radius;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto& centres = spots_[static_cast<std::size_t>(rows[i].section)]->centres;
      for (std::size_t j = 0; j < rows.size(); ++j) {
        if (rows[j].section != rows[i].section) continue;
        const double dx = static_cast<double>(centres(rows[i].row, 0) - centres(rows[j].row, 0));
        const double dy = static_cast<double>(centres(rows[i].row, 1) - centres(rows[j].row, 1));
        if (dx * dx + dy * dy <= limit) positive_columns_.push_back(static_cast<std::int32_t>(j));
      }
      positive_offsets_.push_back(static_cast<Index>(positive_columns_.size()));
    }
  }
  eosin::losses::PositivePairs positives() const {
    if (options_.positive_radius <= 0) return {};
    return {positive_offsets_, positive_columns_};
  }

  eosin::CpuContext* context_;
  Model<float>* model_;
  ImageBranch* images_;
  std::vector<const SpotInputs*> spots_;
  std::function<double()> validate_;
  TrainOptions options_;
  common::TrainingState<float> state_;
  Matrix<float> expression_, d_features_;
  Matrix<Index> positions_;
  std::vector<Index> offsets_, positive_offsets_;
  std::vector<std::int32_t> positive_columns_;
};

}  // namespace mclstexp
