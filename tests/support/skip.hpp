#pragma once

// A test that cannot run says so: one line that tests/run.sh counts and lists.

#include <cstdio>
#include <cstdlib>

#include <doctest/doctest.h>

#include <optional>
#include <string>

namespace eosin::testing {

inline void report_skip(const char* test, const std::string& reason) {
  std::printf("SKIPPED %s: %s\n", test, reason.c_str());
  std::fflush(stdout);
}

/// Folder of the real data sets, or nothing.
inline std::optional<std::string> data_folder() {
  const char* folder = std::getenv("EOSIN_DATA");
  if (folder == nullptr || *folder == '\0') return std::nullopt;
  return std::string(folder);
}

}  // namespace eosin::testing

/// Ends the running test case with a reason. For use in the body of a TEST_CASE.
#define EOSIN_SKIP(reason)                                                                       \
  do {                                                                                           \
    ::eosin::testing::report_skip(doctest::getContextOptions()->currentTest->m_name, (reason)); \
    return;                                                                                      \
  } while (false)
