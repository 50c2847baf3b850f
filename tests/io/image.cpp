#include <eosin/io/image.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "support/message.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

vision::Image smooth(Index width, Index height) {
  vision::Image image(width, height);
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      image.at(x, y)[0] = static_cast<std::uint8_t>(255 * x / width);
      image.at(x, y)[1] = static_cast<std::uint8_t>(255 * y / height);
      image.at(x, y)[2] = static_cast<std::uint8_t>(128);
    }
  return image;
}

[[maybe_unused]] int largest_difference(const vision::Image& a, const vision::Image& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return largest;
}

std::string decode_error(const std::string& bytes) {
  return message_of([&] { io::decode_image(bytes, "slide.img"); });
}

[[maybe_unused]] std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

}  // namespace

TEST_CASE("image: what is no image is said so") {
  CHECK(contains(decode_error(""), "slide.img"));
  CHECK(contains(decode_error("GIF89a"), "neither a JPEG nor a PNG"));
  CHECK(contains(message_of([] { io::read_image("no_such.png"); }), "no_such.png"));
  CHECK_THROWS_AS(io::decode_image("", "x", {.reduction = 3}), ValueError);
  CHECK_THROWS_AS(io::encode_png(vision::Image()), ShapeError);
}

#if EOSIN_HAS_PNG
TEST_CASE("image: PNG keeps every pixel") {
  testing::TemporaryFolder folder;
  for (const auto& [width, height] : {std::pair<Index, Index>{1, 1}, {37, 11}, {64, 64}}) {
    const auto image = smooth(width, height);
    io::write_png(folder.path() / "a.png", image);
    const auto read = io::read_image(folder.path() / "a.png");
    CHECK(read.width == width);
    CHECK(read.height == height);
    CHECK(read.pixels == image.pixels);
    CHECK(io::read_image_size(folder.path() / "a.png").height == height);
  }
}

TEST_CASE("image: PNG read at a fraction of its size is the mean of squares") {
  vision::Image image(3, 2);
  const int red[6] = {10, 20, 101, 30, 41, 200};
  for (Index i = 0; i < 6; ++i) image.at(i % 3, i / 3)[0] = static_cast<std::uint8_t>(red[i]);
  const auto half = io::decode_image(io::encode_png(image), "a.png", {.reduction = 2});
  CHECK(half.width == 2);
  CHECK(half.height == 1);
  CHECK(half.at(0, 0)[0] == 25);
  CHECK(half.at(1, 0)[0] == 151);
}

TEST_CASE("image: grey, palette, 16-bit and transparent PNG become RGB") {
  // 2 x 1 pixels of the values 0x40 and 0xC0.
  struct Kind {
    int color;
    int depth;
  };
  for (const Kind kind :
       {Kind{PNG_COLOR_TYPE_GRAY, 8}, Kind{PNG_COLOR_TYPE_GRAY, 16}, Kind{PNG_COLOR_TYPE_PALETTE, 1},
        Kind{PNG_COLOR_TYPE_RGB_ALPHA, 8}, Kind{PNG_COLOR_TYPE_GRAY_ALPHA, 8}, Kind{PNG_COLOR_TYPE_RGB, 16}}) {
    CAPTURE(kind.color);
    CAPTURE(kind.depth);
    std::string bytes;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(
        png, &bytes,
        [](png_structp self, png_bytep data, std::size_t count) {
          static_cast<std::string*>(png_get_io_ptr(self))->append(reinterpret_cast<const char*>(data), count);
        },
        nullptr);
    png_set_IHDR(png, info, 2, 1, kind.depth, kind.color, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    std::vector<png_byte> row;
    if (kind.color == PNG_COLOR_TYPE_PALETTE) {
      const png_color colors[2] = {{0x40, 0x40, 0x40}, {0xC0, 0xC0, 0xC0}};
      png_set_PLTE(png, info, colors, 2);
      row = {0x40};
    } else {
      const int samples = (kind.color & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1;
      for (const png_byte value : {png_byte{0x40}, png_byte{0xC0}}) {
        for (int i = 0; i < samples * kind.depth / 8; ++i) row.push_back(value);
        // The second pixel is transparent where there is an alpha channel.
        if ((kind.color & PNG_COLOR_MASK_ALPHA) != 0) row.push_back(value == 0x40 ? 0xFF : 0x00);
      }
    }
    png_write_info(png, info);
    png_write_row(png, row.data());
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);

    const auto image = io::decode_image(bytes, "k.png");
    REQUIRE(image.width == 2);
    for (int c = 0; c < 3; ++c) {
      CHECK(int{image.at(0, 0)[c]} == 0x40);
      CHECK(int{image.at(1, 0)[c]} == ((kind.color & PNG_COLOR_MASK_ALPHA) != 0 ? 0xFF : 0xC0));
    }
  }
}

TEST_CASE("image: damaged PNG") {
  const std::string bytes = io::encode_png(smooth(40, 30));
  for (std::size_t cut = 8; cut < bytes.size() - 4; cut += 7) {
    CAPTURE(cut);
    CHECK(contains(decode_error(bytes.substr(0, cut)), "slide.img: the PNG image is damaged or truncated"));
  }
  for (std::size_t at = 8; at < bytes.size(); at += 11) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    CAPTURE(at);
    CHECK(contains(decode_error(damaged), "slide.img"));
  }
  // 900,000 x 900,000 pixels in a header with a valid checksum.
  const std::string huge = from_hex(
      "89504e470d0a1a0a0000000d49484452000dbba0000dbba008020000005fdf06d8"
      "0000000149444154");
  CHECK(contains(decode_error(huge), "slide.img: the image claims 900000 x 900000 pixels"));
  CHECK(contains(message_of([&] { io::decode_image(bytes, "slide.img", {.max_pixels = 1199}); }), "40 x 30"));
}
#endif

#if EOSIN_HAS_JPEG
TEST_CASE("image: JPEG comes back within its loss, at every scale") {
  const auto image = smooth(83, 61);
  const auto bytes = io::encode_jpeg(image, 95);
  const auto read = io::decode_image(bytes, "a.jpg");
  CHECK(read.width == 83);
  CHECK(read.height == 61);
  CHECK(largest_difference(read, image) <= 12);
  CpuContext context({.threads = 1});
  for (const int reduction : {2, 4, 8}) {
    const auto small = io::decode_image(bytes, "a.jpg", {.reduction = reduction});
    CHECK(small.width == (83 + reduction - 1) / reduction);
    CHECK(small.height == (61 + reduction - 1) / reduction);
    CHECK(largest_difference(small, vision::reduce_image(context, image, reduction)) <= 16);
  }
  testing::TemporaryFolder folder;
  io::write_jpeg(folder.path() / "a.jpg", image);
  CHECK(io::read_image_size(folder.path() / "a.jpg").width == 83);
}

TEST_CASE("image: damaged JPEG") {
  const std::string bytes = io::encode_jpeg(smooth(200, 150), 90);
  for (std::size_t cut = 3; cut < bytes.size() - 2; cut += 1 + bytes.size() / 97) {
    CAPTURE(cut);
    CHECK(contains(decode_error(bytes.substr(0, cut)), "slide.img: the JPEG image is damaged or truncated"));
  }
  // The frame header claims 65,000 x 65,000 pixels.
  std::string huge = bytes;
  const auto frame = huge.find("\xFF\xC0");
  REQUIRE(frame != std::string::npos);
  for (const std::size_t at : {frame + 5, frame + 7}) {
    huge[at] = static_cast<char>(0xFD);
    huge[at + 1] = static_cast<char>(0xE8);
  }
  const auto message = decode_error(huge);
  CHECK(contains(message, "65000 x 65000"));
  const auto roomy = message_of([&] { io::decode_image(huge, "slide.img", {.max_pixels = Index{1} << 40}); });
  CHECK(contains(roomy, "cannot hold"));
}

TEST_CASE("image: a published section") {
  const auto data = testing::data_folder();
  if (!data) EOSIN_SKIP("EOSIN_DATA is not set");
  const auto image = io::read_image(std::filesystem::path(*data) / "her2st/images/B4.jpg", {.reduction = 8});
  CHECK(image.width == 1159);
  CHECK(image.height == 1241);
}
#endif
