#include <eosin/glm/dense_factor.hpp>

#include <doctest/doctest.h>

#include <eosin/core/random.hpp>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::DenseFactor: solution, norm, determinant and trace") {
  // A = B'B + I with known inverse action: A x computed, then solved back.
  RandomStream random(1);
  const std::size_t n = 7;
  std::vector<double> b(n * n), a(n * n, 0.0), other(n * n);
  for (double& v : b) v = random.normal();
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t l = 0; l < n; ++l) a[i * n + j] += b[l * n + i] * b[l * n + j];
      if (i == j) a[i * n + j] += 1.0;
      other[i * n + j] = other[j * n + i] = random.normal();
    }
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < i; ++j) other[j * n + i] = other[i * n + j];
  glm::DenseFactor factor;
  REQUIRE(factor.factor(a, n));
  double trace = 0.0;
  for (std::size_t c = 0; c < n; ++c) {
    std::vector<double> column(n), back(n, 0.0);
    for (std::size_t i = 0; i < n; ++i) column[i] = other[i * n + c];
    std::vector<double> x = column;
    factor.solve(x);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) back[i] += a[i * n + j] * x[j];
    double norm = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(back[i] == doctest::Approx(column[i]).epsilon(1e-11));
      norm += column[i] * x[i];
    }
    CHECK(factor.squared_norm(column) == doctest::Approx(norm).epsilon(1e-11));
    trace += x[c];
  }
  CHECK(factor.trace_of_product(other) == doctest::Approx(trace).epsilon(1e-11));
  REQUIRE(factor.factor({4.0, 0.0, 2.0, 5.0}, 2));  // [4 2; 2 5], the upper triangle is not read
  CHECK(factor.log_determinant() == doctest::Approx(std::log(16.0)));
  CHECK_FALSE(factor.factor({1.0, 1.0, 1.0, 1.0}, 2));
  CHECK_FALSE(factor.factor({1.0, 0.0, 0.0, std::nan("")}, 2));
}

TEST_CASE("glm::dependent_columns: names the combination") {
  // Columns: u, v, 2u - v, w, v + w over four rows.
  const double x[4][5] = {{1, 0, 2, 1, 1}, {0, 1, -1, 2, 3}, {1, 1, 1, 0, 1}, {2, 0, 4, 5, 5}};
  std::vector<double> gram(25, 0.0);
  for (const auto& row : x)
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 5; ++j) gram[i * 5 + j] += row[i] * row[j];
  const auto found = glm::dependent_columns(gram, 5);
  REQUIRE(found.size() == 2);
  CHECK(found[0].column == 2);
  CHECK(found[0].weights[0] == doctest::Approx(2.0));
  CHECK(found[0].weights[1] == doctest::Approx(-1.0));
  CHECK(found[0].weights[3] == 0.0);
  CHECK(found[1].column == 4);
  CHECK(found[1].weights[1] == doctest::Approx(1.0));
  CHECK(found[1].weights[2] == 0.0);
  CHECK(found[1].weights[3] == doctest::Approx(1.0));
}
