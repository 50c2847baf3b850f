#include <eosin/core/sparse.hpp>

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;

TEST_CASE("sparse: triplets in any order, duplicates added up") {
  const auto m = SparseMatrix<double>::from_triplets(3, 4, {{2, 1, 5}, {0, 3, 1}, {0, 0, 2}, {0, 3, 4}});
  CHECK(m.nonzeros() == 3);
  CHECK(m.at(0, 0) == 2);
  CHECK(m.at(0, 3) == 5);
  CHECK(m.at(0, 1) == 0);
  CHECK(m.at(2, 1) == 5);
  CHECK(m.row(1).size() == 0);
  CHECK(m.row_sums() == std::vector<double>{7, 0, 5});
  CHECK(m.transposed().transposed() == m);
  CHECK(m.transposed().at(3, 0) == 5);
  CHECK(m.dense()(0, 3) == 5);
  CHECK_THROWS_AS(SparseMatrix<double>::from_triplets(3, 4, {{3, 0, 1}}), ValueError);
  CHECK_THROWS_AS(SparseMatrix<double>::from_triplets(3, 4, {{0, -1, 1}}), ValueError);
}

TEST_CASE("sparse: arrays are checked and brought into order") {
  const SparseMatrix<float> m(2, 3, {0, 3, 4}, {2, 0, 2, 1}, {1, 2, 3, 4});
  CHECK(m.column_indices() == std::vector<std::int32_t>{0, 2, 1});
  CHECK(m.values() == std::vector<float>{2, 4, 4});
  CHECK(m.row_offsets() == std::vector<Index>{0, 2, 3});
  using M = SparseMatrix<float>;
  CHECK_THROWS_WITH_AS(M(1, 3, {0}, {}, {}), doctest::Contains("row_offsets"), ValueError);
  CHECK_THROWS_WITH_AS(M(1, 3, {1, 1}, {0}, {1}), doctest::Contains("starts"), ValueError);
  CHECK_THROWS_WITH_AS(M(2, 3, {0, 2, 1}, {0}, {1}), doctest::Contains("decreases"), ValueError);
  CHECK_THROWS_WITH_AS(M(1, 3, {0, 2}, {0}, {1}), doctest::Contains("ends"), ValueError);
  CHECK_THROWS_WITH_AS(M(1, 3, {0, 1}, {3}, {1}), doctest::Contains("column index 3"), ValueError);
  CHECK_THROWS_WITH_AS(M(1, 3, {0, 1}, {-1}, {1}), doctest::Contains("column index -1"), ValueError);
  CHECK_THROWS_AS(M(1, 3, {0, 1}, {0, 1}, {1}), ValueError);
  CHECK_THROWS_AS(M(-1, 3), ValueError);
}

TEST_CASE("sparse: rows and columns are selected in the order asked for") {
  const auto m = SparseMatrix<int>::from_triplets(3, 4, {{0, 0, 1}, {0, 2, 2}, {1, 3, 3}, {2, 1, 4}});
  const std::vector<Index> rows{2, 0, 2};
  const auto r = m.select_rows(rows);
  CHECK(r.rows() == 3);
  CHECK(r.at(0, 1) == 4);
  CHECK(r.at(1, 2) == 2);
  CHECK(r.at(2, 1) == 4);
  const std::vector<Index> columns{2, -1, 0};
  const auto c = m.select_columns(columns);
  CHECK(c.cols() == 3);
  CHECK(c.at(0, 0) == 2);
  CHECK(c.at(0, 1) == 0);
  CHECK(c.at(0, 2) == 1);
  CHECK(c.row(0).columns[0] == 0);
  CHECK(c.nonzeros() == 2);
  const std::vector<Index> twice{1, 1};
  CHECK_THROWS_AS(m.select_columns(twice), ValueError);
  const std::vector<Index> outside{3};
  CHECK_THROWS_AS(m.select_rows(outside), ValueError);
}
