#pragma once

// The manifest of a study: samples.csv with one row per section and the columns
//   sample,patient,counts,spots,image,features,composition[,annotation]
// Paths are relative to the manifest's folder; an empty field means that there is no such file. Other columns are
// ignored. docs/formats.md describes the files.

#include <eosin/core/error.hpp>
#include <eosin/io/table.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace eosin::data {

struct ManifestRow {
  std::string sample;
  std::string patient;  // the sample's name where the field is empty
  std::filesystem::path counts, spots, image, features, composition, annotation;  // empty where there is none
  std::string place;                                                              // "FILE:LINE", for messages
};

struct Manifest {
  std::string file;
  std::vector<ManifestRow> rows;

  /// Throws ParseError naming the samples there are.
  const ManifestRow& at(std::string_view sample) const {
    std::string known;
    for (const auto& row : rows) {
      if (row.sample == sample) return row;
      known += (known.empty() ? "" : ", ") + row.sample;
    }
    throw ParseError(file + ": no sample '" + std::string(sample) + "' (samples: " + known + ")");
  }
};

/// Reads a manifest. Throws FileError, ParseError. Whether the files exist is checked when a section is loaded.
inline Manifest read_manifest(const std::filesystem::path& path) {
  const io::Table table = io::Table::read(path, {.separator = path.extension() == ".tsv" ? '\t' : ','});
  Manifest manifest;
  manifest.file = table.file();
  const Index sample = table.column("sample");
  const Index patient = table.column("patient");
  const Index counts = table.column("counts");
  const Index spots = table.column("spots");
  const Index image = table.column("image");
  const Index features = table.column("features");
  const Index composition = table.column("composition");
  const auto annotation = table.find_column("annotation");
  std::map<std::string, std::size_t> seen;
  for (Index r = 0; r < table.rows(); ++r) {
    const auto file = [&](Index column) {
      const std::string& text = table.text(r, column);
      return text.empty() ? std::filesystem::path() : (path.parent_path() / text).lexically_normal();
    };
    ManifestRow row;
    row.sample = table.text(r, sample);
    if (row.sample.empty()) table.fail(r, sample, "is no name for a sample");
    // Results are written to files named after the sample.
    if (row.sample.find_first_of("/\\") != std::string::npos || row.sample.front() == '.')
      table.fail(r, sample, "cannot name a file");
    const auto [first, fresh] = seen.emplace(row.sample, table.line(r));
    if (!fresh) table.fail(r, sample, "occurs twice (first on line " + std::to_string(first->second) + ")");
    row.patient = table.text(r, patient).empty() ? row.sample : table.text(r, patient);
    row.counts = file(counts);
    row.spots = file(spots);
    row.image = file(image);
    row.features = file(features);
    row.composition = file(composition);
    if (annotation) row.annotation = file(*annotation);
    row.place = manifest.file + ":" + std::to_string(table.line(r));
    manifest.rows.push_back(std::move(row));
  }
  if (manifest.rows.empty()) throw ParseError(manifest.file + ": the manifest lists no samples");
  return manifest;
}

}  // namespace eosin::data
