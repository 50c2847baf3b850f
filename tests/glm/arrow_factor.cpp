#include <eosin/glm/arrow_factor.hpp>

#include <doctest/doctest.h>

#include <Eigen/Dense>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::ArrowFactor: solution, determinant and variances of the dense matrix") {
  const Index types = 3, batches = 4;
  const std::vector<Index> slots{-1, 0, 1, 2};
  glm::ArrowFactor factor;
  factor.reset(types, batches, 3, slots);
  Eigen::MatrixXd dense = Eigen::MatrixXd::Zero(6, 6);
  for (Index t = 0; t < types; ++t)
    for (Index b = 0; b < batches; ++b) {
      if ((t + b) % 4 == 3) continue;
      const double w = 1.0 + static_cast<double>(t) + 0.3 * static_cast<double>(b * b);
      factor.add(t, b, w);
      Eigen::VectorXd x = Eigen::VectorXd::Zero(6);
      x[t] = 1.0;
      if (b > 0) x[3 + b - 1] = 1.0;
      dense += w * x * x.transpose();
    }
  REQUIRE(factor.factor());
  const Eigen::MatrixXd inverse = dense.inverse();
  CHECK(factor.log_determinant() == doctest::Approx(std::log(dense.determinant())).epsilon(1e-12));
  std::vector<double> type_part{1.0, -2.0, 0.5}, batch_part{7.0, 0.3, 1.0, -1.0};
  Eigen::VectorXd right(6);
  right << 1.0, -2.0, 0.5, 0.3, 1.0, -1.0;
  const Eigen::VectorXd solution = inverse * right;
  factor.solve(type_part, batch_part);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(type_part[i] == doctest::Approx(solution[static_cast<Index>(i)]).epsilon(1e-12));
    CHECK(batch_part[i + 1] == doctest::Approx(solution[static_cast<Index>(3 + i)]).epsilon(1e-12));
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
