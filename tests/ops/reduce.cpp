#include <eosin/ops/reduce.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::column_sums: tails, gaps, blocks and factors", T, float, double) {
  CpuContext context({.threads = 2});
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  for (const Index rows : {0, 1, 5, 128, 129, 300})
    for (const Index cols : {0, 1, 7, 16, 33})
      for (const Index gap : {0, 3}) {
        CAPTURE(rows);
        CAPTURE(cols);
        const auto memory = testing::normal_matrix<T>(rows, cols + gap, 1);
        const auto x = memory.view().middle_cols(gap, cols);
        Vector<T> sums(cols), added(cols);
        sums.fill(T(9));
        added.fill(T(2));
        ops::column_sums<T>(context, x, sums.view(), T(-0.5));
        ops::column_sums<T>(context, x, added.view(), T(-0.5), true);
        for (Index c = 0; c < cols; ++c) {
          double sum = 0, size = 0;
          for (Index n = 0; n < rows; ++n) {
            sum += static_cast<double>(x(n, c));
            size += std::abs(static_cast<double>(x(n, c)));
          }
          const double allowed = eps * (2 + static_cast<double>(rows) * size);
          REQUIRE(std::abs(static_cast<double>(sums[c]) + 0.5 * sum) <= allowed);
          REQUIRE(std::abs(static_cast<double>(added[c]) - 2 + 0.5 * sum) <= allowed);
        }
      }
}

TEST_CASE("ops::column_sums: the same bits on any number of threads; a strided result") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto x = testing::normal_matrix<float>(1000, 19, 3);
  Vector<float> first(19), second(19);
  Matrix<float> wide(19, 2);
  ops::column_sums(one, x, first.view());
  ops::column_sums(three, x, second.view());
  ops::column_sums(three, x, wide.col(1));
  CHECK(testing::same_bits(first.view(), second.view()));
  for (Index c = 0; c < 19; ++c) CHECK((wide(c, 1) == first[c] && wide(c, 0) == 0));
}

TEST_CASE("ops::column_means") {
  CpuContext context({.threads = 1});
  Matrix<double> x(3, 2);
  for (Index i = 0; i < 6; ++i) x.data()[i] = static_cast<double>(i);
  Vector<double> means(2);
  ops::column_means(context, x, means.view());
  CHECK(means[0] == doctest::Approx(2));
  CHECK(means[1] == doctest::Approx(3));
  CHECK_THROWS_WITH_AS(ops::column_means(context, x.view().middle_rows(0, 0), means.view()),
                       "column_means: x has no rows", ValueError);
  CHECK_THROWS_WITH_AS(ops::column_means(context, x.view().middle_cols(0, 1), means.view()),
                       "column_sums: out has 2 elements, expected 1 (columns of x)", ShapeError);
}

TEST_CASE_TEMPLATE("ops::add_bias: tails and gaps", T, float, double) {
  CpuContext context({.threads = 2});
  for (const Index rows : {0, 1, 70})
    for (const Index cols : {1, 7, 16, 33}) {
      auto x = testing::normal_matrix<T>(rows, cols + 2, 1);
      const auto before = x;
      const auto bias = testing::normal_matrix<T>(1, cols, 2);
      ops::add_bias(context, bias.row(0), x.view().middle_cols(1, cols));
      for (Index r = 0; r < rows; ++r) {
        for (Index c = 0; c < cols; ++c) REQUIRE(x(r, c + 1) == before(r, c + 1) + bias(0, c));
        REQUIRE((x(r, 0) == before(r, 0) && x(r, cols + 1) == before(r, cols + 1)));
      }
    }
  Matrix<T> x(2, 3), table(3, 2);
  CHECK_THROWS_WITH_AS(ops::add_bias(context, table.row(0), x.view()),
                       "add_bias: bias has 2 elements, expected 3 (columns of x)", ShapeError);
  CHECK_THROWS_WITH_AS(ops::add_bias(context, table.col(0), x.view()),
                       "add_bias: the elements of bias are not contiguous", ValueError);
}
