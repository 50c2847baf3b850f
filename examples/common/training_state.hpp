#pragma once

// What a training run carries from epoch to epoch beside its data: optimiser state, best parameters so far, counters.
// Saved after any epoch it continues bit for bit, since order and random numbers are functions of seed and epoch alone.

#include <eosin/io/checkpoint.hpp>
#include <eosin/optim/adam.hpp>
#include <eosin/optim/sgd.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace common {

using eosin::Index;

enum class Optimiser { adamw, adam, sgd };

struct OptimiserOptions {
  Optimiser kind = Optimiser::adamw;
  double weight_decay = 0.01;
  double momentum = 0.9;  ///< of sgd
};

/// A buffer of a network that is not trained (running statistics), saved with the parameters.
template <class T>
struct StateBuffer {
  std::string name;
  eosin::VectorView<T> values;
};

template <class T>
class TrainingState {
 public:
  /// `parameters` must be allocated, and stay where they are, like `buffers`.
  TrainingState(eosin::Parameters<T>& parameters, const OptimiserOptions& options,
                std::vector<StateBuffer<T>> buffers = {})
      : parameters_(&parameters), buffers_(std::move(buffers)), optimiser_(make_optimiser(parameters, options)) {
    best_ = eosin::Vector<T>(parameters.values().size());
    for (const auto& buffer : buffers_) best_buffers_.emplace_back(buffer.values.size());
    keep();
  }

  /// Epochs done.
  Index epoch() const { return epoch_; }
  /// The epoch whose parameters are kept, from 1; 0: the start.
  Index best_epoch() const { return best_epoch_; }
  double best_value() const { return best_value_; }
  /// Steps of the optimiser.
  Index steps() const {
    return std::visit([](const auto& optimiser) { return optimiser.steps(); }, optimiser_);
  }

  /// A step along the gradients times `scale`.
  void step(eosin::CpuContext& context, double learning_rate, double scale) {
    std::visit([&](auto& optimiser) { optimiser.step(context, *parameters_, learning_rate, scale); }, optimiser_);
  }

  /// Ends an epoch whose validation gave `value`, where smaller is better (none: nothing to validate on, every epoch is
  /// the best so far). Returns whether it was the best.
  bool end_epoch(std::optional<double> value) {
    ++epoch_;
    if (value && !(*value < best_value_)) return false;
    if (value) best_value_ = *value;
    best_epoch_ = epoch_;
    keep();
    return true;
  }

  /// The present parameters count as the best.
  void keep() {
    const auto values = std::as_const(*parameters_).values();
    std::copy(values.data(), values.data() + values.size(), best_.data());
    for (std::size_t i = 0; i < buffers_.size(); ++i)
      std::copy(buffers_[i].values.data(), buffers_[i].values.data() + buffers_[i].values.size(),
                best_buffers_[i].data());
  }

  /// Puts the best parameters into the model.
  void restore_best() {
    std::copy(best_.begin(), best_.end(), parameters_->values().data());
    for (std::size_t i = 0; i < buffers_.size(); ++i)
      std::copy(best_buffers_[i].begin(), best_buffers_[i].end(), buffers_[i].values.data());
  }

  /// Writes everything, and `extra` beside it.
  void save(const std::filesystem::path& path, const nlohmann::json& extra) {
    eosin::io::SafeTensorsWriter writer;
    const auto& parameters = std::as_const(*parameters_);
    eosin::io::add_segments<T>(writer, "parameter/", parameters, parameters.values());
    eosin::io::add_segments<T>(writer, "best/", parameters, std::as_const(best_).view());
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      const auto& buffer = buffers_[i];
      writer.add<T>("buffer/" + buffer.name, {buffer.values.size()}, eosin::VectorView<const T>(buffer.values));
      writer.add<T>("best_buffer/" + buffer.name, {buffer.values.size()}, std::as_const(best_buffers_[i]).view());
    }
    for_each_moment([&](const char* name, eosin::VectorView<T> moment) {
      eosin::io::add_segments<T>(writer, std::string(name) + "/", parameters, eosin::VectorView<const T>(moment));
    });
    nlohmann::json state = extra;
    state["epoch"] = epoch_;
    state["best_epoch"] = best_epoch_;
    state["steps"] = steps();
    // JSON has neither infinity nor NaN; a tensor keeps every bit.
    writer.add<double>("best_value", {}, eosin::VectorView<const double>(&best_value_, 1));
    writer.set_metadata("state", state.dump());
    writer.write(path);
  }

  /// Continues from save(). Returns what was given as `extra`, with the state beside it. Throws FileError, or
  /// ParseError where the file is no checkpoint of this model and optimiser.
  nlohmann::json load(const std::filesystem::path& path) {
    const auto file = eosin::io::SafeTensors::read(path);
    const auto state = read(file);
    const auto count = [&](const char* name) {
      const auto found = state.find(name);
      if (found == state.end() || !found->is_number_unsigned())
        throw eosin::ParseError(file.file(), "state", std::string("has no number '") + name + "'");
      return found->template get<Index>();
    };
    const Index epoch = count("epoch"), best_epoch = count("best_epoch"), steps = count("steps");
    eosin::io::load_segments<T>(file, "parameter/", *parameters_, parameters_->values());
    eosin::io::load_segments<T>(file, "best/", *parameters_, best_.view());
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      file.copy_to<T>("buffer/" + buffers_[i].name, buffers_[i].values);
      file.copy_to<T>("best_buffer/" + buffers_[i].name, best_buffers_[i].view());
    }
    for_each_moment([&](const char* name, eosin::VectorView<T> moment) {
      eosin::io::load_segments<T>(file, std::string(name) + "/", *parameters_, moment);
    });
    file.copy_to<double>("best_value", eosin::VectorView<double>(&best_value_, 1));
    epoch_ = epoch;
    best_epoch_ = best_epoch;
    std::visit([&](auto& optimiser) { optimiser.set_steps(steps); }, optimiser_);
    return state;
  }

  /// What save() was given as `extra`, with the state beside it.
  static nlohmann::json read(const eosin::io::SafeTensors& file) {
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

  static OptimiserState make_optimiser(const eosin::Parameters<T>& parameters, const OptimiserOptions& options) {
    if (options.kind == Optimiser::sgd)
      return eosin::optim::Sgd<T>(parameters, {.momentum = options.momentum, .weight_decay = options.weight_decay});
    return eosin::optim::Adam<T>(parameters,
                                 {.weight_decay = options.weight_decay,
                                  .decay = options.kind == Optimiser::adamw ? eosin::optim::WeightDecay::decoupled
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

  eosin::Parameters<T>* parameters_;
  std::vector<StateBuffer<T>> buffers_;
  OptimiserState optimiser_;
  eosin::Vector<T> best_;
  std::vector<eosin::Vector<T>> best_buffers_;
  double best_value_ = std::numeric_limits<double>::infinity();
  Index best_epoch_ = 0;
  Index epoch_ = 0;
};

/// The state in a checkpoint of a run with these settings, data (study::training_fingerprint) and library of matrix
/// products, which another one would sum in another order. Throws FileError, ParseError, and ValueError where the run
/// was another.
inline nlohmann::json read_checkpoint(const std::filesystem::path& path, const nlohmann::json& settings,
                                      std::uint64_t data, const std::string& products) {
  try {
    auto state = TrainingState<float>::read(eosin::io::SafeTensors::read(path));
    if (state.at("settings") != settings)
      throw eosin::ValueError(path.string() + ": was written by a run with other settings");
    if (state.at("data") != data)
      throw eosin::ValueError(path.string() + ": was written by a run on other data: the files have changed");
    if (state.at("products") != products)
      throw eosin::ValueError(path.string() + ": was written by a run with matrix products by " +
                              state.at("products").get<std::string>() + ", these are by " + products);
    static_cast<void>(state.at("member").get<std::size_t>());
    static_cast<void>(state.at("epoch").get<Index>());
    return state;
  } catch (const nlohmann::json::exception& error) {
    throw eosin::ParseError(path.string() + ": state: " + error.what());
  }
}

}  // namespace common
