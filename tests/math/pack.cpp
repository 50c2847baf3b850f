#include <eosin/math/polynomial.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;

TEST_CASE_TEMPLATE("math::Pack: lanes, selection, whole and partial memory access", T, float, double) {
  constexpr Index size = math::Pack<T>::size;
  // Every length from nothing to two packs and a bit, at every misalignment within a pack.
  for (Index n = 0; n <= 2 * size + 1; ++n)
    for (Index shift = 0; shift < size; ++shift) {
      std::vector<T> in(static_cast<std::size_t>(n + shift)), out(static_cast<std::size_t>(n + shift + 1), T(-7));
      for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<T>(i) - T(3);
      math::PackSum<T> sum;
      math::for_each_pack<T>(shift, shift + n, [&](auto lanes) {
        const math::Pack<T> x = lanes.load(in.data(), T(100));
        lanes.store(out.data(), math::select(x < T(0), -x, x * T(2)));
        sum.add(lanes.keep(x));
      });
      double want = 0;
      for (Index i = 0; i < n; ++i) {
        const T x = in[static_cast<std::size_t>(shift + i)];
        want += static_cast<double>(x);
        REQUIRE(out[static_cast<std::size_t>(shift + i)] == (x < T(0) ? -x : x * T(2)));
      }
      REQUIRE(out.back() == T(-7));
      REQUIRE(sum.total() == want);
    }
}

TEST_CASE_TEMPLATE("math: a scalar and a pack of it agree on the helpers", T, float, double) {
  using P = math::Pack<T>;
  for (const T x : {T(-3.5), T(0.75), T(1), T(6.25), T(1e20)}) {
    CHECK(math::absolute(P(x)).lanes[1] == std::abs(x));
    CHECK(math::absolute(x) == std::abs(x));
    CHECK(math::square_root(P(math::absolute(x))).lanes[1] == std::sqrt(std::abs(x)));
    CHECK(math::square_root(math::absolute(x)) == std::sqrt(std::abs(x)));
    CHECK(math::any(P(x) > P(0)) == math::any(x > T(0)));
    CHECK(math::multiply_add(P(x), P(2), P(1)).lanes[0] == math::multiply_add(x, T(2), T(1)));
  }
  for (const T x : {T(-100.25), T(-0.5), T(0.49), T(3.51), T(1000)}) {
    CHECK(math::round_to_integer(x).number == std::nearbyint(x));
    CHECK(math::round_to_integer(x).integer == static_cast<Index>(std::nearbyint(x)));
    CHECK(math::round_to_integer(P(x)).number.lanes[1] == std::nearbyint(x));
  }
  CHECK(math::power_of_two<T>(-3) == T(0.125));
  CHECK(math::to_number<T>(-1021) == T(-1021));
  CHECK(std::signbit(P(T(-0.0)).lanes[0]));
  CHECK(math::polynomial(T(2), std::array<T, 3>{T(1), T(2), T(3)}) == T(17));
}

TEST_CASE_TEMPLATE("math::fused_multiply_add: the product is exact where the sum cancels", T, float, double) {
  const T epsilon = std::numeric_limits<T>::epsilon();
  const T a = T(1) + epsilon, b = T(1) - epsilon;  // a b = 1 - epsilon^2
  CHECK(math::fused_multiply_add(a, b, T(-1)) == -epsilon * epsilon);
  CHECK(math::fused_multiply_add(math::Pack<T>(a), b, T(-1)).lanes[0] == -epsilon * epsilon);
}

TEST_CASE("math::PackSum: adds floats in double") {
  math::PackSum<float> sum;
  sum.add(math::Pack<float>(16777216.0f));
  sum.add(math::Pack<float>(1.0f));
  CHECK(sum.total() == 16777217.0 * math::Pack<float>::size);
}
