#pragma once

// The Pearson loss of losses/pearson.hpp for a prediction that is a mixture of prototypes, e = P E, without ever
// forming e [N x G]. With centred compositions Pc, target columns yc centred and of unit length, and Ec = E minus its
// mean over types (allowed since Pc 1 = 0; it keeps float accurate):
//
//   S = Pc' Pc  [C x C],   B = Pc' Yc  [C x G],   sxx_g = Ec_g' S Ec_g,   sxy_g = Ec_g' B_g
//   corr_g = sxy_g / sqrt(sxx_g),   loss = -(1/G) sum_g corr_g
//
//   u_g = d loss / d sxy_g = -1 / (G sqrt(sxx_g)),      w_g = d loss / d sxx_g = corr_g / (2 G sxx_g)
//   dE_g = u_g B_g + 2 w_g S Ec_g                       [C x G]
//   dP   = 2 Pc (Ec diag(w) Ec') + Yc (Ec diag(u))'     [N x C]
//
// Rows of P must have equal sums (a composition sums to 1): off that set the loss is not that of P E. Accordingly dP is
// the gradient along it; its rows sum to 0, and a softmax passes it on unchanged.
//
// Two products of N G C multiplications replace the direct form's five passes over N x G arrays. A positive factor and
// a shift per gene (the modality correction) do not change a correlation, so e needs neither. A correlation is
// undefined, and 0 with gradient 0, iff its target is constant, E_g is equal for all types, or all compositions are
// equal. Derivation: docs/derivations/composition_pearson.md.

#include <eosin/core/context.hpp>
#include <eosin/ops/gemm.hpp>
#include <eosin/ops/reduce.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

namespace eosin::losses {

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// Correlation of a gene, u and w.
template <class T>
struct CompositionPearsonGene {
  T correlation;
  T d_cross;
  T d_spread;
};

/// `share` is weight / G.
template <class T>
EOSIN_HOST_DEVICE CompositionPearsonGene<T> composition_pearson_gene(bool varies, T sxx, T sxy, T share) {
  const bool defined = varies && sxx > T(0);
  const T length = defined ? std::sqrt(sxx) : T(1);
  const T correlation = defined ? sxy / length : T(0);
  return {correlation, defined ? -share / length : T(0), defined ? share * correlation / (T(2) * sxx) : T(0)};
}

}  // namespace detail
}  // namespace EOSIN_ISA_NAMESPACE

/// What the loss needs of a measured target: columns centred and scaled to unit length, made once per section.
template <class T, class Space = Host>
struct PearsonTarget {
  Matrix<T, Space> unit;  ///< [N x G]; zero where constant
  /// [G] 0 where the column is constant.
  std::conditional_t<std::is_same_v<Space, Host>, std::vector<char>, Vector<char, Space>> defined;
};

/// Prepares target y [N x G].
template <class T>
PearsonTarget<T> pearson_target(CpuContext& context, MatrixView<const T> y) {
  PearsonTarget<T> target{Matrix<T>(y.rows(), y.cols()), std::vector<char>(static_cast<std::size_t>(y.cols()))};
  const Index rows = y.rows();
  context.parallel_for(y.cols(), 64, [&](Index begin, Index end) {
    for (Index g = begin; g < end; ++g) {
      double mean = 0;
      bool varies = false;
      for (Index n = 0; n < rows; ++n) {
        mean += static_cast<double>(y(n, g));
        varies |= y(n, g) != y(0, g);
      }
      mean /= static_cast<double>(rows > 0 ? rows : 1);
      double squares = 0;
      for (Index n = 0; n < rows; ++n) {
        const double centred = static_cast<double>(y(n, g)) - mean;
        squares += centred * centred;
      }
      target.defined[static_cast<std::size_t>(g)] = varies && squares > 0;
      if (!varies || !(squares > 0)) continue;
      const double scale = 1 / std::sqrt(squares);
      for (Index n = 0; n < rows; ++n)
        target.unit(n, g) = static_cast<T>((static_cast<double>(y(n, g)) - mean) * scale);
    }
  });
  return target;
}

template <class T, class Space = Host>
struct CompositionPearsonOptions {
  T weight = T(1);                          ///< factor on the gradients
  VectorView<T, Space> correlation = {};    ///< [G] receives the correlations
  MatrixView<T, Space> d_composition = {};  ///< [N x C] is overwritten with weight * d loss / d P
  MatrixView<T, Space> d_expression = {};   ///< [C x G] weight * d loss / d E is added
};

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// Shapes of a call; throws ShapeError, ValueError.
template <class T, class Space>
void check_composition_pearson(MatrixView<const T, Space> composition, MatrixView<const T, Space> expression,
                               const PearsonTarget<T, Space>& target, const CompositionPearsonOptions<T, Space>& options) {
  const Index rows = composition.rows(), types = composition.cols(), genes = expression.cols();
  require_size("composition_pearson", "expression", "rows", expression.rows(), types, "columns of composition");
  require_shape("composition_pearson", "target", target.unit, rows, genes);
  if (!options.correlation.empty())
    require_size("composition_pearson", "correlation", "elements", options.correlation.size(), genes,
                 "columns of expression");
  if (!options.d_expression.empty())
    require_shape("composition_pearson", "d_expression", options.d_expression, types, genes);
  if (!options.d_composition.empty())
    require_shape("composition_pearson", "d_composition", options.d_composition, rows, types);
  require_value(types > 0, "composition_pearson", "composition has no columns");
}

}  // namespace detail
}  // namespace EOSIN_ISA_NAMESPACE

/// Loss of composition [N x C], C >= 1, rows of equal sum, and prototypes' expression [C x G] against a prepared target
/// [N x G]. Throws ShapeError, ValueError. Workspace: O(C G + N C).
template <class T>
double composition_pearson(CpuContext& context, MatrixView<const std::type_identity_t<T>> composition,
                           MatrixView<const std::type_identity_t<T>> expression, const PearsonTarget<T>& target,
                           const CompositionPearsonOptions<T>& options) {
  const Index rows = composition.rows();
  const Index types = composition.cols();
  const Index genes = expression.cols();
  detail::check_composition_pearson<T, Host>(composition, expression, target, options);
  if (genes == 0) return 0;

  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const auto unit = target.unit.view();

  const auto mean = workspace.template take<T>(types);
  std::fill(mean.data(), mean.data() + types, T(0));
  if (rows > 0) ops::column_means<T>(context, composition, mean);
  const auto centred = workspace.template take<T>(rows, types);
  bool vary = false;
  for (Index n = 0; n < rows; ++n)
    for (Index c = 0; c < types; ++c) {
      centred(n, c) = composition(n, c) - mean[c];
      vary |= composition(n, c) != composition(0, c);
    }

  const auto spread = workspace.template take<T>(types, types);       // S
  const auto cross = workspace.template take<T>(types, genes);        // B
  const auto contrast = workspace.template take<T>(types, genes);     // Ec
  const auto spread_contrast = workspace.template take<T>(types, genes);  // S Ec
  const auto d_cross = workspace.template take<T>(genes);             // u
  const auto d_spread = workspace.template take<T>(genes);            // w
  ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), centred, centred, T(0), spread);
  ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), centred, unit, T(0), cross);

  constexpr Index block = 512;
  context.parallel_for(genes, block, [&](Index begin, Index end) {
    for (Index c = 0; c < types; ++c)
      std::copy(&expression(c, begin), &expression(c, begin) + (end - begin), &contrast(c, begin));
    T* sum = &spread_contrast(0, begin);  // free until S Ec is computed
    std::fill(sum, sum + (end - begin), T(0));
    for (Index c = 0; c < types; ++c)
      for (Index g = begin; g < end; ++g) sum[g - begin] += contrast(c, g);
    for (Index c = 0; c < types; ++c)
      for (Index g = begin; g < end; ++g) contrast(c, g) -= sum[g - begin] / static_cast<T>(types);
  });
  ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), spread, contrast, T(0), spread_contrast);

  const T share = options.weight / static_cast<T>(genes);
  const double sum = context.parallel_sum<double>(genes, block, [&](Index begin, Index end) {
    const Index width = end - begin;
    std::vector<T> sxx(static_cast<std::size_t>(width)), sxy(static_cast<std::size_t>(width));
    std::vector<char> differs(static_cast<std::size_t>(width));
    for (Index c = 0; c < types; ++c) {
      const T* e = &contrast(c, begin);
      const T* se = &spread_contrast(c, begin);
      const T* b = &cross(c, begin);
      const T* raw = &expression(c, begin);
      const T* first = &expression(0, begin);
      for (std::size_t i = 0; i < sxx.size(); ++i) {
        sxx[i] += e[i] * se[i];
        sxy[i] += e[i] * b[i];
        differs[i] |= raw[i] != first[i];
      }
    }
    double total = 0;
    for (std::size_t i = 0; i < sxx.size(); ++i) {
      const Index g = begin + static_cast<Index>(i);
      const bool varies = vary && differs[i] && target.defined[static_cast<std::size_t>(g)];
      const auto gene = detail::composition_pearson_gene(varies, sxx[i], sxy[i], share);
      if (!options.correlation.empty()) options.correlation[g] = gene.correlation;
      d_cross[g] = gene.d_cross;
      d_spread[g] = gene.d_spread;
      total += static_cast<double>(gene.correlation);
    }
    return total;
  });

  if (!options.d_expression.empty()) {
    context.parallel_for(genes, block, [&](Index begin, Index end) {
      for (Index c = 0; c < types; ++c) {
        T* out = options.d_expression.row(c).data();
        for (Index g = begin; g < end; ++g)
          out[g] += d_cross[g] * cross(c, g) + T(2) * d_spread[g] * spread_contrast(c, g);
      }
    });
  }
  if (!options.d_composition.empty()) {
    const auto scaled = spread_contrast;  // its memory takes Ec diag(w), then Ec diag(u)
    const auto inner = spread;            // and that of S takes Ec diag(w) Ec'
    const auto scale_contrast = [&](VectorView<const T> factor) {
      context.parallel_for(genes, block, [&](Index begin, Index end) {
        for (Index c = 0; c < types; ++c)
          for (Index g = begin; g < end; ++g) scaled(c, g) = contrast(c, g) * factor[g];
      });
    };
    scale_contrast(d_spread);
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), scaled, contrast, T(0), inner);
    ops::gemm<T>(context, Transpose::no, Transpose::no, T(2), centred, inner, T(0), options.d_composition);
    scale_contrast(d_cross);
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), unit, scaled, T(1), options.d_composition);
  }
  return -sum / static_cast<double>(genes);
}

}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/composition_pearson.cuh>
#endif
