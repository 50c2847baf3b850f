#pragma once

// Controls that stand beside every result, because a correlation alone says little:
//
//   constant             the mean of each gene over all training spots. Its per-gene correlations are undefined; its
//                        errors are the bar that every model has to clear.
//   library size oracle  how far the depth of a spot alone goes. With x = log10(1 + library size of the spot):
//                          raw   x itself as the prediction of every gene (correlations only: it has no gene's scale)
//                          fit   least-squares line a_g + b_g x per gene over all training spots, applied to the test x
//                        An oracle: it reads the library sizes of the test section, that is, the counts that are to be
//                        predicted. It is shown, marked as such, and is never a bar to pass.
//   ridge probe          ridge.hpp
//
// Training spots are pooled over the training sections, every spot weighing the same.

#include <eosin/core/context.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eosin::eval {

/// What controls learn from: measured expression [spots x genes] on the scale that is judged, and the library size of
/// each spot (total count over all genes measured). Not owned.
template <class T>
struct ControlSection {
  MatrixView<const T> expression;
  VectorView<const double> library_size;
};

/// A control's prediction for one section.
template <class T>
struct Control {
  /// "constant", "library_size_raw" or "library_size_fit".
  const char* name;
  /// Whether it looks at the test counts.
  bool oracle;
  /// Whether its values are on the scale of expression, so that errors mean something.
  bool has_scale;
  Matrix<T> prediction;
};

namespace detail {

template <class T>
Index check_controls(std::string_view function, std::span<const MatrixView<const T>> training) {
  Index spots = 0;
  for (const auto& section : training) {
    require_size(function, "a training section", "genes", section.cols(), training.front().cols(), "the first section");
    spots += section.rows();
  }
  require_value(spots > 0, function, "the training sections hold no spots");
  return spots;
}

}  // namespace detail

/// Mean of each gene over the spots of all training sections, each [spots x genes]. Throws ShapeError where genes
/// differ in number, ValueError for no spots or a value that is not finite.
template <class T>
Vector<double> training_mean(CpuContext& context, std::span<const MatrixView<const T>> training) {
  const auto spots = static_cast<double>(detail::check_controls("training_mean", training));
  Vector<double> mean(training.front().cols());
  context.parallel_for(mean.size(), 64, [&](Index begin, Index end) {
    for (const auto& section : training)
      for (Index s = 0; s < section.rows(); ++s)
        for (Index g = begin; g < end; ++g) mean[g] += static_cast<double>(section(s, g));
    for (Index g = begin; g < end; ++g) {
      require_value(std::isfinite(mean[g]), "training_mean",
                    "gene " + std::to_string(g) + " has a value that is not finite");
      mean[g] /= spots;
    }
  });
  return mean;
}

/// log10(1 + library size): the predictor of the library size oracle. ValueError for negative or infinite sizes.
inline Vector<double> log_library_size(VectorView<const double> library_size) {
  Vector<double> x(library_size.size());
  for (Index s = 0; s < x.size(); ++s) {
    require_value(std::isfinite(library_size[s]) && library_size[s] >= 0, "log_library_size",
                  "library size of spot " + std::to_string(s) + " is negative or not finite");
    x[s] = std::log10(1 + library_size[s]);
  }
  return x;
}

/// A line per gene in x = log10(1 + library size).
struct LibrarySizeFit {
  Vector<double> intercept;
  Vector<double> slope;
};

/// Fits the lines over all training spots; slope 0 where all library sizes are equal. Errors as training_mean, and
/// ShapeError where library sizes and spots differ in number.
template <class T>
LibrarySizeFit fit_library_size(CpuContext& context, std::span<const ControlSection<T>> training) {
  std::vector<MatrixView<const T>> expression;
  std::vector<Vector<double>> x;
  double x_mean = 0;
  for (const auto& section : training) {
    require_size("fit_library_size", "library_size", "entries", section.library_size.size(), section.expression.rows(),
                 "spots");
    expression.push_back(section.expression);
    x.push_back(log_library_size(section.library_size));
    for (const double value : x.back()) x_mean += value;
  }
  const Vector<double> y_mean = training_mean(context, std::span<const MatrixView<const T>>(expression));
  Index spots = 0;
  for (const auto& section : expression) spots += section.rows();
  x_mean /= static_cast<double>(spots);
  double xx = 0, low = INFINITY, high = -INFINITY;
  for (auto& section : x)
    for (double& value : section) {
      low = std::min(low, value);
      high = std::max(high, value);
      value -= x_mean;
      xx += value * value;
    }
  LibrarySizeFit fit{Vector<double>(y_mean.size()), Vector<double>(y_mean.size())};
  context.parallel_for(y_mean.size(), 64, [&](Index begin, Index end) {
    if (low < high) {
      for (std::size_t i = 0; i < x.size(); ++i)
        for (Index s = 0; s < x[i].size(); ++s)
          for (Index g = begin; g < end; ++g)
            fit.slope[g] += x[i][s] * (static_cast<double>(expression[i](s, g)) - y_mean[g]);
      for (Index g = begin; g < end; ++g) fit.slope[g] /= xx;
    }
    for (Index g = begin; g < end; ++g) fit.intercept[g] = y_mean[g] - fit.slope[g] * x_mean;
  });
  return fit;
}

/// All controls that need no image, for a test section of which only the library sizes are given (and only the oracles
/// read them). T is the element type of the predictions. Order: constant, library_size_fit, library_size_raw.
template <class T>
std::vector<Control<T>> expression_controls(CpuContext& context, std::span<const ControlSection<T>> training,
                                            VectorView<const double> test_library_size) {
  std::vector<MatrixView<const T>> expression;
  for (const auto& section : training) expression.push_back(section.expression);
  const Vector<double> mean = training_mean(context, std::span<const MatrixView<const T>>(expression));
  const LibrarySizeFit fit = fit_library_size(context, training);
  const Vector<double> x = log_library_size(test_library_size);
  const Index genes = mean.size();
  std::vector<Control<T>> controls;
  controls.push_back({"constant", false, true, Matrix<T>(x.size(), genes)});
  controls.push_back({"library_size_fit", true, true, Matrix<T>(x.size(), genes)});
  controls.push_back({"library_size_raw", true, false, Matrix<T>(x.size(), genes)});
  for (Index s = 0; s < x.size(); ++s)
    for (Index g = 0; g < genes; ++g) {
      controls[0].prediction(s, g) = static_cast<T>(mean[g]);
      controls[1].prediction(s, g) = static_cast<T>(fit.intercept[g] + fit.slope[g] * x[s]);
      controls[2].prediction(s, g) = static_cast<T>(x[s]);
    }
  return controls;
}

}  // namespace eosin::eval
