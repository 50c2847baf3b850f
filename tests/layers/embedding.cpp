#include <eosin/layers/embedding.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::GradientMode;

TEST_CASE("layers::Embedding: six-point differences, unused rows 0, gradient modes") {
  CpuContext context({.threads = 2});
  Parameters<double> parameters;
  const layers::Embedding<double> table(parameters, "x_embed", 6, 5);
  CHECK(table.rows() == 6);
  CHECK(table.width() == 5);
  parameters.allocate(context, 1);
  const std::vector<Index> rows{4, 0, 4};
  const auto weights = testing::normal_matrix<double>(3, 5, 2);
  Matrix<double> y(3, 5);
  const auto value = [&] {
    y.fill(1);
    table.forward_add(context, rows, y.view());
    return testing::inner_product(y, weights);
  };
  table.backward(context, rows, weights, GradientMode::overwrite);
  testing::check_parameter_gradients(parameters, value);
  const auto gradient = parameters.gradient_matrix(parameters.find("x_embed.weight"));
  for (Index c = 0; c < 5; ++c) CHECK(gradient(3, c) == 0);
  const double once = gradient(4, 2);
  table.backward(context, rows, weights, GradientMode::accumulate);
  CHECK(gradient(4, 2) == 2 * once);
  table.backward(context, rows, weights, GradientMode::ignore);
  CHECK(gradient(4, 2) == 2 * once);
}

TEST_CASE("layers::CompactRows: distinct values in order, unknown ones refused") {
  const std::vector<Index> values{30, 4, 30, 65535, 4};
  const layers::CompactRows rows(values);
  CHECK(rows.rows() == 3);
  CHECK(rows.row(4) == 0);
  CHECK(rows.row(30) == 1);
  CHECK(rows.row(65535) == 2);
  CHECK(rows.values()[1] == 30);
  CHECK_THROWS_WITH_AS(rows.row(5), "CompactRows: the value 5 has no row in the table", ValueError);
  CHECK_THROWS_AS(layers::CompactRows().row(0), ValueError);
}
