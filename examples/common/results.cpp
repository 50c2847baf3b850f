#include "common/results.hpp"

#include "common/domains.hpp"
#include "common/judge.hpp"
#include "common/report.hpp"
#include "common/run_support.hpp"

#include <eosin/core/version.hpp>
#include <eosin/eval/summary.hpp>
#include <eosin/io/table.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace study {

void require_choices(const Study& study, const ReportChoices& choices) {
  for (const auto& gene : choices.show)
    if (std::find(study.genes.begin(), study.genes.end(), gene) == study.genes.end())
      throw eosin::ValueError("--show: gene '" + gene + "' is not among the " + std::to_string(study.genes.size()) +
                              " genes of this run");
  for (const auto* sample : study.of(study.split.test))
    if (const Index count = domain_count(*sample, choices); count > 0 && (count > sample->size() || sample->size() < 2))
      throw eosin::ValueError("--domains: sample " + sample->name + " has " + std::to_string(sample->size()) +
                              " spots, too few for " + std::to_string(count) + " domains");
}

namespace {

void require_predictions(const Study& study, const Predictions& predictions) {
  const auto samples = static_cast<Index>(study.split.test.size());
  eosin::require_value(!predictions.methods.empty(), "write_results", "no method has predicted anything");
  for (const auto& method : predictions.methods)
    eosin::require_size("write_results", method.name, "samples", static_cast<Index>(method.expression.size()), samples,
                        "test samples");
  if (!predictions.types.empty())
    eosin::require_size("write_results", "compositions", "samples", static_cast<Index>(predictions.compositions.size()),
                        samples, "test samples");
}

void write_tables(const std::filesystem::path& out, const Study& study, const Predictions& predictions) {
  const auto test = study.of(study.split.test);
  for (std::size_t i = 0; i < test.size(); ++i) {
    const std::string file = test[i]->name + ".csv.gz";
    for (std::size_t m = 0; m < predictions.methods.size(); ++m) {
      const auto& method = predictions.methods[m];
      const std::string folder = m == 0 ? "predictions" : "predictions/" + method.name;
      if (m > 0 && i == 0) common::make_folders(out, {folder.c_str()});
      eosin::io::write_numeric_table<float>(out / folder / file, "spot", test[i]->spots, study.genes,
                                            method.expression[i].view());
    }
    if (!predictions.types.empty())
      eosin::io::write_numeric_table<float>(out / "compositions" / file, "spot", test[i]->spots, predictions.types,
                                            predictions.compositions[i].view());
  }
}

std::vector<Judgement> judge_methods(CpuContext& context, const Study& study, const Predictions& predictions) {
  std::vector<Judgement> judgements;
  const auto test = study.of(study.split.test);
  for (std::size_t i = 0; i < test.size(); ++i)
    for (const auto& method : predictions.methods)
      if (test[i]->measured)
        judgements.push_back(
            {test[i]->name, method.name, false, false, true,
             eosin::eval::summarise(context, method.expression[i].view(), test[i]->expression.view())});
  return judgements;
}

/// The composition known for a sample, rows summing to 1 (0 where unknown); empty where it is of other types.
Matrix<float> reference_shares(const Sample& sample, const std::vector<std::string>& types) {
  if (sample.composition.empty() || sample.types != types) return {};
  Matrix<float> shares(sample.size(), static_cast<Index>(types.size()));
  for (Index i = 0; i < sample.size(); ++i) {
    double sum = 0;
    for (Index t = 0; t < shares.cols(); ++t) sum += sample.composition(i, t);
    for (Index t = 0; t < shares.cols(); ++t)
      shares(i, t) = sum > 0 ? static_cast<float>(sample.composition(i, t) / sum) : 0.0f;
  }
  return shares;
}

/// Agreement of a predicted composition with the sample's reference: mean over types of the Pearson correlation across
/// spots. Empty where the sample has none.
nlohmann::ordered_json judge_composition(CpuContext& context, const Sample& sample, const Matrix<float>& composition,
                                         const std::vector<std::string>& types) {
  if (sample.composition.empty() || sample.types != types) return {};
  std::vector<Index> rows;
  for (Index i = 0; i < sample.size(); ++i)
    if (sample.has_composition[static_cast<std::size_t>(i)]) rows.push_back(i);
  if (rows.empty()) return {};
  Matrix<float> predicted(static_cast<Index>(rows.size()), composition.cols());
  Matrix<double> reference(predicted.rows(), predicted.cols());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    double sum = 0;
    for (Index t = 0; t < reference.cols(); ++t) sum += sample.composition(rows[r], t);
    for (Index t = 0; t < reference.cols(); ++t) {
      predicted(static_cast<Index>(r), t) = composition(rows[r], t);
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

report::SectionView section_view(const Study& study, const Sample& sample, const Judgement& model,
                                 const Judgement* control) {
  report::SectionView view;
  view.name = sample.name;
  view.thumbnail = sample.thumbnail;
  view.scale = sample.thumbnail_scale;
  view.spots = sample.spots;
  view.x = sample.x;
  view.y = sample.y;
  view.pitch = sample.pitch;
  view.genes = study.genes;
  view.measured = sample.expression.view();
  const auto scores = [](const Judgement& judgement) {
    const auto& correlations = judgement.summary.pearson_per_gene;
    return report::GenePearson{judgement.method,
                               {correlations.values.begin(), correlations.values.end()},
                               {correlations.defined.begin(), correlations.defined.end()}};
  };
  view.model = scores(model);
  if (control != nullptr) view.control = scores(*control);
  return view;
}

std::string usual_subtitle(const Study& study, const Predictions& predictions) {
  std::string text = "Trained on " + std::to_string(study.split.train.size()) + " sections, " +
                     std::to_string(study.genes.size()) + " genes";
  if (!predictions.types.empty()) text += ", " + std::to_string(predictions.types.size()) + " cell types";
  if (!study.feature_names.empty())
    text += ", " + std::to_string(study.feature_names.size()) + " image features per spot";
  return text;
}

void print_table(const std::vector<Judgement>& judgements, const nlohmann::ordered_json& compositions) {
  std::printf("%-8s %-18s %9s %9s %9s %9s\n", "sample", "method", "pearson", "heg50", "mse", "undefined");
  for (const auto& judgement : judgements)
    std::printf("%-8s %-18s %9.4f %9.4f %9.4f %9td%s\n", judgement.sample.c_str(), judgement.method.c_str(),
                judgement.summary.pearson_gene.mean, judgement.summary.pearson_heg.mean,
                judgement.has_scale ? judgement.summary.error.mse : std::nan(""),
                judgement.summary.pearson_gene.undefined, judgement.oracle ? "  (oracle)" : "");
  for (const auto& json : compositions)
    std::printf("composition of %s: mean Pearson over types %.3f\n", json.at("sample").get<std::string>().c_str(),
                json.at("pearson_type_mean").get<double>());
}

}  // namespace

void write_results(CpuContext& context, const Study& study, RunResults results) {
  const auto& predictions = results.predictions;
  const auto& out = results.out;
  auto& page = results.page;
  require_predictions(study, predictions);
  require_choices(study, results.choices);
  const auto test = study.of(study.split.test);
  auto notes = study.notes;
  auto judgements = judge_methods(context, study, predictions);
  for (auto& control : judge_controls(context, study, notes)) judgements.push_back(std::move(control));
  const auto find = [&](const std::string& sample, const std::string& method) -> const Judgement* {
    for (const auto& judgement : judgements)
      if (judgement.sample == sample && judgement.method == method) return &judgement;
    return nullptr;
  };

  nlohmann::ordered_json compositions = nlohmann::ordered_json::array();
  nlohmann::ordered_json domains = nlohmann::ordered_json::array();
  std::vector<Matrix<float>> references(test.size());
  write_tables(out, study, predictions);
  for (std::size_t i = 0; i < test.size(); ++i) {
    const auto& sample = *test[i];
    std::vector<const Judgement*> methods;
    for (const auto& judgement : judgements)
      if (judgement.sample == sample.name) methods.push_back(&judgement);
    write_gene_scores(out / "genes" / (sample.name + ".csv"), study.genes, methods);
    const auto& drawn = predictions.methods.front();
    auto view = section_view(study, sample, *find(sample.name, drawn.name), find(sample.name, "ridge"));
    view.predicted = drawn.expression[i].view();
    view.show = results.choices.show;
    if (auto found = find_domains(context, sample, view.predicted, results.choices)) {
      domains.push_back(to_json(sample.name, *found));
      view.domains = std::move(*found);
    }
    if (!results.retrieval.empty()) view.retrieval = std::move(results.retrieval.at(i));
    if (!predictions.types.empty()) {
      references[i] = reference_shares(sample, predictions.types);
      view.types = predictions.types;
      view.composition = predictions.compositions[i].view();
      view.reference = std::as_const(references[i]).view();
      if (study.simulated) view.reference_name = "Truth";
      if (auto json = judge_composition(context, sample, predictions.compositions[i], predictions.types);
          !json.is_null())
        compositions.push_back(std::move(json));
    }
    page.sections.push_back(std::move(view));
  }

  nlohmann::ordered_json metrics{
      {"program", results.program},
      {"version", eosin::version},
      {"command", results.command},
      {"source", study.source},
      {"normalisation", "ln(1 + 1e4 * count / total of the spot over all its genes)"},
      {"split", {{"train", study.split.train}, {"validate", study.split.validate}, {"test", study.split.test}}},
      {"genes", study.genes.size()},
      {"types", predictions.types},
      {"features", study.feature_names.size()},
      {"members", results.members},
      {"results", nlohmann::ordered_json::array()}};
  for (const auto& judgement : judgements) metrics["results"].push_back(to_json(judgement));
  if (!compositions.empty()) metrics["composition"] = compositions;
  if (!domains.empty()) metrics["domains"] = domains;
  metrics.update(results.extras);
  metrics["settings"] = results.settings;
  metrics["threads"] = context.threads();
  metrics["gemm"] = results.gemm;
  metrics["notes"] = notes;

  if (page.title.empty())
    page.title = results.model + (study.simulated ? " on a simulated tissue" : " on " + study.split.test.front());
  if (page.subtitle.empty()) page.subtitle = usual_subtitle(study, predictions);
  for (const auto& judgement : judgements) page.metrics.push_back(to_row(judgement));
  for (const auto& json : compositions)
    page.tiles.push_back({"Composition, " + json.at("sample").get<std::string>(),
                          report::fixed(json.at("pearson_type_mean").get<double>(), 3),
                          study.simulated ? "mean Pearson over types against the truth"
                                          : "mean Pearson over types against the manifest's estimates"});
  notes.insert(notes.end(), page.notes.begin(), page.notes.end());
  notes.emplace_back(
      "The library size of the test section is an oracle: it looks at the counts to be predicted. It "
      "is shown for comparison and is not a bar to pass.");
  page.notes = std::move(notes);
  for (const auto& [key, value] : results.settings.items())
    page.settings.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  page.commands.push_back(results.command);
  report::write_report(out / "report.html", page);

  metrics["seconds"] = results.seconds;
  metrics["seconds"]["total"] = common::seconds_since(results.begin);
  eosin::io::write_file(out / "metrics.json", metrics.dump(1) + "\n");

  if (!results.quiet) {
    print_table(judgements, compositions);
    std::printf("%s\n", (out / "report.html").string().c_str());
  }
}

void write_predict_results(CpuContext& context, const Study& study, const PredictResults& results) {
  require_predictions(study, results.predictions);
  write_tables(results.out, study, results.predictions);
  nlohmann::ordered_json metrics{{"program", results.program}, {"version", eosin::version},
                                 {"command", results.command}, {"model", results.model},
                                 {"source", study.source},     {"results", nlohmann::ordered_json::array()}};
  for (const auto& judgement : judge_methods(context, study, results.predictions))
    metrics["results"].push_back(to_json(judgement));
  metrics.update(results.extras);
  metrics["notes"] = study.notes;
  eosin::io::write_file(results.out / "metrics.json", metrics.dump(1) + "\n");
  if (!results.quiet) std::printf("%s\n", (results.out / "predictions").string().c_str());
}

}  // namespace study
