#pragma once

// One self-contained page on a run: key figures, training curves, metrics beside their controls, maps on the tissue.
// The page loads nothing (its content security policy forbids it), follows the light or dark theme of its reader,
// prints, and needs its script only for the gene selector.
//
// Size: about 10 bytes per spot and map, two maps per shown gene and type, one JPEG per section, and at most
// ReportOptions::explorer_bytes for the gene selector.

#include "common/report_data.hpp"
#include "common/report_metrics.hpp"
#include "common/report_page.hpp"
#include "common/report_section.hpp"
#include "common/report_training.hpp"

#include <eosin/core/version.hpp>
#include <eosin/io/atomic_file.hpp>

#include <filesystem>
#include <string>

namespace report {

/// The page as text. Throws ShapeError or ValueError where the parts of a section do not fit together.
inline std::string report_html(const ReportData& data, const ReportOptions& options = {}) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>" +
      escape(data.title) + "</title>\n<style>" + page_style() +
      "</style>\n</head>\n<body>\n<header class=\"top\">\n<h1>" + escape(data.title) + "</h1>\n";
  if (!data.subtitle.empty()) out += "<p class=\"subtitle\">" + escape(data.subtitle) + "</p>\n";
  out += tiles_html(data);
  out += "<nav aria-label=\"Contents\">";
  if (!data.metrics.empty()) out += "<a href=\"#metrics\">Metrics</a>";
  if (!data.epochs.empty()) out += "<a href=\"#training\">Training</a>";
  for (std::size_t i = 0; i < data.sections.size(); ++i)
    out += "<a href=\"#section-" + std::to_string(i + 1) + "\">" + escape(data.sections[i].name) + "</a>";
  out += "<a href=\"#about\">Notes and settings</a></nav>\n</header>\n<main>\n";

  out += metrics_html(data);
  out += training_html(data);
  const Index explorer_bytes =
      data.sections.empty() ? 0 : options.explorer_bytes / static_cast<Index>(data.sections.size());
  for (std::size_t i = 0; i < data.sections.size(); ++i)
    out += section_html(data.sections[i], i + 1, explorer_bytes, options);

  out += "<section id=\"about\"><h2>Notes and settings</h2>\n";
  if (!data.notes.empty()) {
    out += "<ul class=\"notes\">\n";
    for (const std::string& note : data.notes) out += "<li>" + escape(note) + "</li>\n";
    out += "</ul>\n";
  }
  if (!data.commands.empty()) {
    out += "<details><summary>How to get this page again</summary><pre>";
    for (const std::string& command : data.commands) out += escape(command) + "\n";
    out += "</pre></details>\n";
  }
  if (!data.settings.empty()) {
    out += "<details><summary>Settings</summary><table class=\"plain\"><tbody>\n";
    for (const KeyValue& setting : data.settings)
      out += "<tr><th>" + escape(setting.key) + "</th><td>" + escape(setting.value) + "</td></tr>\n";
    out += "</tbody></table></details>\n";
  }
  out += "</section>\n<footer>eosin " + std::string(eosin::version) + "</footer>\n</main>\n<script>" + page_script() +
         "</script>\n</body>\n</html>\n";
  return out;
}

/// Writes the page to `path`, atomically. Throws like report_html, and FileError.
inline void write_report(const std::filesystem::path& path, const ReportData& data, const ReportOptions& options = {}) {
  eosin::io::write_file(path, report_html(data, options));
}

}  // namespace report
