#pragma once

// One test section: the tissue, how well each gene is predicted, maps of predicted beside measured expression for the
// best, median and worst genes and for chosen ones, a selector for all genes, maps of the composition, spatial domains
// beside the annotation where there is one, and what the model retrieved.

#include "common/report_charts.hpp"
#include "common/report_data.hpp"
#include "common/report_image.hpp"

#include <eosin/core/error.hpp>
#include <eosin/io/base64.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace report {

namespace detail {

inline constexpr int colour_steps = 48;

inline std::vector<double> column_values(eosin::MatrixView<const float> m, Index column) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(m.rows()));
  for (Index i = 0; i < m.rows(); ++i) values.push_back(static_cast<double>(m(i, column)));
  return values;
}

inline double finite_mean(std::span<const double> values) {
  double sum = 0;
  Index n = 0;
  for (const double v : values)
    if (std::isfinite(v)) {
      sum += v;
      ++n;
    }
  return n == 0 ? std::nan("") : sum / static_cast<double>(n);
}

/// Pearson correlation over the pairs that are both finite; NaN where one side is constant.
inline double pearson(std::span<const double> a, std::span<const double> b) {
  double n = 0, mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) continue;
    n += 1;
    const double da = a[i] - mean_a, db = b[i] - mean_b;
    mean_a += da / n;
    mean_b += db / n;
    aa += da * (a[i] - mean_a);
    bb += db * (b[i] - mean_b);
    ab += da * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : std::nan("");
}

inline void check_pearson(const GenePearson& p, Index genes, std::string_view what) {
  eosin::require_size("report::write_report", what, "values", static_cast<Index>(p.pearson.size()), genes, "genes");
  eosin::require_size("report::write_report", what, "flags", static_cast<Index>(p.defined.size()), genes, "genes");
  for (std::size_t g = 0; g < p.pearson.size(); ++g)
    eosin::require_value(p.defined[g] == 0 || std::isfinite(p.pearson[g]), "report::write_report",
                         std::string(what) + ": a defined correlation is not finite");
}

inline void check_section(const SectionView& s) {
  const std::string_view where = "report::write_report";
  const auto spots = static_cast<Index>(s.spots.size());
  const auto genes = static_cast<Index>(s.genes.size());
  const auto types = static_cast<Index>(s.types.size());
  eosin::require_size(where, "x", "spots", static_cast<Index>(s.x.size()), spots, "spots");
  eosin::require_size(where, "y", "spots", static_cast<Index>(s.y.size()), spots, "spots");
  for (std::size_t i = 0; i < s.x.size(); ++i)
    eosin::require_value(std::isfinite(s.x[i]) && std::isfinite(s.y[i]), where,
                         "spot '" + s.spots[i] + "' of section '" + s.name + "' has no finite position");
  eosin::require_value(std::isfinite(s.scale) && s.scale > 0, where, "scale must be positive");
  eosin::require_value(std::isfinite(s.pitch) && s.pitch >= 0, where, "pitch must not be negative");
  if (genes > 0) {
    eosin::require_shape(where, "predicted", s.predicted, spots, genes);
    eosin::require_shape(where, "measured", s.measured, spots, genes);
  }
  check_pearson(s.model, genes, "model");
  if (!s.control.pearson.empty()) check_pearson(s.control, genes, "control");
  for (const std::string& gene : s.show)
    eosin::require_value(std::find(s.genes.begin(), s.genes.end(), gene) != s.genes.end(), where,
                         "gene '" + gene + "' is to be shown and is not among those of section '" + s.name + "'");
  if (s.domains.count > 0) {
    eosin::require_size(where, "domains.predicted", "spots", static_cast<Index>(s.domains.predicted.size()), spots,
                        "spots");
    eosin::require_size(where, "domains.measured", "spots", static_cast<Index>(s.domains.measured.size()), spots,
                        "spots");
    if (!s.domains.annotation.empty())
      eosin::require_size(where, "domains.annotation", "spots", static_cast<Index>(s.domains.annotation.size()), spots,
                          "spots");
  }
  for (const RetrievalExample& example : s.retrieval)
    eosin::require_value(std::find(s.spots.begin(), s.spots.end(), example.spot) != s.spots.end(), where,
                         "spot '" + example.spot + "' of the retrieval is not one of section '" + s.name + "'");
  if (!s.composition.empty()) eosin::require_shape(where, "composition", s.composition, spots, types);
  if (!s.reference.empty()) eosin::require_shape(where, "reference", s.reference, spots, types);
}

/// Genes with a defined correlation, best first; ties in their given order.
inline std::vector<Index> ranking(const GenePearson& p) {
  std::vector<Index> order;
  for (std::size_t g = 0; g < p.pearson.size(); ++g)
    if (p.defined[g] != 0) order.push_back(static_cast<Index>(g));
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return p.pearson[static_cast<std::size_t>(a)] > p.pearson[static_cast<std::size_t>(b)];
  });
  return order;
}

struct Pick {
  std::size_t rank;
  std::string_view kind;
};

/// Positions in a ranking of `n` genes: the best, the ones around the middle, the worst; none twice.
inline std::vector<Pick> picks(std::size_t n, const ReportOptions& options) {
  const auto wanted = [](Index k) { return static_cast<std::size_t>(std::max<Index>(k, 0)); };
  const std::size_t best = std::min(wanted(options.best_genes), n);
  const std::size_t worst = std::min(wanted(options.worst_genes), n - best);
  const std::size_t median = std::min(wanted(options.median_genes), n - best - worst);
  std::vector<Pick> out;
  for (std::size_t i = 0; i < best; ++i) out.push_back({i, "best"});
  const std::size_t middle = std::clamp(n / 2 - std::min(n / 2, median / 2), best, n - worst - median);
  for (std::size_t i = 0; i < median; ++i) out.push_back({middle + i, "median"});
  for (std::size_t i = 0; i < worst; ++i) out.push_back({n - worst + i, "worst"});
  return out;
}

/// The drawings of one section share its frame and its tissue, which is embedded once and used by reference.
class SectionDrawing {
 public:
  SectionDrawing(const SectionView& section, std::size_t number, const ReportOptions& options)
      : s_(section),
        options_(options),
        number_(std::to_string(number)),
        frame_(section.x, section.y, section.pitch),
        expression_(palette_of(expression_colour, colour_steps)),
        proportion_(palette_of(proportion_colour, colour_steps)),
        order_(ranking(section.model)),
        tissue_uri_(data_uri(section.thumbnail, options.image_quality)) {}

  std::string html(Index explorer_bytes) const {
    std::string out = "<section class=\"test\" id=\"section-" + number_ + "\"><h2>" + escape(s_.name) + "</h2>\n";
    std::vector<double> defined;
    for (const Index g : order_) defined.push_back(s_.model.pearson[at(g)]);
    out += "<p class=\"lead\">" + counted(static_cast<Index>(s_.spots.size()), "spot", "spots") + ", " +
           counted(static_cast<Index>(s_.genes.size()), "gene", "genes");
    const auto undefined = static_cast<Index>(s_.genes.size() - order_.size());
    if (undefined > 0) out += " (" + count(undefined) + " of them constant, without a correlation)";
    if (!defined.empty())
      out += "; mean Pearson correlation per gene " + fixed(finite_mean(defined), 3) + ", median " +
             fixed(defined[defined.size() / 2], 3);
    out += ".</p>\n";
    if (s_.spots.empty()) return out + "</section>\n";
    out += tissue_definition() + overview(defined) + shown_genes() + gene_cards() + explorer(explorer_bytes) +
           compositions() + domains() + retrieval();
    return out + "</section>\n";
  }

 private:
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  std::string model_name() const { return s_.model.name.empty() ? "Model" : s_.model.name; }
  std::string control_name() const { return s_.control.name.empty() ? "Control" : s_.control.name; }

  std::string tissue_definition() const {
    if (tissue_uri_.empty()) return {};
    const double per_pixel = frame_.per_pixel() / s_.scale;
    return "<svg class=\"hidden\" aria-hidden=\"true\"><defs><image id=\"tissue-" + number_ + "\" x=\"" +
           plain(frame_.x(0), 1) + "\" y=\"" + plain(frame_.y(0), 1) + "\" width=\"" +
           plain(static_cast<double>(s_.thumbnail.width) * per_pixel, 1) + "\" height=\"" +
           plain(static_cast<double>(s_.thumbnail.height) * per_pixel, 1) + "\" preserveAspectRatio=\"none\" href=\"" +
           tissue_uri_ + "\"/></defs></svg>\n";
  }
  std::string tissue(std::string_view css) const {
    if (tissue_uri_.empty()) return {};
    return "<use class=\"" + std::string(css) + "\" href=\"#tissue-" + number_ + "\"/>";
  }

  static std::string scale_bar(std::string_view low, std::string_view high, std::string_view scale) {
    return "<div class=\"scale\"><span>" + std::string(low) + "</span><i class=\"bar-" + std::string(scale) +
           "\"></i><span>" + std::string(high) + "</span></div>";
  }

  std::string value_map(std::string_view label, std::string_view description, std::span<const double> values) const {
    const Range range = colour_range(values);
    return "<div><div class=\"what-map\">" + escape(label) + "</div>" + frame_.open(description) + tissue("tissue") +
           frame_.spots(colour_levels(values, range, colour_steps), expression_) + "</svg>" +
           scale_bar(fixed(range.low, 2), fixed(range.high, 2), "expression") + "</div>";
  }

  std::string overview(const std::vector<double>& defined) const {
    std::string out = "<div class=\"grid overview\">\n";
    if (!tissue_uri_.empty())
      out += "<figure class=\"card\"><div class=\"head\"><h4>Tissue</h4></div>" + frame_.open("The stained section") +
             tissue("tissue full") + "</svg></figure>\n";
    if (!defined.empty()) out += histogram(defined);
    if (!defined.empty() && !s_.control.pearson.empty()) out += against_control();
    return out + "</div>\n";
  }

  std::string histogram(const std::vector<double>& model) const {
    std::vector<double> control;
    for (std::size_t g = 0; g < s_.control.pearson.size(); ++g)
      if (s_.control.defined[g] != 0) control.push_back(s_.control.pearson[g]);
    std::vector<double> all = model;
    all.insert(all.end(), control.begin(), control.end());
    const Range range = range_of(all);
    const double step = all.size() > 400 ? 0.025 : 0.05;
    const double first = std::floor(range.low / step + 1e-9), last = std::ceil(range.high / step - 1e-9);
    const auto bins = static_cast<std::size_t>(std::max(1.0, last - first));
    const auto counts = [&](const std::vector<double>& values) {
      std::vector<double> n(bins, 0);
      for (const double v : values)
        n[std::min(bins - 1, static_cast<std::size_t>(std::max(0.0, std::floor(v / step + 1e-9) - first)))] += 1;
      return n;
    };
    const std::vector<double> model_counts = counts(model), control_counts = counts(control);
    const double tallest = std::max(*std::max_element(model_counts.begin(), model_counts.end()),
                                    *std::max_element(control_counts.begin(), control_counts.end()));
    const Plot plot({first * step, last * step}, {0, tallest * 1.05},
                    {.width = 400,
                     .height = 300,
                     .log_y = false,
                     .x_ticks = 6,
                     .y_ticks = 4,
                     .x_label = "Pearson correlation of a gene",
                     .y_label = "genes"});
    std::string out = plot.open("Histogram of the Pearson correlation per gene");
    std::string bars, steps;
    const auto edge = [&](std::size_t k) { return plot.x((first + static_cast<double>(k)) * step); };
    for (std::size_t k = 0; k < bins; ++k) {
      const double low = edge(k), high = edge(k + 1);
      if (model_counts[k] > 0)
        bars += "M" + plain(low + 0.5, 1) + " " + plain(plot.base(), 1) + "V" + plain(plot.y(model_counts[k]), 1) +
                "H" + plain(high - 0.5, 1) + "V" + plain(plot.base(), 1) + "z";
      steps += (k == 0 ? "M" + plain(low, 1) + " " + plain(plot.base(), 1) : std::string()) + "V" +
               plain(plot.y(control_counts[k]), 1) + "H" + plain(high, 1);
    }
    out += "<path class=\"bars\" d=\"" + bars + "\"/>";
    const auto mean_line = [&](double mean, std::string_view css) {
      return "<path class=\"" + std::string(css) + "\" d=\"M" + plain(plot.x(mean), 1) + " " + plain(plot.base(), 1) +
             "V" + plain(plot.top(), 1) + "\"/>";
    };
    const double model_mean = finite_mean(model);
    std::string legend = "<div class=\"legend\"><span><i class=\"key-box model\"></i>" + escape(model_name()) +
                         ", mean " + fixed(model_mean, 3) + "</span>";
    if (!control.empty()) {
      out += "<path class=\"steps\" d=\"" + steps + "V" + plain(plot.base(), 1) + "\"/>";
      const double control_mean = finite_mean(control);
      out += mean_line(control_mean, "mean-control");
      legend += "<span><i class=\"key-line control\"></i>" + escape(control_name()) + ", mean " +
                fixed(control_mean, 3) + "</span>";
    }
    out += mean_line(model_mean, "mean-model") + "</svg>";
    return "<figure class=\"card\"><div class=\"head\"><h4>Correlation per gene</h4></div>" + legend + "</div>" + out +
           "</figure>\n";
  }

  std::string against_control() const {
    std::vector<double> model, control;
    Index above = 0;
    for (std::size_t g = 0; g < s_.genes.size(); ++g) {
      if (s_.model.defined[g] == 0 || s_.control.defined[g] == 0) continue;
      model.push_back(s_.model.pearson[g]);
      control.push_back(s_.control.pearson[g]);
      above += model.back() > control.back() ? 1 : 0;
    }
    if (model.empty()) return {};
    std::vector<double> both = model;
    both.insert(both.end(), control.begin(), control.end());
    const Range tight = range_of(both);
    const double pad = 0.03 * (tight.high - tight.low);
    const Range range{tight.low - pad, tight.high + pad};
    const Plot plot(range, range,
                    {.width = 400,
                     .height = 300,
                     .log_y = false,
                     .x_ticks = 5,
                     .y_ticks = 5,
                     .x_label = control_name(),
                     .y_label = model_name()});
    const double share = 100 * static_cast<double>(above) / static_cast<double>(model.size());
    return "<figure class=\"card\"><div class=\"head\"><h4>Gene by gene</h4></div><div class=\"legend\"><span>" +
           escape(model_name()) + " above " + escape(control_name()) + " on " + count(above) + " of " +
           count(static_cast<Index>(model.size())) + " genes (" + fixed(share, 0) + "%)</span></div>" +
           plot.open("Pearson correlation per gene of the model against the control") + plot.diagonal() +
           plot.dots(control, model, "point") + "</svg></figure>\n";
  }

  std::string gene_cards() const {
    if (order_.empty()) return {};
    std::string out =
        "<h3>Measured and predicted expression</h3>\n<p class=\"lead\">Genes by their Pearson correlation "
        "on this section: the best, those around the median, the worst. Log-normalised values; every map "
        "has its own colour scale from the 2nd to the 98th percentile of its spots, written below it, "
        "since predictions vary less than measurements. Right: each spot, measured across, predicted "
        "up.</p>\n<div class=\"grid genes\">\n";
    for (const Pick& pick : picks(order_.size(), options_)) out += gene_card(order_[pick.rank], pick.kind);
    return out + "</div>\n";
  }

  std::string shown_genes() const {
    if (s_.show.empty()) return {};
    std::string out =
        "<h3>Chosen genes</h3>\n<p class=\"lead\">Those asked for, whatever their correlation; maps as below.</p>\n"
        "<div class=\"grid genes\">\n";
    for (const std::string& gene : s_.show)
      out += gene_card(std::find(s_.genes.begin(), s_.genes.end(), gene) - s_.genes.begin(), "");
    return out + "</div>\n";
  }

  /// `kind` says why the gene is here: best, median, worst; may be empty.
  std::string gene_card(Index g, std::string_view kind) const {
    const std::string& name = s_.genes[at(g)];
    const std::vector<double> measured = column_values(s_.measured, g), predicted = column_values(s_.predicted, g);
    std::string rank = "constant, without a correlation";
    if (s_.model.defined[at(g)] != 0) {
      const auto place = std::find(order_.begin(), order_.end(), g) - order_.begin();
      rank = std::string(kind) + (kind.empty() ? "" : ", ") + count(place + 1) + " of " +
             count(static_cast<Index>(order_.size())) + " \u00b7 <b>r = " + fixed(s_.model.pearson[at(g)], 3) + "</b>";
    }
    return "<figure class=\"card\"><div class=\"head\"><h4>" + escape(name) + "</h4><span class=\"value\">" + rank +
           "</span></div><div class=\"triple\">" + value_map("Measured", "Measured " + name, measured) +
           value_map("Predicted", "Predicted " + name, predicted) + spot_scatter(measured, predicted) +
           "</div></figure>\n";
  }

  /// Measured against predicted of one gene; evenly thinned beyond 4,000 spots.
  std::string spot_scatter(const std::vector<double>& measured, const std::vector<double>& predicted) const {
    const std::size_t stride = std::max<std::size_t>(1, (measured.size() + 3999) / 4000);
    std::vector<double> a, b;
    for (std::size_t i = 0; i < measured.size(); i += stride) {
      a.push_back(measured[i]);
      b.push_back(predicted[i]);
    }
    const double width = 200, axis = 34;
    const double height = std::clamp(width * frame_.height() / MapFrame::units + axis, 150.0, 260.0);
    const Plot plot(range_of(a), range_of(b),
                    {.width = width,
                     .height = height,
                     .log_y = false,
                     .x_ticks = 4,
                     .y_ticks = 4,
                     .x_label = "measured",
                     .y_label = "predicted"});
    return "<div><div class=\"what-map\">Each spot</div>" + plot.open("Predicted against measured, each spot") +
           plot.diagonal() + plot.dots(a, b, "point") + "</svg></div>";
  }

  /// Genes of the selector, best first: all where they fit, otherwise the ones on the page and the highest measured.
  std::vector<Index> explorer_genes(Index bytes) const {
    const auto spots = static_cast<Index>(s_.spots.size());
    const Index per_gene = (2 * spots + 2) / 3 * 4 + 64;
    const Index room = bytes / per_gene;
    std::vector<Index> listed = order_;
    for (std::size_t g = 0; g < s_.genes.size(); ++g)
      if (s_.model.defined[g] == 0) listed.push_back(static_cast<Index>(g));
    if (static_cast<Index>(listed.size()) <= room) return listed;
    std::vector<double> means;
    for (std::size_t g = 0; g < s_.genes.size(); ++g) {
      const double mean = finite_mean(column_values(s_.measured, static_cast<Index>(g)));
      means.push_back(std::isfinite(mean) ? mean : -1);
    }
    std::vector<Index> by_mean = listed;
    std::stable_sort(by_mean.begin(), by_mean.end(), [&](Index a, Index b) { return means[at(a)] > means[at(b)]; });
    std::set<Index> chosen;
    for (const Pick& pick : picks(order_.size(), options_))
      if (static_cast<Index>(chosen.size()) < room) chosen.insert(order_[pick.rank]);
    for (const std::string& gene : s_.show)
      if (static_cast<Index>(chosen.size()) < room)
        chosen.insert(std::find(s_.genes.begin(), s_.genes.end(), gene) - s_.genes.begin());
    for (const Index g : by_mean) {
      if (static_cast<Index>(chosen.size()) >= room) break;
      chosen.insert(g);
    }
    std::erase_if(listed, [&](Index g) { return !chosen.contains(g); });
    return listed;
  }

  std::string explorer(Index bytes) const {
    const std::vector<Index> genes = explorer_genes(bytes);
    if (genes.empty()) return {};
    std::string values, names, options;
    for (const Index g : genes) {
      const double r = s_.model.pearson[at(g)];
      names += (names.empty() ? "[" : ",[") + json_string(s_.genes[at(g)]) + "," +
               (s_.model.defined[at(g)] != 0 ? plain(r, 4) : "null");
      for (const auto& matrix : {s_.measured, s_.predicted}) {
        const std::vector<double> column = column_values(matrix, g);
        const Range range = range_of(column);
        names += "," + plain(range.low, 5) + "," + plain(range.high, 5);
        for (const double v : column)
          values += std::isfinite(v) ? static_cast<char>(static_cast<std::uint8_t>(std::lround(
                                           std::clamp((v - range.low) / (range.high - range.low), 0.0, 1.0) * 254)))
                                     : '\xFF';
      }
      names += "]";
      options += "<option value=\"" + escape(s_.genes[at(g)]) + "\"></option>";
    }
    const double plot_height = std::clamp(300 * frame_.height() / MapFrame::units, 200.0, 400.0);
    const std::string base = plain(plot_height - 42, 0);
    std::string json = "{\"radius\":" + plain(frame_.diameter() / 2, 1) + ",\"base\":" + base;
    const auto list = [&](std::string_view key, auto&& text) {
      json += ",\"" + std::string(key) + "\":[";
      for (std::size_t i = 0; i < s_.spots.size(); ++i) json += (i == 0 ? "" : ",") + text(i);
      json += "]";
    };
    list("x", [&](std::size_t i) { return plain(frame_.points()[i].first, 0); });
    list("y", [&](std::size_t i) { return plain(frame_.points()[i].second, 0); });
    list("spots", [&](std::size_t i) { return json_string(s_.spots[i]); });
    json += ",\"colours\":[";
    for (std::size_t k = 0; k < expression_.size(); ++k) json += (k == 0 ? "\"" : ",\"") + hex(expression_[k]) + "\"";
    json += "],\"genes\":[" + names + "]}";

    const std::string id = "genes-" + number_;
    const auto map = [&](std::string_view label, std::string_view css) {
      return "<div class=\"" + std::string(css) + "\"><div class=\"what-map\">" + std::string(label) + "</div>" +
             frame_.open(std::string(label) + " expression of the chosen gene") + tissue("tissue") + "</svg>" +
             scale_bar("", "", "expression") + "</div>";
    };
    const auto bound = [](std::string_view css, double x, double y) {
      return "<text class=\"tick bound" + std::string(css) + "\" x=\"" + plain(x, 0) + "\" y=\"" + plain(y, 0) +
             "\"></text>";
    };
    std::string out = "<div class=\"scripted\"><h3>Any gene</h3>\n<p class=\"lead\">";
    out += genes.size() == s_.genes.size() ? "All " + counted(static_cast<Index>(genes.size()), "gene", "genes")
                                           : count(static_cast<Index>(genes.size())) + " of " +
                                                 counted(static_cast<Index>(s_.genes.size()), "gene", "genes") +
                                                 ", those with the highest measured mean";
    out +=
        ", in the order of their correlation. Type a name, or step through.</p>\n<div class=\"card explorer\">"
        "<div class=\"controls\"><input type=\"text\" list=\"" +
        id + "\" aria-label=\"Gene\" autocomplete=\"off\" spellcheck=\"false\"/><datalist id=\"" + id + "\">" +
        options +
        "</datalist><button type=\"button\" class=\"previous\" aria-label=\"previous gene\">\u2039 better</button>"
        "<button type=\"button\" class=\"next\" aria-label=\"next gene\">worse \u203a</button>"
        "<span class=\"found\"></span><label><input type=\"checkbox\" class=\"shared\"/>one scale for both maps"
        "</label></div><div class=\"triple\">" +
        map("Measured", "measured") + map("Predicted", "predicted") +
        "<div><div class=\"what-map\">Each spot</div><svg class=\"chart\" viewBox=\"0 0 300 " + plain(plot_height, 0) +
        "\" role=\"img\" aria-label=\"Predicted against measured, each spot\"><path class=\"axis\" d=\"M38 8V" + base +
        "H290\"/>" + bound("", 40, plot_height - 27) + bound(" end", 290, plot_height - 27) +
        bound(" end", 33, plot_height - 44) + bound(" end", 33, 16) + "<text class=\"label mid\" x=\"164\" y=\"" +
        plain(plot_height - 8, 0) + "\">measured</text><text class=\"label mid\" transform=\"translate(11 " +
        plain(0.5 * (plot_height - 34), 0) +
        ") rotate(-90)\">predicted</text></svg></div></div>"
        "<script type=\"application/json\" class=\"about\">" +
        json + "</script><script type=\"text/plain\" class=\"values\">" + eosin::io::base64(values) +
        "</script></div></div>\n";
    return out;
  }

  std::string compositions() const {
    if (s_.composition.empty()) return {};
    const bool paired = !s_.reference.empty();
    const auto types = static_cast<Index>(s_.types.size());
    std::vector<double> mean, reference_mean, r;
    for (Index k = 0; k < types; ++k) {
      const std::vector<double> predicted = column_values(s_.composition, k);
      mean.push_back(finite_mean(predicted));
      if (!paired) continue;
      const std::vector<double> reference = column_values(s_.reference, k);
      reference_mean.push_back(finite_mean(reference));
      r.push_back(pearson(predicted, reference));
    }
    std::vector<Index> order(at(types));
    std::iota(order.begin(), order.end(), Index{0});
    const auto share = [&](Index k) {
      const double v = mean[at(k)] + (paired ? reference_mean[at(k)] : 0.0);
      return std::isfinite(v) ? v : -1;
    };
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return share(a) > share(b); });

    std::string out =
        "<h3>Composition</h3>\n<p class=\"lead\">The share of each cell type in each spot, as the model "
        "reads it from the image";
    out += paired ? ", beside: " + escape(s_.reference_name) + ".</p>\n" : ".</p>\n";

    std::vector<Colour> colours(at(types));
    for (std::size_t i = 0; i < order.size(); ++i) colours[at(order[i])] = category_colour(static_cast<Index>(i));
    const auto dominant = [&](std::string_view label, eosin::MatrixView<const float> shares) {
      std::vector<int> level;
      for (Index i = 0; i < shares.rows(); ++i) {
        int top = -1;
        for (Index k = 0; k < types; ++k) {
          if (!std::isfinite(shares(i, k))) continue;
          if (top < 0 || shares(i, k) > shares(i, static_cast<Index>(top))) top = static_cast<int>(k);
        }
        level.push_back(top);
      }
      return "<figure class=\"card\"><div class=\"head\"><h4>Dominant type, " + std::string(label) + "</h4></div>" +
             frame_.open("Dominant cell type, " + std::string(label)) + tissue("tissue") +
             frame_.spots(level, colours) + "</svg></figure>\n";
    };
    out += std::string("<div class=\"grid overview") + (paired ? "" : " two") + "\">\n" +
           dominant("predicted", s_.composition);
    if (paired) out += dominant("reference", s_.reference);
    out +=
        "<div class=\"card wide\"><div class=\"head\"><h4>Cell types</h4></div><table class=\"shares\"><thead><tr>"
        "<th>Mean share</th><th>predicted</th>";
    if (paired) out += "<th>reference</th><th>r</th>";
    out += "</tr></thead><tbody>";
    for (const Index k : order) {
      out += "<tr><th><span class=\"key-box\" style=\"background:" + hex(colours[at(k)]) + "\"></span>" +
             escape(s_.types[at(k)]) + "</th><td>" + percent(mean[at(k)]) + "</td>";
      if (paired) out += "<td>" + percent(reference_mean[at(k)]) + "</td><td>" + fixed(r[at(k)], 2) + "</td>";
      out += "</tr>";
    }
    out += "</tbody></table></div>\n</div>\n<div class=\"grid types" + std::string(paired ? "" : " single") +
           "\" style=\"margin-top:16px\">\n";
    std::string folded;
    Index shown = 0;
    for (const Index k : order) {
      std::string& target = shown < options_.open_types ? out : folded;
      target += type_card(k, paired, paired ? r[at(k)] : 0.0);
      ++shown;
    }
    out += "</div>\n";
    if (!folded.empty())
      out += "<details><summary>" + count(types - options_.open_types) +
             " further types, by mean share</summary><div class=\"grid types" + (paired ? "" : " single") + "\">\n" +
             folded + "</div></details>\n";
    return out;
  }

  static std::string percent(double share) { return std::isfinite(share) ? fixed(100 * share, 1) + "%" : "\u2013"; }

  /// One colour scale for both maps of a type: both are shares of the same kind.
  std::string type_card(Index k, bool paired, double r) const {
    const std::vector<double> predicted = column_values(s_.composition, k);
    std::vector<double> both = predicted, reference;
    if (paired) {
      reference = column_values(s_.reference, k);
      both.insert(both.end(), reference.begin(), reference.end());
    }
    const Range range{0, std::max(colour_range(both).high, 0.01)};
    const auto map = [&](std::string_view label, std::span<const double> values) {
      const std::string& type = s_.types[at(k)];
      return "<div>" + (paired ? "<div class=\"what-map\">" + std::string(label) + "</div>" : std::string()) +
             frame_.open("Share of " + type + ", " + std::string(label)) + tissue("tissue") +
             frame_.spots(colour_levels(values, range, colour_steps), proportion_) + "</svg></div>";
    };
    std::string out = "<figure class=\"card\"><div class=\"head\"><h4>" + escape(s_.types[at(k)]) + "</h4>";
    if (paired) out += "<span class=\"value\"><b>r = " + fixed(r, 2) + "</b></span>";
    out += "</div><div class=\"pair\">" + map("Predicted", predicted);
    if (paired) out += map("Reference", reference);
    return out + "</div>" + scale_bar("0", percent(range.high), "proportion") + "</figure>\n";
  }

  std::string domains() const {
    const Domains& d = s_.domains;
    if (d.count < 1) return {};
    const bool annotated = !d.annotation.empty();
    Index numbers = static_cast<Index>(d.labels.size());
    for (const auto* labels : {&d.predicted, &d.measured})
      for (const Index label : *labels) numbers = std::max(numbers, label + 1);
    std::vector<Colour> colours;
    for (Index k = 0; k < numbers; ++k) colours.push_back(category_colour(k));
    const auto map = [&](std::string_view label, std::string_view value, const std::vector<Index>& numbered) {
      return "<figure class=\"card\"><div class=\"head\"><h4>" + std::string(label) + "</h4><span class=\"value\">" +
             std::string(value) + "</span></div>" + frame_.open("Spatial domains: " + std::string(label)) +
             tissue("tissue") + frame_.spots(std::vector<int>(numbered.begin(), numbered.end()), colours) +
             "</svg></figure>\n";
    };
    const auto figures = [](const Agreement& a) {
      return "<b>ARI " + fixed(a.rand_index, 3) + "</b> \u00b7 NMI " + fixed(a.mutual_information, 3);
    };
    std::string out = "<h3>Spatial domains</h3>\n<p class=\"lead\">" + counted(d.count, "cluster", "clusters") +
                      " of spots by k-means on the principal components of expression, which look neither at places "
                      "nor at an annotation. ";
    if (annotated)
      out += "Above each map how far it agrees with the annotation: adjusted Rand index (1 the same, 0 as by chance) "
             "and normalised mutual information; measured expression shows what there is to find. Clusters take the "
             "colour of the label that they overlap most. ";
    out += "Predicted with measured: ARI " + fixed(d.predicted_with_measured.rand_index, 3) + ", NMI " +
           fixed(d.predicted_with_measured.mutual_information, 3) + ".</p>\n";
    if (annotated) {
      out += "<div class=\"legend\">";
      for (std::size_t k = 0; k < d.labels.size(); ++k)
        out += "<span><i class=\"key-box\" style=\"background:" + hex(colours[k]) + "\"></i>" + escape(d.labels[k]) +
               "</span>";
      out += "</div>\n";
    }
    out += std::string("<div class=\"grid overview") + (annotated ? "" : " two") + "\">\n";
    if (annotated)
      out += map("Annotation", counted(static_cast<Index>(d.labels.size()), "label", "labels"), d.annotation);
    out += map("Measured", annotated ? figures(d.measured_with_annotation) : "", d.measured) +
           map("Predicted", annotated ? figures(d.predicted_with_annotation) : "", d.predicted);
    return out + "</div>\n";
  }

  std::string patch_html(const eosin::vision::Image& patch, std::string_view description) const {
    const std::string uri = data_uri(patch, options_.image_quality);
    if (uri.empty()) return "<span class=\"patch\"></span>";
    return "<img class=\"patch\" alt=\"" + escape(description) + "\" src=\"" + uri + "\"/>";
  }

  /// The spots that the examples are of, numbered on the tissue.
  std::string retrieval_map() const {
    const double radius = std::clamp(0.75 * frame_.diameter(), 17.0, 40.0);
    std::string out = "<figure class=\"card where\"><div class=\"head\"><h4>Where they lie</h4></div>" +
                      frame_.open("The spots of the examples on the section") + tissue("tissue full");
    for (std::size_t k = 0; k < s_.retrieval.size(); ++k) {
      const auto spot = std::find(s_.spots.begin(), s_.spots.end(), s_.retrieval[k].spot) - s_.spots.begin();
      const auto& [x, y] = frame_.points()[at(spot)];
      out += "<circle class=\"mark\" cx=\"" + plain(x, 0) + "\" cy=\"" + plain(y, 0) + "\" r=\"" +
             plain(radius, 0) + "\"/><text class=\"mark\" x=\"" + plain(x, 0) + "\" y=\"" +
             plain(y + 0.36 * radius, 0) + "\" font-size=\"" + plain(1.05 * radius, 0) + "\">" +
             count(static_cast<Index>(k) + 1) + "</text>";
    }
    return out + "</svg></figure>\n";
  }

  std::string retrieval() const {
    if (s_.retrieval.empty()) return {};
    std::string out =
        "<h3>Retrieved spots</h3>\n<p class=\"lead\">Some spots of this section, spread over it, and the training "
        "spots that the model finds nearest to them, whose expression it averages. The patch of the test spot is "
        "framed; below the others their section, spot and cosine similarity.</p>\n<div class=\"grid retrieval\">\n" +
        retrieval_map();
    Index number = 0;
    for (const RetrievalExample& example : s_.retrieval) {
      out += "<figure class=\"card\"><div class=\"head\"><h4>" + count(++number) + " \u00b7 " + escape(example.spot) +
             "</h4></div><div class=\"patches\"><div class=\"query\">" +
             patch_html(example.patch, "Patch of test spot " + example.spot) +
             "<div class=\"small\">this spot</div></div>";
      for (const auto& match : example.matches)
        out += "<div>" + patch_html(match.patch, "Patch of training spot " + match.label) + "<div class=\"small\">" +
               escape(match.label) + "<br/>" + fixed(match.similarity, 3) + "</div></div>";
      out += "</div></figure>\n";
    }
    return out + "</div>\n";
  }

  const SectionView& s_;
  const ReportOptions& options_;
  std::string number_;
  MapFrame frame_;
  std::vector<Colour> expression_, proportion_;
  std::vector<Index> order_;
  std::string tissue_uri_;
};

}  // namespace detail

/// The part of the page on one section; `number` makes its ids unique. Throws ShapeError or ValueError.
inline std::string section_html(const SectionView& section, std::size_t number, Index explorer_bytes,
                                const ReportOptions& options) {
  detail::check_section(section);
  return detail::SectionDrawing(section, number, options).html(explorer_bytes);
}

}  // namespace report
