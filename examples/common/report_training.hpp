#pragma once

// The part of the report that shows the training: one panel per named loss or metric, training and validation in the
// same panel where both have it, members of an ensemble as thin lines with their mean.

#include "common/report_charts.hpp"
#include "common/report_data.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace report {

namespace detail {

/// (epoch, value) of every member of one named quantity.
using Curves = std::map<Index, std::map<Index, double>>;

inline void add_curves(const std::vector<Epoch>& epochs, std::string_view name, std::vector<NamedNumber> Epoch::*part,
                       Curves& curves) {
  for (const Epoch& epoch : epochs)
    for (const NamedNumber& number : epoch.*part)
      if (number.name == name && std::isfinite(number.value)) curves[epoch.member][epoch.epoch] = number.value;
}

/// Mean over members on the epochs that all members have.
inline std::map<Index, double> mean_curve(const Curves& curves) {
  std::map<Index, std::pair<double, std::size_t>> sums;
  for (const auto& [member, curve] : curves)
    for (const auto& [epoch, value] : curve) {
      sums[epoch].first += value;
      ++sums[epoch].second;
    }
  std::map<Index, double> mean;
  for (const auto& [epoch, sum] : sums)
    if (sum.second == curves.size()) mean[epoch] = sum.first / static_cast<double>(sum.second);
  return mean;
}

/// At most about 400 points of a curve: every k-th and the last.
inline std::string drawn_curve(const Plot& plot, const std::map<Index, double>& curve, std::string_view css) {
  std::vector<double> x, y;
  const std::size_t stride = (curve.size() + 399) / 400;
  std::size_t i = 0;
  for (const auto& [epoch, value] : curve) {
    if (i++ % std::max<std::size_t>(stride, 1) != 0 && i != curve.size()) continue;
    x.push_back(static_cast<double>(epoch));
    y.push_back(value);
  }
  if (x.size() == 1) return plot.dots(x, y, "kept " + std::string(css));
  return plot.line(x, y, css);
}

inline std::string curve_panel(std::string_view name, const Curves& train, const Curves& validation,
                               const std::map<Index, Index>& kept, Range epochs, std::string_view train_css,
                               bool logarithmic) {
  std::vector<double> values;
  for (const Curves* curves : {&train, &validation})
    for (const auto& [member, curve] : *curves)
      for (const auto& [epoch, value] : curve) values.push_back(value);
  const Range range = range_of(values);
  Plot::Options options;
  options.log_y = logarithmic && range.low > 0 && range.high / range.low > 25;
  options.x_label = "epoch";
  const Plot plot(epochs, range, options);

  std::string out = plot.open(std::string(name) + " over the epochs");
  const auto draw = [&](const Curves& curves, std::string_view css) {
    const std::string line(css);
    if (curves.size() > 1) {
      for (const auto& [member, curve] : curves) out += drawn_curve(plot, curve, line + " thin");
      out += drawn_curve(plot, mean_curve(curves), line);
    } else {
      for (const auto& [member, curve] : curves) out += drawn_curve(plot, curve, line);
    }
  };
  draw(train, train_css);
  draw(validation, "valid");

  // The epoch kept is marked on the curve that chose it: validation where there is one.
  const Curves& chosen = validation.empty() ? train : validation;
  std::vector<double> kept_x, kept_y;
  double sum = 0;
  for (const auto& [member, epoch] : kept) {
    const auto curve = chosen.find(member);
    if (curve == chosen.end() || !curve->second.contains(epoch)) continue;
    kept_x.push_back(static_cast<double>(epoch));
    kept_y.push_back(curve->second.at(epoch));
    sum += kept_y.back();
  }
  out += plot.dots(kept_x, kept_y, kept_x.size() > 1 ? "kept thin-mark" : "kept");
  out += "</svg>";

  std::string head = "<h4>" + escape(name) + "</h4>";
  if (!kept_x.empty())
    head += "<span class=\"value\">kept <b>" + significant(sum / static_cast<double>(kept_x.size())) + "</b></span>";
  return "<figure class=\"card\"><div class=\"head\">" + head + "</div>" + out + "</figure>\n";
}

}  // namespace detail

/// The section "Training"; empty where there is no epoch.
inline std::string training_html(const ReportData& data) {
  using detail::Curves;
  if (data.epochs.empty()) return {};
  std::vector<std::string> names;
  const auto note = [&](const std::vector<NamedNumber>& numbers) {
    for (const NamedNumber& number : numbers)
      if (std::find(names.begin(), names.end(), number.name) == names.end()) names.push_back(number.name);
  };
  for (const Epoch& epoch : data.epochs) note(epoch.train);
  for (const Epoch& epoch : data.epochs) note(epoch.validation);

  std::vector<double> numbers;
  std::map<Index, Index> kept;
  Curves rates;
  bool any_validation = false;
  std::vector<double> rate_values;
  std::map<Index, bool> members;
  for (const Epoch& epoch : data.epochs) {
    numbers.push_back(static_cast<double>(epoch.epoch));
    members[epoch.member] = true;
    if (epoch.kept) kept[epoch.member] = epoch.epoch;
    if (std::isfinite(epoch.learning_rate)) {
      rates[epoch.member][epoch.epoch] = epoch.learning_rate;
      rate_values.push_back(epoch.learning_rate);
    }
    any_validation = any_validation || !epoch.validation.empty();
  }
  const Range epochs = range_of(numbers);
  const auto label_of = [&](const std::string& name) {
    for (const MetricColumn& column : data.columns)
      if (column.name == name) return column.label;
    return name;
  };

  std::string out = "<section id=\"training\"><h2>Training</h2>\n<p class=\"lead\">";
  out +=
      "Losses and validation metrics by epoch; the axis of a loss is logarithmic where it spans more than a "
      "factor of 25.</p>\n<div class=\"legend\"><span><i class=\"key-line control\"></i>training</span>";
  if (any_validation) out += "<span><i class=\"key-line model\"></i>validation</span>";
  if (members.size() > 1)
    out += "<span><i class=\"key-line faint\"></i>each of the " + count(static_cast<Index>(members.size())) +
           " members (bold: their mean, as far as all were trained)</span>";
  if (!kept.empty()) out += "<span><i class=\"key-dot\"></i>epoch whose parameters were kept</span>";
  out += "</div>\n<div class=\"grid panels\">\n";
  for (const std::string& name : names) {
    Curves train, validation;
    detail::add_curves(data.epochs, name, &Epoch::train, train);
    detail::add_curves(data.epochs, name, &Epoch::validation, validation);
    if (!train.empty() || !validation.empty())
      out += detail::curve_panel(label_of(name), train, validation, kept, epochs, "train", !train.empty());
  }
  if (!rate_values.empty()) {
    const auto [low, high] = std::minmax_element(rate_values.begin(), rate_values.end());
    if (*low < *high) out += detail::curve_panel("learning rate", rates, {}, {}, epochs, "train rate", false);
  }
  return out + "</div></section>\n";
}

}  // namespace report
