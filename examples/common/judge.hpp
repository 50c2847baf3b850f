#pragma once

// Judging predictions on test samples with the controls beside them, and writing what was found: metrics.json, tables
// of predictions and compositions, per-gene scores.

#include "common/report_data.hpp"
#include "common/study.hpp"

#include <eosin/eval/controls.hpp>
#include <eosin/eval/ridge.hpp>
#include <eosin/eval/summary.hpp>
#include <eosin/io/table.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace study {

/// One method on one test sample.
struct Judgement {
  std::string sample;
  std::string method;
  bool control = false;
  bool oracle = false;
  bool has_scale = true;  ///< whether errors mean something
  eosin::eval::Summary summary;
};

/// Controls on all test samples: the constant, the library size oracles, and the ridge probe on the same features
/// (alpha by leaving out training sections, HEST's rule beside it; none without features). `notes` receives what a
/// reader should know.
inline std::vector<Judgement> judge_controls(CpuContext& context, const Study& study, std::vector<std::string>& notes) {
  namespace eval = eosin::eval;
  std::vector<eval::ControlSection<float>> training;
  std::vector<eval::ProbeSection<float>> probes;
  for (const auto* sample : study.of(study.split.train)) {
    training.push_back({sample->expression.view(), sample->library.view()});
    probes.push_back({sample->features.view(), sample->expression.view()});
  }
  const std::span<const eval::ProbeSection<float>> probe_span(probes);
  std::vector<std::pair<std::string, eval::RidgeModel>> ridges;
  const auto inputs = static_cast<Index>(study.feature_names.size());
  const auto genes = static_cast<Index>(study.genes.size());
  if (inputs == 0) {
    notes.emplace_back("No ridge probe: the samples were loaded without features.");
  } else if (probes.size() >= 2) {
    const auto search = eval::choose_ridge_alpha<float>(context, probe_span);
    ridges.emplace_back("ridge", eval::fit_ridge<float>(context, probe_span, search.alpha));
    char text[120];
    std::snprintf(text, sizeof text, "Ridge probe: alpha %.4g, chosen by leaving out training sections%s.",
                  search.alpha, search.at_edge ? " (at the edge of the grid)" : "");
    notes.emplace_back(text);
  } else {
    ridges.emplace_back("ridge", eval::fit_ridge<float>(context, probe_span, 1000.0));
    notes.emplace_back("Ridge probe: alpha 1000; one training section leaves nothing to choose it on.");
  }
  if (inputs > 0)
    ridges.emplace_back("ridge_hest", eval::fit_ridge<float>(context, probe_span, eval::hest_alpha(inputs, genes)));

  std::vector<Judgement> judged;
  for (const auto* sample : study.of(study.split.test)) {
    if (!sample->measured) continue;
    const auto add = [&](std::string method, bool oracle, bool has_scale, MatrixView<const float> prediction) {
      judged.push_back({sample->name, std::move(method), true, oracle, has_scale,
                        eval::summarise(context, prediction, sample->expression.view())});
    };
    for (const auto& control : eval::expression_controls<float>(
             context, std::span<const eval::ControlSection<float>>(training), sample->library.view()))
      add(control.name, control.oracle, control.has_scale, control.prediction.view());
    for (const auto& [name, ridge] : ridges) {
      Matrix<float> prediction(sample->size(), genes);
      ridge.predict(context, sample->features.view(), prediction.view());
      add(name, false, true, prediction.view());
    }
  }
  return judged;
}

inline nlohmann::ordered_json to_json(const Judgement& judgement) {
  nlohmann::ordered_json json{{"sample", judgement.sample},
                              {"method", judgement.method},
                              {"control", judgement.control},
                              {"oracle", judgement.oracle}};
  judgement.summary.for_each_number([&](const std::string& name, double value) {
    const bool error = name == "mse" || name == "mae" || name == "rmse";
    const bool count = name == "spots" || name == "genes" || name.find("undefined") == name.size() - 9;
    if (error && !judgement.has_scale) {
      json[name] = nullptr;
    } else if (count && name.find("as_zero") == std::string::npos) {
      json[name] = static_cast<Index>(value);
    } else {
      json[name] = value;
    }
  });
  return json;
}

inline report::MetricRow to_row(const Judgement& judgement) {
  report::MetricRow row;
  row.sample = judgement.sample;
  row.method = judgement.method;
  row.is_control = judgement.control;
  row.is_oracle = judgement.oracle;
  const auto& s = judgement.summary;
  const auto add = [&](const char* name, const eosin::eval::CorrelationMean& mean) {
    if (mean.defined > 0) row.numbers.push_back({name, mean.mean});
  };
  add("pearson_gene_mean", s.pearson_gene);
  add("pearson_heg50_mean", s.pearson_heg);
  add("spearman_gene_mean", s.spearman_gene);
  if (judgement.has_scale) {
    row.numbers.push_back({"mse", s.error.mse});
    row.numbers.push_back({"mae", s.error.mae});
  }
  row.undefined_genes = s.pearson_gene.undefined;
  return row;
}

/// gene, then Pearson, Spearman and squared error of every method on a sample; undefined correlations are left empty.
inline void write_gene_scores(const std::filesystem::path& path, const std::vector<std::string>& genes,
                              const std::vector<const Judgement*>& methods) {
  eosin::io::TableWriter writer(path);
  writer.text("gene");
  for (const auto* m : methods)
    writer.text(m->method + "_pearson").text(m->method + "_spearman").text(m->method + "_mse");
  writer.end_row();
  for (std::size_t g = 0; g < genes.size(); ++g) {
    writer.text(genes[g]);
    const auto at = static_cast<Index>(g);
    for (const auto* m : methods) {
      for (const auto* scores : {&m->summary.pearson_per_gene, &m->summary.spearman_per_gene}) {
        if (scores->defined[at]) {
          writer.number(scores->values[at]);
        } else {
          writer.text("");
        }
      }
      if (m->has_scale) {
        writer.number(m->summary.error.mse_per_gene[at]);
      } else {
        writer.text("");
      }
    }
    writer.end_row();
  }
  writer.commit();
}

}  // namespace study
