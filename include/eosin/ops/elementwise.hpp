#pragma once

// Elementwise products and sums of matrices, for backward passes.

#include <eosin/core/context.hpp>
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

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/elementwise.cuh>
#endif
