#include "common/report.hpp"

#include <eosin/core/buffer.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using eosin::Index;

namespace {

/// A strict reading of the page: every tag closed in order, every attribute quoted, no stray markup characters.
struct Page {
  std::string error;
  std::string
      text;  ///< text nodes outside script and style, and attribute values that a reader sees or a browser reads
  std::vector<std::pair<std::string, std::string>> attributes;  ///< "element.attribute", value
  std::vector<std::string> scripts;
  std::string styles;
  std::map<std::string, int> elements;

  explicit Page(const std::string& html) {
    static const std::set<std::string> empty_elements = {"meta", "input", "br", "hr", "img"};
    std::vector<std::string> open;
    std::size_t i = 0;
    if (html.rfind("<!DOCTYPE html>", 0) != 0) error = "no doctype";
    i = html.find('>') + 1;
    while (i < html.size() && error.empty()) {
      if (html[i] != '<') {
        const std::size_t next = std::min(html.find('<', i), html.size());
        const std::string part = html.substr(i, next - i);
        if (part.find('>') != std::string::npos) error = "stray '>' in text: " + part;
        text += part + "\n";
        i = next;
        continue;
      }
      const bool closing = html[i + 1] == '/';
      std::size_t j = i + (closing ? 2 : 1);
      std::string name;
      while (j < html.size() && std::isalnum(static_cast<unsigned char>(html[j])) != 0) name += html[j++];
      if (name.empty()) error = "stray '<' at " + html.substr(i, 40);
      bool self_closed = false;
      while (error.empty() && html[j] != '>') {
        if (html[j] == ' ' || html[j] == '\n') {
          ++j;
        } else if (html[j] == '/') {
          self_closed = true;
          ++j;
        } else {
          std::string attribute;
          while (std::isalnum(static_cast<unsigned char>(html[j])) != 0 || html[j] == '-') attribute += html[j++];
          if (attribute.empty()) {
            error = "malformed tag at " + html.substr(i, 60);
          } else if (html[j] == '=') {
            if (html[j + 1] != '"') error = "unquoted attribute at " + html.substr(i, 60);
            const std::size_t end = html.find('"', j + 2);
            attributes.emplace_back(name + "." + attribute, html.substr(j + 2, end - j - 2));
            text += attributes.back().second.substr(0, 4000) + "\n";
            j = end + 1;
          }
        }
      }
      i = j + 1;
      if (closing) {
        if (open.empty() || open.back() != name)
          error = "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
        else
          open.pop_back();
      } else {
        ++elements[name];
        if (name == "script" || name == "style") {
          const std::size_t end = html.find("</" + name + ">", i);
          if (end == std::string::npos) {
            error = name + " is not closed";
            break;
          }
          if (name == "script")
            scripts.push_back(html.substr(i, end - i));
          else
            styles += html.substr(i, end - i);
          i = end + name.size() + 3;
        } else if (!self_closed && !empty_elements.contains(name)) {
          open.push_back(name);
        }
      }
    }
    if (error.empty() && !open.empty()) error = "<" + open.back() + "> is not closed";
  }
};

/// Owns what a SectionView refers to.
struct Section {
  eosin::Matrix<float> predicted, measured, composition, reference;
  report::SectionView view;
};

double wave(Index i, Index g, double shift) {
  return std::sin(0.37 * static_cast<double>(i * (g + 2)) + shift);
}

Section make_section(const std::string& name, Index spots, Index genes, Index types) {
  Section s{eosin::Matrix<float>(spots, genes),
            eosin::Matrix<float>(spots, genes),
            eosin::Matrix<float>(spots, types),
            eosin::Matrix<float>(spots, types),
            {}};
  report::SectionView& v = s.view;
  v.name = name;
  v.thumbnail = eosin::vision::Image(40, 30);
  v.scale = 0.1;
  v.pitch = 20;
  for (Index i = 0; i < spots; ++i) {
    v.spots.push_back(std::to_string(i % 12) + "x" + std::to_string(i / 12));
    v.x.push_back(30.0 + 20.0 * static_cast<double>(i % 12));
    v.y.push_back(25.0 + 20.0 * static_cast<double>(i / 12));
    float sum = 0;
    for (Index k = 0; k < types; ++k) {
      s.composition.view()(i, k) = 1.5F + static_cast<float>(wave(i, k, 0));
      s.reference.view()(i, k) = 1.5F + static_cast<float>(wave(i, k, 0.3));
      sum += s.composition.view()(i, k);
    }
    for (Index k = 0; k < types; ++k) s.composition.view()(i, k) /= sum;
    for (Index g = 0; g < genes; ++g) {
      s.measured.view()(i, g) = static_cast<float>(wave(i, g, 0));
      s.predicted.view()(i, g) = static_cast<float>(wave(i, g, 0.1 * static_cast<double>(g)));
    }
  }
  v.predicted = s.predicted.view();
  v.measured = s.measured.view();
  v.composition = s.composition.view();
  v.reference = s.reference.view();
  v.model.name = "Model";
  v.control.name = "Ridge";
  for (Index g = 0; g < genes; ++g) {
    v.genes.push_back("GENE" + std::to_string(g));
    v.model.pearson.push_back(std::cos(0.1 * static_cast<double>(g)));
    v.model.defined.push_back(1);
    v.control.pearson.push_back(0.5 * std::cos(0.1 * static_cast<double>(g)));
    v.control.defined.push_back(1);
  }
  for (Index k = 0; k < types; ++k) v.types.push_back("Type " + std::to_string(k));
  return s;
}

report::MetricRow row(const std::string& sample, const std::string& method, double pearson, double mse) {
  report::MetricRow r;
  r.sample = sample;
  r.method = method;
  r.numbers = {{"pearson_gene_mean", pearson}, {"mse", mse}};
  return r;
}

report::ReportData make_data() {
  report::ReportData data;
  data.title = "A run";
  data.subtitle = "with everything";
  for (Index m = 0; m < 3; ++m)
    for (Index e = 1; e <= 20 + m; ++e) {
      report::Epoch epoch;
      epoch.epoch = e;
      epoch.member = m;
      epoch.train = {{"total", 100.0 / static_cast<double>(e * e)}, {"composition", 0.0}};
      epoch.validation = {{"total", 2.0 / static_cast<double>(e)},
                          {"pearson_gene_mean", 0.01 * static_cast<double>(e)}};
      epoch.learning_rate = 1e-3 / static_cast<double>(e);
      epoch.kept = e == 10 + m;
      data.epochs.push_back(epoch);
    }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const char* sample : {"S1", "S2"}) {
    data.metrics.push_back(row(sample, "Model", 0.2111, 0.31));
    data.metrics.push_back(row(sample, "Ridge", 0.1222, 0.29));
    data.metrics.back().is_control = true;
    data.metrics.push_back(row(sample, "Constant", nan, 0.4));
    data.metrics.back().is_control = true;
    data.metrics.push_back(row(sample, "Library size", 0.9333, 0.1));
    data.metrics.back().is_control = data.metrics.back().is_oracle = true;
    data.metrics.back().undefined_genes = 4;
  }
  data.notes = {"one note"};
  data.settings = {{"seed", "1"}};
  data.commands = {"cpnn run --simulate"};
  return data;
}

std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

std::size_t occurrences(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

std::vector<int> unbase64(std::string_view text) {
  static const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<int> bytes;
  unsigned group = 0, bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    group = (group << 6U | static_cast<unsigned>(alphabet.find(c))) & 0xFFFFFFU;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<int>(group >> bits & 255U));
    }
  }
  return bytes;
}

/// `word` in any case, not as a part of a longer word.
bool has_word(std::string_view text, std::string_view word) {
  const auto lower = [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); };
  const auto inside_word = [&](std::size_t i) {
    return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])) != 0;
  };
  for (std::size_t i = 0; i + word.size() <= text.size(); ++i) {
    std::size_t k = 0;
    while (k < word.size() && lower(text[i + k]) == word[k]) ++k;
    if (k == word.size() && !inside_word(i + k) && (i == 0 || !inside_word(i - 1))) return true;
  }
  return false;
}

/// CIE lightness of an sRGB colour, 0..100.
double cie_lightness(report::Colour c) {
  const auto linear = [](std::uint8_t v) {
    const double e = v / 255.0;
    return e <= 0.04045 ? e / 12.92 : std::pow((e + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
  return y <= 216.0 / 24389 ? y * 24389 / 27 : 116 * std::cbrt(y) - 16;
}

}  // namespace

TEST_CASE("report: the page is well formed, refers only to itself and shows no NaN") {
  report::ReportData data = make_data();
  Section a = make_section("S1", 60, 30, 5), b = make_section("S2", 36, 12, 15);
  a.predicted.view()(3, 2) = std::numeric_limits<float>::quiet_NaN();
  a.reference.view()(0, 0) = std::numeric_limits<float>::quiet_NaN();
  for (Index i = 0; i < 60; ++i) a.measured.view()(i, 5) = 0;
  a.view.model.defined[5] = 0;
  a.view.model.pearson[5] = 0;
  b.view.thumbnail = {};
  b.view.pitch = 0;
  b.view.reference = {};
  b.view.control = {};
  data.sections = {a.view, b.view};
  const std::string html = report::report_html(data);
  const Page page(html);
  CHECK(page.error == "");

  std::set<std::string> ids;
  std::vector<std::string> links;
  for (const auto& [name, value] : page.attributes) {
    if (name.ends_with(".id")) CHECK_MESSAGE(ids.insert(value).second, "id twice: " << value);
    if (name.ends_with(".href") || name.ends_with(".src") || name.ends_with(".srcset") || name.ends_with(".action")) {
      CHECK_MESSAGE((value.starts_with("#") || value.starts_with("data:image/")), name << " = " << value.substr(0, 60));
      if (value.starts_with("#")) links.push_back(value.substr(1));
    }
    CHECK_FALSE(name.starts_with("link."));
  }
  for (const std::string& link : links) CHECK_MESSAGE(ids.contains(link), "no element has id " << link);
  CHECK(html.find("http://") == std::string::npos);
  CHECK(html.find("https://") == std::string::npos);
  CHECK(page.styles.find("url(") == std::string::npos);
  CHECK(page.styles.find("@import") == std::string::npos);
  CHECK(html.find("default-src 'none'") != std::string::npos);

  for (const char* word : {"nan", "inf", "infinity"}) CHECK_FALSE(has_word(page.text, word));
  CHECK(page.elements.at("table") >= 4);
  CHECK(page.text.find("with everything") != std::string::npos);
  CHECK(page.text.find("cpnn run --simulate") != std::string::npos);
  CHECK(page.text.find("3 further types") != std::string::npos);
  CHECK(page.text.find("1 of them constant") != std::string::npos);
}

TEST_CASE("report: empty data make a page too") {
  CHECK(Page(report::report_html({})).error == "");
  report::ReportData data;
  data.sections.resize(2);
  data.sections[1].name = "no genes";
  data.sections[1].spots = {"1x1"};
  data.sections[1].x = {10};
  data.sections[1].y = {20};
  CHECK(Page(report::report_html(data)).error == "");
}

TEST_CASE("report: every text is escaped") {
  const std::string hostile = "</script><b>&\"'\x01\xFF<!--";
  report::ReportData data = make_data();
  Section s = make_section(hostile, 24, 6, 3);
  s.view.genes[0] = s.view.genes[5] = s.view.spots[0] = s.view.types[0] = hostile;
  s.view.model.name = s.view.control.name = s.view.reference_name = hostile;
  data.sections = {s.view};
  data.title = data.subtitle = hostile;
  data.tiles = {{hostile, hostile, hostile}};
  data.metrics[0].method = data.metrics[0].sample = data.columns[0].label = hostile;
  data.epochs[0].train[0].name = data.epochs[0].validation[0].name = hostile;
  data.notes = data.commands = {hostile};
  data.settings = {{hostile, hostile}};
  const std::string html = report::report_html(data);
  const Page page(html);
  CHECK(page.error == "");
  CHECK(html.find("</script><b>") == std::string::npos);
  CHECK(html.find("<!--") == std::string::npos);
  CHECK_FALSE(page.elements.contains("b><"));
  CHECK(html.find("&lt;/script&gt;&lt;b&gt;&amp;&quot;&#39;\xEF\xBF\xBD\xEF\xBF\xBD&lt;!--") != std::string::npos);
  REQUIRE(page.scripts.size() == 3);
  const auto json = nlohmann::json::parse(page.scripts[0]);
  CHECK(json["spots"][0].get<std::string>() == "</script><b>&\"'\x01\xEF\xBF\xBD<!--");
}

TEST_CASE("report: the selector carries every gene to half a quantisation step") {
  report::ReportData data;
  Section s = make_section("S", 30, 7, 0);
  s.measured.view()(4, 1) = std::numeric_limits<float>::quiet_NaN();
  data.sections = {s.view};
  const Page page(report::report_html(data));
  REQUIRE(page.scripts.size() == 3);
  const auto about = nlohmann::json::parse(page.scripts[0]);
  const std::vector<int> bytes = unbase64(page.scripts[1]);
  REQUIRE(about["genes"].size() == 7);
  REQUIRE(about["x"].size() == 30);
  REQUIRE(bytes.size() == 7 * 2 * 30);
  for (std::size_t k = 0; k < 7; ++k) {
    const auto& entry = about["genes"][k];
    const Index g = std::stoll(entry[0].get<std::string>().substr(4));
    CHECK(entry[1].get<double>() == doctest::Approx(s.view.model.pearson[static_cast<std::size_t>(g)]).epsilon(1e-3));
    for (std::size_t side = 0; side < 2; ++side) {
      const double low = entry[2 + 2 * side], high = entry[3 + 2 * side];
      for (std::size_t i = 0; i < 30; ++i) {
        const int b = bytes[(2 * k + side) * 30 + i];
        const auto m = side == 0 ? s.view.measured : s.view.predicted;
        const double want = static_cast<double>(m(static_cast<Index>(i), g));
        if (std::isnan(want)) {
          CHECK(b == 255);
          continue;
        }
        CHECK(b < 255);
        CHECK(std::abs(low + (high - low) * b / 254 - want) <= 0.51 * (high - low) / 254 + 1e-5);
      }
    }
  }
  // Best first.
  for (std::size_t k = 1; k < 7; ++k)
    CHECK(about["genes"][k - 1][1].get<double>() >= about["genes"][k][1].get<double>());
}

TEST_CASE("report: the selector keeps to its size and keeps the genes that are shown") {
  report::ReportData data;
  Section s = make_section("S", 30, 50, 0);
  data.sections = {s.view};
  report::ReportOptions options;
  options.explorer_bytes = 20 * (80 + 64);
  const Page page(report::report_html(data, options));
  REQUIRE(page.scripts.size() == 3);
  const auto about = nlohmann::json::parse(page.scripts[0]);
  CHECK(about["genes"].size() == 20);
  std::set<std::string> listed;
  for (const auto& gene : about["genes"]) listed.insert(gene[0].get<std::string>());
  const std::vector<Index> order = report::detail::ranking(s.view.model);
  for (const auto& pick : report::detail::picks(order.size(), options))
    CHECK(listed.contains(s.view.genes[static_cast<std::size_t>(order[pick.rank])]));
  options.explorer_bytes = 0;
  const Page without(report::report_html(data, options));
  CHECK(without.error == "");
  CHECK(without.scripts.size() == 1);
}

TEST_CASE("report: chosen genes are shown whatever their rank, a constant one without a correlation") {
  report::ReportData data;
  Section s = make_section("S", 30, 30, 0);
  s.view.show = {"GENE20", "GENE7", "GENE0"};
  s.view.model.defined[7] = 0;
  data.sections = {s.view};
  report::ReportOptions options;
  options.explorer_bytes = 11 * (80 + 64);
  const std::string html = report::report_html(data, options);
  const Page page(html);
  CHECK(page.error == "");
  const std::string chosen = html.substr(html.find("Chosen genes"), html.find("Measured and predicted expression") -
                                                                        html.find("Chosen genes"));
  CHECK(occurrences(chosen, "<figure") == 3);
  CHECK(chosen.find("<h4>GENE20</h4><span class=\"value\">20 of 29") != std::string::npos);
  CHECK(chosen.find("<h4>GENE7</h4><span class=\"value\">constant") != std::string::npos);
  CHECK(chosen.find("GENE0</h4><span class=\"value\">1 of 29") != std::string::npos);
  CHECK(html.find("best, 1 of 29") != std::string::npos);
  // The selector keeps them too.
  std::set<std::string> listed;
  const auto about = nlohmann::json::parse(page.scripts[0]);
  for (const auto& gene : about["genes"]) listed.insert(gene[0].get<std::string>());
  CHECK(listed.size() == 11);
  for (const auto& gene : s.view.show) CHECK(listed.contains(gene));
}

TEST_CASE("report: domains are drawn beside the annotation, in the colours of its labels") {
  report::ReportData data;
  Section s = make_section("S", 24, 6, 0);
  auto& domains = s.view.domains;
  domains.count = 3;
  domains.labels = {"tumour", "<stroma>"};
  for (Index i = 0; i < 24; ++i) {
    domains.annotation.push_back(i == 5 ? -1 : i % 2);
    domains.predicted.push_back(i % 3);
    domains.measured.push_back(i % 2);
  }
  domains.predicted_with_annotation = {0.125, 0.25};
  domains.measured_with_annotation = {0.75, 0.5};
  domains.predicted_with_measured = {-0.0626, 0.03125};
  data.sections = {s.view};
  const auto part = [&] {
    const std::string html = report::report_html(data);
    CHECK(Page(html).error == "");
    const auto at = html.find("Spatial domains</h3>");
    return at == std::string::npos ? std::string() : html.substr(at, html.find("</section>", at) - at);
  };
  const std::string annotated = part();
  CHECK(occurrences(annotated, "<figure") == 3);
  CHECK(occurrences(annotated, "class=\"unknown\"") == 1);
  CHECK(annotated.find("ARI 0.125</b> \u00b7 NMI 0.250") != std::string::npos);
  CHECK(annotated.find("ARI 0.750</b> \u00b7 NMI 0.500") != std::string::npos);
  CHECK(annotated.find("&lt;stroma&gt;") != std::string::npos);
  // Label 0 in the legend and on three maps, number 2 on one.
  const std::string colour = report::hex(report::category_colour(0));
  CHECK(occurrences(annotated, colour) == 4);
  CHECK(occurrences(annotated, report::hex(report::category_colour(2))) == 1);
  data.sections[0].domains.annotation.clear();
  data.sections[0].domains.labels.clear();
  const std::string alone = part();
  CHECK(occurrences(alone, "<figure") == 2);
  CHECK(alone.find("<b>ARI") == std::string::npos);
  CHECK(alone.find("ARI \u22120.063, NMI 0.031") != std::string::npos);
  data.sections[0].domains.count = 0;
  CHECK(part().empty());
}

TEST_CASE("report: retrieved patches stand beside the spot that asked for them") {
  report::ReportData data;
  Section s = make_section("S", 24, 6, 0);
  for (const Index spot : {3, 17}) {
    report::RetrievalExample example{s.view.spots[static_cast<std::size_t>(spot)], eosin::vision::Image(8, 8), {}};
    for (int j = 0; j < 4; ++j)
      example.matches.push_back({"T" + std::to_string(j) + " <1x1>", 0.9 - 0.1 * j, eosin::vision::Image(8, 8)});
    s.view.retrieval.push_back(std::move(example));
  }
  data.sections = {s.view};
  const std::string html = report::report_html(data);
  const Page page(html);
  CHECK(page.error == "");
  CHECK(occurrences(html, "<circle class=\"mark\"") == 2);
  CHECK(html.find("T3 &lt;1x1&gt;<br/>0.600") != std::string::npos);
  CHECK(html.find("<h4>2 \u00b7 " + s.view.spots[17] + "</h4>") != std::string::npos);
  const bool pictures = !report::data_uri(eosin::vision::Image(8, 8), 80).empty();
  CHECK(occurrences(html, "<img class=\"patch\"") == (pictures ? 10 : 0));
}

TEST_CASE("report: best, median and worst genes, none twice") {
  const auto ranks = [](std::size_t n) {
    std::vector<std::size_t> out;
    for (const auto& pick : report::detail::picks(n, {})) out.push_back(pick.rank);
    return out;
  };
  CHECK(ranks(785) == std::vector<std::size_t>{0, 1, 2, 3, 391, 392, 783, 784});
  CHECK(ranks(100) == std::vector<std::size_t>{0, 1, 2, 3, 49, 50, 98, 99});
  for (std::size_t n = 0; n <= 20; ++n) {
    const auto r = ranks(n);
    CHECK(r.size() == std::min<std::size_t>(n, 8));
    CHECK(std::is_sorted(r.begin(), r.end()));
    CHECK(std::adjacent_find(r.begin(), r.end()) == r.end());
    if (n > 0) CHECK(r.back() < n);
  }
}

TEST_CASE("report: the best of a column is no oracle") {
  report::ReportData data = make_data();
  const std::string html = report::metrics_html(data);
  CHECK(Page("<!DOCTYPE html>" + html).error == "");
  CHECK(html.find("<td class=\"best\"><span>0.211</span></td>") != std::string::npos);
  CHECK(html.find("<td class=\"best\"><span>0.2900</span></td>") != std::string::npos);
  CHECK(html.find("<td>0.933</td>") != std::string::npos);
  CHECK(html.find("Library size \u2020") != std::string::npos);
  CHECK(html.find("Mean of 2 sections") != std::string::npos);
  // Two columns with numbers, in the mean and in each of two samples.
  CHECK(occurrences(html, "class=\"best\"") == 6);

  const std::string tiles = report::tiles_html(data);
  CHECK(tiles.find("0.211") != std::string::npos);
  CHECK(tiles.find("best control 0.122, Ridge") != std::string::npos);

  // A method without a row on every sample has no mean over the samples.
  data.metrics.erase(data.metrics.begin());
  for (const report::MetricRow& mean : report::detail::mean_rows(data)) CHECK(mean.method != "Model");
}

TEST_CASE("report: every spot is drawn once on every map") {
  const std::vector<double> x = {0, 10, 20, 0, 10}, y = {0, 0, 0, 10, 10};
  const report::MapFrame frame(x, y, 10);
  CHECK(frame.x(-10) == doctest::Approx(0));
  CHECK(frame.x(30) == doctest::Approx(1000));
  CHECK(frame.height() == doctest::Approx(750));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> values = {0, 1, 2, nan, 4};
  const std::vector<int> levels = report::colour_levels(values, {0, 4}, 8);
  CHECK(levels == std::vector<int>{0, 2, 4, -1, 7});
  const std::string svg = frame.spots(levels, report::palette_of(report::expression_colour, 8));
  CHECK(occurrences(svg, "h0") == 5);
  CHECK(occurrences(svg, "class=\"unknown\"") == 1);
  CHECK(svg.find("M250 250h0") != std::string::npos);
  const report::MapFrame lone(std::vector<double>{5}, std::vector<double>{5}, 0);
  CHECK(std::isfinite(lone.height()));
}

TEST_CASE("report: ranges and ticks") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> values(101);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
  values.push_back(nan);
  CHECK(report::colour_range(values).low == 2);
  CHECK(report::colour_range(values).high == 98);
  std::vector<double> sparse(100, 0.0);
  sparse[7] = 3;
  CHECK(report::colour_range(sparse).high == 3);
  CHECK(report::range_of(std::vector<double>{nan}).high == 1);
  for (const report::Range range :
       {report::Range{0, 1}, {-0.3, 0.71}, {0.0001, 0.001}, {1, 400}, {5, 6}, {-1e6, 2e7}}) {
    const auto ticks = report::detail::linear_ticks(range, 4);
    CHECK(ticks.at.size() >= 3);
    CHECK(ticks.at.size() <= 12);
    for (const double t : ticks.at) {
      CHECK(t >= range.low - 1e-9 * std::abs(range.high));
      CHECK(t <= range.high + 1e-9 * std::abs(range.high));
    }
  }
}

TEST_CASE("report: colour scales rise evenly in lightness") {
  for (const auto scale : {report::expression_colour, report::proportion_colour}) {
    double smallest = 100, largest = -100;
    for (int i = 0; i < 16; ++i) {
      const double step = cie_lightness(scale((i + 1) / 16.0)) - cie_lightness(scale(i / 16.0));
      smallest = std::min(smallest, step);
      largest = std::max(largest, step);
    }
    CHECK(smallest > 2);
    CHECK(largest < 2.2 * smallest);
    CHECK(scale(-1) == scale(0));
    CHECK(scale(2) == scale(1));
  }
  std::set<std::string> categories;
  for (Index i = 0; i < 32; ++i) categories.insert(report::hex(report::category_colour(i)));
  CHECK(categories.size() == 32);
}

TEST_CASE("report: numbers for readers and for drawings") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(report::fixed(0.12345, 3) == "0.123");
  CHECK(report::fixed(-0.5, 2) == "\u22120.50");
  CHECK(report::fixed(-0.0001, 2) == "0.00");
  CHECK(report::fixed(1234567.891, 1) == "1,234,567.9");
  CHECK(report::fixed(nan, 2) == "\u2013");
  CHECK(report::significant(0.031234) == "0.0312");
  CHECK(report::significant(1234.4) == "1,234");
  CHECK(report::significant(1e-9, 1) == "1e\u22129");
  CHECK(report::significant(-2.5e12) == "\u22122.5e12");
  CHECK(report::significant(0) == "0");
  CHECK(report::plain(1.50, 2) == "1.5");
  CHECK(report::plain(-0.001, 1) == "0");
  CHECK(report::plain(120, 0) == "120");
  CHECK_THROWS_AS(report::plain(nan, 1), eosin::ValueError);
  CHECK(report::duration(3.21) == "3.2 s");
  CHECK(report::duration(59.7) == "1.0 min");
  CHECK(report::duration(1500) == "25 min");
  CHECK(report::duration(7560) == "2.1 h");
  CHECK(report::counted(1, "gene", "genes") == "1 gene");
  CHECK(report::escape("a\tb\xC3\xA9\xE2\x82") == "a\tb\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_CASE("report: parts that do not fit together are refused") {
  report::ReportData data;
  Section s = make_section("S", 20, 5, 2);
  data.sections = {s.view};
  CHECK_NOTHROW(report::report_html(data));
  const auto broken = [&](auto change) {
    report::ReportData copy = data;
    change(copy.sections[0]);
    return report::report_html(copy);
  };
  CHECK_THROWS_AS(broken([](auto& v) { v.x.pop_back(); }), eosin::ShapeError);
  CHECK_THROWS_AS(broken([](auto& v) { v.genes.pop_back(); }), eosin::ShapeError);
  CHECK_THROWS_AS(broken([](auto& v) { v.types.pop_back(); }), eosin::ShapeError);
  CHECK_THROWS_AS(broken([](auto& v) { v.control.defined.pop_back(); }), eosin::ShapeError);
  CHECK_THROWS_AS(broken([](auto& v) { v.y[3] = std::nan(""); }), eosin::ValueError);
  CHECK_THROWS_AS(broken([](auto& v) { v.scale = 0; }), eosin::ValueError);
  CHECK_THROWS_AS(broken([](auto& v) { v.show = {"GENE1", "GENE9"}; }), eosin::ValueError);
  CHECK_THROWS_AS(broken([](auto& v) { v.retrieval.push_back({"nowhere", {}, {}}); }), eosin::ValueError);
  CHECK_THROWS_AS(broken([](auto& v) { v.domains.count = 2; }), eosin::ShapeError);
  CHECK_THROWS_AS(broken([](auto& v) { v.model.pearson[1] = std::nan(""); }), eosin::ValueError);
}

TEST_CASE("report: is written whole or not at all") {
  const auto folder = std::filesystem::temp_directory_path() / "eosin-report-test";
  std::filesystem::create_directories(folder);
  const auto path = folder / "report.html";
  report::write_report(path, make_data());
  CHECK(slurp(path) == report::report_html(make_data()));
  report::ReportData bad;
  bad.sections.resize(1);
  bad.sections[0].scale = -1;
  CHECK_THROWS_AS(report::write_report(path, bad), eosin::ValueError);
  CHECK(slurp(path) == report::report_html(make_data()));
  CHECK_THROWS_AS(report::write_report(folder / "absent" / "report.html", make_data()), eosin::FileError);
  std::filesystem::remove_all(folder);
}
