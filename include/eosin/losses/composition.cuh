#pragma once

// Composition regularisers on the device; the formulas are those of composition.hpp.
//
// A warp per row of [rows x types]: sums of the row by shuffles, then a term per type; the losses of the rows go to the
// workspace and are added in their order. Bytes: p and the reference read, the gradient read and written, 16 an element
// in float; what is read twice comes from the cache.

#include <eosin/core/cuda_context.cuh>
#include <eosin/ops/reduce.cuh>

#include <limits>
#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

namespace kernels {

/// Block (32, 8): eight rows. d_p may be empty.
template <class T>
__global__ void __launch_bounds__(256)
    composition_loss(CompositionLoss kind, MatrixView<const T, Device> p, MatrixView<const T, Device> reference,
                     T weight, MatrixView<T, Device> d_p, double* values) {
  const Index r = static_cast<Index>(blockIdx.x) * 8 + threadIdx.y;
  if (r >= p.rows()) return;
  const Index types = p.cols();
  detail::CompositionRow<T> row;
  for (Index c = threadIdx.x; c < types; c += 32) row.total += reference(r, c);
  row.total = cuda::warp_sum(row.total);
  row.share = T(1) / static_cast<T>(types);
  if (kind == CompositionLoss::cross_entropy_on_probabilities) {
    row.largest = p(r, 0);
    for (Index c = threadIdx.x; c < types; c += 32) row.largest = p(r, c) > row.largest ? p(r, c) : row.largest;
    row.largest = cuda::warp_max(row.largest);
    for (Index c = threadIdx.x; c < types; c += 32) row.exponentials += std::exp(p(r, c) - row.largest);
    row.exponentials = cuda::warp_sum(row.exponentials);
  }
  double loss = 0;
  for (Index c = threadIdx.x; c < types; c += 32) {
    const auto term = detail::composition_term(kind, p(r, c), reference(r, c), row);
    loss += static_cast<double>(term.value);
    if (d_p.data() != nullptr) d_p(r, c) += detail::composition_gradient(weight, term.slope);
  }
  loss = cuda::warp_sum(loss);
  if (threadIdx.x == 0)
    values[r] = detail::usable_reference(row.total) ? loss : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace kernels

/// `sum` [1] receives the sum over the rows of the losses of p [N x C] against `reference` [N x C] (not normalised).
/// Adds weight * gradient to `d_p` unless that is empty. Nothing is waited for: where a row of the reference does not
/// sum to a positive number, which the processor refuses, the sum is NaN.
template <class T>
void composition_loss(CudaContext& context, CompositionLoss kind, MatrixView<const T, Device> p,
                      MatrixView<const std::type_identity_t<T>, Device> reference, std::type_identity_t<T> weight,
                      MatrixView<std::type_identity_t<T>, Device> d_p, VectorView<double, Device> sum) {
  require_size("composition_loss", "sum", "elements", sum.size(), 1);
  if (kind == CompositionLoss::off) {
    zero(context, sum);
    return;
  }
  require_size("composition_loss", "reference", "rows", reference.rows(), p.rows(), "rows of p");
  require_size("composition_loss", "reference", "elements", reference.cols(), p.cols(), "cell types");
  if (!d_p.empty()) require_shape("composition_loss", "d_p", d_p, p.rows(), p.cols());
  require_value(p.cols() > 0 || p.rows() == 0, "composition_loss", "p has no cell types");
  const auto mark = context.workspace().mark();
  const auto values = context.workspace().template take<double>(p.rows());
  if (p.rows() > 0)
    context.launch("composition_loss", kernels::composition_loss<T>, cuda::blocks_for(p.rows(), 8), dim3(32, 8), kind,
                   p, reference, weight, d_p.empty() ? MatrixView<T, Device>{} : d_p, values.data());
  ops::sum_elements<double>(context, values, sum);
}

/// The same for one row p [C], as on the processor.
template <class T>
void composition_loss(CudaContext& context, CompositionLoss kind, VectorView<const T, Device> p,
                      VectorView<const std::type_identity_t<T>, Device> reference, std::type_identity_t<T> weight,
                      VectorView<std::type_identity_t<T>, Device> d_p, VectorView<double, Device> sum) {
  const auto row = [](auto vector) {
    using Element = std::remove_pointer_t<decltype(vector.data())>;
    require_value(vector.contiguous() || vector.size() <= 1, "composition_loss",
                  "the elements of a row are not contiguous");
    return MatrixView<Element, Device>(vector.data(), 1, vector.size());
  };
  composition_loss<T>(context, kind, row(p), row(reference), weight, row(d_p), sum);
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses
