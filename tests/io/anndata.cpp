#include <eosin/io/anndata.hpp>
#include <eosin/io/anndata_writer.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "support/golden.hpp"
#include "support/golden_folder.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

using Names = std::vector<std::string>;
using Kind = io::AnnDataColumn::Kind;

Matrix<double> dense(const io::AnnData& file, const std::string& matrix) {
  const auto [rows, cols] = file.matrix_shape(matrix);
  Matrix<double> result(rows, cols);
  file.scan(matrix, io::Values::any, [&](Index row, Index col, double value) { result(row, col) += value; });
  return result;
}

bool same(const Matrix<double>& got, const testing::GoldenTensor& wanted) {
  if (wanted.shape != std::vector<Index>{got.rows(), got.cols()}) return false;
  for (Index i = 0; i < got.size(); ++i) {
    const double value = wanted.values[static_cast<std::size_t>(i)];
    if (!(got.data()[i] == value || (std::isnan(got.data()[i]) && std::isnan(value)))) return false;
  }
  return true;
}

template <class T>
bool same(const std::vector<T>& got, const testing::GoldenTensor& wanted) {
  if (got.size() != wanted.values.size()) return false;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto value = static_cast<double>(got[i]);
    if (!(value == wanted.values[i] || (std::isnan(value) && std::isnan(wanted.values[i])))) return false;
  }
  return true;
}

/// Columns of a frame that the case lists; counts what was compared.
void check_frame(const testing::GoldenCase& golden, const io::AnnData& file, const std::string& frame, int& compared) {
  for (const auto& name : file.columns(frame)) {
    const std::string key = frame + "/" + name, tensor = "out/" + key;
    CAPTURE(key);
    const auto column = file.column(frame, name);
    const auto& strings = golden.document["strings"];
    if (column.kind == Kind::categories) {
      REQUIRE(golden.has(tensor + "/codes"));
      CHECK(same(column.codes, golden.at(tensor + "/codes")));
      CHECK(column.texts == strings[key + "/categories"].get<Names>());
      if (golden.has(tensor + "/ordered"))
        CHECK(static_cast<double>(column.ordered) == golden.at(tensor + "/ordered").values.front());
    } else if (column.kind == Kind::texts) {
      CHECK(column.texts == strings[key].get<Names>());
    } else {
      REQUIRE(golden.has(tensor));
      CHECK(same(column.numbers, golden.at(tensor)));
      if (golden.has(tensor + "/missing")) CHECK(same(column.missing, golden.at(tensor + "/missing")));
    }
    ++compared;
  }
}

}  // namespace

TEST_CASE("anndata: golden files, every version and storage") {
  int read = 0, refused = 0, columns = 0, matrices = 0;
  for (const auto& folder : testing::golden_cases("io")) {
    const auto golden = testing::load_golden(folder);
    if (golden.config.at("format") != "h5ad") continue;
    CAPTURE(golden.name);
    const auto path = golden.folder / golden.config.at("file").get<std::string>();
    if (golden.document.contains("expect_error")) {
      ++refused;
      const auto message = message_of([&] {
        const io::AnnData file(path);
        dense(file, "X");
      });
      CHECK(testing::unmet_error_text(golden, message) == "");
      continue;
    }
    ++read;
    const io::AnnData file(path);
    CHECK(file.names("obs") == golden.document["strings"]["obs_names"].get<Names>());
    CHECK(file.names("var") == golden.document["strings"]["var_names"].get<Names>());
    check_frame(golden, file, "obs", columns);
    check_frame(golden, file, "var", columns);
    for (const auto& [name, tensor] : golden.tensors) {
      if (name != "out/X" && name != "out/raw/X" && name.rfind("out/layers/", 0) != 0) continue;
      if (name.size() > 4 && name.compare(name.size() - 4, 4, "_nnz") == 0) continue;  // its number of nonzeros
      CAPTURE(name);
      const std::string matrix = name.substr(4);
      CHECK(file.has_matrix(matrix));
      CHECK(same(dense(file, matrix), tensor));
      ++matrices;
    }
    if (file.has_matrix("raw/X"))
      CHECK(file.names("raw/var") == golden.document["strings"]["raw/var_names"].get<Names>());
  }
  CHECK(read == 7);
  CHECK(refused == 4);
  CHECK(columns > 20);
  CHECK(matrices >= 10);
}

TEST_CASE("anndata: counts as a source of genes") {
  const auto golden = testing::golden_folder() / "io";
  for (const Index memory : {Index{0}, Index{1} << 30}) {
    auto source = io::read_anndata_genes(golden / "h5ad_layers_raw/cells.h5ad", "layers/counts", {.memory = memory});
    const auto truth = dense(io::AnnData(golden / "h5ad_layers_raw/cells.h5ad"), "layers/counts");
    REQUIRE(source.genes() == truth.cols());
    const auto block = source.next(1000);
    REQUIRE(block.genes() == truth.cols());
    for (Index g = 0; g < block.genes(); ++g) {
      double sum = 0;
      for (Index c = 0; c < truth.rows(); ++c) sum += truth(c, g);
      double got = 0;
      for (Index e = 0; e < block.counts_of(g).size(); ++e) {
        CHECK(block.counts_of(g)[e] == truth(block.cells_of(g)[e], g));
        got += block.counts_of(g)[e];
      }
      CHECK(got == sum);
    }
  }
  // X of this file is log-normalised.
  CHECK(contains(message_of([&] { io::read_anndata_genes(golden / "h5ad_layers_raw/cells.h5ad"); }),
                 "is not a whole number"));
  CHECK(contains(message_of([&] { io::read_anndata_genes(golden / "h5ad_layers_raw/cells.h5ad", "layers/none"); }),
                 "layers/none"));
}

TEST_CASE("anndata: what the writer writes the reader reads") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "out.h5ad";
  const Names cells{"c1", "c 2", "Ωmega"}, genes{"g1", "g/2"};
  Matrix<double> values(2, 3);
  values(1, 2) = -std::numeric_limits<double>::infinity();
  values(0, 1) = 0.1;
  io::AnnDataWriter writer(cells, genes);
  writer.column("obs", "type", {"B", "T"}, std::vector<Index>{1, -1, 0});
  writer.column("obs", "size_factor", std::vector<double>{0.5, 1.0, 2.0});
  writer.column("var", "status", Names{"fine", ""});
  writer.matrix("varm/coefficients", values.view());
  writer.dictionary("uns/fit");
  writer.text("uns/fit/version", "1");
  writer.array("uns/fit/names", Names{"a", "b"});
  writer.array("uns/fit/weights", std::vector<double>{0.25, 0.75});
  writer.frame("uns/fit/markers", Names{"0", "1"});
  writer.column("uns/fit/markers", "gene", Names{"g1", "g1"});
  writer.frame("uns/fit/none", Names{});
  CHECK_THROWS_AS(writer.column("obs", "short", std::vector<double>{1}), ShapeError);
  CHECK_THROWS_AS(writer.column("obs", "a/b", std::vector<double>{1, 2, 3}), ValueError);
  CHECK_THROWS_AS(writer.column("nowhere", "a", std::vector<double>{1, 2, 3}), ValueError);
  CHECK_THROWS_AS(writer.dictionary("uns/fit"), ValueError);
  CHECK_THROWS_AS(
      writer.matrix("varm/wrong", values.view().col(0).size() == 2 ? Matrix<double>(3, 1).view() : values.view()),
      ShapeError);
  CHECK_FALSE(std::filesystem::exists(path));
  writer.commit(path);

  const io::AnnData file(path);
  CHECK(file.names("obs") == cells);
  CHECK(file.names("var") == genes);
  CHECK(file.columns("obs") == Names{"size_factor", "type"});
  const auto type = file.column("obs", "type");
  CHECK(type.kind == Kind::categories);
  CHECK(type.text(0) == "T");
  CHECK(type.text(1) == "");
  CHECK_FALSE(type.ordered);
  CHECK(file.column("obs", "size_factor").numbers == std::vector<double>{0.5, 1.0, 2.0});
  CHECK(file.column("var", "status").text(0) == "fine");
  CHECK(file.names("uns/fit/markers") == Names{"0", "1"});
  CHECK(file.names("uns/fit/none").empty());
  CHECK(file.matrix_shape("varm/coefficients") == std::pair<Index, Index>(2, 3));
  CHECK_FALSE(file.has_matrix("X"));
  CHECK(contains(message_of([&] { file.column("obs", "batch"); }),
                 "obs: no column 'batch' (columns: size_factor, type)"));
  CHECK(contains(message_of([&] { dense(file, "X"); }), "X"));
  CHECK(contains(message_of([&] { dense(file, "uns/fit"); }), "uns/fit"));
}
