#pragma once

// Negative binomial loss on the device, value and gradients in one pass; the formula is math/negative_binomial.hpp, the
// same as on the processor.
//
// Theta per gene: a thread owns a gene and walks down a run of rows, so that what depends on theta alone is computed
// once per gene and run, and the sum over rows for theta's gradient stays in a register. Neighbouring threads read
// neighbouring genes. Runs are short where there are few rows, as at slide level, to keep the device busy. Traffic: mu
// and counts read once, gradients written once, 16 bytes an element in float, for some 170 operations: bound by
// arithmetic on devices with fewer than ten operations a byte, by memory on none of today's. Sums are in double: over a
// gene's run in its thread, over a block by shuffles, over the blocks in their order.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/negative_binomial.hpp>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

inline constexpr int negative_binomial_threads = 256;

/// Rows [run * blockIdx.y, ...) of the genes of block blockIdx.x. `slopes` [runs x genes] and `values` [blocks] receive
/// the partial sums of the gradient by log theta (not scaled) and of the loss.
template <bool GradientMu, bool GradientTheta, class T>
__global__ void __launch_bounds__(negative_binomial_threads)
    negative_binomial(MatrixView<const T, Device> mu, VectorView<const T, Device> theta,
                      MatrixView<const T, Device> counts, NegativeBinomialOptions<T, Device> options, Index run,
                      double* slopes, double* values) {
  EOSIN_SHARED(double, scratch, [negative_binomial_threads / 32]);
  const Index gene = static_cast<Index>(blockIdx.x) * negative_binomial_threads + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < mu.rows() ? begin + run : mu.rows();
  double value = 0;
  if (gene < mu.cols()) {
    const auto terms = math::negative_binomial_theta(theta[gene], options.eps);
    double slope = 0;
    for (Index row = begin; row < end; ++row) {
      const auto result = math::negative_binomial(mu(row, gene), counts(row, gene), terms, options.eps);
      value += static_cast<double>(result.nll);
      if (options.nll.data() != nullptr) options.nll(row, gene) = result.nll;
      if constexpr (GradientMu) options.gradient_mu(row, gene) = options.gradient_scale * result.gradient_mu;
      if constexpr (GradientTheta) slope += static_cast<double>(result.gradient_log_theta);
    }
    if constexpr (GradientTheta) slopes[static_cast<Index>(blockIdx.y) * mu.cols() + gene] = slope;
  }
  value = cuda::block_sum<negative_binomial_threads>(value, scratch);
  if (threadIdx.x == 0) values[static_cast<Index>(blockIdx.y) * gridDim.x + blockIdx.x] = value;
}

/// The gradient by log theta from the sums of the runs.
template <class T>
struct FinishSlopes {
  const double* slopes;
  Index runs;
  double scale;
  bool accumulate;
  VectorView<T, Device> out;
  __device__ void operator()(Index gene) const {
    double sum = 0;
    for (Index run = 0; run < runs; ++run) sum += slopes[run * out.size() + gene];
    out[gene] = static_cast<T>(scale * sum) + (accumulate ? out[gene] : T(0));
  }
};

/// Theta per element: blocks take pieces of a row.
template <class T>
__global__ void __launch_bounds__(negative_binomial_threads)
    negative_binomial_by_element(MatrixView<const T, Device> mu, MatrixView<const T, Device> theta,
                                 MatrixView<const T, Device> counts, NegativeBinomialElementOptions<T, Device> options,
                                 Index run, double* values) {
  EOSIN_SHARED(double, scratch, [negative_binomial_threads / 32]);
  const Index gene = static_cast<Index>(blockIdx.x) * negative_binomial_threads + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < mu.rows() ? begin + run : mu.rows();
  double value = 0;
  if (gene < mu.cols())
    for (Index row = begin; row < end; ++row) {
      const auto terms = math::negative_binomial_theta(theta(row, gene), options.eps);
      const auto result = math::negative_binomial(mu(row, gene), counts(row, gene), terms, options.eps);
      value += static_cast<double>(result.nll);
      if (options.nll.data() != nullptr) options.nll(row, gene) = result.nll;
      if (options.gradient_mu.data() != nullptr)
        options.gradient_mu(row, gene) = options.gradient_scale * result.gradient_mu;
      if (options.gradient_log_theta.data() != nullptr)
        options.gradient_log_theta(row, gene) = options.gradient_scale * result.gradient_log_theta;
    }
  value = cuda::block_sum<negative_binomial_threads>(value, scratch);
  if (threadIdx.x == 0) values[static_cast<Index>(blockIdx.y) * gridDim.x + blockIdx.x] = value;
}

}  // namespace kernels

namespace detail {

/// How a [rows x genes] loss is cut: a function of the shape alone.
struct NegativeBinomialGrid {
  unsigned across;
  Index run, runs;
  NegativeBinomialGrid(Index rows, Index genes) : across(cuda::blocks_for(genes, kernels::negative_binomial_threads)) {
    // Enough blocks for a large device, and no more runs than that asks for.
    constexpr Index wanted_blocks = 1024, longest = 64, highest_grid = 65535;
    run = std::clamp(rows * static_cast<Index>(across) / wanted_blocks, Index{1}, longest);
    run = std::max(run, (rows + highest_grid - 1) / highest_grid);
    runs = (rows + run - 1) / run;
  }
  Index blocks() const { return static_cast<Index>(across) * runs; }
  dim3 grid() const { return {across, static_cast<unsigned>(runs)}; }
};

}  // namespace detail

/// `sum` [1] receives the sum of the loss over mu [R x G], theta [G] > 0, counts [R x G], all on the device; options
/// say which gradients are written where. Values are the caller's promise, as on the processor. Nothing is waited for.
template <class Rates, class T = typename Rates::value_type>
void negative_binomial(CudaContext& context, const Rates& rates,
                       VectorView<const std::type_identity_t<T>, Device> theta,
                       MatrixView<const std::type_identity_t<T>, Device> counts,
                       const NegativeBinomialOptions<std::type_identity_t<T>, Device>& options,
                       VectorView<double, Device> sum) {
  const MatrixView<const T, Device> mu = rates;
  const Index rows = mu.rows(), genes = mu.cols();
  require_shape("negative_binomial", "counts", counts, rows, genes);
  require_size("negative_binomial", "theta", "elements", theta.size(), genes, "columns of mu");
  require_size("negative_binomial", "sum", "elements", sum.size(), 1);
  detail::require_shape_if_given("nll", options.nll, rows, genes);
  detail::require_shape_if_given("gradient_mu", options.gradient_mu, rows, genes);
  const bool by_mu = options.gradient_mu.data() != nullptr, by_theta = options.gradient_log_theta.data() != nullptr;
  if (by_theta)
    require_size("negative_binomial", "gradient_log_theta", "elements", options.gradient_log_theta.size(), genes,
                 "columns of mu");
  const detail::NegativeBinomialGrid grid(rows, genes);
  const auto mark = context.workspace().mark();
  const auto slopes = context.workspace().template take<double>(by_theta ? grid.runs * genes : 0);
  const auto values = context.workspace().template take<double>(grid.blocks());
  if (grid.blocks() > 0) {
    const auto run = [&](auto kernel) {
      context.launch("negative_binomial", kernel, grid.grid(), kernels::negative_binomial_threads, mu, theta, counts,
                     options, grid.run, slopes.data(), values.data());
    };
    by_mu
        ? (by_theta ? run(kernels::negative_binomial<true, true, T>) : run(kernels::negative_binomial<true, false, T>))
        : (by_theta ? run(kernels::negative_binomial<false, true, T>)
                    : run(kernels::negative_binomial<false, false, T>));
  }
  sum_elements<double>(context, values, sum);
  if (by_theta)
    for_each_element(context, "negative_binomial", genes,
                     kernels::FinishSlopes<T>{slopes.data(), grid.runs, static_cast<double>(options.gradient_scale),
                                              options.accumulate, options.gradient_log_theta});
}

/// The same with theta [R x G].
template <class Rates, class T = typename Rates::value_type>
void negative_binomial_by_element(CudaContext& context, const Rates& rates,
                                  MatrixView<const std::type_identity_t<T>, Device> theta,
                                  MatrixView<const std::type_identity_t<T>, Device> counts,
                                  const NegativeBinomialElementOptions<std::type_identity_t<T>, Device>& options,
                                  VectorView<double, Device> sum) {
  const MatrixView<const T, Device> mu = rates;
  const Index rows = mu.rows(), genes = mu.cols();
  require_shape("negative_binomial_by_element", "counts", counts, rows, genes);
  require_shape("negative_binomial_by_element", "theta", theta, rows, genes);
  require_size("negative_binomial_by_element", "sum", "elements", sum.size(), 1);
  detail::require_shape_if_given("nll", options.nll, rows, genes);
  detail::require_shape_if_given("gradient_mu", options.gradient_mu, rows, genes);
  detail::require_shape_if_given("gradient_log_theta", options.gradient_log_theta, rows, genes);
  const detail::NegativeBinomialGrid grid(rows, genes);
  const auto mark = context.workspace().mark();
  const auto values = context.workspace().template take<double>(grid.blocks());
  if (grid.blocks() > 0)
    context.launch("negative_binomial_by_element", kernels::negative_binomial_by_element<T>, grid.grid(),
                   kernels::negative_binomial_threads, mu, theta, counts, options, grid.run, values.data());
  sum_elements<double>(context, values, sum);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
