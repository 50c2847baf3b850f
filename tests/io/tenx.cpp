#include <eosin/io/tenx.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/golden.hpp"
#include "support/hdf5_files.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

using Names = std::vector<std::string>;

/// A version 2 file with one genome: 3 genes x 2 cells.
void write_v2(const std::filesystem::path& path, const testing::Hdf5Changes& changes = {}) {
  testing::Hdf5Writer file(path, changes);
  file.group("hg19");
  file.texts("hg19/barcodes", {"AAA-1", "CCC-1"});
  file.texts("hg19/genes", {"E1", "E2", "E3"});
  file.texts("hg19/gene_names", {"S1", "S2", "S1"});
  file.numbers("hg19/data", {5, 1, 2});
  file.numbers("hg19/indices", {2, 0, 1});
  file.numbers("hg19/indptr", {0, 1, 3});
  file.numbers("hg19/shape", {3, 2});
}

Matrix<double> dense(const io::TenxFile& file) {
  Matrix<double> result(file.cells(), file.features());
  file.scan(io::Values::counts, [&](Index feature, Index cell, double count) { result(cell, feature) = count; });
  return result;
}

}  // namespace

TEST_CASE("10x HDF5: golden file, version 3") {
  int read = 0;
  for (const auto& folder : testing::golden_cases("io")) {
    const auto golden = testing::load_golden(folder);
    if (golden.config.at("format") != "10x_h5") continue;
    ++read;
    const io::TenxFile file(golden.folder / golden.config.at("file").get<std::string>());
    const auto& strings = golden.document["strings"];
    CHECK(file.barcodes() == strings["obs_names"].get<Names>());
    CHECK(file.feature_ids() == strings["feature_ids"].get<Names>());
    CHECK(file.feature_names() == strings["feature_names"].get<Names>());
    CHECK(file.feature_types() == strings["feature_types"].get<Names>());
    testing::Comparison comparison(golden, false);
    comparison.check("out/X", dense(file));
    CHECK(comparison.ok());
    auto source = io::read_tenx_genes(golden.folder / golden.config.at("file").get<std::string>());
    CHECK(source.genes() == file.features());
    CHECK(source.cells() == file.cells());
  }
  CHECK(read == 1);
}

TEST_CASE("10x HDF5: version 2 and malformed files") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "v2.h5";
  write_v2(path);
  const io::TenxFile file(path);
  CHECK(file.feature_ids() == Names{"E1", "E2", "E3"});
  CHECK(file.feature_types().empty());
  const auto counts = dense(file);
  CHECK(counts(0, 2) == 5);
  CHECK(counts(1, 0) == 1);
  CHECK(counts(1, 1) == 2);
  CHECK(counts(0, 0) == 0);
  CHECK(contains(message_of([&] { io::TenxFile(path, "mm10"); }), "no such genome (there are: hg19)"));

  const auto other = folder.path() / "other.h5";
  const auto error = [&](const testing::Hdf5Changes& changes) {
    write_v2(other, changes);
    return message_of([&] { dense(io::TenxFile(other)); });
  };
  CHECK(contains(error({{"hg19/indices", {2, 0, 3}}}), "hg19/indices: element 2 is 3, expected 0 .. 2"));
  CHECK(contains(error({{"hg19/indices", {2, 0, -1}}}), "hg19/indices: element 2 is -1"));
  CHECK(contains(error({{"hg19/indices", {2, 0}}}), "hg19/data: has 3 elements, hg19/indices has 2"));
  CHECK(contains(error({{"hg19/indptr", {0, 1}}}), "hg19/indptr: has 2 elements, expected 3"));
  CHECK(contains(error({{"hg19/indptr", {0, 4, 3}}}), "hg19/indptr: decreases from 4 to 3"));
  CHECK(contains(error({{"hg19/indptr", {1, 1, 3}}}), "hg19/indptr: starts at 1"));
  CHECK(contains(error({{"hg19/indptr", {0, 1, 2}}}), "hg19/indptr: ends at 2, there are 3 entries"));
  CHECK(contains(error({{"hg19/data", {5, -1, 2}}}), "hg19/data: row 1, column 0 (from 0): -1 is negative"));
  CHECK(contains(error({{"hg19/data", {5, 0.5, 2}}}), "0.5 is not a whole number"));
  CHECK(contains(error({{"hg19/shape", {3, 9}}}), "hg19/shape: is 3 x 9, there are 3 features and 2 barcodes"));
  CHECK(contains(error({{"hg19/shape", {3}}}), "hg19/shape"));
  {
    testing::Hdf5Writer empty(other);
    empty.group("a");
  }
  CHECK(contains(message_of([&] { io::TenxFile without(other); }), "no 10x Genomics file"));
  folder.write("text.h5", "no HDF5");
  CHECK(contains(message_of([&] { io::TenxFile text(folder.path() / "text.h5"); }), "text.h5"));
}
