#pragma once

// Work on a CUDA device: one stream, one cuBLAS handle bound to it, one arena of device memory. Operations are queued
// and return at once; synchronise() and download() wait.

#include <eosin/core/device_buffer.cuh>
#include <eosin/core/gemm_backend.hpp>
#include <eosin/core/workspace.hpp>

#include <cublas_v2.h>

#include <string>

namespace eosin {

struct CudaOptions {
  int device = 0;
  /// Precision of float matrix products.
  MathMode math_mode = MathMode::full;
};

namespace cuda {

/// Throws CudaError("CALL: what cuBLAS says") unless the call succeeded.
inline void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw CudaError(std::string(call) + ": " + cublasGetStatusString(status));
}

}  // namespace cuda

/// One thread at a time may use a context. Results of a device do not depend on how often or when it is used: no kernel
/// of the library adds in an order that is left to chance.
class CudaContext {
 public:
  using space = Device;

  /// Throws CudaError where the device cannot be used.
  explicit CudaContext(const CudaOptions& options = {}) : options_(options) {
    cuda::check(cudaSetDevice(options.device), "cudaSetDevice");
    cudaDeviceProp properties;
    cuda::check(cudaGetDeviceProperties(&properties, options.device), "cudaGetDeviceProperties");
    name_ = properties.name;
    multiprocessors_ = properties.multiProcessorCount;
    cuda::check(cudaStreamCreate(&stream_), "cudaStreamCreate");
    try {
      cuda::check(cublasCreate(&blas_), "cublasCreate");
      cuda::check(cublasSetStream(blas_, stream_), "cublasSetStream");
      // Memory of its own, so that products allocate nothing while a graph is captured, and repeat bit for bit.
      // NVIDIA recommends these sizes for Hopper, and for what came before.
      const Index bytes = Index{properties.major >= 9 ? 32 : 4} << 20;
      blas_workspace_ = Buffer<unsigned char, Device>(bytes, Uninitialised{});
      cuda::check(cublasSetWorkspace(blas_, blas_workspace_.data(), static_cast<std::size_t>(bytes)),
                  "cublasSetWorkspace");
    } catch (...) {
      release();
      throw;
    }
  }
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;
  ~CudaContext() {
    static_cast<void>(cudaStreamSynchronize(stream_));
    release();
  }

  const CudaOptions& options() const { return options_; }
  MathMode math_mode() const { return options_.math_mode; }
  DeviceWorkspace& workspace() { return workspace_; }
  cudaStream_t stream() const { return stream_; }
  cublasHandle_t blas() const { return blas_; }
  int multiprocessors() const { return multiprocessors_; }
  const std::string& device_name() const { return name_; }

  /// Waits for everything queued; throws CudaError for what went wrong meanwhile.
  void synchronise() { cuda::check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

  template <class... Parameters, class... Arguments>
  void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, Arguments&&... arguments) {
    cuda::launch(name, stream_, kernel, grid, block, 0, static_cast<Arguments&&>(arguments)...);
  }
  template <class... Parameters, class... Arguments>
  void launch_with_shared(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                          std::size_t dynamic_bytes, Arguments&&... arguments) {
    cuda::launch(name, stream_, kernel, grid, block, dynamic_bytes, static_cast<Arguments&&>(arguments)...);
  }

 private:
  void release() {
    if (blas_ != nullptr) static_cast<void>(cublasDestroy(blas_));
    static_cast<void>(cudaStreamDestroy(stream_));
  }

  CudaOptions options_;
  std::string name_;
  int multiprocessors_ = 0;
  cudaStream_t stream_ = nullptr;
  cublasHandle_t blas_ = nullptr;
  Buffer<unsigned char, Device> blas_workspace_;
  DeviceWorkspace workspace_;
};

// ---- Elementwise work
// --------------------------------------------------------------------------------------------------

namespace kernels {

/// f(row, col) for all of rows x cols. Block (32, 8): a warp takes 32 neighbours in a row, the grid strides over the
/// rows, so that no thread divides by the number of columns.
template <class F>
__global__ void __launch_bounds__(256) for_each_cell(Index rows, Index cols, F f) {
  const Index col = static_cast<Index>(blockIdx.x) * 32 + threadIdx.x;
  if (col >= cols) return;
  for (Index row = static_cast<Index>(blockIdx.y) * 8 + threadIdx.y; row < rows;
       row += static_cast<Index>(gridDim.y) * 8)
    f(row, col);
}

template <class F>
__global__ void __launch_bounds__(256) for_each_element(Index count, F f) {
  const Index i = static_cast<Index>(blockIdx.x) * 256 + threadIdx.x;
  if (i < count) f(i);
}

}  // namespace kernels

/// Queues f(row, col) for all of rows x cols, each by a thread of its own; F has a __device__ operator() const.
template <class F>
void for_each_cell(CudaContext& context, const char* name, Index rows, Index cols, const F& f) {
  if (rows == 0 || cols == 0) return;
  constexpr Index highest_grid = 65535;
  const auto down = static_cast<unsigned>(std::min(highest_grid, (rows + 7) / 8));
  context.launch(name, kernels::for_each_cell<F>, dim3(cuda::blocks_for(cols, 32), down), dim3(32, 8), rows, cols, f);
}
/// The same for elements without shape: f(i).
template <class F>
void for_each_element(CudaContext& context, const char* name, Index count, const F& f) {
  if (count == 0) return;
  context.launch(name, kernels::for_each_element<F>, cuda::blocks_for(count, 256), 256, count, f);
}

namespace kernels {

/// One thread: a value that comes with the launch, into memory.
template <class T>
__global__ void set_value(T value, T* out) {
  *out = value;
}

}  // namespace kernels

/// out[0] = value, queued, without a copy from host memory that would have to stay as it is until then.
template <class T>
void set_on_device(CudaContext& context, const T& value, VectorView<T, Device> out) {
  require_size("set_on_device", "out", "elements", out.size(), 1);
  context.launch("set_on_device", kernels::set_value<T>, 1, 1, value, out.data());
}

// ---- Copies between host and device
// -----------------------------------------------------------------------------------

namespace detail {

template <class T>
void copy_rows(CudaContext& context, const char* name, T* to, Index to_stride, const T* from, Index from_stride,
               Index rows, Index cols, cudaMemcpyKind kind) {
  const auto bytes = [](Index n) { return static_cast<std::size_t>(n) * sizeof(T); };
  if (rows == 0 || cols == 0) return;
  cuda::check(cudaMemcpy2DAsync(to, bytes(to_stride), from, bytes(from_stride), bytes(cols),
                                static_cast<std::size_t>(rows), kind, context.stream()),
              name);
}

template <class T, class To, class From>
void copy_elements(CudaContext& context, const char* name, VectorView<T, To> to, VectorView<const T, From> from,
                   cudaMemcpyKind kind) {
  if (to.contiguous() && from.contiguous()) {
    copy_rows(context, name, to.data(), to.size(), from.data(), from.size(), Index{1}, from.size(), kind);
  } else {
    copy_rows(context, name, to.data(), to.stride(), from.data(), from.stride(), from.size(), Index{1}, kind);
  }
}

}  // namespace detail

/// to = from, queued. `from` may be changed as soon as this returns unless it is pinned; pinned memory is read when the
/// device comes to it.
template <class T>
void upload(CudaContext& context, MatrixView<const std::type_identity_t<T>> from, MatrixView<T, Device> to) {
  require_shape("upload", "to", to, from.rows(), from.cols());
  detail::copy_rows(context, "upload", to.data(), to.stride(), from.data(), from.stride(), from.rows(), from.cols(),
                    cudaMemcpyHostToDevice);
}
template <class T>
void upload(CudaContext& context, VectorView<const std::type_identity_t<T>> from, VectorView<T, Device> to) {
  require_size("upload", "to", "elements", to.size(), from.size());
  detail::copy_elements(context, "upload", to, from, cudaMemcpyHostToDevice);
}

/// to = from; waits for it and for all that was queued before.
template <class T>
void download(CudaContext& context, MatrixView<const std::type_identity_t<T>, Device> from, MatrixView<T> to) {
  require_shape("download", "to", to, from.rows(), from.cols());
  detail::copy_rows(context, "download", to.data(), to.stride(), from.data(), from.stride(), from.rows(), from.cols(),
                    cudaMemcpyDeviceToHost);
  context.synchronise();
}
template <class T>
void download(CudaContext& context, VectorView<const std::type_identity_t<T>, Device> from, VectorView<T> to) {
  require_size("download", "to", "elements", to.size(), from.size());
  detail::copy_elements(context, "download", to, from, cudaMemcpyDeviceToHost);
  context.synchronise();
}

/// New memory on the device with the contents of host memory, and the other way round.
template <class T>
Matrix<std::remove_const_t<T>, Device> on_device(CudaContext& context, MatrixView<T> host) {
  Matrix<std::remove_const_t<T>, Device> device(host.rows(), host.cols());
  upload<std::remove_const_t<T>>(context, host, device.view());
  return device;
}
template <class T>
Vector<std::remove_const_t<T>, Device> on_device(CudaContext& context, VectorView<T> host) {
  Vector<std::remove_const_t<T>, Device> device(host.size());
  upload<std::remove_const_t<T>>(context, host, device.view());
  return device;
}
template <class T>
Matrix<std::remove_const_t<T>> on_host(CudaContext& context, MatrixView<T, Device> device) {
  Matrix<std::remove_const_t<T>> host(device.rows(), device.cols());
  download<std::remove_const_t<T>>(context, device, host.view());
  return host;
}
template <class T>
Vector<std::remove_const_t<T>> on_host(CudaContext& context, VectorView<T, Device> device) {
  Vector<std::remove_const_t<T>> host(device.size());
  download<std::remove_const_t<T>>(context, device, host.view());
  return host;
}

/// All elements become zero, queued.
template <class T>
void zero(CudaContext& context, VectorView<T, Device> out) {
  require_value(out.contiguous() || out.size() <= 1, "zero", "the elements of out are not contiguous");
  if (out.empty()) return;
  cuda::check(cudaMemsetAsync(out.data(), 0, static_cast<std::size_t>(out.size()) * sizeof(T), context.stream()),
              "cudaMemsetAsync");
}

}  // namespace eosin
