#pragma once

// A matrix of constants in a layer or a loss whose constructor has no context: given in host memory, used where the
// context computes.

#include <eosin/core/buffer.hpp>
#include <eosin/core/context.hpp>

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/core/cuda_context.cuh>
#endif

#include <type_traits>
#include <utility>

namespace eosin {

/// On the processor the matrix itself; for a device the matrix and its copy there, made by the first on(). Like the
/// context of that call it is for one thread at a time.
template <class T, class Space = Host>
class ConstantMatrix {
 public:
  ConstantMatrix() = default;
  explicit ConstantMatrix(Matrix<T> values) : values_(std::move(values)) {}

  Index rows() const { return values_.rows(); }
  Index cols() const { return values_.cols(); }

  /// The matrix where `context` computes.
  template <Context C>
  MatrixView<const T, Space> on(C& context) const {
    if constexpr (!std::is_same_v<Space, Host>) {
      if (copy_.size() != values_.size()) copy_ = on_device(context, values_.view());
    } else {
      static_cast<void>(context);
    }
    return view();
  }
  /// The same; on a device empty before the first on().
  MatrixView<const T, Space> view() const {
    if constexpr (std::is_same_v<Space, Host>) {
      return values_.view();
    } else {
      return std::as_const(copy_).view();
    }
  }

 private:
  Matrix<T> values_;
  mutable Matrix<T, Space> copy_;
};

}  // namespace eosin
