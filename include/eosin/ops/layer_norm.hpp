#pragma once

// Layer normalisation of rows (Ba, Kiros, Hinton 2016), x [n x d]:
//
//   m = mean x,   v = mean (x - m)^2,   h = (x - m) / sqrt(v + eps),   y = h * weight + bias        per row
//
// The variance takes a second pass over the row, which is in the cache: mean x^2 - m^2 would lose a row of mean 1000
// and deviation 1. Forward leaves m and r = 1 / sqrt(v + eps) per row, from which backward recomputes h.
//
//   g = dy * weight,   dx = r (g - mean g - h mean(g h)),   dweight = sum_n dy h,   dbias = sum_n dy
//                                                                    (docs/derivations/layer_norm.md)
//
// Sums of a row are in double, those over rows by blocks in the order of the blocks: results do not depend on the
// number of threads.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

inline constexpr Index layer_norm_block = 16;

/// `vector` has one element per column of x, or none.
template <class T, class Space>
void check_layer_norm_vector(const char* function, const char* argument, VectorView<T, Space> vector, Index cols) {
  if (vector.empty()) return;
  require_size(function, argument, "elements", vector.size(), cols, "columns of x");
  require_value(vector.contiguous() || vector.size() == 1, function,
                std::string("the elements of ") + argument + " are not contiguous");
}

template <class T>
struct RowMoments {
  T mean;
  T inverse_deviation;
};

template <class T>
RowMoments<T> row_moments(const T* x, Index n, double eps) {
  math::PackSum<T> sum;
  math::for_each_pack<T>(0, n, [&](auto lanes) { sum.add(lanes.load(x)); });
  const T mean = static_cast<T>(sum.total() / static_cast<double>(n));
  math::PackSum<T> squares;
  math::for_each_pack<T>(0, n, [&](auto lanes) {
    const auto centred = lanes.keep(lanes.load(x) - math::Pack<T>(mean));
    squares.add(centred * centred);
  });
  return {mean, static_cast<T>(1 / std::sqrt(squares.total() / static_cast<double>(n) + eps))};
}

}  // namespace detail

/// y = h * weight + bias for x [n x d]; `weight` and `bias` [d], both empty for h itself. `mean` and
/// `inverse_deviation` [n] receive m and r. y may be x where no backward follows; eps is positive. Throws
/// ShapeError, ValueError.
template <class T>
void layer_norm(CpuContext& context, MatrixView<const std::type_identity_t<T>> x,
                VectorView<const std::type_identity_t<T>> weight, VectorView<const std::type_identity_t<T>> bias,
                double eps, MatrixView<T> y, VectorView<std::type_identity_t<T>> mean,
                VectorView<std::type_identity_t<T>> inverse_deviation) {
  require_shape("layer_norm", "y", y, x.rows(), x.cols());
  require_size("layer_norm", "mean", "elements", mean.size(), x.rows(), "rows of x");
  require_size("layer_norm", "inverse_deviation", "elements", inverse_deviation.size(), x.rows(), "rows of x");
  detail::check_layer_norm_vector("layer_norm", "weight", weight, x.cols());
  detail::check_layer_norm_vector("layer_norm", "bias", bias, x.cols());
  require_value(weight.empty() == bias.empty(), "layer_norm", "weight and bias are given together or not at all");
  require_value(eps > 0, "layer_norm", "eps must be positive");
  if (x.cols() == 0) return;
  using Pack = math::Pack<T>;
  const bool affine = !weight.empty();
  context.parallel_for(x.rows(), detail::layer_norm_block, [&](Index begin, Index end) {
    for (Index n = begin; n < end; ++n) {
      const T* from = x.row(n).data();
      T* to = y.row(n).data();
      const auto moments = detail::row_moments(from, x.cols(), eps);
      mean[n] = moments.mean;
      inverse_deviation[n] = moments.inverse_deviation;
      math::for_each_pack<T>(0, x.cols(), [&](auto lanes) {
        const Pack h = (lanes.load(from) - Pack(moments.mean)) * Pack(moments.inverse_deviation);
        lanes.store(to, affine ? math::multiply_add(h, lanes.load(weight.data()), lanes.load(bias.data())) : h);
      });
    }
  });
}

/// How backward leaves its results.
struct LayerNormBackwardOptions {
  bool add_to_dx = false;   ///< dx += instead of dx =, for the sum with a residual's gradient
  bool accumulate = false;  ///< the same for d_weight and d_bias
};

/// dx [n x d] (may be dy) and, unless empty, d_weight and d_bias [d] from dy and what forward took and left. Throws
/// ShapeError, ValueError.
template <class T>
void layer_norm_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> x,
                         VectorView<const std::type_identity_t<T>> mean,
                         VectorView<const std::type_identity_t<T>> inverse_deviation,
                         VectorView<const std::type_identity_t<T>> weight, MatrixView<const std::type_identity_t<T>> dy,
                         MatrixView<T> dx, VectorView<std::type_identity_t<T>> d_weight,
                         VectorView<std::type_identity_t<T>> d_bias, const LayerNormBackwardOptions& options = {}) {
  const char* const name = "layer_norm_backward";
  const Index rows = x.rows(), cols = x.cols();
  require_shape(name, "dy", dy, rows, cols);
  require_shape(name, "dx", dx, rows, cols);
  require_size(name, "mean", "elements", mean.size(), rows, "rows of x");
  require_size(name, "inverse_deviation", "elements", inverse_deviation.size(), rows, "rows of x");
  detail::check_layer_norm_vector(name, "weight", weight, cols);
  detail::check_layer_norm_vector(name, "d_weight", d_weight, cols);
  detail::check_layer_norm_vector(name, "d_bias", d_bias, cols);
  if (cols == 0) return;
  using Pack = math::Pack<T>;
  const bool affine = !weight.empty();
  const bool parameters = !d_weight.empty() || !d_bias.empty();
  const Index blocks = (rows + detail::layer_norm_block - 1) / detail::layer_norm_block;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const auto sums = workspace.take<T>(parameters ? 2 * std::max(blocks, Index{1}) : 0, cols);
  if (parameters) std::fill_n(sums.data(), sums.size(), T(0));
  context.parallel_for(rows, detail::layer_norm_block, [&](Index begin, Index end) {
    T* weight_sum = nullptr;
    T* bias_sum = nullptr;
    if (parameters) {
      weight_sum = sums.row(2 * (begin / detail::layer_norm_block)).data();
      bias_sum = sums.row(2 * (begin / detail::layer_norm_block) + 1).data();
    }
    for (Index n = begin; n < end; ++n) {
      const T* from = x.row(n).data();
      const T* upstream = dy.row(n).data();
      T* to = dx.row(n).data();
      const Pack centre(mean[n]), inverse(inverse_deviation[n]);
      math::PackSum<T> sum, product;
      math::for_each_pack<T>(0, cols, [&](auto lanes) {
        const Pack h = (lanes.load(from) - centre) * inverse;
        const Pack d = lanes.load(upstream);
        const Pack g = affine ? d * lanes.load(weight.data()) : d;
        sum.add(g);
        product.add(g * h);
        if (parameters) {
          lanes.store(weight_sum, math::multiply_add(d, h, lanes.load(weight_sum)));
          lanes.store(bias_sum, lanes.load(bias_sum) + d);
        }
      });
      const Pack mean_g(sum.total() / static_cast<double>(cols)), mean_gh(product.total() / static_cast<double>(cols));
      math::for_each_pack<T>(0, cols, [&](auto lanes) {
        const Pack h = (lanes.load(from) - centre) * inverse;
        const Pack d = lanes.load(upstream);
        const Pack g = affine ? d * lanes.load(weight.data()) : d;
        const Pack result = inverse * (g - mean_g - h * mean_gh);
        lanes.store(to, options.add_to_dx ? lanes.load(to) + result : result);
      });
    }
  });
  if (!parameters) return;
  for (Index b = 1; b < blocks; ++b)
    for (Index row = 0; row < 2; ++row) {
      T* total = sums.row(row).data();
      const T* part = sums.row(2 * b + row).data();
      math::for_each_pack<T>(0, cols, [&](auto lanes) { lanes.store(total, lanes.load(total) + lanes.load(part)); });
    }
  const auto finish = [&](VectorView<T> out, Index row) {
    for (Index c = 0; c < out.size(); ++c) out[c] = (options.accumulate ? out[c] : T(0)) + sums(row, c);
  };
  finish(d_weight, 0);
  finish(d_bias, 1);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/layer_norm.cuh>
#endif
