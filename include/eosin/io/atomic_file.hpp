#pragma once

// Files that are either whole or not there: the content goes to a temporary name in the same folder, is forced to the
// disk and then renamed over the target, which is one step for every reader. Whatever ends the writing early (an
// exception, a full disk) leaves an older file of that name as it was.

#include <eosin/core/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace eosin::io {

/// A file being written. Call commit() when everything is written; a file destroyed before that is removed.
class AtomicFile {
 public:
  /// Creates the temporary file beside `path`. The folder must exist; throws FileError.
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100 && descriptor_ < 0; ++attempt) {
      temporary_ = path_;
      temporary_ += ".part-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1));
      descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0 && errno != EEXIST) break;
    }
    if (descriptor_ < 0) throw FileError(path_.string() + ": cannot be created: " + std::strerror(errno));
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() { discard(); }

  const std::filesystem::path& path() const { return path_; }

  void write(const void* data, std::size_t size) {
    const char* bytes = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, bytes, size);
      if (written < 0) {
        if (errno == EINTR) continue;
        throw FileError(path_.string() + ": cannot be written: " + std::strerror(errno));
      }
      bytes += written;
      size -= static_cast<std::size_t>(written);
    }
  }
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Forces the content to the disk and puts it in the place of `path`.
  void commit() {
    if (::fsync(descriptor_) != 0) throw FileError(path_.string() + ": cannot be written: " + std::strerror(errno));
    const int closed = ::close(std::exchange(descriptor_, -1));
    if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
      const int reason = errno;
      ::unlink(temporary_.c_str());
      temporary_.clear();
      throw FileError(path_.string() + ": cannot be put in place: " + std::strerror(reason));
    }
    temporary_.clear();
    // The new name itself must survive a power failure; some file systems refuse to sync a folder, which is no error.
    const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
    const int folder_descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_descriptor >= 0) {
      ::fsync(folder_descriptor);
      ::close(folder_descriptor);
    }
  }

 private:
  void discard() noexcept {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
    descriptor_ = -1;
    temporary_.clear();
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Writes the whole of `content` to `path`, atomically.
inline void write_file(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace eosin::io
