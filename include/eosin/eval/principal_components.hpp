#pragma once

// Principal components of the rows of X [n x d], exactly: with Xc = X minus the column means,
//
//   Xc = U S V^T,   components V^T [k x d], scores Xc V = U S [n x k], variances S^2 / (n - 1) [k], falling
//
// from the eigenvectors of the smaller of Xc^T Xc [d x d] and Xc Xc^T [n x n]. The sign of a component is such that its
// entry of largest magnitude (the first of several) is positive, as in scikit-learn's PCA.

#include <eosin/core/context.hpp>
#include <eosin/core/eigen.hpp>

#include <Eigen/Eigenvalues>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace eosin::eval {

struct PrincipalComponents {
  Matrix<double> components;  ///< [k x d], rows of length 1
  Matrix<double> scores;      ///< [n x k]
  Vector<double> variances;   ///< [k]
  Vector<double> means;       ///< [d], of the columns of X
  double total_variance = 0;  ///< of all d components
};

/// The first `count` components of x [n x d], fewer where x has fewer directions (min(n - 1, d) at most; those whose
/// variance is rounding do not count). Throws ValueError for count < 1, fewer than two rows, or an element that is not
/// finite. n d min(n, d) + 10 min(n, d)^3 operations, n d + min(n, d)^2 doubles. Does not depend on threads.
template <class T>
PrincipalComponents principal_components(CpuContext& context, MatrixView<T> x, Index count) {
  const Index n = x.rows(), d = x.cols();
  require_value(count >= 1, "principal_components", "count is below 1");
  require_value(n >= 2, "principal_components", "x has " + std::to_string(n) + " rows, at least 2 are needed");
  PrincipalComponents result;
  result.means = Vector<double>(d);
  RowMajor<double> centred(n, d);
  for (Index r = 0; r < n; ++r)
    for (Index c = 0; c < d; ++c) {
      const double value = static_cast<double>(x(r, c));
      require_value(std::isfinite(value), "principal_components",
                    "x(" + std::to_string(r) + ", " + std::to_string(c) + ") is not finite");
      centred(r, c) = value;
      result.means[c] += value;
    }
  for (Index c = 0; c < d; ++c) result.means[c] /= static_cast<double>(n);
  for (Index r = 0; r < n; ++r)
    for (Index c = 0; c < d; ++c) centred(r, c) -= result.means[c];
  result.total_variance = centred.squaredNorm() / static_cast<double>(n - 1);

  const bool by_rows = n < d;
  const Index size = std::min(n, d);
  Eigen::MatrixXd gram(size, size);
  // The solver reads the lower triangle.
  context.parallel_for(size, 128, [&](Index begin, Index end) {
    auto block = gram.block(begin, 0, end - begin, end);
    if (by_rows)
      block.noalias() = centred.middleRows(begin, end - begin) * centred.topRows(end).transpose();
    else
      block.noalias() = centred.middleCols(begin, end - begin).transpose() * centred.leftCols(end);
  });
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram);
  require_value(solver.info() == Eigen::Success, "principal_components", "the eigenvalues were not found");
  const Eigen::VectorXd& eigenvalues = solver.eigenvalues();  // ascending
  const double least = std::max(0.0, size > 0 ? eigenvalues[size - 1] : 0.0) * static_cast<double>(std::max(n, d)) *
                       std::numeric_limits<double>::epsilon();
  Index found = 0;
  while (found < std::min(count, size) && eigenvalues[size - 1 - found] > least) ++found;

  result.components = Matrix<double>(found, d);
  result.scores = Matrix<double>(n, found);
  result.variances = Vector<double>(found);
  for (Index k = 0; k < found; ++k) {
    const auto vector = solver.eigenvectors().col(size - 1 - k);
    auto component = as_eigen(result.components.row(k));
    if (by_rows)
      component.noalias() = centred.transpose() * vector;
    else
      component = vector;
    component /= component.norm();
    Index largest = 0;
    for (Index c = 1; c < d; ++c)
      if (std::abs(component[c]) > std::abs(component[largest])) largest = c;
    if (component[largest] < 0) component = -component;
    result.variances[k] = eigenvalues[size - 1 - k] / static_cast<double>(n - 1);
  }
  as_eigen(result.scores.view()).noalias() = centred * as_eigen(result.components.view()).transpose();
  return result;
}

}  // namespace eosin::eval
