#pragma once

// Elementwise products, sums and exponentials of matrices and vectors.

#include <eosin/core/context.hpp>
#include <eosin/math/exponential.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {
template <class T, class F>
void for_rows(CpuContext& context, MatrixView<const T> a, MatrixView<T> out, F&& f) {
  require_shape("elementwise operation", "out", out, a.rows(), a.cols());
  context.parallel_for(a.rows(), 64, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) f(a.row(r).data(), out.row(r).data(), a.cols());
  });
}
}  // namespace detail

/// out = a.
template <class T>
void copy(CpuContext& context, MatrixView<const std::type_identity_t<T>> a, MatrixView<T> out) {
  detail::for_rows<T>(context, a, out, [](const T* from, T* to, Index n) { std::copy(from, from + n, to); });
}

/// out *= a.
template <class T>
void multiply(CpuContext& context, MatrixView<const std::type_identity_t<T>> a, MatrixView<T> out) {
  detail::for_rows<T>(context, a, out, [](const T* from, T* to, Index n) {
    math::for_each_pack<T>(0, n, [&](auto lanes) { lanes.store(to, lanes.load(to) * lanes.load(from)); });
  });
}

/// out += a.
template <class T>
void add(CpuContext& context, MatrixView<const std::type_identity_t<T>> a, MatrixView<T> out) {
  detail::for_rows<T>(context, a, out, [](const T* from, T* to, Index n) {
    math::for_each_pack<T>(0, n, [&](auto lanes) { lanes.store(to, lanes.load(to) + lanes.load(from)); });
  });
}

/// out(r, c) = factors[r] a(r, c); out may be a.
template <class T>
void scale_rows(CpuContext& context, VectorView<const std::type_identity_t<T>> factors,
                MatrixView<const std::type_identity_t<T>> a, MatrixView<T> out) {
  require_size("scale_rows", "factors", "elements", factors.size(), a.rows(), "rows of a");
  require_shape("scale_rows", "out", out, a.rows(), a.cols());
  context.parallel_for(a.rows(), 16, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const T* from = a.row(r).data();
      T* to = out.row(r).data();
      const T factor = factors[r];
      for (Index c = 0; c < a.cols(); ++c) to[c] = factor * from[c];
    }
  });
}

/// out = exp(a).
template <class T>
void exponentials(CpuContext&, VectorView<const std::type_identity_t<T>> a, VectorView<T> out) {
  require_size("exponentials", "out", "elements", out.size(), a.size());
  for (Index i = 0; i < a.size(); ++i) out[i] = math::exp(a[i]);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/elementwise.cuh>
#endif
