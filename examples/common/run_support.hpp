#pragma once

// What the runs of the programs share: time, log, the folder of results.

#include <eosin/core/error.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>

namespace common {

inline double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

inline std::function<void(std::string_view)> logger(bool quiet) {
  if (quiet) return {};
  return [](std::string_view line) { std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data()); };
}

/// Removes what a killed run was writing: FILE.part-NUMBER-NUMBER.
inline void remove_unfinished(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    const auto at = name.rfind(".part-");
    if (at == std::string::npos || name.find_first_not_of("0123456789-", at + 6) != std::string::npos) continue;
    std::filesystem::remove(entry.path());
  }
}

/// Makes `out` and folders in it, without what a killed run left unfinished there.
inline void make_folders(const std::filesystem::path& out, std::initializer_list<const char*> folders) {
  const auto make = [](const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw eosin::FileError(folder.string() + ": cannot be created: " + error.message());
    remove_unfinished(folder);
  };
  make(out);
  for (const char* folder : folders) make(out / folder);
}

}  // namespace common
