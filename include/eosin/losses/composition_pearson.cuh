#pragma once

// The Pearson loss of a mixture of prototypes on the device; the formulas are those of composition_pearson.hpp.
//
// The products are the library's. Around them: compositions centred by blocks of 32 types and a run of rows; a thread
// per gene walks down the types, to centre the prototypes and to gather sxx and sxy; the gradients are a thread per
// element. Besides the products some ten matrices [types x genes] are read or written once. The target is prepared as
// in pearson.cuh, a block per 32 columns, which it reads four times.

#include <eosin/core/cuda_context.cuh>
#include <eosin/losses/pearson.hpp>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8).
template <class T>
__global__ void __launch_bounds__(256)
    pearson_target(MatrixView<const T, Device> y, MatrixView<T, Device> unit, char* defined) {
  EOSIN_SHARED(double, scratch, [8][33]);
  const Index g = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index rows = g < y.cols() ? y.rows() : 0;
  double sum = 0;
  bool differs = false;
  for (Index n = threadIdx.y; n < rows; n += 8) {
    sum += static_cast<double>(y(n, g));
    differs |= y(n, g) != y(0, g);
  }
  const double mean = cuda::column_sum(sum, scratch) / static_cast<double>(rows > 0 ? rows : 1);
  const bool varies = cuda::column_sum(differs ? 1.0 : 0.0, scratch) > 0;
  double squares = 0;
  for (Index n = threadIdx.y; n < rows; n += 8) {
    const double centred = static_cast<double>(y(n, g)) - mean;
    squares += centred * centred;
  }
  squares = cuda::column_sum(squares, scratch);
  if (g >= y.cols()) return;
  const bool good = varies && squares > 0;
  const double scale = good ? 1 / std::sqrt(squares) : 0;
  for (Index n = threadIdx.y; n < rows; n += 8)
    unit(n, g) = good ? static_cast<T>((static_cast<double>(y(n, g)) - mean) * scale) : T(0);
  if (threadIdx.y == 0) defined[g] = good;
}

/// Block (32, 8): 32 types of a run of rows. `differs` [blocks] says whether some composition of the run is not the
/// first.
template <class T>
__global__ void __launch_bounds__(256) centre_compositions(MatrixView<const T, Device> composition, const T* mean,
                                                           Index run, MatrixView<T, Device> centred, int* differs) {
  const Index c = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < composition.rows() ? begin + run : composition.rows();
  bool found = false;
  if (c < composition.cols())
    for (Index n = begin + threadIdx.y; n < end; n += 8) {
      centred(n, c) = composition(n, c) - mean[c];
      found |= composition(n, c) != composition(0, c);
    }
  const int any = __syncthreads_or(found ? 1 : 0);
  if (threadIdx.x == 0 && threadIdx.y == 0) differs[static_cast<Index>(blockIdx.y) * gridDim.x + blockIdx.x] = any;
}

/// contrast = expression minus its mean over the types.
template <class T>
struct CentrePrototypes {
  MatrixView<const T, Device> expression;
  MatrixView<T, Device> contrast;
  __device__ void operator()(Index g) const {
    T sum = 0;
    for (Index c = 0; c < expression.rows(); ++c) sum += expression(c, g);
    const T mean = sum / static_cast<T>(expression.rows());
    for (Index c = 0; c < expression.rows(); ++c) contrast(c, g) = expression(c, g) - mean;
  }
};

/// A thread per gene. `differs` [flags] is of centre_compositions, `values` [blocks] receives the shares of the loss.
template <class T>
__global__ void __launch_bounds__(256)
    composition_pearson(MatrixView<const T, Device> expression, MatrixView<const T, Device> contrast,
                        MatrixView<const T, Device> spread_contrast, MatrixView<const T, Device> cross,
                        const char* defined, const int* differs, Index flags, T share,
                        VectorView<T, Device> correlation, T* d_cross, T* d_spread, double* values) {
  EOSIN_SHARED(double, scratch, [8]);
  const Index g = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  double total = 0;
  if (g < expression.cols()) {
    bool compositions_differ = false;
    for (Index i = 0; i < flags; ++i) compositions_differ |= differs[i] != 0;
    T sxx = 0, sxy = 0;
    bool prototypes_differ = false;
    for (Index c = 0; c < expression.rows(); ++c) {
      sxx = math::multiply_add(contrast(c, g), spread_contrast(c, g), sxx);
      sxy = math::multiply_add(contrast(c, g), cross(c, g), sxy);
      prototypes_differ |= expression(c, g) != expression(0, g);
    }
    const bool varies = compositions_differ && prototypes_differ && defined[g] != 0;
    const auto gene = detail::composition_pearson_gene(varies, sxx, sxy, share);
    if (correlation.data() != nullptr) correlation[g] = gene.correlation;
    d_cross[g] = gene.d_cross;
    d_spread[g] = gene.d_spread;
    total = static_cast<double>(gene.correlation);
  }
  total = cuda::block_sum<256>(total, scratch);
  if (threadIdx.x == 0) values[blockIdx.x] = -total / static_cast<double>(expression.cols());
}

template <class T>
struct AddPrototypeGradient {
  const T* d_cross;
  const T* d_spread;
  MatrixView<const T, Device> cross;
  MatrixView<const T, Device> spread_contrast;
  MatrixView<T, Device> d_expression;
  __device__ void operator()(Index c, Index g) const {
    d_expression(c, g) += d_cross[g] * cross(c, g) + T(2) * d_spread[g] * spread_contrast(c, g);
  }
};

template <class T>
struct ScaleContrast {
  MatrixView<const T, Device> contrast;
  const T* factor;
  MatrixView<T, Device> scaled;
  __device__ void operator()(Index c, Index g) const { scaled(c, g) = contrast(c, g) * factor[g]; }
};

}  // namespace kernels

/// Prepares target y [N x G].
template <class T>
PearsonTarget<std::remove_const_t<T>, Device> pearson_target(CudaContext& context, MatrixView<T, Device> y) {
  using Element = std::remove_const_t<T>;
  PearsonTarget<Element, Device> target{Matrix<Element, Device>(y.rows(), y.cols()), Vector<char, Device>(y.cols())};
  if (y.cols() > 0)
    context.launch("pearson_target", kernels::pearson_target<Element>, cuda::blocks_for(y.cols(), 32), dim3(32, 8), y,
                   target.unit.view(), target.defined.data());
  return target;
}

/// `sum` [1] receives the loss of composition [N x C], C >= 1, rows of equal sum, and prototypes' expression [C x G]
/// against a prepared target [N x G]. Throws ShapeError, ValueError. Nothing is waited for. Workspace: O(C G + N C).
template <class T>
void composition_pearson(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> composition,
                         MatrixView<const std::type_identity_t<T>, Device> expression,
                         const PearsonTarget<T, Device>& target, const CompositionPearsonOptions<T, Device>& options,
                         VectorView<double, Device> sum) {
  const char* const name = "composition_pearson";
  const Index rows = composition.rows(), types = composition.cols(), genes = expression.cols();
  detail::check_composition_pearson<T, Device>(composition, expression, target, options);
  require_size(name, "sum", "elements", sum.size(), 1);
  if (genes == 0) {
    zero(context, sum);
    return;
  }
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const auto unit = target.unit.view();
  const ops::detail::RowRuns runs(rows);
  const dim3 centre_grid = runs.grid(types);
  const Index flags = static_cast<Index>(centre_grid.x) * runs.count;

  const auto mean = workspace.template take<T>(types);
  const auto centred = workspace.template take<T>(rows, types);  // Pc
  const auto differs = workspace.template take<int>(flags);
  const auto spread = workspace.template take<T>(types, types);           // S
  const auto cross = workspace.template take<T>(types, genes);            // B
  const auto contrast = workspace.template take<T>(types, genes);         // Ec
  const auto spread_contrast = workspace.template take<T>(types, genes);  // S Ec
  const auto d_cross = workspace.template take<T>(genes);                 // u
  const auto d_spread = workspace.template take<T>(genes);                // w
  const auto values = workspace.template take<double>((genes + 255) / 256);

  if (rows > 0) {
    ops::column_means<T>(context, composition, mean);
    context.launch(name, kernels::centre_compositions<T>, centre_grid, dim3(32, 8), composition, mean.data(),
                   runs.length, centred, differs.data());
  }
  ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), centred, centred, T(0), spread);
  ops::gemm<T>(context, Transpose::yes, Transpose::no, T(1), centred, unit, T(0), cross);
  for_each_element(context, name, genes, kernels::CentrePrototypes<T>{expression, contrast});
  ops::gemm<T>(context, Transpose::no, Transpose::no, T(1), spread, contrast, T(0), spread_contrast);

  const T share = options.weight / static_cast<T>(genes);
  context.launch(name, kernels::composition_pearson<T>, cuda::blocks_for(genes, 256), 256, expression, contrast,
                 spread_contrast, cross, target.defined.data(), differs.data(), flags, share, options.correlation,
                 d_cross.data(), d_spread.data(), values.data());
  ops::sum_elements<double>(context, values, sum);

  if (!options.d_expression.empty())
    for_each_cell(context, name, types, genes,
                  kernels::AddPrototypeGradient<T>{d_cross.data(), d_spread.data(), cross, spread_contrast,
                                                   options.d_expression});
  if (!options.d_composition.empty()) {
    const auto scaled = spread_contrast;  // its memory takes Ec diag(w), then Ec diag(u)
    const auto inner = spread;            // and that of S takes Ec diag(w) Ec'
    for_each_cell(context, name, types, genes, kernels::ScaleContrast<T>{contrast, d_spread.data(), scaled});
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), scaled, contrast, T(0), inner);
    ops::gemm<T>(context, Transpose::no, Transpose::no, T(2), centred, inner, T(0), options.d_composition);
    for_each_cell(context, name, types, genes, kernels::ScaleContrast<T>{contrast, d_cross.data(), scaled});
    ops::gemm<T>(context, Transpose::no, Transpose::yes, T(1), unit, scaled, T(1), options.d_composition);
  }
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
