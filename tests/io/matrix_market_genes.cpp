#include <eosin/io/matrix_market_genes.hpp>

#include <doctest/doctest.h>

#include <string>

#include "support/message.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

const std::string banner = "%%MatrixMarket matrix coordinate integer general\n";

io::GeneSpool read(const std::string& content, glm::Orientation orientation = glm::Orientation::genes_by_cells) {
  return io::read_matrix_market_genes(io::TextReader::from_memory(content, "m.mtx"), orientation);
}

}  // namespace

TEST_CASE("matrix market genes: any order, both orientations, double entries") {
  const std::string entries = "2 3 6\n2 3 7\n1 1 1\n1 3 2\n2 1 3\n1 1 4\n2 2 0\n";
  auto upright = read(banner + entries);
  CHECK(upright.genes() == 2);
  CHECK(upright.cells() == 3);
  auto block = upright.next(10);
  REQUIRE(block.genes() == 2);
  CHECK(block.cells_of(0).size() == 2);
  CHECK(block.cells_of(0)[0] == 0);
  CHECK(block.counts_of(0)[0] == 5);
  CHECK(block.cells_of(0)[1] == 2);
  CHECK(block.counts_of(0)[1] == 2);
  CHECK(block.counts_of(1)[0] == 3);
  CHECK(block.counts_of(1)[1] == 7);
  auto flat = read(banner + entries, glm::Orientation::cells_by_genes);
  CHECK(flat.genes() == 3);
  CHECK(flat.cells() == 2);
  block = flat.next(10);
  CHECK(block.cells_of(1).size() == 0);
  CHECK(block.counts_of(2)[1] == 7);
  auto array = read("%%MatrixMarket matrix array real general\n2 2\n1\n0\n2\n3\n");
  block = array.next(10);
  CHECK(block.counts_of(0)[1] == 2);
  CHECK(block.cells_of(1)[0] == 1);
}

TEST_CASE("matrix market genes: what is no count names the line, what is only claimed takes no memory") {
  CHECK(contains(message_of([] { read(banner + "2 2 1\n1 1 -1\n"); }), "m.mtx:3: value: '-1' is negative"));
  CHECK(contains(message_of([] { read(banner + "2 2 1\n1 1 0.5\n"); }), "m.mtx:3: value: '0.5' is not a whole number"));
  CHECK(contains(message_of([] { read(banner + "2 2 1\n3 1 1\n"); }), "m.mtx:3: row number 3"));
  CHECK(contains(message_of([] { read(banner + "2000000000 2000000000 1\n1 1 1\n"); }), "2000000000 genes"));
  CHECK(io::matrix_market_shape(io::TextReader::from_memory(banner + "3 4 1\n1 1 1\n", "m.mtx")) ==
        std::pair<Index, Index>(3, 4));
}
