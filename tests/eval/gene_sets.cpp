#include <eosin/eval/gene_sets.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <vector>

using namespace eosin;

TEST_CASE("gene sets: highest means descend, ties go to the lower index") {
  CpuContext context({.threads = 2});
  Matrix<float> truth(2, 5);
  const float values[] = {1, 4, 2, 4, 0};
  for (Index g = 0; g < 5; ++g) truth(1, g) = values[g];
  CHECK(eval::highest_mean_genes(context, truth.view(), 3) == std::vector<Index>{1, 3, 2});
  CHECK(eval::highest_mean_genes(context, truth.view(), 0).empty());
  CHECK(eval::highest_mean_genes(context, truth.view(), 50) == std::vector<Index>{1, 3, 2, 0, 4});
  CHECK_THROWS_AS(eval::highest_mean_genes(context, truth.view(), -1), ValueError);
  CHECK_THROWS_AS(eval::highest_mean_genes(context, truth.view().middle_rows(0, 0), 1), ValueError);
  truth(0, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(eval::highest_mean_genes(context, truth.view(), 1), ValueError);
}

TEST_CASE("gene sets: the mean of equal values is that value") {
  CpuContext context({.threads = 1});
  for (Index rows = 1; rows < 40; ++rows) {
    Matrix<double> matrix(rows, 1);
    matrix.fill(0.1);
    CHECK(eval::column_means(context, matrix.view())[0] == 0.1);
  }
}
