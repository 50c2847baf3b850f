#pragma once

// From predictions to everything a program leaves behind: `write_results` judges the methods of a run on its test
// samples beside the controls and writes predictions, scores per gene, compositions, metrics.json and report.html;
// `write_predict_results` is the part that applying a trained model has in common with it.

#include "common/report_choices.hpp"
#include "common/report_data.hpp"
#include "common/study.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace study {

/// One method's predictions for the test samples, in the order of the split: [N x G], log-normalised.
struct MethodResult {
  std::string name;
  std::vector<Matrix<float>> expression;
};

/// What is predicted for the test samples.
struct Predictions {
  /// The first is the one that maps and domains show; the tables of the others lie in predictions/METHOD.
  std::vector<MethodResult> methods;
  std::vector<std::string> types;
  std::vector<Matrix<float>> compositions;  ///< [N x types] per test sample; none without types
};

/// What a program hands over after its training. Set `page.title` or `page.subtitle` to replace the usual ones;
/// `page.epochs`, `page.tiles` and `page.notes` are the program's own and come before the shared ones.
struct RunResults {
  std::string program;  ///< as in metrics.json
  std::string model;    ///< as in the title of the report
  std::string command;  ///< as typed
  std::string gemm;     ///< library of matrix products
  std::filesystem::path out;
  Predictions predictions;
  Index members = 1;
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  nlohmann::ordered_json extras = nlohmann::ordered_json::object();   ///< further keys of metrics.json
  nlohmann::ordered_json seconds = nlohmann::ordered_json::object();  ///< of the parts of the run
  std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
  ReportChoices choices;
  report::ReportData page;
  std::vector<std::vector<report::RetrievalExample>> retrieval;  ///< per test sample, or empty
  bool quiet = false;
};

/// Throws ValueError for a gene that is to be shown and is not one of the study's, and for more domains than a test
/// sample has spots. For a program to call before it trains.
void require_choices(const Study& study, const ReportChoices& choices);

/// Judges and writes a run; `out` has the folders predictions, genes and, with types, compositions, and every sample
/// has counts. The last line on standard output names the report.
void write_results(CpuContext& context, const Study& study, RunResults results);

/// What a program hands over after applying a trained model to the study's test samples.
struct PredictResults {
  std::string program;  ///< as in metrics.json
  std::string command;  ///< as typed
  std::string model;    ///< folder
  std::filesystem::path out;
  Predictions predictions;
  nlohmann::ordered_json extras = nlohmann::ordered_json::object();  ///< further keys of metrics.json
  bool quiet = false;
};

/// Writes predictions (and compositions) and judges the samples with counts, without controls: these need the training
/// samples. `out` has the folders predictions and, with types, compositions.
void write_predict_results(CpuContext& context, const Study& study, const PredictResults& results);

}  // namespace study
