#pragma once

// GELU of matrices on the device; the formulas are those of the processor, math/gelu.hpp. Bytes: every element is read
// and written once.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/gelu.hpp>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

using math::GeluForm;

namespace kernels {

template <GeluForm Form, class T>
__device__ __forceinline__ math::ValueAndDerivative<T> gelu_of(T x) {
  if constexpr (Form == GeluForm::exact) {
    return math::gelu_with_derivative(x);
  } else {
    return math::gelu_tanh_with_derivative(x);
  }
}

template <GeluForm Form, class T>
struct Gelu {
  MatrixView<const T, Device> x;
  MatrixView<T, Device> y;
  __device__ void operator()(Index row, Index col) const { y(row, col) = gelu_of<Form>(x(row, col)).value; }
};
template <GeluForm Form, class T>
struct GeluBackward {
  MatrixView<const T, Device> x, dy;
  MatrixView<T, Device> dx;
  __device__ void operator()(Index row, Index col) const {
    dx(row, col) = dy(row, col) * gelu_of<Form>(x(row, col)).derivative;
  }
};
template <class T>
struct BiasGelu {
  MatrixView<T, Device> pre;
  VectorView<const T, Device> bias;
  MatrixView<T, Device> y;
  __device__ void operator()(Index row, Index col) const {
    const T value = pre(row, col) + bias[col];
    pre(row, col) = value;
    y(row, col) = math::gelu(value);
  }
};
/// What follows the product of a linear layer: u = pre + b becomes gelu'(u) in place, and gelu(u).
template <class T>
struct BiasGeluSlope {
  MatrixView<T, Device> slope;
  VectorView<const T, Device> bias;
  MatrixView<T, Device> y;
  __device__ void operator()(Index row, Index col) const {
    const auto result = math::gelu_with_derivative(slope(row, col) + bias[col]);
    slope(row, col) = result.derivative;
    y(row, col) = result.value;
  }
};

}  // namespace kernels

/// y = gelu(x), both [rows x cols]; y may be x.
template <class T>
void gelu(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x, MatrixView<T, Device> y,
          GeluForm form = GeluForm::exact) {
  require_shape("gelu", "y", y, x.rows(), x.cols());
  if (form == GeluForm::exact) {
    for_each_cell(context, "gelu", x.rows(), x.cols(), kernels::Gelu<GeluForm::exact, T>{x, y});
  } else {
    for_each_cell(context, "gelu", x.rows(), x.cols(), kernels::Gelu<GeluForm::tanh, T>{x, y});
  }
}

/// dx = dy * gelu'(x), all [rows x cols], x being the input of the forward pass; dx may be dy or x.
template <class T>
void gelu_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> x,
                   MatrixView<const std::type_identity_t<T>, Device> dy, MatrixView<T, Device> dx,
                   GeluForm form = GeluForm::exact) {
  require_shape("gelu_backward", "dy", dy, x.rows(), x.cols());
  require_shape("gelu_backward", "dx", dx, x.rows(), x.cols());
  if (form == GeluForm::exact) {
    for_each_cell(context, "gelu_backward", x.rows(), x.cols(), kernels::GeluBackward<GeluForm::exact, T>{x, dy, dx});
  } else {
    for_each_cell(context, "gelu_backward", x.rows(), x.cols(), kernels::GeluBackward<GeluForm::tanh, T>{x, dy, dx});
  }
}

/// pre += bias in every row, y = gelu(pre); pre is what gelu_backward wants as x.
template <class T>
void bias_gelu(CudaContext& context, MatrixView<T, Device> pre, VectorView<const std::type_identity_t<T>, Device> bias,
               MatrixView<std::type_identity_t<T>, Device> y) {
  require_shape("bias_gelu", "y", y, pre.rows(), pre.cols());
  require_size("bias_gelu", "bias", "elements", bias.size(), pre.cols(), "columns of pre");
  for_each_cell(context, "bias_gelu", pre.rows(), pre.cols(), kernels::BiasGelu<T>{pre, bias, y});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
