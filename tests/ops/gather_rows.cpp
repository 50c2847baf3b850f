#include <eosin/ops/gather_rows.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <vector>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::add_rows, add_to_rows: repeated rows, tails, any number of threads", T, float, double) {
  const std::vector<Index> rows{3, 0, 3, 3, 1};
  for (const Index cols : {1, 7, 40, 600}) {
    const auto table = testing::normal_matrix<T>(4, cols, 1), dy = testing::normal_matrix<T>(5, cols, 2);
    Matrix<T> result[2], gradient[2];
    for (int run = 0; run < 2; ++run) {
      CpuContext context({.threads = run == 0 ? 1 : 3});
      result[run] = dy;
      gradient[run] = table;
      ops::add_rows<T>(context, table, rows, result[run].view());
      ops::add_to_rows<T>(context, dy, rows, gradient[run].view());
    }
    CHECK(testing::same_bits(result[0], result[1]));
    CHECK(testing::same_bits(gradient[0], gradient[1]));
    for (Index c = 0; c < cols; ++c) {
      CHECK(result[0](2, c) == dy(2, c) + table(3, c));
      CHECK(gradient[0](3, c) == table(3, c) + dy(0, c) + dy(2, c) + dy(3, c));
      CHECK(gradient[0](2, c) == table(2, c));
    }
  }
}

TEST_CASE("ops::add_rows: errors") {
  CpuContext context({.threads = 1});
  Matrix<double> table(4, 3), y(2, 3);
  const std::vector<Index> outside{1, 4}, few{1};
  CHECK_THROWS_WITH_AS(ops::add_rows<double>(context, table, outside, y.view()),
                       "add_rows: row 4 (element 1) lies outside the table of 4", ValueError);
  CHECK_THROWS_AS(ops::add_rows<double>(context, table, few, y.view()), ShapeError);
  CHECK_THROWS_AS(ops::add_to_rows<double>(context, y, outside, table.view()), ValueError);
}
