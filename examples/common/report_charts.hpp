#pragma once

// The drawings of the report as inline SVG: line panels, histograms, scatter plots and maps of spots. Colours that
// follow the page's theme are CSS classes (report_page.hpp); colours that carry values are written out. A map draws all
// spots of one colour level as one path of zero-length strokes with round caps: about ten bytes per spot.

#include "common/report_colour.hpp"
#include "common/report_text.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace report {

struct Range {
  double low = 0;
  double high = 1;
};

/// Smallest range with all finite values; widened where it would be empty, 0..1 where there is no value.
inline Range range_of(std::span<const double> values) {
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    range.low = std::min(range.low, v);
    range.high = std::max(range.high, v);
  }
  if (range.low > range.high) return {0, 1};
  if (range.low == range.high) {
    const double half = range.low == 0 ? 0.5 : 0.05 * std::abs(range.low);
    return {range.low - half, range.high + half};
  }
  return range;
}

/// The colour range of a map: from the 2nd to the 98th percentile of the finite values, so that a few extreme spots do
/// not flatten the rest; the full range where these coincide.
inline Range colour_range(std::span<const double> values) {
  std::vector<double> sorted;
  for (const double v : values)
    if (std::isfinite(v)) sorted.push_back(v);
  if (sorted.empty()) return {0, 0};
  std::sort(sorted.begin(), sorted.end());
  const auto last = static_cast<double>(sorted.size() - 1);
  const Range range{sorted[static_cast<std::size_t>(std::floor(0.02 * last))],
                    sorted[static_cast<std::size_t>(std::ceil(0.98 * last))]};
  return range.low < range.high ? range : Range{sorted.front(), sorted.back()};
}

namespace detail {

struct Ticks {
  std::vector<double> at;
  int decimals = 0;
};

/// Multiples of 1, 2 or 5 times a power of ten inside `range`, about `wanted` of them, at least three.
inline Ticks linear_ticks(Range range, int wanted) {
  const double raw = (range.high - range.low) / std::max(1, wanted);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double lead = raw / power;
  const double step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
  Ticks ticks;
  ticks.decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 12);
  const double first = std::ceil(range.low / step - 1e-9), last = std::floor(range.high / step + 1e-9);
  for (double k = first; k <= last && ticks.at.size() < 50; ++k) ticks.at.push_back(k * step);
  return ticks.at.size() < 3 && wanted < 20 ? linear_ticks(range, wanted + 1) : ticks;
}

inline std::vector<double> log_ticks(Range range) {
  std::vector<double> fine, decades;
  const int first = static_cast<int>(std::floor(std::log10(range.low)));
  const int last = static_cast<int>(std::ceil(std::log10(range.high)));
  for (int k = first; k <= last; ++k)
    for (const double lead : {1.0, 2.0, 5.0}) {
      const double v = lead * std::pow(10, k);
      if (v < range.low * (1 - 1e-9) || v > range.high * (1 + 1e-9)) continue;
      fine.push_back(v);
      if (lead == 1) decades.push_back(v);
    }
  return fine.size() <= 5      ? fine
         : decades.size() >= 2 ? decades
                               : std::vector<double>{fine.front(), fine[fine.size() / 2], fine.back()};
}

}  // namespace detail

/// Plot area of a chart with its axes.
class Plot {
 public:
  struct Options {
    double width = 340;
    double height = 200;
    bool log_y = false;
    int x_ticks = 5;
    int y_ticks = 4;
    std::string x_label;
    std::string y_label;
  };

  Plot(Range x, Range y, Options options) : x_(x), y_(y), options_(std::move(options)) {
    if (options_.log_y) {
      for (const double v : detail::log_ticks(y_)) y_labels_.emplace_back(v, significant(v, 1));
    } else {
      const detail::Ticks ticks = detail::linear_ticks(y_, options_.y_ticks);
      for (const double v : ticks.at) y_labels_.emplace_back(v, fixed(v, ticks.decimals));
    }
    std::size_t longest = 1;
    for (const auto& [v, text] : y_labels_) {
      const bool minus = text.starts_with("\u2212");
      longest = std::max(longest, text.size() - (minus ? 2 : 0));
    }
    left_ = 10 + 6.4 * static_cast<double>(longest) + (options_.y_label.empty() ? 0 : 15);
    bottom_ = options_.x_label.empty() ? 20 : 34;
  }

  double x(double v) const { return left_ + (v - x_.low) / (x_.high - x_.low) * plot_width(); }
  double y(double v) const {
    const double t =
        options_.log_y ? std::log(v / y_.low) / std::log(y_.high / y_.low) : (v - y_.low) / (y_.high - y_.low);
    return options_.height - bottom_ - t * plot_height();
  }
  double left() const { return left_; }
  double right() const { return left_ + plot_width(); }
  double top() const { return top_; }
  double base() const { return options_.height - bottom_; }
  Range x_range() const { return x_; }
  Range y_range() const { return y_; }

  /// The opening tag, grid lines, tick labels and axis labels; the caller adds marks and "</svg>".
  std::string open(std::string_view description) const {
    std::string out = "<svg class=\"chart\" viewBox=\"0 0 " + plain(options_.width, 0) + " " +
                      plain(options_.height, 0) + "\" role=\"img\" aria-label=\"" + escape(description) + "\">";
    for (const auto& [v, text] : y_labels_) {
      const std::string at = plain(y(v), 1);
      out += "<path class=\"grid\" d=\"M" + plain(left_, 1) + " " + at + "H" + plain(right(), 1) + "\"/>";
      out += "<text class=\"tick end\" x=\"" + plain(left_ - 6, 1) + "\" y=\"" + plain(y(v) + 3.6, 1) + "\">" + text +
             "</text>";
    }
    const detail::Ticks ticks = detail::linear_ticks(x_, options_.x_ticks);
    for (const double v : ticks.at)
      out += "<text class=\"tick mid\" x=\"" + plain(x(v), 1) + "\" y=\"" + plain(base() + 15, 1) + "\">" +
             fixed(v, ticks.decimals) + "</text>";
    out += "<path class=\"axis\" d=\"M" + plain(left_, 1) + " " + plain(base(), 1) + "H" + plain(right(), 1) + "\"/>";
    if (!options_.x_label.empty())
      out += "<text class=\"label mid\" x=\"" + plain(0.5 * (left_ + right()), 1) + "\" y=\"" +
             plain(options_.height - 4, 1) + "\">" + escape(options_.x_label) + "</text>";
    if (!options_.y_label.empty())
      out += "<text class=\"label mid\" transform=\"translate(11 " + plain(0.5 * (top_ + base()), 1) +
             ") rotate(-90)\">" + escape(options_.y_label) + "</text>";
    return out;
  }

  /// Points joined by straight lines; pairs that are not finite interrupt the line.
  std::string line(std::span<const double> xs, std::span<const double> ys, std::string_view css) const {
    std::string d;
    bool pen_down = false;
    for (std::size_t i = 0; i < xs.size(); ++i) {
      if (!drawable(xs[i], ys[i])) {
        pen_down = false;
        continue;
      }
      d += pen_down ? "L" : "M";
      d += plain(x(xs[i]), 1) + " " + plain(y(ys[i]), 1);
      pen_down = true;
    }
    return d.empty() ? d : "<path class=\"" + std::string(css) + "\" d=\"" + d + "\"/>";
  }

  /// One dot per finite pair, as one path.
  std::string dots(std::span<const double> xs, std::span<const double> ys, std::string_view css) const {
    std::string d;
    for (std::size_t i = 0; i < xs.size(); ++i)
      if (drawable(xs[i], ys[i])) d += "M" + plain(x(xs[i]), 1) + " " + plain(y(ys[i]), 1) + "h0";
    return d.empty() ? d : "<path class=\"" + std::string(css) + "\" d=\"" + d + "\"/>";
  }

  /// The part of y = x inside the plot.
  std::string diagonal() const {
    const double low = std::max(x_.low, y_.low), high = std::min(x_.high, y_.high);
    if (low >= high) return {};
    return "<path class=\"diagonal\" d=\"M" + plain(x(low), 1) + " " + plain(y(low), 1) + "L" + plain(x(high), 1) +
           " " + plain(y(high), 1) + "\"/>";
  }

 private:
  bool drawable(double a, double b) const { return std::isfinite(a) && std::isfinite(b) && (!options_.log_y || b > 0); }
  double plot_width() const { return options_.width - left_ - 10; }
  double plot_height() const { return options_.height - bottom_ - top_; }

  Range x_, y_;
  Options options_;
  std::vector<std::pair<double, std::string>> y_labels_;
  double left_ = 0, top_ = 8, bottom_ = 20;
};

/// Where the spots of a section lie on the page: full-image pixels to the drawing's units (1000 across).
class MapFrame {
 public:
  static constexpr double units = 1000;

  /// The box around all spots plus one pitch. x and y are finite and of equal size.
  MapFrame(std::span<const double> x, std::span<const double> y, double pitch) {
    const auto [x_low, x_high] = limits(x);
    const auto [y_low, y_high] = limits(y);
    if (!(pitch > 0)) pitch = estimated_pitch(x_high - x_low, y_high - y_low, x.size());
    left_ = x_low - pitch;
    top_ = y_low - pitch;
    per_pixel_ = units / (x_high - x_low + 2 * pitch);
    height_ = (y_high - y_low + 2 * pitch) * per_pixel_;
    diameter_ = 0.82 * pitch * per_pixel_;
    points_.reserve(x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      points_.emplace_back((x[i] - left_) * per_pixel_, (y[i] - top_) * per_pixel_);
  }

  double x(double pixel) const { return (pixel - left_) * per_pixel_; }
  double y(double pixel) const { return (pixel - top_) * per_pixel_; }
  double per_pixel() const { return per_pixel_; }
  double height() const { return height_; }
  double diameter() const { return diameter_; }
  std::span<const std::pair<double, double>> points() const { return points_; }

  std::string open(std::string_view description) const {
    return "<svg class=\"map\" viewBox=\"0 0 1000 " + plain(height_, 0) + "\" role=\"img\" aria-label=\"" +
           escape(description) + "\">";
  }

  /// Spots with `level[i]` in 0..palette.size()-1 in that colour, others as faint marks.
  std::string spots(std::span<const int> level, std::span<const Colour> palette) const {
    std::vector<std::string> paths(palette.size() + 1);
    for (std::size_t i = 0; i < points_.size(); ++i) {
      const bool known = level[i] >= 0 && static_cast<std::size_t>(level[i]) < palette.size();
      paths[known ? static_cast<std::size_t>(level[i]) : palette.size()] +=
          "M" + plain(points_[i].first, 0) + " " + plain(points_[i].second, 0) + "h0";
    }
    std::string out = "<g class=\"spots\" stroke-width=\"" + plain(diameter_, 1) + "\">";
    for (std::size_t k = 0; k < palette.size(); ++k)
      if (!paths[k].empty()) out += "<path stroke=\"" + hex(palette[k]) + "\" d=\"" + paths[k] + "\"/>";
    if (!paths.back().empty()) out += "<path class=\"unknown\" d=\"" + paths.back() + "\"/>";
    return out + "</g>";
  }

 private:
  static std::pair<double, double> limits(std::span<const double> v) {
    if (v.empty()) return {0, 0};
    const auto [low, high] = std::minmax_element(v.begin(), v.end());
    return {*low, *high};
  }
  /// As if the spots filled their box on a square grid.
  static double estimated_pitch(double width, double height, std::size_t n) {
    const double side = std::sqrt(std::max(width, 1.0) * std::max(height, 1.0) / std::max(1.0, static_cast<double>(n)));
    return std::max(side, 1e-6);
  }

  double left_ = 0, top_ = 0, per_pixel_ = 1, height_ = units, diameter_ = 1;
  std::vector<std::pair<double, double>> points_;
};

/// `count` colours of a scale from end to end.
template <class Scale>
std::vector<Colour> palette_of(Scale scale, int count) {
  std::vector<Colour> palette;
  for (int i = 0; i < count; ++i) palette.push_back(scale((i + 0.5) / count));
  return palette;
}

/// Index of the colour of each value in a palette of `count` over `range`; -1 where the value is not finite, the middle
/// where the range is a single value.
inline std::vector<int> colour_levels(std::span<const double> values, Range range, int count) {
  std::vector<int> levels;
  levels.reserve(values.size());
  for (const double v : values) {
    if (!std::isfinite(v))
      levels.push_back(-1);
    else if (!(range.high > range.low))
      levels.push_back(count / 2);
    else
      levels.push_back(static_cast<int>(
          std::clamp((v - range.low) / (range.high - range.low) * count, 0.0, static_cast<double>(count - 1))));
  }
  return levels;
}

}  // namespace report
