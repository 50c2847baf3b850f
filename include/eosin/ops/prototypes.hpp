#pragma once

// The elementwise work of layers/prototype_head.hpp, which holds the formulas: prototypes from their logarithms, and
// the modality correction. Vectors are without gaps.

#include <eosin/core/context.hpp>
#include <eosin/math/exponential.hpp>

#include <string>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Genes that one task works on.
inline constexpr Index prototype_genes = 2048;

template <class T, class Space>
void require_correction_vector(const char* function, const char* name, const VectorView<T, Space>& vector,
                               Index genes) {
  require_size(function, name, "elements", vector.size(), genes, "genes");
  require_value(vector.contiguous() || genes <= 1, function,
                std::string("the elements of ") + name + " are not contiguous");
}

}  // namespace detail

/// expression = exp(logs) * keep, or exp(logs * keep) where `mask_as_one`, and d_expression = 0; all [types x genes].
template <class T>
void prototype_expression(CpuContext& context, MatrixView<const std::type_identity_t<T>> logs,
                          MatrixView<const std::type_identity_t<T>> keep, bool mask_as_one, MatrixView<T> expression,
                          MatrixView<std::type_identity_t<T>> d_expression) {
  require_shape("prototype_expression", "keep", keep, logs.rows(), logs.cols());
  require_shape("prototype_expression", "expression", expression, logs.rows(), logs.cols());
  require_shape("prototype_expression", "d_expression", d_expression, logs.rows(), logs.cols());
  context.parallel_for(logs.cols(), detail::prototype_genes, [&](Index begin, Index end) {
    for (Index c = 0; c < logs.rows(); ++c) {
      const T* from = logs.row(c).data();
      const T* kept = keep.row(c).data();
      T* to = expression.row(c).data();
      T* gradient = d_expression.row(c).data();
      if (mask_as_one) {
        for (Index g = begin; g < end; ++g) to[g] = math::exp(from[g] * kept[g]);
      } else {
        math::for_each_pack<T>(begin, end,
                               [&](auto lanes) { lanes.store(to, math::exp(lanes.load(from)) * lanes.load(kept)); });
      }
      for (Index g = begin; g < end; ++g) gradient[g] = T(0);
    }
  });
}

/// d_logs += the gradient of prototype_expression for d_expression; all [types x genes].
template <class T>
void prototype_expression_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> expression,
                                   MatrixView<const std::type_identity_t<T>> keep, bool mask_as_one,
                                   MatrixView<const std::type_identity_t<T>> d_expression, MatrixView<T> d_logs) {
  require_shape("prototype_expression_backward", "keep", keep, expression.rows(), expression.cols());
  require_shape("prototype_expression_backward", "d_expression", d_expression, expression.rows(), expression.cols());
  require_shape("prototype_expression_backward", "d_logs", d_logs, expression.rows(), expression.cols());
  context.parallel_for(expression.cols(), detail::prototype_genes, [&](Index begin, Index end) {
    for (Index c = 0; c < expression.rows(); ++c) {
      const T* kept = keep.row(c).data();
      const T* value = expression.row(c).data();
      const T* upstream = d_expression.row(c).data();
      T* to = d_logs.row(c).data();
      // The expression already carries the mask, except under mask_as_one, where the chain rule brings it in.
      if (mask_as_one) {
        for (Index g = begin; g < end; ++g) to[g] += upstream[g] * value[g] * kept[g];
      } else {
        for (Index g = begin; g < end; ++g) to[g] += upstream[g] * value[g];
      }
    }
  });
}

/// alpha = exp(log_alpha), beta = exp(log_beta), per gene.
template <class T>
void correction_factors(CpuContext&, VectorView<const std::type_identity_t<T>> log_alpha,
                        VectorView<const std::type_identity_t<T>> log_beta, VectorView<T> alpha,
                        VectorView<std::type_identity_t<T>> beta) {
  const Index genes = log_alpha.size();
  require_size("correction_factors", "log_beta", "elements", log_beta.size(), genes, "genes");
  require_size("correction_factors", "alpha", "elements", alpha.size(), genes, "genes");
  require_size("correction_factors", "beta", "elements", beta.size(), genes, "genes");
  for (Index g = 0; g < genes; ++g) {
    alpha[g] = math::exp(log_alpha[g]);
    beta[g] = math::exp(log_beta[g]);
  }
}

/// v = alpha * mixed + beta, row by row; v and mixed [rows x genes].
template <class T>
void correct_modality(CpuContext&, MatrixView<const std::type_identity_t<T>> mixed,
                      VectorView<const std::type_identity_t<T>> alpha, VectorView<const std::type_identity_t<T>> beta,
                      MatrixView<T> v) {
  require_shape("correct_modality", "mixed", mixed, v.rows(), v.cols());
  detail::require_correction_vector("correct_modality", "alpha", alpha, v.cols());
  detail::require_correction_vector("correct_modality", "beta", beta, v.cols());
  for (Index r = 0; r < v.rows(); ++r) {
    const T* from = mixed.row(r).data();
    T* to = v.row(r).data();
    const T* factor = alpha.data();
    const T* shift = beta.data();
    math::for_each_pack<T>(0, v.cols(), [&](auto lanes) {
      lanes.store(to, math::multiply_add(lanes.load(factor), lanes.load(from), lanes.load(shift)));
    });
  }
}

/// dv [rows x genes] is overwritten by alpha * dv, the gradient by mixed. The gradients by log alpha and log beta are
/// added to d_log_alpha and d_log_beta [genes] unless the first is empty.
template <class T>
void correct_modality_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> mixed,
                               VectorView<const std::type_identity_t<T>> alpha,
                               VectorView<const std::type_identity_t<T>> beta, MatrixView<T> dv,
                               VectorView<std::type_identity_t<T>> d_log_alpha,
                               VectorView<std::type_identity_t<T>> d_log_beta) {
  const char* const name = "correct_modality_backward";
  require_shape(name, "mixed", mixed, dv.rows(), dv.cols());
  detail::require_correction_vector(name, "alpha", alpha, dv.cols());
  detail::require_correction_vector(name, "beta", beta, dv.cols());
  const bool gradients = !d_log_alpha.empty();
  if (gradients) {
    detail::require_correction_vector(name, "d_log_alpha", d_log_alpha, dv.cols());
    detail::require_correction_vector(name, "d_log_beta", d_log_beta, dv.cols());
  }
  context.parallel_for(dv.cols(), detail::prototype_genes, [&](Index begin, Index end) {
    const T* factor = alpha.data();
    const T* shift = beta.data();
    T* d_factor = d_log_alpha.data();
    T* d_shift = d_log_beta.data();
    for (Index r = 0; r < dv.rows(); ++r) {
      const T* from = mixed.row(r).data();
      T* upstream = dv.row(r).data();
      for (Index g = begin; g < end; ++g) {
        const T through = upstream[g] * factor[g];
        if (gradients) {
          d_factor[g] += through * from[g];
          d_shift[g] += upstream[g] * shift[g];
        }
        upstream[g] = through;
      }
    }
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/prototypes.cuh>
#endif
