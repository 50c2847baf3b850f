#include <eosin/ops/convolution_onednn.hpp>
#include <eosin/ops/gemm_onednn.hpp>

#include "support/convolution_checks.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE("ops::OneDnnConvolution: value and gradients against the definition") {
  const ops::OneDnnConvolution backend;
  const ops::OneDnnGemm gemm;
  CpuContext context({.threads = 2, .gemm = &gemm, .convolution = &backend});
  testing::check_convolution<float>(context);
  testing::check_convolution<double>(context);
}

TEST_CASE("ops::OneDnnConvolution: the same bits on any number of threads") {
  const ops::OneDnnConvolution backend;
  CpuContext one({.threads = 1, .convolution = &backend}), three({.threads = 3, .convolution = &backend});
  testing::check_convolution_threads<float>(one, three);
}

TEST_CASE("ops::OneDnnConvolution: one kernel per shape and pass") {
  const ops::OneDnnConvolution backend;
  const ConvolutionShape s{2, 8, 8, 16, 32, 3, 1, 1};
  const auto* forward = backend.kernel(s, ConvolutionPass::forward);
  REQUIRE(forward != nullptr);
  CHECK(backend.kernel(s, ConvolutionPass::forward) == forward);
  CHECK(backend.kernel(s, ConvolutionPass::backward_data) != forward);
  CHECK(forward->packed_weights() >= s.weights());
}
