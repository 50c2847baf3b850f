#include <eosin/data/counts.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <vector>

using namespace eosin;

TEST_CASE("counts: dense and sparse read alike") {
  CpuContext context({.threads = 2});
  Matrix<float> dense(3, 4);
  dense(0, 1) = 2;
  dense(0, 3) = 5;
  dense(2, 0) = 1;
  const auto sparse = SparseMatrix<float>::from_triplets(3, 4, {{0, 1, 2}, {0, 3, 5}, {2, 0, 1}, {1, 1, 0}});
  const std::vector<Index> columns{3, 0};
  Matrix<double> from_dense(3, 2), from_sparse(3, 2);
  data::gather_columns(context, dense.view(), columns, from_dense.view());
  data::gather_columns(context, sparse, columns, from_sparse.view());
  const double wanted[] = {5, 0, 0, 0, 0, 1};
  for (Index i = 0; i < 6; ++i) {
    CHECK(from_dense.data()[i] == wanted[i]);
    CHECK(from_sparse.data()[i] == wanted[i]);
  }
  const auto a = data::library_sizes(context, dense.view());
  const auto b = data::library_sizes(context, sparse);
  for (Index s = 0; s < 3; ++s) CHECK(a[s] == b[s]);
  CHECK(a[0] == 7.0);
  CHECK(a[1] == 0.0);
}

TEST_CASE("counts: bad input is named") {
  CpuContext context({.threads = 1});
  Matrix<float> dense(2, 2), out(2, 2);
  const std::vector<Index> outside{0, 2}, twice{1, 1}, negative{-1, 0};
  CHECK_THROWS_AS(data::gather_columns(context, dense.view(), outside, out.view()), ValueError);
  CHECK_THROWS_AS(data::gather_columns(context, dense.view(), twice, out.view()), ValueError);
  CHECK_THROWS_AS(data::gather_columns(context, dense.view(), negative, out.view()), ValueError);
  Matrix<float> narrow(2, 1);
  CHECK_THROWS_AS(data::gather_columns(context, dense.view(), twice, narrow.view()), ShapeError);
  dense(1, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(data::library_sizes(context, dense.view()),
                       "library_sizes: counts(1, 0) is negative or not finite", ValueError);
}
