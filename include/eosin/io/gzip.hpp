#pragma once

// gzip streams by zlib: decompression of files with one or several members, compression with reproducible bytes.

#include <eosin/core/error.hpp>
#include <eosin/io/atomic_file.hpp>

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::io {

/// Decompresses what `Source` delivers; Source has `std::size_t read(char* buffer, std::size_t size)`, 0 at the end.
template <class Source>
class GzipReader {
 public:
  /// `name` stands for the file in messages.
  GzipReader(Source source, std::string name)
      : source_(std::move(source)), name_(std::move(name)), input_(std::size_t{1} << 16), stream_(new z_stream{}) {
    // 15 + 16: largest window, gzip header.
    if (inflateInit2(stream_.get(), 15 + 16) != Z_OK) throw FileError(name_ + ": zlib cannot be started");
    started_ = true;
  }
  GzipReader(GzipReader&&) = default;
  GzipReader& operator=(GzipReader&&) = delete;
  ~GzipReader() {
    if (stream_ && started_) inflateEnd(stream_.get());
  }

  /// Up to `size` bytes of the decompressed content; 0 at the end. Throws ParseError when the stream is damaged or
  /// ends early.
  std::size_t read(char* buffer, std::size_t size) {
    if (finished_ || size == 0) return 0;
    stream_->next_out = reinterpret_cast<Bytef*>(buffer);
    const auto room = static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max()));
    stream_->avail_out = room;
    while (stream_->avail_out == room) {
      if (stream_->avail_in == 0 && !refill()) {
        if (!between_members_)
          throw ParseError(name_ + ": the gzip stream is truncated (it ends early, after " +
                           std::to_string(stream_->total_out) + " decompressed bytes of its last member)");
        finished_ = true;
        break;
      }
      if (between_members_ && !begin_member()) break;
      const int status = inflate(stream_.get(), Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        between_members_ = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        throw ParseError(name_ + ": the gzip stream is damaged" +
                         (stream_->msg != nullptr ? std::string(": ") + stream_->msg : std::string()));
      }
    }
    return room - stream_->avail_out;
  }

 private:
  bool refill() {
    const std::size_t got = source_.read(input_.data(), input_.size());
    stream_->next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_->avail_in = static_cast<uInt>(got);
    return got != 0;
  }

  // After a member: zero padding is skipped, anything else must be the next member.
  bool begin_member() {
    if (first_member_) {
      first_member_ = between_members_ = false;
      return true;
    }
    for (;;) {
      while (stream_->avail_in > 0 && *stream_->next_in == 0) {
        ++stream_->next_in;
        --stream_->avail_in;
      }
      if (stream_->avail_in > 0) break;
      if (!refill()) {
        finished_ = true;
        return false;
      }
    }
    if (*stream_->next_in != 0x1f) throw ParseError(name_ + ": other bytes follow the end of the gzip stream");
    inflateReset(stream_.get());
    between_members_ = false;
    return true;
  }

  Source source_;
  std::string name_;
  std::vector<char> input_;
  std::unique_ptr<z_stream> stream_;
  bool started_ = false;
  bool first_member_ = true;
  bool between_members_ = true;
  bool finished_ = false;
};

/// Compresses into a sink, a callable that takes std::string_view. The bytes depend on content and level alone (no
/// time, no name).
template <class Sink>
class GzipWriter {
 public:
  explicit GzipWriter(Sink sink, int level = 6)
      : sink_(std::move(sink)), output_(std::size_t{1} << 16), stream_(new z_stream{}) {
    if (deflateInit2(stream_.get(), level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
      throw ValueError("GzipWriter: level " + std::to_string(level) + " is not one of zlib's");
  }
  GzipWriter(const GzipWriter&) = delete;
  GzipWriter& operator=(const GzipWriter&) = delete;
  ~GzipWriter() { deflateEnd(stream_.get()); }

  void write(std::string_view text) {
    constexpr std::size_t most = std::size_t{1} << 30;
    for (; !text.empty(); text.remove_prefix(std::min(text.size(), most))) run(text.substr(0, most), Z_NO_FLUSH);
  }
  /// Ends the stream; nothing may be written afterwards.
  void finish() { run({}, Z_FINISH); }

 private:
  void run(std::string_view text, int flush) {
    // zlib does not write to its input; its interface lacks the const.
    stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream_->avail_in = static_cast<uInt>(text.size());
    int status = Z_OK;
    do {
      stream_->next_out = reinterpret_cast<Bytef*>(output_.data());
      stream_->avail_out = static_cast<uInt>(output_.size());
      status = deflate(stream_.get(), flush);
      sink_(std::string_view(output_.data(), output_.size() - stream_->avail_out));
    } while (stream_->avail_out == 0 || (flush == Z_FINISH && status != Z_STREAM_END));
  }

  Sink sink_;
  std::vector<char> output_;
  std::unique_ptr<z_stream> stream_;
};

/// The gzip stream of `text`.
inline std::string gzip_compress(std::string_view text, int level = 6) {
  std::string result;
  GzipWriter writer([&result](std::string_view bytes) { result += bytes; }, level);
  writer.write(text);
  writer.finish();
  return result;
}

}  // namespace eosin::io
