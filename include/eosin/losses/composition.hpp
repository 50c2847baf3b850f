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

#include <eosin/core/context.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::losses {

enum class CompositionLoss {
  off,
  mean_squared_error,
  mean_absolute_error,
  cross_entropy,
  cross_entropy_on_probabilities
};

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// What the terms of a row have in common.
template <class T>
struct CompositionRow {
  T total = 0;         ///< sum of the reference
  T share = 0;         ///< 1 / C
  T largest = 0;       ///< of p; this and the next for cross_entropy_on_probabilities alone
  T exponentials = 0;  ///< sum of exp(p - largest)
};

/// Loss of one type and its slope by p.
template <class T>
struct CompositionTerm {
  T value = 0;
  T slope = 0;
};

template <class T>
EOSIN_HOST_DEVICE bool usable_reference(T total) {
  return total > T(0) && total <= std::numeric_limits<T>::max();
}

template <class T>
EOSIN_HOST_DEVICE CompositionTerm<T> composition_term(CompositionLoss kind, T p, T reference,
                                                      const CompositionRow<T>& row) {
  const T q = reference / row.total;
  const T share = row.share;
  CompositionTerm<T> term;
  switch (kind) {
    case CompositionLoss::mean_squared_error:
      term.value = share * (p - q) * (p - q);
      term.slope = T(2) * share * (p - q);
      break;
    case CompositionLoss::mean_absolute_error:
      term.value = share * std::abs(p - q);
      term.slope = p > q ? share : p < q ? -share : T(0);
      break;
    case CompositionLoss::cross_entropy: {
      // A probability that underflowed counts as the smallest normal number: finite loss. Its slope is finite too,
      // but times a weight it need not be, and what multiplies it later is a probability of 0.
      const T safe = std::max(p, std::numeric_limits<T>::min());
      term.value = q > T(0) ? -q * std::log(safe) : T(0);
      term.slope = -q / safe;
      break;
    }
    case CompositionLoss::cross_entropy_on_probabilities: {
      const T shifted = p - row.largest;
      term.value = -q * (shifted - std::log(row.exponentials));
      term.slope = std::exp(shifted) / row.exponentials - q;
      break;
    }
    case CompositionLoss::off:
      break;
  }
  return term;
}

/// weight * slope, kept finite with room to be added up.
template <class T>
EOSIN_HOST_DEVICE T composition_gradient(T weight, T slope) {
  constexpr double largest_slope = static_cast<double>(std::numeric_limits<T>::max()) / 16;
  return static_cast<T>(
      std::clamp(static_cast<double>(weight) * static_cast<double>(slope), -largest_slope, largest_slope));
}

}  // namespace detail
}  // namespace EOSIN_ISA_NAMESPACE

/// Loss of one row p [C] against `reference` [C] (not normalised; its sum must be positive). Adds weight * gradient to
/// `d_p` unless that is empty.
template <class T>
double composition_loss(CompositionLoss kind, VectorView<const T> p, VectorView<const T> reference, T weight,
                        VectorView<T> d_p) {
  if (kind == CompositionLoss::off) return 0;
  const Index types = p.size();
  require_size("composition_loss", "reference", "elements", reference.size(), types, "cell types");
  detail::CompositionRow<T> row;
  for (Index c = 0; c < types; ++c) row.total += reference[c];
  require_value(detail::usable_reference(row.total), "composition_loss",
                "the reference composition sums to " + std::to_string(row.total) + ", expected a positive number");
  row.share = T(1) / static_cast<T>(types);
  if (kind == CompositionLoss::cross_entropy_on_probabilities) {
    row.largest = p[0];
    for (Index c = 1; c < types; ++c) row.largest = std::max(row.largest, p[c]);
    for (Index c = 0; c < types; ++c) row.exponentials += std::exp(p[c] - row.largest);
  }
  double loss = 0;
  for (Index c = 0; c < types; ++c) {
    const auto term = detail::composition_term(kind, p[c], reference[c], row);
    loss += static_cast<double>(term.value);
    if (!d_p.empty()) d_p[c] += detail::composition_gradient(weight, term.slope);
  }
  return loss;
}

/// Sum over the rows of the losses of p [N x C] against `reference` [N x C]. Adds weight * gradient to `d_p` unless
/// that is empty.
template <class T>
double composition_loss(CpuContext&, CompositionLoss kind, MatrixView<const std::type_identity_t<T>> p,
                        MatrixView<const std::type_identity_t<T>> reference, std::type_identity_t<T> weight,
                        MatrixView<T> d_p) {
  if (kind == CompositionLoss::off) return 0;
  require_size("composition_loss", "reference", "rows", reference.rows(), p.rows(), "rows of p");
  if (!d_p.empty()) require_shape("composition_loss", "d_p", d_p, p.rows(), p.cols());
  double loss = 0;
  for (Index n = 0; n < p.rows(); ++n)
    loss += composition_loss<T>(kind, p.row(n), reference.row(n), weight, d_p.empty() ? VectorView<T>{} : d_p.row(n));
  return loss;
}

}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/composition.cuh>
#endif
