#include <eosin/math/rational.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>

using namespace eosin;
using math::Rational;

TEST_CASE("math::Rational: exact arithmetic in lowest terms") {
  const Rational third = Rational(1) / 3, half = Rational(2) / 4;
  CHECK(half.numerator() == 1);
  CHECK(half.denominator() == 2);
  CHECK(third + third + third == Rational(1));
  CHECK(half - third == Rational(1) / 6);
  CHECK(half * third / (Rational(-1) / 6) == Rational(-1));
  CHECK((half / Rational(-3)).denominator() == 6);
  CHECK((Rational(1) / -2).sign() == -1);
  CHECK((half - half).zero());
  CHECK((half - half).denominator() == 1);
  Rational sum = 0;
  for (std::int64_t k = 1; k <= 30; ++k) sum = sum + Rational(1) / (k * (k + 1));
  CHECK(sum == Rational(30) / 31);
}

TEST_CASE("math::Rational: what does not fit is an error, what fits after reduction is not") {
  const std::int64_t large = std::numeric_limits<std::int64_t>::max();
  CHECK_THROWS_AS(Rational(large) + 1, ValueError);
  CHECK_THROWS_AS(Rational(large) * 2, ValueError);
  CHECK_THROWS_AS(Rational(1) / large / 2, ValueError);
  CHECK(Rational(large) * (Rational(1) / large) == Rational(1));
  CHECK((Rational(large) - 1).numerator() == large - 1);
}
