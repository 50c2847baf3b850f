#pragma once

// JPEG and PNG images as 8-bit RGB. The format is told by the first bytes. Grey, palette, 16-bit, CMYK and transparent
// images are converted (transparent pixels over white). JPEG needs libjpeg (EOSIN_HAS_JPEG), PNG libpng
// (EOSIN_HAS_PNG); the target eosin::io sets these where it finds the packages.
//
// Damaged and truncated files are errors, never half an image. An image that claims more pixels than its file can hold
// in the best compression of its format is refused before memory is taken.

#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/file.hpp>
#include <eosin/vision/image.hpp>
#include <eosin/vision/patches.hpp>

#if !defined(EOSIN_HAS_JPEG)
#define EOSIN_HAS_JPEG 0
#endif
#if !defined(EOSIN_HAS_PNG)
#define EOSIN_HAS_PNG 0
#endif

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if EOSIN_HAS_JPEG
#include <jerror.h>
#include <jpeglib.h>
#endif
#if EOSIN_HAS_PNG
#include <png.h>
#endif

namespace eosin::io {

struct ImageOptions {
  /// 1, 2, 4 or 8: the image is read at 1/reduction of its width and height (rounded up), averaged over squares of
  /// that edge. JPEG does it while decoding, in a fraction of the time.
  int reduction = 1;
  /// Larger images, after reduction, are refused.
  Index max_pixels = Index{1} << 30;
};

struct ImageSize {
  Index width = 0;
  Index height = 0;
};

namespace detail {

enum class ImageFormat { jpeg, png, unknown };

inline ImageFormat image_format(std::string_view bytes) {
  if (bytes.substr(0, 3) == "\xFF\xD8\xFF") return ImageFormat::jpeg;
  if (bytes.substr(0, 8) == std::string_view("\x89PNG\r\n\x1a\n", 8)) return ImageFormat::png;
  return ImageFormat::unknown;
}

/// Both formats stay below 1,100 decoded bytes per stored byte and channel set; anything above is not an image.
inline void require_plausible_size(const std::string& name, Index width, Index height, std::size_t file_bytes,
                                   const ImageOptions& options) {
  const std::string shape = std::to_string(width) + " x " + std::to_string(height) + " pixels";
  if (width <= 0 || height <= 0) throw ParseError(name + ": the image has " + shape);
  const Index reduced_width = (width + options.reduction - 1) / options.reduction;
  const Index reduced_height = (height + options.reduction - 1) / options.reduction;
  if (reduced_width > options.max_pixels / reduced_height)
    throw ParseError(name + ": the image claims " + shape + ", more than the " + std::to_string(options.max_pixels) +
                     " that are read");
  const double pixels = static_cast<double>(width) * static_cast<double>(height);
  if (3 * pixels > 16e6 + 3000.0 * static_cast<double>(file_bytes))
    throw ParseError(name + ": the image claims " + shape + ", which a file of " + std::to_string(file_bytes) +
                     " bytes cannot hold");
}

[[noreturn]] inline void missing_codec(const std::string& name, const char* format, const char* package) {
  throw FileError(name + ": " + format + " images need the package " + package +
                  ", which was not found when this program was built");
}

inline void require_reduction(int reduction) {
  if (reduction != 1 && reduction != 2 && reduction != 4 && reduction != 8)
    throw ValueError("read_image: reduction is " + std::to_string(reduction) + ", expected 1, 2, 4 or 8");
}

#if EOSIN_HAS_JPEG

// libjpeg reports errors by a callback that must not return: it jumps back to the function that called the library.
// Between setjmp and the jump no object with a destructor is created.
struct JpegError {
  jpeg_error_mgr manager;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];

  static void stop(j_common_ptr info) {
    auto* self = reinterpret_cast<JpegError*>(info->err);
    self->manager.format_message(info, self->message);
    std::longjmp(self->jump, 1);
  }
  static void warn(j_common_ptr info, int level) {
    if (level >= 0) return;
    // Oddities that leave every pixel intact; all other warnings stand for lost data.
    const int code = info->err->msg_code;
    if (code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR) return;
    stop(info);
  }
  static void silent(j_common_ptr) {}

  jpeg_error_mgr* install() {
    jpeg_error_mgr* base = jpeg_std_error(&manager);
    base->error_exit = stop;
    base->emit_message = warn;
    base->output_message = silent;
    message[0] = '\0';
    return base;
  }
};
static_assert(offsetof(JpegError, manager) == 0);

/// Decompression in steps, each of which returns false after an error of the library.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::string_view bytes) : bytes_(bytes) {
    std::memset(&info_, 0, sizeof info_);
    info_.err = error_.install();
  }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }

  const char* message() const { return error_.message; }
  Index width() const { return static_cast<Index>(info_.image_width); }
  Index height() const { return static_cast<Index>(info_.image_height); }
  Index output_width() const { return static_cast<Index>(info_.output_width); }
  Index output_height() const { return static_cast<Index>(info_.output_height); }
  bool cmyk() const { return info_.out_color_space == JCS_CMYK; }
  bool inverted() const { return info_.saw_Adobe_marker != 0; }

  bool header() {
    if (setjmp(error_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    progress_.progress_monitor = limit_scans;
    info_.progress = &progress_;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()),
                 static_cast<unsigned long>(bytes_.size()));
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  bool start(int reduction) {
    if (setjmp(error_.jump) != 0) return false;
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(reduction);
    const bool four = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = four ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info_);
    return true;
  }

  /// Decodes the next row into `row` (output_width pixels of 3 or 4 bytes).
  bool read_row(std::uint8_t* row) {
    if (setjmp(error_.jump) != 0) return false;
    JSAMPROW rows[1] = {row};
    jpeg_read_scanlines(&info_, rows, 1);
    return true;
  }

  bool finish() {
    if (setjmp(error_.jump) != 0) return false;
    jpeg_finish_decompress(&info_);
    return true;
  }

 private:
  // A few bytes make one more scan over a progressive image; real files have about ten.
  static void limit_scans(j_common_ptr info) {
    if (info->is_decompressor == 0 || reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= 200) return;
    auto* error = reinterpret_cast<JpegError*>(info->err);
    std::snprintf(error->message, sizeof error->message, "it has more than 200 scans");
    std::longjmp(error->jump, 1);
  }

  std::string_view bytes_;
  jpeg_decompress_struct info_;
  jpeg_progress_mgr progress_{};
  JpegError error_;
};

inline vision::Image decode_jpeg(std::string_view bytes, const std::string& name, const ImageOptions& options) {
  JpegDecoder decoder(bytes);
  const auto require = [&](bool good) {
    if (!good) throw ParseError(name + ": the JPEG image is damaged or truncated: " + decoder.message());
  };
  require(decoder.header());
  require_plausible_size(name, decoder.width(), decoder.height(), bytes.size(), options);
  require(decoder.start(options.reduction));
  vision::Image image(decoder.output_width(), decoder.output_height());
  std::vector<std::uint8_t> inks(decoder.cmyk() ? static_cast<std::size_t>(4 * image.width) : 0);
  for (Index y = 0; y < image.height; ++y) {
    require(decoder.read_row(decoder.cmyk() ? inks.data() : image.at(0, y)));
    if (!decoder.cmyk()) continue;
    // Adobe stores inks inverted.
    const unsigned flip = decoder.inverted() ? 0u : 255u;
    for (Index x = 0; x < image.width; ++x) {
      const std::uint8_t* ink = inks.data() + 4 * x;
      for (Index c = 0; c < 3; ++c)
        image.at(x, y)[c] = static_cast<std::uint8_t>(((ink[c] ^ flip) * (ink[3] ^ flip) + 127u) / 255u);
    }
  }
  require(decoder.finish());
  return image;
}

inline ImageSize jpeg_size(std::string_view bytes, const std::string& name) {
  JpegDecoder decoder(bytes);
  if (!decoder.header()) throw ParseError(name + ": the JPEG image is damaged or truncated: " + decoder.message());
  return {decoder.width(), decoder.height()};
}

/// Compression; returns false after an error of the library. `out` and `size` belong to the caller (free).
inline bool compress_jpeg(const vision::Image& image, int quality, JpegError& error, unsigned char** out,
                          unsigned long* size) {
  jpeg_compress_struct info;
  std::memset(&info, 0, sizeof info);
  info.err = error.install();
  if (setjmp(error.jump) != 0) {
    jpeg_destroy_compress(&info);
    return false;
  }
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, out, size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW rows[1] = {const_cast<std::uint8_t*>(image.at(0, static_cast<Index>(info.next_scanline)))};
    jpeg_write_scanlines(&info, rows, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return true;
}

#endif  // EOSIN_HAS_JPEG

#if EOSIN_HAS_PNG

/// Reads PNG through libpng's callbacks; errors jump as in JpegDecoder.
class PngDecoder {
 public:
  explicit PngDecoder(std::string_view bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, stop, silent);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw FileError("libpng cannot be started");
    }
  }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
  ~PngDecoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  const char* message() const { return message_; }
  Index width() const { return static_cast<Index>(width_); }
  Index height() const { return static_cast<Index>(height_); }

  bool header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, this, read);
    png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_read_info(png_, info_);
    width_ = png_get_image_width(png_, info_);
    height_ = png_get_image_height(png_, info_);
    return true;
  }

  bool start() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    const auto color = png_get_color_type(png_, info_);
    if (png_get_bit_depth(png_, info_) == 16) png_set_scale_16(png_);
    png_set_expand(png_);
    if ((color & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
    png_color_16 white{};
    white.red = white.green = white.blue = white.gray = 255;
    png_set_background_fixed(png_, &white, PNG_BACKGROUND_GAMMA_SCREEN, 0, 0);
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return png_get_rowbytes(png_, info_) == 3u * static_cast<std::size_t>(width_) ||
           set_message("it does not convert to RGB");
  }

  bool read_rows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  static void stop(png_structp png, png_const_charp text) {
    static_cast<PngDecoder*>(png_get_error_ptr(png))->set_message(text);
    png_longjmp(png, 1);
  }
  static void silent(png_structp, png_const_charp) {}
  static void read(png_structp png, png_bytep out, std::size_t count) {
    auto* self = static_cast<PngDecoder*>(png_get_io_ptr(png));
    if (count > self->bytes_.size() - self->position_) png_error(png, "the file ends early");
    std::memcpy(out, self->bytes_.data() + self->position_, count);
    self->position_ += count;
  }
  bool set_message(const char* text) {
    std::snprintf(message_, sizeof message_, "%s", text);
    return false;
  }

  std::string_view bytes_;
  std::size_t position_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  png_uint_32 width_ = 0;
  png_uint_32 height_ = 0;
  char message_[160] = {};
};

inline vision::Image decode_png(std::string_view bytes, const std::string& name, const ImageOptions& options) {
  PngDecoder decoder(bytes);
  const auto require = [&](bool good) {
    if (!good) throw ParseError(name + ": the PNG image is damaged or truncated: " + decoder.message());
  };
  require(decoder.header());
  require_plausible_size(name, decoder.width(), decoder.height(), bytes.size(), options);
  require(decoder.start());
  vision::Image image(decoder.width(), decoder.height());
  std::vector<png_bytep> rows(static_cast<std::size_t>(image.height));
  for (Index y = 0; y < image.height; ++y) rows[static_cast<std::size_t>(y)] = image.at(0, y);
  require(decoder.read_rows(rows.data()));
  if (options.reduction == 1) return image;
  CpuContext one_thread({.threads = 1});
  return vision::reduce_image(one_thread, image, options.reduction);
}

inline ImageSize png_size(std::string_view bytes, const std::string& name) {
  PngDecoder decoder(bytes);
  if (!decoder.header()) throw ParseError(name + ": the PNG image is damaged or truncated: " + decoder.message());
  return {decoder.width(), decoder.height()};
}

struct PngTarget {
  std::string bytes;
  char message[160] = {};
  bool out_of_memory = false;
};

inline bool compress_png(const vision::Image& image, PngTarget& target) {
  const auto stop = [](png_structp png, png_const_charp text) {
    auto* self = static_cast<PngTarget*>(png_get_error_ptr(png));
    std::snprintf(self->message, sizeof self->message, "%s", text);
    png_longjmp(png, 1);
  };
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &target, stop, [](png_structp, png_const_charp) {});
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    png_destroy_write_struct(&png, nullptr);
    return false;
  }
  if (setjmp(png_jmpbuf(png)) != 0) {
    png_destroy_write_struct(&png, &info);
    return false;
  }
  png_set_write_fn(
      png, &target,
      [](png_structp self, png_bytep data, std::size_t count) {
        // No exception may cross libpng.
        auto* to = static_cast<PngTarget*>(png_get_io_ptr(self));
        try {
          to->bytes.append(reinterpret_cast<const char*>(data), count);
        } catch (...) {
          to->out_of_memory = true;
        }
        if (to->out_of_memory) png_error(self, "out of memory");
      },
      [](png_structp) {});
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
               PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (Index y = 0; y < image.height; ++y) png_write_row(png, image.at(0, y));
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return true;
}

#endif  // EOSIN_HAS_PNG

inline void require_image(const char* function, const vision::Image& image) {
  if (image.width <= 0 || image.height <= 0 || image.width > 65500 || image.height > 65500 ||
      image.pixels.size() != static_cast<std::size_t>(3 * image.width * image.height))
    throw ShapeError(std::string(function) + ": the image has " + std::to_string(image.width) + " x " +
                     std::to_string(image.height) + " pixels and " + std::to_string(image.pixels.size()) +
                     " bytes; 1 to 65500 pixels a side and 3 bytes each are expected");
}

}  // namespace detail

/// Decodes a JPEG or PNG image in memory; `name` stands for the file in messages. Throws ParseError, and FileError
/// where the format's library was not found.
inline vision::Image decode_image(std::string_view bytes, const std::string& name, const ImageOptions& options = {}) {
  detail::require_reduction(options.reduction);
  switch (detail::image_format(bytes)) {
    case detail::ImageFormat::jpeg:
#if EOSIN_HAS_JPEG
      return detail::decode_jpeg(bytes, name, options);
#else
      detail::missing_codec(name, "JPEG", "libjpeg-dev");
#endif
    case detail::ImageFormat::png:
#if EOSIN_HAS_PNG
      return detail::decode_png(bytes, name, options);
#else
      detail::missing_codec(name, "PNG", "libpng-dev");
#endif
    case detail::ImageFormat::unknown:
      break;
  }
  throw ParseError(name + ": is neither a JPEG nor a PNG image");
}

/// Reads an image file. Memory: the file and the pixels.
inline vision::Image read_image(const std::filesystem::path& path, const ImageOptions& options = {}) {
  return decode_image(read_file(path), path.string(), options);
}

/// Width and height as the header of an image file says.
inline ImageSize read_image_size(const std::filesystem::path& path) {
  const std::string bytes = read_file(path);
  const std::string name = path.string();
  switch (detail::image_format(bytes)) {
    case detail::ImageFormat::jpeg:
#if EOSIN_HAS_JPEG
      return detail::jpeg_size(bytes, name);
#else
      detail::missing_codec(name, "JPEG", "libjpeg-dev");
#endif
    case detail::ImageFormat::png:
#if EOSIN_HAS_PNG
      return detail::png_size(bytes, name);
#else
      detail::missing_codec(name, "PNG", "libpng-dev");
#endif
    case detail::ImageFormat::unknown:
      break;
  }
  throw ParseError(name + ": is neither a JPEG nor a PNG image");
}

/// The bytes of a JPEG file, `quality` 1 to 100.
inline std::string encode_jpeg(const vision::Image& image, int quality = 85) {
  detail::require_image("encode_jpeg", image);
#if EOSIN_HAS_JPEG
  detail::JpegError error;
  unsigned char* data = nullptr;
  unsigned long size = 0;
  const bool good = detail::compress_jpeg(image, quality, error, &data, &size);
  std::string bytes;
  if (good) bytes.assign(reinterpret_cast<const char*>(data), size);
  std::free(data);
  if (!good) throw FileError(std::string("encode_jpeg: ") + error.message);
  return bytes;
#else
  (void)quality;
  detail::missing_codec("encode_jpeg", "JPEG", "libjpeg-dev");
#endif
}

/// The bytes of a PNG file.
inline std::string encode_png(const vision::Image& image) {
  detail::require_image("encode_png", image);
#if EOSIN_HAS_PNG
  detail::PngTarget target;
  if (!detail::compress_png(image, target)) throw FileError(std::string("encode_png: ") + target.message);
  return std::move(target.bytes);
#else
  detail::missing_codec("encode_png", "PNG", "libpng-dev");
#endif
}

/// Writes a PNG file, atomically.
inline void write_png(const std::filesystem::path& path, const vision::Image& image) {
  write_file(path, encode_png(image));
}

/// Writes a JPEG file, atomically.
inline void write_jpeg(const std::filesystem::path& path, const vision::Image& image, int quality = 85) {
  write_file(path, encode_jpeg(image, quality));
}

}  // namespace eosin::io
