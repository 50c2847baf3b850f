#pragma once

// Prototypes from their logarithms, and the modality correction, on the device; the formulas are those of
// layers/prototype_head.hpp, the arguments those of prototypes.hpp.
//
// A thread per element of [types x genes] or [rows x genes], neighbours along the genes. The backward pass of the
// correction sums over rows as column_sums does: a block owns 32 genes and a run of rows, the runs are added in their
// order by a second kernel. Bytes per element, in units of sizeof(T): expression 4, its backward pass 4 (5 where masked
// as one), correction 2, its backward pass 3.

#include <eosin/core/cuda_context.cuh>
#include <eosin/math/exponential.hpp>
#include <eosin/ops/reduce.cuh>

#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

template <class T>
struct PrototypeExpression {
  MatrixView<const T, Device> logs;
  MatrixView<const T, Device> keep;
  bool mask_as_one;
  MatrixView<T, Device> expression;
  MatrixView<T, Device> d_expression;
  __device__ void operator()(Index c, Index g) const {
    const T kept = keep(c, g);
    expression(c, g) = mask_as_one ? math::exp(logs(c, g) * kept) : math::exp(logs(c, g)) * kept;
    d_expression(c, g) = T(0);
  }
};

template <class T>
struct PrototypeExpressionBackward {
  MatrixView<const T, Device> expression;
  MatrixView<const T, Device> keep;
  bool mask_as_one;
  MatrixView<const T, Device> d_expression;
  MatrixView<T, Device> d_logs;
  __device__ void operator()(Index c, Index g) const {
    const T gradient = d_expression(c, g) * expression(c, g);
    d_logs(c, g) += mask_as_one ? gradient * keep(c, g) : gradient;
  }
};

template <class T>
struct CorrectionFactors {
  VectorView<const T, Device> log_alpha;
  VectorView<const T, Device> log_beta;
  VectorView<T, Device> alpha;
  VectorView<T, Device> beta;
  __device__ void operator()(Index g) const {
    alpha[g] = math::exp(log_alpha[g]);
    beta[g] = math::exp(log_beta[g]);
  }
};

template <class T>
struct CorrectModality {
  MatrixView<const T, Device> mixed;
  const T* alpha;
  const T* beta;
  MatrixView<T, Device> v;
  __device__ void operator()(Index row, Index g) const {
    v(row, g) = math::multiply_add(alpha[g], mixed(row, g), beta[g]);
  }
};

template <class T>
struct ScaleGenes {
  const T* alpha;
  MatrixView<T, Device> dv;
  __device__ void operator()(Index row, Index g) const { dv(row, g) *= alpha[g]; }
};

/// Block (32, 8): eight rows at a time of 32 genes, the run of rows blockIdx.y * run.
template <class T>
__global__ void __launch_bounds__(256)
    correct_modality_backward(MatrixView<const T, Device> mixed, const T* alpha, const T* beta,
                              MatrixView<T, Device> dv, Index run, T* alpha_partial, T* beta_partial) {
  EOSIN_SHARED(T, scratch, [8][33]);
  const Index g = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  const Index begin = static_cast<Index>(blockIdx.y) * run;
  const Index end = begin + run < dv.rows() ? begin + run : dv.rows();
  T alpha_sum = 0, beta_sum = 0;
  if (g < dv.cols()) {
    const T factor = alpha[g], shift = beta[g];
    for (Index row = begin + threadIdx.y; row < end; row += 8) {
      const T upstream = dv(row, g);
      const T through = upstream * factor;
      alpha_sum = math::multiply_add(through, mixed(row, g), alpha_sum);
      beta_sum = math::multiply_add(upstream, shift, beta_sum);
      dv(row, g) = through;
    }
  }
  alpha_sum = cuda::column_sum(alpha_sum, scratch);
  beta_sum = cuda::column_sum(beta_sum, scratch);
  if (threadIdx.y != 0 || g >= dv.cols()) return;
  const Index at = static_cast<Index>(blockIdx.y) * dv.cols() + g;
  alpha_partial[at] = alpha_sum;
  beta_partial[at] = beta_sum;
}

}  // namespace kernels

template <class T>
void prototype_expression(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> logs,
                          MatrixView<const std::type_identity_t<T>, Device> keep, bool mask_as_one,
                          MatrixView<T, Device> expression, MatrixView<std::type_identity_t<T>, Device> d_expression) {
  require_shape("prototype_expression", "keep", keep, logs.rows(), logs.cols());
  require_shape("prototype_expression", "expression", expression, logs.rows(), logs.cols());
  require_shape("prototype_expression", "d_expression", d_expression, logs.rows(), logs.cols());
  for_each_cell(context, "prototype_expression", logs.rows(), logs.cols(),
                kernels::PrototypeExpression<T>{logs, keep, mask_as_one, expression, d_expression});
}

template <class T>
void prototype_expression_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> expression,
                                   MatrixView<const std::type_identity_t<T>, Device> keep, bool mask_as_one,
                                   MatrixView<const std::type_identity_t<T>, Device> d_expression,
                                   MatrixView<T, Device> d_logs) {
  const char* const name = "prototype_expression_backward";
  require_shape(name, "keep", keep, expression.rows(), expression.cols());
  require_shape(name, "d_expression", d_expression, expression.rows(), expression.cols());
  require_shape(name, "d_logs", d_logs, expression.rows(), expression.cols());
  for_each_cell(context, name, expression.rows(), expression.cols(),
                kernels::PrototypeExpressionBackward<T>{expression, keep, mask_as_one, d_expression, d_logs});
}

template <class T>
void correction_factors(CudaContext& context, VectorView<const std::type_identity_t<T>, Device> log_alpha,
                        VectorView<const std::type_identity_t<T>, Device> log_beta, VectorView<T, Device> alpha,
                        VectorView<std::type_identity_t<T>, Device> beta) {
  const Index genes = log_alpha.size();
  require_size("correction_factors", "log_beta", "elements", log_beta.size(), genes, "genes");
  require_size("correction_factors", "alpha", "elements", alpha.size(), genes, "genes");
  require_size("correction_factors", "beta", "elements", beta.size(), genes, "genes");
  for_each_element(context, "correction_factors", genes,
                   kernels::CorrectionFactors<T>{log_alpha, log_beta, alpha, beta});
}

template <class T>
void correct_modality(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> mixed,
                      VectorView<const std::type_identity_t<T>, Device> alpha,
                      VectorView<const std::type_identity_t<T>, Device> beta, MatrixView<T, Device> v) {
  require_shape("correct_modality", "mixed", mixed, v.rows(), v.cols());
  detail::require_correction_vector("correct_modality", "alpha", alpha, v.cols());
  detail::require_correction_vector("correct_modality", "beta", beta, v.cols());
  for_each_cell(context, "correct_modality", v.rows(), v.cols(),
                kernels::CorrectModality<T>{mixed, alpha.data(), beta.data(), v});
}

template <class T>
void correct_modality_backward(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> mixed,
                               VectorView<const std::type_identity_t<T>, Device> alpha,
                               VectorView<const std::type_identity_t<T>, Device> beta, MatrixView<T, Device> dv,
                               VectorView<std::type_identity_t<T>, Device> d_log_alpha,
                               VectorView<std::type_identity_t<T>, Device> d_log_beta) {
  const char* const name = "correct_modality_backward";
  const Index genes = dv.cols();
  require_shape(name, "mixed", mixed, dv.rows(), genes);
  detail::require_correction_vector(name, "alpha", alpha, genes);
  detail::require_correction_vector(name, "beta", beta, genes);
  if (d_log_alpha.empty()) {
    for_each_cell(context, name, dv.rows(), genes, kernels::ScaleGenes<T>{alpha.data(), dv});
    return;
  }
  detail::require_correction_vector(name, "d_log_alpha", d_log_alpha, genes);
  detail::require_correction_vector(name, "d_log_beta", d_log_beta, genes);
  if (dv.rows() == 0) return;
  const detail::RowRuns runs(dv.rows());
  const auto mark = context.workspace().mark();
  const auto partial = context.workspace().template take<T>(2 * runs.count, genes);
  T* alpha_partial = partial.data();
  T* beta_partial = alpha_partial + runs.count * genes;
  context.launch(name, kernels::correct_modality_backward<T>, runs.grid(genes), dim3(32, 8), mixed, alpha.data(),
                 beta.data(), dv, runs.length, alpha_partial, beta_partial);
  detail::add_runs<T>(context, alpha_partial, runs, T(1), true, d_log_alpha);
  detail::add_runs<T>(context, beta_partial, runs, T(1), true, d_log_beta);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
