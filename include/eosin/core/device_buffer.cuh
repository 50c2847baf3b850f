#pragma once

// Memory of the device, and the ways into it and out of it.

#include <eosin/core/buffer.hpp>
#include <eosin/core/cuda.cuh>

namespace eosin {

/// n elements of a trivially copyable T in the memory of the current device, zero-initialised. Throws CudaError where
/// there is not enough. Allocation and release wait for the device: keep buffers, and take scratch from the workspace.
template <class T>
class Buffer<T, Device> {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using value_type = T;
  using space = Device;

  Buffer() = default;
  Buffer(Index size, Uninitialised) : size_(size) {
    if (size < 0 || size > std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(T)))
      throw ValueError("Buffer: size " + std::to_string(size) + " is out of range");
    if (size != 0) cuda::check(cudaMalloc(&data_, bytes()), "cudaMalloc");
  }
  /// The default stream, on which the zeros are written, is ordered before the streams of contexts.
  explicit Buffer(Index size) : Buffer(size, Uninitialised{}) {
    if (size != 0) cuda::check(cudaMemsetAsync(data_, 0, bytes(), nullptr), "cudaMemsetAsync");
  }
  Buffer(const Buffer& other) : Buffer(other.size_, Uninitialised{}) {
    if (size_ != 0)
      cuda::check(cudaMemcpyAsync(data_, other.data_, bytes(), cudaMemcpyDeviceToDevice, nullptr), "cudaMemcpyAsync");
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) static_cast<void>(cudaFree(data_));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

  T* data_ = nullptr;
  Index size_ = 0;
};

/// n elements of host memory that the device copies from and to without the processor: what a loader fills while the
/// device computes.
template <class T>
class PinnedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(Index size) : size_(size) {
    require_value(size >= 0 && size <= std::numeric_limits<Index>::max() / static_cast<Index>(sizeof(T)),
                  "PinnedBuffer", "the size is out of range");
    if (size != 0) cuda::check(cudaMallocHost(&data_, static_cast<std::size_t>(size) * sizeof(T)), "cudaMallocHost");
  }
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PinnedBuffer() {
    if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  Index size() const { return size_; }
  VectorView<T> view() { return {data_, size_}; }

 private:
  T* data_ = nullptr;
  Index size_ = 0;
};

}  // namespace eosin
