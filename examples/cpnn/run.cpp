#include "run.hpp"

#include "ensemble.hpp"
#include "prototype_source.hpp"

#include "common/results.hpp"
#include "common/run_support.hpp"
#include "common/simulated_study.hpp"

#include <eosin/eval/summary.hpp>
#include <eosin/io/table.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace cpnn {

namespace {

using common::logger;
using common::make_folders;
using common::seconds_since;

/// At slide level predictions/slides.csv.gz is the table of all slides.
void require_free_names(Level level, const std::vector<std::string>& test) {
  if (level == Level::slide && std::find(test.begin(), test.end(), "slides") != test.end())
    throw eosin::ValueError("sample 'slides': its predictions would have the name of the table of all slides; "
                            "give the sample another name");
}

/// Slide level: predicted and measured profile of each test sample, as ln(1 + 1e4 share).
nlohmann::ordered_json judge_slides(eosin::CpuContext& context, const study::Study& study, Ensemble& ensemble,
                                           const std::filesystem::path& out) {
  const auto test = study.of(study.split.test);
  const auto genes = static_cast<Index>(study.genes.size());
  std::vector<std::string> names;
  Matrix<float> predicted(static_cast<Index>(test.size()), genes), measured(predicted.rows(), genes);
  bool complete = true;
  for (std::size_t s = 0; s < test.size(); ++s) {
    names.push_back(test[s]->name);
    const auto shares = ensemble.predict_slide(*test[s]);
    complete = complete && test[s]->measured;
    double total = 0;
    Vector<double> bulk(genes);
    if (test[s]->measured)
      for (Index i = 0; i < test[s]->size(); ++i)
        for (Index g = 0; g < genes; ++g) {
          bulk[g] += static_cast<double>(test[s]->counts(i, g));
          total += static_cast<double>(test[s]->counts(i, g));
        }
    for (Index g = 0; g < genes; ++g) {
      predicted(static_cast<Index>(s), g) = static_cast<float>(std::log1p(study::normalisation_target * shares[g]));
      measured(static_cast<Index>(s), g) =
          static_cast<float>(std::log1p(study::normalisation_target * bulk[g] / std::max(total, 1.0)));
    }
  }
  eosin::io::write_numeric_table<float>(out / "predictions" / "slides.csv.gz", "slide", names, study.genes,
                                        predicted.view());
  if (!complete || test.empty()) return {};
  const auto summary = eosin::eval::summarise_slides(context, predicted.view(), measured.view());
  nlohmann::ordered_json json{{"slides", summary.slides},
                              {"pearson_slide_mean", summary.pearson_slide.mean},
                              {"pearson_gene_across_slides_mean", summary.pearson_gene_across_slides.mean},
                              {"pearson_gene_across_slides_undefined", summary.pearson_gene_across_slides.undefined},
                              {"mse", summary.error.mse}};
  for (std::size_t s = 0; s < names.size(); ++s)
    json["pearson_per_slide"][names[s]] = summary.pearson_per_slide.values[static_cast<Index>(s)];
  return json;
}

study::Predictions predict_all(const study::Study& study, Ensemble& ensemble) {
  study::Predictions predictions{{{"cpnn", {}}}, ensemble.types(), {}};
  for (const auto* sample : study.of(study.split.test)) {
    auto prediction = ensemble.predict(*sample);
    predictions.methods.front().expression.push_back(std::move(prediction.expression));
    predictions.compositions.push_back(std::move(prediction.composition));
  }
  return predictions;
}

}  // namespace

void run(eosin::CpuContext& context, Settings settings, const std::string& command, const std::string& gemm_name) {
  const auto begin = std::chrono::steady_clock::now();
  settings.complete();
  const auto log = logger(settings.quiet);
  const std::filesystem::path out = settings.out;

  // ---- data
  study::Study study;
  LabelledCells cells;
  if (settings.simulate) {
    auto simulated = study::simulate_study(context, {.seed = *settings.simulate,
                                                     .noise = settings.noise,
                                                     .train = settings.train,
                                                     .validate = settings.validate,
                                                     .test = settings.test});
    study = std::move(simulated.study);
    cells = {std::move(simulated.cells), std::move(simulated.cell_type), std::move(simulated.cell_batch), study.genes};
    settings.train = study.split.train;
    settings.test = study.split.test;
  } else {
    study = study::load_study(context, {.manifest = settings.samples,
                                        .train = settings.train,
                                        .validate = settings.validate,
                                        .test = settings.test,
                                        .genes_file = settings.genes,
                                        .highly_variable = settings.highly_variable,
                                        .genes = {},
                                        .patch_size = settings.patch_size,
                                        .slide_level = settings.level == Level::slide,
                                        .log = log});
  }
  for (const auto& sample : study.samples)
    eosin::require_value(sample.measured, "run", "sample " + sample.name + " has no counts");
  const auto standardiser = study::standardise_features(context, study, settings.standardisation);
  study::normalise_expression(context, study);
  study::require_choices(study, settings.choices);
  const double seconds_data = seconds_since(begin);

  // ---- prototypes
  for (const auto* sample : study.of(study.split.train))
    if (!sample->types.empty()) study.types = sample->types;
  if (settings.source == PrototypeSource::automatic)
    settings.source = settings.simulate          ? PrototypeSource::cells
                      : !study.types.empty() ? PrototypeSource::soft_labels
                                             : PrototypeSource::scratch;
  // Soft labels are read off spots, whose log-normalised expression the Pearson observation predicts.
  if (!settings.prototype_scale)
    settings.prototype_scale = settings.source == PrototypeSource::soft_labels && settings.level == Level::patch &&
                                       settings.observation == Observation::pearson
                                   ? PrototypeScale::log
                                   : PrototypeScale::counts;
  const auto before_prototypes = std::chrono::steady_clock::now();
  FittedPrototypes prototypes;
  switch (settings.source) {
    case PrototypeSource::soft_labels: prototypes = prototypes_from_spots(context, study); break;
    case PrototypeSource::cells:
    case PrototypeSource::naive_means:
      eosin::require_value(cells.counts.rows() > 0, "run", "labelled cells come with --simulate only");
      prototypes = prototypes_from_cells(context, cells, study.genes, settings.source == PrototypeSource::naive_means);
      break;
    case PrototypeSource::folder: prototypes = prototypes_from_folder(settings.prototype_folder, study.genes); break;
    case PrototypeSource::scratch:
    case PrototypeSource::automatic:
      settings.composition_regulariser = eosin::losses::CompositionLoss::off;
      for (Index t = 0; t < settings.types; ++t) prototypes.types.push_back("type" + std::to_string(t + 1));
      break;
  }
  if (!prototypes.expression.empty()) {
    order_types(prototypes, study.types);
    require_expressed(prototypes);
    if (!settings.mask) unmask(prototypes);
    if (!study.types.empty() && prototypes.types != study.types)
      study.notes.push_back("The cell types of the prototypes are not those of the samples' compositions, which are "
                            "left out of training and judging.");
  }
  require_free_names(settings.level, study.split.test);
  const double seconds_prototypes = seconds_since(before_prototypes);
  if (log)
    log("prototypes: " + std::to_string(prototypes.types.size()) + " types, " + std::to_string(study.genes.size()) +
        " genes; features: " + std::to_string(study.feature_names.size()));

  // ---- model
  const auto before_training = std::chrono::steady_clock::now();
  Ensemble ensemble(context, settings, prototypes, static_cast<Index>(study.feature_names.size()), study.genes);
  make_folders(out, {"model", "predictions", "compositions", "genes"});
  ensemble.train(study, out);
  ensemble.save(out / "model", study, standardiser);
  if (!prototypes.expression.empty()) {
    Matrix<double> by_gene(prototypes.expression.cols(), prototypes.expression.rows());
    for (Index g = 0; g < by_gene.rows(); ++g)
      for (Index t = 0; t < by_gene.cols(); ++t) by_gene(g, t) = prototypes.expression(t, g);
    eosin::io::write_numeric_table<double>(out / "model" / "prototypes.csv", "gene", study.genes, prototypes.types,
                                           std::as_const(by_gene).view());
  }
  const double seconds_training = seconds_since(before_training);

  // ---- results
  study::RunResults results;
  results.program = "cpnn";
  results.model = "CPNN";
  results.command = command;
  results.gemm = gemm_name;
  results.out = out;
  results.predictions = predict_all(study, ensemble);
  results.members = ensemble.members();
  results.settings = to_json(settings);
  if (settings.level == Level::slide)
    if (auto slides = judge_slides(context, study, ensemble, out); !slides.is_null())
      results.extras["slide_level"] = std::move(slides);
  results.seconds = {{"data", seconds_data}, {"prototypes", seconds_prototypes}, {"training", seconds_training}};
  results.begin = begin;
  results.choices = settings.choices;
  results.page.epochs = ensemble.epochs();
  results.page.notes.push_back("Expression is ln(1 + 1e4 * count / library of the spot). Genes, prototypes, stopping "
                               "and calibration come from training (and validation) sections only.");
  results.quiet = settings.quiet;
  study::write_results(context, study, std::move(results));
}

void predict(eosin::CpuOptions options, const PredictSettings& settings, const std::string& command) {
  options.math_mode = Ensemble::read_settings(settings.model).math;
  eosin::CpuContext context(options);
  std::vector<std::string> feature_names;
  std::optional<eosin::data::Standardiser> standardiser;
  auto ensemble = Ensemble::load(context, settings.model, feature_names, standardiser);
  const auto log = logger(settings.quiet);
  auto study = study::load_study(context, {.manifest = settings.samples,
                                           .train = {},
                                           .validate = {},
                                           .test = settings.test,
                                           .genes_file = {},
                                           .genes = ensemble.genes(),
                                           .patch_size = ensemble.settings().patch_size,
                                           .slide_level = ensemble.settings().level == Level::slide,
                                           .log = log});
  study::standardise_as_trained(context, study, feature_names, standardiser);
  study::normalise_expression(context, study);
  require_free_names(ensemble.settings().level, study.split.test);

  const std::filesystem::path out = settings.out;
  make_folders(out, {"predictions", "compositions"});
  study::PredictResults results;
  results.program = "cpnn predict";
  results.command = command;
  results.model = settings.model;
  results.out = out;
  results.predictions = predict_all(study, ensemble);
  if (ensemble.settings().level == Level::slide)
    if (auto slides = judge_slides(context, study, ensemble, out); !slides.is_null())
      results.extras["slide_level"] = std::move(slides);
  results.quiet = settings.quiet;
  study::write_predict_results(context, study, results);
}

}  // namespace cpnn
