#pragma once

// Mean squared error per row, summed over the rows.
//
//   loss = sum_r (1 / G) sum_g (p_rg - t_rg)^2,     d loss / d p_rg = (2 / G) (p_rg - t_rg)
//
// Rows whose `weights` element is 0 are left out: no loss, no gradient.

#include <eosin/core/context.hpp>

#include <type_traits>

namespace eosin::losses {

template <class T, class Space = Host>
struct MeanSquaredErrorOptions {
  T scale = T(1);                           ///< factor on the gradient
  MatrixView<T, Space> gradient = {};       ///< [R x G] is overwritten unless empty
  VectorView<const T, Space> weights = {};  ///< [R] 0: the row is left out; empty: all count
};

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

template <class T, class Space>
void check_mean_squared_error(MatrixView<const T, Space> prediction, MatrixView<const T, Space> target,
                              const MeanSquaredErrorOptions<T, Space>& options) {
  require_shape("mean_squared_error", "target", target, prediction.rows(), prediction.cols());
  if (!options.gradient.empty())
    require_shape("mean_squared_error", "gradient", options.gradient, prediction.rows(), prediction.cols());
  if (!options.weights.empty())
    require_size("mean_squared_error", "weights", "elements", options.weights.size(), prediction.rows(),
                 "rows of prediction");
}

}  // namespace detail

/// The loss of prediction [R x G] against target [R x G]. Throws ShapeError.
template <class T>
double mean_squared_error(CpuContext& context, MatrixView<const std::type_identity_t<T>> prediction,
                          MatrixView<const std::type_identity_t<T>> target, const MeanSquaredErrorOptions<T>& options) {
  detail::check_mean_squared_error<T, Host>(prediction, target, options);
  const Index genes = prediction.cols();
  const T share = T(1) / static_cast<T>(genes);
  return context.parallel_sum<double>(prediction.rows(), 16, [&](Index begin, Index end) {
    double loss = 0;
    for (Index r = begin; r < end; ++r) {
      const bool counts = options.weights.empty() || options.weights[r] != T(0);
      for (Index g = 0; g < genes; ++g) {
        const T difference = counts ? prediction(r, g) - target(r, g) : T(0);
        loss += static_cast<double>(share * difference * difference);
        if (!options.gradient.empty()) options.gradient(r, g) = T(2) * options.scale * share * difference;
      }
    }
    return loss;
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/mean_squared_error.cuh>
#endif
