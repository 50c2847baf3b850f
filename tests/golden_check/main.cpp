// eosin_golden_check [--float] [--cuda] DIR...
//
// Runs the cases in the given folders (each with case.json and tensors.safetensors) through the library and compares
// every tensor that the case names. One line per case; exit 0 if all are ok, 1 if any fails, 2 for wrong usage.
//
// With --cuda it computes on the CUDA device, where it was built for one. Compiled against the emulation of a device,
// which needs none, it is eosin_golden_check_emulated.

#if defined(EOSIN_CUDA_EMULATION)
#include "golden_check/device_components.hpp"
#else
#include "golden_check/components.hpp"
#endif
#if defined(EOSIN_GOLDEN_CHECK_CUDA)
#include "golden_check/device.hpp"
#endif

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace {

/// The components of the device, or of what stands for it; null where this program has none.
const eosin::testing::ComponentTable* device_table() {
#if defined(EOSIN_CUDA_EMULATION)
  return &eosin::testing::device_components();
#elif defined(EOSIN_GOLDEN_CHECK_CUDA)
  return &eosin::testing::cuda_components();
#else
  return nullptr;
#endif
}

/// Whether there is a device to compute on.
bool device_is_there() {
#if defined(EOSIN_GOLDEN_CHECK_CUDA)
  return eosin::testing::has_cuda_device();
#else
  return true;
#endif
}

/// The components of the processor; null in the emulated program.
const eosin::testing::ComponentTable* processor_table() {
#if defined(EOSIN_CUDA_EMULATION)
  return nullptr;
#else
  return &eosin::testing::processor_components();
#endif
}

}  // namespace

int main(int argc, char** argv) {
  bool single = false, on_device = processor_table() == nullptr;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--float") == 0) {
      single = true;
    } else if (std::strcmp(argv[i], "--cuda") == 0) {
      on_device = true;
    } else if (std::strcmp(argv[i], "--help") == 0) {
      std::printf(
          "usage: eosin_golden_check [--float] [--cuda] DIR...\n"
          "Compares the library with the reference numbers in each DIR (case.json, tensors.safetensors).\n"
          "  --float   compute in float, at tolerance x 2e5 unless the case gives its own (default: double)\n"
          "  --cuda    compute on the CUDA device (default: on the processor)\n");
      return 0;
    } else if (argv[i][0] == '-') {
      std::fprintf(stderr, "eosin_golden_check: unknown option %s (see --help)\n", argv[i]);
      return 2;
    } else {
      folders.emplace_back(argv[i]);
    }
  }
  if (folders.empty()) {
    std::fprintf(stderr, "usage: eosin_golden_check [--float] [--cuda] DIR...\n");
    return 2;
  }
  const auto* components = on_device ? device_table() : processor_table();
  if (components == nullptr) {
    std::fprintf(stderr, "eosin_golden_check: --cuda needs a build with nvcc and -DEOSIN_CUDA_MODELS=ON\n");
    return 2;
  }
  if (on_device && !device_is_there()) {
    std::printf("SKIPPED: no CUDA device is found\n");
    return 0;
  }
  int failed = 0;
  for (const auto& folder : folders) {
    std::string name = folder;
    bool ok = false;
    std::string detail;
    try {
      const auto golden = eosin::testing::load_golden(folder);
      name = golden.component + "/" + golden.name;
      const auto found = components->find(golden.component);
      if (found == components->end()) {
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
