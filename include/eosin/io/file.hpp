#pragma once

// Reading a whole file into memory.

#include <eosin/core/error.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace eosin::io {

/// Throws FileError, naming `path`, unless it is an existing file that is not a folder.
inline void require_file(const std::filesystem::path& path) {
  std::error_code code;
  const auto status = std::filesystem::status(path, code);
  if (!std::filesystem::exists(status)) throw FileError(path.string() + ": no such file");
  if (std::filesystem::is_directory(status)) throw FileError(path.string() + ": is a folder, a file is expected");
}

/// The bytes of a file. Throws FileError. Memory: the size of the file.
inline std::string read_file(const std::filesystem::path& path) {
  require_file(path);
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw FileError(path.string() + ": cannot be opened");
  std::error_code code;
  const auto size = std::filesystem::file_size(path, code);
  std::string content;
  if (!code) content.resize(static_cast<std::size_t>(size));
  stream.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<std::size_t>(stream.gcount()));
  // What has no size of its own (a pipe) or grew meanwhile.
  char rest[4096];
  while (stream) {
    stream.read(rest, sizeof rest);
    content.append(rest, static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) throw FileError(path.string() + ": cannot be read");
  return content;
}

}  // namespace eosin::io
