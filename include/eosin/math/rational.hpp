#pragma once

// Exact fractions of 64-bit integers, for small linear programmes and eliminations whose answer is yes or no.

#include <eosin/core/error.hpp>

#include <compare>
#include <cstdint>
#include <limits>
#include <numeric>

namespace eosin::math {

/// numerator / denominator in lowest terms, denominator > 0. Arithmetic that leaves 64 bits throws ValueError: a result
/// is exact or there is none.
class Rational {
 public:
  constexpr Rational() = default;
  constexpr Rational(std::int64_t integer) : numerator_(integer) {}

  constexpr std::int64_t numerator() const { return numerator_; }
  constexpr std::int64_t denominator() const { return denominator_; }
  constexpr int sign() const { return (numerator_ > 0) - (numerator_ < 0); }
  constexpr bool zero() const { return numerator_ == 0; }

  friend Rational operator+(Rational a, Rational b) {
    if (a.denominator_ == 1 && b.denominator_ == 1) return make(Wide{a.numerator_} + b.numerator_, 1);
    return make(Wide{a.numerator_} * b.denominator_ + Wide{b.numerator_} * a.denominator_,
                Wide{a.denominator_} * b.denominator_);
  }
  friend Rational operator-(Rational a, Rational b) { return a + -b; }
  friend Rational operator*(Rational a, Rational b) {
    return make(Wide{a.numerator_} * b.numerator_, Wide{a.denominator_} * b.denominator_);
  }
  /// Precondition: b is not 0.
  friend Rational operator/(Rational a, Rational b) {
    const Wide n = Wide{a.numerator_} * b.denominator_, d = Wide{a.denominator_} * b.numerator_;
    return d < 0 ? make(-n, -d) : make(n, d);
  }
  Rational operator-() const {
    Rational result;
    result.numerator_ = -numerator_;  // never the smallest integer: make() excludes it
    result.denominator_ = denominator_;
    return result;
  }
  friend bool operator==(Rational, Rational) = default;

 private:
  __extension__ typedef __int128 Wide;

  static Rational make(Wide n, Wide d) {
    if (d != 1) {
      Wide a = n < 0 ? -n : n, b = d;
      while (b != 0) {
        const Wide rest = a % b;
        a = b;
        b = rest;
      }
      n /= a;
      d /= a;
    }
    constexpr Wide most = std::numeric_limits<std::int64_t>::max();
    if (n > most || n < -most || d > most) throw ValueError("Rational: a number does not fit in 64 bits");
    Rational result;
    result.numerator_ = static_cast<std::int64_t>(n);
    result.denominator_ = static_cast<std::int64_t>(d);
    return result;
  }

  std::int64_t numerator_ = 0, denominator_ = 1;
};

}  // namespace eosin::math
