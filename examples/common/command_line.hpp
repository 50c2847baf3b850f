#pragma once

// What the command lines of the programs share: choices by word, numbers in a range.

#include "common/report_choices.hpp"
#include "common/words.hpp"

#include <eosin/io/number.hpp>

#include <CLI/CLI.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <string>

namespace common {

template <class E>
CLI::Option* choice(CLI::App& app, const std::string& name, E& target, const Words<E>& words, const std::string& help) {
  std::string list;
  for (const auto& [word, meaning] : words) list += (list.empty() ? "" : "|") + word;
  return app
      .add_option_function<std::string>(
          name, [&target, &words](const std::string& word) { target = meaning_of(words, word); },
          help + " [default: " + word_of(words, target) + "]")
      ->type_name(list)
      ->check([&words, list](const std::string& word) {
        for (const auto& [known, meaning] : words)
          if (known == word) return std::string();
        return "'" + word + "' is none of " + list;
      });
}

template <class E>
void optional_choice(CLI::App& app, const std::string& name, std::optional<E>& target, const Words<E>& words,
                     const std::string& help) {
  std::string list;
  for (const auto& [word, meaning] : words) list += (list.empty() ? "" : "|") + word;
  app.add_option_function<std::string>(
         name, [&target, &words](const std::string& word) { target = meaning_of(words, word); }, help)
      ->type_name(list)
      ->check([&words, list](const std::string& word) {
        for (const auto& [known, meaning] : words)
          if (known == word) return std::string();
        return "'" + word + "' is none of " + list;
      });
}

/// A finite number in the range; the checks of CLI11 let NaN pass.
inline CLI::Validator in_range(double low, double high, const std::string& name) {
  return CLI::Validator(
      [low, high](const std::string& text) {
        const auto value = eosin::io::parse_number(text);
        if (value && std::isfinite(*value) && *value >= low && *value <= high) return std::string();
        std::string range = "of at least " + eosin::io::number_text(low, 6);
        if (std::isfinite(high)) range += " and at most " + eosin::io::number_text(high, 6);
        return "'" + text + "' is no number " + range;
      },
      name);
}
inline CLI::Validator at_least(double low, const std::string& name) {
  return in_range(low, std::numeric_limits<double>::infinity(), name);
}
inline const CLI::Validator not_negative = at_least(0, "NONNEGATIVE");
inline const CLI::Validator positive = at_least(std::numeric_limits<double>::min(), "POSITIVE");
inline const CLI::Validator some = at_least(1, "POSITIVE");  // of what is counted
inline const CLI::Validator thread_count = in_range(0, 4096, "NONNEGATIVE");

template <class T>
CLI::Option* optional_number(CLI::App& app, const std::string& name, std::optional<T>& target,
                             const std::string& help) {
  return app.add_option_function<T>(
      name, [&target](const T& value) { target = value; }, help);
}

/// What the report is to show: the same options for every program that writes one.
inline void add_report_options(CLI::App& app, study::ReportChoices& choices) {
  app.add_option("--show", choices.show, "genes mapped in the report beside the best, median and worst ones")
      ->delimiter(',')
      ->type_name("GENE,...");
  optional_number(app, "--domains", choices.domains,
                  "spatial domains per test section, 0 none [default: as many as its annotation has labels]")
      ->check(in_range(0, 1000, "NONNEGATIVE"));
}

/// The command as it was typed, for the record.
inline std::string command_of(int argc, char** argv) {
  std::string command;
  for (int i = 0; i < argc; ++i) command += (i > 0 ? " " : "") + std::string(argv[i]);
  return command;
}

}  // namespace common
