#include <eosin/ops/elementwise.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE_TEMPLATE("ops: copy, multiply and add of matrices with tails and gaps", T, float, double) {
  CpuContext context({.threads = 2});
  for (const Index rows : {0, 1, 3, 70})
    for (const Index cols : {0, 1, 7, 16, 33}) {
      const auto a_memory = testing::normal_matrix<T>(rows, cols + 3, 1);
      const auto a = a_memory.view().middle_cols(2, cols);
      const auto before = testing::normal_matrix<T>(rows, cols + 2, 2);
      auto copied = before, product = before, sum = before, square = before;
      ops::copy(context, a, copied.view().middle_cols(1, cols));
      ops::multiply(context, a, product.view().middle_cols(1, cols));
      ops::add(context, a, sum.view().middle_cols(1, cols));
      const auto itself = square.view().middle_cols(1, cols);
      ops::multiply(context, itself, itself);
      for (Index r = 0; r < rows; ++r) {
        for (Index c = 0; c < cols; ++c) {
          const T old = before(r, c + 1);
          REQUIRE(copied(r, c + 1) == a(r, c));
          REQUIRE(product(r, c + 1) == old * a(r, c));
          REQUIRE(sum(r, c + 1) == old + a(r, c));
          REQUIRE(square(r, c + 1) == old * old);
        }
        for (const Index c : {Index{0}, cols + 1})
          for (const auto* m : {&copied, &product, &sum, &square}) REQUIRE((*m)(r, c) == before(r, c));
      }
    }
}

TEST_CASE("ops: elementwise operations name a result of another shape") {
  CpuContext context({.threads = 1});
  Matrix<float> a(2, 3), out(2, 4);
  CHECK_THROWS_WITH_AS(ops::copy(context, a, out.view()), "elementwise operation: out is [2 x 4], expected [2 x 3]",
                       ShapeError);
  CHECK_THROWS_AS(ops::multiply(context, a, out.view().middle_rows(0, 1)), ShapeError);
  CHECK_THROWS_AS(ops::add(context, a, out.view()), ShapeError);
}
