// eosin_golden_check [--float] DIR...
//
// Runs the cases in the given folders (each with case.json and tensors.safetensors) through the library and compares
// every tensor that the case names. One line per case; exit 0 if all are ok, 1 if any fails, 2 for wrong usage.

#include "golden_check/components.hpp"

#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  bool single = false;
  std::vector<std::string> folders;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--float") == 0) {
      single = true;
    } else if (std::strcmp(argv[i], "--help") == 0) {
      std::printf("usage: eosin_golden_check [--float] DIR...\n"
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
      const auto check = eosin::testing::find_component(golden.component, single);
      if (check == nullptr) {
        detail = "unknown component";
      } else {
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
