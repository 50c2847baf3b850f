#pragma once

// The models of one run: for every fold of the training samples (or the validation samples given) and every member an
// mclSTExp from its own seed, stopped on the fold's validation samples. Their predictions are averaged.
//
//   retrieval   a test spot's image embedding queries the spot embeddings of all training spots; the expression of the
//               k nearest, weighted (retrieval/neighbours.hpp)
//   linear      ridge regression of expression on the image embeddings of the training spots
//   auto        of the two, the one with the higher correlation on validation samples
//   calibrated  y = mean_g + slope_g (prediction - mean_g), slopes from what members predicted for samples that they
//               were not trained on (common/calibration.hpp)

#include "image_branch.hpp"
#include "image_network.hpp"
#include "settings.hpp"
#include "trainer.hpp"

#include "common/calibration.hpp"
#include "common/interrupt.hpp"
#include "common/member_plan.hpp"
#include "common/progress.hpp"
#include "common/run_log.hpp"
#include "common/study.hpp"

#include <eosin/core/version.hpp>
#include <eosin/data/normalisation.hpp>
#include <eosin/eval/controls.hpp>
#include <eosin/eval/correlation.hpp>
#include <eosin/eval/ridge.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/file.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace mclstexp {

using eosin::Vector;

inline ModelOptions model_options(const Settings& settings, Index genes, Index features, Index x_rows, Index y_rows) {
  ModelOptions options;
  options.genes = genes;
  options.encoder = settings.spot_encoder;
  options.depth = settings.depth;
  options.heads = settings.heads;
  options.head_width = settings.head_width;
  options.position = settings.position;
  options.x_rows = x_rows;
  options.y_rows = y_rows;
  options.image_features = features;
  options.projection = settings.projection;
  options.normalize = settings.normalize;
  options.temperature = settings.temperature;
  options.learned_temperature = settings.learned_temperature;
  options.image_weight = settings.image_weight;
  return options;
}

/// Log-normalised expression [N x G] of a sample's spots by both predictors, and the neighbours of the first member.
struct Prediction {
  Matrix<float> retrieval;
  Matrix<float> linear;
  eosin::retrieval::Neighbours<float> neighbours;
};

class Ensemble {
 public:
  Ensemble(eosin::CpuContext& context, Settings settings, Index inputs, std::vector<std::string> genes)
      : context_(&context), settings_(std::move(settings)), inputs_(inputs), genes_(std::move(genes)) {}

  const std::vector<report::Epoch>& epochs() const { return log_.epochs(); }
  Index members() const { return static_cast<Index>(members_.size()); }
  const Settings& settings() const { return settings_; }
  const std::vector<std::string>& genes() const { return genes_; }

  /// Trains all members, writing model/ and log.jsonl in `out` as it goes; continues what is there if settings.resume.
  void train(const study::Study& study, const std::filesystem::path& out) {
    prepare(study);
    const std::uint64_t fingerprint = study::training_fingerprint(study, true);
    const auto folder = out / "model";
    const auto checkpoint = folder / "checkpoint.safetensors";
    std::size_t first = 0;
    nlohmann::json state;
    if (settings_.resume && std::filesystem::exists(checkpoint)) {
      state = common::read_checkpoint(checkpoint, to_json(settings_), fingerprint, common::products_of(*context_));
      first = state.at("member").get<std::size_t>();
      log_.resume(out / "log.jsonl", first, state.at("epoch").get<Index>());
    }
    const auto plans =
        study::plan_members(study, {settings_.folds.value(), settings_.members, settings_.seed, settings_.seed});
    // What an earlier run found does not belong to the model that is trained now.
    common::remove_results(out);
    if (state.is_null()) {
      remove_members(folder);
      log_.start(out / "log.jsonl");
    }
    const Index total = settings_.epochs.value() * static_cast<Index>(plans.size());
    common::ProgressOptions shown;
    if (settings_.quiet) shown.style = common::ProgressStyle::silent;
    shown.start = static_cast<Index>(first) * settings_.epochs.value();
    common::Progress progress("train", total, "epochs", std::move(shown));
    for (std::size_t i = 0; i < plans.size(); ++i) {
      add_member(plans[i].seed);
      if (members_[i].network && !settings_.weights.empty()) members_[i].network->load(settings_.weights);
      if (i < first) {
        load_parameters(member_file(folder, i), *members_[i].parameters, members_[i].network.get());
      } else {
        const nlohmann::json extra{{"settings", to_json(settings_)},
                                   {"member", i},
                                   {"data", fingerprint},
                                   {"products", common::products_of(*context_)}};
        train_member(study, plans[i], i, checkpoint, i == first && !state.is_null(), extra, progress);
      }
      save_parameters(member_file(folder, i), *members_[i].parameters, members_[i].network.get());
      trained_ = i + 1;
    }
    progress.finish();
    embed_keys(study);
    fit_linear(study, plans);
    validate_predictors(study, plans);
  }

  /// The predictor that is asked for, or was chosen on validation samples.
  Predictor predictor() const { return chosen_; }
  /// Mean Pearson correlation per gene on validation samples that members were not trained on; NaN without any.
  double validated(Predictor predictor) const {
    return predictor == Predictor::retrieval ? retrieval_pearson_ : linear_pearson_;
  }

  /// Averages the members.
  Prediction predict(const study::Sample& sample) {
    const Index n = sample.size();
    Prediction prediction{Matrix<float>(n, gene_count()), Matrix<float>(n, gene_count()), {}};
    Matrix<double> retrieved(n, gene_count()), linear(n, gene_count());
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const auto queries = embed_images(i, sample);
      auto neighbours = find(members_[i].keys.view(), queries.view());
      add_expression(neighbours, key_expression_.view(), retrieved);
      add_linear(i, queries.view(), linear);
      if (i == 0) prediction.neighbours = std::move(neighbours);
    }
    finish(retrieved, retrieval_slope_, prediction.retrieval);
    finish(linear, linear_slope_, prediction.linear);
    return prediction;
  }

  /// Writes what predict needs beside the members' files: model.json and ensemble.safetensors.
  void save(const std::filesystem::path& folder, const study::Study& study,
            const std::optional<eosin::data::Standardiser>& standardiser) const {
    eosin::io::SafeTensorsWriter writer;
    writer.add("mean", mean_);
    writer.add("keys/expression", key_expression_);
    if (!retrieval_slope_.empty()) {
      writer.add("calibration/retrieval", retrieval_slope_);
      writer.add("calibration/linear", linear_slope_);
    }
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const auto name = "member-" + std::to_string(i);
      writer.add(name + "/keys", members_[i].keys);
      writer.add(name + "/linear/weight", members_[i].weight);
      writer.add(name + "/linear/bias", members_[i].bias);
    }
    if (standardiser) {
      writer.add("features/mean", standardiser->mean());
      writer.add("features/inverse_deviation", standardiser->inverse_deviation());
    }
    writer.write(folder / "ensemble.safetensors");
    nlohmann::json keys = nlohmann::json::array();
    for (const auto& [sample, row] : keys_) keys.push_back({sample, row});
    const nlohmann::json json{{"format", "eosin mclstexp"},
                              {"version", eosin::version},
                              {"settings", to_json(settings_)},
                              {"genes", genes_},
                              {"features", study.feature_names},
                              {"inputs", inputs_},
                              {"position_rows", {x_rows(), y_rows()}},
                              {"predictor", word_of(predictor_words, chosen_)},
                              {"keys", keys},
                              {"members", members_.size()}};
    eosin::io::write_file(folder / "model.json", json.dump(1) + "\n");
  }

  /// The settings of a model in `folder` that prediction needs. Throws FileError, ParseError.
  static Settings read_settings(const std::filesystem::path& folder) {
    const auto path = folder / "model.json";
    try {
      const auto json = nlohmann::json::parse(eosin::io::read_file(path));
      if (!json.is_object() || json.value("format", "") != "eosin mclstexp")
        throw eosin::ParseError(path.string() + ": is not a model of mclstexp");
      return settings_for_prediction(json.at("settings"));
    } catch (const nlohmann::json::exception& error) {
      throw eosin::ParseError(path.string() + ": " + error.what());
    } catch (const eosin::ValueError& error) {
      throw eosin::ParseError(path.string() + ": settings: " + error.what());
    }
  }

  /// Reads what save() and train() wrote. `standardiser` receives the training's, where features are standardised by
  /// it.
  static Ensemble load(eosin::CpuContext& context, const std::filesystem::path& folder,
                       std::vector<std::string>& feature_names,
                       std::optional<eosin::data::Standardiser>& standardiser) {
    const auto path = folder / "model.json";
    auto settings = read_settings(folder);
    try {
      const auto json = nlohmann::json::parse(eosin::io::read_file(path));
      feature_names = json.at("features").get<std::vector<std::string>>();
      Ensemble ensemble(context, std::move(settings), json.at("inputs").get<Index>(),
                        json.at("genes").get<std::vector<std::string>>());
      ensemble.chosen_ = meaning_of(predictor_words, json.at("predictor").get<std::string>());
      const auto& rows = json.at("position_rows");
      ensemble.loaded_rows_ = {rows.at(0).get<Index>(), rows.at(1).get<Index>()};
      for (const auto& key : json.at("keys"))
        ensemble.keys_.emplace_back(key.at(0).get<std::string>(), key.at(1).get<Index>());
      const auto file = eosin::io::SafeTensors::read(folder / "ensemble.safetensors");
      const Index genes = ensemble.gene_count(), keys = static_cast<Index>(ensemble.keys_.size());
      const Index width = ensemble.settings_.projection;
      ensemble.mean_ = Vector<double>(genes);
      file.copy_to<double>("mean", ensemble.mean_.view());
      ensemble.key_expression_ = Matrix<float>(keys, genes);
      file.copy_to<float>("keys/expression", ensemble.key_expression_.flat());
      if (file.contains("calibration/retrieval")) {
        ensemble.retrieval_slope_ = Vector<double>(genes);
        ensemble.linear_slope_ = Vector<double>(genes);
        file.copy_to<double>("calibration/retrieval", ensemble.retrieval_slope_.view());
        file.copy_to<double>("calibration/linear", ensemble.linear_slope_.view());
      }
      for (std::size_t i = 0; i < json.at("members").get<std::size_t>(); ++i) {
        ensemble.add_member(0);
        auto& member = ensemble.members_.back();
        load_parameters(member_file(folder, i), *member.parameters, member.network.get());
        ensemble.trained_ = i + 1;
        const auto name = "member-" + std::to_string(i);
        member.keys = Matrix<float>(keys, width);
        member.weight = Matrix<double>(width, genes);
        member.bias = Vector<double>(genes);
        file.copy_to<float>(name + "/keys", member.keys.flat());
        file.copy_to<double>(name + "/linear/weight", member.weight.flat());
        file.copy_to<double>(name + "/linear/bias", member.bias.view());
      }
      if (file.contains("features/mean")) {
        Vector<double> mean(ensemble.inputs_), inverse(ensemble.inputs_);
        file.copy_to<double>("features/mean", mean.view());
        file.copy_to<double>("features/inverse_deviation", inverse.view());
        standardiser.emplace(std::move(mean), std::move(inverse));
      }
      return ensemble;
    } catch (const nlohmann::json::exception& error) {
      throw eosin::ParseError(path.string() + ": " + error.what());
    }
  }

 private:
  struct Member {
    std::unique_ptr<eosin::Parameters<float>> parameters;
    std::unique_ptr<ImageNetwork> network;  ///< where one is trained
    std::unique_ptr<Model<float>> model;
    Matrix<float> keys;     ///< spot embeddings of all training spots
    Matrix<double> weight;  ///< [projection x genes]
    Vector<double> bias;    ///< [genes]
  };

  Index gene_count() const { return static_cast<Index>(genes_.size()); }
  Index x_rows() const { return loaded_rows_.first > 0 ? loaded_rows_.first : std::max(Index{1}, rows_[0].rows()); }
  Index y_rows() const { return loaded_rows_.second > 0 ? loaded_rows_.second : std::max(Index{1}, rows_[1].rows()); }
  static std::filesystem::path member_file(const std::filesystem::path& folder, std::size_t member) {
    return folder / ("member-" + std::to_string(member) + ".safetensors");
  }
  static void remove_members(const std::filesystem::path& folder) {
    for (std::size_t i = 0; std::filesystem::remove(member_file(folder, i)); ++i) {
    }
    std::filesystem::remove(folder / "checkpoint.safetensors");
  }

  void add_member(std::uint64_t seed) {
    auto& member = members_.emplace_back();
    member.parameters = std::make_unique<eosin::Parameters<float>>();
    Index inputs = inputs_;
    if (settings_.trains_network()) {
      member.network = std::make_unique<ImageNetwork>(*member.parameters, settings_);
      inputs = member.network->channels();
    }
    member.model = std::make_unique<Model<float>>(
        model_options(settings_, gene_count(), inputs, x_rows(), y_rows()), member.parameters.get());
    member.parameters->allocate(*context_, seed);
  }

  /// Inputs of the spot branch for every training and validation sample, and the keys' expression.
  void prepare(const study::Study& study) {
    std::vector<std::string> measured = study.split.train;
    measured.insert(measured.end(), study.split.validate.begin(), study.split.validate.end());
    std::vector<Index> values[2];
    for (const auto* sample : study.of(measured))
      for (Index i = 0; i < sample->size(); ++i)
        for (int axis = 0; axis < 2; ++axis) values[axis].push_back(coordinate(*sample, i, axis));
    for (int axis = 0; axis < 2; ++axis) rows_[axis] = eosin::layers::CompactRows(values[axis]);

    std::vector<MatrixView<const float>> expression;
    for (const auto* sample : study.of(study.split.train)) expression.push_back(sample->expression.view());
    const std::span<const MatrixView<const float>> training(expression);
    mean_ = eosin::eval::training_mean<float>(*context_, training);
    std::optional<eosin::data::Standardiser> standardiser;
    if (settings_.standardise_expression)
      standardiser = eosin::data::Standardiser::fit<float>(*context_, training);
    inputs_of_.resize(study.samples.size());
    for (const auto* sample : study.of(measured)) {
      auto& spots = inputs_of_[place(study, *sample)];
      spots.expression = sample->expression;
      if (standardiser) standardiser->apply(*context_, spots.expression.view(), spots.expression.view());
      spots.centres = Matrix<float>(sample->size(), 2);
      if (settings_.position != Position::none) spots.positions = Matrix<Index>(sample->size(), 2);
      const double pitch = sample->pitch > 0 ? sample->pitch : 1.0;
      for (Index i = 0; i < sample->size(); ++i) {
        spots.centres(i, 0) = static_cast<float>(sample->x[static_cast<std::size_t>(i)] / pitch);
        spots.centres(i, 1) = static_cast<float>(sample->y[static_cast<std::size_t>(i)] / pitch);
        for (int axis = 0; axis < 2 && settings_.position != Position::none; ++axis) {
          const Index value = coordinate(*sample, i, axis);
          spots.positions(i, axis) = settings_.position == Position::learned ? rows_[axis].row(value) : value;
        }
      }
    }
    keys_.clear();
    for (const auto* sample : study.of(study.split.train))
      for (Index i = 0; i < sample->size(); ++i) keys_.emplace_back(sample->name, i);
    key_expression_ = Matrix<float>(static_cast<Index>(keys_.size()), gene_count());
    Index row = 0;
    for (const auto* sample : study.of(study.split.train)) {
      auto rows = key_expression_.view().middle_rows(row, sample->size());
      if (settings_.has_compat("gene-axis")) {
        eosin::data::normalise(*context_, sample->counts.view(), rows, release_evaluation());
      } else {
        std::copy_n(sample->expression.data(), sample->expression.size(), rows.data());
      }
      row += sample->size();
    }
  }

 public:
  /// How the evaluation files of the release normalise: each gene over the section.
  static eosin::data::NormalisationOptions release_evaluation() {
    eosin::data::NormalisationOptions options;
    options.axis = eosin::data::NormalisationAxis::gene;
    options.target = 1e4;
    options.log = eosin::data::LogTransform::log10;
    return options;
  }

 private:
  static std::size_t place(const study::Study& study, const study::Sample& sample) {
    return static_cast<std::size_t>(&sample - study.samples.data());
  }
  /// The spot's place on the array, in whole steps.
  static Index coordinate(const study::Sample& sample, Index spot, int axis) {
    const auto& values = axis == 0 ? sample.array_x : sample.array_y;
    return values[static_cast<std::size_t>(spot)];
  }

  void train_member(const study::Study& study, const study::MemberPlan& plan, std::size_t member,
                    const std::filesystem::path& checkpoint, bool resume, const nlohmann::json& extra,
                    common::Progress& progress) {
    std::vector<const SpotInputs*> spots;
    for (const auto* sample : study.of(plan.train)) spots.push_back(&inputs_of_[place(study, *sample)]);
    TrainOptions options;
    options.epochs = settings_.epochs.value();
    options.batch = settings_.batch.value();
    options.sentences = settings_.sentences;
    options.optimiser = {settings_.optimiser, settings_.weight_decay};
    options.learning_rate = settings_.learning_rate;
    options.clip_norm = settings_.clip_norm;
    options.dropout = settings_.dropout;
    options.positive_radius = settings_.positive_radius;
    options.patience = settings_.patience;
    options.seed = plan.seed;
    auto images = image_branch(study, plan, member);
    std::function<double()> validate;
    if (!plan.validate.empty()) validate = [&] { return validation(study, plan, member); };
    Trainer trainer(*context_, *members_[member].model, images, std::move(spots), validate, options);
    if (resume) trainer.load(checkpoint);
    const Index before = static_cast<Index>(member) * settings_.epochs.value();
    const Index checkpoint_every = settings_.checkpoint_every.value();
    // An epoch through a network takes minutes: its steps are shown, and Ctrl-C does not wait for its end if
    // there is a checkpoint to come back to.
    std::function<void(Index, Index)> between_steps;
    if (members_[member].network) {
      if (!resume && checkpoint_every > 0) trainer.save(checkpoint, extra);
      between_steps = [&](Index step, Index steps) {
        char note[96];
        std::snprintf(note, sizeof note, "member %zu  epoch %lld, step %lld of %lld", member + 1,
                      static_cast<long long>(trainer.epoch() + 1), static_cast<long long>(step),
                      static_cast<long long>(steps));
        progress.update(before + trainer.epoch(), note);
        if (checkpoint_every > 0 && common::Interrupt::requested())
          throw eosin::Cancelled("stopped within epoch " + std::to_string(trainer.epoch() + 1) +
                                 "; run the same command with --resume to repeat the epochs since the last checkpoint");
      };
    }
    while (!trainer.done()) {
      const auto record = trainer.run_epoch(between_steps);
      log_.write({{"member", member},
                  {"epoch", record.epoch},
                  {"loss", record.loss},
                  {"validation", std::isfinite(record.validation) ? nlohmann::ordered_json(record.validation)
                                                                  : nlohmann::ordered_json()},
                  {"learning_rate", record.learning_rate},
                  {"gradient_norm", record.gradient_norm},
                  {"best", record.best},
                  {"seconds", record.seconds}});
      char note[96];
      std::snprintf(note, sizeof note, "member %zu  loss %.4f  validation %.4f", member + 1, record.loss,
                    record.validation);
      progress.update(before + trainer.epoch(), note);
      const bool stop = common::Interrupt::requested();
      if (stop || (checkpoint_every > 0 && trainer.epoch() % checkpoint_every == 0))
        trainer.save(checkpoint, extra);
      if (stop)
        throw eosin::Cancelled("stopped in epoch " + std::to_string(trainer.epoch()) +
                               "; run the same command with --resume to continue");
    }
    // The checkpoint names this member as finished before its file is written: a kill between the two repeats no epoch.
    trainer.save(checkpoint, extra);
    log_.keep(static_cast<Index>(member), trainer.best_epoch());
    trainer.restore_best();
    // What the network gave in the last epoch is not what the kept one gives.
    std::erase_if(encoded_, [&](const auto& features) { return features.first.first == member; });
  }

  ImageBranch image_branch(const study::Study& study, const study::MemberPlan& plan, std::size_t member) const {
    if (members_[member].network) {
      std::vector<std::vector<eosin::vision::PatchSource>> patches;
      for (const auto* sample : study.of(plan.train)) patches.push_back(patch_sources(settings_, *sample));
      return ImageBranch(
          TrainedNetwork(*members_[member].network, patches, loader_options(settings_, true, plan.seed)));
    }
    std::vector<MatrixView<const float>> features;
    for (const auto* sample : study.of(plan.train)) features.push_back(sample->features.view());
    return ImageBranch(GivenFeatures(std::move(features), settings_.feature_noise));
  }

  /// 1 - mean Pearson correlation per gene of what the member retrieves for its validation samples from its training
  /// samples.
  double validation(const study::Study& study, const study::MemberPlan& plan, std::size_t member) {
    const auto train = study.of(plan.train);
    const auto keys = spot_embeddings(study, member, train);
    const auto expression = key_expression_of(train);
    double sum = 0;
    for (const auto* sample : study.of(plan.validate)) {
      const auto queries = embed_images(member, *sample);
      Matrix<double> predicted(sample->size(), gene_count());
      add_expression(find(keys.view(), queries.view()), expression.view(), predicted);
      sum += pearson(predicted, *sample);
    }
    return 1.0 - sum / static_cast<double>(plan.validate.size());
  }

  double pearson(const Matrix<double>& predicted, const study::Sample& sample) {
    Matrix<float> single(predicted.rows(), predicted.cols());
    std::transform(predicted.data(), predicted.data() + predicted.size(), single.data(),
                   [](double value) { return static_cast<float>(value); });
    const double mean =
        eosin::eval::mean_of(eosin::eval::pearson_per_gene(*context_, single.view(), sample.expression.view())).mean;
    return std::isfinite(mean) ? mean : 0.0;  // the same everywhere for every gene: no correlation
  }

  static Index spots_of(const std::vector<const study::Sample*>& samples) {
    Index n = 0;
    for (const auto* sample : samples) n += sample->size();
    return n;
  }
  MatrixView<const float> key_expression_of(const study::Sample& sample) const {
    const auto first = std::find(keys_.begin(), keys_.end(), std::pair(sample.name, Index{0}));
    return std::as_const(key_expression_).view().middle_rows(first - keys_.begin(), sample.size());
  }
  Matrix<float> key_expression_of(const std::vector<const study::Sample*>& samples) const {
    Matrix<float> all(spots_of(samples), gene_count());
    Index row = 0;
    for (const auto* sample : samples) {
      const auto rows = key_expression_of(*sample);
      std::copy_n(rows.data(), rows.size(), all.row(row).data());
      row += sample->size();
    }
    return all;
  }

  /// Embeddings of the spots of whole samples, one after the other; each sample is a sentence.
  Matrix<float> spot_embeddings(const study::Study& study, std::size_t member,
                                const std::vector<const study::Sample*>& samples) {
    Matrix<float> embeddings(spots_of(samples), settings_.projection);
    Index row = 0;
    for (const auto* sample : samples) {
      const auto& spots = inputs_of_[place(study, *sample)];
      std::vector<Index> offsets{0};
      const Index sentence = settings_.has_compat("sentences-of-32") ? 32 : sample->size();
      while (offsets.back() < sample->size()) offsets.push_back(std::min(sample->size(), offsets.back() + sentence));
      members_[member].model->embed_spots(*context_, spots.expression.view(), spots.positions.view(), offsets,
                                          embeddings.view().middle_rows(row, sample->size()));
      row += sample->size();
    }
    return embeddings;
  }

  Matrix<float> embed_images(std::size_t member, const study::Sample& sample) {
    Matrix<float> embeddings(sample.size(), settings_.projection);
    members_[member].model->embed_images(*context_, features_of(member, sample), embeddings.view());
    return embeddings;
  }
  /// What the image head gets. The features of a member's network are kept once it is trained.
  MatrixView<const float> features_of(std::size_t member, const study::Sample& sample) {
    if (!members_[member].network) return sample.features.view();
    auto& features = encoded_[{member, sample.name}];
    if (features.empty() || member >= trained_)
      features = encode_sample(*context_, settings_, *members_[member].network, sample);
    return std::as_const(features).view();
  }

  eosin::retrieval::Neighbours<float> find(MatrixView<const float> keys, MatrixView<const float> queries) {
    return eosin::retrieval::find_neighbours<float>(*context_, keys, queries,
                                                    {.k = std::min(settings_.neighbours, keys.rows()),
                                                     .distance = settings_.distance,
                                                     .weighting = settings_.weighting});
  }

  void add_expression(const eosin::retrieval::Neighbours<float>& neighbours, MatrixView<const float> expression,
                      Matrix<double>& sum) {
    Matrix<float> predicted(sum.rows(), sum.cols());
    eosin::retrieval::weighted_expression<float>(*context_, expression, neighbours.indices.view(),
                                                 neighbours.weights.view(), predicted.view());
    for (Index k = 0; k < sum.size(); ++k) sum.data()[k] += static_cast<double>(predicted.data()[k]);
  }

  void embed_keys(const study::Study& study) {
    for (std::size_t i = 0; i < members_.size(); ++i)
      members_[i].keys = spot_embeddings(study, i, study.of(study.split.train));
  }

  /// Ridge regression of expression on the image embeddings of each member's training samples, alpha by leaving out
  /// one of them in turn.
  void fit_linear(const study::Study& study, const std::vector<study::MemberPlan>& plans) {
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const auto train = study.of(plans[i].train);
      std::vector<Matrix<float>> embeddings;
      for (const auto* sample : train) embeddings.push_back(embed_images(i, *sample));
      std::vector<eosin::eval::ProbeSection<float>> sections;
      for (std::size_t s = 0; s < train.size(); ++s)
        sections.push_back({std::as_const(embeddings[s]).view(), key_expression_of(*train[s])});
      const std::span<const eosin::eval::ProbeSection<float>> span(sections);
      const double alpha =
          sections.size() >= 2 ? eosin::eval::choose_ridge_alpha<float>(*context_, span).alpha : 1000.0;
      const auto ridge = eosin::eval::fit_ridge<float>(*context_, span, alpha);
      // As one affine map of the embedding, which is what is saved: the images of 0 and of the unit vectors.
      const Index width = settings_.projection;
      Matrix<float> probe(width + 1, width), image(width + 1, gene_count());
      for (Index d = 0; d < width; ++d) probe(d + 1, d) = 1.0f;
      ridge.predict(*context_, std::as_const(probe).view(), image.view());
      members_[i].bias = Vector<double>(gene_count());
      members_[i].weight = Matrix<double>(width, gene_count());
      for (Index g = 0; g < gene_count(); ++g) members_[i].bias[g] = static_cast<double>(image(0, g));
      for (Index d = 0; d < width; ++d)
        for (Index g = 0; g < gene_count(); ++g)
          members_[i].weight(d, g) = static_cast<double>(image(d + 1, g)) - members_[i].bias[g];
    }
  }

  void add_linear(std::size_t member, MatrixView<const float> embeddings, Matrix<double>& sum) {
    Matrix<double> wide(embeddings.rows(), embeddings.cols()), predicted(sum.rows(), sum.cols());
    for (Index r = 0; r < wide.rows(); ++r)
      for (Index c = 0; c < wide.cols(); ++c) wide(r, c) = static_cast<double>(embeddings(r, c));
    eosin::ops::gemm<double>(*context_, eosin::Transpose::no, eosin::Transpose::no, 1.0, wide.view(),
                             members_[member].weight.view(), 0.0, predicted.view());
    for (Index r = 0; r < sum.rows(); ++r)
      for (Index g = 0; g < sum.cols(); ++g) sum(r, g) += predicted(r, g) + members_[member].bias[g];
  }

  /// Mean over members, calibrated where slopes are known.
  void finish(const Matrix<double>& sum, const Vector<double>& slope, Matrix<float>& out) const {
    const double share = 1.0 / static_cast<double>(members_.size());
    for (Index r = 0; r < sum.rows(); ++r)
      for (Index g = 0; g < sum.cols(); ++g) {
        const double value = sum(r, g) * share;
        out(r, g) = static_cast<float>(slope.empty() ? value : mean_[g] + slope[g] * (value - mean_[g]));
      }
  }

  /// Correlations and slopes on the samples that members were validated on, retrieved from the other training samples.
  void validate_predictors(const study::Study& study, const std::vector<study::MemberPlan>& plans) {
    chosen_ = settings_.predictor == Predictor::automatic ? Predictor::retrieval : settings_.predictor;
    std::vector<std::string> judged;
    for (const auto& plan : plans)
      for (const auto& name : plan.validate)
        if (std::find(judged.begin(), judged.end(), name) == judged.end()) judged.push_back(name);
    if (judged.empty()) return;
    study::SlopeFit retrieved(gene_count()), linear(gene_count());
    double retrieval_pearson = 0, linear_pearson = 0;
    for (const auto& name : judged) {
      const auto& sample = study.at(name);
      Matrix<double> by_retrieval(sample.size(), gene_count()), by_line(sample.size(), gene_count());
      Index count = 0;
      for (std::size_t i = 0; i < plans.size(); ++i) {
        if (std::find(plans[i].validate.begin(), plans[i].validate.end(), name) == plans[i].validate.end()) continue;
        const auto train = study.of(plans[i].train);
        const auto keys = spot_embeddings(study, i, train);
        const auto queries = embed_images(i, sample);
        add_expression(find(keys.view(), queries.view()), key_expression_of(train).view(), by_retrieval);
        add_linear(i, queries.view(), by_line);
        ++count;
      }
      for (auto* sum : {&by_retrieval, &by_line})
        for (Index k = 0; k < sum->size(); ++k) sum->data()[k] /= static_cast<double>(count);
      const double share = 1.0 / static_cast<double>(judged.size());
      retrieval_pearson += share * pearson(by_retrieval, sample);
      linear_pearson += share * pearson(by_line, sample);
      retrieved.add<float>(std::as_const(by_retrieval).view(), sample.expression.view());
      linear.add<float>(std::as_const(by_line).view(), sample.expression.view());
    }
    retrieval_pearson_ = retrieval_pearson;
    linear_pearson_ = linear_pearson;
    if (settings_.predictor == Predictor::automatic && linear_pearson > retrieval_pearson) chosen_ = Predictor::linear;
    // The release's expression is on a scale of its own, which slopes from the other would not fit.
    if (!settings_.calibrate || settings_.has_compat("gene-axis")) return;
    retrieval_slope_ = retrieved.slopes();
    linear_slope_ = linear.slopes();
  }

  eosin::CpuContext* context_;
  Settings settings_;
  Index inputs_;
  std::vector<std::string> genes_;
  std::vector<Member> members_;
  std::vector<SpotInputs> inputs_of_;  ///< per sample of the study
  eosin::layers::CompactRows rows_[2];
  std::pair<Index, Index> loaded_rows_{0, 0};
  std::vector<std::pair<std::string, Index>> keys_;
  Matrix<float> key_expression_;
  std::map<std::pair<std::size_t, std::string>, Matrix<float>> encoded_;  ///< by member and sample
  std::size_t trained_ = 0;                                                ///< members that are trained
  Vector<double> mean_;  ///< training mean of each gene
  Vector<double> retrieval_slope_, linear_slope_;
  Predictor chosen_ = Predictor::retrieval;
  double retrieval_pearson_ = std::numeric_limits<double>::quiet_NaN();
  double linear_pearson_ = std::numeric_limits<double>::quiet_NaN();
  common::RunLog log_{{}, "1 - Pearson"};
};

}  // namespace mclstexp
