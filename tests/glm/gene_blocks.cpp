#include <eosin/glm/gene_blocks.hpp>

#include <doctest/doctest.h>

#include "support/message.hpp"

#include <cmath>

using namespace eosin;
using testing::contains, testing::message_of;

namespace {

/// All genes of a source, read in blocks of `most`.
template <glm::GeneBlockSource Source>
Matrix<double> collect(Source&& source, Index most) {
  Matrix<double> result(source.genes(), source.cells());
  source.rewind();
  Index expected = 0;
  for (auto block = source.next(most); block.genes() > 0; block = source.next(most)) {
    CHECK(block.first_gene == expected);
    CHECK(block.genes() <= most);
    expected += block.genes();
    for (Index r = 0; r < block.genes(); ++r)
      for (Index e = 0; e < block.cells_of(r).size(); ++e)
        result(block.first_gene + r, block.cells_of(r)[e]) = block.counts_of(r)[e];
  }
  CHECK(expected == source.genes());
  return result;
}

bool same(const Matrix<double>& a, const Matrix<double>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (Index i = 0; i < a.size(); ++i)
    if (a.data()[i] != b.data()[i]) return false;
  return true;
}

}  // namespace

TEST_CASE("glm gene blocks: every storage gives the same genes") {
  const auto counts = SparseMatrix<int>::from_triplets(3, 4, {{0, 1, 5}, {0, 3, 2}, {2, 0, 7}, {2, 2, 1}});
  Matrix<double> expected(3, 4);
  expected(0, 1) = 5, expected(0, 3) = 2, expected(2, 0) = 7, expected(2, 2) = 1;
  const auto dense = counts.dense();
  const auto turned = counts.transposed();
  const auto dense_turned = turned.dense();
  for (const Index most : {1, 2, 100}) {
    CHECK(same(collect(glm::gene_blocks(counts), most), expected));
    CHECK(same(collect(glm::gene_blocks(turned, glm::Orientation::cells_by_genes), most), expected));
    CHECK(same(collect(glm::gene_blocks(dense.view()), most), expected));
    CHECK(same(collect(glm::gene_blocks(dense_turned.view(), glm::Orientation::cells_by_genes), most), expected));
    // Raw arrays: compressed columns are the rows of the transpose.
    glm::CscGeneBlocks<int, Index, std::int32_t> columns(3, 4, turned.row_offsets(), turned.column_indices(),
                                                         turned.values());
    auto moved = std::move(columns);
    CHECK(same(collect(moved, most), expected));
    CHECK(same(collect(moved, most), expected));
  }
}

TEST_CASE("glm gene blocks: what is not a count is refused") {
  for (const double bad : {-1.0, 0.5, std::nan(""), static_cast<double>(INFINITY)}) {
    const SparseMatrix<double> counts(2, 3, {0, 0, 1}, {2}, {bad});
    const auto message = message_of([&] { collect(glm::gene_blocks(counts), 10); });
    CHECK(contains(message, "gene 1, cell 2"));
  }
  const std::vector<Index> offsets{0, 2};
  const std::vector<int> twice{1, 1}, outside{0, 3}, values{1, 1};
  using Blocks = glm::CsrGeneBlocks<int, Index, int>;
  CHECK(contains(message_of([&] { collect(Blocks(1, 3, offsets, twice, values), 1); }), "two entries for cell 1"));
  CHECK(contains(message_of([&] { collect(Blocks(1, 3, offsets, outside, values), 1); }), "cell 3"));
  const std::vector<Index> wrong{0, 3};
  CHECK_THROWS_AS(Blocks(1, 3, wrong, outside, values), ValueError);
  CHECK_THROWS_AS(Blocks(2, 3, offsets, outside, values), ShapeError);
}
