#include <eosin/glm/naive_means.hpp>

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;

TEST_CASE("glm::naive_means: mean of count over size factor") {
  const auto counts = SparseMatrix<int>::from_triplets(2, 4, {{0, 0, 4}, {0, 1, 3}, {0, 3, 9}, {1, 2, 5}});
  const auto types = glm::Categories::from_labels({"a", "a", "b", ""});
  const auto p = glm::naive_means(glm::gene_blocks(counts), types, std::vector<double>{2.0, 1.0, 0.5, 1.0}, {"x", "y"});
  CHECK(p.type_names() == std::vector<std::string>{"a", "b"});
  CHECK(p.gene_names() == std::vector<std::string>{"x", "y"});
  CHECK(p.expression()(0, 0) == doctest::Approx((4.0 / 2.0 + 3.0) / 2.0));
  CHECK(p.expression()(1, 0) == 0.0);
  CHECK(p.expression()(0, 1) == 0.0);
  CHECK(p.expression()(1, 1) == doctest::Approx(10.0));
  CHECK_THROWS_AS(glm::naive_means(glm::gene_blocks(counts), glm::Categories::from_labels({"a"})), ShapeError);
}
