#pragma once

// The models of one run: for every fold of the training samples (or the validation samples given) and every member a
// CPNN from its own seed, stopped on the fold's validation samples. Their predictions are averaged.
//
// A correlation leaves position and scale of each gene open, so with the Pearson observation a member's prediction e is
// brought to z = (e - mean) / deviation over the training samples, and the average z to expression by a line per gene,
// y = mean_g + slope_g z, whose slope is fitted on validation samples only: on what members predicted for samples that
// they were not trained on. The other observations predict shares p of the library, and y = ln(1 + 1e4 p).

#include "prototype_source.hpp"
#include "settings.hpp"
#include "trainer.hpp"

#include "common/calibration.hpp"
#include "common/interrupt.hpp"
#include "common/member_plan.hpp"
#include "common/progress.hpp"
#include "common/run_log.hpp"

#include <eosin/core/version.hpp>
#include <eosin/eval/controls.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/file.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cpnn {

inline ModelOptions model_options(const Settings& settings, Index inputs, Index types, Index genes) {
  ModelOptions options;
  options.projector = settings.projector;
  options.inputs = inputs;
  options.hidden = settings.hidden;
  options.head_gain = settings.head_gain.value();
  options.types = types;
  options.genes = genes;
  options.prototypes = settings.source == PrototypeSource::scratch ? Prototypes::scratch : settings.prototype_mode;
  options.correction = settings.correction.value();
  options.prototype_regulariser = settings.prototype_regulariser;
  options.composition_regulariser = settings.has_compat("probabilities-as-logits")
                                        ? eosin::losses::CompositionLoss::cross_entropy_on_probabilities
                                        : settings.composition_regulariser;
  options.composition_level = settings.composition_level;
  options.observation = settings.observation.value();
  options.regulariser_weight = settings.regulariser_weight.value();
  options.composition_scale = settings.composition_scale;
  options.eps = settings.eps;
  options.mask_as_one = settings.has_compat("mask-as-one");
  return options;
}

/// One prediction: log-normalised expression [N x G], composition [N x C].
struct Prediction {
  Matrix<float> expression;
  Matrix<float> composition;
};

/// What turns a member's raw prediction into z (Pearson observation).
struct MemberScale {
  Vector<double> mean;
  Vector<double> inverse_deviation;
};

class Ensemble {
 public:
  Ensemble(eosin::CpuContext& context, Settings settings, FittedPrototypes prototypes, Index inputs,
           std::vector<std::string> genes)
      : context_(&context),
        settings_(std::move(settings)),
        prototypes_(std::move(prototypes)),
        inputs_(inputs),
        genes_(std::move(genes)),
        slope_(gene_count()),
        intercept_(gene_count()) {}

  const std::vector<report::Epoch>& epochs() const { return log_.epochs(); }
  const std::vector<std::string>& types() const { return prototypes_.types; }
  Index members() const { return static_cast<Index>(models_.size()); }
  bool calibrated() const { return settings_.observation == Observation::pearson; }

  /// Trains all members, writing model/ and log.jsonl in `out` as it goes; continues what is there if settings.resume.
  void train(const study::Study& study, const std::filesystem::path& out) {
    prepare_targets(study);
    split_seed_ = settings_.seed;
    if (settings_.has_compat("unseeded-split"))
      split_seed_ = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    fingerprint_ = study::training_fingerprint(study);
    const auto model_folder = out / "model";
    const auto checkpoint = model_folder / "checkpoint.safetensors";
    std::size_t first = 0;
    nlohmann::json state;
    if (settings_.resume && std::filesystem::exists(checkpoint)) {
      state = common::read_checkpoint(checkpoint, to_json(settings_), fingerprint_, common::products_of(*context_));
      first = state.at("member").get<std::size_t>();
      split_seed_ = state.value("split_seed", settings_.seed);
      log_.resume(out / "log.jsonl", first, state.at("epoch").get<Index>());
    }
    const auto plans = study::plan_members(study, {settings_.folds, settings_.members, settings_.seed, split_seed_});
    // What an earlier run found does not belong to the model that is trained now.
    common::remove_results(out);
    if (state.is_null()) {
      for (std::size_t i = 0; std::filesystem::remove(member_file(model_folder, i)); ++i) {
      }
      std::filesystem::remove(checkpoint);
      log_.start(out / "log.jsonl");
    }
    const Index total = settings_.epochs.value() * static_cast<Index>(plans.size());
    common::ProgressOptions shown;
    if (settings_.quiet) shown.style = common::ProgressStyle::silent;
    shown.start = static_cast<Index>(first) * settings_.epochs.value();
    common::Progress progress("train", total, "epochs", std::move(shown));
    for (std::size_t i = 0; i < plans.size(); ++i) {
      models_.push_back(make_model());
      models_.back().parameters().allocate(*context_, plans[i].seed);
      if (i < first) {
        load_member(member_file(model_folder, i), i);
      } else if (settings_.level == Level::slide) {
        train_member<Slide<float>>(study, plans[i], i, checkpoint, i == first && !state.is_null(), progress);
      } else {
        train_member<Section<float>>(study, plans[i], i, checkpoint, i == first && !state.is_null(), progress);
      }
      save_member(member_file(model_folder, i), i);
    }
    progress.finish();
    double selected = 0, counted = 0;
    for (const auto* sample : study.of(study.split.train)) {
      for (Index k = 0; k < sample->counts.size(); ++k) selected += static_cast<double>(sample->counts.data()[k]);
      for (const double library : sample->library) counted += library;
    }
    library_share_ = selected / counted;
    fit_scales(study);
    calibrate(study, plans);
  }

  /// Averages the members.
  Prediction predict(const study::Sample& sample) {
    const Index rows = sample.features.rows();
    Prediction prediction{Matrix<float>(rows, gene_count()), Matrix<float>(rows, type_count())};
    Matrix<double> sum(rows, gene_count());
    for (std::size_t i = 0; i < models_.size(); ++i) {
      Matrix<float> composition(rows, type_count());
      const auto expression = member_prediction(i, sample, composition.view());
      for (Index k = 0; k < sum.size(); ++k) sum.data()[k] += expression.data()[k];
      // From-scratch types of different members are not the same types: the first member stands for all.
      if (settings_.source != PrototypeSource::scratch || i == 0)
        for (Index k = 0; k < composition.size(); ++k) prediction.composition.data()[k] += composition.data()[k];
    }
    const double share = 1.0 / static_cast<double>(models_.size());
    for (Index r = 0; r < rows; ++r)
      for (Index g = 0; g < gene_count(); ++g) {
        const double mean = sum(r, g) * share;
        prediction.expression(r, g) = static_cast<float>(calibrated() ? intercept_[g] + slope_[g] * mean : mean);
      }
    if (settings_.source != PrototypeSource::scratch)
      for (Index k = 0; k < prediction.composition.size(); ++k)
        prediction.composition.data()[k] *= static_cast<float>(share);
    return prediction;
  }

  /// Slide level: predicted shares of the slide's library [genes], mean over members.
  Vector<double> predict_slide(const study::Sample& sample) {
    Vector<double> shares(gene_count());
    const auto patches = judged_patches(sample);
    for (auto& model : models_) {
      Matrix<float> composition(patches.rows(), type_count()), pooled(1, type_count()), v(1, gene_count());
      model.compose(*context_, patches, composition.view());
      eosin::ops::column_means<float>(*context_, composition.view(), pooled.row(0));
      model.express(*context_, pooled.view(), v.view());
      double total = 0;
      for (Index g = 0; g < gene_count(); ++g) total += static_cast<double>(v(0, g));
      for (Index g = 0; g < gene_count(); ++g)
        shares[g] += static_cast<double>(v(0, g)) / total / static_cast<double>(models_.size());
    }
    return shares;
  }

  /// Writes what predict needs beside the members' files: model.json and ensemble.safetensors.
  void save(const std::filesystem::path& folder, const study::Study& study,
            const std::optional<eosin::data::Standardiser>& standardiser) const {
    eosin::io::SafeTensorsWriter writer;
    writer.add("calibration/slope", slope_);
    writer.add("calibration/intercept", intercept_);
    writer.add("calibration/library_share", {1}, std::vector<double>{library_share_});
    if (!prototypes_.expression.empty()) writer.add("prototypes", prototypes_.expression);
    for (std::size_t i = 0; i < scales_.size(); ++i) {
      writer.add("member-" + std::to_string(i) + "/mean", scales_[i].mean);
      writer.add("member-" + std::to_string(i) + "/inverse_deviation", scales_[i].inverse_deviation);
    }
    if (standardiser) {
      writer.add("features/mean", standardiser->mean());
      writer.add("features/inverse_deviation", standardiser->inverse_deviation());
    }
    writer.write(folder / "ensemble.safetensors");
    const nlohmann::json json{{"format", "eosin cpnn"},
                              {"version", eosin::version},
                              {"settings", to_json(settings_)},
                              {"genes", genes_},
                              {"types", prototypes_.types},
                              {"features", study.feature_names},
                              {"members", models_.size()},
                              {"scratch", settings_.source == PrototypeSource::scratch}};
    eosin::io::write_file(folder / "model.json", json.dump(1) + "\n");
  }

  /// The settings of a model in `folder` that prediction needs. Throws FileError, ParseError.
  static Settings read_settings(const std::filesystem::path& folder) {
    const auto path = folder / "model.json";
    try {
      const auto json = nlohmann::json::parse(eosin::io::read_file(path));
      if (!json.is_object() || json.value("format", "") != "eosin cpnn")
        throw eosin::ParseError(path.string() + ": is not a model of cpnn");
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
      settings.source = json.at("scratch").get<bool>() ? PrototypeSource::scratch : PrototypeSource::folder;
      feature_names = json.at("features").get<std::vector<std::string>>();
      const auto file = eosin::io::SafeTensors::read(folder / "ensemble.safetensors");
      FittedPrototypes prototypes{json.at("types").get<std::vector<std::string>>(), {}};
      const auto genes = json.at("genes").get<std::vector<std::string>>();
      if (file.contains("prototypes")) {
        prototypes.expression =
            Matrix<double>(static_cast<Index>(prototypes.types.size()), static_cast<Index>(genes.size()));
        file.copy_to<double>("prototypes", prototypes.expression.flat());
      }
      Ensemble ensemble(context, settings, std::move(prototypes), static_cast<Index>(feature_names.size()), genes);
      file.copy_to<double>("calibration/slope", ensemble.slope_.view());
      file.copy_to<double>("calibration/intercept", ensemble.intercept_.view());
      ensemble.library_share_ = file.values<double>("calibration/library_share").at(0);
      for (std::size_t i = 0; i < json.at("members").get<std::size_t>(); ++i) {
        ensemble.models_.push_back(ensemble.make_model());
        ensemble.models_.back().parameters().allocate(context, 0);
        ensemble.load_member(member_file(folder, i), i);
        const auto name = "member-" + std::to_string(i);
        if (file.contains(name + "/mean")) {
          MemberScale scale{Vector<double>(ensemble.gene_count()), Vector<double>(ensemble.gene_count())};
          file.copy_to<double>(name + "/mean", scale.mean.view());
          file.copy_to<double>(name + "/inverse_deviation", scale.inverse_deviation.view());
          ensemble.scales_.push_back(std::move(scale));
        }
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

  const Settings& settings() const { return settings_; }
  const std::vector<std::string>& genes() const { return genes_; }

 private:
  Index gene_count() const { return static_cast<Index>(genes_.size()); }
  Index type_count() const { return static_cast<Index>(prototypes_.types.size()); }
  static std::filesystem::path member_file(const std::filesystem::path& folder, std::size_t member) {
    return folder / ("member-" + std::to_string(member) + ".safetensors");
  }
  Model<float> make_model() const {
    const auto start = settings_.prototype_scale == PrototypeScale::log ? on_log_scale(prototypes_.expression)
                                                                        : prototypes_.expression;
    return Model<float>(model_options(settings_, inputs_, type_count(), gene_count()), start.view(), {}, {},
                        settings_.seed * 1000 + models_.size() + 1);
  }

  /// Divides counts by their sum; none stay none.
  static void to_shares(VectorView<float> counts) {
    double total = 0;
    for (Index g = 0; g < counts.size(); ++g) total += static_cast<double>(counts[g]);
    if (total > 0)
      for (Index g = 0; g < counts.size(); ++g) counts[g] = static_cast<float>(static_cast<double>(counts[g]) / total);
  }

  /// Targets in the form that the losses take, per sample of the study.
  void prepare_targets(const study::Study& study) {
    targets_.resize(study.samples.size());
    compositions_.resize(study.samples.size());
    bulk_.resize(study.samples.size());
    bulk_composition_.resize(study.samples.size());
    shares_.resize(study.samples.size());
    for (std::size_t s = 0; s < study.samples.size(); ++s) {
      const auto& sample = study.samples[s];
      if (!sample.measured) continue;
      targets_[s] = eosin::losses::pearson_target<float>(*context_, sample.expression.view());
      bulk_[s] = Vector<float>(gene_count());
      for (Index i = 0; i < sample.size(); ++i)
        for (Index g = 0; g < gene_count(); ++g) bulk_[s][g] += sample.counts(i, g);
      if (settings_.observation == Observation::mean_squared_error) {
        shares_[s] = sample.counts;
        for (Index i = 0; i < sample.size(); ++i) to_shares(shares_[s].row(i));
        to_shares(bulk_[s].view());
      }
      if (sample.composition.empty() || settings_.source == PrototypeSource::scratch ||
          sample.types != prototypes_.types)
        continue;
      Vector<float> mean(type_count());
      Matrix<float> shares(sample.size(), type_count());
      for (Index i = 0; i < sample.size(); ++i) {
        double sum = 0;
        for (Index t = 0; t < type_count(); ++t) sum += sample.composition(i, t);
        if (sum > 0)
          for (Index t = 0; t < type_count(); ++t) mean[t] += static_cast<float>(sample.composition(i, t) / sum);
      }
      // A spot without a reference is compared with the mean of its section.
      for (Index i = 0; i < sample.size(); ++i) {
        const bool has = sample.has_composition[static_cast<std::size_t>(i)] != 0;
        for (Index t = 0; t < type_count(); ++t)
          shares(i, t) = has ? static_cast<float>(sample.composition(i, t)) : mean[t];
      }
      compositions_[s] = std::move(shares);
      bulk_composition_[s] = std::move(mean);
    }
  }

  /// The patches of a validation or test slide: all, or with the compat option 4,096 random ones.
  MatrixView<const float> judged_patches(const study::Sample& sample) const {
    constexpr Index most = 4096;
    const auto all = sample.patches();
    if (!settings_.has_compat("cut-to-4096") || all.rows() <= most) return all;
    auto& cut = cut_patches_[sample.name];
    if (cut.empty()) {
      const auto order = eosin::RandomStream(settings_.seed, 0x637574u).permutation(all.rows());
      cut = Matrix<float>(most, all.cols());
      for (Index r = 0; r < most; ++r)
        std::copy_n(all.row(order[static_cast<std::size_t>(r)]).data(), all.cols(), cut.row(r).data());
    }
    return std::as_const(cut).view();
  }

  template <class Item>
  Item make_item(const study::Study& study, const std::string& name, bool validation) const {
    const auto s = static_cast<std::size_t>(&study.at(name) - study.samples.data());
    const auto& sample = study.samples[s];
    if constexpr (std::is_same_v<Item, Slide<float>>) {
      return {validation ? judged_patches(sample) : sample.patches(), bulk_[s].view(),
              bulk_composition_[s].empty() ? eosin::VectorView<const float>{} : bulk_composition_[s].view()};
    } else {
      MatrixView<const float> composition;
      if (!compositions_[s].empty())
        composition = settings_.composition_level == CompositionLevel::patch
                          ? compositions_[s].view()
                          : MatrixView<const float>(bulk_composition_[s].data(), 1, type_count());
      return {sample.features.view(), &targets_[s],
              shares_[s].empty() ? sample.counts.view() : std::as_const(shares_[s]).view(), composition};
    }
  }

  template <class Item>
  void train_member(const study::Study& study, const study::MemberPlan& plan, std::size_t member,
                    const std::filesystem::path& checkpoint, bool resume, common::Progress& progress) {
    std::vector<Item> train, validation;
    for (const auto& name : plan.train) train.push_back(make_item<Item>(study, name, false));
    for (const auto& name : plan.validate) validation.push_back(make_item<Item>(study, name, true));
    TrainOptions options;
    options.epochs = settings_.epochs.value();
    options.batch = settings_.batch.value();
    options.optimiser = settings_.optimiser;
    options.learning_rate = settings_.learning_rate.value();
    options.weight_decay = settings_.weight_decay;
    options.clip_norm = settings_.clip_norm.value();
    options.feature_noise = settings_.feature_noise.value();
    options.schedule = settings_.make_schedule();
    options.patience = settings_.patience.value();
    options.keep_last = settings_.has_compat("last-weights");
    options.seed = plan.seed;
    Trainer<float, Item> trainer(*context_, models_.back(), std::move(train), std::move(validation), options);
    if (resume) trainer.load(checkpoint);
    const nlohmann::json extra{{"settings", to_json(settings_)}, {"member", member}, {"split_seed", split_seed_},
                               {"data", fingerprint_},         {"products", common::products_of(*context_)}};
    const Index before = static_cast<Index>(member) * settings_.epochs.value();
    while (!trainer.done()) {
      const auto record = trainer.run_epoch();
      write_log(record, static_cast<Index>(member));
      char note[96];
      std::snprintf(note, sizeof note, "member %zu  loss %.4f  validation %.4f", member + 1, record.train.total,
                    record.validation);
      progress.update(before + trainer.epoch(), note);
      const bool stop = common::Interrupt::requested();
      if (stop || (settings_.checkpoint_every > 0 && trainer.epoch() % settings_.checkpoint_every == 0))
        trainer.save(checkpoint, extra);
      if (stop)
        throw eosin::Cancelled("stopped in epoch " + std::to_string(trainer.epoch()) +
                               "; run the same command with --resume to continue");
    }
    // The checkpoint names this member as finished before its file is written: a kill between the two repeats no epoch.
    trainer.save(checkpoint, extra);
    log_.keep(static_cast<Index>(member), trainer.best_epoch());
    trainer.restore_best();
  }

  void write_log(const EpochRecord& record, Index member) {
    nlohmann::ordered_json line{
        {"member", member},
        {"epoch", record.epoch},
        {"loss", record.train.total},
        {"observation", record.train.observation},
        {"composition", record.train.composition},
        {"prototype", record.train.prototype},
        {"validation",
         std::isfinite(record.validation) ? nlohmann::ordered_json(record.validation) : nlohmann::ordered_json()},
        {"learning_rate", record.learning_rate},
        {"gradient_norm", record.gradient_norm},
        {"best", record.best},
        {"seconds", record.seconds}};
    log_.write(line);
  }

  void save_member(const std::filesystem::path& path, std::size_t member) const {
    eosin::io::SafeTensorsWriter writer;
    const auto& parameters = models_[member].parameters();
    eosin::io::add_segments<float>(writer, "", parameters, parameters.values());
    writer.write(path);
  }
  void load_member(const std::filesystem::path& path, std::size_t member) {
    auto& parameters = models_[member].parameters();
    eosin::io::load_segments<float>(eosin::io::SafeTensors::read(path), "", parameters, parameters.values());
  }

  /// A member's prediction of a sample: v for the Pearson observation, else ln(1 + 1e4 p).
  Matrix<double> raw_prediction(std::size_t member, const study::Sample& sample, MatrixView<float> composition) {
    auto& model = models_[member];
    Matrix<float> v(sample.features.rows(), gene_count());
    model.compose(*context_, sample.features.view(), composition);
    const bool softmax = !calibrated() && settings_.has_compat("softmax-normalisation");
    if (softmax) {
      model.mix(*context_, composition, v.view());
    } else {
      model.express(*context_, composition, v.view());
    }
    Matrix<double> result(v.rows(), v.cols());
    for (Index r = 0; r < v.rows(); ++r) {
      const auto row = std::as_const(v).row(r);
      const auto largest = static_cast<double>(*std::max_element(row.data(), row.data() + row.size()));
      double total = 0;
      for (Index g = 0; g < v.cols(); ++g) {
        auto value = static_cast<double>(v(r, g));
        if (softmax) value = std::exp(value - largest);
        result(r, g) = value;
        total += value;
      }
      if (!calibrated())
        for (Index g = 0; g < v.cols(); ++g)
          result(r, g) = std::log1p(study::normalisation_target * library_share_ * result(r, g) / total);
    }
    return result;
  }

  Matrix<double> member_prediction(std::size_t member, const study::Sample& sample, MatrixView<float> composition) {
    auto values = raw_prediction(member, sample, composition);
    if (calibrated()) {
      const auto& scale = scales_[member];
      for (Index r = 0; r < values.rows(); ++r)
        for (Index g = 0; g < values.cols(); ++g)
          values(r, g) = (values(r, g) - scale.mean[g]) * scale.inverse_deviation[g];
    }
    return values;
  }

  /// Mean and deviation of every member's raw prediction over the training samples.
  void fit_scales(const study::Study& study) {
    if (!calibrated()) return;
    const auto train = study.of(study.split.train);
    for (std::size_t i = 0; i < models_.size(); ++i) {
      std::vector<Matrix<double>> raw;
      std::vector<MatrixView<const double>> views;
      for (const auto* sample : train) {
        Matrix<float> composition(sample->size(), type_count());
        raw.push_back(raw_prediction(i, *sample, composition.view()));
      }
      for (const auto& matrix : raw) views.push_back(matrix.view());
      const auto standardiser =
          eosin::data::Standardiser::fit<double>(*context_, std::span<const MatrixView<const double>>(views));
      scales_.push_back({standardiser.mean(), standardiser.inverse_deviation()});
    }
  }

  /// Intercepts: training means. Slopes: least squares of measured on predicted, both centred per section, over the
  /// samples that a member was validated on (training samples where there are none).
  void calibrate(const study::Study& study, const std::vector<study::MemberPlan>& plans) {
    if (!calibrated()) return;
    std::vector<MatrixView<const float>> expression;
    for (const auto* sample : study.of(study.split.train)) expression.push_back(sample->expression.view());
    intercept_ = eosin::eval::training_mean<float>(*context_, std::span<const MatrixView<const float>>(expression));
    std::vector<std::string> judged;
    for (const auto& plan : plans)
      for (const auto& name : plan.validate.empty() ? plan.train : plan.validate)
        if (std::find(judged.begin(), judged.end(), name) == judged.end()) judged.push_back(name);
    study::SlopeFit slopes(gene_count());
    for (const auto& name : judged) {
      const auto& sample = study.at(name);
      Matrix<double> z(sample.size(), gene_count());
      Index count = 0;
      for (std::size_t i = 0; i < plans.size(); ++i) {
        const auto& held = plans[i].validate.empty() ? plans[i].train : plans[i].validate;
        if (std::find(held.begin(), held.end(), name) == held.end()) continue;
        Matrix<float> composition(sample.size(), type_count());
        const auto values = member_prediction(i, sample, composition.view());
        for (Index k = 0; k < z.size(); ++k) z.data()[k] += values.data()[k];
        ++count;
      }
      for (Index k = 0; k < z.size(); ++k) z.data()[k] /= static_cast<double>(count);
      slopes.add<float>(std::as_const(z).view(), sample.expression.view());
    }
    slope_ = slopes.slopes();
  }

  eosin::CpuContext* context_;
  Settings settings_;
  FittedPrototypes prototypes_;
  Index inputs_;
  std::vector<std::string> genes_;
  std::vector<Model<float>> models_;
  std::vector<MemberScale> scales_;
  Vector<double> slope_, intercept_;
  double library_share_ = 1;  ///< mean share of the selected genes in a training spot's library
  std::vector<eosin::losses::PearsonTarget<float>> targets_;
  std::vector<Matrix<float>> compositions_;
  std::vector<Matrix<float>> shares_;  ///< counts as shares of the spot, for the observation mse
  std::vector<Vector<float>> bulk_, bulk_composition_;
  mutable std::map<std::string, Matrix<float>> cut_patches_;
  std::uint64_t split_seed_ = 0;   ///< of the folds
  std::uint64_t fingerprint_ = 0;  ///< of the data trained on
  common::RunLog log_{{"observation", "composition", "prototype"}, "observation"};
};

}  // namespace cpnn
