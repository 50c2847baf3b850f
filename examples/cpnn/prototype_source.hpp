#pragma once

// Where the prototypes of a run come from: training spots with known proportions (soft labels), labelled single cells
// (NB GLM or naive means), a folder with prototypes.csv, or nowhere (scratch).

#include "settings.hpp"

#include "common/study.hpp"

#include <eosin/data/gene_filter.hpp>
#include <eosin/glm/gene_blocks.hpp>
#include <eosin/glm/naive_means.hpp>
#include <eosin/glm/prototypes.hpp>
#include <eosin/glm/soft_labels.hpp>
#include <eosin/io/table.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace cpnn {

using eosin::Matrix;

/// Prototypes of a model: expression [types x genes] >= 0 in counts at a library of 10,000, zeros masked; empty for
/// scratch.
struct FittedPrototypes {
  std::vector<std::string> types;
  Matrix<double> expression;
};

/// Labelled single cells [cells x genes].
struct LabelledCells {
  eosin::SparseMatrix<float> counts;
  std::vector<std::string> type;
  std::vector<std::string> batch;
  std::vector<std::string> genes;
};

/// Prototypes from the training spots that have a composition.
inline FittedPrototypes prototypes_from_spots(eosin::CpuContext& context, const study::Study& study) {
  const auto train = study.of(study.split.train);
  const auto genes = static_cast<Index>(study.genes.size());
  const auto types = static_cast<Index>(study.types.size());
  Index rows = 0;
  for (const auto* sample : train)
    for (const auto has : sample->has_composition) rows += has;
  eosin::require_value(rows > 0, "prototypes", "no training spot has a composition");
  Matrix<float> counts(rows, genes);
  Matrix<double> proportions(rows, types);
  std::vector<double> size_factors;
  Index row = 0;
  for (const auto* sample : train)
    for (Index i = 0; i < sample->size(); ++i) {
      if (sample->has_composition.empty() || !sample->has_composition[static_cast<std::size_t>(i)]) continue;
      std::copy_n(sample->counts.row(i).data(), genes, counts.row(row).data());
      double sum = 0;
      for (Index t = 0; t < types; ++t) sum += sample->composition(i, t);
      for (Index t = 0; t < types; ++t) proportions(row, t) = sample->composition(i, t) / sum;
      size_factors.push_back(sample->library[i] / study::normalisation_target);
      ++row;
    }
  eosin::glm::SoftLabelOptions options;
  options.dispersion = eosin::glm::Fixed{0.0};
  options.size_factors = std::move(size_factors);
  const auto results = eosin::glm::fit_soft_labels(
      context, eosin::glm::DenseGeneBlocks<const float>(counts.view(), eosin::glm::Orientation::cells_by_genes),
      proportions.view(), study.types, options);
  return {study.types, results.prototypes.expression()};
}

/// Prototypes from single cells by the NB GLM with batches, or as naive means.
inline FittedPrototypes prototypes_from_cells(eosin::CpuContext& context, const LabelledCells& cells,
                                              const std::vector<std::string>& genes, bool naive) {
  const auto columns = eosin::data::require_genes(cells.genes, genes, "single cells");
  const auto counts = cells.counts.select_columns(columns);
  const auto type = eosin::glm::Categories::from_labels(cells.type);
  const auto prototypes =
      naive ? eosin::glm::naive_means(
                  eosin::glm::SparseGeneBlocks<float>(counts, eosin::glm::Orientation::cells_by_genes), type)
            : eosin::glm::fit_prototypes(context, counts,
                                         {.type = type, .batch = eosin::glm::Categories::from_labels(cells.batch)},
                                         eosin::glm::Orientation::cells_by_genes);
  auto expression = prototypes.expression();
  for (Index i = 0; i < expression.size(); ++i)
    if (!std::isfinite(expression.data()[i])) expression.data()[i] = 0;  // not estimable: as if never seen
  for (Index t = 0; t < expression.rows(); ++t) {
    double total = 0;
    for (Index g = 0; g < expression.cols(); ++g) total += expression(t, g);
    if (total > 0)
      for (Index g = 0; g < expression.cols(); ++g) expression(t, g) *= study::normalisation_target / total;
  }
  return {prototypes.type_names(), std::move(expression)};
}

/// prototypes.csv of a folder: first column gene, then one column per type.
inline FittedPrototypes prototypes_from_folder(const std::filesystem::path& folder,
                                               const std::vector<std::string>& genes) {
  const auto table = eosin::io::read_numeric_table<double>(
      folder / "prototypes.csv", {.separator = ',', .values = eosin::io::Values::nonnegative});
  const auto rows = eosin::data::require_genes(table.row_names, genes, table.file);
  FittedPrototypes fitted;
  fitted.types = table.col_names;
  fitted.expression = Matrix<double>(static_cast<Index>(table.col_names.size()), static_cast<Index>(genes.size()));
  for (Index t = 0; t < fitted.expression.rows(); ++t)
    for (std::size_t g = 0; g < genes.size(); ++g)
      fitted.expression(t, static_cast<Index>(g)) = table.values(rows[g], t);
  return fitted;
}

/// Brings the types into the order of `types`, where they are the same ones, so that compositions of the samples fit.
inline void order_types(FittedPrototypes& fitted, const std::vector<std::string>& types) {
  if (fitted.types == types || fitted.types.size() != types.size()) return;
  Matrix<double> ordered(fitted.expression.rows(), fitted.expression.cols());
  for (std::size_t t = 0; t < types.size(); ++t) {
    const auto found = std::find(fitted.types.begin(), fitted.types.end(), types[t]);
    if (found == fitted.types.end()) return;
    std::copy_n(fitted.expression.row(found - fitted.types.begin()).data(), ordered.cols(),
                ordered.row(static_cast<Index>(t)).data());
  }
  fitted.types = types;
  fitted.expression = std::move(ordered);
}

/// Without masking, zeros become the smallest positive prototype.
inline void unmask(FittedPrototypes& fitted) {
  double smallest = std::numeric_limits<double>::infinity();
  for (Index i = 0; i < fitted.expression.size(); ++i)
    if (const double value = fitted.expression.data()[i]; value > 0) smallest = std::min(smallest, value);
  for (Index i = 0; i < fitted.expression.size(); ++i)
    if (!(fitted.expression.data()[i] > 0)) fitted.expression.data()[i] = smallest;
}

/// From counts to the scale of a log-normalised target, ln(1 + counts). A mixture of prototypes that predicts
/// log-normalised expression has to start from prototypes on that scale: on the scale of counts the type that expresses
/// a gene most would decide alone.
inline Matrix<double> on_log_scale(const Matrix<double>& expression) {
  Matrix<double> logs(expression.rows(), expression.cols());
  for (Index i = 0; i < logs.size(); ++i) logs.data()[i] = std::log1p(expression.data()[i]);
  return logs;
}

/// A type without any expression among the selected genes cannot be a prototype.
inline void require_expressed(const FittedPrototypes& fitted) {
  for (Index t = 0; t < fitted.expression.rows(); ++t) {
    double sum = 0;
    for (Index g = 0; g < fitted.expression.cols(); ++g) sum += fitted.expression(t, g);
    eosin::require_value(
        sum > 0, "prototypes",
        "type '" + fitted.types[static_cast<std::size_t>(t)] + "' expresses none of the selected genes");
  }
}

}  // namespace cpnn
