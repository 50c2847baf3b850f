#pragma once

// From 8-bit patches to what an image network reads: random changes of colour and orientation, then normalisation, as
// float rows in the order height, width, channel (NHWC).
//
//   colour jitter   brightness, contrast, saturation by factors uniform in [max(0, 1 - a), 1 + a], hue by a share of
//   the
//                   circle uniform in [-a, a], in random order; formulas of torchvision's ColorJitter on float images:
//                     brightness f x,  contrast f x + (1 - f) mean grey,  saturation f x + (1 - f) grey,
//                     grey = 0.2989 R + 0.587 G + 0.114 B, each clamped to [0, 1];  hue turns H of HSV
//   flips           horizontal and vertical, each with its probability
//   rotation        by an angle uniform in [-a, a], counterclockwise, about the centre of the patch, nearest pixel, the
//                   size kept, as torchvision's RandomRotation. Corners that leave the patch are filled by reflection
//                   (the library's border rule) or with black as there.
//   normalisation   (x - mean) / deviation of ImageNet's channels for x in [0, 1]; x in [0, 1]; or B, G, R in 0..255
//
// Jitter comes first, then flips, then rotation. What is drawn is a function of (seed, epoch, spot) alone, through
// Philox, so it does not depend on the order of the spots or on threads.

#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>
#include <eosin/vision/image.hpp>
#include <eosin/vision/patches.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eosin::vision {

enum class PixelNormalisation {
  /// (x - mean) / deviation per channel, with the figures of ImageNet that published networks were trained with.
  imagenet,
  /// x / 255.
  unit,
  /// Channels in the order B, G, R, from 0 to 255: what OpenCV reads, for networks that were trained so.
  bgr_bytes
};

inline constexpr std::array<float, 3> imagenet_mean{0.485f, 0.456f, 0.406f};
inline constexpr std::array<float, 3> imagenet_deviation{0.229f, 0.224f, 0.225f};

enum class RotationFill { reflection, black };

/// Strengths; 0 turns a change off. The defaults are those of mclSTExp's and Hist2ST's training.
struct AugmentationOptions {
  double brightness = 0.5;
  double contrast = 0.5;
  double saturation = 0.5;
  /// In [0, 0.5].
  double hue = 0.0;
  /// Probabilities.
  double horizontal_flip = 0.5;
  double vertical_flip = 0.0;
  /// Largest angle in degrees.
  double rotation = 180.0;
  RotationFill fill = RotationFill::reflection;
};

/// One draw: what is done to one patch. The default does nothing.
struct Augmentation {
  enum class Colour { brightness, contrast, saturation, hue };

  std::array<Colour, 4> order{Colour::brightness, Colour::contrast, Colour::saturation, Colour::hue};
  float brightness = 1;
  float contrast = 1;
  float saturation = 1;
  float hue = 0;  ///< share of the circle
  bool horizontal_flip = false;
  bool vertical_flip = false;
  double angle = 0;  ///< degrees, counterclockwise
  RotationFill fill = RotationFill::reflection;
};

/// Throws ValueError for strengths out of range.
inline void require_augmentation(const AugmentationOptions& o) {
  const auto finite = [](double v) { return v >= 0 && std::isfinite(v); };
  require_value(finite(o.brightness) && finite(o.contrast) && finite(o.saturation) && finite(o.rotation),
                "AugmentationOptions", "a strength is not a finite number >= 0");
  require_value(o.hue >= 0 && o.hue <= 0.5, "AugmentationOptions", "hue is outside [0, 0.5]");
  require_value(o.horizontal_flip >= 0 && o.horizontal_flip <= 1 && o.vertical_flip >= 0 && o.vertical_flip <= 1,
                "AugmentationOptions", "a probability of a flip is outside [0, 1]");
}

/// What happens to `spot` in `epoch`.
inline Augmentation draw_augmentation(const AugmentationOptions& options, std::uint64_t seed, std::uint64_t epoch,
                                      std::uint64_t spot) {
  require_augmentation(options);
  // Sixteen numbers per epoch, of which the first eleven are used.
  RandomStream random(seed, spot);
  random.seek(16 * epoch);
  Augmentation draw;
  for (Index i = 3; i > 0; --i)
    std::swap(draw.order[static_cast<std::size_t>(i)], draw.order[static_cast<std::size_t>(random.below(i + 1))]);
  const auto factor = [&](double strength) {
    return static_cast<float>(random.uniform(std::max(0.0, 1 - strength), 1 + strength));
  };
  draw.brightness = factor(options.brightness);
  draw.contrast = factor(options.contrast);
  draw.saturation = factor(options.saturation);
  draw.hue = static_cast<float>(random.uniform(-options.hue, options.hue));
  draw.horizontal_flip = random.uniform() < options.horizontal_flip;
  draw.vertical_flip = random.uniform() < options.vertical_flip;
  draw.angle = random.uniform(-options.rotation, options.rotation);
  draw.fill = options.fill;
  return draw;
}

namespace detail {

// What happens to one pixel, on the processor and on a device.

/// Divided, so that 255 becomes 1.
EOSIN_HOST_DEVICE inline float unit_of_byte(std::uint8_t byte) {
  return static_cast<float>(byte) / 255.0f;
}

EOSIN_HOST_DEVICE inline float grey(const float* p) {
  return 0.2989f * p[0] + 0.587f * p[1] + 0.114f * p[2];
}

EOSIN_HOST_DEVICE inline float clamp_unit(float x) {
  return std::min(1.0f, std::max(0.0f, x));
}

/// Turns the hue of one pixel by a share of the circle.
EOSIN_HOST_DEVICE inline void turn_hue(float* p, float turn) {
  const float high = std::max(std::max(p[0], p[1]), p[2]), low = std::min(std::min(p[0], p[1]), p[2]),
              range = high - low;
  if (range <= 0) return;
  float sector = high == p[0]   ? (p[1] - p[2]) / range
                 : high == p[1] ? 2 + (p[2] - p[0]) / range
                                : 4 + (p[0] - p[1]) / range;
  sector = sector / 6 + turn;
  sector = (sector - std::floor(sector)) * 6;
  const float saturation = range / high;
  const int whole = static_cast<int>(sector);
  const float part = sector - static_cast<float>(whole);
  const float a = high * (1 - saturation), b = high * (1 - saturation * part), c = high * (1 - saturation * (1 - part));
  const float colours[6][3] = {{high, c, a}, {b, high, a}, {a, high, c}, {a, b, high}, {c, a, high}, {high, a, b}};
  std::copy_n(colours[whole % 6], 3, p);
}

/// Whether `draw` makes this change at all.
EOSIN_HOST_DEVICE inline bool changes(const Augmentation& draw, Augmentation::Colour colour) {
  switch (colour) {
    case Augmentation::Colour::brightness:
      return draw.brightness != 1;
    case Augmentation::Colour::contrast:
      return draw.contrast != 1;
    case Augmentation::Colour::saturation:
      return draw.saturation != 1;
    case Augmentation::Colour::hue:
      return draw.hue != 0;
  }
  return false;
}

/// Makes one change of colour to one pixel; `mean_grey` is that of the patch before it, which contrast alone reads.
EOSIN_HOST_DEVICE inline void change_colour(const Augmentation& draw, Augmentation::Colour colour, float mean_grey,
                                            float* p) {
  const auto blend = [p](float other, float factor) {
    for (int c = 0; c < 3; ++c) p[c] = clamp_unit(factor * p[c] + (1 - factor) * other);
  };
  switch (colour) {
    case Augmentation::Colour::brightness:
      for (int c = 0; c < 3; ++c) p[c] = clamp_unit(draw.brightness * p[c]);
      break;
    case Augmentation::Colour::contrast:
      blend(mean_grey, draw.contrast);
      break;
    case Augmentation::Colour::saturation:
      blend(grey(p), draw.saturation);
      break;
    case Augmentation::Colour::hue:
      turn_hue(p, draw.hue);
      break;
  }
}

EOSIN_HOST_DEVICE inline void normalise_pixel(PixelNormalisation normalisation, float* p) {
  if (normalisation == PixelNormalisation::bgr_bytes) {
    const float red = p[0];
    p[0] = p[2] * 255.0f;
    p[1] = p[1] * 255.0f;
    p[2] = red * 255.0f;
  } else if (normalisation == PixelNormalisation::imagenet) {
    constexpr auto mean = imagenet_mean;
    constexpr auto deviation = imagenet_deviation;
    for (std::size_t c = 0; c < 3; ++c) p[c] = (p[c] - mean[c]) / deviation[c];
  }
}

/// Where the pixels of a patch come from that is flipped and then rotated.
struct Orientation {
  Index width, height;
  bool turned, black, horizontal_flip, vertical_flip;
  double cosine, sine, centre_x, centre_y;

  Orientation(const Augmentation& draw, Index w, Index h)
      : width(w),
        height(h),
        turned(draw.angle != 0),
        black(draw.fill == RotationFill::black),
        horizontal_flip(draw.horizontal_flip),
        vertical_flip(draw.vertical_flip),
        cosine(std::cos(draw.angle * std::numbers::pi / 180)),
        sine(std::sin(draw.angle * std::numbers::pi / 180)),
        centre_x(0.5 * static_cast<double>(w - 1)),
        centre_y(0.5 * static_cast<double>(h - 1)) {}

  /// Number of the pixel that (x, y) comes from; -1 for black.
  EOSIN_HOST_DEVICE Index source(Index x, Index y) const {
    Index from_x = x, from_y = y;
    if (turned) {
      // y points down: the source of a counterclockwise turn lies clockwise of its target.
      const double dx = static_cast<double>(x) - centre_x, dy = static_cast<double>(y) - centre_y;
      from_x = static_cast<Index>(std::floor(cosine * dx - sine * dy + centre_x + 0.5));
      from_y = static_cast<Index>(std::floor(sine * dx + cosine * dy + centre_y + 0.5));
    }
    if (black && (from_x < 0 || from_x >= width || from_y < 0 || from_y >= height)) return -1;
    from_x = mirror_index(from_x, width);
    from_y = mirror_index(from_y, height);
    if (horizontal_flip) from_x = width - 1 - from_x;
    if (vertical_flip) from_y = height - 1 - from_y;
    return from_y * width + from_x;
  }
};

}  // namespace detail

/// Applies the colour part of `draw` to interleaved RGB pixels in [0, 1], in place.
inline void jitter_colours(std::span<float> rgb, const Augmentation& draw) {
  require_value(rgb.size() % 3 == 0, "jitter_colours", "the number of values is not a multiple of 3");
  for (const auto colour : draw.order) {
    if (!detail::changes(draw, colour) || rgb.empty()) continue;
    float mean = 0;
    if (colour == Augmentation::Colour::contrast) {
      double sum = 0;
      for (std::size_t i = 0; i < rgb.size(); i += 3) sum += static_cast<double>(detail::grey(&rgb[i]));
      mean = static_cast<float>(sum / static_cast<double>(rgb.size() / 3));
    }
    for (std::size_t i = 0; i < rgb.size(); i += 3) detail::change_colour(draw, colour, mean, &rgb[i]);
  }
}

/// Writes `rgb` [height x width x 3], flipped and then rotated as `draw` says, to `out` of the same size; the two must
/// not overlap.
inline void orient_pixels(std::span<const float> rgb, Index width, Index height, const Augmentation& draw,
                          std::span<float> out) {
  require_size("orient_pixels", "rgb", "values", static_cast<Index>(rgb.size()), 3 * width * height,
               "width * height * 3");
  require_size("orient_pixels", "out", "values", static_cast<Index>(out.size()), 3 * width * height,
               "width * height * 3");
  const detail::Orientation orientation(draw, width, height);
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      float* to = out.data() + 3 * (y * width + x);
      const Index from = orientation.source(x, y);
      if (from < 0) {
        std::fill_n(to, 3, 0.0f);
      } else {
        std::copy_n(rgb.data() + 3 * from, 3, to);
      }
    }
}

/// Normalises interleaved RGB pixels in [0, 1], in place.
inline void normalise_pixels(std::span<float> rgb, PixelNormalisation normalisation) {
  require_value(rgb.size() % 3 == 0, "normalise_pixels", "the number of values is not a multiple of 3");
  if (normalisation == PixelNormalisation::unit) return;
  for (std::size_t i = 0; i < rgb.size(); i += 3) detail::normalise_pixel(normalisation, &rgb[i]);
}

/// out [height x width x 3] of a patch after `draw` and normalisation. `draw` = {} leaves the pixels as they are.
inline void render_patch(const Image& patch, const Augmentation& draw, PixelNormalisation normalisation,
                         std::span<float> out) {
  detail::require_image("render_patch", patch);
  require_size("render_patch", "out", "values", static_cast<Index>(out.size()), static_cast<Index>(patch.pixels.size()),
               "those of the patch");
  const bool oriented = draw.angle != 0 || draw.horizontal_flip || draw.vertical_flip;
  std::vector<float> buffer(oriented ? out.size() : 0);
  const std::span<float> pixels = oriented ? std::span<float>(buffer) : out;
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = detail::unit_of_byte(patch.pixels[i]);
  jitter_colours(pixels, draw);
  if (oriented) orient_pixels(pixels, patch.width, patch.height, draw, out);
  normalise_pixels(out, normalisation);
}

}  // namespace eosin::vision

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/vision/augmentation.cuh>
#endif
