#include <eosin/glm/natural_spline.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::NaturalSpline: exact on lines, smooth, linear beyond the knots") {
  std::vector<double> x, line, curve;
  for (int i = 0; i <= 200; ++i) {
    x.push_back(-3.0 + 0.04 * i);
    line.push_back(2.0 - 0.7 * x.back());
    curve.push_back(std::sin(x.back()));
  }
  for (const Index columns : {2, 4, 7}) {
    const glm::NaturalSpline fit(x, line, columns);
    CHECK(fit.columns() == columns);
    for (const double at : {-5.0, -1.3, 0.0, 4.9, 11.0})
      CHECK(fit(at) == doctest::Approx(2.0 - 0.7 * at).epsilon(1e-9));
  }
  const glm::NaturalSpline fit(x, curve, 9);
  for (const double at : {-2.0, -0.5, 1.0, 3.0}) CHECK(std::abs(fit(at) - std::sin(at)) < 0.01);
  CHECK(fit(9.0) - fit(8.0) == doctest::Approx(fit(8.0) - fit(7.0)).epsilon(1e-9));
  CHECK(fit(-6.0) - fit(-5.0) == doctest::Approx(fit(-5.0) - fit(-4.0)).epsilon(1e-9));
  // The residuals of a least squares fit are orthogonal to constants and to x.
  double sum = 0.0, with_x = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sum += curve[i] - fit(x[i]);
    with_x += x[i] * (curve[i] - fit(x[i]));
  }
  CHECK(std::abs(sum) < 1e-9);
  CHECK(std::abs(with_x) < 1e-9);
}

TEST_CASE("glm::NaturalSpline: few distinct points") {
  const std::vector<double> same(5, 2.0), y{1.0, 2.0, 3.0, 4.0, 5.0};
  const glm::NaturalSpline constant(same, y, 4);
  CHECK(constant.columns() == 1);
  CHECK(constant(7.0) == doctest::Approx(3.0));
  const std::vector<double> two{0.0, 0.0, 1.0, 1.0, 1.0};
  CHECK(glm::NaturalSpline(two, y, 4)(1.0) == doctest::Approx(4.0));
  CHECK_THROWS_AS(glm::NaturalSpline(std::vector<double>{}, std::vector<double>{}, 2), ValueError);
  CHECK_THROWS_AS(glm::NaturalSpline(std::vector<double>{1.0, std::nan("")}, std::vector<double>{1.0, 2.0}, 2),
                  ValueError);
}
