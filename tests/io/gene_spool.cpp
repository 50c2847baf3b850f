#include <eosin/core/random.hpp>
#include <eosin/io/gene_spool.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/message.hpp"

using namespace eosin;

namespace {

/// What a source gives, dense, with the order of the cells checked.
Matrix<double> collected(io::GeneSpool& spool, Index most) {
  Matrix<double> result(spool.genes(), spool.cells());
  Index expected = 0;
  for (auto block = spool.next(most); block.genes() > 0; block = spool.next(most)) {
    CHECK(block.first_gene == expected);
    CHECK(block.genes() <= most);
    for (Index r = 0; r < block.genes(); ++r) {
      const auto cells = block.cells_of(r);
      const auto counts = block.counts_of(r);
      for (Index e = 0; e < cells.size(); ++e) {
        if (e > 0) CHECK(cells[e] > cells[e - 1]);
        CHECK(counts[e] > 0);
        result(expected, cells[e]) = counts[e];
      }
      ++expected;
    }
  }
  CHECK(expected == spool.genes());
  CHECK(spool.next(most).genes() == 0);
  return result;
}

}  // namespace

TEST_CASE("gene spool: any order, any budget, the same counts") {
  constexpr Index genes = 37, cells = 211;
  RandomStream random(3);
  Matrix<double> truth(genes, cells);
  std::vector<Triplet<double>> entries;
  for (Index g = 0; g < genes; ++g)
    for (Index c = 0; c < cells; ++c) {
      if (g == 5 || random.uniform() < 0.3) continue;
      const double count = 1.0 + static_cast<double>(random.below(1000));
      entries.push_back({g, c, count});
      truth(g, c) = count;
      if (random.uniform() < 0.1) {  // a second entry at the same place
        entries.push_back({g, c, 4294960000.0});
        truth(g, c) += 4294960000.0;
      }
      if (random.uniform() < 0.1) entries.push_back({g, c, 0.0});
    }
  const auto count = static_cast<Index>(entries.size());
  std::vector<Index> by_gene(entries.size()), by_cell;
  for (Index e = 0; e < count; ++e) by_gene[static_cast<std::size_t>(e)] = e;
  by_cell = by_gene;
  std::stable_sort(by_cell.begin(), by_cell.end(), [&](Index a, Index b) {
    return entries[static_cast<std::size_t>(a)].col < entries[static_cast<std::size_t>(b)].col;
  });
  for (const auto& order : {by_gene, by_cell, random.permutation(count)})
    for (const Index memory : {Index{0}, Index{100000}, Index{1} << 24}) {
      CAPTURE(memory);
      io::GeneSpool spool(genes, cells, {.memory = memory});
      for (const Index e : order) {
        const auto& entry = entries[static_cast<std::size_t>(e)];
        spool.push(entry.row, entry.col, entry.value);
      }
      spool.finish();
      CHECK(spool.spilled() == (memory < (1 << 20)));
      io::GeneSpool moved = std::move(spool);
      for (const Index most : {1, 7, 1000}) {
        const auto got = collected(moved, most);
        CHECK(std::equal(got.data(), got.data() + got.size(), truth.data()));
        moved.next(3);
        moved.rewind();
      }
    }
}

TEST_CASE("gene spool: nothing in it, and what is refused") {
  io::GeneSpool empty(3, 4);
  empty.finish();
  CHECK(empty.next(10).genes() == 3);
  CHECK(empty.next(10).genes() == 0);
  io::GeneSpool none(0, 0);
  none.finish();
  CHECK(none.next(10).genes() == 0);

  io::GeneSpool spool(3, 4);
  CHECK_THROWS_AS(spool.next(1), ValueError);
  CHECK_THROWS_AS(spool.push(3, 0, 1), ValueError);
  CHECK_THROWS_AS(spool.push(0, 4, 1), ValueError);
  CHECK_THROWS_AS(spool.push(-1, 0, 1), ValueError);
  CHECK_THROWS_AS(spool.push(0, 0, -1), ValueError);
  CHECK_THROWS_AS(spool.push(0, 0, 0.5), ValueError);
  CHECK_THROWS_AS(io::GeneSpool(Index{1} << 31, 1), ValueError);

  // A number of genes that is only claimed asks for no memory.
  io::GeneSpool claimed(2000000000, 2000000000);
  claimed.push(1999999999, 0, 1);
  CHECK(testing::contains(testing::message_of([&] { claimed.finish(); }), "2000000000 genes with 1 counts"));

  io::GeneSpool homeless(10, 100000, {.memory = 0, .folder = "/nowhere"});
  CHECK(testing::contains(testing::message_of([&] {
                            for (Index c = 0; c < 100000; ++c) homeless.push(c % 10, c, 1);
                          }),
                          "/nowhere"));
}
