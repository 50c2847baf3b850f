#pragma once

// Copies, products and sums of matrices on the device. Bytes: what is read and written, once.

#include <eosin/core/cuda_context.cuh>

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

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
