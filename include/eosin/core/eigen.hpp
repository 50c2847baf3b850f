#pragma once

// The one adapter between eosin's views and Eigen. Eigen objects become views by themselves (view.hpp); here views
// become Eigen maps.

#include <eosin/core/buffer.hpp>

#include <Eigen/Core>

namespace eosin {

/// The Eigen matrix type whose memory layout is that of eosin's views.
template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Maps a view without a copy.
template <class T>
auto as_eigen(MatrixView<T, Host> view) {
  using Plain = RowMajor<std::remove_const_t<T>>;
  using Target = std::conditional_t<std::is_const_v<T>, const Plain, Plain>;
  return Eigen::Map<Target, Eigen::Unaligned, Eigen::OuterStride<>>(view.data(), view.rows(), view.cols(),
                                                                    Eigen::OuterStride<>(view.stride()));
}

template <class T>
auto as_eigen(VectorView<T, Host> view) {
  using Plain = Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, 1>;
  using Target = std::conditional_t<std::is_const_v<T>, const Plain, Plain>;
  return Eigen::Map<Target, Eigen::Unaligned, Eigen::InnerStride<>>(view.data(), view.size(),
                                                                    Eigen::InnerStride<>(view.stride()));
}

}  // namespace eosin
