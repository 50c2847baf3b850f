#pragma once

// A batch of images as networks take them: channels together (NHWC), one matrix row per pixel.

#include <eosin/core/error.hpp>
#include <eosin/core/view.hpp>

namespace eosin::vision {

/// `pixels` has images * height * width rows, pixel after pixel in reading order, and one column per channel.
template <class T, class Space = Host>
struct ImageBatch {
  MatrixView<T, Space> pixels;
  Index images = 0;
  Index height = 0;
  Index width = 0;
};

}  // namespace eosin::vision
