#pragma once

// Stands in for the CUDA runtime where no CUDA compiler is at work, so that kernels run on the processor: the
// language's markers, built-in variables and functions, and the host calls that this library makes, under their own
// names. How threads are run is in block.hpp; what is checked there and here is what a chip would do wrong in silence:
//
//   - device memory is filled with NaN, stands between guard zones, and is looked at when it is given back and whenever
//   the
//     host waits for the device; what was not allocated cannot be given back;
//   - copies must lie within one allocation, and their direction must be true;
//   - host memory is not known to kernels, but not kept from them either.
//
// One device, which works at once: a call returns when its work is done, so streams and events order nothing that is
// not ordered anyway. Stream capture records calls of kernels, copies and fills, and replays them.

#include "block.hpp"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <source_location>
#include <type_traits>

// ---- Markers
// ----------------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

// ---- Vector types
// -----------------------------------------------------------------------------------------------------

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
constexpr float2 make_float2(float x, float y) {
  return {x, y};
}
constexpr float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
constexpr double2 make_double2(double x, double y) {
  return {x, y};
}

// ---- Barriers and warp-wide operations
// --------------------------------------------------------------------------------

namespace emulation {

inline Place place_of(const std::source_location& at) {
  return {at.file_name(), at.line(), at.column()};
}

template <class T>
std::uint64_t bits_of(T value) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T value_of(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
T shuffled(WarpOperation operation, unsigned mask, T value, int argument, int width, const std::source_location& at) {
  return value_of<T>(Block::instance().warp(operation, mask, bits_of(value), argument, width, place_of(at)));
}
inline unsigned voted(WarpOperation operation, unsigned mask, std::uint64_t value, const std::source_location& at) {
  return static_cast<unsigned>(Block::instance().warp(operation, mask, value, 0, 32, place_of(at)));
}

/// The shared object of type T declared at a place: see EOSIN_SHARED.
template <class T>
T& shared_object(const std::source_location& at = std::source_location::current()) {
  return *static_cast<T*>(Block::instance().shared_object(sizeof(T), place_of(at)));
}
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(Block::instance().dynamic_shared());
}

}  // namespace emulation

inline void __syncthreads(std::source_location at = std::source_location::current()) {
  emulation::Block::instance().barrier(true, emulation::place_of(at));
}
inline int __syncthreads_count(int predicate, std::source_location at = std::source_location::current()) {
  return emulation::Block::instance().barrier(predicate != 0, emulation::place_of(at)).count;
}
inline int __syncthreads_and(int predicate, std::source_location at = std::source_location::current()) {
  return emulation::Block::instance().barrier(predicate != 0, emulation::place_of(at)).all;
}
inline int __syncthreads_or(int predicate, std::source_location at = std::source_location::current()) {
  return emulation::Block::instance().barrier(predicate != 0, emulation::place_of(at)).any;
}
inline void __syncwarp(unsigned mask = ~0U, std::source_location at = std::source_location::current()) {
  emulation::voted(emulation::WarpOperation::synchronise, mask, 0, at);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              std::source_location at = std::source_location::current()) {
  return emulation::shuffled(emulation::WarpOperation::shuffle, mask, value, lane, width, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  std::source_location at = std::source_location::current()) {
  return emulation::shuffled(emulation::WarpOperation::shuffle_xor, mask, value, lanes, width, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 std::source_location at = std::source_location::current()) {
  return emulation::shuffled(emulation::WarpOperation::shuffle_up, mask, value, static_cast<int>(by), width, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   std::source_location at = std::source_location::current()) {
  return emulation::shuffled(emulation::WarpOperation::shuffle_down, mask, value, static_cast<int>(by), width, at);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, std::source_location at = std::source_location::current()) {
  return emulation::voted(emulation::WarpOperation::ballot, mask, predicate != 0, at);
}
inline int __any_sync(unsigned mask, int predicate, std::source_location at = std::source_location::current()) {
  return static_cast<int>(emulation::voted(emulation::WarpOperation::any, mask, predicate != 0, at));
}
inline int __all_sync(unsigned mask, int predicate, std::source_location at = std::source_location::current()) {
  return static_cast<int>(emulation::voted(emulation::WarpOperation::all, mask, predicate != 0, at));
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, std::source_location at = std::source_location::current()) {
  return emulation::voted(emulation::WarpOperation::match, mask, emulation::bits_of(value), at);
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value,
                                  std::source_location at = std::source_location::current()) {
  return emulation::voted(emulation::WarpOperation::add, mask, value, at);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value,
                                  std::source_location at = std::source_location::current()) {
  return emulation::voted(emulation::WarpOperation::least, mask, value, at);
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value,
                                  std::source_location at = std::source_location::current()) {
  return emulation::voted(emulation::WarpOperation::greatest, mask, value, at);
}

// ---- Memory and arithmetic of one thread
// ------------------------------------------------------------------------------

inline void __threadfence() {}
inline void __threadfence_block() {}
template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, T value) {
  *p = value;
}

namespace emulation {

template <class T, class Change>
T atomically(T* p, Change change) {
  T old;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  T wanted = change(old);
  while (!__atomic_compare_exchange(p, &old, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) wanted = change(old);
  return old;
}

}  // namespace emulation

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return emulation::atomically(p, [=](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  return emulation::atomically(p, [=](T old) { return old < value ? value : old; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  return emulation::atomically(p, [=](T old) { return value < old ? value : old; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return emulation::atomically(p, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  __atomic_compare_exchange(p, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __int_as_float(int bits) {
  return std::bit_cast<float>(bits);
}
inline int __float_as_int(float value) {
  return std::bit_cast<int>(value);
}
inline unsigned __float_as_uint(float value) {
  return std::bit_cast<unsigned>(value);
}
inline float __uint_as_float(unsigned bits) {
  return std::bit_cast<float>(bits);
}

// ---- Host
// -------------------------------------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidDevice = 101,
  cudaErrorStreamCaptureUnsupported = 900
};
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal,
  cudaStreamCaptureModeThreadLocal,
  cudaStreamCaptureModeRelaxed
};

namespace emulation {

/// Device memory that is allocated: start and size of each piece. What a kernel wrote beside one is found.
class DeviceMemory {
 public:
  static DeviceMemory& instance() {
    static DeviceMemory memory;
    return memory;
  }

  void* allocate(std::size_t bytes) {
    if (bytes > largest) return nullptr;
    const std::size_t tail = tail_bytes(bytes);
    auto* memory = static_cast<unsigned char*>(std::aligned_alloc(256, guard + (bytes + tail + 255) / 256 * 256));
    if (memory == nullptr) return nullptr;
    unsigned char* data = memory + guard;
    std::memset(memory, guard_pattern, guard);
    std::memset(data, poison, bytes);
    std::memset(data + bytes, guard_pattern, tail);
    protect(data, bytes, true);
    pieces_[data] = bytes;
    return data;
  }

  /// Whether it was allocated.
  bool release(void* p) {
    const auto piece = pieces_.find(static_cast<unsigned char*>(p));
    if (piece == pieces_.end()) return false;
    check(piece->first, piece->second);
    protect(piece->first, piece->second, false);
    std::free(piece->first - guard);
    pieces_.erase(piece);
    return true;
  }

  /// Throws LaunchError where somebody wrote beside a piece.
  void check_all() {
    for (const auto& [data, bytes] : pieces_) check(data, bytes);
  }

  /// Whether [p, p + bytes) lies in one piece.
  bool contains(const void* p, std::size_t bytes) const {
    auto piece = pieces_.upper_bound(static_cast<unsigned char*>(const_cast<void*>(p)));
    if (piece == pieces_.begin()) return false;
    --piece;
    const auto offset = static_cast<std::size_t>(static_cast<const unsigned char*>(p) - piece->first);
    return offset <= piece->second && bytes <= piece->second - offset;
  }

  std::size_t pieces() const { return pieces_.size(); }
  std::size_t bytes() const {
    std::size_t sum = 0;
    for (const auto& piece : pieces_) sum += piece.second;
    return sum;
  }
  static constexpr std::size_t largest = std::size_t{1} << 34;

 private:
  static constexpr std::size_t guard = 256;
  static std::size_t tail_bytes(std::size_t bytes) { return (bytes + guard - 1) / guard * guard + guard - bytes; }

  static void protect(unsigned char* data, std::size_t bytes, bool on) {
#if defined(EMULATION_ADDRESS_SANITIZER)
    if (on) {
      ASAN_POISON_MEMORY_REGION(data - guard, guard);
      ASAN_POISON_MEMORY_REGION(data + bytes, tail_bytes(bytes));
    } else {
      ASAN_UNPOISON_MEMORY_REGION(data - guard, guard + bytes + tail_bytes(bytes));
    }
#else
    static_cast<void>(data), static_cast<void>(bytes), static_cast<void>(on);
#endif
  }

  void check(unsigned char* data, std::size_t bytes) {
    protect(data, bytes, false);
    const auto intact = [](const unsigned char* from, std::size_t count) {
      return std::all_of(from, from + count, [](unsigned char byte) { return byte == guard_pattern; });
    };
    const bool before = intact(data - guard, guard), behind = intact(data + bytes, tail_bytes(bytes));
    protect(data, bytes, true);
    if (before && behind) return;
    std::memset(data - guard, guard_pattern, guard);
    std::memset(data + bytes, guard_pattern, tail_bytes(bytes));
    throw LaunchError("a kernel wrote " + std::string(before ? "behind" : "before") + " device memory of " +
                      std::to_string(bytes) + " bytes");
  }

  std::map<unsigned char*, std::size_t> pieces_;
};

struct Graph {
  std::vector<std::function<void()>> work;
};
struct Stream {
  Graph* capture = nullptr;
};
struct Event {
  std::chrono::steady_clock::time_point at;
};

/// Streams that this thread captures: it may neither allocate nor use the default stream meanwhile.
inline int& captures() {
  thread_local int count = 0;
  return count;
}

/// Does the work, or notes it in the graph that the stream captures. False where CUDA would refuse it.
template <class Work>
bool submit(Stream* stream, Work&& work) {
  if (stream != nullptr && stream->capture != nullptr) {
    stream->capture->work.emplace_back(std::forward<Work>(work));
  } else {
    if (stream == nullptr && captures() > 0) return false;
    work();
  }
  return true;
}

/// A copy between host and device in a graph reads host memory whenever the graph runs. CUDA takes that; here it is a
/// mistake, since nothing in the library keeps such memory.
inline bool copy_is_captured(Stream* stream, cudaMemcpyKind kind) {
  return stream != nullptr && stream->capture != nullptr && kind != cudaMemcpyDeviceToDevice;
}

inline bool copy_is_true(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const auto& memory = DeviceMemory::instance();
  const bool to_device = memory.contains(to, bytes), from_device = memory.contains(from, bytes);
  switch (kind) {
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyDefault:
      break;
  }
  return true;
}

}  // namespace emulation

using cudaStream_t = emulation::Stream*;
using cudaEvent_t = emulation::Event*;
using cudaGraph_t = emulation::Graph*;
using cudaGraphExec_t = emulation::Graph*;

struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount, l2CacheSize;
  std::size_t totalGlobalMem, sharedMemPerBlockOptin;
};

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
  }
  return "unknown error";
}
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  // Few multiprocessors, so that kernels which fill the machine stay small.
  *properties = {"emulated on the processor", 8, 0, 4, 1 << 20, emulation::DeviceMemory::largest, 227 * 1024};
  return cudaSuccess;
}

template <class T>
cudaError_t cudaMalloc(T** p, std::size_t bytes) {
  if (emulation::captures() > 0) return cudaErrorStreamCaptureUnsupported;
  *p = static_cast<T*>(emulation::DeviceMemory::instance().allocate(bytes));
  return *p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFree(void* p) {
  if (p == nullptr) return cudaSuccess;
  if (emulation::captures() > 0) return cudaErrorStreamCaptureUnsupported;
  return emulation::DeviceMemory::instance().release(p) ? cudaSuccess : cudaErrorInvalidValue;
}
template <class T>
cudaError_t cudaMallocHost(T** p, std::size_t bytes) {
  if (emulation::captures() > 0) return cudaErrorStreamCaptureUnsupported;
  *p = static_cast<T*>(std::malloc(std::max<std::size_t>(bytes, 1)));
  return *p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaFreeHost(void* p) {
  std::free(p);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream = nullptr) {
  if (bytes == 0) return cudaSuccess;
  if (!emulation::copy_is_true(to, from, bytes, kind)) return cudaErrorInvalidValue;
  if (emulation::copy_is_captured(stream, kind)) return cudaErrorStreamCaptureUnsupported;
  return emulation::submit(stream, [=] { std::memmove(to, from, bytes); }) ? cudaSuccess
                                                                          : cudaErrorStreamCaptureUnsupported;
}
inline cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                                     std::size_t width, std::size_t height, cudaMemcpyKind kind,
                                     cudaStream_t stream = nullptr) {
  if (width == 0 || height == 0) return cudaSuccess;
  if (to_pitch < width || from_pitch < width || !emulation::copy_is_true(to, from, width, kind))
    return cudaErrorInvalidValue;
  if (emulation::copy_is_captured(stream, kind)) return cudaErrorStreamCaptureUnsupported;
  const bool done = emulation::submit(stream, [=] {
    for (std::size_t row = 0; row < height; ++row)
      std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
  });
  return done ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}
inline cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t stream = nullptr) {
  if (bytes == 0) return cudaSuccess;
  if (!emulation::DeviceMemory::instance().contains(p, bytes)) return cudaErrorInvalidValue;
  return emulation::submit(stream, [=] { std::memset(p, value, bytes); }) ? cudaSuccess
                                                                          : cudaErrorStreamCaptureUnsupported;
}

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new emulation::Stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream != nullptr && stream->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  emulation::DeviceMemory::instance().check_all();
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  return cudaStreamSynchronize(nullptr);
}

inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || stream->capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  stream->capture = new emulation::Graph;
  ++emulation::captures();
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (stream == nullptr || stream->capture == nullptr) return cudaErrorStreamCaptureUnsupported;
  *graph = std::exchange(stream->capture, nullptr);
  --emulation::captures();
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long = 0) {
  *executable = new emulation::Graph(*graph);
  return cudaSuccess;
}
inline cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const auto& work : executable->work) work();
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new emulation::Event;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t = nullptr) {
  event->at = std::chrono::steady_clock::now();
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
  return cudaSuccess;
}

namespace emulation {

/// kernel<<<grid, block, dynamic_bytes, stream>>>(arguments...).
template <class... Parameters, class... Arguments>
void launch_on(Stream* stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t dynamic_bytes,
               Arguments... arguments) {
  submit(stream, [=] { launch(kernel, grid, block, dynamic_bytes, arguments...); });
}

}  // namespace emulation
