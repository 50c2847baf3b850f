#pragma once

// Runs the tests on the CUDA device, or says that there is none.

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cuda_runtime.h>

#include <cstdio>

int main(int argc, char** argv) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED tests on a device: no CUDA device is found\n");
    return 0;
  }
  return doctest::Context(argc, argv).run();
}
