#pragma once

// Mean Pearson correlation of columns, as a loss:
//
//   xc = x - mean_n x,  yc = y - mean_n y
//   corr_g = sum_n xc yc / ( sqrt( sum xc^2 sum yc^2 ) + eps )
//   loss = -(1/G) sum_g corr_g
//   d loss / dx = -(1/G) ( yc / d - sum(xc yc) / d^2 * sqrt(syy/sxx) * xc ),   d the denominator
//
// A column of x or y that is constant (maximum = minimum, one row included) is undefined: correlation 0, gradient 0,
// and it counts in G. Sums are taken in double. Derivation: docs/derivations/pearson.md.

#include <eosin/core/context.hpp>

#include <array>
#include <cmath>
#include <type_traits>

namespace eosin::losses {

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// Columns that one task works on together.
inline constexpr Index pearson_lanes = 64;
template <class T>
using PearsonLanes = std::array<T, static_cast<std::size_t>(pearson_lanes)>;

/// What the sums of a column come to: its correlation, and its gradient along_y * yc + along_x * xc.
struct PearsonColumn {
  double correlation = 0;
  double along_y = 0;
  double along_x = 0;
};

/// `varies`: neither x nor y is constant. `factor` is -weight / G.
EOSIN_HOST_DEVICE inline PearsonColumn pearson_column(bool varies, double sxx, double syy, double sxy, double eps,
                                                      double factor) {
  PearsonColumn column;
  if (varies && sxx > 0 && syy > 0) {
    const double denominator = std::sqrt(sxx) * std::sqrt(syy) + eps;
    column.correlation = sxy / denominator;
    column.along_y = factor / denominator;
    column.along_x = -factor * column.correlation / denominator * std::sqrt(syy / sxx);
  }
  return column;
}

}  // namespace detail
}  // namespace EOSIN_ISA_NAMESPACE

template <class T, class Space = Host>
struct PearsonOptions {
  double eps = 0;                         ///< added to the denominator
  T weight = T(1);                        ///< factor on the gradient
  VectorView<T, Space> correlation = {};  ///< [G] receives the correlations
  MatrixView<T, Space> gradient = {};     ///< [N x G] receives (or is added to) weight * d loss / d prediction
  bool accumulate = false;                ///< add to `gradient`
};

/// Loss of `prediction` against `target`, both [N x G]. Three passes over the data; no temporaries of its size.
template <class T>
double pearson(CpuContext& context, MatrixView<const std::type_identity_t<T>> prediction,
               MatrixView<const std::type_identity_t<T>> target, const PearsonOptions<T>& options) {
  const Index rows = prediction.rows();
  const Index genes = prediction.cols();
  require_shape("pearson", "target", target, rows, genes);
  if (!options.correlation.empty())
    require_size("pearson", "correlation", "elements", options.correlation.size(), genes, "columns of prediction");
  if (!options.gradient.empty()) require_shape("pearson", "gradient", options.gradient, rows, genes);
  if (genes == 0) return 0;

  const double sum = context.parallel_sum<double>(genes, detail::pearson_lanes, [&](Index begin, Index end) {
    const auto width = static_cast<std::size_t>(end - begin);
    detail::PearsonLanes<double> mean_x{}, mean_y{}, sxx{}, syy{}, sxy{}, along_y{}, along_x{};
    detail::PearsonLanes<bool> vary_x{}, vary_y{};
    for (Index n = 0; n < rows; ++n) {
      const T* x = prediction.row(n).data() + begin;
      const T* y = target.row(n).data() + begin;
      const T* first_x = prediction.row(0).data() + begin;
      const T* first_y = target.row(0).data() + begin;
      for (std::size_t i = 0; i < width; ++i) {
        mean_x[i] += static_cast<double>(x[i]);
        mean_y[i] += static_cast<double>(y[i]);
        vary_x[i] |= x[i] != first_x[i];
        vary_y[i] |= y[i] != first_y[i];
      }
    }
    for (std::size_t i = 0; i < width; ++i) {
      mean_x[i] /= static_cast<double>(rows > 0 ? rows : 1);
      mean_y[i] /= static_cast<double>(rows > 0 ? rows : 1);
    }
    for (Index n = 0; n < rows; ++n) {
      const T* x = prediction.row(n).data() + begin;
      const T* y = target.row(n).data() + begin;
      for (std::size_t i = 0; i < width; ++i) {
        const double xc = static_cast<double>(x[i]) - mean_x[i];
        const double yc = static_cast<double>(y[i]) - mean_y[i];
        sxx[i] += xc * xc;
        syy[i] += yc * yc;
        sxy[i] += xc * yc;
      }
    }
    double total = 0;
    const double factor = -static_cast<double>(options.weight) / static_cast<double>(genes);
    for (std::size_t i = 0; i < width; ++i) {
      const auto column = detail::pearson_column(vary_x[i] && vary_y[i], sxx[i], syy[i], sxy[i], options.eps, factor);
      along_y[i] = column.along_y;
      along_x[i] = column.along_x;
      if (!options.correlation.empty())
        options.correlation[begin + static_cast<Index>(i)] = static_cast<T>(column.correlation);
      total += column.correlation;
    }
    if (!options.gradient.empty()) {
      for (Index n = 0; n < rows; ++n) {
        const T* x = prediction.row(n).data() + begin;
        const T* y = target.row(n).data() + begin;
        T* out = options.gradient.row(n).data() + begin;
        for (std::size_t i = 0; i < width; ++i) {
          const double value = along_y[i] * (static_cast<double>(y[i]) - mean_y[i]) +
                               along_x[i] * (static_cast<double>(x[i]) - mean_x[i]);
          out[i] = options.accumulate ? static_cast<T>(static_cast<double>(out[i]) + value) : static_cast<T>(value);
        }
      }
    }
    return total;
  });
  return -sum / static_cast<double>(genes);
}

}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/pearson.cuh>
#endif
