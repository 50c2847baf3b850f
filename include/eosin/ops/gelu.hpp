#pragma once

// GELU of matrices, forward and backward, and the bias of the layer before it in the same pass.
//
//     gelu           y = gelu(x)
//     gelu_backward  dx = dy * gelu'(x)
//     bias_gelu      pre += bias (per column), y = gelu(pre)
//
// The formulas are in math/gelu.hpp. Every element is read and written once; nothing is allocated, and results do
// not depend on the number of threads. NaN goes through, infinities give 0 and infinity.

#include <eosin/core/context.hpp>
#include <eosin/math/gelu.hpp>

#include <algorithm>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

using math::GeluForm;

namespace detail {

/// Calls f(row, begin, end) for pieces of rows that cover a [rows x cols] matrix, some 16,384 elements per task; a
/// matrix without gaps counts as one row.
template <class F>
void for_row_pieces(CpuContext& context, Index rows, Index cols, bool contiguous, F&& f) {
  constexpr Index piece = 16384;
  if (rows == 0 || cols == 0) return;
  if (contiguous) {
    context.parallel_for(rows * cols, piece, [&](Index begin, Index end) { f(Index{0}, begin, end); });
    return;
  }
  context.parallel_for(rows, std::max(Index{1}, piece / cols), [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) f(r, Index{0}, cols);
  });
}

template <GeluForm Form, class T>
void gelu_piece(const T* x, T* y, Index begin, Index end) {
  math::for_each_pack<T>(begin, end, [&](auto lanes) EOSIN_ALWAYS_INLINE {
    const auto value = lanes.load(x);
    if constexpr (Form == GeluForm::exact) {
      lanes.store(y, math::gelu(value));
    } else {
      lanes.store(y, math::gelu_tanh_with_derivative(value).value);
    }
  });
}

template <GeluForm Form, class T>
void gelu_backward_piece(const T* x, const T* dy, T* dx, Index begin, Index end) {
  math::for_each_pack<T>(begin, end, [&](auto lanes) EOSIN_ALWAYS_INLINE {
    const auto value = lanes.load(x);
    if constexpr (Form == GeluForm::exact) {
      lanes.store(dx, lanes.load(dy) * math::gelu_with_derivative(value).derivative);
    } else {
      lanes.store(dx, lanes.load(dy) * math::gelu_tanh_with_derivative(value).derivative);
    }
  });
}

}  // namespace detail

/// y = gelu(x), both [rows x cols]; y may be x.
template <class T>
void gelu(CpuContext& context, MatrixView<const std::type_identity_t<T>> x, MatrixView<T> y,
          GeluForm form = GeluForm::exact) {
  require_shape("gelu", "y", y, x.rows(), x.cols());
  detail::for_row_pieces(context, x.rows(), x.cols(), x.contiguous() && y.contiguous(),
                         [&](Index r, Index begin, Index end) {
                           const T* from = x.data() + r * x.stride();
                           T* to = y.data() + r * y.stride();
                           if (form == GeluForm::exact) {
                             detail::gelu_piece<GeluForm::exact>(from, to, begin, end);
                           } else {
                             detail::gelu_piece<GeluForm::tanh>(from, to, begin, end);
                           }
                         });
}

/// dx = dy * gelu'(x), all [rows x cols], x being the input of the forward pass; dx may be dy or x.
template <class T>
void gelu_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> x,
                   MatrixView<const std::type_identity_t<T>> dy, MatrixView<T> dx, GeluForm form = GeluForm::exact) {
  require_shape("gelu_backward", "dy", dy, x.rows(), x.cols());
  require_shape("gelu_backward", "dx", dx, x.rows(), x.cols());
  detail::for_row_pieces(context, x.rows(), x.cols(), x.contiguous() && dy.contiguous() && dx.contiguous(),
                         [&](Index r, Index begin, Index end) {
                           const T* at = x.data() + r * x.stride();
                           const T* from = dy.data() + r * dy.stride();
                           T* to = dx.data() + r * dx.stride();
                           if (form == GeluForm::exact) {
                             detail::gelu_backward_piece<GeluForm::exact>(at, from, to, begin, end);
                           } else {
                             detail::gelu_backward_piece<GeluForm::tanh>(at, from, to, begin, end);
                           }
                         });
}

/// pre += bias in every row, y = gelu(pre): what follows the matrix product of a linear layer, in one pass. pre and y
/// are [rows x cols], bias has cols elements without gaps; pre is what gelu_backward wants as x. y may be pre where no
/// backward pass follows.
template <class T>
void bias_gelu(CpuContext& context, MatrixView<T> pre, VectorView<const std::type_identity_t<T>> bias,
               MatrixView<std::type_identity_t<T>> y) {
  require_shape("bias_gelu", "y", y, pre.rows(), pre.cols());
  require_size("bias_gelu", "bias", "elements", bias.size(), pre.cols(), "columns of pre");
  require_value(bias.contiguous() || bias.size() <= 1, "bias_gelu", "the elements of bias are not contiguous");
  detail::for_row_pieces(context, pre.rows(), pre.cols(), false, [&](Index r, Index begin, Index end) {
    T* sum = pre.data() + r * pre.stride();
    T* to = y.data() + r * y.stride();
    math::for_each_pack<T>(begin, end, [&](auto lanes) EOSIN_ALWAYS_INLINE {
      const auto value = lanes.load(sum) + lanes.load(bias.data());
      lanes.store(sum, value);
      lanes.store(to, math::gelu(value));
    });
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/gelu.cuh>
#endif
