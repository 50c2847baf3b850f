#pragma once

// Everything a run of the program depends on, as one value: filled from the command line, written to metrics.json and
// to the model folder, read back by --resume and predict.

#include "model.hpp"
#include "train_options.hpp"

#include "common/gemm_choice.hpp"
#include "common/report_choices.hpp"
#include "common/study_options.hpp"
#include "common/words.hpp"

#include <eosin/retrieval/neighbours.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mclstexp {

using common::meaning_of;
using common::word_of;
using common::Words;

/// What turns a patch into features.
enum class Encoder { features, densenet121, resnet18, resnet50, resnet101, vit_b32 };
enum class ImageNormalisation {
  imagenet,  ///< RGB in [0, 1] less the means of ImageNet, over its deviations
  none,      ///< RGB in [0, 1]
  compat     ///< BGR in [0, 255], as the release feeds Visium images
};
enum class Predictor {
  automatic,  ///< the one with the higher correlation on validation samples; without any, retrieval
  retrieval,  ///< weighted expression of the nearest training spots
  linear      ///< a linear layer on the image embedding
};

inline const Words<Encoder> encoder_words{{"features", Encoder::features},   {"densenet121", Encoder::densenet121},
                                          {"resnet18", Encoder::resnet18},   {"resnet50", Encoder::resnet50},
                                          {"resnet101", Encoder::resnet101}, {"vit-b32", Encoder::vit_b32}};
inline const Words<ImageNormalisation> image_normalisation_words{{"imagenet", ImageNormalisation::imagenet},
                                                                 {"none", ImageNormalisation::none},
                                                                 {"compat", ImageNormalisation::compat}};
inline const Words<Predictor> predictor_words{
    {"auto", Predictor::automatic}, {"retrieval", Predictor::retrieval}, {"linear", Predictor::linear}};
inline const Words<SpotEncoder> spot_encoder_words{{"attention", SpotEncoder::attention}, {"mlp", SpotEncoder::mlp}};
inline const Words<Position> position_words{
    {"none", Position::none}, {"sinusoidal", Position::sinusoidal}, {"learned", Position::learned}};
inline const Words<Sentences> sentence_words{{"section", Sentences::section}, {"batch", Sentences::batch}};
inline const Words<eosin::retrieval::Distance> distance_words{{"l1", eosin::retrieval::Distance::l1},
                                                             {"l2", eosin::retrieval::Distance::l2}};
inline const Words<eosin::retrieval::Weighting> weighting_words{
    {"inverse-square", eosin::retrieval::Weighting::inverse_square}, {"uniform", eosin::retrieval::Weighting::uniform}};
inline const Words<study::Standardisation> standardisation_words{{"section", study::Standardisation::section},
                                                                 {"training", study::Standardisation::training}};
inline const Words<common::Optimiser> optimiser_words{{"adamw", common::Optimiser::adamw},
                                                      {"adam", common::Optimiser::adam},
                                                      {"sgd", common::Optimiser::sgd}};
inline const std::vector<std::string> compat_words{"gene-axis", "sentences-of-32", "no-final-relu", "augmented-test",
                                                   "hvg-with-test"};

struct Settings {
  // what
  std::string samples;
  std::optional<std::uint64_t> simulate;
  double noise = 1;
  std::vector<std::string> train, validate, test;
  std::string genes;
  Index highly_variable = 1000;
  double patch_size = 0;
  study::Standardisation standardisation = study::Standardisation::section;
  // image branch
  std::optional<Encoder> encoder;
  std::string weights;
  bool freeze_encoder = false;
  std::string feature_cache;
  Index image_size = 224;
  ImageNormalisation image_normalisation = ImageNormalisation::imagenet;
  double jitter = 0.5;
  bool flip = true;
  double rotation = 180;
  double feature_noise = 1;
  // spot branch
  SpotEncoder spot_encoder = SpotEncoder::attention;
  Index depth = 2;
  Index heads = 8;
  Index head_width = 64;
  Position position = Position::none;
  Index projection = 256;
  bool standardise_expression = true;
  // loss
  bool normalize = true;
  double temperature = 0.2;
  bool learned_temperature = false;
  double image_weight = 0.5;
  double positive_radius = 0;
  // training
  std::optional<Index> epochs;
  std::optional<Index> batch;
  Sentences sentences = Sentences::section;
  Index patience = 15;
  common::Optimiser optimiser = common::Optimiser::adam;
  double learning_rate = 3e-4;
  double weight_decay = 1e-3;
  double clip_norm = 0;
  double dropout = 0.3;
  std::optional<Index> folds;
  Index members = 1;
  std::uint64_t seed = 1;
  // prediction
  Predictor predictor = Predictor::automatic;
  Index neighbours = 200;
  eosin::retrieval::Distance distance = eosin::retrieval::Distance::l1;
  eosin::retrieval::Weighting weighting = eosin::retrieval::Weighting::inverse_square;
  bool calibrate = true;
  std::vector<std::string> compat;
  // how
  study::ReportChoices report;
  int threads = 0;
  common::Gemm gemm = common::Gemm::automatic;
  eosin::MathMode math = eosin::MathMode::full;
  std::optional<Index> checkpoint_every;
  bool resume = false;
  bool quiet = false;
  std::string out;

  bool has_compat(const std::string& name) const {
    return std::find(compat.begin(), compat.end(), name) != compat.end();
  }
  /// Whether patches go through a network, and whether it is trained.
  bool network() const { return encoder.value() != Encoder::features; }
  bool trains_network() const { return network() && !freeze_encoder; }

  /// Puts the defaults that depend on others in the place of what was not given.
  void complete() {
    if (!encoder) encoder = weights.empty() ? Encoder::features : Encoder::densenet121;
    if (!epochs) epochs = trains_network() ? 10 : 90;
    if (!batch) batch = trains_network() ? 32 : 128;
    if (!folds) folds = trains_network() ? 1 : 4;
    if (!checkpoint_every) checkpoint_every = trains_network() ? 1 : 10;
  }
};

/// What decides the result (not threads, resume, output folder). Two runs with equal JSON give equal results.
inline nlohmann::json to_json(const Settings& s) {
  return {{"samples", s.samples},
          {"simulate", s.simulate ? nlohmann::json(*s.simulate) : nlohmann::json()},
          {"noise", s.noise},
          {"train", s.train},
          {"validate", s.validate},
          {"test", s.test},
          {"genes", s.genes},
          {"hvg", s.highly_variable},
          {"patch_size", s.patch_size},
          {"standardise", word_of(standardisation_words, s.standardisation)},
          {"encoder", word_of(encoder_words, s.encoder.value())},
          {"weights", s.weights},
          {"freeze_encoder", s.freeze_encoder},
          {"image_size", s.image_size},
          {"image_normalisation", word_of(image_normalisation_words, s.image_normalisation)},
          {"jitter", s.jitter},
          {"flip", s.flip},
          {"rotation", s.rotation},
          {"feature_noise", s.feature_noise},
          {"spot_encoder", word_of(spot_encoder_words, s.spot_encoder)},
          {"depth", s.depth},
          {"heads", s.heads},
          {"head_width", s.head_width},
          {"position", word_of(position_words, s.position)},
          {"projection", s.projection},
          {"standardise_expression", s.standardise_expression},
          {"normalize", s.normalize},
          {"temperature", s.temperature},
          {"learned_temperature", s.learned_temperature},
          {"image_weight", s.image_weight},
          {"positive_radius", s.positive_radius},
          {"epochs", s.epochs.value()},
          {"batch", s.batch.value()},
          {"sentences", word_of(sentence_words, s.sentences)},
          {"patience", s.patience},
          {"optimiser", word_of(optimiser_words, s.optimiser)},
          {"learning_rate", s.learning_rate},
          {"weight_decay", s.weight_decay},
          {"clip_norm", s.clip_norm},
          {"dropout", s.dropout},
          {"folds", s.folds.value()},
          {"members", s.members},
          {"seed", s.seed},
          {"predict", word_of(predictor_words, s.predictor)},
          {"neighbours", s.neighbours},
          {"distance", word_of(distance_words, s.distance)},
          {"weighting", word_of(weighting_words, s.weighting)},
          {"calibrate", s.calibrate},
          {"compat", s.compat},
          {"math", word_of(common::math_words, s.math)}};
}

/// The part of the settings that predict needs, from a model folder.
inline Settings settings_for_prediction(const nlohmann::json& json) {
  Settings s;
  const auto word = [&](const char* key) { return json.at(key).get<std::string>(); };
  s.patch_size = json.at("patch_size").get<double>();
  s.standardisation = meaning_of(standardisation_words, word("standardise"));
  s.encoder = meaning_of(encoder_words, word("encoder"));
  s.freeze_encoder = json.at("freeze_encoder").get<bool>();
  s.image_size = json.at("image_size").get<Index>();
  s.image_normalisation = meaning_of(image_normalisation_words, word("image_normalisation"));
  s.spot_encoder = meaning_of(spot_encoder_words, word("spot_encoder"));
  s.depth = json.at("depth").get<Index>();
  s.heads = json.at("heads").get<Index>();
  s.head_width = json.at("head_width").get<Index>();
  s.position = meaning_of(position_words, word("position"));
  s.projection = json.at("projection").get<Index>();
  s.predictor = meaning_of(predictor_words, word("predict"));
  s.neighbours = json.at("neighbours").get<Index>();
  s.distance = meaning_of(distance_words, word("distance"));
  s.weighting = meaning_of(weighting_words, word("weighting"));
  s.calibrate = json.at("calibrate").get<bool>();
  s.compat = json.at("compat").get<std::vector<std::string>>();
  s.math = meaning_of(common::math_words, word("math"));
  s.seed = json.at("seed").get<std::uint64_t>();
  s.jitter = json.at("jitter").get<double>();
  s.flip = json.at("flip").get<bool>();
  s.rotation = json.at("rotation").get<double>();
  s.complete();
  return s;
}

}  // namespace mclstexp
