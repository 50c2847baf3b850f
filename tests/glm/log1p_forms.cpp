#include <eosin/glm/log1p_forms.hpp>

#include <doctest/doctest.h>

#include <cmath>

namespace forms = eosin::glm::detail;

TEST_CASE("glm log1p forms: against long double, series and formula") {
  for (double exponent = -30.0; exponent < 15.0; exponent += 0.173) {
    const double x = std::pow(10.0, exponent);
    CAPTURE(x);
    const long double l = std::log1p(static_cast<long double>(x));
    long double defect = 0, excess = 0;  // over x^2
    if (x > 0.02) {
      defect = (x - l) / (static_cast<long double>(x) * x);
      excess = (l - x / (1.0L + x)) / (static_cast<long double>(x) * x);
    } else {
      for (int m = 14; m >= 2; --m) {
        defect = 1.0L / m - x * defect;
        excess = static_cast<long double>(m - 1) / m - x * excess;
      }
    }
    const auto close = [](double got, long double expected) {
      return std::abs(static_cast<double>((got - expected) / expected)) < 4e-15;
    };
    CHECK(close(forms::log1p_defect(x), defect));
    CHECK(close(forms::log1p_excess(x), excess * x * x));
    CHECK(close(forms::log1p_ratio(x), l / x));
    CHECK(close(forms::log1p_integral_ratio(x),
                x > 0.02 ? ((1 + static_cast<long double>(x)) * l - x) / x : l - x * defect));
  }
  CHECK(forms::log1p_defect(0.0) == 0.5);
  CHECK(forms::log1p_excess(0.0) == 0.0);
  CHECK(forms::log1p_ratio(0.0) == 1.0);
  CHECK(forms::log1p_integral_ratio(0.0) == 0.0);
}
