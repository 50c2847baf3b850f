#pragma once

// Texture of grey planes: a binomial pyramid (Burt and Adelson, "The Laplacian pyramid as a compact image code", IEEE
// Trans Commun 31, 1983), its band energies, structure tensors (Bigun and Granlund, "Optimal orientation detection of
// linear symmetry", ICCV 1987), rotation-invariant uniform local binary patterns (Ojala, Pietikainen and Maenpaa,
// "Multiresolution gray-scale and rotation invariant texture classification with local binary patterns", IEEE TPAMI
// 24, 2002), co-occurrence statistics (Haralick, Shanmugam and Dinstein, "Textural features for image
// classification", IEEE Trans SMC 3, 1973) and second-order scattering (Bruna and Mallat, "Invariant scattering
// convolution networks", IEEE TPAMI 35, 2013) with isotropic gradient magnitudes in the place of wavelets.
//
// Everything is invariant to mirroring and to turns by a right angle, because the orientation of a section on its
// slide means nothing. Borders are mirrored.

#include <eosin/core/config.hpp>
#include <eosin/core/error.hpp>
#include <eosin/vision/patches.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace eosin::vision {

/// A grey image of floats, row-major.
struct Plane {
  Index width = 0;
  Index height = 0;
  std::vector<float> values;

  Plane() = default;
  Plane(Index w, Index h) { resize(w, h); }
  void resize(Index w, Index h) {
    width = w;
    height = h;
    values.resize(static_cast<std::size_t>(w * h));
  }
  float* row(Index y) { return values.data() + y * width; }
  const float* row(Index y) const { return values.data() + y * width; }
  float& operator()(Index x, Index y) { return values[static_cast<std::size_t>(y * width + x)]; }
  float operator()(Index x, Index y) const { return values[static_cast<std::size_t>(y * width + x)]; }
};

/// Scratch that the filters reuse from call to call.
struct FilterScratch {
  std::vector<float> line;
  Plane rows;
};

/// Convolves rows and columns with a symmetric kernel given by its right half: half[0] in the middle, half[k] at
/// distance k. `to` may be `from`.
inline void smooth_separable(const Plane& from, std::span<const float> half, Plane& to, FilterScratch& scratch) {
  const Index w = from.width, h = from.height, reach = static_cast<Index>(half.size()) - 1;
  scratch.rows.resize(w, h);
  scratch.line.resize(static_cast<std::size_t>(w + 2 * reach));
  for (Index y = 0; y < h; ++y) {
    const float* in = from.row(y);
    float* padded = scratch.line.data();
    std::copy_n(in, w, padded + reach);
    for (Index k = 1; k <= reach; ++k) {
      padded[reach - k] = in[mirror_index(-k, w)];
      padded[reach + w - 1 + k] = in[mirror_index(w - 1 + k, w)];
    }
    float* out = scratch.rows.row(y);
    const float* middle = padded + reach;
    EOSIN_VECTORISE
    for (Index x = 0; x < w; ++x) out[x] = half[0] * middle[x];
    for (Index k = 1; k <= reach; ++k) {
      const float weight = half[static_cast<std::size_t>(k)];
      EOSIN_VECTORISE
      for (Index x = 0; x < w; ++x) out[x] += weight * (middle[x - k] + middle[x + k]);
    }
  }
  to.resize(w, h);
  for (Index y = 0; y < h; ++y) {
    float* out = to.row(y);
    const float* in = scratch.rows.row(y);
    EOSIN_VECTORISE
    for (Index x = 0; x < w; ++x) out[x] = half[0] * in[x];
    for (Index k = 1; k <= reach; ++k) {
      const float weight = half[static_cast<std::size_t>(k)];
      const float* above = scratch.rows.row(mirror_index(y - k, h));
      const float* below = scratch.rows.row(mirror_index(y + k, h));
      EOSIN_VECTORISE
      for (Index x = 0; x < w; ++x) out[x] += weight * (above[x] + below[x]);
    }
  }
}

/// Right half of a Gaussian kernel of deviation sigma > 0 pixels, cut at three deviations, with sum 1 over both sides.
inline std::vector<float> gaussian_half(double sigma) {
  const Index reach = std::max<Index>(1, static_cast<Index>(std::ceil(3.0 * sigma)));
  std::vector<float> half(static_cast<std::size_t>(reach) + 1);
  double sum = 0.0;
  for (Index k = 0; k <= reach; ++k) {
    const double z = static_cast<double>(k) / sigma;
    const double value = std::exp(-0.5 * z * z);
    half[static_cast<std::size_t>(k)] = static_cast<float>(value);
    sum += k == 0 ? value : 2.0 * value;
  }
  for (float& value : half) value = static_cast<float>(value / sum);
  return half;
}

/// The binomial filter [1 4 6 4 1] / 16 in both directions.
inline void smooth_binomial(const Plane& from, Plane& to, FilterScratch& scratch) {
  static constexpr std::array<float, 3> half{0.375f, 0.25f, 0.0625f};
  smooth_separable(from, half, to, scratch);
}

/// Every second pixel of every second row.
inline void halve(const Plane& from, Plane& to) {
  to.resize((from.width + 1) / 2, (from.height + 1) / 2);
  for (Index y = 0; y < to.height; ++y) {
    const float* in = from.row(2 * y);
    float* out = to.row(y);
    for (Index x = 0; x < to.width; ++x) out[x] = in[2 * x];
  }
}

struct Moments {
  double mean = 0.0;
  double deviation = 0.0;  ///< root of the mean squared difference from the mean
};

inline Moments moments(std::span<const float> values) {
  Moments result;
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  double sum = 0.0;
  for (float v : values) sum += static_cast<double>(v);
  result.mean = sum / n;
  double second = 0.0;
  for (float v : values) {
    const double d = static_cast<double>(v) - result.mean;
    second += d * d;
  }
  result.deviation = std::sqrt(second / n);
  return result;
}

/// Values at the given shares (0 to 1) of the sample, from a histogram of 256 bins over [low, high]; values outside
/// count in the outermost bins. Returns one value per share, linear within a bin; `low` for an empty sample.
template <std::size_t N>
std::array<double, N> quantiles(std::span<const float> values, float low, float high,
                                const std::array<double, N>& shares) {
  std::array<Index, 256> count{};
  const float scale = 256.0f / (high - low);
  for (float v : values) ++count[static_cast<std::size_t>(std::clamp((v - low) * scale, 0.0f, 255.0f))];
  std::array<double, N> result{};
  for (std::size_t s = 0; s < N; ++s) {
    const double wanted = shares[s] * static_cast<double>(values.size());
    double below = 0.0;
    result[s] = static_cast<double>(low);
    for (std::size_t b = 0; b < count.size(); ++b) {
      const auto here = static_cast<double>(count[b]);
      if (here > 0.0 && below + here >= wanted) {
        result[s] =
            static_cast<double>(low) + (static_cast<double>(b) + (wanted - below) / here) / static_cast<double>(scale);
        break;
      }
      below += here;
    }
  }
  return result;
}

/// What one level of the pyramid says about a plane.
struct BandTexture {
  double energy = 0.0;     ///< root mean square of the Laplacian band (level minus its binomial smoothing)
  double gradient = 0.0;   ///< mean gradient magnitude
  double coherence = 0.0;  ///< local orientation of the structure tensor, 0 isotropic to 1 parallel, gradient-weighted
  double roughness = 0.0;  ///< mean gradient of the gradient magnitude, two levels coarser, over `gradient`
};

/// Scratch of band_texture.
struct BandScratch {
  FilterScratch filter;
  Plane smooth, band, xx, yy, xy, magnitude, coarse, coarser;
};

/// Texture of `level`; leaves its binomial smoothing in scratch.smooth, from which halve() makes the next level.
inline BandTexture band_texture(const Plane& level, BandScratch& scratch) {
  const Index w = level.width, h = level.height;
  BandTexture texture;
  smooth_binomial(level, scratch.smooth, scratch.filter);
  scratch.band.resize(w, h);
  for (std::size_t i = 0; i < level.values.size(); ++i)
    scratch.band.values[i] = level.values[i] - scratch.smooth.values[i];
  double energy = 0.0;
  for (float v : scratch.band.values) energy += static_cast<double>(v * v);
  texture.energy = std::sqrt(energy / static_cast<double>(w * h));

  for (Plane* plane : {&scratch.xx, &scratch.yy, &scratch.xy, &scratch.magnitude}) plane->resize(w, h);
  double gradient = 0.0, trace = 0.0;
  for (Index y = 0; y < h; ++y) {
    const float* above = scratch.smooth.row(std::max<Index>(y - 1, 0));
    const float* below = scratch.smooth.row(std::min(y + 1, h - 1));
    const float* here = scratch.smooth.row(y);
    float row_gradient = 0.0f, row_trace = 0.0f;
    for (Index x = 0; x < w; ++x) {
      const float gx = 0.5f * (here[std::min(x + 1, w - 1)] - here[std::max<Index>(x - 1, 0)]);
      const float gy = 0.5f * (below[x] - above[x]);
      scratch.xx(x, y) = gx * gx;
      scratch.yy(x, y) = gy * gy;
      scratch.xy(x, y) = gx * gy;
      const float magnitude = std::sqrt(gx * gx + gy * gy);
      scratch.magnitude(x, y) = magnitude;
      row_gradient += magnitude;
      row_trace += gx * gx + gy * gy;
    }
    gradient += static_cast<double>(row_gradient);
    trace += static_cast<double>(row_trace);
  }
  const auto n = static_cast<double>(w * h);
  texture.gradient = gradient / n;
  if (trace > 1e-12 * n) {
    for (Plane* plane : {&scratch.xx, &scratch.yy, &scratch.xy}) smooth_binomial(*plane, *plane, scratch.filter);
    double oriented = 0.0, local_trace = 0.0;
    for (std::size_t i = 0; i < scratch.xx.values.size(); ++i) {
      const float d = scratch.xx.values[i] - scratch.yy.values[i], c = 2.0f * scratch.xy.values[i];
      oriented += static_cast<double>(std::sqrt(d * d + c * c));
      local_trace += static_cast<double>(scratch.xx.values[i] + scratch.yy.values[i]);
    }
    texture.coherence = oriented / local_trace;
  }

  // Second order: how unevenly the gradients of this level are spread at a scale four times as large.
  smooth_binomial(scratch.magnitude, scratch.magnitude, scratch.filter);
  halve(scratch.magnitude, scratch.coarse);
  smooth_binomial(scratch.coarse, scratch.coarse, scratch.filter);
  halve(scratch.coarse, scratch.coarser);
  smooth_binomial(scratch.coarser, scratch.coarser, scratch.filter);
  const Plane& c = scratch.coarser;
  double second = 0.0;
  for (Index y = 0; y < c.height; ++y)
    for (Index x = 0; x < c.width; ++x) {
      const float gx = 0.5f * (c(std::min(x + 1, c.width - 1), y) - c(std::max<Index>(x - 1, 0), y));
      const float gy = 0.5f * (c(x, std::min(y + 1, c.height - 1)) - c(x, std::max<Index>(y - 1, 0)));
      second += static_cast<double>(std::sqrt(gx * gx + gy * gy));
    }
  if (texture.gradient > 1e-9) texture.roughness = second / static_cast<double>(c.width * c.height) / texture.gradient;
  return texture;
}

/// Shares of the ten rotation-invariant uniform patterns of the eight direct neighbours (0 to 8 brighter neighbours in
/// one run; the tenth: no single run). A neighbour counts as brighter from `margin` above the middle.
inline std::array<double, 10> local_binary_patterns(const Plane& plane, float margin) {
  static constexpr auto classes = [] {
    std::array<std::uint8_t, 256> table{};
    for (unsigned code = 0; code < 256; ++code) {
      int ones = 0, changes = 0;
      for (unsigned bit = 0; bit < 8; ++bit) {
        ones += static_cast<int>((code >> bit) & 1u);
        changes += ((code >> bit) & 1u) != ((code >> ((bit + 1) % 8)) & 1u) ? 1 : 0;
      }
      table[code] = static_cast<std::uint8_t>(changes <= 2 ? ones : 9);
    }
    return table;
  }();
  std::array<Index, 10> count{};
  for (Index y = 1; y + 1 < plane.height; ++y) {
    const float *a = plane.row(y - 1), *b = plane.row(y), *c = plane.row(y + 1);
    for (Index x = 1; x + 1 < plane.width; ++x) {
      const float middle = b[x] + margin;
      const std::array<float, 8> ring{a[x - 1], a[x], a[x + 1], b[x + 1], c[x + 1], c[x], c[x - 1], b[x - 1]};
      unsigned code = 0;
      for (unsigned bit = 0; bit < 8; ++bit) code |= (ring[bit] > middle ? 1u : 0u) << bit;
      ++count[classes[code]];
    }
  }
  const Index total = (plane.width - 2) * (plane.height - 2);
  std::array<double, 10> shares{};
  if (plane.width > 2 && plane.height > 2)
    for (std::size_t k = 0; k < 10; ++k) shares[k] = static_cast<double>(count[k]) / static_cast<double>(total);
  return shares;
}

/// Haralick's statistics of one co-occurrence matrix.
struct CoOccurrence {
  double contrast = 0.0;
  double homogeneity = 0.0;
  double uniformity = 0.0;  ///< angular second moment
  double entropy = 0.0;     ///< natural logarithm
  double correlation = 0.0;
};

/// Co-occurrence of grey levels at `distance` pixels, summed over the four directions and both senses; 16 levels over
/// [low, high].
inline CoOccurrence co_occurrence(const Plane& plane, Index distance, float low, float high) {
  constexpr Index levels = 16;
  const auto side = static_cast<std::size_t>(levels);
  std::vector<std::uint8_t> level(plane.values.size());
  const float scale = static_cast<float>(levels) / (high - low);
  for (std::size_t i = 0; i < level.size(); ++i)
    level[i] =
        static_cast<std::uint8_t>(std::clamp((plane.values[i] - low) * scale, 0.0f, static_cast<float>(levels) - 1.0f));
  std::array<Index, static_cast<std::size_t>(levels * levels)> count{};
  const std::array<std::array<Index, 2>, 4> steps{{{1, 0}, {0, 1}, {1, 1}, {-1, 1}}};
  for (const auto& step : steps) {
    const Index dx = step[0] * distance, dy = step[1] * distance;
    for (Index y = 0; y + dy < plane.height; ++y) {
      const std::uint8_t* here = level.data() + y * plane.width;
      const std::uint8_t* there = level.data() + (y + dy) * plane.width;
      for (Index x = std::max<Index>(0, -dx); x < plane.width - std::max<Index>(0, dx); ++x)
        ++count[static_cast<std::size_t>(here[x]) * side + there[x + dx]];
    }
  }
  CoOccurrence result;
  double total = 0.0;
  for (Index c : count) total += static_cast<double>(c);
  if (total == 0.0) return result;
  std::array<double, static_cast<std::size_t>(levels)> marginal{};
  for (std::size_t i = 0; i < side; ++i)
    for (std::size_t j = 0; j < side; ++j) {
      const double p = 0.5 * static_cast<double>(count[i * side + j] + count[j * side + i]) / total;
      if (p == 0.0) continue;
      const double d = static_cast<double>(i) - static_cast<double>(j);
      result.contrast += p * d * d;
      result.homogeneity += p / (1.0 + d * d);
      result.uniformity += p * p;
      result.entropy -= p * std::log(p);
      marginal[i] += p;
    }
  double mean = 0.0, variance = 0.0;
  for (std::size_t i = 0; i < side; ++i) mean += marginal[i] * static_cast<double>(i);
  for (std::size_t i = 0; i < side; ++i) {
    const double d = static_cast<double>(i) - mean;
    variance += marginal[i] * d * d;
  }
  // With equal marginals, E (i - j)^2 = 2 variance - 2 covariance.
  if (variance > 1e-12) result.correlation = 1.0 - 0.5 * result.contrast / variance;
  return result;
}

}  // namespace eosin::vision
