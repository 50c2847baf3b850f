#pragma once

// Haematoxylin and eosin: optical density, estimation of the stains of an image, separation and normalisation.
//
// A pixel of intensity I under illumination I0 has the optical density OD = -log((I + 1) / (I0 + 1)) per channel, in
// which the amounts of the stains add: OD = h * H + e * E + r * R with unit vectors H, E and R = H x E, so that the
// amounts are the inverse matrix times OD (Ruifrok and Johnston, "Quantification of histochemical staining by color
// deconvolution", Anal Quant Cytol Histol 23, 2001). The vectors of an image are the two robust extremes of the
// angle within the plane of its densities, and amounts are compared between images after division by their 99th
// percentile (Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009).

#include <eosin/core/context.hpp>
#include <eosin/core/error.hpp>
#include <eosin/vision/image.hpp>
#include <eosin/vision/patches.hpp>

#include <Eigen/Eigenvalues>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace eosin::vision {

/// How an image was stained and lit.
struct StainEstimate {
  /// Intensity of an empty part of the slide, per channel R, G, B.
  std::array<double, 3> white{255.0, 255.0, 255.0};
  /// Unit vectors of optical density (R, G, B); the defaults are those of Ruifrok and Johnston.
  std::array<double, 3> haematoxylin{0.6500, 0.7040, 0.2860};
  std::array<double, 3> eosin{0.0921, 0.9910, 0.0974};
  /// Amounts of haematoxylin and eosin at the upper percentile of the tissue.
  std::array<double, 2> strength{1.0, 1.0};
  /// Share of the sampled pixels that is tissue.
  double tissue_fraction = 0.0;
  /// Whether the vectors were estimated; false where the image has too little tissue or a single colour.
  bool estimated = false;
};

struct StainOptions {
  /// Mean optical density above which a pixel counts as tissue (Macenko's beta).
  double tissue_density = 0.15;
  /// Percentile of the angle at either end that is left out (Macenko's alpha), and of the amounts at the top.
  double percentile = 1.0;
  /// At most about this many pixels are looked at, on a regular grid.
  Index samples = 400000;
};

namespace detail {

inline double percentile_of(std::vector<double>& values, double percent) {
  const auto last = static_cast<double>(values.size() - 1);
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(std::llround(last * percent / 100.0));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

inline std::array<double, 3> unit(std::array<double, 3> v) {
  const double norm = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
  return {v[0] / norm, v[1] / norm, v[2] / norm};
}

}  // namespace detail

/// Optical density of intensity `value` (0 to 255) under illumination `white`.
inline double optical_density(double value, double white) {
  return -std::log((value + 1.0) / (white + 1.0));
}

/// Intensity of the empty slide per channel: mean over the pixels whose brightness lies between the 85th and the 99th
/// percentile (above lie specks of glare). Throws ShapeError for an empty image.
inline std::array<double, 3> estimate_white(const Image& image, Index samples = 400000) {
  detail::require_image("estimate_white", image);
  const Index step = std::max<Index>(
      1, static_cast<Index>(std::sqrt(static_cast<double>(image.width) * static_cast<double>(image.height) /
                                      static_cast<double>(std::max<Index>(1, samples)))));
  std::array<Index, 766> count{};
  std::array<std::array<double, 3>, 766> sums{};
  Index total = 0;
  for (Index y = step / 2; y < image.height; y += step)
    for (Index x = step / 2; x < image.width; x += step) {
      const std::uint8_t* p = image.at(x, y);
      const std::size_t brightness = static_cast<std::size_t>(p[0]) + p[1] + p[2];
      ++count[brightness];
      for (std::size_t c = 0; c < 3; ++c) sums[brightness][c] += p[c];
      ++total;
    }
  std::array<double, 3> white{};
  double used = 0.0;
  Index below = 0;
  for (std::size_t b = 0; b < count.size(); ++b) {
    const Index through = below + count[b];
    const bool overlaps = 100 * through > 85 * total && 100 * below <= 99 * total;
    below = through;
    if (!overlaps || count[b] == 0) continue;
    for (std::size_t c = 0; c < 3; ++c) white[c] += sums[b][c];
    used += static_cast<double>(count[b]);
  }
  for (double& w : white) w = used > 0.0 ? w / used : 255.0;
  return white;
}

/// Illumination, stain vectors and strengths of one image. Where the image has fewer than 200 sampled pixels of
/// tissue, or its densities lie on one line, the vectors are Ruifrok and Johnston's and `estimated` is false.
/// Throws ShapeError for an empty image, ValueError for options out of range. Cost: the samples, sorted in part.
inline StainEstimate estimate_stains(const Image& image, const StainOptions& options = {}) {
  require_value(options.percentile > 0.0 && options.percentile < 50.0, "estimate_stains",
                "percentile is outside (0, 50)");
  require_value(options.samples >= 1, "estimate_stains", "samples is below 1");
  StainEstimate estimate;
  estimate.white = estimate_white(image, options.samples);

  std::array<std::array<double, 256>, 3> density{};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t v = 0; v < 256; ++v) density[c][v] = optical_density(static_cast<double>(v), estimate.white[c]);
  const Index step = std::max<Index>(
      1, static_cast<Index>(std::sqrt(static_cast<double>(image.width) * static_cast<double>(image.height) /
                                      static_cast<double>(options.samples))));
  std::vector<Eigen::Vector3d> tissue;
  Index total = 0;
  for (Index y = step / 2; y < image.height; y += step)
    for (Index x = step / 2; x < image.width; x += step) {
      const std::uint8_t* p = image.at(x, y);
      const Eigen::Vector3d od(density[0][p[0]], density[1][p[1]], density[2][p[2]]);
      ++total;
      if (od.mean() > options.tissue_density) tissue.push_back(od);
    }
  estimate.tissue_fraction = total > 0 ? static_cast<double>(tissue.size()) / static_cast<double>(total) : 0.0;
  if (tissue.size() < 200) return estimate;

  Eigen::Vector3d mean = Eigen::Vector3d::Zero();
  for (const auto& od : tissue) mean += od;
  mean /= static_cast<double>(tissue.size());
  Eigen::Matrix3d covariance = Eigen::Matrix3d::Zero();
  for (const auto& od : tissue) covariance += (od - mean) * (od - mean).transpose();
  const Eigen::SelfAdjointEigenSolver<Eigen::Matrix3d> solver(covariance);
  Eigen::Vector3d first = solver.eigenvectors().col(2), second = solver.eigenvectors().col(1);
  if (first.sum() < 0.0) first = -first;
  if (second[0] < 0.0) second = -second;

  std::vector<double> angles(tissue.size());
  for (std::size_t i = 0; i < tissue.size(); ++i) angles[i] = std::atan2(tissue[i].dot(second), tissue[i].dot(first));
  const double low = detail::percentile_of(angles, options.percentile);
  const double high = detail::percentile_of(angles, 100.0 - options.percentile);
  Eigen::Vector3d a = std::cos(low) * first + std::sin(low) * second;
  Eigen::Vector3d b = std::cos(high) * first + std::sin(high) * second;
  // Haematoxylin absorbs more of the red than eosin does.
  if (a.normalized()[0] < b.normalized()[0]) std::swap(a, b);
  a = a.cwiseMax(1e-3).normalized();
  b = b.cwiseMax(1e-3).normalized();
  constexpr double smallest_angle = 0.1;  // radians; below it the two stains cannot be told apart
  if (std::acos(std::min(1.0, a.dot(b))) > smallest_angle) {
    for (std::size_t c = 0; c < 3; ++c) {
      estimate.haematoxylin[c] = a[static_cast<Eigen::Index>(c)];
      estimate.eosin[c] = b[static_cast<Eigen::Index>(c)];
    }
    estimate.estimated = true;
  }

  Eigen::Matrix3d stains;
  for (std::size_t c = 0; c < 3; ++c) {
    const auto row = static_cast<Eigen::Index>(c);
    stains(row, 0) = estimate.haematoxylin[c];
    stains(row, 1) = estimate.eosin[c];
  }
  stains.col(2) = Eigen::Vector3d(stains.col(0)).cross(Eigen::Vector3d(stains.col(1))).normalized();
  const Eigen::Matrix3d inverse = stains.inverse();
  for (Eigen::Index s = 0; s < 2; ++s) {
    std::vector<double> amounts(tissue.size());
    for (std::size_t i = 0; i < tissue.size(); ++i) amounts[i] = inverse.row(s).dot(tissue[i]);
    estimate.strength[static_cast<std::size_t>(s)] =
        std::max(0.05, detail::percentile_of(amounts, 100.0 - options.percentile));
  }
  return estimate;
}

/// Colour to amounts of stain by table: three additions per pixel and stain.
class StainSeparator {
 public:
  /// Amounts come out relative to the strengths of the estimate (about 0 to 1 in tissue); the residual, which has no
  /// strength of its own, in optical density.
  explicit StainSeparator(const StainEstimate& estimate) {
    const auto h = detail::unit(estimate.haematoxylin), e = detail::unit(estimate.eosin);
    Eigen::Matrix3d stains;
    for (std::size_t c = 0; c < 3; ++c) {
      stains(static_cast<Eigen::Index>(c), 0) = h[c];
      stains(static_cast<Eigen::Index>(c), 1) = e[c];
    }
    const Eigen::Vector3d normal = Eigen::Vector3d(stains.col(0)).cross(Eigen::Vector3d(stains.col(1)));
    require_value(normal.norm() > 1e-3, "StainSeparator", "the stain vectors are parallel or not finite");
    stains.col(2) = normal.normalized();
    const Eigen::Matrix3d inverse = stains.inverse();
    const std::array<double, 3> scale{1.0 / estimate.strength[0], 1.0 / estimate.strength[1], 1.0};
    for (std::size_t c = 0; c < 3; ++c)
      for (std::size_t v = 0; v < 256; ++v) {
        const double od = optical_density(static_cast<double>(v), estimate.white[c]);
        for (std::size_t s = 0; s < 3; ++s)
          table_[c][v][s] =
              static_cast<float>(scale[s] * inverse(static_cast<Eigen::Index>(s), static_cast<Eigen::Index>(c)) * od);
        table_[c][v][3] = static_cast<float>(od / 3.0);
      }
  }

  /// Haematoxylin, eosin, residual and mean optical density of one pixel.
  std::array<float, 4> operator()(const std::uint8_t* rgb) const {
    const auto &r = table_[0][rgb[0]], &g = table_[1][rgb[1]], &b = table_[2][rgb[2]];
    return {r[0] + g[0] + b[0], r[1] + g[1] + b[1], r[2] + g[2] + b[2], r[3] + g[3] + b[3]};
  }

 private:
  std::array<std::array<std::array<float, 4>, 256>, 3> table_{};
};

/// Repaints `image` as if it had been stained and lit like `reference` (Macenko et al. 2009): the amounts of both
/// stains are kept relative to their strengths, the residual is dropped.
inline Image normalise_stains(CpuContext& context, const Image& image, const StainEstimate& estimate,
                              const StainEstimate& reference) {
  detail::require_image("normalise_stains", image);
  const StainSeparator separator(estimate);
  const auto h = detail::unit(reference.haematoxylin), e = detail::unit(reference.eosin);
  Image result(image.width, image.height);
  context.parallel_for(image.height, 64, [&](Index begin, Index end) {
    for (Index y = begin; y < end; ++y)
      for (Index x = 0; x < image.width; ++x) {
        const auto amount = separator(image.at(x, y));
        const double haematoxylin = std::max(0.0f, amount[0]) * reference.strength[0];
        const double eosin = std::max(0.0f, amount[1]) * reference.strength[1];
        std::uint8_t* to = result.at(x, y);
        for (std::size_t c = 0; c < 3; ++c) {
          const double value = (reference.white[c] + 1.0) * std::exp(-haematoxylin * h[c] - eosin * e[c]) - 1.0;
          to[c] = static_cast<std::uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
        }
      }
  });
  return result;
}

}  // namespace eosin::vision
