#pragma once

// One tissue section: counts joined with the places of its spots, and with composition, features and annotation where
// the manifest names them.
//
// Tables are joined by spot. A spot table has columns x, y (array position), pixel_x, pixel_y (centre in the image) and
// optionally `selected` (only rows with 1 are taken) and `spot` (a name). The key of a spot is its name where there is
// one, else round(x) "x" round(y); names like 9.02x13.98 in other tables are rounded in the same way.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/data/manifest.hpp>
#include <eosin/data/spot_pitch.hpp>
#include <eosin/io/features.hpp>
#include <eosin/io/number.hpp>
#include <eosin/io/table.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace eosin::data {

struct Section {
  std::string sample;
  std::string patient;
  std::vector<std::string> spots;        // N, as the counts name them and in their order
  std::vector<std::string> genes;        // G
  SparseMatrix<float> counts;            // [N x G]
  std::vector<double> array_x, array_y;  // N, position in the array
  std::vector<double> pixel_x, pixel_y;  // N, centre in the image, in pixels
  std::filesystem::path image;           // empty where there is none

  std::vector<std::string> types;             // C cell types, none without a composition file
  Matrix<double> composition;                 // [N x C] as the file has it, not normalised; 0 where missing
  std::vector<std::uint8_t> has_composition;  // N, whether the file has the spot (with a positive sum)

  std::vector<std::string> labels;       // N annotations, "" where missing; none without an annotation file
  std::optional<io::Features> features;  // as its file has them; see feature_rows

  Index size() const { return static_cast<Index>(spots.size()); }
  /// Median distance of neighbouring spots in pixels.
  double spot_pitch() const { return data::spot_pitch(pixel_x, pixel_y); }
};

struct SectionOptions {
  bool composition = true;
  bool features = true;
  bool annotation = true;
};

/// Receives one line per remark, without a line end.
using Log = std::function<void(std::string_view)>;

namespace detail {

inline std::string spot_key(double x, double y) {
  // Adding 0 turns a negative zero into a positive one.
  return io::number_text(std::llround(x) + 0) + "x" + io::number_text(std::llround(y) + 0);
}

/// Rounded where the name is "NUMBERxNUMBER", else the name.
inline std::string spot_key(const std::string& name) {
  const auto cross = name.find('x');
  if (cross == std::string::npos) return name;
  const auto x = io::parse_number(std::string_view(name).substr(0, cross));
  const auto y = io::parse_number(std::string_view(name).substr(cross + 1));
  if (!x || !y || !(std::abs(*x) < 1e9) || !(std::abs(*y) < 1e9)) return name;
  return spot_key(*x, *y);
}

using SpotIndex = std::unordered_map<std::string, Index>;

inline SpotIndex index_spots(const std::string& file, const std::vector<std::string>& names) {
  SpotIndex index;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [found, fresh] = index.emplace(spot_key(names[i]), static_cast<Index>(i));
    if (!fresh)
      throw ParseError(file + ": the spots '" + names[static_cast<std::size_t>(found->second)] + "' and '" + names[i] +
                       "' have the same array position");
  }
  return index;
}

inline Index find_spot(const SpotIndex& index, const std::string& key) {
  const auto found = index.find(key);
  return found == index.end() ? -1 : found->second;
}

[[noreturn]] inline void no_match(const std::string& file, const std::string& example, const std::string& other,
                                  const std::string& other_example) {
  throw ParseError(
      file + ": none of its spots (the first is '" + example + "') is in " + other +
      (other_example.empty() ? std::string(" (which has none)") : " (the first there is '" + other_example + "')"));
}

/// Selected rows of a spot table.
struct Spots {
  std::string file;
  std::vector<std::string> names;  // keys
  std::vector<double> x, y, pixel_x, pixel_y;
  Index unselected = 0;
};

// Positions beyond this cannot be rounded to an integer of any array, nor be pixels of an image.
inline double coordinate(const io::Table& table, Index row, Index column) {
  const double value = table.number(row, column);
  if (std::abs(value) > 1e9) table.fail(row, column, "is out of range");
  return value;
}

inline Spots read_spots(const std::filesystem::path& path) {
  const io::Table table = io::Table::read(path);
  Spots spots;
  spots.file = table.file();
  const Index x = table.column("x");
  const Index y = table.column("y");
  const Index pixel_x = table.column("pixel_x");
  const Index pixel_y = table.column("pixel_y");
  const auto selected = table.find_column("selected");
  const auto name = table.find_column("spot");
  std::unordered_map<std::string, std::size_t> seen;
  for (Index r = 0; r < table.rows(); ++r) {
    if (selected && table.number(r, *selected) != 1) {
      ++spots.unselected;
      continue;
    }
    spots.x.push_back(coordinate(table, r, x));
    spots.y.push_back(coordinate(table, r, y));
    spots.pixel_x.push_back(coordinate(table, r, pixel_x));
    spots.pixel_y.push_back(coordinate(table, r, pixel_y));
    spots.names.push_back(name ? spot_key(table.text(r, *name)) : spot_key(spots.x.back(), spots.y.back()));
    const auto [first, fresh] = seen.emplace(spots.names.back(), table.line(r));
    if (!fresh)
      throw ParseError(
          table.file(), table.line(r),
          "the spot " + spots.names.back() + " occurs twice (first on line " + std::to_string(first->second) + ")");
  }
  return spots;
}

inline void join_composition(Section& section, const std::vector<std::string>& keys, const std::filesystem::path& path,
                             const Log& log) {
  auto table = io::read_numeric_table<double>(path, {.separator = 0, .values = io::Values::nonnegative});
  if (table.col_names.empty()) throw ParseError(table.file, std::size_t{1}, "the table has no columns of cell types");
  const auto index = index_spots(table.file, table.row_names);
  section.types = std::move(table.col_names);
  section.composition = Matrix<double>(section.size(), static_cast<Index>(section.types.size()));
  section.has_composition.assign(keys.size(), 0);
  Index matched = 0;
  Index missing = 0;
  for (Index i = 0; i < section.size(); ++i) {
    const Index row = find_spot(index, keys[static_cast<std::size_t>(i)]);
    double sum = 0;
    if (row >= 0) {
      ++matched;
      for (Index c = 0; c < section.composition.cols(); ++c) sum += section.composition(i, c) = table.values(row, c);
      section.has_composition[static_cast<std::size_t>(i)] = sum > 0 ? 1 : 0;
    }
    if (!(sum > 0)) ++missing;
  }
  if (matched == 0)
    no_match(table.file, table.row_names.empty() ? "" : table.row_names.front(), "the counts of " + section.sample,
             section.spots.front());
  if (missing > 0 && log)
    log(section.sample + ": " + std::to_string(missing) + " of " + std::to_string(section.size()) +
        " spots have no composition in " + table.file);
}

inline void join_annotation(Section& section, const std::vector<std::string>& keys, const std::filesystem::path& path,
                            const Log& log) {
  const io::Table table = io::Table::read(path);
  const Index x = table.column("x");
  const Index y = table.column("y");
  const Index label = table.column("label");
  std::map<std::string, std::string> labels;
  Index unplaced = 0;
  for (Index r = 0; r < table.rows(); ++r) {
    const auto absent = [&](Index column) { return table.text(r, column).empty() || table.text(r, column) == "NA"; };
    if (absent(x) || absent(y)) {
      ++unplaced;
      continue;
    }
    const std::string key = spot_key(coordinate(table, r, x), coordinate(table, r, y));
    if (!labels.emplace(key, table.text(r, label)).second)
      throw ParseError(table.file(), table.line(r), "the spot " + key + " occurs twice");
  }
  Index missing = 0;
  for (const auto& key : keys) {
    const auto found = labels.find(key);
    section.labels.push_back(found == labels.end() ? std::string() : found->second);
    if (found == labels.end()) ++missing;
  }
  if (missing == section.size())
    no_match(table.file(), labels.empty() ? "" : labels.begin()->first, "the counts of " + section.sample,
             section.spots.front());
  if (unplaced > 0 && log)
    log(section.sample + ": " + std::to_string(unplaced) + " rows of " + table.file() + " have no position");
  if (missing > 0 && log)
    log(section.sample + ": " + std::to_string(missing) + " of " + std::to_string(section.size()) +
        " spots have no label in " + table.file());
}

}  // namespace detail

/// Loads a section. Spots without counts (no row, or a row of zeros) and counts without a spot are dropped, and how
/// many is said to `log` (which may be empty). Throws FileError, ParseError; none matching is an error that names both
/// files.
inline Section load_section(const ManifestRow& row, const SectionOptions& options = {}, const Log& log = {}) {
  const auto need = [&](const std::filesystem::path& path, const char* column) {
    if (path.empty()) throw ParseError(row.place + ": column " + column + ": sample " + row.sample + " names no file");
    if (!std::filesystem::is_regular_file(path))
      throw FileError(row.place + ": column " + column + ": " + path.string() + ": no such file");
  };
  need(row.counts, "counts");
  need(row.spots, "spots");
  for (const auto& [path, column] :
       {std::pair(&row.image, "image"), std::pair(&row.features, "features"),
        std::pair(&row.composition, "composition"), std::pair(&row.annotation, "annotation")})
    if (!path->empty()) need(*path, column);

  const detail::Spots spots = detail::read_spots(row.spots);
  auto counts = io::read_sparse_table<float>(row.counts, {.separator = 0, .values = io::Values::counts});
  const auto count_index = detail::index_spots(counts.file, counts.row_names);
  detail::SpotIndex spot_index;
  for (std::size_t i = 0; i < spots.names.size(); ++i) spot_index.emplace(spots.names[i], static_cast<Index>(i));

  Section section;
  section.sample = row.sample;
  section.patient = row.patient;
  section.image = row.image;
  section.genes = std::move(counts.col_names);
  const auto totals = counts.values.row_sums();
  std::vector<Index> chosen;
  std::vector<std::string> keys;
  Index without_spot = 0;
  Index empty = 0;
  for (std::size_t i = 0; i < counts.row_names.size(); ++i) {
    std::string key = detail::spot_key(counts.row_names[i]);
    const Index place = detail::find_spot(spot_index, key);
    if (place < 0) {
      ++without_spot;
    } else if (totals[i] <= 0) {
      ++empty;
    } else {
      const auto p = static_cast<std::size_t>(place);
      chosen.push_back(static_cast<Index>(i));
      keys.push_back(std::move(key));
      section.spots.push_back(counts.row_names[i]);
      section.array_x.push_back(spots.x[p]);
      section.array_y.push_back(spots.y[p]);
      section.pixel_x.push_back(spots.pixel_x[p]);
      section.pixel_y.push_back(spots.pixel_y[p]);
    }
  }
  if (chosen.empty() && empty > 0)
    throw ParseError(counts.file + ": no spot of " + spots.file + " has a count above zero");
  if (chosen.empty())
    detail::no_match(counts.file, counts.row_names.empty() ? "" : counts.row_names.front(), spots.file,
                     spots.names.empty() ? "" : spots.names.front());
  section.counts = counts.values.select_rows(chosen);
  const Index without_counts = static_cast<Index>(spots.names.size()) - section.size() - empty;
  if (log) {
    std::string text = section.sample + ": " + std::to_string(section.size()) + " spots, " +
                       std::to_string(section.genes.size()) + " genes";
    if (without_counts > 0) text += "; " + std::to_string(without_counts) + " spots without counts dropped";
    if (empty > 0) text += "; " + std::to_string(empty) + " spots with a total of 0 dropped";
    if (without_spot > 0) text += "; " + std::to_string(without_spot) + " rows of counts without a spot dropped";
    if (spots.unselected > 0) text += " (" + std::to_string(spots.unselected) + " spots are not selected)";
    log(text);
  }

  if (options.composition && !row.composition.empty()) detail::join_composition(section, keys, row.composition, log);
  if (options.annotation && !row.annotation.empty()) detail::join_annotation(section, keys, row.annotation, log);
  if (options.features && !row.features.empty()) section.features = io::read_features(row.features);
  return section;
}

struct FeatureMatch {
  /// Largest distance in pixels between a spot's centre and a patch's, for features with coordinates; mostly half the
  /// edge of a patch.
  double radius = 0;
  /// Added to both coordinates of a patch before comparing: half its edge where `coords` are its upper left corner, as
  /// CLAM writes them, 0 where they are its centre.
  double offset = 0;
};

/// Row of the section's features for every spot, -1 where there is none: by name, or the patch whose centre is nearest
/// within the radius (of equals the first). Throws ValueError without features, ParseError when no spot has any.
inline std::vector<Index> feature_rows(const Section& section, const FeatureMatch& match = {}) {
  require_value(section.features.has_value(), "feature_rows", "section " + section.sample + " has no features");
  const io::Features& features = *section.features;
  std::vector<Index> rows(section.spots.size(), -1);
  bool any = false;
  if (features.by_name()) {
    const auto index = detail::index_spots(features.file, features.names);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i] = detail::find_spot(index, detail::spot_key(section.spots[i]));
      any = any || rows[i] >= 0;
    }
    if (!any)
      detail::no_match(features.file, features.names.empty() ? "" : features.names.front(),
                       "the counts of " + section.sample, section.spots.empty() ? "" : section.spots.front());
    return rows;
  }
  require_value(match.radius > 0, "feature_rows", "radius must be positive for features with coordinates");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    double best = match.radius * match.radius;
    for (Index j = 0; j < features.rows(); ++j) {
      const double dx = features.coords(j, 0) + match.offset - section.pixel_x[i];
      const double dy = features.coords(j, 1) + match.offset - section.pixel_y[i];
      const double square = dx * dx + dy * dy;
      if (square < best || (square == best && rows[i] < 0)) {
        best = square;
        rows[i] = j;
      }
    }
    any = any || rows[i] >= 0;
  }
  if (!any)
    throw ParseError(features.file + ": coords: no patch lies within " + io::number_text(match.radius, 6) +
                     " pixels of a spot of " + section.sample);
  return rows;
}

}  // namespace eosin::data
