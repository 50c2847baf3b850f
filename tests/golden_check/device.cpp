// What eosin_golden_check --cuda compares, compiled by nvcc.

#include <eosin/core/cuda_context.cuh>

#include "golden_check/device.hpp"
#include "golden_check/device_components.hpp"

namespace eosin::testing {

const ComponentTable& cuda_components() {
  return device_components();
}

bool has_cuda_device() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
}

}  // namespace eosin::testing
