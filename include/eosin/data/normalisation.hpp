#pragma once

// Library-size normalisation of counts, with nothing implied: the axis of the totals, the sum to which they are scaled
// and the logarithm are named.
//
//   total  of a spot over its genes (axis spot), of a gene over the spots (axis gene), or given by the caller
//   y      = count / (total, or 1 where it is 0) * T
//   result = log10(y + pseudocount) | log2(y + pseudocount) | ln(1 + y) | y
//
// counts [spots x genes] -> result [spots x genes] for both axes. Axis spot is the normalisation meant by the field;
// axis gene divides by the sum of each gene over the section, so that it reads the whole test section and leaves depth
// in the data: it exists to reproduce results that were published with it. Arithmetic is in double.

#include <eosin/core/context.hpp>
#include <eosin/data/counts.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <variant>
#include <vector>

namespace eosin::data {

enum class NormalisationAxis { spot, gene };

enum class LogTransform { none, log2, log10, log1p };

/// Scale to the median of the positive totals (the mean of the middle two for an even number); 1 where none is
/// positive.
struct MedianPositiveTarget {};
/// Scale to the mean of all totals.
struct MeanTarget {};
/// Leave fractions of the total (T = 1).
struct NoTarget {};
/// A number is the target sum itself.
using NormalisationTarget = std::variant<double, MedianPositiveTarget, MeanTarget, NoTarget>;

struct NormalisationOptions {
  NormalisationAxis axis = NormalisationAxis::spot;
  /// A median or mean belongs to the section it was computed from: to put a test section on the scale of the training
  /// sections, pass the training's NormalisationResult::target_sum as the number.
  NormalisationTarget target = 1e4;
  LogTransform log = LogTransform::log1p;
  /// Added before log2 and log10; log1p adds its 1, `none` adds nothing.
  double pseudocount = 1.0;
};

struct NormalisationResult {
  /// Totals used, one per spot or gene.
  Vector<double> totals;
  /// The number to which they were scaled.
  double target_sum = 1;
};

/// log of a scaled count as `options` say.
inline double log_transform(double y, const NormalisationOptions& options) {
  switch (options.log) {
    case LogTransform::log2: return std::log2(y + options.pseudocount);
    case LogTransform::log10: return std::log10(y + options.pseudocount);
    case LogTransform::log1p: return std::log1p(y);
    case LogTransform::none: break;
  }
  return y;
}

/// The target sum that `target` means for these totals.
inline double target_sum(const NormalisationTarget& target, VectorView<const double> totals) {
  if (const double* number = std::get_if<double>(&target)) return *number;
  if (std::holds_alternative<MeanTarget>(target)) {
    double sum = 0;
    for (Index i = 0; i < totals.size(); ++i) sum += totals[i];
    return totals.empty() ? 1.0 : sum / static_cast<double>(totals.size());
  }
  if (std::holds_alternative<MedianPositiveTarget>(target)) {
    std::vector<double> positive;
    for (Index i = 0; i < totals.size(); ++i)
      if (totals[i] > 0) positive.push_back(totals[i]);
    if (positive.empty()) return 1.0;
    std::sort(positive.begin(), positive.end());
    const std::size_t middle = positive.size() / 2;
    return positive.size() % 2 == 1 ? positive[middle] : 0.5 * (positive[middle - 1] + positive[middle]);
  }
  return 1.0;
}

namespace detail {

inline void check_options(const NormalisationOptions& options) {
  if (const double* number = std::get_if<double>(&options.target))
    require_value(std::isfinite(*number) && *number > 0, "normalise", "the target sum must be positive and finite");
  if (options.log == LogTransform::log2 || options.log == LogTransform::log10)
    require_value(std::isfinite(options.pseudocount) && options.pseudocount > 0, "normalise",
                  "log2 and log10 need a positive pseudocount, or empty entries become minus infinity");
}

/// Completes a result from the totals: checks a given library, chooses the target.
inline void choose_target(NormalisationResult& result, VectorView<const double> library,
                          const NormalisationOptions& options) {
  if (library.data() != nullptr) {
    require_size("normalise", "library", "entries", library.size(), result.totals.size(),
                 options.axis == NormalisationAxis::spot ? "spots" : "genes");
    for (Index i = 0; i < library.size(); ++i) {
      require_value(std::isfinite(library[i]) && library[i] >= 0, "normalise",
                    "library entry " + std::to_string(i) + " is negative or not finite");
      result.totals[i] = library[i];
    }
  }
  result.target_sum = target_sum(options.target, result.totals.view());
}

inline double scaled(double count, double total, double target) { return count / (total != 0 ? total : 1.0) * target; }

}  // namespace detail

/// Normalises dense counts into `out`, both [spots x genes]; they may be the same memory. `library`, where given, takes
/// the place of the totals (one per spot or gene, by axis), for instance the spot's total over all genes when counts
/// hold a selection. Throws ShapeError; ValueError for counts that are negative or not finite and for options out of
/// range. Deterministic for any number of threads.
template <class C, class T>
NormalisationResult normalise(CpuContext& context, MatrixView<C> counts, MatrixView<T> out,
                              const NormalisationOptions& options = {}, VectorView<const double> library = {}) {
  detail::check_options(options);
  require_shape("normalise", "out", out, counts.rows(), counts.cols());
  const bool by_spot = options.axis == NormalisationAxis::spot;
  NormalisationResult result{Vector<double>(by_spot ? counts.rows() : counts.cols())};
  const auto checked = [&](Index r, Index c) {
    return detail::checked_count(counts(r, c), "normalise", r, c);
  };
  if (by_spot) {
    context.parallel_for(counts.rows(), 32, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r)
        for (Index c = 0; c < counts.cols(); ++c) result.totals[r] += checked(r, c);
    });
  } else {
    context.parallel_for(counts.cols(), 64, [&](Index begin, Index end) {
      for (Index r = 0; r < counts.rows(); ++r)
        for (Index c = begin; c < end; ++c) result.totals[c] += checked(r, c);
    });
  }
  detail::choose_target(result, library, options);
  context.parallel_for(counts.rows(), 32, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r)
      for (Index c = 0; c < counts.cols(); ++c)
        out(r, c) = static_cast<T>(log_transform(
            detail::scaled(static_cast<double>(counts(r, c)), result.totals[by_spot ? r : c], result.target_sum),
            options));
  });
  return result;
}

/// Normalises sparse counts into a dense `out`; otherwise as above. Cost O(spots * genes) stores, one logarithm per
/// stored count.
template <class C, class T>
NormalisationResult normalise(CpuContext& context, const SparseMatrix<C>& counts, MatrixView<T> out,
                              const NormalisationOptions& options = {}, VectorView<const double> library = {}) {
  detail::check_options(options);
  require_shape("normalise", "out", out, counts.rows(), counts.cols());
  const bool by_spot = options.axis == NormalisationAxis::spot;
  NormalisationResult result{Vector<double>(by_spot ? counts.rows() : counts.cols())};
  // Gene totals are added row after row on one thread: columns of a row-major matrix cannot be shared out cheaply.
  for (Index r = 0; r < counts.rows(); ++r)
    for_each_count(counts, r, [&](Index c, C count) {
      result.totals[by_spot ? r : c] += detail::checked_count(count, "normalise", r, c);
    });
  detail::choose_target(result, library, options);
  const T empty = static_cast<T>(log_transform(0.0, options));
  context.parallel_for(counts.rows(), 32, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      std::fill_n(out.row(r).data(), out.cols(), empty);
      for_each_count(counts, r, [&](Index c, C count) {
        out(r, c) = static_cast<T>(log_transform(
            detail::scaled(static_cast<double>(count), result.totals[by_spot ? r : c], result.target_sum), options));
      });
    }
  });
  return result;
}

}  // namespace eosin::data
