#pragma once

// The key figures and the table of metrics with the controls beside the model.

#include "common/report_data.hpp"
#include "common/report_text.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace report {

namespace detail {

inline double number_of(const MetricRow& row, std::string_view name) {
  for (const NamedNumber& number : row.numbers)
    if (number.name == name) return number.value;
  return std::numeric_limits<double>::quiet_NaN();
}

inline std::vector<std::string> samples_of(const std::vector<MetricRow>& rows) {
  std::vector<std::string> samples;
  for (const MetricRow& row : rows)
    if (std::find(samples.begin(), samples.end(), row.sample) == samples.end()) samples.push_back(row.sample);
  return samples;
}

/// Mean over the samples of each method that has a row on every sample; a number is there only where every sample
/// has it, so that methods stay comparable.
inline std::vector<MetricRow> mean_rows(const ReportData& data) {
  const std::size_t samples = samples_of(data.metrics).size();
  std::vector<MetricRow> means;
  for (const MetricRow& first : data.metrics) {
    if (std::any_of(means.begin(), means.end(), [&](const MetricRow& m) { return m.method == first.method; })) continue;
    MetricRow mean{.sample = "",
                   .method = first.method,
                   .is_control = first.is_control,
                   .is_oracle = first.is_oracle,
                   .numbers = {},
                   .undefined_genes = 0};
    std::set<std::string> seen;
    for (const MetricRow& row : data.metrics)
      if (row.method == first.method) {
        seen.insert(row.sample);
        mean.undefined_genes += row.undefined_genes;
      }
    if (seen.size() != samples) continue;
    for (const MetricColumn& column : data.columns) {
      double sum = 0;
      Index n = 0;
      for (const MetricRow& row : data.metrics)
        if (row.method == first.method) {
          sum += number_of(row, column.name);
          ++n;
        }
      mean.numbers.push_back({column.name, sum / static_cast<double>(n)});
    }
    means.push_back(std::move(mean));
  }
  return means;
}

inline bool beats(double a, double b, Better better) {
  return better == Better::lower ? a < b : a > b;
}

/// The best finite number of a column among rows that `allowed` accepts.
template <class Allowed>
std::optional<std::size_t> best_row(const std::vector<MetricRow>& rows, const MetricColumn& column, Allowed allowed) {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!allowed(rows[i])) continue;
    const double value = number_of(rows[i], column.name);
    if (!std::isfinite(value)) continue;
    if (!best || beats(value, number_of(rows[*best], column.name), column.better)) best = i;
  }
  return best;
}

inline std::string metric_rows_html(std::string_view heading, const std::vector<MetricRow>& rows,
                                    const std::vector<MetricColumn>& columns, bool undefined_column) {
  const std::size_t width = columns.size() + (undefined_column ? 2 : 1);
  std::string out =
      "<tbody><tr class=\"sample\"><th colspan=\"" + std::to_string(width) + "\">" + escape(heading) + "</th></tr>\n";
  std::vector<double> best(columns.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].better == Better::neither) continue;
    const auto i = best_row(rows, columns[c], [](const MetricRow& row) { return !row.is_oracle; });
    if (i) best[c] = number_of(rows[*i], columns[c].name);
  }
  for (const MetricRow& row : rows) {
    const std::string_view css = row.is_oracle ? "oracle" : row.is_control ? "control" : "model";
    out +=
        "<tr class=\"" + std::string(css) + "\"><th>" + escape(row.method) + (row.is_oracle ? " \u2020" : "") + "</th>";
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const double value = number_of(row, columns[c].name);
      const std::string text = fixed(value, columns[c].decimals);
      out += !row.is_oracle && value == best[c] ? "<td class=\"best\"><span>" + text + "</span></td>"
                                                : "<td>" + text + "</td>";
    }
    if (undefined_column) out += "<td>" + count(row.undefined_genes) + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody>\n";
}

}  // namespace detail

/// The tiles of the page's head: those given, then one per metric of the first method that is no control, with the
/// best control beside it.
inline std::string tiles_html(const ReportData& data) {
  std::string out;
  Index tiles = 0;
  const auto tile = [&](std::string_view label, std::string_view value, std::string_view note, bool key) {
    ++tiles;
    out += std::string("<div class=\"tile") + (key ? " key" : "") + "\"><div class=\"what\">" + escape(label) +
           "</div><div class=\"figure\">" + escape(value) + "</div><div class=\"note\">" + escape(note) +
           "</div></div>\n";
  };
  const std::vector<MetricRow> means = detail::mean_rows(data);
  const auto model =
      std::find_if(means.begin(), means.end(), [](const MetricRow& m) { return !m.is_control && !m.is_oracle; });
  if (model != means.end()) {
    std::size_t shown = 0;
    for (const MetricColumn& column : data.columns) {
      const double value = detail::number_of(*model, column.name);
      if (shown == 4 || !std::isfinite(value)) continue;
      const auto control =
          detail::best_row(means, column, [](const MetricRow& row) { return row.is_control && !row.is_oracle; });
      std::string note;
      if (control)
        note = "best control " + fixed(detail::number_of(means[*control], column.name), column.decimals) + ", " +
               means[*control].method;
      tile(column.label, fixed(value, column.decimals), note, true);
      ++shown;
    }
  }
  for (const Tile& t : data.tiles) tile(t.label, t.value, t.note, false);
  if (!data.sections.empty()) {
    Index spots = 0;
    for (const SectionView& section : data.sections) spots += static_cast<Index>(section.spots.size());
    const auto sections = static_cast<Index>(data.sections.size());
    tile("Test spots", count(spots),
         counted(static_cast<Index>(data.sections.front().genes.size()), "gene", "genes") + ", " +
             counted(sections, "section", "sections"),
         false);
  }
  if (!data.epochs.empty()) {
    double seconds = 0;
    std::set<Index> members;
    Index last = data.epochs.front().epoch;
    for (const Epoch& epoch : data.epochs) {
      if (std::isfinite(epoch.seconds)) seconds += epoch.seconds;
      members.insert(epoch.member);
      last = std::max(last, epoch.epoch);
    }
    const auto n = static_cast<Index>(members.size());
    tile("Training time", duration(seconds),
         counted(last, "epoch", "epochs") + (n > 1 ? ", " + counted(n, "member", "members") : ""), false);
  }
  if (out.empty()) return out;
  // Rows of equal length: up to seven tiles in one row, more in two.
  const Index columns = tiles <= 7 ? tiles : (tiles + 1) / 2;
  return "<div class=\"tiles\" style=\"--columns:" + count(columns) + "\">\n" + out + "</div>\n";
}

/// The section "Metrics"; empty where there is no row.
inline std::string metrics_html(const ReportData& data) {
  if (data.metrics.empty()) return {};
  const bool undefined_column =
      std::any_of(data.metrics.begin(), data.metrics.end(), [](const MetricRow& m) { return m.undefined_genes > 0; });
  const bool oracle =
      std::any_of(data.metrics.begin(), data.metrics.end(), [](const MetricRow& m) { return m.is_oracle; });
  std::string out =
      "<section id=\"metrics\"><h2>Metrics</h2>\n<p class=\"lead\">On sections that took no part in "
      "training, the controls beside the model. Correlations are taken per gene across the spots of a "
      "section, then averaged over all genes or over the 50 with the highest mean; errors are averaged "
      "over spots and genes. The best of each column is tinted.</p>\n"
      "<div class=\"scroll\"><table class=\"metrics\"><thead><tr><th>Method</th>";
  for (const MetricColumn& column : data.columns)
    out += "<th>" + escape(column.label) +
           (column.better == Better::neither ? ""
            : column.better == Better::lower ? "\u00a0\u2193"
                                             : "\u00a0\u2191") +
           "</th>";
  if (undefined_column) out += "<th>Genes undefined</th>";
  out += "</tr></thead>\n";
  const std::vector<std::string> samples = detail::samples_of(data.metrics);
  if (samples.size() > 1)
    out += detail::metric_rows_html("Mean of " + counted(static_cast<Index>(samples.size()), "section", "sections"),
                                    detail::mean_rows(data), data.columns, undefined_column);
  for (const std::string& sample : samples) {
    std::vector<MetricRow> rows;
    for (const MetricRow& row : data.metrics)
      if (row.sample == sample) rows.push_back(row);
    out += detail::metric_rows_html(sample, rows, data.columns, undefined_column);
  }
  out += "</table></div>\n<p class=\"small\" style=\"margin-top:.7rem\">";
  if (oracle)
    out +=
        "\u2020 Oracle: it looks at the counts of the test section. Shown for orientation, never a bar to pass and "
        "left out when the best is chosen. ";
  if (undefined_column)
    out += "A gene is undefined where its measured or predicted values are constant; it is left out of the mean. ";
  return out + "\u2191 higher is better, \u2193 lower is better.</p></section>\n";
}

}  // namespace report
