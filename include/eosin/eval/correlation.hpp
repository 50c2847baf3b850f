#pragma once

// Pearson and Spearman correlation of predicted and measured expression, the axis in the name:
//   per gene: across the spots of a section;   per spot: across the genes.
//
//   Pearson   r = sum xc yc / (|xc| |yc|), xc = x - mean x, clamped to [-1, 1]
//   Spearman  Pearson of the ranks, tied values sharing the mean of their ranks
//
// A correlation is undefined for fewer than two values (or a larger minimum that the caller asks for) and where all
// values of either vector are equal, judged by max == min: a computed variance of equal values need not be 0.
// Undefined ones have the value 0, are marked and are counted; they are never dropped in silence.
//
// Everything is computed in double, centred before anything is multiplied, whatever the element type of the views.

#include <eosin/core/context.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eosin::eval {

struct Correlation {
  /// In [-1, 1]; 0 where undefined.
  double value = 0;
  bool defined = false;
};

/// Mean over a set of correlations.
struct CorrelationMean {
  /// Mean of the defined ones; 0 where none is.
  double mean = 0;
  /// Sum of the defined ones divided by the number of all: a predictor that is constant where it knows nothing gains
  /// nothing by it.
  double mean_undefined_as_zero = 0;
  Index defined = 0;
  Index undefined = 0;
};

/// One correlation per gene, spot or slide.
struct Correlations {
  Vector<double> values;
  /// 1 where defined, else 0.
  Vector<std::uint8_t> defined;

  Index size() const { return values.size(); }
  Correlation operator[](Index i) const { return {values[i], defined[i] != 0}; }
  Index undefined_count() const {
    return static_cast<Index>(std::count(defined.begin(), defined.end(), std::uint8_t{0}));
  }
};

namespace detail {

/// Copies a row or column to doubles; a value that is not finite is an error that names its place.
template <class T>
void load_finite(VectorView<T> from, std::span<double> to, std::string_view function, std::string_view argument,
                 std::string_view line, Index number) {
  for (Index i = 0; i < from.size(); ++i) {
    const double value = static_cast<double>(from[i]);
    if (!std::isfinite(value))
      throw ValueError(std::string(function) + ": " + std::string(argument) + ", " + std::string(line) + " " +
                       std::to_string(number) + ", entry " + std::to_string(i) + " is not finite");
    to[static_cast<std::size_t>(i)] = value;
  }
}

/// Moves finite values to mean 0 and an order of magnitude of 1, so that their squares neither overflow nor vanish.
/// Scales by a power of two and subtracts the minimum first: both are exact for values that lie close together.
/// Returns false, leaving x open, where all values are equal.
inline bool centre(std::span<double> x) {
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const double minimum = *low, maximum = *high;
  if (minimum == maximum) return false;
  const double guard = std::max(std::abs(minimum), std::abs(maximum)) > 0x1p1000 ? 0x1p-64 : 1.0;
  const double range = maximum * guard - minimum * guard;
  const double scale = std::ldexp(1.0, std::clamp(-std::ilogb(range), -1000, 1000));
  double sum = 0;
  for (double& value : x) {
    value = (value * guard - minimum * guard) * scale;
    sum += value;
  }
  const double mean = sum / static_cast<double>(x.size());
  for (double& value : x) value -= mean;
  return true;
}

/// Pearson correlation; overwrites both vectors.
inline Correlation pearson_in_place(std::span<double> x, std::span<double> y, Index minimum) {
  if (static_cast<Index>(x.size()) < std::max<Index>(2, minimum) || !centre(x) || !centre(y)) return {};
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += x[i] * x[i];
    yy += y[i] * y[i];
    xy += x[i] * y[i];
  }
  return {std::clamp(xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0), true};
}

/// Replaces values by their ranks from 1, tied values by the mean of their ranks.
inline void rank_in_place(std::span<double> x, std::vector<std::size_t>& order, std::vector<double>& ranks) {
  order.resize(x.size());
  ranks.resize(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && x[order[end]] == x[order[begin]]) ++end;
    const double rank = 0.5 * static_cast<double>(begin + 1 + end);
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  std::copy(ranks.begin(), ranks.end(), x.begin());
}

enum class Measure { pearson, spearman };
enum class Lines { genes, spots };

template <class P, class T>
Correlations correlate(CpuContext& context, std::string_view function, MatrixView<P> prediction, MatrixView<T> truth,
                       Measure measure, Lines lines, Index minimum) {
  require_shape(function, "prediction", prediction, truth.rows(), truth.cols());
  const bool genes = lines == Lines::genes;
  const std::string_view name = genes ? "column" : "row";
  const Index count = genes ? truth.cols() : truth.rows();
  const auto length = static_cast<std::size_t>(genes ? truth.rows() : truth.cols());
  Correlations result{Vector<double>(count), Vector<std::uint8_t>(count)};
  // Sixteen neighbouring columns share their cache lines.
  context.parallel_for(count, 16, [&](Index begin, Index end) {
    std::vector<double> x(length), y(length), ranks;
    std::vector<std::size_t> order;
    for (Index i = begin; i < end; ++i) {
      load_finite(genes ? prediction.col(i) : prediction.row(i), x, function, "prediction", name, i);
      load_finite(genes ? truth.col(i) : truth.row(i), y, function, "truth", name, i);
      if (measure == Measure::spearman) {
        rank_in_place(x, order, ranks);
        rank_in_place(y, order, ranks);
      }
      const Correlation r = pearson_in_place(x, y, minimum);
      result.values[i] = r.value;
      result.defined[i] = r.defined ? 1 : 0;
    }
  });
  return result;
}

}  // namespace detail

/// Pearson correlation of two vectors of equal length (ShapeError) with finite values (ValueError); undefined below
/// `minimum` values.
template <class X, class Y>
Correlation pearson(VectorView<X> x, VectorView<Y> y, Index minimum = 2) {
  require_size("pearson", "x", "values", x.size(), y.size(), "those of y");
  std::vector<double> a(static_cast<std::size_t>(x.size())), b(a.size());
  detail::load_finite(x, a, "pearson", "x", "vector", 0);
  detail::load_finite(y, b, "pearson", "y", "vector", 0);
  return detail::pearson_in_place(a, b, minimum);
}

/// Spearman correlation of two vectors, average ranks on ties; conditions as for pearson.
template <class X, class Y>
Correlation spearman(VectorView<X> x, VectorView<Y> y, Index minimum = 2) {
  require_size("spearman", "x", "values", x.size(), y.size(), "those of y");
  std::vector<double> a(static_cast<std::size_t>(x.size())), b(a.size()), ranks;
  std::vector<std::size_t> order;
  detail::load_finite(x, a, "spearman", "x", "vector", 0);
  detail::load_finite(y, b, "spearman", "y", "vector", 0);
  detail::rank_in_place(a, order, ranks);
  detail::rank_in_place(b, order, ranks);
  return detail::pearson_in_place(a, b, minimum);
}

/// Pearson across spots for each gene. prediction and truth [spots x genes]; result [genes]. Undefined below `minimum`
/// spots. Throws ShapeError on different shapes, ValueError on a value that is not finite. Cost O(spots * genes).
template <class P, class T>
Correlations pearson_per_gene(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth, Index minimum = 2) {
  return detail::correlate(context, "pearson_per_gene", prediction, truth, detail::Measure::pearson,
                           detail::Lines::genes, minimum);
}

/// Pearson across genes for each spot; result [spots]. Otherwise as pearson_per_gene.
template <class P, class T>
Correlations pearson_per_spot(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth, Index minimum = 2) {
  return detail::correlate(context, "pearson_per_spot", prediction, truth, detail::Measure::pearson,
                           detail::Lines::spots, minimum);
}

/// Spearman across spots for each gene; result [genes]. Otherwise as pearson_per_gene; cost O(genes * spots log spots).
template <class P, class T>
Correlations spearman_per_gene(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth, Index minimum = 2) {
  return detail::correlate(context, "spearman_per_gene", prediction, truth, detail::Measure::spearman,
                           detail::Lines::genes, minimum);
}

/// Spearman across genes for each spot; result [spots].
template <class P, class T>
Correlations spearman_per_spot(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth, Index minimum = 2) {
  return detail::correlate(context, "spearman_per_spot", prediction, truth, detail::Measure::spearman,
                           detail::Lines::spots, minimum);
}

/// Mean over the entries that `indices` names; an index outside is a ValueError.
inline CorrelationMean mean_of(const Correlations& correlations, std::span<const Index> indices) {
  CorrelationMean result;
  double sum = 0;
  for (const Index i : indices) {
    require_value(i >= 0 && i < correlations.size(), "mean_of",
                  "index " + std::to_string(i) + " is outside the " + std::to_string(correlations.size()) +
                      " correlations");
    sum += correlations.values[i];
    ++(correlations.defined[i] != 0 ? result.defined : result.undefined);
  }
  if (result.defined > 0) {
    result.mean = sum / static_cast<double>(result.defined);
    result.mean_undefined_as_zero = sum / static_cast<double>(result.defined + result.undefined);
  }
  return result;
}

/// Mean over all entries.
inline CorrelationMean mean_of(const Correlations& correlations) {
  std::vector<Index> all(static_cast<std::size_t>(correlations.size()));
  std::iota(all.begin(), all.end(), Index{0});
  return mean_of(correlations, all);
}

}  // namespace eosin::eval
