#pragma once

// Patch features from elsewhere (any encoder), one file per section:
//   CSV / TSV, plain or gzip   first column the spot's name, then one column per feature
//   CLAM HDF5                  datasets `features` [N x D] and `coords` [N x 2] (x, y in pixels); a leading dimension
//                              of one is dropped
// HDF5 is told by its first bytes and needs the library (EOSIN_HAS_HDF5, set by eosin::io where it is found).

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/io/table.hpp>

#if !defined(EOSIN_HAS_HDF5)
#define EOSIN_HAS_HDF5 0
#endif
#if EOSIN_HAS_HDF5
#include <eosin/io/hdf5.hpp>
#endif

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::io {

/// N rows of D features; rows are named by spot, or placed by coordinates, never both.
struct Features {
  std::string file;
  std::vector<std::string> names;    // N spot names, or none
  Matrix<double> coords;             // [N x 2] x, y of the patch in pixels, or empty
  std::vector<std::string> columns;  // D feature names, or none
  Matrix<float> values;              // [N x D], all finite

  Index rows() const { return values.rows(); }
  Index dimension() const { return values.cols(); }
  bool by_name() const { return coords.empty(); }
};

namespace detail {

inline bool is_hdf5(const std::filesystem::path& path) {
  require_file(path);
  char start[8] = {};
  std::ifstream stream(path, std::ios::binary);
  stream.read(start, 8);
  return stream.gcount() == 8 && std::string_view(start, 8) == std::string_view("\x89HDF\r\n\x1a\n", 8);
}

inline bool names_hdf5(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".h5" || extension == ".hdf5";
}

}  // namespace detail

/// Features by spot name from delimited text.
inline Features read_feature_table(TextReader reader) {
  auto table = read_numeric_table<float>(std::move(reader), {.separator = 0, .values = Values::finite});
  if (table.col_names.empty()) throw ParseError(table.file, std::size_t{1}, "the table has no feature columns");
  Features features;
  features.file = std::move(table.file);
  features.names = std::move(table.row_names);
  features.columns = std::move(table.col_names);
  features.values = std::move(table.values);
  return features;
}

/// Features by coordinates from an HDF5 file as CLAM writes it.
inline Features read_clam_features(const std::filesystem::path& path) {
#if EOSIN_HAS_HDF5
  const auto guard = hdf5::lock();
  const hdf5::File file(path);
  const auto matrix_shape = [&](const std::string& dataset) {
    auto shape = file.shape(dataset);
    if (shape.size() == 3 && shape[0] == 1) shape.erase(shape.begin());
    if (shape.size() != 2) {
      std::string text;
      for (const Index extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
      file.fail(dataset, "has shape [" + text + "], expected rows x columns");
    }
    return std::pair(shape[0], shape[1]);
  };
  const auto [rows, dimension] = matrix_shape("features");
  const auto [coord_rows, coord_cols] = matrix_shape("coords");
  if (coord_cols != 2) file.fail("coords", "has " + std::to_string(coord_cols) + " columns, expected 2 (x, y)");
  if (coord_rows != rows)
    file.fail("coords", "has " + std::to_string(coord_rows) + " rows, features has " + std::to_string(rows));

  Features features;
  features.file = file.name();
  const auto fill = [&](const std::string& dataset, auto& matrix, Index r, Index c, auto zero) {
    const auto values = file.read<decltype(zero)>(dataset);
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        file.fail(dataset, "row " + std::to_string(static_cast<Index>(i) / c) + ", column " +
                               std::to_string(static_cast<Index>(i) % c) + " is not finite");
    matrix = std::remove_reference_t<decltype(matrix)>(r, c);
    std::copy(values.begin(), values.end(), matrix.data());
  };
  fill("features", features.values, rows, dimension, 0.0f);
  fill("coords", features.coords, rows, Index{2}, 0.0);
  return features;
#else
  throw FileError(path.string() +
                  ": HDF5 files need the package libhdf5-dev, which was not found when this program "
                  "was built");
#endif
}

/// Reads features of either kind. Throws FileError, ParseError.
inline Features read_features(const std::filesystem::path& path) {
  if (detail::is_hdf5(path) || detail::names_hdf5(path)) return read_clam_features(path);
  return read_feature_table(TextReader(path));
}

}  // namespace eosin::io
