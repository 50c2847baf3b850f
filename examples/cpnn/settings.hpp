#pragma once

// Everything a run of the program depends on, as one value: filled from the command line, written to metrics.json and
// to the model folder, read back by --resume and predict.

#include "options.hpp"
#include "train_options.hpp"

#include "common/gemm_choice.hpp"
#include "common/report_choices.hpp"
#include "common/study_options.hpp"
#include "common/words.hpp"


#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace cpnn {

enum class Level { patch, slide };
enum class PrototypeSource {
  automatic,    ///< soft labels where training samples have compositions, cells in a simulation, else scratch
  soft_labels,  ///< from training spots with known proportions
  cells,        ///< NB GLM on labelled single cells (simulation)
  naive_means,  ///< means of normalised labelled cells (simulation)
  folder,       ///< prototypes.csv of a folder
  scratch       ///< random start
};
/// The scale on which prototypes enter the model.
enum class PrototypeScale {
  counts,  ///< as fitted
  log      ///< ln(1 + counts), that of log-normalised expression
};

using common::Gemm;
using common::gemm_words;
using common::math_words;
using common::meaning_of;
using common::word_of;
using common::Words;

inline const Words<Level> level_words{{"patch", Level::patch}, {"slide", Level::slide}};
inline const Words<Projector> projector_words{
    {"mlp", Projector::mlp}, {"adapter", Projector::adapter}, {"linear", Projector::linear}};
inline const Words<Prototypes> prototype_mode_words{{"trained", Prototypes::trained}, {"static", Prototypes::fixed}};
inline const Words<PrototypeScale> prototype_scale_words{{"counts", PrototypeScale::counts},
                                                         {"log", PrototypeScale::log}};
inline const Words<eosin::losses::PrototypeLoss> prototype_regulariser_words{
    {"softmax-mse", eosin::losses::PrototypeLoss::softmax_mse},
    {"exp-mse", eosin::losses::PrototypeLoss::exp_mse},
    {"pearson", eosin::losses::PrototypeLoss::pearson},
    {"off", eosin::losses::PrototypeLoss::off}};
inline const Words<eosin::losses::CompositionLoss> composition_regulariser_words{
    {"mse", eosin::losses::CompositionLoss::mean_squared_error},
    {"mae", eosin::losses::CompositionLoss::mean_absolute_error},
    {"cross-entropy", eosin::losses::CompositionLoss::cross_entropy},
    {"off", eosin::losses::CompositionLoss::off}};
inline const Words<CompositionLevel> composition_level_words{{"patch", CompositionLevel::patch},
                                                            {"section", CompositionLevel::section}};
inline const Words<Observation> observation_words{{"nb", Observation::negative_binomial},
                                                  {"pearson", Observation::pearson},
                                                  {"mse", Observation::mean_squared_error}};
inline const Words<Optimiser> optimiser_words{
    {"adamw", Optimiser::adamw}, {"adam", Optimiser::adam}, {"sgd", Optimiser::sgd}};
inline const Words<study::Standardisation> standardisation_words{{"section", study::Standardisation::section},
                                                                 {"training", study::Standardisation::training}};
enum class ScheduleKind { constant, step, cosine };
inline const Words<ScheduleKind> schedule_words{
    {"constant", ScheduleKind::constant}, {"step", ScheduleKind::step}, {"cosine", ScheduleKind::cosine}};
inline const std::vector<std::string> compat_words{"mask-as-one",  "cut-to-4096",           "unseeded-split",
                                                   "last-weights", "softmax-normalisation", "probabilities-as-logits"};

struct Settings {
  // what
  std::string samples;                    ///< manifest; empty: simulate
  std::optional<std::uint64_t> simulate;  ///< seed of the simulated tissue
  double noise = 1;                       ///< of the simulation
  Level level = Level::patch;
  std::vector<std::string> train, validate, test;
  std::string genes;
  Index highly_variable = 1000;
  double patch_size = 0;
  study::Standardisation standardisation = study::Standardisation::section;
  // prototypes
  PrototypeSource source = PrototypeSource::automatic;
  std::string prototype_folder;
  Index types = 16;
  bool mask = true;
  std::optional<PrototypeScale> prototype_scale;
  // the model's switches; unset ones take the default of the level
  Projector projector = Projector::mlp;
  std::vector<Index> hidden;
  std::optional<double> head_gain;
  Prototypes prototype_mode = Prototypes::trained;
  std::optional<bool> correction;
  std::optional<Observation> observation;
  eosin::losses::PrototypeLoss prototype_regulariser = eosin::losses::PrototypeLoss::softmax_mse;
  eosin::losses::CompositionLoss composition_regulariser = eosin::losses::CompositionLoss::mean_squared_error;
  CompositionLevel composition_level = CompositionLevel::patch;
  std::optional<double> regulariser_weight;
  double composition_scale = 1;
  double eps = 1e-8;
  // training
  std::optional<Index> epochs, batch, patience;
  Optimiser optimiser = Optimiser::adamw;
  std::optional<double> learning_rate;
  double weight_decay = 0.01;
  std::optional<double> clip_norm;
  std::optional<double> feature_noise;
  ScheduleKind schedule = ScheduleKind::step;
  Index schedule_period = 50;
  double schedule_factor = 0.9;
  Index warmup = 0;
  Index folds = 4;
  Index members = 1;
  std::uint64_t seed = 1;
  std::vector<std::string> compat;
  // how
  int threads = 0;
  Gemm gemm = Gemm::automatic;
  eosin::MathMode math = eosin::MathMode::full;
  Index checkpoint_every = 25;
  bool resume = false;
  bool quiet = false;
  study::ReportChoices choices;
  std::string out;

  bool has_compat(const std::string& name) const {
    return std::find(compat.begin(), compat.end(), name) != compat.end();
  }

  /// Puts the defaults of the level in the place of what was not given.
  void complete() {
    const bool slide = level == Level::slide;
    if (!observation) observation = slide ? Observation::negative_binomial : Observation::pearson;
    if (!correction) correction = slide || *observation == Observation::negative_binomial;
    if (hidden.empty()) hidden = slide ? std::vector<Index>{1024, 512} : std::vector<Index>{256, 128};
    if (!regulariser_weight) regulariser_weight = slide ? 1e3 : 1.0;
    if (!epochs) epochs = slide ? 1000 : 400;
    if (!batch) batch = slide ? 8 : 1;
    if (!feature_noise) feature_noise = slide ? 0.0 : 1.0;
    if (!head_gain) head_gain = slide ? 1.0 : 0.3;
    if (!clip_norm) clip_norm = slide ? 0.5 : 5.0;
    if (!learning_rate) learning_rate = slide ? 1e-3 : 3e-3;

    if (!patience) patience = slide ? 30 : 50;
  }

  eosin::optim::Schedule make_schedule() const {
    eosin::optim::Schedule made;
    made.warmup = warmup;
    if (schedule == ScheduleKind::step) made.kind = eosin::optim::StepRate{schedule_period, schedule_factor};
    if (schedule == ScheduleKind::cosine) made.kind = eosin::optim::CosineRate{epochs.value(), 0.0};
    return made;
  }
};

/// What decides the result (not threads, resume, output folder). Two runs with equal JSON give equal results.
inline nlohmann::json to_json(const Settings& s) {
  nlohmann::json json{{"samples", s.samples},
                      {"simulate", s.simulate ? nlohmann::json(*s.simulate) : nlohmann::json()},
                      {"noise", s.noise},
                      {"level", word_of(level_words, s.level)},
                      {"train", s.train},
                      {"validate", s.validate},
                      {"test", s.test},
                      {"genes", s.genes},
                      {"hvg", s.highly_variable},
                      {"patch_size", s.patch_size},
                      {"standardise", word_of(standardisation_words, s.standardisation)},
                      {"prototype_folder", s.prototype_folder},
                      {"types", s.types},
                      {"mask", s.mask},
                      {"prototype_scale", word_of(prototype_scale_words, s.prototype_scale.value())},
                      {"projector", word_of(projector_words, s.projector)},
                      {"hidden", s.hidden},
                      {"head_gain", s.head_gain.value()},
                      {"prototype_mode", word_of(prototype_mode_words, s.prototype_mode)},
                      {"correction", s.correction.value()},
                      {"observation", word_of(observation_words, s.observation.value())},
                      {"prototype_regulariser", word_of(prototype_regulariser_words, s.prototype_regulariser)},
                      {"composition_regulariser", word_of(composition_regulariser_words, s.composition_regulariser)},
                      {"composition_level", word_of(composition_level_words, s.composition_level)},
                      {"regulariser_weight", s.regulariser_weight.value()},
                      {"composition_scale", s.composition_scale},
                      {"eps", s.eps},
                      {"epochs", s.epochs.value()},
                      {"batch", s.batch.value()},
                      {"patience", s.patience.value()},
                      {"optimiser", word_of(optimiser_words, s.optimiser)},
                      {"learning_rate", s.learning_rate.value()},
                      {"weight_decay", s.weight_decay},
                      {"clip_norm", s.clip_norm.value()},
                      {"feature_noise", s.feature_noise.value()},
                      {"schedule", word_of(schedule_words, s.schedule)},
                      {"schedule_period", s.schedule_period},
                      {"schedule_factor", s.schedule_factor},
                      {"warmup", s.warmup},
                      {"folds", s.folds},
                      {"members", s.members},
                      {"seed", s.seed},
                      {"compat", s.compat},
                      {"math", word_of(math_words, s.math)}};
  static const Words<PrototypeSource> source_words{
      {"automatic", PrototypeSource::automatic}, {"soft-labels", PrototypeSource::soft_labels},
      {"cells", PrototypeSource::cells},         {"naive-means", PrototypeSource::naive_means},
      {"folder", PrototypeSource::folder},       {"scratch", PrototypeSource::scratch}};
  json["prototypes"] = word_of(source_words, s.source);
  return json;
}

/// The part of the settings that predict needs, from a model folder.
inline Settings settings_for_prediction(const nlohmann::json& json) {
  Settings s;
  s.level = meaning_of(level_words, json.at("level").get<std::string>());
  s.patch_size = json.at("patch_size").get<double>();
  s.standardisation = meaning_of(standardisation_words, json.at("standardise").get<std::string>());
  s.projector = meaning_of(projector_words, json.at("projector").get<std::string>());
  s.hidden = json.at("hidden").get<std::vector<Index>>();
  s.prototype_scale = meaning_of(prototype_scale_words, json.at("prototype_scale").get<std::string>());
  s.head_gain = json.at("head_gain").get<double>();
  s.feature_noise = json.at("feature_noise").get<double>();
  s.prototype_mode = meaning_of(prototype_mode_words, json.at("prototype_mode").get<std::string>());
  s.correction = json.at("correction").get<bool>();
  s.observation = meaning_of(observation_words, json.at("observation").get<std::string>());
  s.regulariser_weight = json.at("regulariser_weight").get<double>();
  s.epochs = json.at("epochs").get<Index>();
  s.batch = json.at("batch").get<Index>();
  s.patience = json.at("patience").get<Index>();
  s.compat = json.at("compat").get<std::vector<std::string>>();
  s.math = meaning_of(math_words, json.at("math").get<std::string>());
  s.seed = json.at("seed").get<std::uint64_t>();
  s.complete();
  return s;
}

}  // namespace cpnn
