#pragma once

// Composition regularisers: how far predicted proportions p are from reference proportions q, per row and averaged over
// its C types (cross-entropy: summed).
//
//   mean_squared_error   mean_c (p_c - q_c)^2          d/dp = 2 (p_c - q_c) / C
//   mean_absolute_error  mean_c |p_c - q_c|            d/dp = sign(p_c - q_c) / C, 0 at 0
//   cross_entropy        -sum_c q_c log p_c            d/dp = -q_c / p_c
//   cross_entropy_on_probabilities (what the released ablation computes: probabilities taken for logits)
//                        -sum_c q_c log softmax(p)_c   d/dp = softmax(p)_c sum(q) - q_c
//
// q is normalised here from a composition on any positive scale. Derivation: docs/derivations/composition.md.

#include <eosin/core/error.hpp>
#include <eosin/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace eosin::losses {

enum class CompositionLoss {
  off,
  mean_squared_error,
  mean_absolute_error,
  cross_entropy,
  cross_entropy_on_probabilities
};

/// Loss of one row p [C] against `reference` [C] (not normalised; its sum must be positive). Adds weight * gradient to
/// `d_p` unless that is empty.
template <class T>
double composition_loss(CompositionLoss kind, VectorView<const T> p, VectorView<const T> reference, T weight,
                        VectorView<T> d_p) {
  if (kind == CompositionLoss::off) return 0;
  const Index types = p.size();
  require_size("composition_loss", "reference", "elements", reference.size(), types, "cell types");
  T total = 0;
  for (Index c = 0; c < types; ++c) total += reference[c];
  require_value(total > T(0) && total <= std::numeric_limits<T>::max(), "composition_loss",
                "the reference composition sums to " + std::to_string(total) + ", expected a positive number");
  const T share = T(1) / static_cast<T>(types);
  T largest = p.empty() ? T(0) : p[0];
  T exponentials = 0;
  if (kind == CompositionLoss::cross_entropy_on_probabilities) {
    for (Index c = 1; c < types; ++c) largest = std::max(largest, p[c]);
    for (Index c = 0; c < types; ++c) exponentials += std::exp(p[c] - largest);
  }
  constexpr double largest_slope = static_cast<double>(std::numeric_limits<T>::max()) / 16;
  double loss = 0;
  for (Index c = 0; c < types; ++c) {
    const T q = reference[c] / total;
    T value = 0;
    T slope = 0;
    switch (kind) {
      case CompositionLoss::mean_squared_error:
        value = share * (p[c] - q) * (p[c] - q);
        slope = T(2) * share * (p[c] - q);
        break;
      case CompositionLoss::mean_absolute_error:
        value = share * std::abs(p[c] - q);
        slope = p[c] > q ? share : p[c] < q ? -share : T(0);
        break;
      case CompositionLoss::cross_entropy: {
        // A probability that underflowed counts as the smallest normal number: finite loss. Its slope is finite too,
        // but times a weight it need not be, and what multiplies it later is a probability of 0.
        const T safe = std::max(p[c], std::numeric_limits<T>::min());
        value = q > T(0) ? -q * std::log(safe) : T(0);
        slope = -q / safe;
        break;
      }
      case CompositionLoss::cross_entropy_on_probabilities: {
        const T shifted = p[c] - largest;
        value = -q * (shifted - std::log(exponentials));
        slope = std::exp(shifted) / exponentials - q;
        break;
      }
      case CompositionLoss::off: break;
    }
    loss += static_cast<double>(value);
    if (!d_p.empty())
      d_p[c] += static_cast<T>(std::clamp(static_cast<double>(weight) * static_cast<double>(slope), -largest_slope,
                                          largest_slope));
  }
  return loss;
}

}  // namespace eosin::losses
