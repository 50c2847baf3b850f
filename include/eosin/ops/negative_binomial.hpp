#pragma once

// Negative binomial loss of matrices, value and gradients in one pass. The formula is in math/negative_binomial.hpp,
// its derivation in docs/derivations/negative_binomial.md.
//
//     sum_rg nll(y_rg, mu_rg, theta_g)        theta per gene (column): [G]
//     sum_rg nll(y_rg, mu_rg, theta_rg)       theta per element: [R x G]
//
// Traffic: mu and counts are read once, gradients written once. Work is cut into tiles of 64 rows x 1,024 genes; what
// depends on theta alone is computed once per gene and tile. Sums run in double in an order that depends on the shape
// alone: results do not depend on the number of threads.

#include <eosin/core/context.hpp>
#include <eosin/math/negative_binomial.hpp>

#include <algorithm>
#include <array>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

/// Views without memory (the default) are not computed.
template <class T, class Space = Host>
struct NegativeBinomialOptions {
  /// Added to mu, theta and theta + mu inside the logarithms, >= 0.
  T eps = 0;
  /// Factor of all gradients (not of the value), 1 / batch for a mean.
  T gradient_scale = 1;
  /// Loss of each element, [R x G].
  MatrixView<T, Space> nll{};
  /// d sum / d mu, [R x G]; may be mu.
  MatrixView<T, Space> gradient_mu{};
  /// d sum / d log theta, summed over rows, [G]: for theta per gene.
  VectorView<T, Space> gradient_log_theta{};
  /// Adds to gradient_log_theta in place of overwriting it.
  bool accumulate = false;
};

/// Options where theta is [R x G].
template <class T, class Space = Host>
struct NegativeBinomialElementOptions {
  T eps = 0;
  T gradient_scale = 1;
  MatrixView<T, Space> nll{};
  MatrixView<T, Space> gradient_mu{};
  /// d nll / d log theta of each element, [R x G]; may be theta.
  MatrixView<T, Space> gradient_log_theta{};
};

namespace detail {

constexpr Index tile_rows = 64, tile_genes = 1024;

template <class T, class Space>
void require_shape_if_given(const char* argument, const MatrixView<T, Space>& view, Index rows, Index cols) {
  if (view.data() != nullptr) require_shape("negative_binomial", argument, view, rows, cols);
}

/// One tile; `gene_sums` receives the sums of d nll / d log theta over the rows, padded to whole packs.
template <bool GradientMu, bool GradientTheta, class T>
double negative_binomial_tile(MatrixView<const T> mu, VectorView<const T> theta, MatrixView<const T> counts,
                              const NegativeBinomialOptions<T>& options, Index row_begin, Index row_end,
                              Index gene_begin, Index gene_end, double* gene_sums) {
  using Pack = math::Pack<T>;
  constexpr std::size_t packs = tile_genes / Pack::size;
  std::array<math::NegativeBinomialTheta<Pack>, packs> terms;
  math::for_each_pack<T>(gene_begin, gene_end, [&](auto lanes) {
    terms[static_cast<std::size_t>((lanes.index - gene_begin) / Pack::size)] =
        math::negative_binomial_theta(lanes.load(theta.data(), T(1)), options.eps);
  });
  [[maybe_unused]] std::array<math::PackSum<T>, packs> slopes{};
  math::PackSum<T> sum;
  const Pack scale(options.gradient_scale);
  const bool keeps_nll = options.nll.data() != nullptr;
  for (Index r = row_begin; r < row_end; ++r) {
    const T* mu_row = mu.data() + r * mu.stride();
    const T* count_row = counts.data() + r * counts.stride();
    T* nll_row = keeps_nll ? options.nll.data() + r * options.nll.stride() : nullptr;
    [[maybe_unused]] T* gradient_row =
        GradientMu ? options.gradient_mu.data() + r * options.gradient_mu.stride() : nullptr;
    math::for_each_pack<T>(gene_begin, gene_end, [&](auto lanes) EOSIN_ALWAYS_INLINE {
      const auto pack = static_cast<std::size_t>((lanes.index - gene_begin) / Pack::size);
      const auto result =
          math::negative_binomial(lanes.load(mu_row, T(1)), lanes.load(count_row), terms[pack], options.eps);
      sum.add(lanes.keep(result.nll));
      if (keeps_nll) lanes.store(nll_row, result.nll);
      if constexpr (GradientMu) lanes.store(gradient_row, scale * result.gradient_mu);
      if constexpr (GradientTheta) slopes[pack].add(result.gradient_log_theta);
    });
  }
  if constexpr (GradientTheta) {
    for (Index g = gene_begin; g < gene_end; g += Pack::size)
      slopes[static_cast<std::size_t>((g - gene_begin) / Pack::size)].store(gene_sums + g);
  }
  return sum.total();
}

}  // namespace detail

/// Sum of the loss over mu [R x G] (its element type is T), theta [G] > 0 (contiguous), counts [R x G]. mu >= 0 and
/// counts >= 0 are the caller's promise (losses/negative_binomial.hpp checks); NaN goes through.
template <class Rates, class T = typename Rates::value_type>
double negative_binomial(CpuContext& context, const Rates& rates, VectorView<const std::type_identity_t<T>> theta,
                         MatrixView<const std::type_identity_t<T>> counts,
                         const NegativeBinomialOptions<std::type_identity_t<T>>& options = {}) {
  const MatrixView<const T> mu = rates;
  const Index rows = mu.rows(), genes = mu.cols();
  require_shape("negative_binomial", "counts", counts, rows, genes);
  require_size("negative_binomial", "theta", "elements", theta.size(), genes, "columns of mu");
  require_value(theta.contiguous() || genes <= 1, "negative_binomial", "the elements of theta are not contiguous");
  detail::require_shape_if_given("nll", options.nll, rows, genes);
  detail::require_shape_if_given("gradient_mu", options.gradient_mu, rows, genes);
  const bool gradient_mu = options.gradient_mu.data() != nullptr;
  const bool gradient_theta = options.gradient_log_theta.data() != nullptr;
  if (gradient_theta)
    require_size("negative_binomial", "gradient_log_theta", "elements", options.gradient_log_theta.size(), genes,
                 "columns of mu");

  using detail::tile_genes, detail::tile_rows;
  const Index row_tiles = (rows + tile_rows - 1) / tile_rows, gene_tiles = (genes + tile_genes - 1) / tile_genes;
  const Index padded_genes = gene_tiles * tile_genes;
  const auto mark = context.workspace().mark();
  const auto gene_sums = context.workspace().template take<double>(gradient_theta ? row_tiles : 0, padded_genes);
  const auto run = [&]<bool Mu, bool Theta>(std::bool_constant<Mu>, std::bool_constant<Theta>) {
    return context.template parallel_sum<double>(row_tiles * gene_tiles, 1, [&](Index tile, Index) {
      const Index row = tile / gene_tiles * tile_rows, gene = tile % gene_tiles * tile_genes;
      return detail::negative_binomial_tile<Mu, Theta, T>(
          mu, theta, counts, options, row, std::min(rows, row + tile_rows), gene, std::min(genes, gene + tile_genes),
          Theta ? gene_sums.data() + row / tile_rows * padded_genes : nullptr);
    });
  };
  const std::true_type yes;
  const std::false_type no;
  const double sum =
      gradient_mu ? (gradient_theta ? run(yes, yes) : run(yes, no)) : (gradient_theta ? run(no, yes) : run(no, no));
  if (gradient_theta) {
    const double scale = static_cast<double>(options.gradient_scale);
    context.parallel_for(genes, 4096, [&](Index begin, Index end) {
      for (Index g = begin; g < end; ++g) {
        double slope = 0;
        for (Index row = 0; row < row_tiles; ++row) slope += gene_sums(row, g);
        T& out = options.gradient_log_theta[g];
        out = static_cast<T>(scale * slope) + (options.accumulate ? out : T(0));
      }
    });
  }
  return sum;
}

/// Sum of the loss with theta per element: mu, theta > 0, counts [R x G].
template <class Rates, class T = typename Rates::value_type>
double negative_binomial_by_element(CpuContext& context, const Rates& rates,
                                    MatrixView<const std::type_identity_t<T>> theta,
                                    MatrixView<const std::type_identity_t<T>> counts,
                                    const NegativeBinomialElementOptions<std::type_identity_t<T>>& options = {}) {
  const MatrixView<const T> mu = rates;
  const Index rows = mu.rows(), genes = mu.cols();
  require_shape("negative_binomial_by_element", "counts", counts, rows, genes);
  require_shape("negative_binomial_by_element", "theta", theta, rows, genes);
  detail::require_shape_if_given("nll", options.nll, rows, genes);
  detail::require_shape_if_given("gradient_mu", options.gradient_mu, rows, genes);
  detail::require_shape_if_given("gradient_log_theta", options.gradient_log_theta, rows, genes);
  const auto row_of = [](MatrixView<T> view, Index r) {
    return view.data() == nullptr ? nullptr : view.data() + r * view.stride();
  };
  constexpr Index piece = 8192;
  const Index pieces = (genes + piece - 1) / piece;
  return context.template parallel_sum<double>(rows * pieces, 1, [&](Index task, Index) {
    const Index r = task / pieces, begin = task % pieces * piece;
    const T* mu_row = mu.data() + r * mu.stride();
    const T* theta_row = theta.data() + r * theta.stride();
    const T* count_row = counts.data() + r * counts.stride();
    T* nll = row_of(options.nll, r);
    T* gradient_mu = row_of(options.gradient_mu, r);
    T* gradient_theta = row_of(options.gradient_log_theta, r);
    const math::Pack<T> scale(options.gradient_scale);
    math::PackSum<T> sum;
    math::for_each_pack<T>(begin, std::min(genes, begin + piece), [&](auto lanes) EOSIN_ALWAYS_INLINE {
      const auto terms = math::negative_binomial_theta(lanes.load(theta_row, T(1)), options.eps);
      const auto result = math::negative_binomial(lanes.load(mu_row, T(1)), lanes.load(count_row), terms, options.eps);
      sum.add(lanes.keep(result.nll));
      if (nll != nullptr) lanes.store(nll, result.nll);
      if (gradient_mu != nullptr) lanes.store(gradient_mu, scale * result.gradient_mu);
      if (gradient_theta != nullptr) lanes.store(gradient_theta, scale * result.gradient_log_theta);
    });
    return sum.total();
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/negative_binomial.cuh>
#endif
