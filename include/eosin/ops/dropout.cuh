#pragma once

// Dropout on the device: the same elements as on the processor. A thread takes the four elements that share the numbers
// of a position. Bytes: x and y once.

#include <eosin/core/cuda_context.cuh>

#include <type_traits>

namespace eosin::ops {

namespace kernels {

template <class T>
struct Dropout {
  detail::DropoutRule<T> rule;
  MatrixView<const T, Device> x;
  MatrixView<T, Device> y;
  __device__ void operator()(Index group) const {
    const auto words = rule.words(static_cast<std::uint64_t>(group));
    Index row = 4 * group / x.cols(), col = 4 * group - row * x.cols();
    for (std::size_t i = 0; i < 4 && row < x.rows(); ++i) {
      y(row, col) = rule(words[i], x(row, col));
      if (++col == x.cols()) {
        col = 0;
        ++row;
      }
    }
  }
};

}  // namespace kernels

/// y = dropout of x on the device; arguments as in dropout on the processor.
template <class T>
void dropout(CudaContext& context, const DropoutKey& key, MatrixView<const std::type_identity_t<T>, Device> x,
             MatrixView<T, Device> y) {
  detail::check_dropout<T>(key, x, y);
  if (x.empty() || (key.rate == 0 && x.data() == y.data())) return;
  for_each_element(context, "dropout", (x.size() + 3) / 4, kernels::Dropout<T>{detail::DropoutRule<T>(key), x, y});
}

}  // namespace eosin::ops
