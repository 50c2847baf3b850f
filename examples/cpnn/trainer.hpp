#pragma once

// Training of one CPNN: epochs over slides or sections in a seeded random order, AdamW, clipping, a schedule per epoch,
// early stopping on the validation samples. The whole state (parameters, moments, best parameters, counters) can be
// saved after any epoch and continued bit for bit: order and initial values are functions of the seed and the epoch
// alone.

#include "model.hpp"
#include "train_options.hpp"

#include <eosin/io/checkpoint.hpp>
#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>
#include <eosin/optim/schedule.hpp>
#include <eosin/optim/sgd.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <variant>
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
        optimiser_(make_optimiser(model, options)),
        best_(model.parameters().values().size()) {
    eosin::require_value(!train_.empty(), "Trainer", "there is nothing to train on");
    eosin::require_value(options.batch >= 1, "Trainer", "batch must be at least 1");
    keep_parameters();
  }

  Index epoch() const { return epoch_; }
  bool done() const {
    return epoch_ >= options_.epochs ||
           (options_.patience > 0 && !validation_.empty() && epoch_ - best_epoch_ > options_.patience);
  }
  /// The epoch whose parameters are kept, from 1; 0: the start.
  Index best_epoch() const { return best_epoch_; }
  double best_validation() const { return best_value_; }

  /// One epoch. Throws ValueError if the loss stops being a number.
  EpochRecord run_epoch() {
    const auto begin = std::chrono::steady_clock::now();
    EpochRecord record;
    record.learning_rate = options_.schedule(options_.learning_rate, epoch_);
    eosin::RandomStream random(options_.seed, 0x65706f6368u + static_cast<std::uint64_t>(epoch_));
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
                                std::to_string(norm) + " in epoch " + std::to_string(epoch_ + 1) +
                                "; a smaller learning rate may help");
      const double scale = options_.clip_norm > 0 ? eosin::optim::clip_factor(norm, options_.clip_norm) : 1.0;
      std::visit([&](auto& optimiser) { optimiser.step(*context_, model_->parameters(), record.learning_rate, scale); },
                 optimiser_);
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
    record.epoch = ++epoch_;
    if (!validation_.empty()) record.validation = validate();
    const bool better = validation_.empty() || record.validation < best_value_;
    if (better) {
      best_value_ = record.validation;
      best_epoch_ = epoch_;
      record.best = true;
    }
    if (better || options_.keep_last) keep_parameters();
    record.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return record;
  }

  /// Puts the best parameters into the model.
  void restore_best() {
    auto values = model_->parameters().values();
    std::copy(best_.begin(), best_.end(), values.data());
  }

  void save(const std::filesystem::path& path, const nlohmann::json& extra) {
    eosin::io::SafeTensorsWriter writer;
    const auto& parameters = std::as_const(*model_).parameters();
    eosin::io::add_segments<T>(writer, "parameter/", parameters, parameters.values());
    eosin::io::add_segments<T>(writer, "best/", parameters, std::as_const(best_).view());
    for_each_moment([&](const char* name, eosin::VectorView<T> moment) {
      eosin::io::add_segments<T>(writer, std::string(name) + "/", parameters, moment);
    });
    nlohmann::json state = extra;
    state["epoch"] = epoch_;
    state["best_epoch"] = best_epoch_;
    state["steps"] = std::visit([](auto& optimiser) { return optimiser.steps(); }, optimiser_);
    // JSON has neither infinity nor NaN; a tensor keeps every bit.
    writer.add<double>("best_value", {}, VectorView<const double>(&best_value_, 1));
    writer.set_metadata("state", state.dump());
    writer.write(path);
  }

  /// Continues from save(). Returns what was given as `extra`, with the state beside it. Throws FileError, or
  /// ParseError where the file is no checkpoint of this model and optimiser.
  nlohmann::json load(const std::filesystem::path& path) {
    const auto file = eosin::io::SafeTensors::read(path);
    const auto state = read_state(file);
    const auto count = [&](const char* name) {
      const auto found = state.find(name);
      if (found == state.end() || !found->is_number_unsigned())
        throw eosin::ParseError(file.file(), "state", std::string("has no number '") + name + "'");
      return found->template get<Index>();
    };
    const Index epoch = count("epoch"), best_epoch = count("best_epoch"), steps = count("steps");
    auto& parameters = model_->parameters();
    eosin::io::load_segments<T>(file, "parameter/", parameters, parameters.values());
    eosin::io::load_segments<T>(file, "best/", parameters, best_.view());
    for_each_moment([&](const char* name, eosin::VectorView<T> moment) {
      eosin::io::load_segments<T>(file, std::string(name) + "/", parameters, moment);
    });
    file.copy_to<double>("best_value", VectorView<double>(&best_value_, 1));
    epoch_ = epoch;
    best_epoch_ = best_epoch;
    std::visit([&](auto& optimiser) { optimiser.set_steps(steps); }, optimiser_);
    return state;
  }

  static nlohmann::json read_state(const eosin::io::SafeTensors& file) {
    const auto found = file.metadata().find("state");
    if (found == file.metadata().end()) throw eosin::ParseError(file.file() + ": is not a training checkpoint");
    try {
      auto state = nlohmann::json::parse(found->second);
      if (state.is_object()) return state;
    } catch (const nlohmann::json::exception& error) {
      throw eosin::ParseError(file.file(), "state", error.what());
    }
    throw eosin::ParseError(file.file(), "state", "is not an object");
  }

 private:
  using OptimiserState = std::variant<eosin::optim::Adam<T>, eosin::optim::Sgd<T>>;

  static OptimiserState make_optimiser(const Model<T>& model, const TrainOptions& options) {
    if (options.optimiser == Optimiser::sgd)
      return eosin::optim::Sgd<T>(model.parameters(),
                                  {.momentum = options.momentum, .weight_decay = options.weight_decay});
    return eosin::optim::Adam<T>(model.parameters(),
                                 {.weight_decay = options.weight_decay,
                                  .decay = options.optimiser == Optimiser::adamw ? eosin::optim::WeightDecay::decoupled
                                                                                 : eosin::optim::WeightDecay::coupled});
  }

  template <class F>
  void for_each_moment(F&& f) {
    if (auto* adam = std::get_if<eosin::optim::Adam<T>>(&optimiser_)) {
      f("first_moment", adam->first_moment());
      f("second_moment", adam->second_moment());
    } else if (auto& sgd = std::get<eosin::optim::Sgd<T>>(optimiser_); !sgd.momentum().empty()) {
      f("momentum", sgd.momentum());
    }
  }

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
    const auto stream = static_cast<std::uint64_t>(epoch_) * train_.size() + static_cast<std::uint64_t>(item);
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

  void keep_parameters() {
    const auto values = std::as_const(*model_).parameters().values();
    std::copy(values.data(), values.data() + values.size(), best_.data());
  }

  eosin::CpuContext* context_;
  Model<T>* model_;
  std::vector<Item> train_;
  std::vector<Item> validation_;
  TrainOptions options_;
  OptimiserState optimiser_;
  std::vector<Matrix<T>> noisy_;
  eosin::Vector<T> best_;
  double best_value_ = std::numeric_limits<double>::infinity();
  Index best_epoch_ = 0;
  Index epoch_ = 0;
};

}  // namespace cpnn
