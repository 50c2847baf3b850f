#pragma once

// Windows of a large image around spot centres.
//
// Coordinates are in pixels: (0, 0) is the centre of the top left pixel, x grows to the right and y downwards. Beyond
// the border the image is mirrored at its edge, the outermost pixel being repeated (d c b a | a b c d | d c b a), as
// often as the window needs. Windows are cut in whole pixels (extract_patch, extract_patches for every spot of a
// section) or shrunk to a given size by averaging (resample_window); reduce_image shrinks the image as a whole.

#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/vision/image.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace eosin::vision {

/// A position in an image, in pixels.
struct Point {
  double x = 0.0;
  double y = 0.0;
};

/// Position in [0, size) of pixel i of the mirrored image; size >= 1.
EOSIN_HOST_DEVICE inline Index mirror_index(Index i, Index size) {
  const Index period = 2 * size;
  Index phase = i % period;
  if (phase < 0) phase += period;
  return phase < size ? phase : period - 1 - phase;
}

namespace detail {

inline std::string point_text(Point p) {
  const auto tenths = [](double v) {
    if (!std::isfinite(v)) return std::string("not a finite number");
    if (std::abs(v) > 1e15) return std::string(v > 0 ? "above 1e15" : "below -1e15");
    const auto scaled = static_cast<long long>(std::llround(v * 10.0));
    const auto magnitude = scaled < 0 ? -scaled : scaled;
    return std::string(scaled < 0 ? "-" : "") + std::to_string(magnitude / 10) + "." + std::to_string(magnitude % 10);
  };
  return "(" + tenths(p.x) + ", " + tenths(p.y) + ")";
}

inline void require_image(std::string_view function, const Image& image) {
  if (image.width < 1 || image.height < 1 ||
      image.pixels.size() != static_cast<std::size_t>(3 * image.width * image.height))
    throw ShapeError(std::string(function) + ": image says " + std::to_string(image.width) + " x " +
                     std::to_string(image.height) + " pixels and holds " + std::to_string(image.pixels.size()) +
                     " bytes, expected 3 per pixel and at least one pixel");
}

}  // namespace detail

/// Throws ValueError, naming spot, coordinates and size of the image, unless every centre lies in the image.
/// `names` are the names of the spots, or empty: then a spot is called by its row.
inline void require_centres(const Image& image, std::span<const Point> centres,
                            std::span<const std::string> names = {}) {
  detail::require_image("require_centres", image);
  if (!names.empty())
    require_size("require_centres", "names", "names", static_cast<Index>(names.size()),
                 static_cast<Index>(centres.size()), "spots");
  for (std::size_t i = 0; i < centres.size(); ++i) {
    const Point p = centres[i];
    if (p.x >= -0.5 && p.y >= -0.5 && p.x < static_cast<double>(image.width) - 0.5 &&
        p.y < static_cast<double>(image.height) - 0.5)
      continue;
    const std::string spot = names.empty() ? "in row " + std::to_string(i) : "'" + names[i] + "'";
    throw ValueError("spot " + spot + " lies at pixel " + detail::point_text(p) + ", outside the image of " +
                     std::to_string(image.width) + " x " + std::to_string(image.height) +
                     " pixels: image smaller than the coordinates");
  }
}

/// The edge x edge pixels around `centre` (rounded to whole pixels; an even edge has one more pixel to the left and
/// above). Throws ShapeError for an empty image, ValueError for an edge below 1 or a centre outside the image.
inline Image extract_patch(const Image& image, Point centre, Index edge) {
  require_value(edge >= 1 && edge <= (Index{1} << 20), "extract_patch",
                "edge is " + std::to_string(edge) + " pixels, expected 1 to 1048576");
  require_centres(image, {&centre, 1});
  Image patch(edge, edge);
  const Index left = static_cast<Index>(std::floor(centre.x + 0.5)) - edge / 2;
  const Index top = static_cast<Index>(std::floor(centre.y + 0.5)) - edge / 2;
  const bool inside = left >= 0 && left + edge <= image.width;
  for (Index y = 0; y < edge; ++y) {
    const std::uint8_t* from = image.at(0, mirror_index(top + y, image.height));
    std::uint8_t* to = patch.at(0, y);
    if (inside) {
      std::copy_n(from + 3 * left, 3 * edge, to);
      continue;
    }
    for (Index x = 0; x < edge; ++x) std::copy_n(from + 3 * mirror_index(left + x, image.width), 3, to + 3 * x);
  }
  return patch;
}

/// One patch per spot, in the order of the spots; the usual edge is the pitch of the spots. Errors as extract_patch,
/// naming the spot.
inline std::vector<Image> extract_patches(CpuContext& context, const Image& image, std::span<const Point> centres,
                                          Index edge, std::span<const std::string> names = {}) {
  require_centres(image, centres, names);
  std::vector<Image> patches(centres.size());
  context.parallel_for(static_cast<Index>(centres.size()), 8, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      patches[static_cast<std::size_t>(i)] = extract_patch(image, centres[static_cast<std::size_t>(i)], edge);
  });
  return patches;
}

/// The square of `window` pixels around `centre` as size x size pixels, each the mean of the whole pixels of its
/// share of the square (box filter); where a share holds no pixel centre, the next pixel. Throws ShapeError for an
/// empty image, ValueError unless window lies in (0, 1048576] and size in [1, 16384]. Cost: window squared.
inline Image resample_window(const Image& image, Point centre, double window, Index size) {
  detail::require_image("resample_window", image);
  require_value(std::isfinite(centre.x) && std::isfinite(centre.y), "resample_window", "the centre is not finite");
  require_value(window > 0.0 && window <= 1048576.0, "resample_window", "window is outside (0, 1048576]");
  require_value(size >= 1 && size <= 16384, "resample_window", "size is outside [1, 16384]");
  // Pixel p belongs to share k when its centre lies in [edge_k, edge_k+1): whole-pixel borders of the shares.
  const auto borders = [&](double middle) {
    std::vector<Index> at(static_cast<std::size_t>(size) + 1);
    const double step = window / static_cast<double>(size);
    for (Index k = 0; k <= size; ++k)
      at[static_cast<std::size_t>(k)] =
          static_cast<Index>(std::ceil(middle - 0.5 * window + step * static_cast<double>(k)));
    return at;
  };
  const std::vector<Index> xs = borders(centre.x), ys = borders(centre.y);
  const Index first = xs.front(), last = std::max(xs.back(), first + 1);
  std::vector<Index> source(static_cast<std::size_t>(last - first));
  for (Index x = first; x < last; ++x) source[static_cast<std::size_t>(x - first)] = 3 * mirror_index(x, image.width);

  Image result(size, size);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(3 * size));
  for (Index row = 0; row < size; ++row) {
    const Index y0 = ys[static_cast<std::size_t>(row)], y1 = std::max(ys[static_cast<std::size_t>(row) + 1], y0 + 1);
    std::fill(sums.begin(), sums.end(), std::uint64_t{0});
    for (Index y = y0; y < y1; ++y) {
      const std::uint8_t* line = image.at(0, mirror_index(y, image.height));
      for (Index k = 0; k < size; ++k) {
        const Index x0 = xs[static_cast<std::size_t>(k)];
        const Index x1 = std::max(xs[static_cast<std::size_t>(k) + 1], x0 + 1);
        std::uint32_t r = 0, g = 0, b = 0;
        for (Index x = std::min(x0, last - 1); x < std::min(x1, last); ++x) {
          const std::uint8_t* p = line + source[static_cast<std::size_t>(x - first)];
          r += p[0];
          g += p[1];
          b += p[2];
        }
        std::uint64_t* sum = sums.data() + 3 * k;
        sum[0] += r;
        sum[1] += g;
        sum[2] += b;
      }
    }
    std::uint8_t* to = result.at(0, row);
    for (Index k = 0; k < size; ++k) {
      const Index x0 = std::min(xs[static_cast<std::size_t>(k)], last - 1);
      const Index x1 = std::min(std::max(xs[static_cast<std::size_t>(k) + 1], x0 + 1), last);
      const auto count = static_cast<std::uint64_t>((y1 - y0) * (x1 - x0));
      for (Index c = 0; c < 3; ++c)
        to[3 * k + c] = static_cast<std::uint8_t>((sums[static_cast<std::size_t>(3 * k + c)] + count / 2) / count);
    }
  }
  return result;
}

/// The image at 1/factor of its width and height (rounded up): means over squares of factor x factor pixels, cut at the
/// right and lower border. A position p of the image is (p + 0.5) / factor - 0.5 of the result. Throws ShapeError for
/// an empty image, ValueError unless factor lies in [1, 1024].
inline Image reduce_image(CpuContext& context, const Image& image, Index factor) {
  detail::require_image("reduce_image", image);
  require_value(factor >= 1 && factor <= 1024, "reduce_image", "factor is outside [1, 1024]");
  Image result((image.width + factor - 1) / factor, (image.height + factor - 1) / factor);
  context.parallel_for(result.height, 32, [&](Index begin, Index end) {
    std::vector<std::uint32_t> sums(static_cast<std::size_t>(3 * result.width));
    for (Index row = begin; row < end; ++row) {
      std::fill(sums.begin(), sums.end(), 0u);
      const Index y0 = row * factor, y1 = std::min(y0 + factor, image.height);
      for (Index y = y0; y < y1; ++y) {
        const std::uint8_t* in = image.at(0, y);
        for (Index k = 0; k < result.width; ++k) {
          std::uint32_t r = 0, g = 0, b = 0;
          const std::uint8_t* last = image.at(std::min((k + 1) * factor, image.width) - 1, y);
          for (; in <= last; in += 3) {
            r += in[0];
            g += in[1];
            b += in[2];
          }
          sums[static_cast<std::size_t>(3 * k)] += r;
          sums[static_cast<std::size_t>(3 * k + 1)] += g;
          sums[static_cast<std::size_t>(3 * k + 2)] += b;
        }
      }
      std::uint8_t* out = result.at(0, row);
      for (Index k = 0; k < result.width; ++k) {
        const Index columns = std::min((k + 1) * factor, image.width) - k * factor;
        const auto count = static_cast<std::uint32_t>(columns * (y1 - y0));
        for (Index c = 0; c < 3; ++c)
          out[3 * k + c] = static_cast<std::uint8_t>((sums[static_cast<std::size_t>(3 * k + c)] + count / 2) / count);
      }
    }
  });
  return result;
}

}  // namespace eosin::vision
