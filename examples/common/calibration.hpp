#pragma once

// A line per gene from what a model predicts to expression: y = intercept_g + slope_g z. Intercepts are training means.
// Slopes are least squares of measured on predicted, both centred per section, on what the model predicted for samples
// that it was not trained on.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>

#include <algorithm>

namespace study {

using eosin::Index;
using eosin::MatrixView;

class SlopeFit {
 public:
  explicit SlopeFit(Index genes) : cross_(genes), square_(genes) {}

  /// A section: predicted and measured [N x genes].
  template <class T>
  void add(MatrixView<const double> predicted, MatrixView<const T> measured) {
    eosin::require_shape("SlopeFit", "measured", measured, predicted.rows(), cross_.size());
    const double spots = static_cast<double>(predicted.rows());
    for (Index g = 0; g < cross_.size(); ++g) {
      double mean_z = 0, mean_y = 0;
      for (Index r = 0; r < predicted.rows(); ++r) {
        mean_z += predicted(r, g) / spots;
        mean_y += static_cast<double>(measured(r, g)) / spots;
      }
      for (Index r = 0; r < predicted.rows(); ++r) {
        const double centred = predicted(r, g) - mean_z;
        cross_[g] += centred * (static_cast<double>(measured(r, g)) - mean_y);
        square_[g] += centred * centred;
      }
    }
  }

  /// A gene that was predicted no better than by chance keeps its order of spots and next to no amplitude: a slope of 0
  /// would take its correlation out of the mean.
  eosin::Vector<double> slopes() const {
    constexpr double smallest = 1e-3;
    eosin::Vector<double> slope(cross_.size());
    for (Index g = 0; g < slope.size(); ++g)
      slope[g] = square_[g] > 0 ? std::max(smallest, cross_[g] / square_[g]) : smallest;
    return slope;
  }

 private:
  eosin::Vector<double> cross_, square_;
};

}  // namespace study
