#include <eosin/glm/count_sums.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::CountSums: against the plain sums") {
  glm::CountSums sums;
  for (const std::vector<double>& counts :
       {std::vector<double>{1}, {1, 1, 2, 3, 3, 40}, {64}, {65, 65, 66}, {63, 64, 65, 900}, {3, 100, 20000, 100}})
    for (const double phi : {0.0, 1e-12, 1e-6, 1e-3, 0.02, 0.3, 5.0, 100.0, 1e6}) {
      CAPTURE(phi);
      long double rising = 0, derivative = 0, second = 0, squares = 0;
      for (const double y : counts)
        for (long double j = 1; j < static_cast<long double>(y); j += 1) {
          rising += std::log1p(phi * j);
          derivative += j / (1 + phi * j);
          second -= j * j / ((1 + phi * j) * (1 + phi * j));
        }
      for (const double y : counts) squares += static_cast<long double>(y) * y;
      sums.load(counts.data(), static_cast<Index>(counts.size()));
      CHECK(sums.log_rising(phi) == doctest::Approx(static_cast<double>(rising)).epsilon(1e-13));
      CHECK(sums.derivatives(phi).second == doctest::Approx(static_cast<double>(second)).epsilon(1e-4));
      CHECK(sums.sum_of([](auto y) { return y * y; }) == static_cast<double>(squares));
      CHECK(sums.derivative(phi) == doctest::Approx(static_cast<double>(derivative)).epsilon(1e-13));
    }
}

TEST_CASE("glm::CountSums: the gamma function's definition, and counts of ten million") {
  glm::CountSums sums;
  std::vector<double> counts{1e7};
  sums.load(counts.data(), 1);
  const double phi = 0.5, theta = 2.0;
  CHECK(sums.log_rising(phi) ==
        doctest::Approx(std::lgamma(1e7 + theta) - std::lgamma(theta) + 1e7 * std::log(phi)).epsilon(1e-12));
  CHECK(sums.derivative(0.0) == doctest::Approx(0.5 * 1e7 * (1e7 - 1.0)).epsilon(1e-14));
}
