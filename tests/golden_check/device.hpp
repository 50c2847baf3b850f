#pragma once

// What eosin_golden_check knows of a CUDA device; device.cpp, which nvcc compiles, has the rest.

#include "golden_check/table.hpp"

namespace eosin::testing {

const ComponentTable& cuda_components();
bool has_cuda_device();

}  // namespace eosin::testing
