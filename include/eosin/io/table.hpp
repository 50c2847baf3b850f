#pragma once

// Delimited text (CSV, TSV), plain or gzip. Two readers and a writer:
//   read_numeric_table / read_sparse_table   row names, column names and numbers: count matrices, features, proportions
//   Table                                    columns of strings with a header: manifests, spot tables, metadata
//   TableWriter                              RFC 4180
//
// Fields may be quoted as in RFC 4180: separators and line breaks inside quotes, a quote doubled. The header has either
// a corner cell, empty or named, or is one field shorter than the rows. Empty lines are skipped. Every row must have as
// many fields as the first; row names and column names must be unique. Messages name file, line and column.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/core/sparse.hpp>
#include <eosin/io/number.hpp>
#include <eosin/io/text.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace eosin::io {

/// What numbers of a file must be.
enum class Values {
  any,          // every real, NaN and infinities included
  finite,       // no NaN, no infinity
  nonnegative,  // finite and not below zero
  counts        // finite, not below zero, whole
};

/// Why `value`, to be stored in a type whose largest value is `largest`, is not among `wanted`, or nothing. The text
/// follows the number in a message.
inline const char* value_fault(double value, Values wanted, double largest = std::numeric_limits<double>::max()) {
  if (wanted == Values::any) return nullptr;
  if (!std::isfinite(value)) return "is not finite";
  if (std::abs(value) > largest) return "is too large";
  if (wanted == Values::finite) return nullptr;
  if (value < 0) return "is negative";
  if (wanted == Values::counts && value != std::floor(value)) return "is not a whole number; counts are expected";
  return nullptr;
}

struct TableOptions {
  /// Between fields; 0 takes ',' for names ending in .csv or .csv.gz and a tab for all others.
  char separator = 0;
};

struct NumericTableOptions {
  char separator = 0;
  Values values = Values::any;
};

namespace detail {

inline char separator_for(const std::string& file, char asked) {
  if (asked != 0) return asked;
  std::string_view name = file;
  if (name.size() > 3 && name.substr(name.size() - 3) == ".gz") name.remove_suffix(3);
  return name.size() >= 4 && name.substr(name.size() - 4) == ".csv" ? ',' : '\t';
}

inline std::string shortened(std::string_view text) {
  return text.size() <= 60 ? std::string(text) : std::string(text.substr(0, 57)) + "...";
}

/// Splits records into fields. A record without quotes costs one pass and no copy.
class RecordReader {
 public:
  RecordReader(TextReader& reader, char separator) : reader_(&reader), separator_(separator) {}

  /// Line on which the record that came last starts.
  std::size_t line() const { return line_; }

  /// Line of text of the next record that is not empty, with its quoted line breaks; nothing at the end.
  std::optional<std::string_view> next_text() {
    for (;;) {
      const auto first = reader_->next_line();
      if (!first) return std::nullopt;
      if (first->empty()) continue;
      line_ = reader_->line();
      quoted_ = std::memchr(first->data(), '"', first->size()) != nullptr;
      if (!quoted_ || complete(*first, false)) return first;
      record_.assign(*first);
      bool open = true;
      while (open) {
        const auto more = reader_->next_line();
        if (!more) throw ParseError(reader_->file(), line_, "a quote is opened and never closed");
        record_ += '\n';
        record_ += *more;
        open = !complete(*more, true);
        if (record_.size() > TextReader::longest_line)
          throw ParseError(reader_->file(), line_, "a quoted field is longer than any line may be");
      }
      return std::string_view(record_);
    }
  }
  /// Whether the text that came last has quotes.
  bool quoted() const { return quoted_; }

  /// Splits what next_text() gave; the fields are valid until the next call of either.
  const std::vector<std::string_view>& split(std::string_view text) {
    fields_.clear();
    if (!quoted_) {
      std::size_t begin = 0;
      for (;;) {
        const auto end = text.find(separator_, begin);
        if (end == std::string_view::npos) break;
        fields_.push_back(text.substr(begin, end - begin));
        begin = end + 1;
      }
      fields_.push_back(text.substr(begin));
      return fields_;
    }
    // Unquoted text is never longer than its source, so one buffer of that size holds all fields without moving.
    unquoted_.clear();
    unquoted_.reserve(text.size());
    std::size_t i = 0;
    for (;;) {
      const std::size_t begin = unquoted_.size();
      if (i < text.size() && text[i] == '"') {
        ++i;
        for (; i < text.size(); ++i) {
          if (text[i] == '"') {
            if (i + 1 >= text.size() || text[i + 1] != '"') break;
            ++i;
          }
          unquoted_ += text[i];
        }
        ++i;
        if (i < text.size() && text[i] != separator_)
          throw ParseError(reader_->file(), line_,
                           "field " + std::to_string(fields_.size() + 1) + ": text follows the closing quote");
      } else {
        for (; i < text.size() && text[i] != separator_; ++i) unquoted_ += text[i];
      }
      fields_.push_back(std::string_view(unquoted_).substr(begin));
      if (i >= text.size()) return fields_;
      ++i;
    }
  }

 private:
  /// Whether all quotes are closed at the end of a line; `open` says whether it starts inside quotes.
  bool complete(std::string_view text, bool open) const {
    bool field_start = !open;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (open) {
        if (c != '"') continue;
        if (i + 1 < text.size() && text[i + 1] == '"')
          ++i;
        else
          open = false;
      } else if (c == '"' && field_start) {
        open = true;
        field_start = false;
      } else {
        field_start = c == separator_;
      }
    }
    return !open;
  }

  TextReader* reader_;
  char separator_;
  std::size_t line_ = 0;
  bool quoted_ = false;
  std::string record_;
  std::string unquoted_;
  std::vector<std::string_view> fields_;
};

inline void require_unique_columns(const std::string& file, std::size_t line, const std::vector<std::string>& names) {
  std::unordered_map<std::string_view, std::size_t> seen;
  seen.reserve(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [found, fresh] = seen.emplace(names[i], i);
    if (!fresh)
      throw ParseError(file, line,
                       "the column name '" + shortened(names[i]) + "' occurs twice (columns " +
                           std::to_string(found->second + 1) + " and " + std::to_string(i + 1) + ")");
  }
}

/// Header and rows of a table of numbers; `sink` receives begin_row(columns), value(column, double) for every value
/// that is not +0, and end_row().
class NumericParser {
 public:
  /// `largest` is that of the type the values go to.
  NumericParser(TextReader& reader, const NumericTableOptions& options, double largest)
      : reader_(reader),
        separator_(separator_for(reader.file(), options.separator)),
        values_(options.values),
        largest_(largest),
        records_(reader, separator_) {
    zeros_ = 0;
    for (int i = 0; i < 4; ++i)
      zeros_ |= (std::uint64_t{'0'} | static_cast<std::uint64_t>(static_cast<unsigned char>(separator_)) << 8)
                << (16 * i);
  }

  std::string corner;
  std::vector<std::string> row_names;
  std::vector<std::string> col_names;

  template <class Sink>
  void run(Sink& sink) {
    const auto header = records_.next_text();
    if (!header) throw ParseError(reader_.file(), std::size_t{1}, "the file is empty, a header line is expected");
    const std::size_t header_line = records_.line();
    const auto& names = records_.split(*header);
    col_names.assign(names.begin(), names.end());

    auto text = records_.next_text();
    std::size_t fields = col_names.size();
    if (text) fields = records_.split(*text).size();
    if (fields == col_names.size()) {
      corner = std::move(col_names.front());
      col_names.erase(col_names.begin());
    } else if (fields != col_names.size() + 1) {
      throw ParseError(reader_.file(), records_.line(),
                       "has " + std::to_string(fields) + " fields, the header has " + std::to_string(col_names.size()));
    }
    require_unique_columns(reader_.file(), header_line, col_names);
    if (col_names.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
      throw ParseError(reader_.file(), header_line, "too many columns");

    std::unordered_set<std::string> seen;
    for (; text; text = records_.next_text()) {
      sink.begin_row(static_cast<Index>(col_names.size()));
      std::string name = records_.quoted() ? quoted_row(*text, sink) : plain_row(*text, sink);
      sink.end_row();
      if (!seen.insert(name).second)
        throw ParseError(reader_.file(), records_.line(), "the row name '" + shortened(name) + "' occurs twice");
      row_names.push_back(std::move(name));
    }
  }

 private:
  template <class Sink>
  std::string plain_row(std::string_view text, Sink& sink) {
    const char* end = text.data() + text.size();
    const void* found = std::memchr(text.data(), separator_, text.size());
    const char* name_end = found != nullptr ? static_cast<const char*>(found) : end;
    std::string name(text.data(), name_end);
    if (name_end == end) {
      if (!col_names.empty()) ragged(1);
      return name;
    }
    numbers(name_end + 1, end, text, sink);
    return name;
  }

  // As R writes it, the row name is quoted and the numbers are not.
  template <class Sink>
  std::string quoted_row(std::string_view text, Sink& sink) {
    if (text.front() == '"') {
      const auto close = text.find('"', 1);
      if (close != std::string_view::npos && close + 1 < text.size() && text[close + 1] == separator_ &&
          text.find('"', close + 1) == std::string_view::npos) {
        const char* begin = text.data() + close + 2;
        numbers(begin, text.data() + text.size(), text, sink);
        return std::string(text.substr(1, close - 1));
      }
    }
    const auto& fields = records_.split(text);
    if (fields.size() != col_names.size() + 1) ragged(fields.size());
    for (std::size_t c = 1; c < fields.size(); ++c) {
      const double value = number(fields[c], c - 1);
      if (value != 0 || std::signbit(value)) sink.value(static_cast<std::int32_t>(c - 1), value);
    }
    return std::string(fields[0]);
  }

  /// Numbers between `p` and `end`, where one byte behind `end` may be read.
  template <class Sink>
  void numbers(const char* p, const char* end, std::string_view text, Sink& sink) {
    const std::size_t count = col_names.size();
    std::size_t c = 0;
    for (;;) {
      // Runs of zeros are most of a count table: four fields at once.
      while (end - p >= 8 && c + 4 < count && load_word(p) == zeros_) {
        p += 8;
        c += 4;
      }
      if (c >= count) ragged(records_.split(text).size());
      const char* start = p;
      std::uint64_t whole = 0;
      while (p < end && static_cast<unsigned char>(*p - '0') <= 9 && p - start < 16) {
        whole = whole * 10 + static_cast<std::uint64_t>(*p - '0');
        ++p;
      }
      if (p != start && p - start < 16 && (p == end || *p == separator_)) {
        if (whole != 0) sink.value(static_cast<std::int32_t>(c), static_cast<double>(whole));
      } else {
        const void* found = std::memchr(p, separator_, static_cast<std::size_t>(end - p));
        p = found != nullptr ? static_cast<const char*>(found) : end;
        const double value = number({start, static_cast<std::size_t>(p - start)}, c);
        if (value != 0 || std::signbit(value)) sink.value(static_cast<std::int32_t>(c), value);
      }
      ++c;
      if (p == end) break;
      ++p;
    }
    if (c != count) ragged(c + 1);
  }

  static std::uint64_t load_word(const char* p) {
    std::uint64_t word;
    std::memcpy(&word, p, sizeof word);
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    return word;
  }

  double number(std::string_view field, std::size_t column) const {
    const auto value = parse_number(field);
    const auto fail = [&](const std::string& what) {
      throw ParseError(reader_.file(), records_.line(),
                       "column " + shortened(col_names[column]) + ": '" + shortened(field) + "' " + what);
    };
    if (!value) fail("is not a number");
    if (const char* fault = value_fault(*value, values_, largest_)) fail(fault);
    return *value;
  }

  [[noreturn]] void ragged(std::size_t fields) const {
    throw ParseError(reader_.file(), records_.line(),
                     "has " + std::to_string(fields) + " fields, expected " + std::to_string(col_names.size() + 1));
  }

  TextReader& reader_;
  char separator_;
  Values values_;
  double largest_;
  RecordReader records_;
  std::uint64_t zeros_;
};

template <class T>
struct DenseSink {
  std::vector<T> values;
  std::size_t base = 0;
  void begin_row(Index columns) {
    base = values.size();
    values.resize(base + static_cast<std::size_t>(columns), T(0));
  }
  void value(std::int32_t column, double number) {
    values[base + static_cast<std::size_t>(column)] = static_cast<T>(number);
  }
  void end_row() {}
};

template <class T>
struct SparseSink {
  std::vector<Index> offsets{0};
  std::vector<std::int32_t> columns;
  std::vector<T> values;
  void begin_row(Index) {}
  void value(std::int32_t column, double number) {
    if (number == 0) return;
    columns.push_back(column);
    values.push_back(static_cast<T>(number));
  }
  void end_row() { offsets.push_back(static_cast<Index>(values.size())); }
};

}  // namespace detail

/// Numbers with names of rows and columns; `Storage` is Matrix<T> or SparseMatrix<T>.
template <class Storage>
struct NumericTable {
  std::string file;
  std::string corner;  // name of the column of row names, mostly empty
  std::vector<std::string> row_names;
  std::vector<std::string> col_names;
  Storage values;  // [row_names x col_names]
};

/// Reads a table of numbers, dense. Throws FileError, ParseError.
template <class T>
NumericTable<Matrix<T>> read_numeric_table(TextReader reader, const NumericTableOptions& options = {}) {
  detail::NumericParser parser(reader, options, static_cast<double>(std::numeric_limits<T>::max()));
  detail::DenseSink<T> sink;
  parser.run(sink);
  NumericTable<Matrix<T>> table{
      reader.file(), std::move(parser.corner), std::move(parser.row_names), std::move(parser.col_names), {}};
  table.values = Matrix<T>(static_cast<Index>(table.row_names.size()), static_cast<Index>(table.col_names.size()));
  std::copy(sink.values.begin(), sink.values.end(), table.values.data());
  return table;
}
template <class T>
NumericTable<Matrix<T>> read_numeric_table(const std::filesystem::path& path, const NumericTableOptions& options = {}) {
  return read_numeric_table<T>(TextReader(path), options);
}

/// The same, keeping the values that are not zero: for counts. Memory: the values that are not zero.
template <class T>
NumericTable<SparseMatrix<T>> read_sparse_table(TextReader reader, const NumericTableOptions& options = {}) {
  detail::NumericParser parser(reader, options, static_cast<double>(std::numeric_limits<T>::max()));
  detail::SparseSink<T> sink;
  parser.run(sink);
  NumericTable<SparseMatrix<T>> table{
      reader.file(), std::move(parser.corner), std::move(parser.row_names), std::move(parser.col_names), {}};
  table.values = SparseMatrix<T>(static_cast<Index>(table.row_names.size()), static_cast<Index>(table.col_names.size()),
                                 std::move(sink.offsets), std::move(sink.columns), std::move(sink.values));
  return table;
}
template <class T>
NumericTable<SparseMatrix<T>> read_sparse_table(const std::filesystem::path& path,
                                                const NumericTableOptions& options = {}) {
  return read_sparse_table<T>(TextReader(path), options);
}

/// Columns of text under a header. The header may be one field shorter than the rows; the first column is then called
/// "". Rows and columns count from 0, lines of the file from 1.
class Table {
 public:
  static Table read(const std::filesystem::path& path, const TableOptions& options = {}) {
    return read(TextReader(path), options);
  }
  static Table read(TextReader reader, const TableOptions& options = {}) {
    Table table;
    table.file_ = reader.file();
    detail::RecordReader records(reader, detail::separator_for(table.file_, options.separator));
    const auto header = records.next_text();
    if (!header) throw ParseError(table.file_, std::size_t{1}, "the file is empty, a header line is expected");
    table.header_line_ = records.line();
    const auto& names = records.split(*header);
    table.columns_.assign(names.begin(), names.end());
    while (const auto text = records.next_text()) {
      const auto& fields = records.split(*text);
      if (table.lines_.empty() && fields.size() == table.columns_.size() + 1)
        table.columns_.insert(table.columns_.begin(), std::string());
      if (fields.size() != table.columns_.size())
        throw ParseError(
            table.file_, records.line(),
            "has " + std::to_string(fields.size()) + " fields, expected " + std::to_string(table.columns_.size()));
      table.cells_.insert(table.cells_.end(), fields.begin(), fields.end());
      table.lines_.push_back(records.line());
    }
    detail::require_unique_columns(table.file_, table.header_line_, table.columns_);
    return table;
  }

  const std::string& file() const { return file_; }
  const std::vector<std::string>& columns() const { return columns_; }
  Index rows() const { return static_cast<Index>(lines_.size()); }
  /// Line on which a row starts.
  std::size_t line(Index row) const { return lines_[static_cast<std::size_t>(row)]; }

  std::optional<Index> find_column(std::string_view name) const {
    const auto found = std::find(columns_.begin(), columns_.end(), name);
    if (found == columns_.end()) return std::nullopt;
    return static_cast<Index>(found - columns_.begin());
  }
  /// Throws ParseError that names the file, the column and the columns there are.
  Index column(std::string_view name) const {
    if (const auto found = find_column(name)) return *found;
    std::string known;
    for (std::size_t i = 0; i < columns_.size() && i < 20; ++i) known += (i == 0 ? "" : ", ") + columns_[i];
    if (columns_.size() > 20) known += ", ...";
    throw ParseError(file_, header_line_, "no column '" + std::string(name) + "' (columns: " + known + ")");
  }

  const std::string& text(Index row, Index column) const {
    return cells_[static_cast<std::size_t>(row) * columns_.size() + static_cast<std::size_t>(column)];
  }
  /// A finite number.
  double number(Index row, Index column) const {
    const auto value = parse_number(text(row, column));
    if (!value) fail(row, column, "is not a number");
    if (!std::isfinite(*value)) fail(row, column, "is not finite");
    return *value;
  }
  Index integer(Index row, Index column) const {
    const auto value = parse_integer(text(row, column));
    if (!value) fail(row, column, "is not a whole number");
    return *value;
  }

  /// "FILE:LINE: column NAME: 'TEXT' MESSAGE".
  [[noreturn]] void fail(Index row, Index column, std::string_view message) const {
    throw ParseError(file_, line(row),
                     "column " + columns_[static_cast<std::size_t>(column)] + ": '" +
                         detail::shortened(text(row, column)) + "' " + std::string(message));
  }

 private:
  std::string file_;
  std::size_t header_line_ = 1;
  std::vector<std::string> columns_;
  std::vector<std::string> cells_;
  std::vector<std::size_t> lines_;
};

struct TableWriterOptions {
  /// As TableOptions::separator.
  char separator = 0;
  /// Significant digits of floating numbers; 0 writes the shortest text that reads back as the same value.
  int digits = 0;
};

/// Writes a table row by row: fields, then end_row(); at the end commit(). Compressed when the name ends in .gz;
/// atomic. Text is quoted where RFC 4180 asks for it.
class TableWriter {
 public:
  explicit TableWriter(const std::filesystem::path& path, const TableWriterOptions& options = {})
      : writer_(path), separator_(detail::separator_for(path.string(), options.separator)), digits_(options.digits) {}

  TableWriter& text(std::string_view value) {
    next_field();
    // A lone empty field would be an empty line, which readers skip.
    const bool quote = value.find_first_of("\"\r\n") != std::string_view::npos ||
                       value.find(separator_) != std::string_view::npos || (value.empty() && fields_ == 1);
    if (!quote) {
      row_ += value;
      return *this;
    }
    row_ += '"';
    for (const char c : value) {
      if (c == '"') row_ += '"';
      row_ += c;
    }
    row_ += '"';
    return *this;
  }
  template <class T>
  requires std::is_arithmetic_v<T> TableWriter& number(T value) {
    next_field();
    append_number(row_, value, digits_);
    return *this;
  }
  void end_row() {
    row_ += '\n';
    writer_.write(row_);
    row_.clear();
    fields_ = 0;
  }
  void commit() { writer_.commit(); }

 private:
  void next_field() {
    if (fields_++ > 0) row_ += separator_;
  }

  TextWriter writer_;
  char separator_;
  int digits_;
  std::string row_;
  int fields_ = 0;
};

/// Writes numbers with names of rows and columns.
template <class T>
void write_numeric_table(const std::filesystem::path& path, std::string_view corner,
                         const std::vector<std::string>& row_names, const std::vector<std::string>& col_names,
                         MatrixView<const T> values, const TableWriterOptions& options = {}) {
  require_size("write_numeric_table", "row_names", "entries", static_cast<Index>(row_names.size()), values.rows());
  require_size("write_numeric_table", "col_names", "entries", static_cast<Index>(col_names.size()), values.cols());
  TableWriter writer(path, options);
  writer.text(corner);
  for (const auto& name : col_names) writer.text(name);
  writer.end_row();
  for (Index r = 0; r < values.rows(); ++r) {
    writer.text(row_names[static_cast<std::size_t>(r)]);
    for (Index c = 0; c < values.cols(); ++c) writer.number(values(r, c));
    writer.end_row();
  }
  writer.commit();
}
template <class T>
void write_numeric_table(const std::filesystem::path& path, std::string_view corner,
                         const std::vector<std::string>& row_names, const std::vector<std::string>& col_names,
                         const Matrix<T>& values, const TableWriterOptions& options = {}) {
  write_numeric_table<T>(path, corner, row_names, col_names, values.view(), options);
}

}  // namespace eosin::io
