#pragma once

// Cell-type prototypes: the mean expression of each type at size factor 1, as log values [types x genes], and how they
// come from labelled cells: the negative binomial GLM of fit.hpp, standardised over the batches,
//
//   log p_tg = log sum_b w_b exp(beta_tg + gamma_bg)
//
// A type without counts of a gene has the exact prototype 0, log -inf.

#include <eosin/core/context.hpp>
#include <eosin/glm/fit.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

/// Prototypes with their names. Log expression is -inf for an exact 0 and NaN where it is not estimable.
template <class T>
class Prototypes {
 public:
  Prototypes() = default;
  /// log_expression [types x genes]. Gene names may be left empty. Throws ShapeError where names do not fit.
  Prototypes(std::vector<std::string> type_names, std::vector<std::string> gene_names, Matrix<T> log_expression)
      : type_names_(std::move(type_names)),
        gene_names_(std::move(gene_names)),
        log_expression_(std::move(log_expression)) {
    require_size("Prototypes", "type_names", "elements", static_cast<Index>(type_names_.size()), types(), "types");
    if (!gene_names_.empty())
      require_size("Prototypes", "gene_names", "elements", static_cast<Index>(gene_names_.size()), genes(), "genes");
  }

  Index types() const { return log_expression_.rows(); }
  Index genes() const { return log_expression_.cols(); }
  const std::vector<std::string>& type_names() const { return type_names_; }
  const std::vector<std::string>& gene_names() const { return gene_names_; }
  const Matrix<T>& log_expression() const { return log_expression_; }
  /// [types x genes], exact zeros included.
  Matrix<T> expression() const {
    Matrix<T> result(types(), genes());
    for (Index t = 0; t < types(); ++t)
      for (Index g = 0; g < genes(); ++g) result(t, g) = std::exp(log_expression_(t, g));
    return result;
  }
  /// The types whose prototype of the gene is not estimable; 0 for most genes.
  Index not_estimable(Index gene) const {
    Index count = 0;
    for (Index t = 0; t < types(); ++t) count += std::isnan(log_expression_(t, gene));
    return count;
  }
  /// The same in another precision.
  template <class U>
  Prototypes<U> as() const {
    Matrix<U> values(types(), genes());
    for (Index t = 0; t < types(); ++t)
      for (Index g = 0; g < genes(); ++g) values(t, g) = static_cast<U>(log_expression_(t, g));
    return {type_names_, gene_names_, std::move(values)};
  }

 private:
  std::vector<std::string> type_names_, gene_names_;
  Matrix<T> log_expression_;
};

struct PrototypeOptions {
  Categories type;                           ///< cell type of each cell; cells without one are left out
  Categories batch = {};                     ///< batch of each cell; none: one batch
  FitOptions fit = {};                       ///< dispersion, size factors, weights of the batches
  std::vector<std::string> gene_names = {};  ///< [genes] or empty
};

/// Prototypes from labelled cells. `counts`: a GeneBlockSource (genes x cells), SparseMatrix<T> or dense MatrixView<T>
/// of the orientation given. Errors as in fit().
template <class Counts>
Prototypes<double> fit_prototypes(CpuContext& context, Counts&& counts, PrototypeOptions options,
                                  Orientation orientation = Orientation::genes_by_cells) {
  FitOptions settings = options.fit;
  settings.standard_errors = false;
  const Design design(std::move(options.type), std::move(options.batch));
  FitResults results = [&] {
    if constexpr (GeneBlockSource<std::remove_reference_t<Counts>>) {
      require_value(orientation == Orientation::genes_by_cells, "fit_prototypes",
                    "a source of genes has no orientation");
      return fit(context, counts, design, settings);
    } else {
      return fit(context, counts, design, settings, orientation);
    }
  }();
  return {design.type_names(), std::move(options.gene_names), std::move(results.log_prototypes)};
}

}  // namespace eosin::glm
