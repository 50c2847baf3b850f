#pragma once

// Non-owning views whose memory space is part of the type: passing device memory to a host function does not
// compile. Views are row-major, trivially copyable and usable in kernels; they never check bounds (the doors of the
// library check shapes).

#include <eosin/core/config.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace eosin {

/// Memory of the processor.
struct Host {};
/// Memory of a CUDA device.
struct Device {};

namespace detail {

template <class M>
using element_of = std::remove_pointer_t<decltype(std::declval<M&>().data())>;

/// Eigen's dense row-major objects with direct access, recognised by their interface so that this header does not
/// include Eigen.
template <class M>
concept EigenDense = requires(M& m) {
  m.data();
  m.rows();
  m.cols();
  m.outerStride();
  m.innerStride();
  std::remove_cvref_t<M>::IsRowMajor;
};

/// Types that say which memory they are in, as the views and owners of this library do, and say that it is not Host.
template <class V>
concept OutsideHost = requires { typename std::remove_cvref_t<V>::space; } &&
                      !std::is_same_v<typename std::remove_cvref_t<V>::space, Host>;

/// A matrix or a strided view has data() and size() too, but its elements need not follow each other.
template <class V>
concept Shaped = requires(V& v) { v.stride(); } || requires(V& v) { v.rows(); };

template <class V, class T>
concept ContiguousOf = !EigenDense<V> && !OutsideHost<V> && !Shaped<V> && requires(V& v) {
  { v.data() } -> std::convertible_to<T*>;
  { v.size() } -> std::convertible_to<std::size_t>;
};

}  // namespace detail

/// n elements of T, `stride` apart.
template <class T, class Space = Host>
class VectorView {
 public:
  using value_type = std::remove_const_t<T>;
  using space = Space;

  constexpr VectorView() = default;
  EOSIN_HOST_DEVICE constexpr VectorView(T* data, Index size, Index stride = 1)
      : data_(data), size_(size), stride_(stride) {}

  /// A view of mutable elements is also a view of constant ones.
  template <class U>
    requires(std::is_const_v<T> && std::is_same_v<U, value_type>)
  EOSIN_HOST_DEVICE constexpr VectorView(const VectorView<U, Space>& other)
      : data_(other.data()), size_(other.size()), stride_(other.stride()) {}

  /// std::vector, std::span, std::array, Buffer.
  template <class V>
    requires(std::is_same_v<Space, Host> && detail::ContiguousOf<V, T> &&
             !std::is_same_v<std::remove_cvref_t<V>, VectorView<value_type, Space>> &&
             !std::is_same_v<std::remove_cvref_t<V>, VectorView<const value_type, Space>>)
  constexpr VectorView(V&& v) : data_(v.data()), size_(static_cast<Index>(v.size())) {}

  /// Eigen vectors (rows or columns).
  template <class V>
    requires(std::is_same_v<Space, Host> && detail::EigenDense<V> &&
             std::is_convertible_v<detail::element_of<std::remove_reference_t<V>>*, T*>)
  constexpr VectorView(V&& v)
      : data_(v.data()), size_(static_cast<Index>(v.size())), stride_(static_cast<Index>(v.innerStride())) {
    static_assert(std::remove_cvref_t<V>::IsVectorAtCompileTime,
                  "eosin: a VectorView needs an Eigen vector; pass a row or a column of the matrix");
  }

  EOSIN_HOST_DEVICE constexpr T* data() const { return data_; }
  EOSIN_HOST_DEVICE constexpr Index size() const { return size_; }
  EOSIN_HOST_DEVICE constexpr Index stride() const { return stride_; }
  EOSIN_HOST_DEVICE constexpr bool empty() const { return size_ == 0; }
  EOSIN_HOST_DEVICE constexpr bool contiguous() const { return stride_ == 1; }
  EOSIN_HOST_DEVICE constexpr T& operator[](Index i) const { return data_[i * stride_]; }
  EOSIN_HOST_DEVICE constexpr VectorView segment(Index begin, Index count) const {
    return {data_ + begin * stride_, count, stride_};
  }

 private:
  T* data_ = nullptr;
  Index size_ = 0;
  Index stride_ = 1;
};

/// rows x cols elements of T, row-major, rows `stride` elements apart (stride >= cols).
template <class T, class Space = Host>
class MatrixView {
 public:
  using value_type = std::remove_const_t<T>;
  using space = Space;

  constexpr MatrixView() = default;
  EOSIN_HOST_DEVICE constexpr MatrixView(T* data, Index rows, Index cols)
      : data_(data), rows_(rows), cols_(cols), stride_(cols) {}
  EOSIN_HOST_DEVICE constexpr MatrixView(T* data, Index rows, Index cols, Index stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}

  template <class U>
    requires(std::is_const_v<T> && std::is_same_v<U, value_type>)
  EOSIN_HOST_DEVICE constexpr MatrixView(const MatrixView<U, Space>& other)
      : data_(other.data()), rows_(other.rows()), cols_(other.cols()), stride_(other.stride()) {}

  /// Row-major Eigen matrices, maps and blocks, without a copy.
  template <class M>
    requires(std::is_same_v<Space, Host> && detail::EigenDense<M> &&
             std::is_convertible_v<detail::element_of<std::remove_reference_t<M>>*, T*>)
  constexpr MatrixView(M&& m)
      : data_(m.data()),
        rows_(static_cast<Index>(m.rows())),
        cols_(static_cast<Index>(m.cols())),
        stride_(static_cast<Index>(m.outerStride())) {
    static_assert(std::remove_cvref_t<M>::IsRowMajor,
                  "eosin: views are row-major, this Eigen matrix is column-major. Declare it "
                  "Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> (eosin::RowMajor<T>), or pass its "
                  "transpose where a [cols x rows] argument is meant");
  }

  EOSIN_HOST_DEVICE constexpr T* data() const { return data_; }
  EOSIN_HOST_DEVICE constexpr Index rows() const { return rows_; }
  EOSIN_HOST_DEVICE constexpr Index cols() const { return cols_; }
  EOSIN_HOST_DEVICE constexpr Index stride() const { return stride_; }
  EOSIN_HOST_DEVICE constexpr Index size() const { return rows_ * cols_; }
  EOSIN_HOST_DEVICE constexpr bool empty() const { return rows_ == 0 || cols_ == 0; }
  EOSIN_HOST_DEVICE constexpr bool contiguous() const { return stride_ == cols_ || rows_ <= 1; }
  EOSIN_HOST_DEVICE constexpr T& operator()(Index r, Index c) const { return data_[r * stride_ + c]; }
  EOSIN_HOST_DEVICE constexpr VectorView<T, Space> row(Index r) const { return {data_ + r * stride_, cols_}; }
  EOSIN_HOST_DEVICE constexpr VectorView<T, Space> col(Index c) const { return {data_ + c, rows_, stride_}; }
  EOSIN_HOST_DEVICE constexpr MatrixView middle_rows(Index begin, Index count) const {
    return {data_ + begin * stride_, count, cols_, stride_};
  }
  EOSIN_HOST_DEVICE constexpr MatrixView middle_cols(Index begin, Index count) const {
    return {data_ + begin, rows_, count, stride_};
  }

 private:
  T* data_ = nullptr;
  Index rows_ = 0;
  Index cols_ = 0;
  Index stride_ = 0;
};

}  // namespace eosin
