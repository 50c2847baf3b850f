#include <eosin/ops/normalise_rows.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::normalise_rows: rows sum to one, and the sums come out", T, float, double) {
  CpuContext context({.threads = 2});
  for (const Index rows : {0, 1, 3})
    for (const Index cols : {1, 7, 33, 9000})
      for (const Index gap : {0, 2}) {
        auto memory = testing::normal_matrix<T>(rows, cols + gap, 1);
        for (Index i = 0; i < memory.size(); ++i) memory.data()[i] = std::exp(memory.data()[i]);
        const auto v = std::as_const(memory).view().middle_cols(0, cols);
        Matrix<T> p(rows, cols);
        Vector<T> sums(rows);
        ops::normalise_rows(context, v, p.view(), sums.view());
        const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
        for (Index r = 0; r < rows; ++r) {
          double sum = 0, total = 0;
          for (Index c = 0; c < cols; ++c) sum += static_cast<double>(v(r, c));
          for (Index c = 0; c < cols; ++c) {
            REQUIRE(std::abs(static_cast<double>(p(r, c)) * sum / static_cast<double>(v(r, c)) - 1) <= eps + 1e-12);
            total += static_cast<double>(p(r, c));
          }
          CHECK(total == doctest::Approx(1).epsilon(1e-6));
          CHECK(std::abs(static_cast<double>(sums[r]) / sum - 1) <= eps + 1e-12);
        }
        // In place.
        auto copy = p;
        for (Index r = 0; r < rows; ++r)
          for (Index c = 0; c < cols; ++c) copy(r, c) = v(r, c);
        ops::normalise_rows(context, copy, copy.view(), sums.view());
        CHECK(testing::same_bits(copy, p));
      }
}

TEST_CASE("ops::normalise_rows: gradient by six-point differences") {
  CpuContext context({.threads = 2});
  const Index rows = 3, cols = 7;
  auto v = testing::normal_matrix<double>(rows, cols, 1, 0.2, 1.5);
  const auto weights = testing::normal_matrix<double>(rows, cols, 2);
  Matrix<double> p(rows, cols), dv(rows, cols);
  Vector<double> sums(rows);
  const auto value = [&] {
    ops::normalise_rows(context, v, p.view(), sums.view());
    return testing::inner_product(p, weights);
  };
  value();
  ops::normalise_rows_backward(context, p, sums.view(), weights, dv.view());
  auto in_place = weights;
  ops::normalise_rows_backward(context, p, sums.view(), in_place, in_place.view());
  CHECK(testing::same_bits(in_place, dv));
  CHECK(testing::gradient_error(v.flat(), dv.flat(), value) <= testing::gradient_tolerance);
}

TEST_CASE("ops::normalise_rows: the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  auto v = testing::normal_matrix<float>(2, 20000, 1);
  for (Index i = 0; i < v.size(); ++i) v.data()[i] = std::exp(v.data()[i]);
  const auto upstream = testing::normal_matrix<float>(2, 20000, 2);
  Matrix<float> p1(2, 20000), p3(2, 20000), d1(2, 20000), d3(2, 20000);
  Vector<float> s1(2), s3(2);
  ops::normalise_rows(one, v, p1.view(), s1.view());
  ops::normalise_rows(three, v, p3.view(), s3.view());
  ops::normalise_rows_backward(one, p1, s1.view(), upstream, d1.view());
  ops::normalise_rows_backward(three, p3, s3.view(), upstream, d3.view());
  CHECK(testing::same_bits(p1, p3));
  CHECK(testing::same_bits(s1.view(), s3.view()));
  CHECK(testing::same_bits(d1, d3));
}

TEST_CASE("ops::normalise_rows: rows without a positive finite sum, and shapes, are named") {
  CpuContext context({.threads = 1});
  Matrix<double> v(2, 2), p(2, 2);
  Vector<double> sums(2);
  v(0, 0) = 1;
  CHECK_THROWS_WITH_AS(ops::normalise_rows(context, v, p.view(), sums.view()),
                       "normalise_rows: row 1 sums to 0.000000", ValueError);
  for (const double bad : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    v(1, 1) = bad;
    CHECK_THROWS_AS(ops::normalise_rows(context, v, p.view(), sums.view()), ValueError);
  }
  CHECK_THROWS_AS(ops::normalise_rows(context, v, p.view().middle_cols(0, 1), sums.view()), ShapeError);
  CHECK_THROWS_WITH_AS(ops::normalise_rows(context, v.view().middle_rows(0, 1), p.view().middle_rows(0, 1),
                                           sums.view()),
                       "normalise_rows: sums has 2 elements, expected 1 (rows of v)", ShapeError);
  CHECK_THROWS_AS(ops::normalise_rows_backward(context, p, sums.view(), v.view().middle_cols(0, 1), p.view()),
                  ShapeError);
}
