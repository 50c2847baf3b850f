#pragma once

// Nuclei in a plane of haematoxylin amounts, two ways that complete each other.
//
// Segments: the plane, smoothed, above a threshold (Otsu, "A threshold selection method from gray-level histograms",
// IEEE Trans SMC 9, 1979), in 4-connected components with area, second moments and mean amount. Touching nuclei come
// out as one segment. Blobs: local maxima of the normalised negative Laplacian of Gaussian over position and a few
// scales (Lindeberg, "Feature detection with automatic scale selection", IJCV 30, 1998), one per nucleus even where
// they touch; the two principal curvatures at the maximum give the elongation, the scale of the maximum the size.

#include <eosin/core/config.hpp>
#include <eosin/vision/texture.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace eosin::vision {

/// Otsu's threshold of a sample: it parts the values such that the variance between the two parts is largest; from a
/// histogram of 256 bins over [low, high]. The middle of the range for a sample in a single bin.
inline float otsu_threshold(std::span<const float> values, float low, float high) {
  std::array<double, 256> count{};
  const float scale = 256.0f / (high - low);
  for (float v : values) count[static_cast<std::size_t>(std::clamp((v - low) * scale, 0.0f, 255.0f))] += 1.0;
  double total = 0.0, sum = 0.0;
  for (std::size_t b = 0; b < count.size(); ++b) {
    total += count[b];
    sum += count[b] * static_cast<double>(b);
  }
  double below = 0.0, below_sum = 0.0, best = 0.0, place = 127.5;
  for (std::size_t b = 0; b + 1 < count.size(); ++b) {
    below += count[b];
    below_sum += count[b] * static_cast<double>(b);
    const double above = total - below;
    if (below == 0.0 || above == 0.0) continue;
    const double d = below_sum / below - (sum - below_sum) / above;
    const double between = below * above * d * d;
    if (between > best) {
      best = between;
      place = static_cast<double>(b) + 1.0;
    }
  }
  return low + static_cast<float>(place) / scale;
}

/// A connected part of the plane above the threshold.
struct NuclearSegment {
  double x = 0.0, y = 0.0;    ///< centroid
  double area = 0.0;          ///< pixels
  double eccentricity = 0.0;  ///< of the ellipse with the same second moments: 0 circle, towards 1 line
  double amount = 0.0;        ///< mean of the plane
};

/// 4-connected components of plane > threshold with at least `smallest` pixels, in the order of their first pixels.
inline std::vector<NuclearSegment> nuclear_segments(const Plane& plane, float threshold, Index smallest) {
  std::vector<NuclearSegment> segments;
  std::vector<std::uint8_t> open(plane.values.size());
  for (std::size_t i = 0; i < open.size(); ++i) open[i] = plane.values[i] > threshold ? 1 : 0;
  std::vector<Index> stack;
  for (Index start = 0; start < static_cast<Index>(open.size()); ++start) {
    if (open[static_cast<std::size_t>(start)] == 0) continue;
    double n = 0.0, sx = 0.0, sy = 0.0, sxx = 0.0, syy = 0.0, sxy = 0.0, amount = 0.0;
    stack.assign(1, start);
    open[static_cast<std::size_t>(start)] = 0;
    while (!stack.empty()) {
      const Index at = stack.back();
      stack.pop_back();
      const Index px = at % plane.width, py = at / plane.width;
      // Relative to the first pixel, so that the moments do not cancel.
      const auto dx = static_cast<double>(px - start % plane.width), dy = static_cast<double>(py - start / plane.width);
      n += 1.0;
      sx += dx;
      sy += dy;
      sxx += dx * dx;
      syy += dy * dy;
      sxy += dx * dy;
      amount += static_cast<double>(plane.values[static_cast<std::size_t>(at)]);
      const auto visit = [&](Index next) {
        if (open[static_cast<std::size_t>(next)] == 0) return;
        open[static_cast<std::size_t>(next)] = 0;
        stack.push_back(next);
      };
      if (px > 0) visit(at - 1);
      if (px + 1 < plane.width) visit(at + 1);
      if (py > 0) visit(at - plane.width);
      if (py + 1 < plane.height) visit(at + plane.width);
    }
    if (n < static_cast<double>(smallest)) continue;
    // 1/12 is the variance of a pixel's own square.
    const double vx = sxx / n - sx / n * (sx / n) + 1.0 / 12.0, vy = syy / n - sy / n * (sy / n) + 1.0 / 12.0;
    const double c = sxy / n - sx / n * (sy / n);
    const double spread = std::sqrt((vx - vy) * (vx - vy) + 4.0 * c * c);
    const double large = 0.5 * (vx + vy + spread), small = 0.5 * (vx + vy - spread);
    segments.push_back({static_cast<double>(start % plane.width) + sx / n,
                        static_cast<double>(start / plane.width) + sy / n, n,
                        std::sqrt(std::max(0.0, 1.0 - small / large)), amount / n});
  }
  return segments;
}

/// A local maximum of the scale-normalised blob response.
struct NuclearBlob {
  Index x = 0, y = 0;
  double sigma = 0.0;       ///< scale of the maximum; a disc of radius r answers most strongly at r / sqrt(2)
  double response = 0.0;    ///< sigma^2 times the negative Laplacian, in units of the plane
  double elongation = 0.0;  ///< 1 - smaller / larger principal curvature: 0 round, 1 a ridge
  double amount = 0.0;      ///< of the plane smoothed at that scale
};

/// Scratch of nuclear_blobs.
struct BlobScratch {
  FilterScratch filter;
  std::vector<Plane> smooth, response;
};

/// Maxima over 3 x 3 pixels and all `sigmas` (ascending, pixels) with a response of at least `least`, by rows.
inline std::vector<NuclearBlob> nuclear_blobs(const Plane& plane, std::span<const double> sigmas, double least,
                                              BlobScratch& scratch) {
  const Index w = plane.width, h = plane.height;
  const std::size_t scales = sigmas.size();
  scratch.smooth.resize(scales);
  scratch.response.resize(scales);
  for (std::size_t s = 0; s < scales; ++s) {
    smooth_separable(plane, gaussian_half(sigmas[s]), scratch.smooth[s], scratch.filter);
    const Plane& p = scratch.smooth[s];
    Plane& r = scratch.response[s];
    r.resize(w, h);
    std::fill(r.values.begin(), r.values.end(), 0.0f);
    const auto factor = static_cast<float>(sigmas[s] * sigmas[s]);
    for (Index y = 1; y + 1 < h; ++y) {
      const float *a = p.row(y - 1), *b = p.row(y), *c = p.row(y + 1);
      float* out = r.row(y);
      EOSIN_VECTORISE
      for (Index x = 1; x < w - 1; ++x) out[x] = factor * (4.0f * b[x] - a[x] - c[x] - b[x - 1] - b[x + 1]);
    }
  }
  std::vector<NuclearBlob> blobs;
  for (Index y = 1; y + 1 < h; ++y)
    for (Index x = 1; x + 1 < w; ++x) {
      std::size_t best = 0;
      for (std::size_t s = 1; s < scales; ++s)
        if (scratch.response[s](x, y) > scratch.response[best](x, y)) best = s;
      const float value = scratch.response[best](x, y);
      if (static_cast<double>(value) < least) continue;
      bool maximum = true;
      for (std::size_t s = 0; s < scales && maximum; ++s) {
        const Plane& r = scratch.response[s];
        for (Index dy = -1; dy <= 1 && maximum; ++dy)
          for (Index dx = -1; dx <= 1; ++dx) {
            if (dx == 0 && dy == 0) continue;
            const float other = r(x + dx, y + dy);
            // Of two equal neighbours the first in reading order counts.
            if (other > value || (other == value && (dy < 0 || (dy == 0 && dx < 0)))) {
              maximum = false;
              break;
            }
          }
      }
      if (!maximum) continue;
      const Plane& p = scratch.smooth[best];
      const auto xx = static_cast<double>(p(x - 1, y) + p(x + 1, y) - 2.0f * p(x, y));
      const auto yy = static_cast<double>(p(x, y - 1) + p(x, y + 1) - 2.0f * p(x, y));
      const auto xy = 0.25 * static_cast<double>(p(x + 1, y + 1) + p(x - 1, y - 1) - p(x - 1, y + 1) - p(x + 1, y - 1));
      const double spread = std::sqrt((xx - yy) * (xx - yy) + 4.0 * xy * xy);
      const double strong = -0.5 * (xx + yy - spread), weak = -0.5 * (xx + yy + spread);
      blobs.push_back({x, y, sigmas[best], static_cast<double>(value),
                       strong > 0.0 ? std::clamp(1.0 - weak / strong, 0.0, 1.0) : 0.0, static_cast<double>(p(x, y))});
    }
  return blobs;
}

}  // namespace eosin::vision
