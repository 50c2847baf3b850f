// The emulation itself: what CUDA promises holds, and kernels with a mistake are found.

#include "emulation/bad_kernels.hpp"
#include "support/cuda.hpp"

#include <string>

using namespace eosin;
using namespace eosin::testing;

namespace {

/// What the launch complains of; empty where it does not.
template <class F>
std::string complaint(F&& f) {
  try {
    f();
  } catch (const emulation::LaunchError& error) {
    return error.what();
  }
  return "";
}

bool says(const std::string& message, const std::string& words) {
  CAPTURE(message);
  return message.find(words) != std::string::npos;
}

template <class T>
__global__ void all_warp_operations(T* out) {
  const unsigned lane = threadIdx.x % 32;
  T* mine = out + threadIdx.x * 10;
  mine[0] = __shfl_sync(0xFFFFFFFFU, T(lane), 3);
  mine[1] = __shfl_xor_sync(0xFFFFFFFFU, T(lane), 5);
  mine[2] = __shfl_up_sync(0xFFFFFFFFU, T(lane), 2);
  mine[3] = __shfl_down_sync(0xFFFFFFFFU, T(lane), 2, 8);
  mine[4] = T(__popc(__ballot_sync(0xFFFFFFFFU, lane % 3 == 0)));
  mine[5] = T(__any_sync(0xFFFFFFFFU, lane == 31));
  mine[6] = T(__all_sync(0xFFFFFFFFU, lane < 31));
  mine[7] = T(__popc(__match_any_sync(0xFFFFFFFFU, static_cast<int>(lane / 8))));
  mine[8] = T(__reduce_add_sync(0xFFFFFFFFU, lane));
  mine[9] = T(__reduce_max_sync(0xFFFFFFFFU, lane) - __reduce_min_sync(0xFFFFFFFFU, lane));
}

template <class T>
__global__ void count_votes(T* out) {
  const int count = __syncthreads_count(threadIdx.x < 5);
  const int all = __syncthreads_and(threadIdx.x < 5), any = __syncthreads_or(threadIdx.x == 40);
  out[threadIdx.x] = T(count * 100 + all * 10 + any);
}

template <class T>
__global__ void place_in_grid(T* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] += T(1);
}

}  // namespace

TEST_CASE("warp operations give what CUDA defines") {
  in_every_order([] {
    CudaContext context;
    Vector<double, Device> device(640);
    context.launch("test", all_warp_operations<double>, 1, 64, device.data());
    const auto out = on_host(context, device.view());
    for (Index thread = 0; thread < 64; ++thread) {
      const Index lane = thread % 32;
      const double* mine = out.data() + thread * 10;
      CHECK(mine[0] == 3);
      CHECK(mine[1] == static_cast<double>(lane ^ 5));
      CHECK(mine[2] == static_cast<double>(lane < 2 ? lane : lane - 2));
      CHECK(mine[3] == static_cast<double>(lane % 8 < 6 ? lane + 2 : lane));
      CHECK(mine[4] == 11);
      CHECK(mine[5] == 1);
      CHECK(mine[6] == 0);
      CHECK(mine[7] == 8);
      CHECK(mine[8] == 496);
      CHECK(mine[9] == 31);
    }
  });
}

TEST_CASE("barriers count votes, and every thread of every block runs once") {
  in_every_order([] {
    CudaContext context;
    Vector<float, Device> votes(64);
    context.launch("test", count_votes<float>, 1, 64, votes.data());
    const auto out = on_host(context, votes.view());
    for (Index i = 0; i < 64; ++i) CHECK(out[i] == 501);

    Vector<float, Device> places(2 * 3 * 2 * 4 * 2 * 3);
    context.launch("test", place_in_grid<float>, dim3(2, 3, 2), dim3(4, 2, 3), places.data());
    const auto seen = on_host(context, places.view());
    for (Index i = 0; i < seen.size(); ++i) CHECK(seen[i] == 1);
  });
}

TEST_CASE("mistakes with barriers and masks are errors that name the place") {
  in_every_order([] {
    CudaContext context;
    Vector<float, Device> out(64);
    const auto different = complaint([&] { context.launch("test", different_barriers<float>, 1, 32, out.data()); });
    CHECK(says(different, "different barriers"));
    CHECK(says(different, "bad_kernels.hpp"));
    CHECK(says(complaint([&] { context.launch("test", barrier_after_exit<float>, 1, 64, out.data(), 40U); }),
               "24 of the block have ended"));
    CHECK(says(complaint([&] { context.launch("test", shuffle_of_few<float>, 1, 32, out.data(), 20U); }),
               "warp operation"));
    CHECK(says(complaint([&] { context.launch("test", shuffle_from_outside<float>, 1, 32, out.data()); }),
               "reads lane 20"));
    CHECK(says(complaint([&] { context.launch("test", stranger_in_mask<float>, 1, 32, out.data()); }), "its own mask"));
    // The next launch is not touched by what went wrong before.
    CHECK(complaint([&] { context.launch("test", shuffle_of_few<float>, 1, 32, out.data(), 32U); }).empty());
  });
}

TEST_CASE("launches beyond the limits of a device are errors") {
  CudaContext context;
  Vector<float, Device> out(1);
  const auto launch = [&](dim3 grid, dim3 block, std::size_t bytes) {
    return complaint(
        [&] { context.launch_with_shared("test", write_at<float>, grid, block, bytes, out.data(), Index{0}); });
  };
  CHECK(launch(1, 1, 0).empty());
  CHECK(says(launch(0, 1, 0), "invalid configuration"));
  CHECK(says(launch(1, 1025, 0), "invalid configuration"));
  CHECK(says(launch(dim3(1, 65536), 1, 0), "invalid configuration"));
  CHECK(says(launch(1, 1, 228 * 1024), "invalid configuration"));
}

#if !defined(EMULATION_ADDRESS_SANITIZER)
// Under the address sanitizer these end the program: bad_kernels.cpp.

TEST_CASE("writes beside memory are found when the host waits") {
  CudaContext context;
  Vector<float, Device> out(30);
  for (const Index at : {Index{-1}, Index{30}}) {
    context.launch("test", write_at<float>, 1, 32, out.data(), at);
    CHECK(says(complaint([&] { context.synchronise(); }), at < 0 ? "before device memory" : "behind device memory"));
    CHECK(complaint([&] { context.synchronise(); }).empty());
  }
}

TEST_CASE("writes beside shared memory are found when the block ends") {
  CudaContext context;
  Vector<float, Device> out(32);
  for (const int at : {-1, 32}) {
    CHECK(says(complaint([&] { context.launch("test", write_shared_at<float>, 1, 32, out.data(), at); }),
               "beside its shared memory"));
    CHECK(says(
        complaint([&] { context.launch_with_shared("test", write_dynamic_at<float>, 1, 32, 128, out.data(), at); }),
        "beside its shared memory of 128 bytes given at the launch"));
  }
  CHECK(complaint([&] { context.launch("test", write_shared_at<float>, 1, 32, out.data(), 31); }).empty());
}
#endif

TEST_CASE("shared and device memory start as NaN, block after block") {
  CudaContext context;
  Vector<float, Device> out(64);
  for (int launch = 0; launch < 2; ++launch) {
    context.launch("test", uninitialised_shared<float>, 2, 32, out.data());
    const auto values = on_host(context, out.view());
    for (Index i = 0; i < 32; ++i) CHECK(std::isnan(values[i]));
  }
  const Buffer<float, Device> fresh(16, Uninitialised{});
  const auto values = on_host(context, VectorView<const float, Device>(fresh.data(), 16));
  for (Index i = 0; i < 16; ++i) CHECK(std::isnan(values[i]));
}

#if !defined(EMULATION_THREAD_SANITIZER)
TEST_CASE("a missing barrier shows in the order of the threads") {
  CudaContext context;
  const auto reversed = [&](auto kernel, unsigned threads) {
    Vector<float> start(threads);
    for (Index i = 0; i < start.size(); ++i) start[i] = static_cast<float>(i);
    auto data = on_device(context, start.view());
    context.launch("test", kernel, 1, threads, data.data());
    const auto out = on_host(context, data.view());
    bool right = true;
    for (Index i = 0; i < out.size(); ++i) right = right && out[i] == static_cast<float>(out.size() - 1 - i);
    return right;
  };
  int wrong = 0;
  in_every_order([&] {
    CHECK(reversed(reverse<true, float>, 64));
    CHECK(reversed(reverse_warp<true, float>, 32));
    wrong += !reversed(reverse<false, float>, 64);
  });
  CHECK(wrong == 3);
}
#endif

TEST_CASE("copies in the wrong direction, beyond memory or of what is not there are errors") {
  CudaContext context;
  Vector<float> host(8);
  Vector<float, Device> device(8);
  const auto copy = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, context.stream());
  };
  CHECK(copy(device.data(), host.data(), 32, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(copy(host.data(), device.data(), 32, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(copy(device.data(), host.data(), 36, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(copy(device.data(), host.data(), 32, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(copy(host.data(), device.data() + 4, 32, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaFree(host.data()) == cudaErrorInvalidValue);
  CHECK_THROWS_AS((Buffer<float, Device>(Index{1} << 40)), CudaError);
  CHECK_THROWS_WITH_AS(CudaContext({.device = 3}), "cudaSetDevice: invalid device ordinal", CudaError);
}

TEST_CASE("a captured graph does its work when it is launched, as often as it is") {
  CudaContext context;
  Vector<float, Device> places(6);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  REQUIRE(cudaStreamBeginCapture(context.stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  context.launch("test", place_in_grid<float>, 2, 3, places.data());
  CHECK(cudaStreamSynchronize(context.stream()) == cudaErrorStreamCaptureUnsupported);
  CHECK_THROWS_AS((Buffer<float, Device>(Index{8})), CudaError);
  float host = 0;
  CHECK(cudaMemcpyAsync(&host, places.data(), 4, cudaMemcpyDeviceToHost, context.stream()) ==
        cudaErrorStreamCaptureUnsupported);
  CHECK(cudaMemsetAsync(places.data(), 0, 4, nullptr) == cudaErrorStreamCaptureUnsupported);
  REQUIRE(cudaStreamEndCapture(context.stream(), &graph) == cudaSuccess);
  CHECK(on_host(context, places.view())[0] == 0);
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  for (int i = 0; i < 3; ++i) REQUIRE(cudaGraphLaunch(executable, context.stream()) == cudaSuccess);
  CHECK(on_host(context, places.view())[5] == 3);
  CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);
  CHECK(cudaGraphDestroy(graph) == cudaSuccess);
}
