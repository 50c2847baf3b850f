#pragma once

// Standardisation of features: z = (x - mean) / deviation per column, deviation = sqrt(mean (x - mean)^2).
//
// Fitted on the training sections together and applied to every section (fit), or on each section by itself
// (standardise_per_section), which takes out stain and scanner shifts at the price of every difference in level between
// sections. Both read features only, never expression. A feature that is constant in what was fitted gives 0 wherever
// it is applied.

#include <eosin/core/context.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace eosin::data {

/// Column means and deviations of features, ready to be applied.
class Standardiser {
 public:
  /// Fits to all rows of all sections, each [n_s x features]. Throws ShapeError where sections differ in their number
  /// of features, ValueError where there is no row or a value is not finite (naming section, row and feature). Two
  /// passes in double; deterministic for any number of threads.
  template <class T>
  static Standardiser fit(CpuContext& context, std::span<const MatrixView<const T>> sections) {
    Index rows = 0;
    for (const auto& section : sections) {
      require_size("Standardiser::fit", "a section", "features", section.cols(), sections.front().cols(),
                   "those of the first");
      rows += section.rows();
    }
    require_value(rows > 0, "Standardiser::fit", "there are no rows");
    const Index features = sections.front().cols();
    Standardiser result;
    result.mean_ = Vector<double>(features);
    result.inverse_deviation_ = Vector<double>(features);
    context.parallel_for(features, 64, [&](Index begin, Index end) {
      result.fit_columns(sections, rows, begin, end);
    });
    return result;
  }

  template <class T>
  static Standardiser fit(CpuContext& context, MatrixView<T> section) {
    const MatrixView<const std::remove_const_t<T>> view = section;
    return fit(context, std::span<const MatrixView<const std::remove_const_t<T>>>(&view, 1));
  }

  /// From stored values, as mean() and inverse_deviation() gave them. ShapeError where their sizes differ.
  Standardiser(Vector<double> mean, Vector<double> inverse_deviation)
      : mean_(std::move(mean)), inverse_deviation_(std::move(inverse_deviation)) {
    require_size("Standardiser", "inverse_deviation", "entries", inverse_deviation_.size(), mean_.size(),
                 "those of mean");
  }

  Index features() const { return mean_.size(); }
  const Vector<double>& mean() const { return mean_; }
  /// 1 / deviation; 0 for a constant feature.
  const Vector<double>& inverse_deviation() const { return inverse_deviation_; }
  Index constant_features() const {
    return static_cast<Index>(std::count(inverse_deviation_.begin(), inverse_deviation_.end(), 0.0));
  }

  /// z of one value.
  double operator()(double x, Index feature) const { return (x - mean_[feature]) * inverse_deviation_[feature]; }

  /// out = z of in, both [n x features]; they may be the same memory. Throws ShapeError.
  template <class In, class Out>
  void apply(CpuContext& context, MatrixView<In> in, MatrixView<Out> out) const {
    require_size("Standardiser::apply", "in", "features", in.cols(), features(), "those fitted");
    require_shape("Standardiser::apply", "out", out, in.rows(), in.cols());
    context.parallel_for(in.rows(), 64, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r)
        for (Index c = 0; c < in.cols(); ++c)
          out(r, c) = static_cast<Out>((*this)(static_cast<double>(in(r, c)), c));
    });
  }

 private:
  Standardiser() = default;

  template <class T>
  void fit_columns(std::span<const MatrixView<const T>> sections, Index rows, Index begin, Index end) {
    const auto width = static_cast<std::size_t>(end - begin);
    std::vector<double> low(width, INFINITY), high(width, -INFINITY), squares(width, 0.0);
    for (std::size_t s = 0; s < sections.size(); ++s)
      for (Index r = 0; r < sections[s].rows(); ++r)
        for (Index c = begin; c < end; ++c) {
          const double x = static_cast<double>(sections[s](r, c));
          if (!std::isfinite(x))
            throw ValueError("Standardiser::fit: section " + std::to_string(s) + ", row " + std::to_string(r) +
                             ", feature " + std::to_string(c) + " is not finite");
          const auto i = static_cast<std::size_t>(c - begin);
          low[i] = std::min(low[i], x);
          high[i] = std::max(high[i], x);
          mean_[c] += x;
        }
    for (Index c = begin; c < end; ++c) mean_[c] /= static_cast<double>(rows);
    for (const auto& section : sections)
      for (Index r = 0; r < section.rows(); ++r)
        for (Index c = begin; c < end; ++c) {
          const double centred = static_cast<double>(section(r, c)) - mean_[c];
          squares[static_cast<std::size_t>(c - begin)] += centred * centred;
        }
    for (Index c = begin; c < end; ++c) {
      const auto i = static_cast<std::size_t>(c - begin);
      const double deviation = std::sqrt(squares[i] / static_cast<double>(rows));
      if (low[i] == high[i]) mean_[c] = low[i];
      inverse_deviation_[c] = low[i] == high[i] || deviation == 0 ? 0.0 : 1.0 / deviation;
    }
  }

  Vector<double> mean_;
  Vector<double> inverse_deviation_;
};

/// Standardises a section by its own means and deviations; in and out [n x features] may be the same memory.
template <class In, class Out>
void standardise_per_section(CpuContext& context, MatrixView<In> in, MatrixView<Out> out) {
  Standardiser::fit(context, in).apply(context, in, out);
}

}  // namespace eosin::data
