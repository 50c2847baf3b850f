#pragma once

// A picture inside the page: "data:image/jpeg;base64,...".

#include <eosin/io/base64.hpp>
#include <eosin/io/image.hpp>
#include <eosin/vision/image.hpp>

#include <string>

namespace report {

/// JPEG where the build has libjpeg, otherwise PNG; empty for an empty image and in a build that has neither, which
/// leaves the maps without the tissue behind them.
inline std::string data_uri(const eosin::vision::Image& image, [[maybe_unused]] int quality) {
  if (image.empty()) return {};
#if EOSIN_HAS_JPEG
  return "data:image/jpeg;base64," + eosin::io::base64(eosin::io::encode_jpeg(image, quality));
#elif EOSIN_HAS_PNG
  return "data:image/png;base64," + eosin::io::base64(eosin::io::encode_png(image));
#else
  return {};
#endif
}

}  // namespace report
