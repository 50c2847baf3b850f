#include "common/results.hpp"

#include "common/domains.hpp"
#include "common/retrieval_examples.hpp"
#include "common/run_log.hpp"
#include "common/run_support.hpp"

#include <eosin/io/table.hpp>
#include <eosin/io/text.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

using eosin::Index;
using eosin::Matrix;

namespace {

/// A folder of its own for each test case, gone at its end.
struct Folder {
  explicit Folder(const std::string& name) : path(std::filesystem::temp_directory_path() / ("eosin-results-" + name)) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

nlohmann::json read_json(const std::filesystem::path& path) {
  return nlohmann::json::parse(eosin::io::read_file(path));
}

/// Two training samples and one to test; spots left and right of the middle express two programs of genes.
study::Study make_study(eosin::CpuContext& context, Index features) {
  study::Study study;
  study.source = "made up";
  for (int g = 0; g < 12; ++g) study.genes.push_back("G" + std::to_string(g));
  for (Index f = 0; f < features; ++f) study.feature_names.push_back("f" + std::to_string(f));
  study.types = {"left", "right"};
  study.split = {{"A", "B"}, {}, {"T"}};
  study.notes = {"a note on the data"};
  for (const char* name : {"A", "B", "T"}) {
    study::Sample sample;
    sample.name = name;
    sample.pitch = 10;
    sample.counts = Matrix<float>(36, 12);
    sample.features = Matrix<float>(36, features);
    sample.library = eosin::Vector<double>(36);
    sample.types = study.types;
    sample.composition = Matrix<double>(36, 2);
    sample.has_composition.assign(36, 1);
    for (Index i = 0; i < 36; ++i) {
      const Index x = i % 6, y = i / 6;
      const bool left = x < 3;
      sample.spots.push_back(std::to_string(x) + "x" + std::to_string(y));
      sample.x.push_back(10.0 * static_cast<double>(x + 1));
      sample.y.push_back(10.0 * static_cast<double>(y + 1));
      sample.array_x.push_back(x);
      sample.array_y.push_back(y);
      sample.annotation.push_back(i == 0 ? "undetermined" : i == 7 ? "" : left ? "stroma" : "tumour");
      for (Index g = 0; g < 12; ++g) {
        sample.counts(i, g) = static_cast<float>((left == (g % 2 == 0) ? 40 : 4) + (7 * i + 5 * g + name[0]) % 5);
        sample.library[i] += static_cast<double>(sample.counts(i, g));
      }
      sample.composition(i, 0) = left ? 0.9 : 0.2;
      sample.composition(i, 1) = 1 - sample.composition(i, 0);
      for (Index f = 0; f < features; ++f)
        sample.features(i, f) = static_cast<float>(std::sin(0.7 * static_cast<double>(i * (f + 1))) + (left ? 1 : -1));
    }
    study.samples.push_back(std::move(sample));
  }
  study::normalise_expression(context, study);
  return study;
}

/// The measured expression moved a little towards a constant: a prediction with a scale and a correlation.
Matrix<float> predict(const study::Sample& sample, float share) {
  Matrix<float> prediction(sample.expression.rows(), sample.expression.cols());
  for (Index i = 0; i < prediction.rows(); ++i)
    for (Index g = 0; g < prediction.cols(); ++g)
      prediction(i, g) = 6.0F + share * (sample.expression(i, g) - 6.0F) + 0.01F * static_cast<float>((3 * i + g) % 7);
  return prediction;
}

study::RunResults make_results(const study::Study& study, const std::filesystem::path& out) {
  study::RunResults results;
  results.program = "program";
  results.model = "Model";
  results.command = "program run";
  results.gemm = "eosin";
  results.out = out;
  results.predictions.methods = {{"first", {predict(study.at("T"), 0.8F)}}, {"second", {predict(study.at("T"), 0.3F)}}};
  results.settings = {{"seed", 7}};
  results.extras["of_the_program"] = "something";
  results.seconds = {{"training", 1.5}};
  results.page.notes = {"a note on the model"};
  results.quiet = true;
  common::make_folders(out, {"model", "predictions", "compositions", "genes"});
  return results;
}

}  // namespace

TEST_CASE("results: every method is judged and written, the first one is drawn") {
  eosin::CpuContext context;
  const Folder folder("methods");
  const auto study = make_study(context, 4);
  auto results = make_results(study, folder.path);
  results.predictions.types = study.types;
  Matrix<float> composition(36, 2);
  for (Index i = 0; i < 36; ++i) {
    composition(i, 0) = 0.1F + 0.02F * static_cast<float>(i % 6);
    composition(i, 1) = 1 - composition(i, 0);
  }
  results.predictions.compositions.push_back(std::move(composition));
  results.choices.show = {"G5"};
  study::write_results(context, study, std::move(results));

  const auto metrics = read_json(folder.path / "metrics.json");
  CHECK(metrics.at("program") == "program");
  CHECK(metrics.at("settings").at("seed") == 7);
  CHECK(metrics.at("of_the_program") == "something");
  CHECK(metrics.at("seconds").at("training") == 1.5);
  CHECK(metrics.at("seconds").at("total").get<double>() >= 0);
  CHECK(metrics.at("notes").at(0) == "a note on the data");
  std::vector<std::string> methods;
  for (const auto& result : metrics.at("results")) methods.push_back(result.at("method"));
  REQUIRE(methods.size() >= 4);
  CHECK(methods[0] == "first");
  CHECK(methods[1] == "second");
  for (const char* control : {"constant", "ridge", "ridge_hest"})
    CHECK(std::count(methods.begin(), methods.end(), control) == 1);
  CHECK(metrics.at("results")[0].at("mse").get<double>() < metrics.at("results")[1].at("mse").get<double>());
  CHECK(metrics.at("composition").at(0).at("pearson_type_mean").get<double>() < 0);

  const auto first = eosin::io::read_numeric_table<float>(folder.path / "predictions" / "T.csv.gz");
  const auto second = eosin::io::read_numeric_table<float>(folder.path / "predictions" / "second" / "T.csv.gz");
  CHECK(first.row_names == study.at("T").spots);
  CHECK(first.col_names == study.genes);
  CHECK(std::abs(first.values(3, 2) - predict(study.at("T"), 0.8F)(3, 2)) < 1e-5F);
  CHECK(std::abs(second.values(3, 2) - predict(study.at("T"), 0.3F)(3, 2)) < 1e-5F);
  CHECK(std::filesystem::exists(folder.path / "compositions" / "T.csv.gz"));
  const auto scores = eosin::io::read_file(folder.path / "genes" / "T.csv");
  CHECK(scores.find("first_pearson,first_spearman,first_mse,second_pearson") != std::string::npos);
  const auto page = eosin::io::read_file(folder.path / "report.html");
  for (const char* text : {"Model on T", "Trained on 2 sections, 12 genes, 2 cell types, 4 image features per spot",
                           "a note on the model", "Chosen genes", "Spatial domains"})
    CHECK_MESSAGE(page.find(text) != std::string::npos, text);
}

TEST_CASE("results: domains follow the annotation's number of labels, or what is asked for") {
  eosin::CpuContext context;
  const Folder folder("domains");
  auto study = make_study(context, 4);
  const auto domains = [&](std::optional<Index> asked) {
    auto results = make_results(study, folder.path);
    results.choices.domains = asked;
    study::write_results(context, study, std::move(results));
    const auto metrics = read_json(folder.path / "metrics.json");
    return metrics.contains("domains") ? metrics.at("domains").at(0) : nlohmann::json();
  };
  const auto found = domains({});
  CHECK(found.at("sample") == "T");
  CHECK(found.at("domains") == 2);
  CHECK(found.at("annotated_spots") == 34);
  for (const char* pair : {"predicted_with_annotation", "measured_with_annotation", "predicted_with_measured"}) {
    CHECK(found.at(pair).at("adjusted_rand_index") == 1);
    CHECK(found.at(pair).at("normalised_mutual_information").get<double>() == doctest::Approx(1));
  }
  CHECK(domains(3).at("domains") == 3);
  CHECK(domains(3).at("measured_with_annotation").at("adjusted_rand_index").get<double>() < 1);
  CHECK(domains(0).is_null());
  study.samples.back().annotation.clear();
  CHECK(domains({}).is_null());
  const auto alone = domains(2);
  CHECK(alone.at("predicted_with_measured").at("adjusted_rand_index") == 1);
  CHECK_FALSE(alone.contains("measured_with_annotation"));
}

TEST_CASE("results: clusters take the number of the class that they overlap most") {
  using Labels = std::vector<Index>;
  CHECK(study::detail::number_like(Labels{0, 0, 0, 1, 1, 1}, Labels{1, 1, -1, 0, 0, 1}) == Labels{1, 1, 1, 0, 0, 0});
  // More clusters than classes: the smaller claim on a class takes a free number.
  CHECK(study::detail::number_like(Labels{0, 0, 1, 2, 2, 2}, Labels{0, 0, 0, 0, 0, 0}) == Labels{1, 1, 2, 0, 0, 0});
  CHECK(study::detail::number_like(Labels{0, 1}, Labels{-1, -1}) == Labels{0, 1});
  study::Sample sample;
  sample.annotation = {"b", "", "a", "undetermined", "b"};
  const auto annotation = study::annotation_of(sample);
  CHECK(annotation.labels == std::vector<std::string>{"a", "b"});
  CHECK(annotation.of == Labels{1, -1, 0, -1, 1});
  sample.annotation = {"", "undetermined"};
  CHECK(study::annotation_of(sample).of.empty());
}

TEST_CASE("results: what cannot be shown is named") {
  eosin::CpuContext context;
  auto study = make_study(context, 4);
  const auto message = [&](const study::ReportChoices& choices) {
    try {
      study::require_choices(study, choices);
    } catch (const eosin::ValueError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(message({{"G0", "G11"}, 36}).empty());
  CHECK(message({{"G0", "ERBB2"}, {}}).find("'ERBB2'") != std::string::npos);
  CHECK(message({{}, 37}).find("sample T has 36 spots") != std::string::npos);
  const Folder folder("refused");
  auto results = make_results(study, folder.path);
  results.choices.show = {"ERBB2"};
  CHECK_THROWS_AS(study::write_results(context, study, std::move(results)), eosin::ValueError);
  results = make_results(study, folder.path);
  results.predictions.methods[1].expression.clear();
  CHECK_THROWS_AS(study::write_results(context, study, std::move(results)), eosin::ShapeError);
  CHECK_FALSE(std::filesystem::exists(folder.path / "metrics.json"));
}

TEST_CASE("results: without features there is no ridge, and the notes say so") {
  eosin::CpuContext context;
  const Folder folder("no-features");
  auto study = make_study(context, 0);
  CHECK_FALSE(study::standardise_features(context, study, study::Standardisation::training).has_value());
  study::write_results(context, study, make_results(study, folder.path));
  const auto metrics = read_json(folder.path / "metrics.json");
  for (const auto& result : metrics.at("results")) CHECK(result.at("method").get<std::string>().find("ridge") != 0);
  CHECK(metrics.at("notes").dump().find("No ridge probe") != std::string::npos);
  CHECK(eosin::io::read_file(folder.path / "report.html").find("12 genes</p>") != std::string::npos);
}

TEST_CASE("results: applying a model judges the samples with counts") {
  eosin::CpuContext context;
  const Folder folder("predict");
  auto study = make_study(context, 4);
  study.split = {{}, {}, {"B", "T"}};
  study.samples[2].measured = false;
  study::PredictResults results;
  results.program = "program predict";
  results.out = folder.path;
  results.predictions.methods = {{"first", {predict(study.at("B"), 0.5F), predict(study.at("T"), 0.5F)}}};
  results.quiet = true;
  common::make_folders(folder.path, {"predictions"});
  study::write_predict_results(context, study, results);
  const auto metrics = read_json(folder.path / "metrics.json");
  REQUIRE(metrics.at("results").size() == 1);
  CHECK(metrics.at("results")[0].at("sample") == "B");
  for (const char* sample : {"B", "T"})
    CHECK(std::filesystem::exists(folder.path / "predictions" / (std::string(sample) + ".csv.gz")));

  study.feature_names[1] = "other";
  CHECK_THROWS_AS(study::standardise_as_trained(context, study, {"f0", "f1", "f2", "f3"}, std::nullopt),
                  eosin::ParseError);
}

TEST_CASE("results: an earlier run's results go, its model and its log stay") {
  const Folder folder("remove");
  common::make_folders(folder.path, {"model", "predictions/linear", "compositions", "genes"});
  const std::vector<std::string> gone{"metrics.json", "report.html", "predictions/A.csv.gz", "genes/A.csv",
                                      "predictions/linear/A.csv.gz", "compositions/A.csv.gz"};
  const std::vector<std::string> kept{"model/model.json", "log.jsonl", "genes/notes.txt"};
  for (const auto* files : {&gone, &kept})
    for (const auto& file : *files) eosin::io::write_file(folder.path / file, "x");
  common::remove_results(folder.path);
  for (const auto& file : gone) CHECK_FALSE_MESSAGE(std::filesystem::exists(folder.path / file), file);
  for (const auto& file : kept) CHECK_MESSAGE(std::filesystem::exists(folder.path / file), file);
  CHECK_FALSE(std::filesystem::exists(folder.path / "predictions" / "linear"));
  common::remove_results(folder.path / "absent");
}

TEST_CASE("results: the log goes on after the epoch of a checkpoint") {
  const Folder folder("log");
  const auto path = folder.path / "log.jsonl";
  const auto line = [](Index member, Index epoch, bool best) {
    return nlohmann::ordered_json{{"member", member},  {"epoch", epoch},         {"loss", 0.5},
                                  {"contrast", 0.25},  {"validation", nullptr},  {"learning_rate", 1e-3},
                                  {"best", best},      {"seconds", 0.125}};
  };
  {
    common::RunLog log({"contrast"}, "contrast");
    log.start(path);
    for (const Index epoch : {1, 2, 3}) log.write(line(0, epoch, epoch < 3));
    for (const Index epoch : {1, 2}) log.write(line(1, epoch, true));
    REQUIRE(log.epochs().size() == 5);
    CHECK_FALSE(log.epochs()[0].kept);
    CHECK(log.epochs()[1].kept);
    CHECK_FALSE(log.epochs()[2].kept);
    log.keep(0, 3);
    CHECK(log.epochs()[2].kept);
    CHECK(log.epochs()[4].kept);
    CHECK(log.epochs()[0].train[1].name == "contrast");
    CHECK(log.epochs()[0].validation.empty());
  }
  eosin::io::write_file(path, eosin::io::read_file(path) + "{\"member\":1,\"epo");
  common::RunLog log({"contrast"}, "contrast");
  log.resume(path, 1, 1);
  CHECK(log.epochs().size() == 4);
  log.write(line(1, 2, false));
  const auto text = eosin::io::read_file(path);
  CHECK(std::count(text.begin(), text.end(), '\n') == 5);
  CHECK(text.ends_with("\"seconds\":0.125}\n"));
  eosin::io::write_file(path, "{\"member\":0}\n");
  CHECK_THROWS_AS(log.resume(path, 0, 1), eosin::ParseError);
  CHECK_THROWS_AS(log.resume(folder.path / "absent", 0, 1), eosin::FileError);
}

TEST_CASE("results: examples of retrieval are spread over the section and show what the rows stand for") {
  eosin::CpuContext context;
  auto study = make_study(context, 1);
  for (std::size_t s = 0; s < 3; ++s) {
    auto image = std::make_shared<eosin::vision::Image>(80, 80);
    std::fill(image->pixels.begin(), image->pixels.end(), static_cast<std::uint8_t>(50 * (s + 1)));
    study.samples[s].image = image;
  }
  const auto& test = study.at("T");
  const auto chosen = study::spread_spots(context, test, 4);
  REQUIRE(chosen.size() == 4);
  std::set<std::pair<bool, bool>> quarters;
  for (const Index i : chosen) quarters.insert({i % 6 < 3, i / 6 < 3});
  CHECK(quarters.size() == 4);
  CHECK(study::spread_spots(context, test, 99).size() == 36);

  Matrix<Index> indices(36, 3);
  Matrix<float> similarity(36, 3);
  for (Index i = 0; i < 36; ++i) {
    indices(i, 0) = i;       // of A
    indices(i, 1) = 36 + i;  // of B
    indices(i, 2) = 71;
    for (Index j = 0; j < 3; ++j) similarity(i, j) = 0.75F - 0.25F * static_cast<float>(j);
  }
  const auto examples = [&] {
    return study::retrieval_examples(context, test, {&study.at("A"), &study.at("B")}, std::as_const(indices).view(),
                                     std::as_const(similarity).view(), {.examples = 4, .matches = 2, .pixels = 16});
  };
  const auto found = examples();
  REQUIRE(found.size() == 4);
  for (const auto& example : found) {
    REQUIRE(example.matches.size() == 2);
    CHECK(example.matches[0].label == "A " + example.spot);
    CHECK(example.matches[1].label == "B " + example.spot);
    CHECK(example.matches[1].similarity == 0.5);
    CHECK(example.patch.width == 16);
    CHECK(example.patch.pixels[0] == 150);
    CHECK(example.matches[0].patch.pixels[0] == 50);
    CHECK(example.matches[1].patch.pixels[0] == 100);
  }
  for (Index i = 0; i < 36; ++i) indices(i, 1) = 72;
  CHECK_THROWS_AS(examples(), eosin::ValueError);
  indices.view()(chosen[0], 1) = 0;
  study.samples[0].image = nullptr;
  CHECK_THROWS_AS(examples(), eosin::ValueError);
}
