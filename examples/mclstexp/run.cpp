#include "run.hpp"

#include "ensemble.hpp"
#include "image_network.hpp"

#include "common/results.hpp"
#include "common/retrieval_examples.hpp"
#include "common/run_support.hpp"
#include "common/simulated_study.hpp"

#include <eosin/io/feature_cache.hpp>
#include <eosin/io/number.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mclstexp {

namespace {

using common::logger;
using common::make_folders;
using common::seconds_since;

study::Study load(eosin::CpuContext& context, Settings& settings) {
  if (settings.simulate) {
    auto simulated = study::simulate_study(context, {.seed = *settings.simulate,
                                                     .noise = settings.noise,
                                                     .train = settings.train,
                                                     .validate = settings.validate,
                                                     .test = settings.test,
                                                     .encode = !settings.network(),
                                                     .keep_images = true});
    settings.train = simulated.study.split.train;
    settings.test = simulated.study.split.test;
    return std::move(simulated.study);
  }
  return study::load_study(context, {.manifest = settings.samples,
                                     .train = settings.train,
                                     .validate = settings.validate,
                                     .test = settings.test,
                                     .genes_file = settings.genes,
                                     .highly_variable = settings.highly_variable,
                                     .variable_with_test = settings.has_compat("hvg-with-test"),
                                     .genes = {},
                                     .patch_size = settings.patch_size,
                                     .encode = !settings.network(),
                                     .keep_images = true,
                                     .require_images = settings.network(),
                                     .log = logger(settings.quiet)});
}

/// Features of all samples from a network that is not trained, kept in settings.feature_cache where that is a folder.
void encode_frozen(eosin::CpuContext& context, const Settings& settings, eosin::Parameters<float>& parameters,
                   ImageNetwork& network, study::Study& study) {
  eosin::io::ContentHash weights;
  weights.add(parameters.values().data(), static_cast<std::size_t>(parameters.values().size()) * sizeof(float));
  for (const auto& buffer : network.buffers())
    weights.add(buffer.values.data(), static_cast<std::size_t>(buffer.values.size()) * sizeof(float));
  const std::string encoder = word_of(encoder_words, settings.encoder.value());
  study.feature_names.clear();
  for (Index c = 0; c < network.channels(); ++c) study.feature_names.push_back(encoder + "_" + std::to_string(c));
  const auto log = logger(settings.quiet);
  for (auto& sample : study.samples) {
    const double edge = settings.patch_size > 0 ? settings.patch_size : sample.pitch;
    eosin::io::FeatureKey key;
    key.set("image", eosin::io::content_hash(*sample.image))
        .set("x", eosin::io::content_hash(std::span<const double>(sample.x)))
        .set("y", eosin::io::content_hash(std::span<const double>(sample.y)))
        .set("edge", eosin::io::number_text(edge))
        .set("size", settings.image_size)
        .set("encoder", encoder)
        .set("weights", weights.text())
        .set("normalisation", word_of(image_normalisation_words, settings.image_normalisation))
        .set("final_relu", settings.has_compat("no-final-relu") ? "no" : "yes")
        .set("augmented", settings.has_compat("augmented-test") ? std::to_string(settings.seed) : "no");
    const eosin::io::FeatureCache cache(settings.feature_cache);
    if (!settings.feature_cache.empty())
      if (auto cached = cache.read(key, sample.size())) {
        sample.features = std::move(*cached);
        continue;
      }
    if (log) log(sample.name + ": " + std::to_string(sample.size()) + " patches through " + encoder);
    sample.features = encode_sample(context, settings, network, sample);
    if (!settings.feature_cache.empty()) cache.write(key, sample.features);
  }
}

/// What the release evaluates: each gene scaled over the section instead of each spot over its genes.
void normalise_as_released(eosin::CpuContext& context, study::Study& study) {
  for (const auto& name : study.split.test) {
    auto& sample = study.at(name);
    if (sample.measured)
      eosin::data::normalise(context, sample.counts.view(), sample.expression.view(), Ensemble::release_evaluation());
  }
  study.notes.emplace_back("compat gene-axis: measured expression and that of the training spots are log10(1 + 1e4 * "
                           "count / total of the gene over its section), as the release evaluates.");
}

struct Predicted {
  study::Predictions predictions;
  std::vector<eosin::retrieval::Neighbours<float>> neighbours;
};

/// The chosen predictor comes first, by the name of the program.
Predicted predict_all(const study::Study& study, Ensemble& ensemble) {
  const bool linear = ensemble.predictor() == Predictor::linear;
  Predicted all{{{{linear ? "mclstexp_retrieval" : "mclstexp", {}}, {linear ? "mclstexp" : "mclstexp_linear", {}}},
                 {},
                 {}},
                {}};
  auto& methods = all.predictions.methods;
  for (const auto* sample : study.of(study.split.test)) {
    auto prediction = ensemble.predict(*sample);
    methods[0].expression.push_back(std::move(prediction.retrieval));
    methods[1].expression.push_back(std::move(prediction.linear));
    all.neighbours.push_back(std::move(prediction.neighbours));
  }
  if (linear) std::swap(methods[0], methods[1]);
  return all;
}

}  // namespace

void run(eosin::CpuContext& context, Settings settings, const std::string& command) {
  const auto begin = std::chrono::steady_clock::now();
  settings.complete();
  const auto log = logger(settings.quiet);
  const std::filesystem::path out = settings.out;

  auto study = load(context, settings);
  for (const auto& sample : study.samples)
    eosin::require_value(sample.measured, "run", "sample " + sample.name + " has no counts");
  study::require_choices(study, settings.report);
  // Weights are read before anything is written, those of networks that are trained too.
  eosin::Parameters<float> parameters;
  std::optional<ImageNetwork> network;
  if (settings.network()) {
    network.emplace(parameters, settings);
    parameters.allocate(context, settings.seed);
    if (!settings.weights.empty()) network->load(settings.weights);
  }
  if (network && settings.freeze_encoder) encode_frozen(context, settings, parameters, *network, study);
  const auto standardiser = study::standardise_features(context, study, settings.standardisation);
  study::normalise_expression(context, study);
  const double seconds_data = seconds_since(begin);
  if (log) log(std::to_string(study.genes.size()) + " genes; features: " + std::to_string(study.feature_names.size()));

  const auto before_training = std::chrono::steady_clock::now();
  make_folders(out, {"model", "predictions", "genes"});
  if (network && settings.freeze_encoder)
    save_parameters(out / "model" / "image_encoder.safetensors", parameters, &*network);
  Ensemble ensemble(context, settings, static_cast<Index>(study.feature_names.size()), study.genes);
  ensemble.train(study, out);
  ensemble.save(out / "model", study, standardiser);
  const double seconds_training = seconds_since(before_training);

  if (settings.has_compat("gene-axis")) normalise_as_released(context, study);
  auto predicted = predict_all(study, ensemble);
  study::RunResults results;
  results.program = "mclstexp";
  results.model = "mclSTExp";
  results.command = command;
  results.gemm = common::products_of(context);
  results.out = out;
  results.predictions = std::move(predicted.predictions);
  results.members = ensemble.members();
  results.settings = to_json(settings);
  results.seconds = {{"data", seconds_data}, {"training", seconds_training}};
  results.begin = begin;
  results.choices = settings.report;
  results.quiet = settings.quiet;
  results.page.epochs = ensemble.epochs();
  const bool linear = ensemble.predictor() == Predictor::linear;
  char validated[120];
  std::snprintf(validated, sizeof validated, "Mean Pearson on validation samples: retrieval %.4f, linear %.4f.",
                ensemble.validated(Predictor::retrieval), ensemble.validated(Predictor::linear));
  if (std::isfinite(ensemble.validated(Predictor::linear))) {
    results.page.notes.emplace_back(validated);
    results.extras["validation"] = {{"pearson_gene_mean_retrieval", ensemble.validated(Predictor::retrieval)},
                                    {"pearson_gene_mean_linear", ensemble.validated(Predictor::linear)}};
  }
  results.extras["predictor"] = word_of(predictor_words, ensemble.predictor());
  results.page.notes.emplace_back(
      std::string(linear ? "mclstexp is ridge regression on the image embedding; mclstexp_retrieval averages"
                         : "mclstexp_linear is ridge regression on the image embedding; mclstexp averages") +
      " the expression of the training spots whose embeddings are nearest to that of the patch. Stopping, calibration "
      "and the choice between the two come from training (and validation) sections only.");
  const auto keys = study.of(study.split.train);
  const auto test = study.of(study.split.test);
  const bool pictures = std::all_of(study.samples.begin(), study.samples.end(),
                                    [](const study::Sample& sample) { return sample.image != nullptr; });
  for (std::size_t i = 0; i < test.size() && pictures; ++i)
    results.retrieval.push_back(study::retrieval_examples(context, *test[i], keys,
                                                          predicted.neighbours[i].indices.view(),
                                                          predicted.neighbours[i].similarity.view(),
                                                          {.edge = settings.patch_size}));
  study::write_results(context, study, std::move(results));
}

void predict(eosin::CpuOptions options, const PredictSettings& settings, const std::string& command) {
  const auto model = Ensemble::read_settings(settings.model);
  options.math_mode = model.math;
  eosin::CpuContext context(options);
  std::vector<std::string> feature_names;
  std::optional<eosin::data::Standardiser> standardiser;
  auto ensemble = Ensemble::load(context, settings.model, feature_names, standardiser);
  auto study = study::load_study(context, {.manifest = settings.samples,
                                           .train = {},
                                           .validate = {},
                                           .test = settings.test,
                                           .genes_file = {},
                                           .genes = ensemble.genes(),
                                           .patch_size = model.patch_size,
                                           .encode = !model.network(),
                                           .keep_images = model.network(),
                                           .require_images = model.network(),
                                           .log = logger(settings.quiet)});
  if (model.network() && model.freeze_encoder) {
    eosin::Parameters<float> parameters;
    ImageNetwork network(parameters, model);
    parameters.allocate(context, 0);
    load_parameters(std::filesystem::path(settings.model) / "image_encoder.safetensors", parameters, &network);
    encode_frozen(context, model, parameters, network, study);
  }
  study::standardise_as_trained(context, study, feature_names, standardiser);
  study::normalise_expression(context, study);
  if (model.has_compat("gene-axis")) normalise_as_released(context, study);
  make_folders(settings.out, {"predictions"});
  study::PredictResults results;
  results.program = "mclstexp predict";
  results.command = command;
  results.model = settings.model;
  results.out = settings.out;
  results.predictions = predict_all(study, ensemble).predictions;
  results.quiet = settings.quiet;
  study::write_predict_results(context, study, results);
}

}  // namespace mclstexp
