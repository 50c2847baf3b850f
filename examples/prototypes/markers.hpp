#pragma once

// Marker genes of the levels of each factor, from the fit itself. For a level t of the types, with coefficients beta:
//
//   log2 fold change   [beta_t - mean_{u != t} beta_u] / log 2
//   standard error     from the covariances of the gene's coefficients
//   p                  Wald's test that the level is not above the others, one-sided, adjusted by Benjamini and Hochberg
//                      over the genes of the level
//
// and the same for the levels of batches and covariates. Types differ in their coefficients as the logarithms of their
// standardised prototypes do. A type without counts among the others enters with half a count over its cells and a
// standard error of 1; batches and covariates' levels without counts, and what is not estimable, are left out. Tests by
// likelihood ratio: eosin/glm/markers.hpp.

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
    variance_ = change_;
  }

  /// Of one gene; several threads may add different genes.
  void add(Index gene, const eosin::glm::GeneFit& fit) {
    Index row = 0;
    for (const auto& set : sets_) {
      std::vector<double> weights(static_cast<std::size_t>(set.types ? design_->types() : design_->columns()), 0.0);
      for (Index level = set.begin; level < set.end; ++level, ++row) {
        const double own = coefficient(fit, set, level);
        const Index others = count_others(set, level, [&](Index u) { return coefficient(fit, set, u); });
        if (!std::isfinite(own) || others == 0) continue;
        double sum = 0.0;
        for (Index u = set.begin; u < set.end; ++u) {
          const double other = coefficient(fit, set, u);
          const bool counts = u != level && std::isfinite(other);
          weights[static_cast<std::size_t>(u)] = counts ? -1.0 / static_cast<double>(others) : 0.0;
          if (counts) sum += other;
        }
        weights[static_cast<std::size_t>(level)] = 1.0;
        change_(row, gene) = own - sum / static_cast<double>(others);
        variance_(row, gene) = set.types ? fit.variance(weights) : fit.variance({}, weights);
      }
    }
  }

  /// Genes above the others with an adjusted p of at most `largest_p`; by level, the surest first.
  std::vector<Marker> finish(const eosin::glm::FitResults& results, double largest_p = 0.05) {
    add_types_without_counts(results);
    std::vector<Marker> markers;
    Index row = 0;
    for (const auto& set : sets_)
      for (Index level = set.begin; level < set.end; ++level, ++row) {
        std::vector<Marker> found;
        std::vector<double> p;
        for (Index g = 0; g < change_.cols(); ++g) {
          const double change = change_(row, g), error = std::sqrt(variance_(row, g));
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

  /// Levels beside `level` that enter the mean: estimable, and among batches and covariates with counts.
  template <class Value>
  static Index count_others(const Set& set, Index level, Value&& value) {
    Index others = 0;
    for (Index u = set.begin; u < set.end; ++u) {
      const double other = value(u);
      others += u != level && (std::isfinite(other) || (set.types && !std::isnan(other)));
    }
    return others;
  }

  void add_types_without_counts(const eosin::glm::FitResults& results) {
    std::vector<double> depth(static_cast<std::size_t>(design_->types()), 0.0);
    for (Index cell = 0; cell < design_->cells(); ++cell)
      if (design_->has(cell)) depth[static_cast<std::size_t>(design_->type_of(cell))] += results.size_factors[cell];
    const auto& beta = results.type_coefficients;
    for (Index g = 0; g < change_.cols(); ++g)
      for (Index t = 0; t < design_->types(); ++t) {
        if (std::isnan(change_(t, g))) continue;
        const double to_prototype = results.log_prototypes(t, g) - beta(g, t);
        const auto others =
            static_cast<double>(count_others(sets_.front(), t, [&](Index u) { return beta(g, u); }));
        for (Index u = 0; u < design_->types(); ++u) {
          if (beta(g, u) != -std::numeric_limits<double>::infinity()) continue;
          change_(t, g) -= (std::log(0.5 / depth[static_cast<std::size_t>(u)]) - to_prototype) / others;
          variance_(t, g) += 1.0 / (others * others);
        }
      }
  }

  const eosin::glm::Design* design_;
  std::vector<Set> sets_;
  Index levels_ = 0;
  eosin::Matrix<double> change_, variance_;  // [levels x genes], natural logarithm
};

}  // namespace prototypes
