#pragma once

// A linear layer with GELU, and the way back through both, each in one pass over the memory: what follows a matrix
// product is applied to its tiles while they are in the cache.
//
//   linear_gelu             u = x W^T + b,        y = gelu(u),             slope = gelu'(u)
//   gelu_backward_sums      du = dy * slope,      db = sum over the rows of du
//   product_gelu_backward   the same for dy = dz V, which a linear layer z = y V^T + c passes back
//
// gelu' shares most of its work with gelu: it is computed forward, and backward only multiplies. The formulas are in
// math/gelu.hpp. Results do not depend on the number of threads.

#include <eosin/math/gelu.hpp>
#include <eosin/ops/gemm.hpp>

#include <algorithm>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Column sums of a matrix whose tiles (starting at multiples of tile_grid) are visited by several threads.
template <class T>
class TileSums {
 public:
  /// Takes rows / tile_grid * cols elements of workspace, which the caller's mark gives back.
  TileSums(CpuContext& context, Index rows, Index cols)
      : partial_(context.workspace().take<T>((rows + tile_grid - 1) / tile_grid, cols)) {
    for (Index r = 0; r < partial_.rows(); ++r) std::fill_n(partial_.row(r).data(), cols, T(0));
  }

  /// x *= factor in rows [row, row + rows), columns [col, col + cols), whose column sums are added up.
  void multiply(MatrixView<const T> factor, MatrixView<T> x, Index row, Index rows, Index col, Index cols) const {
    for (Index n = row; n < row + rows; ++n) {
      T* values = x.row(n).data() + col;
      const T* factors = factor.row(n).data() + col;
      T* sum = partial_.row(n / tile_grid).data() + col;
      math::for_each_pack<T>(0, cols, [&](auto lanes) EOSIN_ALWAYS_INLINE {
        const auto product = lanes.load(values) * lanes.load(factors);
        lanes.store(values, product);
        lanes.store(sum, lanes.load(sum) + product);
      });
    }
  }

  /// out = the sums, or out += the sums.
  void finish(VectorView<T> out, bool accumulate) const {
    if (!accumulate)
      for (Index c = 0; c < out.size(); ++c) out[c] = T(0);
    // Blocks first, so that accumulating onto an old value rounds once.
    for (Index r = 1; r < partial_.rows(); ++r)
      for (Index c = 0; c < out.size(); ++c) partial_(0, c) += partial_(r, c);
    if (partial_.rows() > 0)
      for (Index c = 0; c < out.size(); ++c) out[c] += partial_(0, c);
  }

 private:
  MatrixView<T> partial_;
};

}  // namespace detail

/// y = gelu(x W^T + b) and slope = gelu'(x W^T + b): x [n x in], W [out x in], b [out] without gaps, slope and y
/// [n x out]. Throws ShapeError, ValueError.
template <class T>
void linear_gelu(CpuContext& context, MatrixView<const std::type_identity_t<T>> x,
                 MatrixView<const std::type_identity_t<T>> weight, VectorView<const std::type_identity_t<T>> bias,
                 MatrixView<T> slope, MatrixView<std::type_identity_t<T>> y) {
  require_shape("linear_gelu", "y", y, slope.rows(), slope.cols());
  require_size("linear_gelu", "bias", "elements", bias.size(), slope.cols(), "columns of slope");
  require_value(bias.contiguous() || bias.size() <= 1, "linear_gelu", "the elements of bias are not contiguous");
  gemm<T>(context, Transpose::no, Transpose::yes, T(1), x, weight, T(0), slope,
          [&](Index row, Index rows, Index col, Index cols) {
            const T* offset = bias.data() + col;
            for (Index n = row; n < row + rows; ++n) {
              T* derivative = slope.row(n).data() + col;
              T* value = y.row(n).data() + col;
              math::for_each_pack<T>(0, cols, [&](auto lanes) EOSIN_ALWAYS_INLINE {
                const auto result = math::gelu_with_derivative(lanes.load(derivative) + lanes.load(offset));
                lanes.store(derivative, result.derivative);
                lanes.store(value, result.value);
              });
            }
          });
}

/// d becomes d * slope, both [n x m], and `sums` [m] (empty: none wanted) its column sums, added to what is there where
/// `accumulate`.
template <class T>
void gelu_backward_sums(CpuContext& context, MatrixView<const std::type_identity_t<T>> slope, MatrixView<T> d,
                        VectorView<std::type_identity_t<T>> sums, bool accumulate) {
  require_shape("gelu_backward_sums", "d", d, slope.rows(), slope.cols());
  if (!sums.empty()) require_size("gelu_backward_sums", "sums", "elements", sums.size(), d.cols(), "columns of d");
  const auto mark = context.workspace().mark();
  const detail::TileSums<T> total(context, d.rows(), d.cols());
  context.parallel_for(d.rows(), detail::tile_grid, [&](Index begin, Index end) {
    total.multiply(slope, d, begin, end - begin, 0, d.cols());
  });
  if (!sums.empty()) total.finish(sums, accumulate);
}

/// d = (dz V) * slope: dz [n x out], V [out x m], slope and d [n x m]; `sums` as in gelu_backward_sums. Throws
/// ShapeError.
template <class T>
void product_gelu_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> dz,
                           MatrixView<const std::type_identity_t<T>> weight,
                           MatrixView<const std::type_identity_t<T>> slope, MatrixView<T> d,
                           VectorView<std::type_identity_t<T>> sums, bool accumulate) {
  require_shape("product_gelu_backward", "slope", slope, d.rows(), d.cols());
  if (!sums.empty()) require_size("product_gelu_backward", "sums", "elements", sums.size(), d.cols(), "columns of d");
  const auto mark = context.workspace().mark();
  const detail::TileSums<T> total(context, d.rows(), d.cols());
  gemm<T>(context, Transpose::no, Transpose::no, T(1), dz, weight, T(0), d,
          [&](Index row, Index rows, Index col, Index cols) { total.multiply(slope, d, row, rows, col, cols); });
  if (!sums.empty()) total.finish(sums, accumulate);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/linear_gelu.cuh>
#endif
