#pragma once

// Cross-entropy of the softmax of rows of logits x [n x c] against labels (one class per row) or probabilities t [n x
// c]:
//
//   p_i = softmax(x_i),  per_row_i = - sum_c t_ic (x_ic - logsumexp_i)
//   loss = weight * mean or sum of per_row,  or sum_i weight_i per_row_i
//   dx_i = weight_i (p_i sum_c t_ic - t_ic),   weight_i = weight / n, weight, or weight_i;   rows of t usually sum to 1
//
// The largest logit of a row is subtracted first, so logits may be of any size; a target of 0 takes no part, whatever
// its logit. Derivation: docs/derivations/softmax_cross_entropy.md.

#include <eosin/core/context.hpp>
#include <eosin/math/exponential.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

enum class Reduction { mean, sum, none };

template <class T, class Space = Host>
struct SoftmaxCrossEntropyOptions {
  /// `none`: the sum with a weight per row.
  Reduction reduction = Reduction::mean;
  T weight = T(1);                              ///< factor on loss and gradient; not read with Reduction::none
  VectorView<const T, Space> row_weights = {};  ///< [n] with Reduction::none
  MatrixView<T, Space> softmax = {};            ///< [n x c] receives p
  VectorView<T, Space> per_row = {};            ///< [n] receives the unweighted loss of each row
  MatrixView<T, Space> gradient = {};           ///< [n x c] receives dx; may be the logits' own memory
};

namespace detail {

/// t (largest - x + log_sum), what one class adds to the loss of its row.
template <class T>
EOSIN_HOST_DEVICE double cross_entropy_term(T target, T logit, T largest, double log_sum) {
  return static_cast<double>(target) * (static_cast<double>(largest) - static_cast<double>(logit) + log_sum);
}

/// weight_i of a row; `row_weight` is its own.
template <class T>
EOSIN_HOST_DEVICE double cross_entropy_weight(Reduction reduction, T weight, T row_weight, Index rows) {
  return reduction == Reduction::none   ? static_cast<double>(row_weight)
         : reduction == Reduction::mean ? static_cast<double>(weight) / static_cast<double>(rows)
                                        : static_cast<double>(weight);
}

/// Shapes of a call; throws ShapeError, ValueError.
template <class T, class Space>
void check_softmax_cross_entropy(MatrixView<const T, Space> logits, const SoftmaxCrossEntropyOptions<T, Space>& o) {
  const char* function = "softmax_cross_entropy";
  const Index rows = logits.rows(), classes = logits.cols();
  require_value(classes > 0 || rows == 0, function, "logits have no columns (classes)");
  if (!o.softmax.empty()) require_shape(function, "softmax", o.softmax, rows, classes);
  if (!o.gradient.empty()) require_shape(function, "gradient", o.gradient, rows, classes);
  if (!o.per_row.empty()) require_size(function, "per_row", "elements", o.per_row.size(), rows, "rows of logits");
  if (o.reduction == Reduction::none)
    require_size(function, "row_weights", "elements", o.row_weights.size(), rows, "rows of logits");
}

/// `target(row, f)` calls f(class, t) for the targets of a row that are not 0.
template <class T, class Targets>
double softmax_cross_entropy(CpuContext& context, MatrixView<const T> logits, const SoftmaxCrossEntropyOptions<T>& o,
                             Targets&& targets) {
  const char* function = "softmax_cross_entropy";
  const Index rows = logits.rows(), classes = logits.cols();
  check_softmax_cross_entropy<T, Host>(logits, o);
  const Index block = std::max(Index{1}, Index{16384} / std::max(Index{1}, classes));
  return context.parallel_sum<double>(rows, block, [&](Index begin, Index end) {
    constexpr T lowest = std::numeric_limits<T>::lowest();
    double loss = 0;
    for (Index i = begin; i < end; ++i) {
      const T* x = logits.row(i).data();
      T largest = lowest;
      math::Pack<T> best(lowest);
      math::for_each_pack<T>(0, classes, [&](auto lanes) EOSIN_ALWAYS_INLINE {
        const auto value = lanes.load(x, lowest);
        best = math::select(value > best, value, best);
      });
      for (Index lane = 0; lane < math::Pack<T>::size; ++lane) largest = std::max(largest, T(best.lanes[lane]));
      math::PackSum<T> exponentials;
      math::for_each_pack<T>(0, classes, [&](auto lanes) EOSIN_ALWAYS_INLINE {
        exponentials.add(math::exp(lanes.load(x, lowest) - math::Pack<T>(largest)));
      });
      const double log_sum = std::log(exponentials.total());
      double row_loss = 0, mass = 0;
      targets(i, [&](Index c, T t) {
        row_loss += cross_entropy_term(t, x[c], largest, log_sum);
        mass += static_cast<double>(t);
      });
      require_value(!std::isnan(row_loss), function, "the loss of row " + std::to_string(i) + " is not a number");
      const double weight =
          cross_entropy_weight(o.reduction, o.weight, o.row_weights.empty() ? T(0) : o.row_weights[i], rows);
      loss += weight * row_loss;
      if (!o.per_row.empty()) o.per_row[i] = static_cast<T>(row_loss);
      const double inverse = 1 / exponentials.total();
      const auto write = [&](T* out, double scale) {
        const math::Pack<T> factor(static_cast<T>(scale)), shift(largest);
        math::for_each_pack<T>(0, classes, [&](auto lanes) EOSIN_ALWAYS_INLINE {
          lanes.store(out, math::exp(lanes.load(x, lowest) - shift) * factor);
        });
      };
      if (!o.softmax.empty()) write(o.softmax.row(i).data(), inverse);
      if (o.gradient.empty()) continue;
      T* gradient = o.gradient.row(i).data();
      write(gradient, weight * mass * inverse);
      targets(i, [&](Index c, T t) { gradient[c] -= static_cast<T>(weight * static_cast<double>(t)); });
    }
    return loss;
  });
}

}  // namespace detail

/// Loss of `logits` [n x c] against the class of each row, `labels` [n] in [0, c). Throws ShapeError; ValueError for a
/// label outside, naming the row, and where a row's loss is not a number. No rows give 0. Two to four passes over a row
/// that lies in the cache.
template <class T>
double softmax_cross_entropy(CpuContext& context, MatrixView<const std::type_identity_t<T>> logits,
                             VectorView<const Index> labels, const SoftmaxCrossEntropyOptions<T>& options) {
  require_size("softmax_cross_entropy", "labels", "elements", labels.size(), logits.rows(), "rows of logits");
  for (Index i = 0; i < labels.size(); ++i)
    if (labels[i] < 0 || labels[i] >= logits.cols())
      throw ValueError("softmax_cross_entropy: label " + std::to_string(labels[i]) + " of row " + std::to_string(i) +
                       " lies outside " + std::to_string(logits.cols()) + " classes");
  return detail::softmax_cross_entropy<T>(context, logits, options, [&](Index i, auto&& f) { f(labels[i], T(1)); });
}

/// The same against probabilities, `targets` [n x c], of which none is negative (ValueError).
template <class T>
double softmax_cross_entropy(CpuContext& context, MatrixView<const std::type_identity_t<T>> logits,
                             MatrixView<const std::type_identity_t<T>> targets,
                             const SoftmaxCrossEntropyOptions<T>& options) {
  require_shape("softmax_cross_entropy", "targets", targets, logits.rows(), logits.cols());
  return detail::softmax_cross_entropy<T>(context, logits, options, [&](Index i, auto&& f) {
    const T* t = targets.row(i).data();
    for (Index c = 0; c < targets.cols(); ++c) {
      require_value(t[c] >= T(0), "softmax_cross_entropy", "targets of row " + std::to_string(i) + " are not all >= 0");
      if (t[c] > T(0)) f(c, t[c]);
    }
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/softmax_cross_entropy.cuh>
#endif
