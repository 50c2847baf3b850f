#include <eosin/retrieval/neighbours.hpp>

#include "golden_check/retrieval.hpp"
#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE("retrieval::neighbours: golden cases in double and in float") {
  const auto folders = testing::golden_cases("retrieval");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_retrieval<float>(golden, comparison)
             : testing::check_retrieval<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

TEST_CASE("retrieval::neighbours: weights fall with the square of the distance and sum to one") {
  Matrix<double> distance(3, 4), weights(3, 4);
  for (Index j = 0; j < 4; ++j) {
    distance(0, j) = static_cast<double>(j + 1);
    distance(1, j) = j < 2 ? 0.0 : 1.0;
    distance(2, j) = 1e-200 * static_cast<double>(j + 1);  // squares underflow
  }
  retrieval::neighbour_weights<double>(distance, retrieval::Weighting::inverse_square, weights);
  const double sum = 1 + 1.0 / 4 + 1.0 / 9 + 1.0 / 16;
  for (Index j = 0; j < 4; ++j) {
    const double want = 1 / static_cast<double>((j + 1) * (j + 1)) / sum;
    CHECK(weights(0, j) == doctest::Approx(want).epsilon(1e-15));
    CHECK(weights(2, j) == doctest::Approx(want).epsilon(1e-15));
    CHECK(weights(1, j) == (j < 2 ? 0.5 : 0.0));
  }
  retrieval::neighbour_weights<double>(distance, retrieval::Weighting::uniform, weights);
  for (Index j = 0; j < 4; ++j) CHECK(weights(1, j) == 0.25);
  distance(0, 2) = -1;
  CHECK_THROWS_AS(retrieval::neighbour_weights<double>(distance, retrieval::Weighting::uniform, weights), ValueError);
}

TEST_CASE("retrieval::neighbours: a query that is a key takes that key's expression") {
  CpuContext context({.threads = 2});
  const auto keys = testing::normal_matrix<float>(300, 12, 1);
  const auto expression = testing::normal_matrix<float>(300, 33, 2);
  for (const auto distance : {retrieval::Distance::l1, retrieval::Distance::l2}) {
    const auto found = retrieval::find_neighbours<float>(context, keys, keys.view().middle_rows(40, 50),
                                                         {.k = 20, .distance = distance});
    Matrix<float> prediction(50, 33);
    retrieval::weighted_expression<float>(context, expression, found.indices, found.weights, prediction);
    for (Index q = 0; q < 50; ++q) {
      CHECK(found.indices(q, 0) == 40 + q);
      for (Index g = 0; g < 33; ++g) REQUIRE(prediction(q, g) == expression(40 + q, g));
    }
  }
}

TEST_CASE("retrieval::neighbours: refusals name what is wrong") {
  CpuContext context({.threads = 1});
  const auto keys = testing::normal_matrix<float>(6, 3, 1);
  CHECK_THROWS_WITH_AS(retrieval::find_neighbours<float>(context, keys, keys, {.k = 7}),
                       "find_neighbours: 7 neighbours of 6 keys are asked for", ValueError);
  Matrix<Index> indices(6, 2);
  Matrix<float> weights(6, 2), prediction(6, 3), few(5, 3);
  indices(3, 1) = 6;
  CHECK_THROWS_WITH_AS(retrieval::weighted_expression<float>(context, keys, indices, weights, prediction),
                       "weighted_expression: indices(3, 1) is 6, there are 6 rows", ValueError);
  CHECK_THROWS_AS(retrieval::weighted_expression<float>(context, keys, indices, weights, few), ShapeError);
}
