#pragma once

// The one place where the switches of the program become a design and options of glm::fit.

#include "input.hpp"
#include "options.hpp"

#include <eosin/core/error.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/fit.hpp>
#include <eosin/glm/trend_shrinkage.hpp>
#include <eosin/io/table.hpp>

#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace prototypes {

inline eosin::glm::Design make_design(const Options& options, const Input& input) {
  std::vector<eosin::glm::Covariate> covariates;
  for (std::size_t i = 0; i < options.covariates.size(); ++i)
    covariates.push_back({options.covariates[i], input.covariates[i]});
  return {input.type, input.batch, std::move(covariates)};
}

/// Dispersions of the genes from a table with the columns gene and dispersion; genes that the table has beyond these
/// are ignored. Throws FileError, ParseError.
inline std::vector<double> read_dispersions(const std::string& path, const std::vector<std::string>& genes) {
  const auto table = eosin::io::Table::read(std::filesystem::path(path), {.separator = 0});
  const Index gene = table.column("gene"), dispersion = table.column("dispersion");
  std::unordered_map<std::string_view, Index> rows;
  for (Index row = 0; row < table.rows(); ++row) {
    const auto [found, fresh] = rows.emplace(table.text(row, gene), row);
    if (!fresh) table.fail(row, gene, "occurs twice (first on line " + std::to_string(table.line(found->second)) + ")");
  }
  std::vector<double> values;
  for (const auto& name : genes) {
    const auto found = rows.find(name);
    if (found == rows.end()) throw eosin::ParseError(table.file() + ": has no dispersion of gene '" + name + "'");
    values.push_back(table.number(found->second, dispersion));
    if (values.back() < 0) table.fail(found->second, dispersion, "is negative");
  }
  return values;
}

inline eosin::glm::Dispersion make_dispersion(const Options& options, const std::vector<std::string>& genes) {
  if (const auto* fixed = std::get_if<FixedDispersion>(&options.dispersion)) return eosin::glm::Fixed{fixed->value};
  if (const auto* file = std::get_if<DispersionFile>(&options.dispersion))
    return eosin::glm::Fixed{read_dispersions(file->path, genes)};
  switch (std::get<DispersionMethod>(options.dispersion)) {
    case DispersionMethod::maximum_likelihood: return eosin::glm::MaximumLikelihood{};
    case DispersionMethod::cox_reid_plugin: return eosin::glm::CoxReidPlugin{};
    case DispersionMethod::shrunken: return eosin::glm::shrunken_to_trend();
    case DispersionMethod::cox_reid: break;
  }
  return eosin::glm::CoxReid{};
}

inline eosin::glm::FitOptions make_fit_options(const Options& options, const Input& input) {
  eosin::glm::FitOptions fit;
  fit.dispersion = make_dispersion(options, input.genes);
  if (input.size_factors)
    fit.size_factors = *input.size_factors;
  else
    fit.size_factors = std::get<eosin::glm::SizeFactorMethod>(options.size_factors);
  return fit;
}

}  // namespace prototypes
