#pragma once

// Which pixels a window sees, and which windows see a pixel, in one direction: windows of `window` pixels every
// `stride`, the first of them `padding` pixels before the image.

#include <eosin/core/config.hpp>

#include <concepts>

namespace eosin::ops::detail {

/// [begin, end).
template <std::integral I>
struct Extent {
  I begin, end;
};

/// Places in a window that starts at pixel `start` and that lie in an image of `size` pixels.
template <std::integral I>
EOSIN_HOST_DEVICE inline Extent<I> inside_of_window(I start, I window, I size) {
  return {start < 0 ? -start : I(0), window < size - start ? window : size - start};
}

/// The windows, of `count`, that see the pixel at `position`, counted from the start of the first window.
template <std::integral I>
EOSIN_HOST_DEVICE inline Extent<I> windows_with(I position, I window, I stride, I count) {
  const I behind_last = position / stride + 1;
  return {position < window ? I(0) : (position - window) / stride + 1, count < behind_last ? count : behind_last};
}

}  // namespace eosin::ops::detail
