#include <eosin/core/random.hpp>
#include <eosin/eval/errors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace eosin;

TEST_CASE("errors: by hand") {
  CpuContext context({.threads = 1});
  Matrix<float> prediction(2, 2), truth(2, 2);
  prediction(0, 0) = 1;   // differences 1, -2; 0, 3
  truth(0, 1) = 2;
  prediction(1, 1) = 3;
  const auto e = eval::errors(context, prediction.view(), truth.view());
  CHECK(e.mse_per_gene[0] == 0.5);
  CHECK(e.mse_per_gene[1] == 6.5);
  CHECK(e.mae_per_gene[0] == 0.5);
  CHECK(e.mae_per_gene[1] == 2.5);
  CHECK(e.rmse_per_gene[1] == std::sqrt(6.5));
  CHECK(e.mse == 3.5);
  CHECK(e.mae == 1.5);
  CHECK(e.rmse == std::sqrt(3.5));
}

TEST_CASE("errors: threads, shapes and values") {
  Matrix<double> prediction(60, 150), truth(60, 150);
  RandomStream random(2);
  for (double* value = truth.data(); value != truth.data() + truth.size(); ++value) *value = random.normal();
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto a = eval::errors(one, prediction.view(), truth.view());
  const auto b = eval::errors(three, prediction.view(), truth.view());
  CHECK(a.mse == b.mse);
  CHECK(std::equal(a.mae_per_gene.begin(), a.mae_per_gene.end(), b.mae_per_gene.begin()));
  CHECK_THROWS_AS(eval::errors(one, prediction.view().middle_rows(0, 3), truth.view()), ShapeError);
  CHECK_THROWS_AS(eval::errors(one, prediction.view().middle_rows(0, 0), truth.view().middle_rows(0, 0)), ValueError);
  truth(3, 70) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(eval::errors(one, prediction.view(), truth.view()), ValueError);
}
