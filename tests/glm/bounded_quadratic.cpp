#include <eosin/core/random.hpp>
#include <eosin/glm/bounded_quadratic.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm BoundedQuadratic: the conditions of the minimum hold") {
  RandomStream random(4);
  glm::detail::BoundedQuadratic solver;
  for (int trial = 0; trial < 200; ++trial) {
    const std::size_t n = 1 + static_cast<std::size_t>(random.below(9));
    std::vector<double> root(n * n), h(n * n, 0.0), b(n), x(n);
    for (double& value : root) value = random.normal();
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        h[i * n + j] = i == j ? 0.1 : 0.0;
        for (std::size_t l = 0; l < n; ++l) h[i * n + j] += root[i * n + l] * root[j * n + l];
      }
    for (double& value : b) value = random.normal();
    for (double& value : x) value = trial % 3 == 0 ? 0.0 : std::abs(random.normal());
    REQUIRE(solver.solve(h, b, x));
    for (std::size_t i = 0; i < n; ++i) {
      double gradient = -b[i];
      for (std::size_t j = 0; j < n; ++j) gradient += h[i * n + j] * x[j];
      CHECK(x[i] >= 0.0);
      if (x[i] > 0.0) {
        CHECK(std::abs(gradient) < 1e-9);
      } else {
        CHECK(gradient > -1e-9);
      }
    }
  }
}

TEST_CASE("glm BoundedQuadratic: an indefinite matrix is reported") {
  glm::detail::BoundedQuadratic solver;
  std::vector<double> x{1.0, 1.0};
  CHECK_FALSE(solver.solve({1.0, 2.0, 2.0, 1.0}, {1.0, 1.0}, x));
}
