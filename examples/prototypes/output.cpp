#include "output.hpp"

#include "common/run_support.hpp"

#include <eosin/core/error.hpp>
#include <eosin/core/version.hpp>
#include <eosin/io/table.hpp>
#if EOSIN_HAS_HDF5
#include <eosin/io/anndata_writer.hpp>
#endif

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

namespace prototypes {

namespace {

namespace fs = std::filesystem;
using eosin::io::TableWriter;

/// Files that appear together: each is complete under a temporary name before the first is put in place.
class Files {
 public:
  explicit Files(fs::path folder) : folder_(std::move(folder)) {}
  TableWriter& add(const std::string& name) {
    writers_.push_back(
        std::make_unique<TableWriter>(folder_ / name, eosin::io::TableWriterOptions{.separator = ',', .digits = 17}));
    return *writers_.back();
  }
  void commit() {
    for (auto& writer : writers_) writer->commit();
  }

 private:
  fs::path folder_;
  std::vector<std::unique_ptr<TableWriter>> writers_;
};

/// A number, or an empty field where there is none.
void number(TableWriter& table, double value) {
  if (std::isnan(value))
    table.text("");
  else
    table.number(value);
}

/// Of batches and covariates' levels beside the types: without batches, those of the covariates.
Index first_column(const Fitted& fitted) {
  return fitted.input.batch_word.empty() ? fitted.design.batches() : 0;
}

std::vector<std::string> coefficient_names(const Fitted& fitted) {
  std::vector<std::string> names;
  for (const auto& name : fitted.design.type_names()) names.push_back("type:" + name);
  for (Index column = first_column(fitted); column < fitted.design.columns(); ++column)
    names.push_back(fitted.design.column_name(column));
  return names;
}

void write_coefficients(TableWriter& table, const Fitted& fitted, const eosin::Matrix<double>& values) {
  table.text("gene");
  for (const auto& name : coefficient_names(fitted)) table.text(name);
  table.end_row();
  for (Index g = 0; g < values.rows(); ++g) {
    table.text(fitted.input.genes[static_cast<std::size_t>(g)]);
    for (Index c = 0; c < values.cols(); ++c) number(table, values(g, c));
    table.end_row();
  }
}

/// Types, batches and covariates beside each other, a row per gene, in the order of coefficient_names().
eosin::Matrix<double> joined(const Fitted& fitted, const eosin::Matrix<double>& types,
                             const eosin::Matrix<double>& batches, const eosin::Matrix<double>& covariates) {
  const Index first = types.cols(), with_batches = fitted.input.batch_word.empty() ? 0 : batches.cols();
  eosin::Matrix<double> result(types.rows(), first + with_batches + covariates.cols());
  for (Index g = 0; g < types.rows(); ++g) {
    for (Index t = 0; t < first; ++t) result(g, t) = types(g, t);
    for (Index b = 0; b < with_batches; ++b) result(g, first + b) = batches(g, b);
    for (Index c = 0; c < covariates.cols(); ++c) result(g, first + with_batches + c) = covariates(g, c);
  }
  return result;
}
eosin::Matrix<double> joined_coefficients(const Fitted& fitted) {
  const auto& results = fitted.results;
  return joined(fitted, results.type_coefficients, results.batch_coefficients, results.covariate_coefficients);
}
eosin::Matrix<double> joined_errors(const Fitted& fitted) {
  const auto& results = fitted.results;
  return joined(fitted, results.type_standard_errors, results.batch_standard_errors,
                results.covariate_standard_errors);
}

/// [types x genes] as gene rows.
template <class Value>
void write_prototypes(TableWriter& table, const Fitted& fitted, Value&& value) {
  table.text("gene");
  for (const auto& name : fitted.design.type_names()) table.text(name);
  table.end_row();
  for (Index g = 0; g < fitted.results.mean.size(); ++g) {
    table.text(fitted.input.genes[static_cast<std::size_t>(g)]);
    for (Index t = 0; t < fitted.design.types(); ++t) number(table, value(t, g));
    table.end_row();
  }
}

void write_genes(TableWriter& table, const Fitted& fitted) {
  for (const char* name :
       {"gene", "mean", "dispersion", "deviance", "log_likelihood", "iterations", "status", "dispersion_status"})
    table.text(name);
  table.end_row();
  const auto& results = fitted.results;
  for (Index g = 0; g < results.mean.size(); ++g) {
    const auto i = static_cast<std::size_t>(g);
    table.text(fitted.input.genes[i]);
    for (const double value : {results.mean[g], results.dispersion[g], results.deviance[g], results.log_likelihood[g]})
      number(table, value);
    table.number(results.iterations[i]).text(word_of(results.status[i])).text(word_of(results.dispersion_status[i]));
    table.end_row();
  }
}

void write_markers(TableWriter& table, const Fitted& fitted) {
  for (const char* name :
       {"level", "gene", "log2_fold_change", "standard_error", "statistic", "p_value", "adjusted_p_value"})
    table.text(name);
  table.end_row();
  for (const auto& marker : fitted.markers) {
    table.text(marker.level).text(fitted.input.genes[static_cast<std::size_t>(marker.gene)]);
    for (const double value :
         {marker.log2_fold_change, marker.standard_error, marker.statistic, marker.p_value, marker.adjusted_p})
      number(table, value);
    table.end_row();
  }
}

nlohmann::ordered_json levels_json(const std::vector<std::string>& names, const std::vector<Index>& codes) {
  std::vector<Index> cells(names.size(), 0);
  for (const Index code : codes)
    if (code >= 0) ++cells[static_cast<std::size_t>(code)];
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < names.size(); ++i) json[names[i]] = cells[i];
  return json;
}

nlohmann::ordered_json summary(const Fitted& fitted, const Seconds& seconds) {
  const auto& options = fitted.options;
  const auto& account = fitted.input.account;
  nlohmann::ordered_json conditions = nlohmann::ordered_json::array();
  for (const auto& condition : options.conditions) conditions.push_back(condition.column + "=" + condition.value);
  auto statuses = nlohmann::ordered_json::object(), dispersions = statuses;
  for (const auto status : fitted.results.status)
    statuses[word_of(status)] = statuses.value(word_of(status), Index{0}) + 1;
  for (const auto status : fitted.results.dispersion_status)
    dispersions[word_of(status)] = dispersions.value(word_of(status), Index{0}) + 1;
  nlohmann::ordered_json weights = nlohmann::ordered_json::object();
  if (!fitted.input.batch_word.empty())
    for (Index b = 0; b < fitted.design.batches(); ++b)
      weights[fitted.design.batch_names()[static_cast<std::size_t>(b)]] = fitted.results.batch_weights[b];
  const Index without_depth = account.cells_used - fitted.results.cells_used;
  return {{"program", "prototypes fit"},
          {"version", eosin::version},
          {"command", fitted.command},
          {"settings",
           {{"counts", options.counts},
            {"cells", options.cells},
            {"features", options.features},
            {"label_column", options.label_column},
            {"batch_column", options.batch_column},
            {"covariates", options.covariates},
            {"size_factors", text_of(options.size_factors)},
            {"dispersion", text_of(options.dispersion)},
            {"where", conditions},
            {"genes", options.genes},
            {"orientation",
             options.orientation ? common::word_of(orientation_words, *options.orientation) : std::string("guessed")},
            {"matrix", options.matrix},
            {"threads", fitted.threads},
            {"memory_bytes", options.memory}}},
          {"cells",
           {{"in_counts", account.cells_in_counts},
            {"not_in_cells_file", account.cells_without_row},
            {"left_out_by_where", account.left_out},
            {"without_label", account.without_label},
            {"without_batch", account.without_batch},
            {"without_covariate", account.without_covariate},
            {"without_counts", without_depth},
            {"used", fitted.results.cells_used},
            {"only_in_cells_file", account.rows_without_counts}}},
          {"genes",
           {{"in_counts", account.genes_in_counts},
            {"other_features", account.other_features},
            {"in_all_files", account.genes_in_all_files},
            {"asked", account.genes_asked},
            {"asked_and_missing", account.genes_missing},
            {"used", account.genes_used}}},
          {"nonzeros", fitted.input.counts.entries()},
          {"temporary_file", fitted.input.counts.spilled()},
          {"types", levels_json(fitted.input.type.names, fitted.input.type.codes)},
          {"batches", levels_json(fitted.input.batch.names, fitted.input.batch.codes)},
          {"batch_weights", weights},
          {"status", statuses},
          {"dispersion_status", dispersions},
          {"markers", fitted.markers.size()},
          {"seconds", {{"read", seconds.read}, {"fit", seconds.fit}, {"write", seconds.write}}}};
}

#if EOSIN_HAS_HDF5
template <class Status>
void status_column(eosin::io::AnnDataWriter& file, const std::string& name, const std::vector<Status>& status) {
  std::vector<std::string> words;
  for (const Status one : status) words.emplace_back(word_of(one));
  const auto categories = eosin::glm::Categories::from_labels(words);
  file.column("var", name, categories.names, categories.codes);
}

std::vector<double> copied(const eosin::Vector<double>& values) {
  return {values.begin(), values.end()};
}

/// obs: the cells used; var: the genes; varm: coefficients and prototypes; uns/prototypes: names, markers, summary.
std::unique_ptr<eosin::io::AnnDataWriter> make_h5ad(const Fitted& fitted, const std::string& summary_text) {
  const auto& results = fitted.results;
  const auto& input = fitted.input;
  auto file = std::make_unique<eosin::io::AnnDataWriter>(input.cells, input.genes);
  file->column("obs", "type", input.type.names, input.type.codes);
  if (!input.batch_word.empty()) file->column("obs", "batch", input.batch.names, input.batch.codes);
  for (std::size_t i = 0; i < input.covariates.size(); ++i)
    file->column("obs", fitted.options.covariates[i], input.covariates[i].names, input.covariates[i].codes);
  file->column("obs", "size_factor", copied(results.size_factors));
  file->column("var", "mean", copied(results.mean));
  file->column("var", "dispersion", copied(results.dispersion));
  file->column("var", "deviance", copied(results.deviance));
  file->column("var", "log_likelihood", copied(results.log_likelihood));
  file->column("var", "iterations", std::vector<double>(results.iterations.begin(), results.iterations.end()));
  status_column(*file, "status", results.status);
  status_column(*file, "dispersion_status", results.dispersion_status);
  const Index genes = results.mean.size(), types = fitted.design.types();
  eosin::Matrix<double> prototypes(genes, types), errors(genes, types);
  for (Index g = 0; g < genes; ++g)
    for (Index t = 0; t < types; ++t) {
      prototypes(g, t) = std::exp(results.log_prototypes(t, g));
      errors(g, t) = results.log_prototype_errors(t, g);
    }
  file->matrix("varm/coefficients", joined_coefficients(fitted).view());
  file->matrix("varm/standard_errors", joined_errors(fitted).view());
  file->matrix("varm/prototypes", prototypes.view());
  file->matrix("varm/prototype_errors", errors.view());
  file->dictionary("uns/prototypes");
  file->array("uns/prototypes/coefficient_names", coefficient_names(fitted));
  file->array("uns/prototypes/type_names", fitted.design.type_names());
  if (!input.batch_word.empty()) {
    file->array("uns/prototypes/batch_names", fitted.design.batch_names());
    file->array("uns/prototypes/batch_weights", copied(results.batch_weights));
  }
  std::vector<std::string> rows, levels, genes_of_markers;
  std::vector<double> fold, error, statistic, p_value, adjusted;
  for (const auto& marker : fitted.markers) {
    rows.push_back(std::to_string(rows.size()));
    levels.push_back(marker.level);
    genes_of_markers.push_back(input.genes[static_cast<std::size_t>(marker.gene)]);
    fold.push_back(marker.log2_fold_change);
    error.push_back(marker.standard_error);
    statistic.push_back(marker.statistic);
    p_value.push_back(marker.p_value);
    adjusted.push_back(marker.adjusted_p);
  }
  const std::string markers = "uns/prototypes/markers";
  file->frame(markers, rows);
  file->column(markers, "level", levels);
  file->column(markers, "gene", genes_of_markers);
  file->column(markers, "log2_fold_change", fold);
  file->column(markers, "standard_error", error);
  file->column(markers, "statistic", statistic);
  file->column(markers, "p_value", p_value);
  file->column(markers, "adjusted_p_value", adjusted);
  file->text("uns/prototypes/summary", summary_text);
  return file;
}
#endif

}  // namespace

const char* word_of(eosin::glm::FitStatus status) {
  using eosin::glm::FitStatus;
  switch (status) {
    case FitStatus::no_counts:
      return "no_counts";
    case FitStatus::iteration_limit:
      return "iteration_limit";
    case FitStatus::separated:
      return "separated";
    case FitStatus::disconnected:
      return "disconnected";
    case FitStatus::converged:
      return "converged";
  }
  return "";
}

const char* word_of(eosin::glm::DispersionStatus status) {
  using eosin::glm::DispersionStatus;
  switch (status) {
    case DispersionStatus::given:
      return "given";
    case DispersionStatus::maximum:
      return "maximum";
    case DispersionStatus::zero:
      return "zero";
    case DispersionStatus::upper_limit:
      return "upper_limit";
    case DispersionStatus::none:
      return "none";
    case DispersionStatus::shrunken:
      return "shrunken";
  }
  return "";
}

void write_results(const Fitted& fitted, Seconds seconds) {
  const auto begin = std::chrono::steady_clock::now();
  const fs::path out = fitted.options.out;
  common::make_folders(out, {});
  Files files(out);
  const auto& results = fitted.results;
  write_coefficients(files.add("coefficients.csv"), fitted, joined_coefficients(fitted));
  write_coefficients(files.add("standard_errors.csv"), fitted, joined_errors(fitted));
  write_prototypes(files.add("prototypes.csv"), fitted,
                   [&](Index t, Index g) { return std::exp(results.log_prototypes(t, g)); });
  write_prototypes(files.add("prototype_errors.csv"), fitted,
                   [&](Index t, Index g) { return results.log_prototype_errors(t, g); });
  write_genes(files.add("genes.csv"), fitted);
  write_markers(files.add("markers.csv"), fitted);
#if EOSIN_HAS_HDF5
  std::unique_ptr<eosin::io::AnnDataWriter> h5ad;
  if (!fitted.options.h5ad.empty()) h5ad = make_h5ad(fitted, summary(fitted, seconds).dump(1));
#endif
  // A folder with summary.json is complete: an older one goes first, the new one comes last.
  std::error_code ignored;
  fs::remove(out / "summary.json", ignored);
#if EOSIN_HAS_HDF5
  if (h5ad) h5ad->commit(fitted.options.h5ad);
#endif
  files.commit();
  seconds.write = common::seconds_since(begin);
  eosin::io::write_file(out / "summary.json", summary(fitted, seconds).dump(1) + "\n");
}

}  // namespace prototypes
