#pragma once

// Colours of the report. The two sequential scales run at constant speed through lightness in OKLCH (Ottosson 2020,
// "A perceptual color space for image processing"), so that equal steps of the value are equal steps to the eye, in
// print and to most colour-blind readers too: `expression_colour` from violet through teal to yellow,
// `proportion_colour` from indigo through red to pale yellow.

#include <eosin/core/config.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <string_view>

namespace report {

using eosin::Index;

struct Colour {
  std::uint8_t r = 0, g = 0, b = 0;
  bool operator==(const Colour&) const = default;
};

/// "#rrggbb"
inline std::string hex(Colour colour) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out = "#";
  for (const std::uint8_t v : {colour.r, colour.g, colour.b}) {
    out += digits[static_cast<std::size_t>(v >> 4)];
    out += digits[static_cast<std::size_t>(v & 15)];
  }
  return out;
}

namespace detail {

struct LinearRgb {
  double r, g, b;
  bool inside() const {
    const double slack = 1e-6;
    return std::min({r, g, b}) >= -slack && std::max({r, g, b}) <= 1 + slack;
  }
};

inline LinearRgb oklch_to_linear(double lightness, double chroma, double hue_degrees) {
  const double hue = hue_degrees * std::numbers::pi / 180;
  const double a = chroma * std::cos(hue), b = chroma * std::sin(hue);
  const auto cube = [](double v) { return v * v * v; };
  const double l = cube(lightness + 0.3963377774 * a + 0.2158037573 * b);
  const double m = cube(lightness - 0.1055613458 * a - 0.0638541728 * b);
  const double s = cube(lightness - 0.0894841775 * a - 1.2914855480 * b);
  return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
          -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
          -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

}  // namespace detail

/// The sRGB colour of lightness 0..1, chroma and hue; chroma is reduced until the colour can be shown.
inline Colour oklch(double lightness, double chroma, double hue_degrees) {
  detail::LinearRgb linear = detail::oklch_to_linear(lightness, chroma, hue_degrees);
  if (!linear.inside()) {
    double low = 0, high = chroma;
    for (int i = 0; i < 20; ++i) {
      const double middle = 0.5 * (low + high);
      (detail::oklch_to_linear(lightness, middle, hue_degrees).inside() ? low : high) = middle;
    }
    linear = detail::oklch_to_linear(lightness, low, hue_degrees);
  }
  const auto encode = [](double v) {
    v = std::clamp(v, 0.0, 1.0);
    const double e = v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
    return static_cast<std::uint8_t>(std::lround(255 * e));
  };
  return {encode(linear.r), encode(linear.g), encode(linear.b)};
}

/// t in 0..1, values outside are clamped.
inline Colour expression_colour(double t) {
  t = std::clamp(t, 0.0, 1.0);
  return oklch(0.27 + 0.66 * t, 0.145 + 0.03 * t, 305 - 200 * t);
}

/// t in 0..1, values outside are clamped.
inline Colour proportion_colour(double t) {
  t = std::clamp(t, 0.0, 1.0);
  return oklch(0.23 + 0.71 * t, 0.05 + 0.6 * t * (1 - t), 280 + 170 * t);
}

/// Colour of the i-th category: eight hues far apart, then further turns at other lightnesses.
inline Colour category_colour(Index i) {
  static constexpr std::array<double, 8> lightness = {0.55, 0.74, 0.62, 0.80, 0.50, 0.70, 0.66, 0.42};
  static constexpr std::array<double, 8> hues = {265, 65, 150, 95, 330, 210, 20, 120};
  const auto k = static_cast<std::size_t>(i % 8);
  const double turn = static_cast<double>(i / 8);
  const double shift = turn == 0 ? 0 : (std::fmod(turn, 2) == 1 ? 0.13 : -0.1);
  return oklch(std::clamp(lightness[k] - shift, 0.3, 0.88), turn == 0 ? 0.15 : 0.09, hues[k] + 22.5 * turn);
}

}  // namespace report
