#pragma once

// Rows scaled to sum to one: p_rg = v_rg / S_r with S_r = sum_g v_rg.
// Backward: dv_rg = (dp_rg - sum_h dp_rh p_rh) / S_r.

#include <eosin/core/context.hpp>

#include <limits>
#include <string>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {
/// Sum over fixed blocks of columns in double: exact enough for 1e5 genes in float, and independent of threads.
template <class T, class F>
double blocked_sum(CpuContext& context, Index count, F&& term) {
  return context.parallel_sum<double>(count, 4096, [&](Index begin, Index end) {
    double sum = 0;
    for (Index i = begin; i < end; ++i) sum += static_cast<double>(term(i));
    return sum;
  });
}
}  // namespace detail

/// p may be v. `sums` [rows] receives S. A row whose sum is not positive and finite is a ValueError.
template <class T>
void normalise_rows(CpuContext& context, MatrixView<const std::type_identity_t<T>> v, MatrixView<T> p,
                    VectorView<T> sums) {
  require_shape("normalise_rows", "p", p, v.rows(), v.cols());
  require_size("normalise_rows", "sums", "elements", sums.size(), v.rows(), "rows of v");
  for (Index r = 0; r < v.rows(); ++r) {
    const T* from = v.row(r).data();
    T* to = p.row(r).data();
    const double sum = detail::blocked_sum<T>(context, v.cols(), [&](Index g) { return from[g]; });
    require_value(sum > 0 && sum <= std::numeric_limits<double>::max(), "normalise_rows",
                  "row " + std::to_string(r) + " sums to " + std::to_string(sum));
    sums[r] = static_cast<T>(sum);
    const double scale = 1.0 / sum;
    for (Index g = 0; g < v.cols(); ++g) to[g] = static_cast<T>(static_cast<double>(from[g]) * scale);
  }
}

/// dv may be dp.
template <class T>
void normalise_rows_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> p,
                             VectorView<const std::type_identity_t<T>> sums,
                             MatrixView<const std::type_identity_t<T>> dp, MatrixView<T> dv) {
  require_shape("normalise_rows_backward", "dp", dp, p.rows(), p.cols());
  require_shape("normalise_rows_backward", "dv", dv, p.rows(), p.cols());
  for (Index r = 0; r < p.rows(); ++r) {
    const T* share = p.row(r).data();
    const T* upstream = dp.row(r).data();
    T* out = dv.row(r).data();
    const double inner = detail::blocked_sum<T>(
        context, p.cols(), [&](Index g) { return static_cast<double>(share[g]) * static_cast<double>(upstream[g]); });
    const double scale = 1.0 / static_cast<double>(sums[r]);
    for (Index g = 0; g < p.cols(); ++g) out[g] = static_cast<T>((static_cast<double>(upstream[g]) - inner) * scale);
  }
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/normalise_rows.cuh>
#endif
