#pragma once

// Sums over the rows of a matrix, and bias addition, whose gradient they are.
//
//   column_sums    out_c = sum_n x_nc          (pool over the patches: divide by n)
//   add_bias       x_nc += b_c                 d loss / d b = column_sums(d loss / d x)
//
// Partial sums over blocks of rows are added in the order of the blocks: the result does not depend on threads.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

/// out[c] = scale * sum_n x(n, c), added to out when `accumulate`. x [n x d], out [d] contiguous. Reads x once.
template <class T>
void column_sums(CpuContext& context, MatrixView<const std::type_identity_t<T>> x, VectorView<T> out,
                 std::type_identity_t<T> scale = T(1), bool accumulate = false) {
  require_size("column_sums", "out", "elements", out.size(), x.cols(), "columns of x");
  constexpr Index block = 128;
  const Index blocks = (x.rows() + block - 1) / block;
  const auto mark = context.workspace().mark();
  const auto partial = context.workspace().take<T>(blocks, x.cols());
  context.parallel_for(x.rows(), block, [&](Index begin, Index end) {
    T* sum = partial.row(begin / block).data();
    std::fill(sum, sum + x.cols(), T(0));
    for (Index n = begin; n < end; ++n) {
      const T* row = x.row(n).data();
      math::for_each_pack<T>(0, x.cols(), [&](auto lanes) { lanes.store(sum, lanes.load(sum) + lanes.load(row)); });
    }
  });
  if (!accumulate)
    for (Index c = 0; c < out.size(); ++c) out[c] = T(0);
  // Blocks first into the first partial, so that accumulating onto an old value rounds once.
  for (Index b = 1; b < blocks; ++b)
    for (Index c = 0; c < out.size(); ++c) partial(0, c) += partial(b, c);
  if (blocks > 0)
    for (Index c = 0; c < out.size(); ++c) out[c] += scale * partial(0, c);
}

/// sum[0] = sum_i x[i], in their order.
template <class T>
void sum_elements(CpuContext&, VectorView<const std::type_identity_t<T>> x, VectorView<T> sum) {
  require_size("sum_elements", "sum", "elements", sum.size(), 1);
  T total = 0;
  for (Index i = 0; i < x.size(); ++i) total += x[i];
  sum[0] = total;
}

/// out[c] = mean_n x(n, c); x must have a row.
template <class T>
void column_means(CpuContext& context, MatrixView<const std::type_identity_t<T>> x, VectorView<T> out) {
  require_value(x.rows() > 0, "column_means", "x has no rows");
  column_sums<T>(context, x, out, T(1) / static_cast<T>(x.rows()));
}

/// x(n, c) += bias[c].
template <class T>
void add_bias(CpuContext& context, VectorView<const std::type_identity_t<T>> bias, MatrixView<T> x) {
  require_size("add_bias", "bias", "elements", bias.size(), x.cols(), "columns of x");
  require_value(bias.contiguous() || bias.size() <= 1, "add_bias", "the elements of bias are not contiguous");
  context.parallel_for(x.rows(), 64, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      T* row = x.row(n).data();
      math::for_each_pack<T>(0, x.cols(),
                             [&](auto lanes) { lanes.store(row, lanes.load(row) + lanes.load(bias.data())); });
    }
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/reduce.cuh>
#endif
