#pragma once

// k-means: clusters of the rows of X [n x d] that minimise the inertia, the sum of squared distances to the centres.
// Lloyd's iteration (IEEE Trans. Inf. Theory 28, 1982) from centres drawn by k-means++ (Arthur and Vassilvitskii, SODA
// 2007), several times; the smallest inertia wins, the earlier of equal ones.
//
//   assign   label_i = argmin_c |x_i - centre_c|^2, the lower c of equal ones
//   update   centre_c = mean of its rows; a cluster without rows takes the row farthest from its own centre
//
// until no label changes. Draws come from Philox by (seed, restart); sums are taken in fixed blocks: results depend on
// the seed, not on threads. Clusters are numbered by falling size, equal ones by their first row.

#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace eosin::eval {

struct KMeansOptions {
  Index clusters = 8;
  Index restarts = 10;
  /// Lloyd iterations per restart at most.
  Index iterations = 300;
  std::uint64_t seed = 1;
};

struct KMeansResult {
  std::vector<Index> labels;  ///< [n], in [0, clusters)
  Matrix<double> centres;     ///< [clusters x d]
  double inertia = 0;
  Index iterations = 0;    ///< of the restart that won
  bool converged = false;  ///< whether its labels had stopped changing
};

namespace detail {

inline double squared_distance(const double* a, const double* b, Index n) {
  double sum = 0;
  for (Index i = 0; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

/// One restart. `x` is contiguous.
class Lloyd {
 public:
  Lloyd(CpuContext& context, const Matrix<double>& x, Index clusters)
      : context_(context),
        x_(x),
        distance_(x.rows()),
        centres(clusters, x.cols()),
        labels(static_cast<std::size_t>(x.rows()), -1) {}

  void run(RandomStream random, Index limit) {
    draw_centres(random);
    for (iterations = 0; iterations < limit && !converged; ++iterations) {
      if (iterations > 0) update();
      converged = !assign();
    }
    inertia = 0;
    for (Index i = 0; i < x_.rows(); ++i) inertia += distance_[i];
  }

 private:
  CpuContext& context_;
  const Matrix<double>& x_;
  Vector<double> distance_;  // squared, of each row to its centre

 public:
  Matrix<double> centres;
  std::vector<Index> labels;
  double inertia = 0;
  Index iterations = 0;
  bool converged = false;

 private:
  void take_row(Index centre, Index row) { std::copy_n(x_.row(row).data(), x_.cols(), centres.row(centre).data()); }

  /// The first centre is any row, each further one a row with probability proportional to its squared distance from
  /// the centres so far.
  void draw_centres(RandomStream& random) {
    take_row(0, random.below(x_.rows()));
    distance_.fill(std::numeric_limits<double>::infinity());
    for (Index c = 1; c < centres.rows(); ++c) {
      context_.parallel_for(x_.rows(), 256, [&](Index begin, Index end) {
        for (Index i = begin; i < end; ++i)
          distance_[i] =
              std::min(distance_[i], squared_distance(x_.row(i).data(), centres.row(c - 1).data(), x_.cols()));
      });
      double total = 0;
      for (Index i = 0; i < x_.rows(); ++i) total += distance_[i];
      double left = random.uniform() * total;
      // Rows on a centre cannot be drawn unless all are.
      Index chosen = -1;
      for (Index i = 0; i < x_.rows(); ++i) {
        if (distance_[i] > 0) chosen = i;
        left -= distance_[i];
        if (left < 0 && chosen == i) break;
      }
      take_row(c, chosen >= 0 ? chosen : c);
    }
  }

  /// True if a label changed.
  bool assign() {
    return context_.parallel_sum<Index>(x_.rows(), 256, [&](Index begin, Index end) {
      Index changed = 0;
      for (Index i = begin; i < end; ++i) {
        Index best = 0;
        double nearest = std::numeric_limits<double>::infinity();
        for (Index c = 0; c < centres.rows(); ++c) {
          const double d = squared_distance(x_.row(i).data(), centres.row(c).data(), x_.cols());
          if (d < nearest) {
            nearest = d;
            best = c;
          }
        }
        Index& label = labels[static_cast<std::size_t>(i)];
        changed += label != best;
        label = best;
        distance_[i] = nearest;
      }
      return changed;
    }) != 0;
  }

  void update() {
    std::vector<Index> counts(static_cast<std::size_t>(centres.rows()));
    for (const Index label : labels) ++counts[static_cast<std::size_t>(label)];
    for (Index c = 0; c < centres.rows(); ++c) {
      if (counts[static_cast<std::size_t>(c)] > 0) continue;
      Index farthest = -1;
      for (Index i = 0; i < x_.rows(); ++i)
        if (counts[static_cast<std::size_t>(labels[static_cast<std::size_t>(i)])] > 1 &&
            (farthest < 0 || distance_[i] > distance_[farthest]))
          farthest = i;
      Index& label = labels[static_cast<std::size_t>(farthest)];
      --counts[static_cast<std::size_t>(label)];
      label = c;
      distance_[farthest] = 0;
      counts[static_cast<std::size_t>(c)] = 1;
    }
    centres.fill(0);
    for (Index i = 0; i < x_.rows(); ++i) {
      double* centre = centres.row(labels[static_cast<std::size_t>(i)]).data();
      for (Index j = 0; j < x_.cols(); ++j) centre[j] += x_(i, j);
    }
    for (Index c = 0; c < centres.rows(); ++c)
      for (Index j = 0; j < x_.cols(); ++j) centres(c, j) /= static_cast<double>(counts[static_cast<std::size_t>(c)]);
  }
};

}  // namespace detail

/// Throws ValueError unless 1 <= clusters <= n, restarts and iterations are at least 1, and all elements are finite.
/// restarts * iterations * n * clusters * d operations.
template <class T>
KMeansResult k_means(CpuContext& context, MatrixView<T> x, const KMeansOptions& options = {}) {
  const Index n = x.rows(), k = options.clusters;
  require_value(k >= 1 && k <= n, "k_means",
                std::to_string(k) + " clusters of " + std::to_string(n) + " rows are asked for");
  require_value(options.restarts >= 1 && options.iterations >= 1, "k_means", "restarts or iterations are below 1");
  Matrix<double> rows(n, x.cols());
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      rows(i, j) = static_cast<double>(x(i, j));
      require_value(std::isfinite(rows(i, j)), "k_means",
                    "x(" + std::to_string(i) + ", " + std::to_string(j) + ") is not finite");
    }
  KMeansResult best;
  best.inertia = std::numeric_limits<double>::infinity();
  for (Index restart = 0; restart < options.restarts; ++restart) {
    detail::Lloyd run(context, rows, k);
    run.run(RandomStream(options.seed, static_cast<std::uint64_t>(restart)), options.iterations);
    if (restart > 0 && !(run.inertia < best.inertia)) continue;
    best = {std::move(run.labels), std::move(run.centres), run.inertia, run.iterations, run.converged};
  }
  std::vector<Index> counts(static_cast<std::size_t>(k)), first(static_cast<std::size_t>(k), n), order(first.size());
  for (Index i = n - 1; i >= 0; --i) {
    const auto label = static_cast<std::size_t>(best.labels[static_cast<std::size_t>(i)]);
    ++counts[label];
    first[label] = i;
  }
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(), [&](Index a, Index b) {
    const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
    return counts[i] != counts[j] ? counts[i] > counts[j] : std::pair(first[i], a) < std::pair(first[j], b);
  });
  std::vector<Index> rank(order.size());
  const Matrix<double> centres = best.centres;
  for (std::size_t r = 0; r < order.size(); ++r) {
    rank[static_cast<std::size_t>(order[r])] = static_cast<Index>(r);
    std::copy_n(centres.row(order[r]).data(), x.cols(), best.centres.row(static_cast<Index>(r)).data());
  }
  for (Index& label : best.labels) label = rank[static_cast<std::size_t>(label)];
  return best;
}

}  // namespace eosin::eval
