#include <eosin/ops/block_product.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using namespace eosin::ops::detail;

namespace {

template <bool TransposeA, bool Add, class T>
double error(Index rows, Index cols, Index inner) {
  const Index padded_rows = rounded_up(rows, block_rows), padded_cols = rounded_up(cols, block_columns<T>);
  const auto a = TransposeA ? testing::normal_matrix<T>(inner, padded_rows + 3, 1)
                            : testing::normal_matrix<T>(padded_rows, inner + 3, 1);
  const auto b = testing::normal_matrix<T>(inner, padded_cols + 5, 2);
  auto c = testing::normal_matrix<T>(padded_rows, padded_cols + 1, 3);
  Matrix<double> want(rows, cols), got(rows, cols);
  for (Index r = 0; r < rows; ++r)
    for (Index j = 0; j < cols; ++j) {
      double sum = Add ? static_cast<double>(c(r, j)) : 0;
      for (Index i = 0; i < inner; ++i)
        sum += static_cast<double>(TransposeA ? a(i, r) : a(r, i)) * static_cast<double>(b(i, j));
      want(r, j) = sum;
    }
  block_product<TransposeA, Add, T>(padded_rows, padded_cols, inner, {a.data(), a.cols()}, {b.data(), b.cols()},
                                    {c.data(), c.cols()});
  for (Index r = 0; r < rows; ++r)
    for (Index j = 0; j < cols; ++j) got(r, j) = static_cast<double>(c(r, j));
  return testing::relative_difference(got, want);
}

}  // namespace

TEST_CASE_TEMPLATE("ops::detail::block_product: every tail of rows and columns, both forms, set and added", T, float,
                   double) {
  const double tolerance = std::is_same_v<T, float> ? 1e-6 : 1e-14;
  for (const Index rows : {1, 2, 5, 6, 7, 12, 20, 32})
    for (const Index cols : {1, 3, 16, 17, 31, 40, 64, 100})
      for (const Index inner : {0, 1, 7, 64}) {
        CAPTURE(rows);
        CAPTURE(cols);
        CAPTURE(inner);
        CHECK(error<false, false, T>(rows, cols, inner) <= tolerance);
        CHECK(error<false, true, T>(rows, cols, inner) <= tolerance);
        CHECK(error<true, false, T>(rows, cols, inner) <= tolerance);
        CHECK(error<true, true, T>(rows, cols, inner) <= tolerance);
      }
}
