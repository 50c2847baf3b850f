#pragma once

// Which genes enter a model: thresholds on totals, highly variable genes, given lists, genes common to sections.
//
// Whatever is computed from counts is accumulated from the sections that are added, which have to be the training
// sections: a choice that sees the test section leaks its expression into the model.
//
// Highly variable genes, two measures of how much more a gene varies than its mean explains:
//   seurat_v3          variance of (x - mean)/sigma, clipped at sqrt(n), with sigma^2 from a local quadratic fit of
//                      log10
//                      variance on log10 mean (Stuart et al., "Comprehensive integration of single-cell data", 2019).
//                      Ranked per section; genes in the top `count` of most sections first, then by median rank.
//   binomial_deviance  deviance from a constant share of every spot's total (Townes et al., "Feature selection and
//                      dimension reduction for single-cell RNA-seq based on a multinomial model", 2019),
//                      2 sum_s [ y log(y / (n pi)) + (n - y) log((n - y) / (n (1 - pi))) ], summed over sections.

#include <eosin/core/context.hpp>
#include <eosin/data/counts.hpp>

#include <Eigen/Core>
#include <Eigen/QR>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace eosin::data {

/// Totals per gene, summed over the sections that were added.
class GeneTotals {
 public:
  explicit GeneTotals(Index genes) : total_(genes), spots_(genes) {}

  /// Adds a section [spots x genes]. Throws ShapeError, and ValueError for counts that are negative or not finite.
  template <class Counts>
  void add(const Counts& counts) {
    require_size("GeneTotals::add", "counts", "genes", counts.cols(), total_.size());
    for (Index r = 0; r < counts.rows(); ++r)
      for_each_count(counts, r, [&](Index c, auto count) {
        total_[c] += detail::checked_count(count, "GeneTotals::add", r, c);
        ++spots_[c];
      });
  }

  const Vector<double>& total() const { return total_; }
  /// Number of spots in which the gene was seen.
  const Vector<Index>& spots() const { return spots_; }

 private:
  Vector<double> total_;
  Vector<Index> spots_;
};

struct GeneThresholds {
  /// Least sum of counts over the sections added.
  double min_total = 1;
  /// Least number of spots with a count.
  Index min_spots = 1;
};

/// Columns of the genes that reach both thresholds, ascending.
inline std::vector<Index> genes_above(const GeneTotals& totals, const GeneThresholds& thresholds = {}) {
  std::vector<Index> columns;
  for (Index g = 0; g < totals.total().size(); ++g)
    if (totals.total()[g] >= thresholds.min_total && totals.spots()[g] >= thresholds.min_spots) columns.push_back(g);
  return columns;
}

namespace detail {

/// Local quadratic regression with tricube weights (Cleveland, 1979) of y on x over the nearest `span` of the points,
/// evaluated at x0. x ascending. Where the points near x0 hold fewer than three different x, the minimum-norm solution.
inline double local_quadratic(std::span<const double> x, std::span<const double> y, double x0, std::size_t neighbours) {
  const std::size_t n = x.size();
  auto begin = static_cast<std::size_t>(std::lower_bound(x.begin(), x.end(), x0) - x.begin());
  std::size_t end = begin;
  while (end - begin < neighbours) {
    if (begin == 0) ++end;
    else if (end == n || x0 - x[begin - 1] <= x[end] - x0) --begin;
    else ++end;
  }
  // Equal means are common among rare genes: all of a group of ties are in or none, or the order of genes would matter.
  while (begin > 0 && x[begin - 1] == x[begin]) --begin;
  while (end < n && x[end] == x[end - 1]) ++end;
  const double width = std::max(x0 - x[begin], x[end - 1] - x0);
  Eigen::Matrix3d normal = Eigen::Matrix3d::Zero();
  Eigen::Vector3d right = Eigen::Vector3d::Zero();
  for (std::size_t i = begin; i < end; ++i) {
    const double u = width > 0 ? (x[i] - x0) / width : 0.0;
    const double tricube = 1 - std::abs(u * u * u);
    const double weight = tricube * tricube * tricube;
    const Eigen::Vector3d basis(1, u, u * u);
    normal += weight * basis * basis.transpose();
    right += weight * y[i] * basis;
  }
  return normal.completeOrthogonalDecomposition().solve(right)[0];
}

/// Smooth trend of y on x at every x: local quadratic fits over 30 % of the points at up to 400 of them, linear
/// between.
inline std::vector<double> local_trend(CpuContext& context, std::span<const double> x, std::span<const double> y) {
  const std::size_t n = x.size();
  if (n == 0) return {};
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return x[a] != x[b] ? x[a] < x[b] : a < b; });
  std::vector<double> sorted_x(n), sorted_y(n), knots;
  for (std::size_t i = 0; i < n; ++i) {
    sorted_x[i] = x[order[i]];
    sorted_y[i] = y[order[i]];
  }
  const std::size_t steps = std::min<std::size_t>(n, 400);
  for (std::size_t k = 0; k < steps; ++k) {
    const double knot = sorted_x[steps == 1 ? 0 : k * (n - 1) / (steps - 1)];
    if (knots.empty() || knots.back() < knot) knots.push_back(knot);
  }
  const std::size_t neighbours = std::clamp<std::size_t>((n * 3 + 9) / 10, std::min<std::size_t>(n, 3), n);
  std::vector<double> fitted(knots.size());
  context.parallel_for(static_cast<Index>(knots.size()), 8, [&](Index begin, Index end) {
    for (auto k = static_cast<std::size_t>(begin); k < static_cast<std::size_t>(end); ++k)
      fitted[k] = local_quadratic(sorted_x, sorted_y, knots[k], neighbours);
  });
  std::vector<double> trend(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto above = static_cast<std::size_t>(std::lower_bound(knots.begin(), knots.end(), x[i]) - knots.begin());
    if (knots[above] == x[i]) {
      trend[i] = fitted[above];
    } else {
      const double part = (x[i] - knots[above - 1]) / (knots[above] - knots[above - 1]);
      trend[i] = fitted[above - 1] + part * (fitted[above] - fitted[above - 1]);
    }
  }
  return trend;
}

}  // namespace detail

enum class HvgMethod { seurat_v3, binomial_deviance };

/// Chooses highly variable genes from the raw counts of the training sections.
class HighlyVariableGenes {
 public:
  explicit HighlyVariableGenes(Index genes, HvgMethod method = HvgMethod::seurat_v3) : genes_(genes), method_(method) {}

  /// Adds a training section of raw counts [spots x genes] with at least two spots. Throws ShapeError, and ValueError
  /// for counts that are negative or not finite. Cost: three passes over the counts and the trend.
  template <class Counts>
  void add(CpuContext& context, const Counts& counts) {
    require_size("HighlyVariableGenes::add", "counts", "genes", counts.cols(), genes_);
    require_value(counts.rows() >= 2, "HighlyVariableGenes::add", "a section needs at least two spots");
    scores_.push_back(method_ == HvgMethod::seurat_v3 ? clipped_variance(context, counts) : deviance(counts));
  }

  Index sections() const { return static_cast<Index>(scores_.size()); }
  /// Score of each gene in one section: variance after standardisation and clipping, or deviance; 0 where constant.
  const std::vector<double>& scores(Index section) const { return scores_.at(static_cast<std::size_t>(section)); }

  /// Columns of the `count` most variable genes, best first, ties by the lower column; fewer where fewer vary. Throws
  /// ValueError for count < 1 or before a section was added.
  std::vector<Index> select(Index count) const {
    require_value(count >= 1, "HighlyVariableGenes::select", "count must be at least 1");
    require_value(!scores_.empty(), "HighlyVariableGenes::select", "no section was added");
    return method_ == HvgMethod::seurat_v3 ? select_by_rank(count) : select_by_sum(count);
  }

 private:
  template <class Counts>
  std::vector<double> clipped_variance(CpuContext& context, const Counts& counts) const {
    const auto size = static_cast<std::size_t>(genes_);
    const double spots = static_cast<double>(counts.rows());
    std::vector<double> mean(size), squares(size), clip(size), seen(size);
    for (Index r = 0; r < counts.rows(); ++r)
      for_each_count(counts, r, [&](Index c, auto count) {
        mean[static_cast<std::size_t>(c)] += detail::checked_count(count, "HighlyVariableGenes::add", r, c);
        seen[static_cast<std::size_t>(c)] += 1;
      });
    for (double& m : mean) m /= spots;
    // Deviations of the entries stored; those of the zeros are all equal to the mean.
    const auto sum_of_squares = [&](const std::vector<double>& limit) {
      for (std::size_t g = 0; g < size; ++g) squares[g] = (spots - seen[g]) * mean[g] * mean[g];
      for (Index r = 0; r < counts.rows(); ++r)
        for_each_count(counts, r, [&](Index c, auto count) {
          const auto g = static_cast<std::size_t>(c);
          const double d = std::min(static_cast<double>(count), limit[g]) - mean[g];
          squares[g] += d * d;
        });
    };
    std::fill(clip.begin(), clip.end(), INFINITY);
    sum_of_squares(clip);
    std::vector<std::size_t> varying;
    std::vector<double> log_mean, log_variance;
    for (std::size_t g = 0; g < size; ++g) {
      const double variance = squares[g] / (spots - 1);
      // A gene of equal counts has a variance of rounding size only.
      if (!(variance > 1e-12 * mean[g] * mean[g])) continue;
      varying.push_back(g);
      log_mean.push_back(std::log10(mean[g]));
      log_variance.push_back(std::log10(variance));
    }
    const std::vector<double> trend = detail::local_trend(context, log_mean, log_variance);
    std::vector<double> sigma(size, 0.0);
    for (std::size_t i = 0; i < varying.size(); ++i) {
      const std::size_t g = varying[i];
      sigma[g] = std::pow(10.0, 0.5 * trend[i]);
      clip[g] = mean[g] + sigma[g] * std::sqrt(spots);
    }
    sum_of_squares(clip);
    std::vector<double> score(size, 0.0);
    for (const std::size_t g : varying) score[g] = squares[g] / ((spots - 1) * sigma[g] * sigma[g]);
    return score;
  }

  template <class Counts>
  std::vector<double> deviance(const Counts& counts) const {
    const auto size = static_cast<std::size_t>(genes_);
    std::vector<double> total(size, 0.0), library(static_cast<std::size_t>(counts.rows()), 0.0), score(size, 0.0);
    double all = 0;
    for (Index r = 0; r < counts.rows(); ++r) {
      for_each_count(counts, r, [&](Index c, auto count) {
        const double y = detail::checked_count(count, "HighlyVariableGenes::add", r, c);
        total[static_cast<std::size_t>(c)] += y;
        library[static_cast<std::size_t>(r)] += y;
      });
      all += library[static_cast<std::size_t>(r)];
    }
    if (all == 0) return score;
    std::vector<double> library_seen(size, 0.0);
    for (Index r = 0; r < counts.rows(); ++r) {
      const double n = library[static_cast<std::size_t>(r)];
      for_each_count(counts, r, [&](Index c, auto count) {
        const auto g = static_cast<std::size_t>(c);
        const double y = static_cast<double>(count), share = total[g] / all;
        score[g] += y * std::log(y / (n * share));
        if (n > y) score[g] += (n - y) * (std::log1p(-y / n) - std::log1p(-share));
        library_seen[g] += n;
      });
    }
    for (std::size_t g = 0; g < size; ++g) {
      const double share = total[g] / all;
      if (share < 1) score[g] -= (all - library_seen[g]) * std::log1p(-share);
      score[g] = std::max(0.0, 2 * score[g]);
    }
    return score;
  }

  std::vector<Index> best(Index count, const std::vector<double>& score) const {
    std::vector<Index> order;
    for (Index g = 0; g < genes_; ++g)
      if (score[static_cast<std::size_t>(g)] > 0) order.push_back(g);
    std::sort(order.begin(), order.end(), [&](Index a, Index b) {
      const double x = score[static_cast<std::size_t>(a)], y = score[static_cast<std::size_t>(b)];
      return x != y ? x > y : a < b;
    });
    if (static_cast<Index>(order.size()) > count) order.resize(static_cast<std::size_t>(count));
    return order;
  }

  std::vector<Index> select_by_sum(Index count) const {
    std::vector<double> sum(static_cast<std::size_t>(genes_), 0.0);
    for (const auto& score : scores_)
      for (std::size_t g = 0; g < score.size(); ++g) sum[g] += score[g];
    return best(count, sum);
  }

  std::vector<Index> select_by_rank(Index count) const {
    const auto size = static_cast<std::size_t>(genes_);
    std::vector<std::vector<double>> top_ranks(size);
    for (const auto& score : scores_) {
      const std::vector<Index> top = best(count, score);
      for (std::size_t rank = 0; rank < top.size(); ++rank)
        top_ranks[static_cast<std::size_t>(top[rank])].push_back(static_cast<double>(rank));
    }
    std::vector<double> median(size, 0.0);
    std::vector<Index> order;
    for (std::size_t g = 0; g < size; ++g) {
      auto& ranks = top_ranks[g];
      if (ranks.empty()) continue;
      std::sort(ranks.begin(), ranks.end());
      median[g] = 0.5 * (ranks[(ranks.size() - 1) / 2] + ranks[ranks.size() / 2]);
      order.push_back(static_cast<Index>(g));
    }
    std::sort(order.begin(), order.end(), [&](Index a, Index b) {
      const auto x = static_cast<std::size_t>(a), y = static_cast<std::size_t>(b);
      if (top_ranks[x].size() != top_ranks[y].size()) return top_ranks[x].size() > top_ranks[y].size();
      return median[x] != median[y] ? median[x] < median[y] : a < b;
    });
    if (static_cast<Index>(order.size()) > count) order.resize(static_cast<std::size_t>(count));
    return order;
  }

  Index genes_;
  HvgMethod method_;
  std::vector<std::vector<double>> scores_;
};

namespace detail {

/// Column by name; columns whose name occurs more than once are marked -1.
inline std::unordered_map<std::string_view, Index> gene_places(std::span<const std::string> names) {
  std::unordered_map<std::string_view, Index> places;
  places.reserve(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [entry, added] = places.emplace(names[i], static_cast<Index>(i));
    if (!added) entry->second = -1;
  }
  return places;
}

inline Index unique_place(Index place, std::string_view where, const std::string& gene) {
  if (place < 0)
    throw ValueError(std::string(where) + ": gene '" + gene + "' names more than one column of the counts");
  return place;
}

}  // namespace detail

struct GeneSelection {
  /// Columns of the wanted genes that were found, in the order of the list.
  std::vector<Index> columns;
  /// Wanted genes that the counts do not hold, in the order of the list.
  std::vector<std::string> missing;
};

/// Looks up a given list of genes. `source` is the file of the list, for errors. A gene named twice counts once. Throws
/// ParseError naming the file where no gene is found, ValueError where a wanted name is that of several columns.
inline GeneSelection select_genes(std::span<const std::string> available, std::span<const std::string> wanted,
                                  std::string_view source) {
  const auto places = detail::gene_places(available);
  GeneSelection selection;
  std::unordered_map<std::string_view, bool> done;
  for (const std::string& gene : wanted) {
    if (!done.emplace(gene, true).second) continue;
    const auto found = places.find(gene);
    if (found == places.end()) selection.missing.push_back(gene);
    else selection.columns.push_back(detail::unique_place(found->second, source, gene));
  }
  if (selection.columns.empty()) {
    std::string message = std::string(source) + ": none of its " + std::to_string(done.size()) +
                          " genes is among the " + std::to_string(available.size()) + " genes of the counts";
    if (!wanted.empty() && !available.empty())
      message += " (the list begins with '" + wanted.front() + "', the counts with '" + available.front() + "')";
    throw ParseError(message);
  }
  return selection;
}

/// Columns of genes that must all be there, in their order: how another section is brought to a model's genes. `source`
/// names the counts. Throws ParseError naming source and the first missing gene, ValueError as select_genes.
inline std::vector<Index> require_genes(std::span<const std::string> available, std::span<const std::string> wanted,
                                        std::string_view source) {
  const auto places = detail::gene_places(available);
  std::vector<Index> columns;
  columns.reserve(wanted.size());
  for (const std::string& gene : wanted) {
    const auto found = places.find(gene);
    if (found == places.end())
      throw ParseError(std::string(source) + ": gene '" + gene + "' is missing (" + std::to_string(wanted.size()) +
                       " genes are asked for, the counts hold " + std::to_string(available.size()) + ")");
    columns.push_back(detail::unique_place(found->second, source, gene));
  }
  return columns;
}

/// Genes that every section holds, in the order of the first. Genes that a section names twice are left out: which
/// column is meant cannot be told. Throws ValueError for no sections or where nothing is common to all.
inline std::vector<std::string> common_genes(std::span<const std::vector<std::string>> sections) {
  require_value(!sections.empty(), "common_genes", "there are no sections");
  std::vector<std::string> common = sections.front();
  for (std::size_t s = 0; s < sections.size(); ++s) {
    const auto places = detail::gene_places(sections[s]);
    std::erase_if(common, [&](const std::string& gene) {
      const auto found = places.find(gene);
      return found == places.end() || found->second < 0;
    });
    require_value(!common.empty(), "common_genes",
                  "section " + std::to_string(s) + " shares no gene with the sections before it");
  }
  return common;
}

}  // namespace eosin::data
