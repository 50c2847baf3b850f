#pragma once

// An 8-bit RGB image in memory, rows from top to bottom, channels interleaved.

#include <eosin/core/error.hpp>

#include <cstdint>
#include <vector>

namespace eosin::vision {

/// width x height pixels; `pixels` holds 3 * width * height bytes R, G, B.
struct Image {
  Index width = 0;
  Index height = 0;
  std::vector<std::uint8_t> pixels;

  Image() = default;
  Image(Index w, Index h) : width(w), height(h), pixels(static_cast<std::size_t>(3 * w * h)) {}

  bool empty() const { return pixels.empty(); }
  const std::uint8_t* at(Index x, Index y) const { return pixels.data() + 3 * (y * width + x); }
  std::uint8_t* at(Index x, Index y) { return pixels.data() + 3 * (y * width + x); }
};

}  // namespace eosin::vision
