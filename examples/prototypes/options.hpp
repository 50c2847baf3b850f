#pragma once

// Everything a run of the program depends on, as typed options: filled from the command line, written to summary.json.

#include "common/words.hpp"

#include <eosin/core/config.hpp>
#include <eosin/glm/gene_blocks.hpp>
#include <eosin/glm/size_factors.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace prototypes {

using common::Words;
using eosin::Index;

inline const Words<eosin::glm::Orientation> orientation_words{
    {"genes-by-cells", eosin::glm::Orientation::genes_by_cells},
    {"cells-by-genes", eosin::glm::Orientation::cells_by_genes}};
inline const Words<eosin::glm::SizeFactorMethod> size_factor_words{
    {"total", eosin::glm::SizeFactorMethod::total},
    {"normed-sum", eosin::glm::SizeFactorMethod::normed_sum},
    {"poscounts", eosin::glm::SizeFactorMethod::poscounts}};

/// Size factors from a column of the cells, used as they are.
struct SizeFactorColumn {
  std::string name;
};
using SizeFactorChoice = std::variant<eosin::glm::SizeFactorMethod, SizeFactorColumn>;

enum class DispersionMethod { cox_reid, cox_reid_plugin, maximum_likelihood, shrunken };
inline const Words<DispersionMethod> dispersion_words{{"cox-reid", DispersionMethod::cox_reid},
                                                      {"cox-reid-plugin", DispersionMethod::cox_reid_plugin},
                                                      {"ml", DispersionMethod::maximum_likelihood},
                                                      {"shrunken", DispersionMethod::shrunken}};
/// One dispersion for all genes.
struct FixedDispersion {
  double value = 0;
};
/// Dispersions from a table with the columns gene and dispersion.
struct DispersionFile {
  std::string path;
};
using DispersionChoice = std::variant<DispersionMethod, FixedDispersion, DispersionFile>;

/// Only cells whose `column` holds `value` take part.
struct Condition {
  std::string column, value;
};

struct Options {
  std::vector<std::string> counts, cells, features;
  std::string label_column, batch_column;
  std::vector<std::string> covariates;
  SizeFactorChoice size_factors = eosin::glm::SizeFactorMethod::total;
  DispersionChoice dispersion = DispersionMethod::cox_reid;
  std::vector<Condition> conditions;
  std::string genes;                                   ///< list of genes; empty: all
  std::optional<eosin::glm::Orientation> orientation;  ///< of text files; none: guessed
  std::string matrix = "X";                            ///< of h5ad files
  int threads = 0;                                     ///< 0: all
  Index memory = Index{2} << 30;                       ///< bytes for counts
  std::string out, h5ad;
  bool quiet = false;
};

struct EvaluateOptions {
  double hold_out = 0.2;
  std::uint64_t seed = 1;
};

/// The word of the command line for a choice.
inline std::string text_of(const SizeFactorChoice& choice) {
  if (const auto* column = std::get_if<SizeFactorColumn>(&choice)) return "column:" + column->name;
  return common::word_of(size_factor_words, std::get<eosin::glm::SizeFactorMethod>(choice));
}
std::string text_of(const DispersionChoice& choice);

/// From the words of the command line; nothing for what is none. Numbers must be finite and not negative.
std::optional<SizeFactorChoice> parse_size_factors(const std::string& text);
std::optional<DispersionChoice> parse_dispersion(const std::string& text);
/// COLUMN=VALUE.
std::optional<Condition> parse_condition(const std::string& text);
/// Bytes: a number and optionally B, kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024).
std::optional<Index> parse_bytes(const std::string& text);

}  // namespace prototypes
