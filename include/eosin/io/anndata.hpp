#pragma once

// AnnData files (.h5ad): names and columns of the observations and variables, and matrices entry by entry in bounded
// memory. Read are
//
//   matrices   X, raw/X, layers/NAME: CSR, CSC (data, indices, indptr) or dense, numbers of any type
//   columns    numbers, booleans, texts, categories, nullable integers, booleans and texts
//   versions   AnnData 0.8 and later (encoding-type), 0.7 (categories behind an object reference), before 0.7 (obs and
//              var are compound datasets, categories in uns/NAME_categories, h5sparse_format)
//
// Format: anndata.readthedocs.io, "On-disk format".

#include <eosin/core/error.hpp>
#include <eosin/io/gene_spool.hpp>
#include <eosin/io/hdf5.hpp>
#include <eosin/io/hdf5_matrix.hpp>
#include <eosin/io/number.hpp>
#include <eosin/io/table.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace eosin::io {

/// A column of obs or var.
struct AnnDataColumn {
  enum class Kind { numbers, booleans, texts, categories };

  Kind kind = Kind::numbers;
  std::vector<double> numbers;     ///< [rows] of numbers and booleans (0, 1); 0 where missing
  std::vector<std::string> texts;  ///< [rows] of texts; the names of the categories
  std::vector<Index> codes;        ///< [rows] of categories: place in `texts`, -1 missing
  std::vector<char> missing;       ///< [rows] 1 where missing; empty: none is
  bool ordered = false;            ///< of categories

  Index rows() const {
    return static_cast<Index>(kind == Kind::categories ? codes.size()
                              : kind == Kind::texts    ? texts.size()
                                                       : numbers.size());
  }
  /// The value as text, empty where it is missing or NaN: numbers in the shortest form, booleans as True and False.
  std::string text(Index row) const {
    const auto i = static_cast<std::size_t>(row);
    if (!missing.empty() && missing[i] != 0) return {};
    switch (kind) {
      case Kind::categories:
        return codes[i] < 0 ? std::string() : texts[static_cast<std::size_t>(codes[i])];
      case Kind::texts:
        return texts[i];
      case Kind::booleans:
        return numbers[i] != 0 ? "True" : "False";
      case Kind::numbers:
        break;
    }
    return std::isnan(numbers[i]) ? std::string() : number_text(numbers[i]);
  }
};

/// An h5ad file open for reading. Frames are "obs", "var" and "raw/var". Functions throw ParseError that names the file
/// and the dataset.
class AnnData {
 public:
  /// Throws FileError, ParseError.
  explicit AnnData(const std::filesystem::path& path) : file_(path) {
    for (const char* frame : {"obs", "var"})
      if (file_.kind(frame) == hdf5::ObjectKind::none) file_.fail(frame, "is missing: this is no AnnData file");
  }

  const std::string& file() const { return file_.name(); }

  /// Names of the rows of a frame.
  std::vector<std::string> names(const std::string& frame) const {
    const auto guard = hdf5::lock();
    if (file_.kind(frame) == hdf5::ObjectKind::dataset)
      return column_texts(values_of(Dataset(file_, frame, field_of_names(frame))));
    if (file_.kind(frame) != hdf5::ObjectKind::group) file_.fail(frame, "the file has no such frame");
    const auto index = file_.text_attribute(frame, "_index");
    return column_texts(read_column(frame, frame + "/" + index.value_or("_index"), -1));
  }

  /// Names of the columns of a frame.
  std::vector<std::string> columns(const std::string& frame) const {
    const auto guard = hdf5::lock();
    std::vector<std::string> result;
    if (file_.kind(frame) == hdf5::ObjectKind::dataset) {
      for (auto& field : hdf5::Dataset(file_, frame).fields())
        if (field != field_of_names(frame)) result.push_back(std::move(field));
      return result;
    }
    const auto index = file_.text_attribute(frame, "_index").value_or("_index");
    for (auto& name : file_.children(frame))
      if (name != index && name != "__categories") result.push_back(std::move(name));
    return result;
  }

  /// A column with as many rows as names(frame).
  AnnDataColumn column(const std::string& frame, const std::string& name) const {
    const auto guard = hdf5::lock();
    const auto rows = static_cast<Index>(names(frame).size());
    if (file_.kind(frame) == hdf5::ObjectKind::dataset) return read_field(frame, name, rows);
    if (name.empty() || file_.kind(frame + "/" + name) == hdf5::ObjectKind::none) no_column(frame, name);
    return read_column(frame, frame + "/" + name, rows);
  }

  bool has_matrix(const std::string& matrix) const {
    const auto guard = hdf5::lock();
    return file_.kind(matrix) != hdf5::ObjectKind::none;
  }
  /// The frame that names the columns of a matrix.
  static std::string variables_of(const std::string& matrix) {
    return matrix.rfind("raw/", 0) == 0 ? "raw/var" : "var";
  }
  /// Observations and variables of a matrix, as the matrix itself says.
  std::pair<Index, Index> matrix_shape(const std::string& matrix) const {
    const auto guard = hdf5::lock();
    std::vector<Index> shape;
    switch (file_.kind(matrix)) {
      case hdf5::ObjectKind::none:
        file_.fail(matrix, "the file has no such matrix");
      case hdf5::ObjectKind::dataset:
        shape = hdf5::Dataset(file_, matrix).shape();
        break;
      case hdf5::ObjectKind::group:
        if (const auto found = file_.integer_attribute(matrix, "shape"))
          shape = *found;
        else if (const auto older = file_.integer_attribute(matrix, "h5sparse_shape"))
          shape = *older;
        else
          file_.fail(matrix, "has no shape");
        break;
    }
    if (shape.size() != 2 || shape[0] < 0 || shape[1] < 0) file_.fail(matrix, "is not a matrix");
    return {shape[0], shape[1]};
  }

  /// Calls entry(observation, variable, value) for the entries of a matrix in the order of the file; entries at one
  /// position may come again. The shape must be that of obs and the matrix's variables.
  template <class Entry>
  void scan(const std::string& matrix, Values wanted, Entry&& entry) const {
    const auto guard = hdf5::lock();
    const auto [rows, cols] = matrix_shape(matrix);
    const auto observations = static_cast<Index>(names("obs").size());
    const auto variables = static_cast<Index>(names(variables_of(matrix)).size());
    if (rows != observations || cols != variables)
      file_.fail(matrix, "is " + std::to_string(rows) + " x " + std::to_string(cols) + ", obs has " +
                             std::to_string(observations) + " rows and " + variables_of(matrix) + " " +
                             std::to_string(variables));
    if (file_.kind(matrix) == hdf5::ObjectKind::dataset) {
      hdf5::scan_dense(file_, matrix, rows, cols, wanted, entry);
      return;
    }
    std::string encoding = file_.text_attribute(matrix, "encoding-type").value_or("");
    if (encoding.empty()) encoding = file_.text_attribute(matrix, "h5sparse_format").value_or("");
    if (encoding == "csr_matrix" || encoding == "csr")
      hdf5::scan_compressed(file_, matrix, rows, cols, wanted, entry);
    else if (encoding == "csc_matrix" || encoding == "csc")
      hdf5::scan_compressed(file_, matrix, cols, rows, wanted,
                            [&](Index col, Index row, double value) { entry(row, col, value); });
    else
      file_.fail(matrix, "its encoding '" + detail::shortened(encoding) + "' is neither csr_matrix nor csc_matrix");
  }

 private:
  using Column = AnnDataColumn;
  using Dataset = hdf5::Dataset;

  [[noreturn]] void no_column(const std::string& frame, const std::string& name) const {
    std::string known;
    const auto names = columns(frame);
    for (std::size_t i = 0; i < names.size() && i < 20; ++i) known += (i == 0 ? "" : ", ") + names[i];
    if (names.size() > 20) known += ", ...";
    file_.fail(frame, "no column '" + detail::shortened(name) + "' (columns: " + known + ")");
  }

  std::string field_of_names(const std::string& frame) const {
    const auto fields = Dataset(file_, frame).fields();
    for (const char* name : {"index", "_index"})
      for (const auto& field : fields)
        if (field == name) return name;
    file_.fail(frame, "has no field 'index'");
  }

  static std::vector<std::string> column_texts(const Column& column) {
    std::vector<std::string> texts;
    for (Index row = 0; row < column.rows(); ++row) texts.push_back(column.text(row));
    return texts;
  }

  /// Texts, numbers or booleans of one dataset.
  Column values_of(const Dataset& data) const {
    Column column;
    switch (data.kind()) {
      case Dataset::Kind::texts:
        column.kind = Column::Kind::texts;
        column.texts = data.texts();
        return column;
      case Dataset::Kind::booleans:
        column.kind = Column::Kind::booleans;
        break;
      case Dataset::Kind::integers:
      case Dataset::Kind::floats:
        break;
      case Dataset::Kind::other:
        data.fail("holds neither numbers nor texts");
    }
    data.read(0, data.size(), column.numbers);
    return column;
  }

  Column categories_of(const Dataset& codes, const std::string& categories) const {
    Column column;
    column.texts = column_texts(values_of(Dataset(file_, categories)));
    column.kind = Column::Kind::categories;
    std::vector<std::int64_t> values;
    codes.read(0, codes.size(), values);
    const auto levels = static_cast<Index>(column.texts.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] < -1 || values[i] >= levels)
        codes.fail("element " + std::to_string(i) + " is " + std::to_string(values[i]) + ", there are " +
                   std::to_string(levels) + " categories");
      column.codes.push_back(values[i]);
    }
    return column;
  }

  void require_rows(const std::string& path, Index got, Index rows) const {
    if (rows >= 0 && got != rows)
      file_.fail(path, "has " + std::to_string(got) + " rows, the frame has " + std::to_string(rows));
  }

  /// `rows` -1: any number.
  Column read_column(const std::string& frame, const std::string& path, Index rows) const {
    Column column;
    if (file_.kind(path) == hdf5::ObjectKind::dataset) {
      const Dataset data(file_, path);
      if (const auto categories = file_.reference_attribute(path, "categories")) {
        column = categories_of(data, *categories);
        column.ordered = is_ordered(*categories);
      } else {
        column = values_of(data);
      }
    } else if (file_.kind(path) == hdf5::ObjectKind::group) {
      const std::string encoding = file_.text_attribute(path, "encoding-type").value_or("");
      if (encoding == "categorical") {
        column = categories_of(Dataset(file_, path + "/codes"), path + "/categories");
        column.ordered = is_ordered(path);
      } else if (encoding.rfind("nullable-", 0) == 0) {
        column = values_of(Dataset(file_, path + "/values"));
        std::vector<std::int64_t> mask;
        const Dataset missing(file_, path + "/mask");
        missing.read(0, missing.size(), mask);
        require_rows(path + "/mask", static_cast<Index>(mask.size()), column.rows());
        for (std::size_t i = 0; i < mask.size(); ++i) {
          column.missing.push_back(mask[i] != 0);
          if (mask[i] != 0 && column.kind != Column::Kind::texts) column.numbers[i] = 0;
        }
      } else {
        file_.fail(path, "a column of the encoding '" + detail::shortened(encoding) + "' is not read");
      }
    } else {
      file_.fail(frame, "the file has no dataset '" + detail::shortened(path) + "'");
    }
    require_rows(path, column.rows(), rows);
    return column;
  }

  Column read_field(const std::string& frame, const std::string& name, Index rows) const {
    bool known = false;
    for (const auto& field : Dataset(file_, frame).fields()) known = known || field == name;
    if (!known) no_column(frame, name);
    const Dataset data(file_, frame, name);
    const std::string categories = "uns/" + name + "_categories";
    Column column;
    if (data.kind() == Dataset::Kind::integers && file_.kind(categories) == hdf5::ObjectKind::dataset)
      column = categories_of(data, categories);
    else
      column = values_of(data);
    require_rows(frame, column.rows(), rows);
    return column;
  }

  bool is_ordered(const std::string& path) const {
    const auto ordered = file_.integer_attribute(path, "ordered");
    return ordered && ordered->front() != 0;
  }

  hdf5::File file_;
};

/// The counts of an h5ad file as a source of genes (its variables). Throws FileError, ParseError.
inline GeneSpool read_anndata_genes(const std::filesystem::path& path, const std::string& matrix = "X",
                                    const GeneSpoolOptions& options = {}) {
  const AnnData file(path);
  const auto [cells, genes] = file.matrix_shape(matrix);
  GeneSpool spool(genes, cells, options);
  file.scan(matrix, Values::counts, [&](Index cell, Index gene, double count) { spool.push(gene, cell, count); });
  spool.finish();
  return spool;
}

}  // namespace eosin::io
