#pragma once

// MatrixMarket files (.mtx, plain or gzip): "%%MatrixMarket matrix coordinate|array real|integer|pattern
// general|symmetric|skew-symmetric", comment lines, a size line, entries with positions from 1. Format:
// math.nist.gov/MatrixMarket/formats.html. Symmetric matrices are expanded, a pattern counts as 1, entries at one
// position add up. Nothing is allocated by what the size line announces.

#include <eosin/core/error.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/io/number.hpp>
#include <eosin/io/table.hpp>
#include <eosin/io/text.hpp>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::io {

struct MatrixMarketOptions {
  Values values = Values::any;
};

/// A matrix as its file lists it, symmetric halves expanded; positions from 0, in the order of the file.
template <class T>
struct Coordinates {
  std::string file;
  Index rows = 0;
  Index cols = 0;
  std::vector<Triplet<T>> entries;
};

namespace detail {

class MatrixMarketParser {
 public:
  /// `largest` is that of the type the values go to.
  MatrixMarketParser(TextReader& reader, const MatrixMarketOptions& options, double largest)
      : reader_(reader), options_(options), largest_(largest) {}

  /// Reads the banner and the size line.
  void header() {
    banner();
    if (!next()) reader_.fail("the file ends before its size line");
    const Index wanted_fields = array_ ? 2 : 3;
    if (fields_.size() != static_cast<std::size_t>(wanted_fields))
      reader_.fail("the size line has " + std::to_string(fields_.size()) + " numbers, expected " +
                   std::to_string(wanted_fields));
    rows_ = size(0, "rows");
    cols_ = size(1, "columns");
    constexpr Index most = std::numeric_limits<std::int32_t>::max();
    if (rows_ > most || cols_ > most)
      reader_.fail("a matrix of " + std::to_string(rows_) + " x " + std::to_string(cols_) +
                   " is larger than 2^31 - 1 on a side");
    if (symmetry_ != Symmetry::general && rows_ != cols_)
      reader_.fail("a symmetric matrix must be square, this one is " + std::to_string(rows_) + " x " +
                   std::to_string(cols_));
    announced_ = array_ ? array_size() : size(2, "entries");
  }
  Index rows() const { return rows_; }
  Index cols() const { return cols_; }

  /// Reads all entries behind the header: sink(row, col, value) in the order of the file, symmetric halves expanded.
  template <class Sink>
  void entries(Sink&& sink) {
    if (array_)
      read_array(sink);
    else
      read_coordinates(sink);
  }

 private:
  enum class Symmetry { general, symmetric, skew };

  static std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return result;
  }

  /// Fields of the next line that is neither empty nor a comment.
  bool next() {
    while (const auto line = reader_.next_line()) {
      split(*line);
      if (!fields_.empty() && fields_[0][0] != '%') return true;
    }
    return false;
  }

  void split(std::string_view line) {
    fields_.clear();
    const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
    std::size_t i = 0;
    for (;;) {
      while (i < line.size() && blank(line[i])) ++i;
      if (i == line.size()) return;
      const std::size_t begin = i;
      while (i < line.size() && !blank(line[i])) ++i;
      fields_.push_back(line.substr(begin, i - begin));
    }
  }

  void banner() {
    const auto line = reader_.next_line();
    if (!line) throw ParseError(reader_.file(), std::size_t{1}, "the file is empty");
    split(*line);
    if (fields_.empty() || lower(fields_[0]) != "%%matrixmarket")
      reader_.fail("the line does not start with %%MatrixMarket");
    if (fields_.size() != 5) reader_.fail("the banner has " + std::to_string(fields_.size()) + " words, expected 5");
    const auto word = [&](std::size_t i) { return lower(fields_[i]); };
    if (word(1) != "matrix") reader_.fail("holds a '" + shortened(fields_[1]) + "', a matrix is expected");
    if (word(2) != "coordinate" && word(2) != "array")
      reader_.fail("the format '" + shortened(fields_[2]) + "' is neither coordinate nor array");
    array_ = word(2) == "array";
    if (word(3) == "pattern")
      pattern_ = true;
    else if (word(3) != "real" && word(3) != "integer" && word(3) != "double")
      reader_.fail("values of kind '" + shortened(fields_[3]) + "' are not read (real, integer and pattern are)");
    if (word(4) == "symmetric")
      symmetry_ = Symmetry::symmetric;
    else if (word(4) == "skew-symmetric")
      symmetry_ = Symmetry::skew;
    else if (word(4) != "general")
      reader_.fail("the symmetry '" + shortened(fields_[4]) +
                   "' is not read (general, symmetric and skew-symmetric are)");
    if (array_ && pattern_) reader_.fail("an array cannot be a pattern");
  }

  Index size(std::size_t field, const char* what) const {
    const auto value = parse_integer(fields_[field]);
    if (!value || *value < 0)
      reader_.fail("'" + shortened(fields_[field]) + "' is not a number of " + std::string(what));
    return *value;
  }

  Index position(std::size_t field, Index extent, const char* what) const {
    const auto value = parse_integer(fields_[field]);
    if (!value) reader_.fail("'" + shortened(fields_[field]) + "' is not a " + std::string(what) + " number");
    if (*value == 0) reader_.fail(std::string(what) + " number 0: positions start at 1");
    if (*value < 0 || *value > extent)
      reader_.fail(std::string(what) + " number " + std::to_string(*value) + " lies outside 1 .. " +
                   std::to_string(extent));
    return *value - 1;
  }

  double value(std::size_t field) const {
    const auto parsed = parse_number(fields_[field]);
    if (!parsed) reader_.fail("value: '" + shortened(fields_[field]) + "' is not a number");
    if (const char* fault = value_fault(*parsed, options_.values, largest_))
      reader_.fail("value: '" + shortened(fields_[field]) + "' " + fault);
    return *parsed;
  }

  template <class Sink>
  void give(Sink& sink, Index row, Index col, double number) const {
    sink(row, col, number);
    if (row != col && symmetry_ != Symmetry::general) sink(col, row, symmetry_ == Symmetry::skew ? -number : number);
  }

  /// Values that an array lists.
  Index array_size() const {
    return symmetry_ == Symmetry::general     ? rows_ * cols_
           : symmetry_ == Symmetry::symmetric ? rows_ * (rows_ + 1) / 2
                                              : rows_ * (rows_ - 1) / 2;
  }

  template <class Sink>
  void read_coordinates(Sink& sink) {
    Index found = 0;
    while (next()) {
      if (found == announced_)
        reader_.fail("more entries follow, the size line announces " + std::to_string(announced_));
      const std::size_t wanted = pattern_ ? 2 : 3;
      if (fields_.size() != wanted)
        reader_.fail("has " + std::to_string(fields_.size()) + " fields, expected " + std::to_string(wanted));
      const Index row = position(0, rows_, "row");
      const Index col = position(1, cols_, "column");
      if (symmetry_ != Symmetry::general && col > row)
        reader_.fail("an entry above the diagonal; a symmetric file lists the lower triangle");
      if (symmetry_ == Symmetry::skew && col == row) reader_.fail("a skew-symmetric file lists no diagonal");
      give(sink, row, col, pattern_ ? 1.0 : value(2));
      ++found;
    }
    if (found != announced_) too_few(found);
  }

  template <class Sink>
  void read_array(Sink& sink) {
    // Columns after each other; symmetric files list from the diagonal down, skew-symmetric ones from below it.
    Index row = 0;
    Index col = 0;
    const auto start = [&](Index c) {
      return symmetry_ == Symmetry::general ? Index{0} : symmetry_ == Symmetry::symmetric ? c : c + 1;
    };
    const auto settle = [&] {
      while (col < cols_ && row >= rows_) {
        ++col;
        row = start(col);
      }
    };
    row = start(0);
    Index found = 0;
    if (announced_ > 0) settle();
    while (next()) {
      for (std::size_t i = 0; i < fields_.size(); ++i) {
        if (found == announced_)
          reader_.fail("more values follow, the size line announces " + std::to_string(announced_));
        const double number = value(i);
        if (number != 0) give(sink, row, col, number);
        ++found;
        ++row;
        if (found < announced_) settle();
      }
    }
    if (found != announced_) too_few(found);
  }

  [[noreturn]] void too_few(Index found) const {
    reader_.fail("the file ends after " + std::to_string(found) + " entries, its size line announces " +
                 std::to_string(announced_));
  }

  TextReader& reader_;
  MatrixMarketOptions options_;
  double largest_;
  bool array_ = false;
  bool pattern_ = false;
  Symmetry symmetry_ = Symmetry::general;
  Index rows_ = 0, cols_ = 0;
  Index announced_ = 0;  // entries, or values of an array
  std::vector<std::string_view> fields_;
};

}  // namespace detail

/// The entries in the order of the file. Throws FileError, ParseError.
template <class T>
Coordinates<T> read_matrix_market_coordinates(TextReader reader, const MatrixMarketOptions& options = {}) {
  detail::MatrixMarketParser parser(reader, options, static_cast<double>(std::numeric_limits<T>::max()));
  parser.header();
  Coordinates<T> result{reader.file(), parser.rows(), parser.cols(), {}};
  parser.entries([&](Index row, Index col, double value) {
    result.entries.push_back({row, col, static_cast<T>(value)});
  });
  return result;
}

/// Rows and columns that the size line announces. Throws FileError, ParseError.
inline std::pair<Index, Index> matrix_market_shape(TextReader reader) {
  detail::MatrixMarketParser parser(reader, {}, std::numeric_limits<double>::max());
  parser.header();
  return {parser.rows(), parser.cols()};
}

/// Gives the entries one by one, holding none: begin(rows, cols) once, then entry(row, col, value) in the order of the
/// file, positions from 0, symmetric halves expanded; an entry may be 0 and a position may come again. What `begin`
/// throws ends the reading. Throws FileError, ParseError.
template <class Begin, class Entry>
void scan_matrix_market(TextReader reader, const MatrixMarketOptions& options, Begin&& begin, Entry&& entry) {
  detail::MatrixMarketParser parser(reader, options, std::numeric_limits<double>::max());
  parser.header();
  begin(parser.rows(), parser.cols());
  parser.entries(entry);
}

/// Which way the compressed rows of the result run.
enum class Orientation {
  as_stored,  // rows of the file
  transposed  // columns of the file: cells x genes from a file of genes x cells, or compressed columns
};

/// The matrix as compressed rows. Memory: 24 bytes per entry of the file while reading.
template <class T>
SparseMatrix<T> read_matrix_market(TextReader reader, const MatrixMarketOptions& options = {},
                                   Orientation orientation = Orientation::as_stored) {
  auto file = read_matrix_market_coordinates<T>(std::move(reader), options);
  if (orientation == Orientation::transposed) {
    std::swap(file.rows, file.cols);
    for (auto& entry : file.entries) std::swap(entry.row, entry.col);
  }
  // Offsets are needed per row: a few bytes of file must not ask for gigabytes of them.
  constexpr Index free_rows = Index{1} << 24;
  if (file.rows > free_rows && file.rows / 8 > static_cast<Index>(file.entries.size()))
    throw ParseError(file.file + ": announces " + std::to_string(file.rows) + " rows and holds " +
                     std::to_string(file.entries.size()) + " entries");
  return SparseMatrix<T>::from_triplets(file.rows, file.cols, file.entries);
}
template <class T>
SparseMatrix<T> read_matrix_market(const std::filesystem::path& path, const MatrixMarketOptions& options = {},
                                   Orientation orientation = Orientation::as_stored) {
  return read_matrix_market<T>(TextReader(path), options, orientation);
}

/// Writes compressed rows as "coordinate real general", or "integer" for an integer T; gzip when the name ends in .gz.
template <class T>
void write_matrix_market(const std::filesystem::path& path, const SparseMatrix<T>& matrix) {
  TextWriter writer(path);
  std::string text = std::is_integral_v<T> ? "%%MatrixMarket matrix coordinate integer general\n"
                                           : "%%MatrixMarket matrix coordinate real general\n";
  append_number(text, matrix.rows());
  text += ' ';
  append_number(text, matrix.cols());
  text += ' ';
  append_number(text, matrix.nonzeros());
  text += '\n';
  for (Index r = 0; r < matrix.rows(); ++r) {
    const auto row = matrix.row(r);
    for (std::size_t k = 0; k < row.columns.size(); ++k) {
      append_number(text, r + 1);
      text += ' ';
      append_number(text, row.columns[k] + Index{1});
      text += ' ';
      append_number(text, row.values[k]);
      text += '\n';
    }
    writer.write(text);
    text.clear();
  }
  writer.write(text);
  writer.commit();
}

}  // namespace eosin::io
