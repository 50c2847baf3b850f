#pragma once

// Ridge probe: linear regression of expression on image features, the control that a model has to beat to have learnt
// more than its features hold.
//
//   Z = standardised features [n x D], y centred by its training mean
//   W = argmin |y - Z W|^2 + alpha |W|^2 = (Z^T Z + alpha I)^-1 Z^T y = Z^T (Z Z^T + alpha I)^-1 y
//   prediction = mean y + z W
//
// The intercept is not penalised. The smaller of the two systems (D or n unknowns) is solved, by Cholesky, for all
// genes at once. alpha is given, chosen by leaving out one training section after the other, or HEST's
// 100 / (features * genes) (Jaume et al., "HEST-1k", 2024). Only training sections are read.

#include <eosin/core/context.hpp>
#include <eosin/core/eigen.hpp>
#include <eosin/data/standardise.hpp>
#include <eosin/eval/correlation.hpp>
#include <eosin/eval/errors.hpp>

#include <Eigen/Cholesky>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eosin::eval {

/// One training section: features [spots x D] and measured expression [spots x genes]. Not owned.
template <class T>
struct ProbeSection {
  MatrixView<const T> features;
  MatrixView<const T> expression;
};

enum class RidgeStandardisation {
  /// Means and deviations of the training sections, for every section.
  training,
  /// Every section, the predicted one included, by its own means and deviations.
  per_section
};

enum class RidgeCriterion {
  /// Mean over genes of the Pearson correlation across the spots of the section left out, undefined ones as 0.
  pearson_gene_mean,
  /// Mean squared error on the section left out.
  mean_squared_error
};

struct RidgeOptions {
  /// Candidates for alpha, all positive; empty means 13 values from 1 to 1e4, evenly spaced in the logarithm.
  std::vector<double> alphas = {};
  RidgeCriterion criterion = RidgeCriterion::pearson_gene_mean;
  RidgeStandardisation standardisation = RidgeStandardisation::training;
};

/// HEST's rule for the penalty.
inline double hest_alpha(Index features, Index genes) {
  return 100.0 / (static_cast<double>(features) * static_cast<double>(genes));
}

/// `count` values from low to high, evenly spaced in the logarithm, both ends exact.
inline std::vector<double> log_grid(double low, double high, Index count) {
  require_value(low > 0 && high >= low && count >= 1 && (count > 1 || low == high), "log_grid",
                "expected 0 < low <= high and at least two values");
  std::vector<double> grid(static_cast<std::size_t>(count), low);
  for (Index i = 1; i < count; ++i)
    grid[static_cast<std::size_t>(i)] =
        i == count - 1 ? high : low * std::pow(high / low, static_cast<double>(i) / static_cast<double>(count - 1));
  return grid;
}

/// A fitted probe.
class RidgeModel {
 public:
  RidgeModel(std::optional<data::Standardiser> standardiser, RowMajor<double> weights, Eigen::VectorXd intercept,
             double alpha)
      : standardiser_(std::move(standardiser)),
        weights_(std::move(weights)),
        intercept_(std::move(intercept)),
        alpha_(alpha) {}

  Index features() const { return weights_.rows(); }
  Index genes() const { return weights_.cols(); }
  double alpha() const { return alpha_; }
  /// [features x genes], for standardised features.
  const RowMajor<double>& weights() const { return weights_; }
  const Eigen::VectorXd& intercept() const { return intercept_; }

  /// out [spots x genes] from the features [spots x D] of one section. Throws ShapeError, and ValueError for features
  /// that are not finite.
  template <class In, class Out>
  void predict(CpuContext& context, MatrixView<In> features_in, MatrixView<Out> out) const {
    require_size("RidgeModel::predict", "features", "columns", features_in.cols(), features(), "those fitted");
    require_shape("RidgeModel::predict", "out", out, features_in.rows(), genes());
    if (features_in.rows() == 0) return;
    const data::Standardiser own =
        standardiser_ ? *standardiser_ : data::Standardiser::fit(context, features_in);
    context.parallel_for(features_in.rows(), 128, [&](Index begin, Index end) {
      RowMajor<double> z(end - begin, features());
      for (Index r = begin; r < end; ++r)
        for (Index c = 0; c < features(); ++c) {
          const double x = static_cast<double>(features_in(r, c));
          if (!std::isfinite(x))
            throw ValueError("RidgeModel::predict: features(" + std::to_string(r) + ", " + std::to_string(c) +
                             ") is not finite");
          z(r - begin, c) = own(x, c);
        }
      const RowMajor<double> y = (z * weights_).rowwise() + intercept_.transpose();
      for (Index r = begin; r < end; ++r)
        for (Index g = 0; g < genes(); ++g) out(r, g) = static_cast<Out>(y(r - begin, g));
    });
  }

 private:
  std::optional<data::Standardiser> standardiser_;  // none: every section by itself
  RowMajor<double> weights_;
  Eigen::VectorXd intercept_;
  double alpha_;
};

namespace detail {

/// The normal equations of one training set, before alpha is known.
class RidgeSystem {
 public:
  template <class T>
  RidgeSystem(CpuContext& context, std::span<const ProbeSection<T>> sections, RidgeStandardisation standardisation) {
    check(sections);
    const Index features = sections.front().features.cols();
    const Index genes = sections.front().expression.cols();
    Index rows = 0;
    std::vector<MatrixView<const T>> views;
    for (const auto& section : sections) {
      rows += section.features.rows();
      views.push_back(section.features);
    }
    require_value(rows > 0, "fit_ridge", "the training sections hold no spots");
    if (standardisation == RidgeStandardisation::training)
      standardiser_ = data::Standardiser::fit(context, std::span<const MatrixView<const T>>(views));

    z_.resize(rows, features);
    y_.resize(rows, genes);
    Index at = 0;
    for (const auto& section : sections) {
      if (section.features.rows() == 0) continue;
      const Index spots = section.features.rows();
      const data::Standardiser own =
          standardiser_ ? *standardiser_ : data::Standardiser::fit(context, section.features);
      own.apply(context, section.features, MatrixView<double>(z_.data() + at * features, spots, features));
      for (Index r = 0; r < section.expression.rows(); ++r)
        for (Index g = 0; g < genes; ++g) {
          const double value = static_cast<double>(section.expression(r, g));
          if (!std::isfinite(value))
            throw ValueError("fit_ridge: expression(" + std::to_string(r) + ", " + std::to_string(g) +
                             ") of a training section is not finite");
          y_(at + r, g) = value;
        }
      at += spots;
    }
    intercept_ = y_.colwise().mean().transpose();
    y_.rowwise() -= intercept_.transpose();
    dual_ = rows < features;
    const Index unknowns = dual_ ? rows : features;
    gram_.resize(unknowns, unknowns);
    // Only the lower triangle is read by the factorisation. Blocks of rows are products of their own.
    context.parallel_for(unknowns, 128, [&](Index begin, Index end) {
      auto block = gram_.block(begin, 0, end - begin, end);
      if (dual_)
        block.noalias() = z_.middleRows(begin, end - begin) * z_.topRows(end).transpose();
      else
        block.noalias() = z_.middleCols(begin, end - begin).transpose() * z_.leftCols(end);
    });
    if (!dual_) {
      right_.resize(features, genes);
      context.parallel_for(features, 128, [&](Index begin, Index end) {
        right_.middleRows(begin, end - begin).noalias() = z_.middleCols(begin, end - begin).transpose() * y_;
      });
    }
  }

  /// One thread: callers run several alphas side by side.
  RidgeModel solve(double alpha) const {
    require_value(std::isfinite(alpha) && alpha > 0, "fit_ridge", "alpha must be positive and finite");
    Eigen::MatrixXd matrix = gram_;
    matrix.diagonal().array() += alpha;
    const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>, Eigen::Lower> factor(matrix);
    if (factor.info() != Eigen::Success)
      throw ValueError("fit_ridge: alpha " + std::to_string(alpha) +
                       " is too small for features that depend on each other; take a larger one");
    const RowMajor<double> solution = factor.solve(dual_ ? y_ : right_);
    if (!dual_) return {standardiser_, solution, intercept_, alpha};
    RowMajor<double> weights = z_.transpose() * solution;
    return {standardiser_, std::move(weights), intercept_, alpha};
  }

 private:
  template <class T>
  static void check(std::span<const ProbeSection<T>> sections) {
    require_value(!sections.empty(), "fit_ridge", "there are no training sections");
    const auto& first = sections.front();
    require_value(first.features.cols() > 0 && first.expression.cols() > 0, "fit_ridge",
                  "there are no features or no genes");
    for (std::size_t i = 0; i < sections.size(); ++i) {
      const std::string name = "section " + std::to_string(i);
      require_size("fit_ridge", name, "features", sections[i].features.cols(), first.features.cols(), "section 0");
      require_size("fit_ridge", name, "genes", sections[i].expression.cols(), first.expression.cols(), "section 0");
      require_size("fit_ridge", name, "rows of expression", sections[i].expression.rows(), sections[i].features.rows(),
                   "rows of features");
    }
  }

  std::optional<data::Standardiser> standardiser_;
  RowMajor<double> z_;
  RowMajor<double> y_;
  Eigen::VectorXd intercept_;
  Eigen::MatrixXd gram_;
  RowMajor<double> right_;
  bool dual_ = false;
};

}  // namespace detail

/// Fits the probe with a given alpha > 0 on all sections. Throws ShapeError where sections disagree, ValueError for
/// values that are not finite, no spots, or an alpha too small for the system. Cost O(n D min(n, D) + min(n, D)^3 / 3)
/// operations and n (D + genes) + min(n, D)^2 doubles.
template <class T>
RidgeModel fit_ridge(CpuContext& context, std::span<const ProbeSection<T>> sections, double alpha,
                     RidgeStandardisation standardisation = RidgeStandardisation::training) {
  return detail::RidgeSystem(context, sections, standardisation).solve(alpha);
}

/// One candidate of the search for alpha.
struct RidgeCandidate {
  double alpha = 0;
  /// Means over the sections left out.
  double pearson_gene_mean = 0;
  double mean_squared_error = 0;
};

struct RidgeSearch {
  double alpha = 0;
  std::vector<RidgeCandidate> candidates;
  /// The best alpha is the smallest or largest candidate: a wider grid might give a better one.
  bool at_edge = false;
};

/// Chooses alpha by leaving out each training section in turn; equal scores go to the larger alpha. Needs at least two
/// training sections with spots (ValueError). Deterministic for any number of threads.
template <class T>
RidgeSearch choose_ridge_alpha(CpuContext& context, std::span<const ProbeSection<T>> sections,
                               const RidgeOptions& options = {}) {
  require_value(sections.size() >= 2, "choose_ridge_alpha",
                "leaving out a training section needs at least two of them; give alpha or take HEST's rule");
  std::vector<double> alphas = options.alphas.empty() ? log_grid(1.0, 1e4, 13) : options.alphas;
  std::sort(alphas.begin(), alphas.end());
  RidgeSearch search;
  for (const double alpha : alphas) {
    require_value(std::isfinite(alpha) && alpha > 0, "choose_ridge_alpha", "every alpha must be positive and finite");
    search.candidates.push_back({alpha});
  }
  const auto count = static_cast<Index>(alphas.size());
  const double folds = static_cast<double>(sections.size());
  for (std::size_t left_out = 0; left_out < sections.size(); ++left_out) {
    std::vector<ProbeSection<T>> rest(sections.begin(), sections.end());
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(left_out));
    const detail::RidgeSystem system(context, std::span<const ProbeSection<T>>(rest), options.standardisation);
    const ProbeSection<T>& held = sections[left_out];
    require_size("choose_ridge_alpha", "section " + std::to_string(left_out), "features", held.features.cols(),
                 rest.front().features.cols(), "the others");
    require_shape("choose_ridge_alpha", "expression of section " + std::to_string(left_out), held.expression,
                  held.features.rows(), rest.front().expression.cols());
    require_value(held.features.rows() > 0, "choose_ridge_alpha",
                  "section " + std::to_string(left_out) + " has no spots");
    // One alpha per task; each works alone on its thread.
    context.parallel_for(count, 1, [&](Index begin, Index) {
      CpuContext single({.threads = 1});
      const RidgeModel model = system.solve(alphas[static_cast<std::size_t>(begin)]);
      Matrix<double> predicted(held.expression.rows(), held.expression.cols());
      model.predict(single, held.features, predicted.view());
      RidgeCandidate& candidate = search.candidates[static_cast<std::size_t>(begin)];
      candidate.pearson_gene_mean +=
          mean_of(pearson_per_gene(single, predicted.view(), held.expression)).mean_undefined_as_zero / folds;
      candidate.mean_squared_error += errors(single, predicted.view(), held.expression).mse / folds;
    });
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < search.candidates.size(); ++i) {
    const RidgeCandidate& a = search.candidates[i];
    const RidgeCandidate& b = search.candidates[best];
    if (options.criterion == RidgeCriterion::pearson_gene_mean ? a.pearson_gene_mean >= b.pearson_gene_mean
                                                               : a.mean_squared_error <= b.mean_squared_error)
      best = i;
  }
  search.alpha = search.candidates[best].alpha;
  search.at_edge = search.candidates.size() > 1 && (best == 0 || best + 1 == search.candidates.size());
  return search;
}

}  // namespace eosin::eval
