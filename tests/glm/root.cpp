#include <eosin/glm/root.hpp>

#include <doctest/doctest.h>

#include <cmath>

using eosin::glm::detail::find_root;

TEST_CASE("glm find_root: smooth, steep and flat functions in few evaluations") {
  int calls = 0;
  const auto check = [&](auto f, double a, double b, double expected, int most) {
    calls = 0;
    const auto counted = [&](double x) {
      ++calls;
      return f(x);
    };
    CHECK(find_root(counted, a, f(a), b, f(b), 1e-12) == doctest::Approx(expected).epsilon(1e-11));
    CHECK(calls <= most);
  };
  check([](double x) { return std::cos(x) - x; }, 0.0, 1.0, 0.7390851332151607, 9);
  check([](double x) { return 1.0 - std::exp(8.0 * (x - 0.25)); }, -2.0, 2.0, 0.25, 25);
  check([](double x) { return std::cbrt(x - 0.3); }, -1.0, 1.0, 0.3, 60);
  check([](double x) { return x < 0.4 ? -1.0 : 1.0; }, 0.0, 1.0, 0.4, 60);
  check([](double x) { return x - 2.0; }, 2.0, 3.0, 2.0, 2);
}
