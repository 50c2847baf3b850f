#include <eosin/io/table.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/golden.hpp"
#include "support/message.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

using Names = std::vector<std::string>;

io::TextReader memory(const std::string& content, const std::string& name = "t.tsv") {
  return io::TextReader::from_memory(content, name);
}

std::string counts_error(const std::string& content, const std::string& name = "t.tsv") {
  const auto sparse =
      message_of([&] { io::read_sparse_table<float>(memory(content, name), {.values = io::Values::counts}); });
  const auto dense =
      message_of([&] { io::read_numeric_table<float>(memory(content, name), {.values = io::Values::counts}); });
  CHECK(sparse == dense);
  return sparse;
}

io::NumericTableOptions options_of(const testing::GoldenCase& golden) {
  io::NumericTableOptions options;
  options.separator = golden.config.at("separator").get<std::string>()[0];
  if (golden.config.value("values", std::string()) == "counts") options.values = io::Values::counts;
  return options;
}

}  // namespace

TEST_CASE("table: golden files") {
  Index read = 0;
  Index refused = 0;
  for (const auto& folder : testing::golden_cases("io")) {
    const auto golden = testing::load_golden(folder);
    if (golden.config.at("format") != "table") continue;
    CAPTURE(golden.name);
    const auto path = golden.folder / golden.config.at("file").get<std::string>();
    const auto options = options_of(golden);
    if (golden.document.contains("expect_error")) {
      ++refused;
      CHECK(testing::unmet_error_text(golden, message_of([&] { io::read_numeric_table<double>(path, options); })) ==
            "");
      CHECK(testing::unmet_error_text(golden, message_of([&] { io::read_sparse_table<float>(path, options); })) == "");
      continue;
    }
    ++read;
    const auto wanted_rows = golden.document["strings"]["row_names"].get<Names>();
    const auto wanted_cols = golden.document["strings"]["col_names"].get<Names>();
    const auto dense = io::read_numeric_table<double>(path, options);
    CHECK(dense.row_names == wanted_rows);
    CHECK(dense.col_names == wanted_cols);
    testing::Comparison comparison(golden, false);
    comparison.check("out/values", dense.values);
    comparison.check("out/values_nnz", std::count_if(dense.values.data(), dense.values.data() + dense.values.size(),
                                                     [](double value) { return value != 0; }));
    comparison.finish();
    INFO(comparison.summary());
    CHECK(comparison.ok());
    for (Index i = 0; i < dense.values.size(); ++i)
      CHECK(std::signbit(dense.values.flat()[i]) == std::signbit(golden.at("out/values").values[std::size_t(i)]));

    const auto sparse = io::read_sparse_table<float>(path, options);
    CHECK(sparse.row_names == wanted_rows);
    testing::Comparison single(golden, true);
    single.check("out/values", sparse.values.dense());
    single.check("out/values_nnz", sparse.values.nonzeros());
    single.finish();
    INFO(single.summary());
    CHECK(single.ok());
  }
  CHECK(read == 4);
  CHECK(refused == 4);
}

TEST_CASE("table: fast and careful paths agree on counts") {
  // Every column count around the four-field stride, with zeros in all positions.
  for (int columns = 1; columns <= 13; ++columns)
    for (int shift = 0; shift < 5; ++shift) {
      std::string plain = "s";
      std::string quoted = "\"s\"";
      for (int c = 0; c < columns; ++c) {
        plain += "\tg" + std::to_string(c);
        quoted += "\t\"g" + std::to_string(c) + "\"";
      }
      for (int r = 0; r < 3; ++r) {
        plain += "\nr" + std::to_string(r);
        quoted += "\n\"r" + std::to_string(r) + "\"";
        for (int c = 0; c < columns; ++c) {
          const std::string value = (c + shift) % 5 == r ? std::to_string(c * 1000003 + r) : "0";
          plain += "\t" + value;
          quoted += "\t\"" + value + "\"";
        }
      }
      const auto a = io::read_sparse_table<double>(memory(plain), {.values = io::Values::counts});
      const auto b = io::read_sparse_table<double>(memory(quoted), {.values = io::Values::counts});
      const auto c = io::read_numeric_table<double>(memory(plain + "\r\n\n"));
      REQUIRE(a.values == b.values);
      REQUIRE(a.col_names == b.col_names);
      REQUIRE(a.row_names == b.row_names);
      for (Index i = 0; i < 3; ++i)
        for (Index j = 0; j < columns; ++j) REQUIRE(a.values.at(i, j) == c.values(i, j));
    }
}

TEST_CASE("table: numbers of many digits") {
  const auto table = io::read_numeric_table<double>(
      memory("\ta\tb\tc\td\nr\t123456789012345\t1234567890123456\t9007199254740993\t18446744073709551616"));
  CHECK(table.values(0, 0) == 123456789012345.0);
  CHECK(table.values(0, 1) == 1234567890123456.0);
  CHECK(table.values(0, 2) == 9007199254740992.0);
  CHECK(table.values(0, 3) == 18446744073709551616.0);
}

TEST_CASE("table: what is wrong is said with its place") {
  CHECK(contains(counts_error("\ta\tb\nr1\t1\t-2\n"), "t.tsv:2: column b: '-2' is negative"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\t2\nr2\t0.5\t2\n"), "t.tsv:3: column a: '0.5' is not a whole number"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\tnan\n"), "t.tsv:2: column b: 'nan' is not finite"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\tinf\n"), "not finite"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\tn/a\n"), "column b: 'n/a' is not a number"));
  CHECK(contains(counts_error("\ta\tb\nr1\t\t3\n"), "column a: '' is not a number"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\n"), "has 2 fields, the header has 3"));
  CHECK(contains(counts_error("\ta\tb\nr0\t0\t0\nr1\n"), "t.tsv:3: has 1 fields, expected 3"));
  CHECK(contains(counts_error("\ta\tb\nr0\t0\t0\nr1\t0\t0\t0\t7\n"), "t.tsv:3: has 5 fields, expected 3"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\t2\t3\t4\n"), "has 5 fields, the header has 3"));
  CHECK(contains(counts_error("\ta\ta\nr1\t1\t2\n"), "t.tsv:1: the column name 'a' occurs twice"));
  CHECK(contains(counts_error("\ta\tb\nr1\t1\t2\n\nr1\t3\t4\n"), "t.tsv:4: the row name 'r1' occurs twice"));
  CHECK(contains(counts_error(""), "t.tsv:1: the file is empty"));
  CHECK(contains(counts_error("a,b\n\"r1,2\n", "t.csv"), "t.csv:2: a quote is opened and never closed"));
  CHECK(contains(counts_error("a,b\n\"r1\"x,2\n", "t.csv"), "t.csv:2: field 1: text follows the closing quote"));
  CHECK(contains(counts_error("x,a\n\"r\n1\",2\nr2,-1\n", "t.csv"), "t.csv:4: column a"));
  CHECK(contains(counts_error("\ta\nr\t1e39\n"), "column a: '1e39' is too large"));
  CHECK(counts_error("\ta\tb\n") == "");
  CHECK(counts_error("s\ta\tb\nr1\t 1 \t+2\n") == "");
}

TEST_CASE("table: columns of text") {
  const auto table =
      io::Table::read(memory("x,y,note\r\n1,2.5,\"a, b\"\r\n\r\n-3,nan,\"say \"\"hi\"\"\"\r\n", "m.csv"));
  CHECK(table.rows() == 2);
  CHECK(table.columns() == Names{"x", "y", "note"});
  CHECK(table.integer(0, table.column("x")) == 1);
  CHECK(table.number(0, table.column("y")) == 2.5);
  CHECK(table.text(0, 2) == "a, b");
  CHECK(table.text(1, 2) == "say \"hi\"");
  CHECK(table.line(1) == 4);
  CHECK_FALSE(table.find_column("z"));
  CHECK(message_of([&] { table.column("z"); }) == "m.csv:1: no column 'z' (columns: x, y, note)");
  CHECK(message_of([&] { table.number(1, 1); }) == "m.csv:4: column y: 'nan' is not finite");
  CHECK(message_of([&] { table.number(0, 2); }) == "m.csv:2: column note: 'a, b' is not a number");
  CHECK(message_of([&] { table.integer(0, 1); }) == "m.csv:2: column y: '2.5' is not a whole number");
  const auto named = io::Table::read(memory("a\tb\nr1\t1\t2\n"));
  CHECK(named.columns() == Names{"", "a", "b"});
  CHECK(contains(message_of([] { io::Table::read(memory("a\tb\n1\t2\n3\n")); }), "t.tsv:3: has 1 fields, expected 2"));
  CHECK(contains(message_of([] { io::Table::read(memory("a\ta\n1\t2\n")); }), "'a' occurs twice"));
  CHECK(contains(message_of([] { io::Table::read(memory("")); }), "empty"));
  CHECK(contains(message_of([] { io::Table::read(std::filesystem::path("none.csv")); }), "none.csv"));
}

TEST_CASE("table: what the writer writes the readers read") {
  testing::TemporaryFolder folder;
  Matrix<double> values(2, 3);
  values(0, 0) = 0.1;
  values(0, 1) = -1e-300;
  values(1, 2) = 12345678.9;
  const Names rows{"a,b", "two\nlines"};
  const Names cols{"", "say \"x\"", "tab\t"};
  Names files{"t.csv", "t.tsv"};
#if EOSIN_HAS_ZLIB
  files.push_back("t.csv.gz");
#endif
  for (const auto& name : files) {
    CAPTURE(name);
    const auto path = folder.path() / name;
    io::write_numeric_table(path, "spot", rows, cols, values);
    const auto table = io::read_numeric_table<double>(path);
    CHECK(table.corner == "spot");
    CHECK(table.row_names == rows);
    CHECK(table.col_names == cols);
    for (Index i = 0; i < values.size(); ++i) CHECK(table.values.flat()[i] == values.flat()[i]);
  }
  io::TableWriter writer(folder.path() / "u.csv", {.digits = 3});
  writer.text("").end_row();
  writer.number(1.0 / 3).number(7).text("plain").end_row();
  writer.commit();
  CHECK(io::read_file(folder.path() / "u.csv") == "\"\"\n0.333,7,plain\n");
  CHECK_THROWS_AS(io::write_numeric_table(folder.path() / "v.csv", "", rows, rows, values), ShapeError);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "v.csv"));
}

TEST_CASE("table: published counts") {
  const auto data = testing::data_folder();
  if (!data) EOSIN_SKIP("EOSIN_DATA is not set");
  const auto table = io::read_sparse_table<float>(std::filesystem::path(*data) / "her2st/counts/B4.tsv.gz",
                                                  {.values = io::Values::counts});
  CHECK(table.values.rows() == 283);
  CHECK(table.values.cols() == 15289);
  CHECK(table.row_names.front() == "10x14");
  CHECK(table.col_names[1] == "SAMD11");
  CHECK(table.values.nonzeros() == 400805);
}
