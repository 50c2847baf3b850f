#pragma once

// Squared and absolute errors of predicted against measured expression, per gene and over all entries:
//
//   mse = mean (p - t)^2,   mae = mean |p - t|,   rmse = sqrt(mse)
//
// The mean runs over spots (per gene) or over spots and genes (all), so mse is the mean of mse_per_gene while rmse is
// not the mean of rmse_per_gene. Differences and sums are taken in double.

#include <eosin/core/context.hpp>

#include <cmath>
#include <string>

namespace eosin::eval {

struct Errors {
  double mse = 0;
  double mae = 0;
  double rmse = 0;
  /// One value per gene.
  Vector<double> mse_per_gene;
  Vector<double> mae_per_gene;
  Vector<double> rmse_per_gene;
};

/// Errors of prediction against truth, both [spots x genes]. Throws ShapeError on different shapes, ValueError where
/// there is no entry or one is not finite. Cost O(spots * genes).
template <class P, class T>
Errors errors(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth) {
  require_shape("errors", "prediction", prediction, truth.rows(), truth.cols());
  require_value(!truth.empty(), "errors", "there are no entries: truth is " +
                                              eosin::detail::shape_text(truth.rows(), truth.cols()));
  const Index genes = truth.cols();
  const double spots = static_cast<double>(truth.rows());
  Errors result{0, 0, 0, Vector<double>(genes), Vector<double>(genes), Vector<double>(genes)};
  context.parallel_for(genes, 64, [&](Index begin, Index end) {
    double* squared = result.mse_per_gene.data();
    double* absolute = result.mae_per_gene.data();
    for (Index s = 0; s < truth.rows(); ++s)
      for (Index g = begin; g < end; ++g) {
        const double difference = static_cast<double>(prediction(s, g)) - static_cast<double>(truth(s, g));
        squared[g] += difference * difference;
        absolute[g] += std::abs(difference);
      }
    for (Index g = begin; g < end; ++g) {
      if (!std::isfinite(squared[g]))
        throw ValueError("errors: column " + std::to_string(g) + " of prediction or truth is not finite, or too large");
      squared[g] /= spots;
      absolute[g] /= spots;
      result.rmse_per_gene[g] = std::sqrt(squared[g]);
    }
  });
  for (Index g = 0; g < genes; ++g) {
    result.mse += result.mse_per_gene[g];
    result.mae += result.mae_per_gene[g];
  }
  result.mse /= static_cast<double>(genes);
  result.mae /= static_cast<double>(genes);
  result.rmse = std::sqrt(result.mse);
  return result;
}

}  // namespace eosin::eval
