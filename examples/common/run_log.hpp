#pragma once

// What a training leaves in the folder of a run: log.jsonl with one JSON object per epoch, and the results, which do
// not outlive the model they belong to.

#include "common/report_data.hpp"

#include <eosin/core/error.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/text.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace common {

/// Removes report, metrics and tables that an earlier run wrote into `out`, also those of further methods.
inline void remove_results(const std::filesystem::path& out) {
  for (const char* result : {"metrics.json", "report.html"}) std::filesystem::remove(out / result);
  for (const char* folder : {"predictions", "compositions", "genes"}) {
    if (!std::filesystem::is_directory(out / folder)) continue;
    std::vector<std::filesystem::path> tables;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(out / folder)) {
      const auto name = entry.path().filename().string();
      if (entry.is_regular_file() && (name.ends_with(".csv.gz") || name.ends_with(".csv")))
        tables.push_back(entry.path());
    }
    for (const auto& table : tables) {
      std::filesystem::remove(table);
      if (const auto of = table.parent_path(); of != out / folder && std::filesystem::is_empty(of))
        std::filesystem::remove(of);
    }
  }
}

/// log.jsonl and the epochs it tells of. A line has member, epoch, loss, the terms of the loss, validation (null where
/// there is none), learning_rate, best and seconds; it may have more.
class RunLog {
 public:
  /// `terms` of the loss in the lines, beside "loss"; `validation` names the term or metric that validates.
  RunLog(std::vector<std::string> terms, std::string validation)
      : terms_(std::move(terms)), validation_(std::move(validation)) {}

  /// Reads the lines up to an epoch of a member, drops the others from the file (their epochs will run again), and goes
  /// on after them. Throws FileError, ParseError.
  void resume(const std::filesystem::path& path, std::size_t member, eosin::Index epoch) {
    epochs_.clear();
    std::string kept;
    eosin::io::TextReader reader(path);
    while (const auto line = reader.next_line()) {
      const auto json = nlohmann::ordered_json::parse(*line, nullptr, false);
      if (json.is_discarded()) break;  // the line that was being written when the run was killed
      try {
        const auto of = json.at("member").get<std::size_t>();
        if (of > member || (of == member && json.at("epoch").get<eosin::Index>() > epoch)) break;
        kept += std::string(*line) + "\n";
        add(json);
      } catch (const nlohmann::json::exception& error) {
        throw eosin::ParseError(path.string(), reader.line(), error.what());
      }
    }
    write_from(path, kept);
  }

  /// Begins an empty file.
  void start(const std::filesystem::path& path) {
    epochs_.clear();
    write_from(path, "");
  }

  /// Appends a line. Throws FileError.
  void write(const nlohmann::ordered_json& line) {
    file_ << line.dump() << '\n' << std::flush;
    if (!file_) throw eosin::FileError(path_.string() + ": cannot be written");
    add(line);
  }

  /// The epoch of a member whose parameters predict.
  void keep(eosin::Index member, eosin::Index epoch) {
    for (auto& known : epochs_)
      if (known.member == member) known.kept = known.epoch == epoch;
  }

  const std::vector<report::Epoch>& epochs() const { return epochs_; }

 private:
  void write_from(const std::filesystem::path& path, const std::string& lines) {
    eosin::io::write_file(path, lines);
    path_ = path;
    file_.close();
    file_.open(path_, std::ios::app);
  }

  void add(const nlohmann::ordered_json& line) {
    report::Epoch epoch;
    epoch.member = line.at("member").get<eosin::Index>();
    epoch.epoch = line.at("epoch").get<eosin::Index>();
    epoch.train = {{"total", line.at("loss").get<double>()}};
    for (const auto& term : terms_) epoch.train.push_back({term, line.at(term).get<double>()});
    if (line.at("validation").is_number()) epoch.validation = {{validation_, line.at("validation").get<double>()}};
    epoch.learning_rate = line.at("learning_rate").get<double>();
    epoch.seconds = line.at("seconds").get<double>();
    if (line.at("best").get<bool>()) keep(epoch.member, -1);
    epoch.kept = line.at("best").get<bool>();
    epochs_.push_back(std::move(epoch));
  }

  std::vector<std::string> terms_;
  std::string validation_;
  std::vector<report::Epoch> epochs_;
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace common
