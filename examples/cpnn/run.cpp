#include "run.hpp"

#include "ensemble.hpp"
#include "prototype_source.hpp"

#include "common/judge.hpp"
#include "common/report.hpp"
#include "common/run_support.hpp"
#include "common/simulated_study.hpp"

#include <eosin/eval/summary.hpp>
#include <eosin/io/table.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace cpnn {

namespace {

using common::logger;
using common::make_folders;
using common::seconds_since;

void write_predictions(const std::filesystem::path& out, const study::Study& study, const study::Sample& sample,
                              const Prediction& prediction, const std::vector<std::string>& types) {
  eosin::io::write_numeric_table<float>(out / "predictions" / (sample.name + ".csv.gz"), "spot", sample.spots,
                                        study.genes, prediction.expression.view());
  eosin::io::write_numeric_table<float>(out / "compositions" / (sample.name + ".csv.gz"), "spot", sample.spots, types,
                                        prediction.composition.view());
}

/// Agreement of a predicted composition with the sample's reference: mean over types of the Pearson correlation across
/// spots. Empty where the sample has none.
nlohmann::ordered_json judge_composition(eosin::CpuContext& context, const study::Sample& sample,
                                                const Prediction& prediction, const std::vector<std::string>& types) {
  if (sample.composition.empty() || sample.types != types) return {};
  std::vector<Index> rows;
  for (Index i = 0; i < sample.size(); ++i)
    if (sample.has_composition[static_cast<std::size_t>(i)]) rows.push_back(i);
  if (rows.empty()) return {};
  Matrix<float> predicted(static_cast<Index>(rows.size()), prediction.composition.cols());
  Matrix<double> reference(predicted.rows(), predicted.cols());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    double sum = 0;
    for (Index t = 0; t < reference.cols(); ++t) sum += sample.composition(rows[r], t);
    for (Index t = 0; t < reference.cols(); ++t) {
      predicted(static_cast<Index>(r), t) = prediction.composition(rows[r], t);
      reference(static_cast<Index>(r), t) = sample.composition(rows[r], t) / sum;
    }
  }
  const auto correlations = eosin::eval::pearson_per_gene(context, predicted.view(), reference.view());
  const auto mean = eosin::eval::mean_of(correlations);
  nlohmann::ordered_json json{{"sample", sample.name},
                              {"pearson_type_mean", mean.mean},
                              {"undefined", mean.undefined},
                              {"mae", eosin::eval::errors(context, predicted.view(), reference.view()).mae}};
  for (std::size_t t = 0; t < types.size(); ++t)
    json["pearson"][types[t]] = correlations.defined[static_cast<Index>(t)]
                                    ? nlohmann::ordered_json(correlations.values[static_cast<Index>(t)])
                                    : nlohmann::ordered_json();
  return json;
}

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

report::SectionView section_view(const study::Study& study, const study::Sample& sample,
                                        const Prediction& prediction, const std::vector<std::string>& types,
                                        const study::Judgement* model, const study::Judgement* control,
                                        Matrix<float>& reference) {
  report::SectionView view;
  view.name = sample.name;
  view.thumbnail = sample.thumbnail;
  view.scale = sample.thumbnail_scale;
  view.spots = sample.spots;
  view.x = sample.x;
  view.y = sample.y;
  view.pitch = sample.pitch;
  view.genes = study.genes;
  view.predicted = prediction.expression.view();
  view.measured = sample.expression.view();
  const auto scores = [](const study::Judgement& judgement) {
    const auto& correlations = judgement.summary.pearson_per_gene;
    return report::GenePearson{judgement.method,
                               {correlations.values.begin(), correlations.values.end()},
                               {correlations.defined.begin(), correlations.defined.end()}};
  };
  view.model = scores(*model);
  if (control != nullptr) view.control = scores(*control);
  view.types = types;
  view.composition = prediction.composition.view();
  if (!sample.composition.empty() && sample.types == types) {
    reference.resize(sample.size(), static_cast<Index>(types.size()));
    for (Index i = 0; i < sample.size(); ++i) {
      double sum = 0;
      for (Index t = 0; t < reference.cols(); ++t) sum += sample.composition(i, t);
      for (Index t = 0; t < reference.cols(); ++t)
        reference(i, t) = sum > 0 ? static_cast<float>(sample.composition(i, t) / sum) : 0.0f;
    }
    view.reference = std::as_const(reference).view();
  }
  return view;
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

  // ---- judgement
  std::vector<study::Judgement> judgements;
  std::vector<Prediction> predictions;
  nlohmann::ordered_json compositions = nlohmann::ordered_json::array();
  for (const auto* sample : study.of(study.split.test)) {
    predictions.push_back(ensemble.predict(*sample));
    judgements.push_back({sample->name, "cpnn", false, false, true,
                          eosin::eval::summarise(context, predictions.back().expression.view(),
                                                 sample->expression.view())});
    if (auto json = judge_composition(context, *sample, predictions.back(), ensemble.types()); !json.is_null())
      compositions.push_back(std::move(json));
  }
  for (auto& control : study::judge_controls(context, study, study.notes)) judgements.push_back(std::move(control));
  const auto find = [&](const std::string& sample, const char* method) -> const study::Judgement* {
    for (const auto& judgement : judgements)
      if (judgement.sample == sample && judgement.method == method) return &judgement;
    return nullptr;
  };

  // ---- results
  nlohmann::ordered_json slides;
  if (settings.level == Level::slide) slides = judge_slides(context, study, ensemble, out);
  std::vector<Matrix<float>> references(predictions.size());
  report::ReportData page;
  const auto test = study.of(study.split.test);
  for (std::size_t i = 0; i < test.size(); ++i) {
    write_predictions(out, study, *test[i], predictions[i], ensemble.types());
    std::vector<const study::Judgement*> methods;
    for (const auto& judgement : judgements)
      if (judgement.sample == test[i]->name) methods.push_back(&judgement);
    study::write_gene_scores(out / "genes" / (test[i]->name + ".csv"), study.genes, methods);
    page.sections.push_back(section_view(study, *test[i], predictions[i], ensemble.types(),
                                                 find(test[i]->name, "cpnn"), find(test[i]->name, "ridge"),
                                                 references[i]));
    if (settings.simulate) page.sections.back().reference_name = "Truth";
  }

  const nlohmann::ordered_json settings_json = to_json(settings);
  nlohmann::ordered_json metrics{
      {"program", "cpnn"},
      {"version", eosin::version},
      {"command", command},
      {"source", study.source},
      {"normalisation", "ln(1 + 1e4 * count / total of the spot over all its genes)"},
      {"split", {{"train", study.split.train}, {"validate", study.split.validate}, {"test", study.split.test}}},
      {"genes", study.genes.size()},
      {"types", ensemble.types()},
      {"features", study.feature_names.size()},
      {"members", ensemble.members()},
      {"results", nlohmann::ordered_json::array()}};
  for (const auto& judgement : judgements) metrics["results"].push_back(study::to_json(judgement));
  if (!compositions.empty()) metrics["composition"] = compositions;
  if (!slides.is_null()) metrics["slide_level"] = slides;
  metrics["settings"] = settings_json;
  metrics["threads"] = context.threads();
  metrics["gemm"] = gemm_name;
  metrics["notes"] = study.notes;

  page.title = settings.simulate ? "CPNN on a simulated tissue" : "CPNN on " + study.split.test.front();
  page.subtitle = "Trained on " + std::to_string(study.split.train.size()) + " sections, " +
                  std::to_string(study.genes.size()) + " genes, " + std::to_string(ensemble.types().size()) +
                  " cell types, " + std::to_string(study.feature_names.size()) + " image features per spot";
  page.epochs = ensemble.epochs();
  for (const auto& judgement : judgements) page.metrics.push_back(study::to_row(judgement));
  for (const auto& json : compositions)
    page.tiles.push_back({"Composition, " + json.at("sample").get<std::string>(),
                          report::fixed(json.at("pearson_type_mean").get<double>(), 3),
                          settings.simulate ? "mean Pearson over types against the truth"
                                            : "mean Pearson over types against the manifest's estimates"});
  page.notes = study.notes;
  page.notes.push_back("Expression is ln(1 + 1e4 * count / library of the spot). Genes, prototypes, stopping and "
                       "calibration come from training (and validation) sections only.");
  page.notes.push_back("The library size of the test section is an oracle: it looks at the counts to be predicted. It "
                       "is shown for comparison and is not a bar to pass.");
  for (const auto& [key, value] : settings_json.items())
    page.settings.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  page.commands.push_back(command);
  report::write_report(out / "report.html", page);

  metrics["seconds"] = {{"data", seconds_data},
                        {"prototypes", seconds_prototypes},
                        {"training", seconds_training},
                        {"total", seconds_since(begin)}};
  eosin::io::write_file(out / "metrics.json", metrics.dump(1) + "\n");

  if (!settings.quiet) {
    std::printf("%-8s %-18s %9s %9s %9s %9s\n", "sample", "method", "pearson", "heg50", "mse", "undefined");
    for (const auto& judgement : judgements)
      std::printf("%-8s %-18s %9.4f %9.4f %9.4f %9td%s\n", judgement.sample.c_str(), judgement.method.c_str(),
                  judgement.summary.pearson_gene.mean, judgement.summary.pearson_heg.mean,
                  judgement.has_scale ? judgement.summary.error.mse : std::nan(""),
                  judgement.summary.pearson_gene.undefined, judgement.oracle ? "  (oracle)" : "");
    for (const auto& json : compositions)
      std::printf("composition of %s: mean Pearson over types %.3f\n", json.at("sample").get<std::string>().c_str(),
                  json.at("pearson_type_mean").get<double>());
    std::printf("%s\n", (out / "report.html").string().c_str());
  }
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
  if (study.feature_names != feature_names)
    throw eosin::ParseError(settings.samples + ": the samples' features are not those of the model (" +
                            std::to_string(study.feature_names.size()) + " against " +
                            std::to_string(feature_names.size()) + " names)");
  if (standardiser) {
    for (auto& sample : study.samples)
      for (auto* features : {&sample.features, &sample.slide_features})
        if (!features->empty()) standardiser->apply(context, features->view(), features->view());
  } else {
    study::standardise_features(context, study, study::Standardisation::section);
  }
  study::normalise_expression(context, study);
  require_free_names(ensemble.settings().level, study.split.test);

  const std::filesystem::path out = settings.out;
  make_folders(out, {"predictions", "compositions"});
  nlohmann::ordered_json metrics{{"program", "cpnn predict"},
                                 {"version", eosin::version},
                                 {"command", command},
                                 {"model", settings.model},
                                 {"source", study.source},
                                 {"results", nlohmann::ordered_json::array()}};
  for (const auto& sample : study.samples) {
    const auto prediction = ensemble.predict(sample);
    write_predictions(out, study, sample, prediction, ensemble.types());
    if (!sample.measured) continue;
    metrics["results"].push_back(study::to_json(
        {sample.name, "cpnn", false, false, true,
         eosin::eval::summarise(context, prediction.expression.view(), sample.expression.view())}));
  }
  if (ensemble.settings().level == Level::slide)
    if (auto slides = judge_slides(context, study, ensemble, out); !slides.is_null())
      metrics["slide_level"] = std::move(slides);
  metrics["notes"] = study.notes;
  eosin::io::write_file(out / "metrics.json", metrics.dump(1) + "\n");
  if (!settings.quiet) std::printf("%s\n", (out / "predictions").string().c_str());
}

}  // namespace cpnn
