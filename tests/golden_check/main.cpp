// eosin_golden_check [--float] [--cuda] DIR...
//
// Runs the cases in the given folders (each with case.json and tensors.safetensors) through the library and compares
// every tensor that the case names. One line per case; exit 0 if all are ok, 1 if any fails, 2 for wrong usage.
//
// Compiled with kernels it is the same program for what runs on a device: by nvcc for a real one (--cuda), or against
// the emulation, which needs none (eosin_golden_check_emulated).

#if defined(EOSIN_CUDA_EMULATION)
#include "golden_check/device_components.hpp"
#else
#include "golden_check/components.hpp"
#endif

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace {

/// Where this program computes.
#if defined(EOSIN_CUDA_EMULATION)
constexpr bool on_device = true;
const eosin::testing::ComponentTable& components() {
  return eosin::testing::device_components();
}
#else
constexpr bool on_device = false;
const eosin::testing::ComponentTable& components() {
  return eosin::testing::processor_components();
}
#endif

}  // namespace

int main(int argc, char** argv) {
  bool single = false;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--float") == 0) {
      single = true;
    } else if (std::strcmp(argv[i], "--help") == 0) {
      std::printf(
          "usage: eosin_golden_check [--float] DIR...\n"
          "Compares the library with the reference numbers in each DIR (case.json, tensors.safetensors).\n"
          "  --float   compute in float, at tolerance x 2e5 unless the case gives its own (default: double)\n");
      return 0;
    } else if (argv[i][0] == '-') {
      std::fprintf(stderr, "eosin_golden_check: unknown option %s (see --help)\n", argv[i]);
      return 2;
    } else {
      folders.emplace_back(argv[i]);
    }
  }
  if (folders.empty()) {
    std::fprintf(stderr, "usage: eosin_golden_check [--float] DIR...\n");
    return 2;
  }
  int failed = 0;
  for (const auto& folder : folders) {
    std::string name = folder;
    bool ok = false;
    std::string detail;
    try {
      const auto golden = eosin::testing::load_golden(folder);
      name = golden.component + "/" + golden.name;
      const auto found = components().find(golden.component);
      if (found == components().end()) {
        detail = on_device ? "this component does not run on a device" : "unknown component";
      } else {
        const auto check = single ? found->second.in_float : found->second.in_double;
        eosin::testing::Comparison comparison(golden, single);
        check(golden, comparison);
        comparison.finish();
        ok = comparison.ok();
        detail = comparison.summary();
      }
    } catch (const std::exception& error) {
      ok = false;
      detail = error.what();
    }
    failed += !ok;
    std::printf("%-4s %s  %s\n", ok ? "ok" : "FAIL", name.c_str(), detail.c_str());
  }
  std::printf("%zu cases, %d failed (%s)\n", folders.size(), failed, single ? "float" : "double");
  return failed == 0 ? 0 : 1;
}
