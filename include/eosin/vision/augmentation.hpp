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

inline float grey(const float* p) {
  return 0.2989f * p[0] + 0.587f * p[1] + 0.114f * p[2];
}

inline float clamp_unit(float x) {
  return std::min(1.0f, std::max(0.0f, x));
}

/// Turns the hue of one pixel by a share of the circle.
inline void turn_hue(float* p, float turn) {
  const float high = std::max({p[0], p[1], p[2]}), low = std::min({p[0], p[1], p[2]}), range = high - low;
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

}  // namespace detail

/// Applies the colour part of `draw` to interleaved RGB pixels in [0, 1], in place.
inline void jitter_colours(std::span<float> rgb, const Augmentation& draw) {
  require_value(rgb.size() % 3 == 0, "jitter_colours", "the number of values is not a multiple of 3");
  const auto blend = [](float x, float other, float factor) {
    return detail::clamp_unit(factor * x + (1 - factor) * other);
  };
  for (const auto colour : draw.order) {
    switch (colour) {
      case Augmentation::Colour::brightness:
        if (draw.brightness != 1)
          for (float& x : rgb) x = detail::clamp_unit(draw.brightness * x);
        break;
      case Augmentation::Colour::contrast: {
        if (draw.contrast == 1 || rgb.empty()) break;
        double sum = 0;
        for (std::size_t i = 0; i < rgb.size(); i += 3) sum += static_cast<double>(detail::grey(&rgb[i]));
        const float mean = static_cast<float>(sum / static_cast<double>(rgb.size() / 3));
        for (float& x : rgb) x = blend(x, mean, draw.contrast);
        break;
      }
      case Augmentation::Colour::saturation:
        if (draw.saturation == 1) break;
        for (std::size_t i = 0; i < rgb.size(); i += 3) {
          const float grey = detail::grey(&rgb[i]);
          for (std::size_t c = 0; c < 3; ++c) rgb[i + c] = blend(rgb[i + c], grey, draw.saturation);
        }
        break;
      case Augmentation::Colour::hue:
        if (draw.hue == 0) break;
        for (std::size_t i = 0; i < rgb.size(); i += 3) detail::turn_hue(&rgb[i], draw.hue);
        break;
    }
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
  const double radians = draw.angle * std::numbers::pi / 180;
  const double cosine = std::cos(radians), sine = std::sin(radians);
  const double centre_x = 0.5 * static_cast<double>(width - 1), centre_y = 0.5 * static_cast<double>(height - 1);
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      Index from_x = x, from_y = y;
      if (draw.angle != 0) {
        // y points down: the source of a counterclockwise turn lies clockwise of its target.
        const double dx = static_cast<double>(x) - centre_x, dy = static_cast<double>(y) - centre_y;
        from_x = static_cast<Index>(std::floor(cosine * dx - sine * dy + centre_x + 0.5));
        from_y = static_cast<Index>(std::floor(sine * dx + cosine * dy + centre_y + 0.5));
      }
      float* to = out.data() + 3 * (y * width + x);
      if (draw.fill == RotationFill::black && (from_x < 0 || from_x >= width || from_y < 0 || from_y >= height)) {
        std::fill_n(to, 3, 0.0f);
        continue;
      }
      from_x = mirror_index(from_x, width);
      from_y = mirror_index(from_y, height);
      if (draw.horizontal_flip) from_x = width - 1 - from_x;
      if (draw.vertical_flip) from_y = height - 1 - from_y;
      std::copy_n(rgb.data() + 3 * (from_y * width + from_x), 3, to);
    }
}

/// Normalises interleaved RGB pixels in [0, 1], in place.
inline void normalise_pixels(std::span<float> rgb, PixelNormalisation normalisation) {
  require_value(rgb.size() % 3 == 0, "normalise_pixels", "the number of values is not a multiple of 3");
  if (normalisation == PixelNormalisation::unit) return;
  for (std::size_t i = 0; i < rgb.size(); i += 3) {
    if (normalisation == PixelNormalisation::bgr_bytes) {
      std::swap(rgb[i], rgb[i + 2]);
      for (std::size_t c = 0; c < 3; ++c) rgb[i + c] *= 255.0f;
    } else {
      for (std::size_t c = 0; c < 3; ++c) rgb[i + c] = (rgb[i + c] - imagenet_mean[c]) / imagenet_deviation[c];
    }
  }
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
  // Divided, so that 255 becomes 1.
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(patch.pixels[i]) / 255.0f;
  jitter_colours(pixels, draw);
  if (oriented) orient_pixels(pixels, patch.width, patch.height, draw, out);
  normalise_pixels(out, normalisation);
}

}  // namespace eosin::vision
