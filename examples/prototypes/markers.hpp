#pragma once

// Marker genes of the levels of each factor, from the fit itself. For a level t of the types, with coefficients beta:
//
//   log2 fold change   [beta_t - log mean_{u != t} exp(beta_u)] / log 2
//   standard error     delta method: the gradient is e_t - sum_u w_u e_u, w_u proportional to exp(beta_u), with the
//                      covariances of the coefficients of the gene
//   p                  Wald's test that the level is not above the others, one-sided, adjusted by Benjamini and Hochberg
//                      over the genes of the level
//
// and the same for the levels of batches and covariates. Types differ in their coefficients as their standardised
// prototypes do. Levels without counts among the others add nothing to the mean; where none of the other types has a
// count, half a count over all their cells stands for their mean, with a standard error of 1. Coefficients that are not
// estimable are left out. Tests by likelihood ratio: eosin/glm/markers.hpp.

#include <eosin/glm/benjamini_hochberg.hpp>
#include <eosin/glm/design.hpp>
#include <eosin/glm/fit.hpp>
#include <eosin/math/distributions.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace prototypes {

struct Marker {
  std::string level;  ///< "type:NAME", "batch:NAME", "COVARIATE:NAME"
  Index gene = 0;
  double log2_fold_change = 0, standard_error = 0;  ///< both to base 2
  double statistic = 0, p_value = 1, adjusted_p = 1;
};

/// Collects the tests of all genes while they are fitted.
class MarkerTests {
 public:
  /// `batches`: whether the design's batches are the user's.
  MarkerTests(const eosin::glm::Design& design, bool batches, Index genes) : design_(&design) {
    sets_.push_back({true, 0, design.types()});
    for (Index f = batches ? 0 : 1; f < design.factors(); ++f)
      sets_.push_back({false, design.column_begin(f), design.column_begin(f + 1)});
    for (const auto& set : sets_) levels_ += set.end - set.begin;
    change_ = eosin::Matrix<double>(levels_, genes);
    change_.fill(std::numeric_limits<double>::quiet_NaN());
    error_ = change_;
  }

  /// Of one gene; several threads may add different genes.
  void add(Index gene, const eosin::glm::GeneFit& fit) {
    Index row = 0;
    for (const auto& set : sets_) {
      std::vector<double> value(static_cast<std::size_t>(set.end - set.begin));
      for (Index i = 0; i < set.end - set.begin; ++i)
        value[static_cast<std::size_t>(i)] = coefficient(fit, set, set.begin + i);
      std::vector<double> weights(static_cast<std::size_t>(set.types ? design_->types() : design_->columns()), 0.0);
      for (Index i = 0; i < set.end - set.begin; ++i, ++row) {
        const double own = value[static_cast<std::size_t>(i)];
        if (!std::isfinite(own)) continue;
        double largest = -std::numeric_limits<double>::infinity();
        Index others = 0;
        for (Index u = 0; u < set.end - set.begin; ++u) {
          if (u == i || std::isnan(value[static_cast<std::size_t>(u)])) continue;
          ++others;
          largest = std::max(largest, value[static_cast<std::size_t>(u)]);
        }
        if (!std::isfinite(largest)) continue;
        double sum = 0.0;
        for (Index u = 0; u < set.end - set.begin; ++u) {
          const double other = value[static_cast<std::size_t>(u)];
          const double share = u == i || std::isnan(other) ? 0.0 : std::exp(other - largest);
          weights[static_cast<std::size_t>(set.begin + u)] = -share;
          sum += share;
        }
        for (double& weight : weights) weight /= sum;
        weights[static_cast<std::size_t>(set.begin + i)] = 1.0;
        change_(row, gene) = own - largest - std::log(sum / static_cast<double>(others));
        error_(row, gene) = std::sqrt(set.types ? fit.variance(weights) : fit.variance({}, weights));
        std::fill(weights.begin(), weights.end(), 0.0);
      }
    }
  }

  /// Genes above the others with an adjusted p of at most `largest_p`; by level, the surest first.
  std::vector<Marker> finish(const eosin::glm::FitResults& results, double largest_p = 0.05) {
    add_sole_types(results);
    std::vector<Marker> markers;
    Index row = 0;
    for (const auto& set : sets_)
      for (Index level = set.begin; level < set.end; ++level, ++row) {
        std::vector<Marker> found;
        std::vector<double> p;
        for (Index g = 0; g < change_.cols(); ++g) {
          const double change = change_(row, g), error = error_(row, g);
          if (std::isnan(change) || !(error > 0.0)) continue;
          const double z = change / error;
          p.push_back(eosin::math::normal_upper_tail(z));
          found.push_back({name(set, level), g, change / std::log(2.0), error / std::log(2.0), z, p.back()});
        }
        const auto adjusted = eosin::glm::benjamini_hochberg(eosin::VectorView<const double>(p));
        for (std::size_t i = 0; i < found.size(); ++i) found[i].adjusted_p = adjusted[static_cast<Index>(i)];
        std::erase_if(found, [&](const Marker& m) { return !(m.log2_fold_change > 0.0 && m.adjusted_p <= largest_p); });
        std::sort(found.begin(), found.end(), [](const Marker& a, const Marker& b) {
          return a.statistic != b.statistic ? a.statistic > b.statistic : a.gene < b.gene;
        });
        std::move(found.begin(), found.end(), std::back_inserter(markers));
      }
    return markers;
  }

 private:
  /// Types, or columns of the design.
  struct Set {
    bool types;
    Index begin, end;
  };

  /// -inf without counts, NaN not estimable.
  static double coefficient(const eosin::glm::GeneFit& fit, const Set& set, Index i) {
    return set.types ? fit.type_coefficient(i) : fit.column_coefficient(i);
  }
  std::string name(const Set& set, Index level) const {
    return set.types ? "type:" + design_->type_names()[static_cast<std::size_t>(level)] : design_->column_name(level);
  }

  /// Genes with counts in one type alone.
  void add_sole_types(const eosin::glm::FitResults& results) {
    std::vector<double> depth(static_cast<std::size_t>(design_->types()), 0.0);
    double all = 0.0;
    for (Index cell = 0; cell < design_->cells(); ++cell)
      if (design_->has(cell)) {
        depth[static_cast<std::size_t>(design_->type_of(cell))] += results.size_factors[cell];
        all += results.size_factors[cell];
      }
    for (Index g = 0; g < change_.cols(); ++g)
      for (Index t = 0; t < design_->types(); ++t) {
        const double own = results.log_prototypes(t, g), error = results.log_prototype_errors(t, g);
        if (!std::isnan(change_(t, g)) || !std::isfinite(own) || !std::isfinite(error)) continue;
        bool sole = design_->types() > 1;
        for (Index u = 0; u < design_->types(); ++u)
          sole = sole && (u == t || results.log_prototypes(u, g) == -std::numeric_limits<double>::infinity());
        if (!sole) continue;
        change_(t, g) = own - std::log(0.5 / (all - depth[static_cast<std::size_t>(t)]));
        error_(t, g) = std::sqrt(error * error + 1.0);
      }
  }

  const eosin::glm::Design* design_;
  std::vector<Set> sets_;
  Index levels_ = 0;
  eosin::Matrix<double> change_, error_;  // [levels x genes], natural logarithm
};

}  // namespace prototypes
