#pragma once

// Training of one CPNN: epochs over slides or sections in a seeded random order, AdamW, clipping, a schedule per epoch,
// early stopping on the validation samples. The whole state (parameters, moments, best parameters, counters) can be
// saved after any epoch and continued bit for bit: order and initial values are functions of the seed and the epoch
// alone.

#include "model.hpp"
#include "train_options.hpp"

#include "common/training_state.hpp"

#include <eosin/optim/clip.hpp>
#include <eosin/optim/schedule.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cpnn {

/// What an epoch did. Losses are means over the epoch's steps; validation is the observation loss (NaN without
/// samples).
struct EpochRecord {
  Index epoch = 0;
  Losses train;
  double validation = std::numeric_limits<double>::quiet_NaN();
  double learning_rate = 0;
  double gradient_norm = 0;
  double seconds = 0;
  bool best = false;
};

/// `Item` is Slide<T> or Section<T>.
template <class T, class Item>
class Trainer {
 public:
  Trainer(eosin::CpuContext& context, Model<T>& model, std::vector<Item> train, std::vector<Item> validation,
          const TrainOptions& options)
      : context_(&context),
        model_(&model),
        train_(std::move(train)),
        validation_(std::move(validation)),
        options_(options),
        state_(model.parameters(), {options.optimiser, options.weight_decay, options.momentum}) {
    eosin::require_value(!train_.empty(), "Trainer", "there is nothing to train on");
    eosin::require_value(options.batch >= 1, "Trainer", "batch must be at least 1");
  }

  Index epoch() const { return state_.epoch(); }
  bool done() const {
    return epoch() >= options_.epochs ||
           (options_.patience > 0 && !validation_.empty() && epoch() - best_epoch() > options_.patience);
  }
  /// The epoch whose parameters are kept, from 1; 0: the start.
  Index best_epoch() const { return state_.best_epoch(); }
  double best_validation() const { return state_.best_value(); }

  /// One epoch. Throws ValueError if the loss stops being a number.
  EpochRecord run_epoch() {
    const auto begin = std::chrono::steady_clock::now();
    EpochRecord record;
    record.learning_rate = options_.schedule(options_.learning_rate, epoch());
    eosin::RandomStream random(options_.seed, 0x65706f6368u + static_cast<std::uint64_t>(epoch()));
    const auto order = random.permutation(static_cast<Index>(train_.size()));
    Index steps = 0;
    std::vector<Item> batch;
    for (std::size_t at = 0; at < order.size(); at += static_cast<std::size_t>(options_.batch)) {
      batch.clear();
      for (std::size_t i = at; i < std::min(order.size(), at + static_cast<std::size_t>(options_.batch)); ++i) {
        batch.push_back(train_[static_cast<std::size_t>(order[i])]);
        if (options_.feature_noise > 0) batch.back().patches = with_noise(batch.back().patches, i - at, order[i]);
      }
      const Losses losses = compute(batch, GradientMode::overwrite);
      const double norm =
          eosin::optim::gradient_norm<T>(*context_, std::as_const(model_->parameters()).gradients());
      if (!std::isfinite(losses.total) || !std::isfinite(norm))
        throw eosin::ValueError("training: loss " + std::to_string(losses.total) + ", gradient norm " +
                                std::to_string(norm) + " in epoch " + std::to_string(epoch() + 1) +
                                "; a smaller learning rate may help");
      const double scale = options_.clip_norm > 0 ? eosin::optim::clip_factor(norm, options_.clip_norm) : 1.0;
      state_.step(*context_, record.learning_rate, scale);
      ++steps;
      record.train.total += losses.total;
      record.train.observation += losses.observation;
      record.train.composition += losses.composition;
      record.train.prototype += losses.prototype;
      record.gradient_norm += norm;
    }
    const double count = static_cast<double>(steps);
    for (double* value : {&record.train.total, &record.train.observation, &record.train.composition,
                          &record.train.prototype, &record.gradient_norm})
      *value /= count;
    if (!validation_.empty()) record.validation = validate();
    record.best = state_.end_epoch(validation_.empty() ? std::nullopt : std::optional(record.validation));
    record.epoch = epoch();
    if (options_.keep_last) state_.keep();
    record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return record;
  }

  /// Puts the best parameters into the model.
  void restore_best() { state_.restore_best(); }

  void save(const std::filesystem::path& path, const nlohmann::json& extra) { state_.save(path, extra); }
  /// As TrainingState::load.
  nlohmann::json load(const std::filesystem::path& path) { return state_.load(path); }

 private:
  Losses compute(std::span<const Item> items, GradientMode mode) {
    if constexpr (std::is_same_v<Item, Slide<T>>) {
      return model_->slide_step(*context_, items, mode);
    } else {
      return model_->patch_step(*context_, items, mode);
    }
  }

  /// A copy of the features of item `item` with this epoch's noise, in buffer `slot`.
  MatrixView<const T> with_noise(MatrixView<const T> features, std::size_t slot, Index item) {
    if (noisy_.size() <= slot) noisy_.resize(slot + 1);
    auto& out = noisy_[slot];
    out.resize(features.rows(), features.cols());
    const auto stream = static_cast<std::uint64_t>(epoch()) * train_.size() + static_cast<std::uint64_t>(item);
    const eosin::Philox random(options_.seed ^ 0x6e6f697365u, stream);
    context_->parallel_for(features.rows(), 32, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r)
        for (Index c = 0; c < features.cols(); ++c)
          out(r, c) =
              features(r, c) + static_cast<T>(options_.feature_noise *
                                              random.normal(static_cast<std::uint64_t>(r * features.cols() + c)));
    });
    return std::as_const(out).view();
  }

  double validate() {
    const auto library = model_->options().library;
    if (std::is_same_v<Item, Slide<T>> && options_.validation_library) model_->set_library(options_.validation_library);
    const double value = compute(validation_, GradientMode::ignore).observation;
    model_->set_library(library);
    return value;
  }

  eosin::CpuContext* context_;
  Model<T>* model_;
  std::vector<Item> train_;
  std::vector<Item> validation_;
  TrainOptions options_;
  common::TrainingState<T> state_;
  std::vector<Matrix<T>> noisy_;
};

}  // namespace cpnn
