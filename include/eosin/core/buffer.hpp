#pragma once

// Owning storage: Buffer (flat), Vector and Matrix (shaped, dense row-major), aligned to a cache line. Copies are
// explicit in cost but ordinary C++: these are value types.

#include <eosin/core/error.hpp>
#include <eosin/core/view.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace eosin {

/// Start of every buffer and of every parameter segment: a cache line, and the widest vector register.
inline constexpr std::size_t alignment = 64;

/// Says that the contents of new memory do not matter.
struct Uninitialised {};

template <class T, class Space = Host>
class Buffer;

/// n elements of a trivially copyable T in host memory, zero-initialised. Throws std::bad_alloc; a size whose bytes
/// do not fit an Index is a ValueError.
template <class T>
class Buffer<T, Host> {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;
  using space = Host;

  Buffer() = default;
  Buffer(Index size, Uninitialised) : size_(size) {
    if (size < 0 || size > std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(T)))
      throw ValueError("Buffer: size " + std::to_string(size) + " is out of range");
    if (size != 0) data_ = static_cast<T*>(::operator new(bytes(), std::align_val_t{alignment}));
  }
  explicit Buffer(Index size) : Buffer(size, Uninitialised{}) {
    if (size != 0) std::memset(static_cast<void*>(data_), 0, bytes());
  }
  Buffer(const Buffer& other) : Buffer(other.size_, Uninitialised{}) {
    if (size_ != 0) std::memcpy(static_cast<void*>(data_), other.data_, bytes());
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) ::operator delete(static_cast<void*>(data_), std::align_val_t{alignment});
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](Index i) { return data_[i]; }
  const T& operator[](Index i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  void fill(T value) { std::fill(begin(), end(), value); }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

  T* data_ = nullptr;
  Index size_ = 0;
};

/// Owning vector; converts to VectorView.
template <class T, class Space = Host>
class Vector {
 public:
  using value_type = T;
  using space = Space;

  Vector() = default;
  explicit Vector(Index size) : buffer_(size) {}

  Index size() const { return buffer_.size(); }
  bool empty() const { return buffer_.empty(); }
  T* data() { return buffer_.data(); }
  const T* data() const { return buffer_.data(); }
  T& operator[](Index i) { return buffer_[i]; }
  const T& operator[](Index i) const { return buffer_[i]; }
  T* begin() { return buffer_.data(); }
  T* end() { return buffer_.data() + buffer_.size(); }
  const T* begin() const { return buffer_.data(); }
  const T* end() const { return buffer_.data() + buffer_.size(); }
  void fill(T value) { buffer_.fill(value); }
  VectorView<T, Space> view() { return {buffer_.data(), buffer_.size()}; }
  VectorView<const T, Space> view() const { return {buffer_.data(), buffer_.size()}; }

 private:
  Buffer<T, Space> buffer_;
};

/// Owning dense row-major matrix, rows without padding; converts to MatrixView.
template <class T, class Space = Host>
class Matrix {
 public:
  using value_type = T;
  using space = Space;

  Matrix() = default;
  Matrix(Index rows, Index cols) : buffer_(checked_size(rows, cols)), rows_(rows), cols_(cols) {}

  Index rows() const { return rows_; }
  Index cols() const { return cols_; }
  Index size() const { return rows_ * cols_; }
  bool empty() const { return size() == 0; }
  T* data() { return buffer_.data(); }
  const T* data() const { return buffer_.data(); }
  T& operator()(Index r, Index c) { return buffer_[r * cols_ + c]; }
  const T& operator()(Index r, Index c) const { return buffer_[r * cols_ + c]; }
  VectorView<T, Space> row(Index r) { return {buffer_.data() + r * cols_, cols_}; }
  VectorView<const T, Space> row(Index r) const { return {buffer_.data() + r * cols_, cols_}; }
  VectorView<T, Space> col(Index c) { return {buffer_.data() + c, rows_, cols_}; }
  VectorView<const T, Space> col(Index c) const { return {buffer_.data() + c, rows_, cols_}; }
  void fill(T value) { buffer_.fill(value); }

  /// Changes the shape; contents are undefined afterwards. Allocates only where the matrix was never as large.
  void resize(Index rows, Index cols) {
    const Index wanted = checked_size(rows, cols);
    if (wanted > buffer_.size()) buffer_ = Buffer<T, Space>(wanted);
    rows_ = rows;
    cols_ = cols;
  }

  MatrixView<T, Space> view() { return {buffer_.data(), rows_, cols_}; }
  MatrixView<const T, Space> view() const { return {buffer_.data(), rows_, cols_}; }
  operator MatrixView<T, Space>() { return view(); }
  operator MatrixView<const T, Space>() const { return view(); }
  /// All elements as one vector, row after row.
  VectorView<T, Space> flat() { return {buffer_.data(), size()}; }
  VectorView<const T, Space> flat() const { return {buffer_.data(), size()}; }

 private:
  static Index checked_size(Index rows, Index cols) {
    if (rows < 0 || cols < 0 || (cols > 0 && rows > std::numeric_limits<Index>::max() / cols))
      throw ValueError("Matrix: shape " + detail::shape_text(rows, cols) + " is out of range");
    return rows * cols;
  }

  Buffer<T, Space> buffer_;
  Index rows_ = 0;
  Index cols_ = 0;
};

}  // namespace eosin
