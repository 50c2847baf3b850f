#include <eosin/glm/arrow_factor.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"

#include <cmath>
#include <utility>
#include <vector>

using namespace eosin;
using testing::DenseRegression;

TEST_CASE("glm::ArrowFactor: solution, determinant and variances of the dense matrix") {
  const Index types = 3, batches = 4;
  const std::vector<Index> slots{-1, 0, 1, 2};
  glm::ArrowFactor factor;
  factor.reset(types, batches, 3, slots);
  std::vector<long double> dense(36, 0.0L);
  for (Index t = 0; t < types; ++t)
    for (Index b = 0; b < batches; ++b) {
      if ((t + b) % 4 == 3) continue;
      const double w = 1.0 + static_cast<double>(t) + 0.3 * static_cast<double>(b * b);
      factor.add(t, b, w);
      const auto i = static_cast<std::size_t>(t), j = static_cast<std::size_t>(3 + b - 1);
      dense[i * 6 + i] += w;
      if (b == 0) continue;
      dense[i * 6 + j] += w;
      dense[j * 6 + i] += w;
      dense[j * 6 + j] += w;
    }
  REQUIRE(factor.factor());
  const auto solved = [&](std::vector<long double> right) {
    return DenseRegression::solve_with(dense, std::move(right));
  };
  const auto inverse = [&](std::size_t i, std::size_t j) {
    std::vector<long double> unit(6, 0.0L);
    unit[j] = 1.0L;
    return static_cast<double>(solved(unit)[i]);
  };
  const auto lower = DenseRegression::cholesky(dense);
  long double log_determinant = 0.0L;
  for (std::size_t i = 0; i < 6; ++i) log_determinant += 2.0L * std::log(lower[i * 6 + i]);
  CHECK(factor.log_determinant() == doctest::Approx(static_cast<double>(log_determinant)).epsilon(1e-12));

  std::vector<double> type_part{1.0, -2.0, 0.5}, batch_part{7.0, 0.3, 1.0, -1.0};
  const auto solution = solved({1.0L, -2.0L, 0.5L, 0.3L, 1.0L, -1.0L});
  factor.solve(type_part, batch_part);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(type_part[i] == doctest::Approx(static_cast<double>(solution[i])).epsilon(1e-12));
    CHECK(batch_part[i + 1] == doctest::Approx(static_cast<double>(solution[3 + i])).epsilon(1e-12));
  }
  CHECK(batch_part[0] == 0.0);
  CHECK(factor.variance_of_batch(0) == 0.0);
  CHECK(factor.variance_of_batch(2) == doctest::Approx(inverse(4, 4)).epsilon(1e-12));
  CHECK(factor.variance(1, std::vector<double>(4, 0.0)) == doctest::Approx(inverse(1, 1)).epsilon(1e-12));
  CHECK(factor.variance_of_group(2, 3) ==
        doctest::Approx(inverse(2, 2) + 2.0 * inverse(2, 5) + inverse(5, 5)).epsilon(1e-12));
}

TEST_CASE("glm::ArrowFactor: a batch that nothing holds is singular") {
  const std::vector<Index> slots{-1, 0};
  glm::ArrowFactor factor;
  factor.reset(2, 2, 1, slots);
  factor.add(0, 0, 1.0);
  factor.add(1, 1, 1.0);
  CHECK_FALSE(factor.factor());
}
