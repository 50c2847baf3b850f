#pragma once

// Copies, products, sums and exponentials on the device. Bytes: what is read and written, once.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/exponential.hpp>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
struct Copy {
  MatrixView<const T, Device> a;
  MatrixView<T, Device> out;
  __device__ void operator()(Index row, Index col) const { out(row, col) = a(row, col); }
};
template <class T>
struct Multiply {
  MatrixView<const T, Device> a;
  MatrixView<T, Device> out;
  __device__ void operator()(Index row, Index col) const { out(row, col) *= a(row, col); }
};
template <class T>
struct Add {
  MatrixView<const T, Device> a;
  MatrixView<T, Device> out;
  __device__ void operator()(Index row, Index col) const { out(row, col) += a(row, col); }
};
template <class T>
struct ScaleRows {
  VectorView<const T, Device> factors;
  MatrixView<const T, Device> a;
  MatrixView<T, Device> out;
  __device__ void operator()(Index row, Index col) const { out(row, col) = factors[row] * a(row, col); }
};
template <class T>
struct Exponentials {
  VectorView<const T, Device> a;
  VectorView<T, Device> out;
  __device__ void operator()(Index i) const { out[i] = math::exp(a[i]); }
};

}  // namespace kernels

/// out = a.
template <class T>
void copy(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> a, MatrixView<T, Device> out) {
  require_shape("elementwise operation", "out", out, a.rows(), a.cols());
  for_each_cell(context, "copy", a.rows(), a.cols(), kernels::Copy<T>{a, out});
}

/// out *= a.
template <class T>
void multiply(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> a, MatrixView<T, Device> out) {
  require_shape("elementwise operation", "out", out, a.rows(), a.cols());
  for_each_cell(context, "multiply", a.rows(), a.cols(), kernels::Multiply<T>{a, out});
}

/// out += a.
template <class T>
void add(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> a, MatrixView<T, Device> out) {
  require_shape("elementwise operation", "out", out, a.rows(), a.cols());
  for_each_cell(context, "add", a.rows(), a.cols(), kernels::Add<T>{a, out});
}

/// out(r, c) = factors[r] a(r, c); out may be a.
template <class T>
void scale_rows(CudaContext& context, VectorView<const std::type_identity_t<T>, Device> factors,
                MatrixView<const std::type_identity_t<T>, Device> a, MatrixView<T, Device> out) {
  require_size("scale_rows", "factors", "elements", factors.size(), a.rows(), "rows of a");
  require_shape("scale_rows", "out", out, a.rows(), a.cols());
  for_each_cell(context, "scale_rows", a.rows(), a.cols(), kernels::ScaleRows<T>{factors, a, out});
}

/// out = exp(a).
template <class T>
void exponentials(CudaContext& context, VectorView<const std::type_identity_t<T>, Device> a,
                  VectorView<T, Device> out) {
  require_size("exponentials", "out", "elements", out.size(), a.size());
  for_each_element(context, "exponentials", a.size(), kernels::Exponentials<T>{a, out});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
