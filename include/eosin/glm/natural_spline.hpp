#pragma once

// Least squares on a natural cubic spline: a smooth trend of few degrees of freedom, linear beyond the outermost knots.
// Truncated powers with knots t_0 < ... < t_K (Hastie, Tibshirani and Friedman, Elements of Statistical
// Learning, 5.2.1):
//
//   1, x, d_j(x) - d_{K-1}(x) for j < K - 1,      d_j(x) = [(x - t_j)_+^3 - (x - t_K)_+^3] / (t_K - t_j)

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/glm/dense_factor.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace eosin::glm {

class NaturalSpline {
 public:
  /// Fits y on x with at most `columns` >= 1 columns (1: the mean, 2: a line); knots at quantiles of x; fewer where x
  /// has few distinct values. Throws ShapeError, ValueError on numbers that are not finite or no point.
  NaturalSpline(VectorView<const double> x, VectorView<const double> y, Index columns) {
    require_size("NaturalSpline", "y", "elements", y.size(), x.size(), "points");
    require_value(x.size() > 0 && columns > 0, "NaturalSpline", "there is no point or no column");
    std::vector<double> sorted(static_cast<std::size_t>(x.size()));
    for (Index i = 0; i < x.size(); ++i) {
      require_value(std::isfinite(x[i]) && std::isfinite(y[i]), "NaturalSpline", "a number is not finite");
      sorted[static_cast<std::size_t>(i)] = x[i];
    }
    std::sort(sorted.begin(), sorted.end());
    low_ = sorted.front();
    width_ = sorted.back() - low_;
    if (!(width_ > 0.0)) {
      width_ = 1.0;
      columns = 1;
    }
    if (columns > 2)
      for (Index j = 0; j < columns; ++j) {
        const auto place = static_cast<std::size_t>(j * (x.size() - 1) / (columns - 1));
        const double knot = (sorted[place] - low_) / width_;
        if (knots_.empty() || knot > knots_.back()) knots_.push_back(knot);
      }
    if (knots_.size() < 3) knots_.clear();
    const std::size_t n = knots_.empty() ? static_cast<std::size_t>(std::min<Index>(columns, 2)) : knots_.size();
    std::vector<double> gram(n * n, 0.0), right(n, 0.0), row(n);
    for (Index i = 0; i < x.size(); ++i) {
      basis(x[i], row);
      for (std::size_t a = 0; a < n; ++a) {
        for (std::size_t b = 0; b <= a; ++b) gram[a * n + b] += row[a] * row[b];
        right[a] += row[a] * y[i];
      }
    }
    DenseFactor factor;
    require_value(factor.factor(gram, n), "NaturalSpline", "the points do not determine the spline");
    factor.solve(right);
    coefficients_ = right;
  }

  Index columns() const { return static_cast<Index>(coefficients_.size()); }

  double operator()(double x) const {
    std::vector<double> row(coefficients_.size());
    basis(x, row);
    double sum = 0.0;
    for (std::size_t i = 0; i < row.size(); ++i) sum += coefficients_[i] * row[i];
    return sum;
  }

 private:
  /// x on the scale where the outermost knots are 0 and 1.
  void basis(double x, std::vector<double>& row) const {
    const double u = (x - low_) / width_;
    row[0] = 1.0;
    if (row.size() > 1) row[1] = u;
    if (knots_.empty()) return;
    const auto cube = [](double v) { return v > 0.0 ? v * v * v : 0.0; };
    const double last = knots_.back();
    const auto d = [&](double knot) { return (cube(u - knot) - cube(u - last)) / (last - knot); };
    const double reference = d(knots_[knots_.size() - 2]);
    for (std::size_t j = 0; j + 2 < knots_.size(); ++j) row[j + 2] = d(knots_[j]) - reference;
  }

  double low_ = 0.0, width_ = 1.0;
  std::vector<double> knots_, coefficients_;
};

}  // namespace eosin::glm
