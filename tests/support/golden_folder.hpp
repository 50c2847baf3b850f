#pragma once

#include <cstdlib>
#include <filesystem>

namespace eosin::testing {

/// The folder of the golden files: a definition of the build, else the environment variable of the same name (ctest
/// sets it), else as seen from the repository's root.
inline std::filesystem::path golden_folder() {
#ifdef EOSIN_TEST_GOLDEN_DIR
  return EOSIN_TEST_GOLDEN_DIR;
#else
  const char* variable = std::getenv("EOSIN_TEST_GOLDEN_DIR");
  return variable != nullptr ? variable : "tests/golden";
#endif
}

}  // namespace eosin::testing
