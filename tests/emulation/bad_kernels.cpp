// eosin_bad_kernels CASE: runs one kernel with a mistake that only a sanitizer sees, or its right form. The test
// expects the sanitizer's words.

#include "emulation/bad_kernels.hpp"

#include <cstdio>
#include <cstring>

using namespace eosin;
using namespace eosin::testing;

int main(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "";
  const auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  CudaContext context;
  Vector<float, Device> out(200);
  if (is("read_behind")) {
    context.launch("test", read_at<float>, 1, 32, out.data(), Index{200}, out.data());
  } else if (is("write_before")) {
    context.launch("test", write_at<float>, 1, 32, out.data(), Index{-1});
  } else if (is("static_shared")) {
    context.launch("test", write_shared_at<float>, 1, 32, out.data(), 32);
  } else if (is("dynamic_shared")) {
    context.launch_with_shared("test", write_dynamic_at<float>, 1, 32, 128, out.data(), 32);
  } else if (is("misaligned")) {
    context.launch("test", misaligned_store<float>, 1, 32, out.data());
  } else if (is("race")) {
    context.launch("test", reverse<false, float>, 1, 64, out.data());
  } else if (is("warp_race")) {
    context.launch("test", reverse_warp<false, float>, 1, 32, out.data());
  } else if (is("right")) {
    context.launch("test", reverse<true, float>, 1, 64, out.data());
    context.launch("test", reverse_warp<true, float>, 1, 32, out.data());
    context.launch("test", write_shared_at<float>, 1, 32, out.data(), 31);
    context.launch_with_shared("test", write_dynamic_at<float>, 1, 32, 128, out.data(), 31);
  } else {
    std::fprintf(stderr, "usage: eosin_bad_kernels CASE\n");
    return 2;
  }
  context.synchronise();
  std::printf("%s: nothing found\n", name);
  return 0;
}
