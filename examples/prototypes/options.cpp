#include "options.hpp"

#include <eosin/io/number.hpp>

#include <cmath>
#include <string_view>
#include <utility>

namespace prototypes {

namespace {

/// What follows `prefix` in `text`, if that is how it starts and something follows.
std::optional<std::string> after(const std::string& text, std::string_view prefix) {
  if (text.size() <= prefix.size() || text.compare(0, prefix.size(), prefix) != 0) return std::nullopt;
  return text.substr(prefix.size());
}

}  // namespace

std::string text_of(const DispersionChoice& choice) {
  if (const auto* fixed = std::get_if<FixedDispersion>(&choice)) return "fixed:" + eosin::io::number_text(fixed->value);
  if (const auto* file = std::get_if<DispersionFile>(&choice)) return "file:" + file->path;
  return common::word_of(dispersion_words, std::get<DispersionMethod>(choice));
}

std::optional<SizeFactorChoice> parse_size_factors(const std::string& text) {
  for (const auto& [word, meaning] : size_factor_words)
    if (word == text) return meaning;
  if (auto name = after(text, "column:")) return SizeFactorColumn{std::move(*name)};
  return std::nullopt;
}

std::optional<DispersionChoice> parse_dispersion(const std::string& text) {
  for (const auto& [word, meaning] : dispersion_words)
    if (word == text) return meaning;
  if (auto path = after(text, "file:")) return DispersionFile{std::move(*path)};
  if (const auto number = after(text, "fixed:")) {
    const auto value = eosin::io::parse_number(*number);
    if (value && std::isfinite(*value) && *value >= 0) return FixedDispersion{*value};
  }
  return std::nullopt;
}

std::optional<Condition> parse_condition(const std::string& text) {
  const auto at = text.find('=');
  if (at == std::string::npos || at == 0) return std::nullopt;
  return Condition{text.substr(0, at), text.substr(at + 1)};
}

std::optional<Index> parse_bytes(const std::string& text) {
  static constexpr std::pair<std::string_view, double> units[] = {
      {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"TiB", 1099511627776.0},
      {"kB", 1e3},     {"KB", 1e3},        {"MB", 1e6},           {"GB", 1e9},
      {"TB", 1e12},    {"B", 1.0}};
  std::string_view number = text;
  double unit = 1.0;
  for (const auto& [name, bytes] : units)
    if (number.size() > name.size() && number.substr(number.size() - name.size()) == name) {
      number.remove_suffix(name.size());
      unit = bytes;
      break;
    }
  const auto value = eosin::io::parse_number(number);
  if (!value || !(*value > 0) || *value * unit > 1e18) return std::nullopt;
  return static_cast<Index>(*value * unit);
}

}  // namespace prototypes
