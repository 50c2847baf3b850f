#pragma once

// Text files, plain or gzip, told apart by their first bytes: read line by line in bounded memory, written atomically.
// Reading and writing gzip needs zlib (EOSIN_HAS_ZLIB, set by the target eosin::io where it is found).

#include <eosin/core/error.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/file.hpp>

#if !defined(EOSIN_HAS_ZLIB)
#define EOSIN_HAS_ZLIB 0
#endif
#if EOSIN_HAS_ZLIB
#include <eosin/io/gzip.hpp>
#endif

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace eosin::io {

namespace detail {

inline bool is_gzip(std::string_view start) {
  return start.size() >= 2 && start[0] == '\x1f' && start[1] == '\x8b';
}

inline bool names_gzip(const std::filesystem::path& path) {
  return path.extension() == ".gz";
}

/// Bytes of a file or of memory, in order.
class RawBytes {
 public:
  explicit RawBytes(const std::filesystem::path& path) {
    require_file(path);
    stream_ = std::make_unique<std::ifstream>(path, std::ios::binary);
    name_ = path.string();
    if (!*stream_) throw FileError(name_ + ": cannot be opened");
  }
  RawBytes(std::string content, std::string name) : content_(std::move(content)), name_(std::move(name)) {}

  const std::string& name() const { return name_; }

  /// The first bytes without consuming them.
  std::string_view peek() {
    if (stream_ && content_.empty()) {
      content_.resize(2);
      stream_->read(content_.data(), 2);
      content_.resize(static_cast<std::size_t>(stream_->gcount()));
    }
    return content_;
  }

  std::size_t read(char* buffer, std::size_t size) {
    if (position_ < content_.size()) {
      const std::size_t count = std::min(size, content_.size() - position_);
      std::memcpy(buffer, content_.data() + position_, count);
      position_ += count;
      return count;
    }
    if (!stream_) return 0;
    stream_->read(buffer, static_cast<std::streamsize>(size));
    if (stream_->bad()) throw FileError(name_ + ": cannot be read");
    return static_cast<std::size_t>(stream_->gcount());
  }

 private:
  std::unique_ptr<std::ifstream> stream_;
  std::string content_;
  std::size_t position_ = 0;
  std::string name_;
};

}  // namespace detail

/// The lines of a text file. A byte order mark is skipped; lines end with LF or CRLF, the last one may lack it.
class TextReader {
 public:
  /// A line longer than this is an error: a damaged or hostile file cannot ask for more memory.
  static constexpr std::size_t longest_line = std::size_t{1} << 27;

  /// Opens a file. Throws FileError, also for gzip content where zlib was not found.
  explicit TextReader(const std::filesystem::path& path) : TextReader(detail::RawBytes(path)) {}
  /// Reads from memory; `name` stands for the file in messages.
  static TextReader from_memory(std::string content, std::string name) {
    return TextReader(detail::RawBytes(std::move(content), std::move(name)));
  }

  const std::string& file() const { return file_; }
  /// Number of the line that next_line() gave last, from 1.
  std::size_t line() const { return line_; }

  /// The next line without its end; nothing after the last. The view is valid until the next call, and the byte behind
  /// it may be read (it is a line end or 0).
  std::optional<std::string_view> next_line() {
    std::size_t searched = begin_;
    for (;;) {
      const void* found = searched < end_ ? std::memchr(buffer_.data() + searched, '\n', end_ - searched) : nullptr;
      if (found != nullptr) {
        const auto stop = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.data());
        return take(stop, stop + 1);
      }
      searched = end_ - begin_;
      if (!refill()) {
        if (begin_ == end_) return std::nullopt;
        buffer_[end_] = '\0';
        return take(end_, end_);
      }
      searched += begin_;
    }
  }

  /// ParseError that names the file and the current line.
  [[noreturn]] void fail(std::string_view message) const { throw ParseError(file_, line_, message); }

 private:
  explicit TextReader(detail::RawBytes bytes) : file_(bytes.name()) {
    if (detail::is_gzip(bytes.peek())) {
#if EOSIN_HAS_ZLIB
      source_.emplace<GzipReader<detail::RawBytes>>(std::move(bytes), file_);
#else
      throw FileError(file_ +
                      ": is gzip-compressed; reading it needs zlib (package zlib1g-dev), which was not found "
                      "when this program was built");
#endif
    } else {
      source_.emplace<detail::RawBytes>(std::move(bytes));
    }
    buffer_.resize((std::size_t{1} << 18) + 1);
  }

  std::string_view take(std::size_t stop, std::size_t next) {
    ++line_;
    if (stop - begin_ > longest_line) fail("the line is longer than " + std::to_string(longest_line) + " bytes");
    std::string_view text(buffer_.data() + begin_, stop - begin_);
    if (line_ == 1 && text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    begin_ = next;
    return text;
  }

  // Keeps the unread bytes, at the start of the buffer, and adds more behind them; one byte stays free for a 0.
  bool refill() {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ + 1 == buffer_.size()) {
      if (end_ > longest_line) {
        ++line_;
        fail("the line is longer than " + std::to_string(longest_line) + " bytes");
      }
      buffer_.resize(2 * buffer_.size());
    }
    const std::size_t got = std::visit(
        [&](auto& source) -> std::size_t {
          if constexpr (std::is_same_v<std::remove_cvref_t<decltype(source)>, std::monostate>)
            return 0;
          else
            return source.read(buffer_.data() + end_, buffer_.size() - 1 - end_);
        },
        source_);
    end_ += got;
    return got != 0;
  }

#if EOSIN_HAS_ZLIB
  std::variant<std::monostate, detail::RawBytes, GzipReader<detail::RawBytes>> source_;
#else
  std::variant<std::monostate, detail::RawBytes> source_;
#endif
  std::string file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t line_ = 0;
};

/// Writes a text file atomically, compressed when its name ends in .gz. Nothing appears under the name before commit().
class TextWriter {
 public:
  explicit TextWriter(const std::filesystem::path& path) : file_(path) {
    if (!detail::names_gzip(path)) return;
#if EOSIN_HAS_ZLIB
    gzip_ = std::make_unique<Gzip>([this](std::string_view bytes) { file_.write(bytes); });
#else
    throw FileError(path.string() +
                    ": writing gzip needs zlib (package zlib1g-dev), which was not found when this "
                    "program was built");
#endif
  }
  TextWriter(const TextWriter&) = delete;
  TextWriter& operator=(const TextWriter&) = delete;

  void write(std::string_view text) {
    pending_ += text;
    if (pending_.size() >= std::size_t{1} << 16) flush();
  }

  void commit() {
    flush();
#if EOSIN_HAS_ZLIB
    if (gzip_) gzip_->finish();
#endif
    file_.commit();
  }

 private:
  void flush() {
#if EOSIN_HAS_ZLIB
    if (gzip_)
      gzip_->write(pending_);
    else
      file_.write(pending_);
#else
    file_.write(pending_);
#endif
    pending_.clear();
  }

  AtomicFile file_;
  std::string pending_;
#if EOSIN_HAS_ZLIB
  using Gzip = GzipWriter<std::function<void(std::string_view)>>;
  std::unique_ptr<Gzip> gzip_;
#endif
};

}  // namespace eosin::io
