#pragma once

// Gene sets over which scores are averaged. The set most reports use besides "all" is HEG, the genes of the highest
// mean expression in the section that is judged.

#include <eosin/core/context.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace eosin::eval {

/// Mean over rows of each column; [rows x cols] -> [cols]. The mean of a column of equal values is that value, bit for
/// bit, so that equal columns stay equal whatever their length. No rows: ValueError.
template <class T>
Vector<double> column_means(CpuContext& context, MatrixView<T> matrix) {
  require_value(matrix.rows() > 0, "column_means", "the matrix has no rows");
  Vector<double> mean(matrix.cols());
  context.parallel_for(matrix.cols(), 64, [&](Index begin, Index end) {
    for (Index r = 0; r < matrix.rows(); ++r)
      for (Index c = begin; c < end; ++c) mean[c] += static_cast<double>(matrix(r, c));
    for (Index c = begin; c < end; ++c) {
      mean[c] /= static_cast<double>(matrix.rows());
      Index r = 1;
      while (r < matrix.rows() && matrix(r, c) == matrix(0, c)) ++r;
      if (r == matrix.rows()) mean[c] = static_cast<double>(matrix(0, c));
    }
  });
  return mean;
}

/// The `count` genes of the largest mean in truth [spots x genes], in descending order, ties by the lower index; all
/// genes where there are fewer. Throws ValueError for a negative count, no spots, or a mean that is not finite.
template <class T>
std::vector<Index> highest_mean_genes(CpuContext& context, MatrixView<T> truth, Index count) {
  require_value(count >= 0, "highest_mean_genes", "count is negative");
  const Vector<double> mean = column_means(context, truth);
  for (Index g = 0; g < mean.size(); ++g)
    require_value(std::isfinite(mean[g]), "highest_mean_genes",
                  "column " + std::to_string(g) + " of truth has a value that is not finite");
  std::vector<Index> order(static_cast<std::size_t>(mean.size()));
  std::iota(order.begin(), order.end(), Index{0});
  const auto kept = order.begin() + std::min<Index>(count, mean.size());
  std::partial_sort(order.begin(), kept, order.end(),
                    [&](Index a, Index b) { return mean[a] != mean[b] ? mean[a] > mean[b] : a < b; });
  order.erase(kept, order.end());
  return order;
}

}  // namespace eosin::eval
