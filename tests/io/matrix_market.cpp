#include <eosin/io/matrix_market.hpp>

#include <doctest/doctest.h>

#include <string>

#include "support/golden.hpp"
#include "support/message.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

const std::string banner = "%%MatrixMarket matrix coordinate real general\n";

SparseMatrix<double> read(const std::string& content) {
  return io::read_matrix_market<double>(io::TextReader::from_memory(content, "m.mtx"));
}

std::string error_of(const std::string& content) {
  return message_of([&] { read(content); });
}

}  // namespace

TEST_CASE("matrix market: golden files") {
  Index accepted = 0;
  Index refused = 0;
  for (const auto& folder : testing::golden_cases("io")) {
    const auto golden = testing::load_golden(folder);
    if (golden.config.at("format") != "mtx") continue;
    CAPTURE(golden.name);
    const auto path = golden.folder / golden.config.at("file").get<std::string>();
    io::MatrixMarketOptions options;
    if (golden.config.value("values", std::string()) == "counts") options.values = io::Values::counts;
    if (golden.document.contains("expect_error")) {
      ++refused;
      CHECK(testing::unmet_error_text(golden, message_of([&] { io::read_matrix_market<float>(path, options); })) == "");
      continue;
    }
    ++accepted;
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      const auto check = [&](const auto& matrix, const auto& transposed) {
        CHECK(transposed.transposed() == matrix);
        comparison.check("out/values", matrix.dense());
      };
      if (single)
        check(io::read_matrix_market<float>(path, options),
              io::read_matrix_market<float>(path, options, io::Orientation::transposed));
      else
        check(io::read_matrix_market<double>(path, options),
              io::read_matrix_market<double>(path, options, io::Orientation::transposed));
      // Counted in double: a float cannot hold the smallest values of these files.
      Index nonzero = 0;
      const auto exact = io::read_matrix_market<double>(path, options);
      for (const double value : exact.values()) nonzero += value != 0 ? 1 : 0;
      comparison.check("out/values_nnz", nonzero);
      comparison.finish();
      INFO(comparison.summary());
      CHECK(comparison.ok());
    }
  }
  CHECK(accepted == 6);
  CHECK(refused == 7);
}

TEST_CASE("matrix market: symmetric and skew-symmetric, coordinate and array") {
  const auto symmetric = read("%%matrixmarket MATRIX array Integer Symmetric\n3 3\n1\n2\n3\n4\n5\n6\n");
  CHECK(symmetric.at(0, 0) == 1);
  CHECK(symmetric.at(0, 2) == 3);
  CHECK(symmetric.at(2, 0) == 3);
  CHECK(symmetric.at(1, 1) == 4);
  CHECK(symmetric.at(1, 2) == 5);
  CHECK(symmetric.at(2, 2) == 6);
  const auto skew = read("%%MatrixMarket matrix array real skew-symmetric\n3 3\n1\n2\n3\n");
  CHECK(skew.at(1, 0) == 1);
  CHECK(skew.at(0, 1) == -1);
  CHECK(skew.at(2, 0) == 2);
  CHECK(skew.at(1, 2) == -3);
  CHECK(skew.at(1, 1) == 0);
  const auto coordinate = read("%%MatrixMarket matrix coordinate pattern skew-symmetric\n2 2 1\n2 1\n");
  CHECK(coordinate.at(0, 1) == -1);
  CHECK(read("%%MatrixMarket matrix array real general\n2 2\n1 2\n3 4\n").at(1, 0) == 2);
  CHECK(read("%%MatrixMarket matrix array real general\n0 5\n").cols() == 5);
  CHECK(read("%%MatrixMarket matrix array real general\n3 0\n").rows() == 3);
  CHECK(read("%%MatrixMarket matrix array real skew-symmetric\n1 1\n").nonzeros() == 0);
  CHECK(read(banner + "0 0 0\n").rows() == 0);
}

TEST_CASE("matrix market: malformed files name the line") {
  CHECK(contains(error_of(""), "m.mtx:1"));
  CHECK(contains(error_of("%MatrixMarket\n"), "m.mtx:1"));
  CHECK(contains(error_of("%%MatrixMarket matrix coordinate real\n"), "4 words"));
  CHECK(contains(error_of("%%MatrixMarket vector coordinate real general\n"), "vector"));
  CHECK(contains(error_of("%%MatrixMarket matrix coordinate complex general\n1 1 0\n"), "complex"));
  CHECK(contains(error_of("%%MatrixMarket matrix coordinate real hermitian\n1 1 0\n"), "hermitian"));
  CHECK(contains(error_of("%%MatrixMarket matrix array pattern general\n1 1\n"), "pattern"));
  CHECK(contains(error_of("%%MatrixMarket matrix coordinate real symmetric\n2 3 0\n"), "square"));
  CHECK(contains(error_of("%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n1 2 1\n"), "m.mtx:3"));
  CHECK(contains(error_of(banner), "size line"));
  CHECK(contains(error_of(banner + "2 2\n"), "m.mtx:2"));
  CHECK(contains(error_of(banner + "2 -2 1\n"), "'-2'"));
  CHECK(contains(error_of(banner + "2 99999999999999999999 1\n"), "99999999999999999999"));
  CHECK(contains(error_of(banner + "2 2 1\n1 1 1\n2 2 2\n"), "m.mtx:4: more entries"));
  CHECK(contains(error_of(banner + "2 2 1\n1 1\n"), "has 2 fields, expected 3"));
  CHECK(contains(error_of(banner + "2 2 1\n1.0 1 1\n"), "'1.0' is not a row number"));
  CHECK(contains(error_of(banner + "2147483647 2 1\n1 1 1\n"), "2147483647 rows"));
  CHECK(contains(error_of("%%MatrixMarket matrix array real general\n2147483647 2147483647\n1\n"), "ends after 1"));
  CHECK(contains(error_of("%%MatrixMarket matrix array real general\n1 1\n1 2\n"), "more values"));
}

TEST_CASE("matrix market: what the writer writes the reader reads") {
  testing::TemporaryFolder folder;
  const auto matrix = SparseMatrix<double>::from_triplets(3, 4, {{0, 3, 0.1}, {2, 0, -1e300}, {2, 2, 7}});
  io::write_matrix_market(folder.path() / "m.mtx", matrix);
  CHECK(io::read_matrix_market<double>(folder.path() / "m.mtx") == matrix);
#if EOSIN_HAS_ZLIB
  io::write_matrix_market(folder.path() / "m.mtx.gz", matrix);
  CHECK(io::read_matrix_market<double>(folder.path() / "m.mtx.gz") == matrix);
#endif
}

TEST_CASE("matrix market: published counts") {
  const auto data = testing::data_folder();
  if (!data) EOSIN_SKIP("EOSIN_DATA is not set");
  const auto counts = io::read_matrix_market<float>(std::filesystem::path(*data) / "kang/matrix.mtx.gz",
                                                    {.values = io::Values::counts}, io::Orientation::transposed);
  CHECK(counts.rows() == 2000);
  CHECK(counts.cols() == 13215);
}
