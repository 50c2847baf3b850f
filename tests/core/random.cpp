#include <eosin/core/random.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <vector>

using namespace eosin;

namespace {

using Words = std::array<std::uint32_t, 4>;

struct Moments {
  double mean = 0;
  double variance = 0;
};

template <class Draw>
Moments moments(int count, Draw&& draw) {
  double mean = 0;
  double squares = 0;
  for (int i = 1; i <= count; ++i) {
    const double x = static_cast<double>(draw());
    const double delta = x - mean;
    mean += delta / i;
    squares += delta * (x - mean);
  }
  return {mean, squares / (count - 1)};
}

/// Checks mean and variance against the truth to five standard errors; `excess` is the excess kurtosis.
template <class Draw>
void check_moments(double mean, double variance, double excess, Draw&& draw) {
  constexpr int count = 50000;
  const Moments got = moments(count, draw);
  CAPTURE(mean);
  CAPTURE(variance);
  CHECK(std::abs(got.mean - mean) < 5 * std::sqrt(variance / count));
  CHECK(std::abs(got.variance - variance) < 5 * variance * std::sqrt((2 + excess) / count));
}

/// Largest distance between the empirical distribution of `count` draws and the distribution function `cdf` of an
/// integer variable, over 0 .. top.
template <class Draw, class Cdf>
double distribution_distance(int count, int top, Draw&& draw, Cdf&& cdf) {
  std::vector<int> histogram(static_cast<std::size_t>(top) + 1);
  for (int i = 0; i < count; ++i) {
    const auto k = draw();
    if (k <= top) ++histogram[static_cast<std::size_t>(k)];
  }
  double distance = 0;
  double cumulated = 0;
  for (int k = 0; k <= top; ++k) {
    cumulated += static_cast<double>(histogram[static_cast<std::size_t>(k)]) / count;
    distance = std::max(distance, std::abs(cumulated - cdf(k)));
  }
  return distance;
}

double poisson_cdf(int k, double mean) {
  double sum = 0;
  for (int i = 0; i <= k; ++i) sum += std::exp(i * std::log(mean) - mean - std::lgamma(i + 1.0));
  return sum;
}

double negative_binomial_cdf(int k, double mean, double dispersion) {
  const double theta = 1 / dispersion;
  double sum = 0;
  for (int i = 0; i <= k; ++i)
    sum += std::exp(std::lgamma(i + theta) - std::lgamma(theta) - std::lgamma(i + 1.0) +
                    theta * std::log(theta / (theta + mean)) + i * std::log(mean / (theta + mean)));
  return sum;
}

}  // namespace

TEST_CASE("philox: known answers of Random123") {
  constexpr std::uint32_t ones = 0xffffffffu;
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("philox: position, stream and seed fill counter and key") {
  const Philox philox(0x299f31d0a4093822u, 0x0370734413198a2eu);
  CHECK(philox.words(0x85a308d3243f6a88u) == Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
  CHECK(Philox(1).words(0) != Philox(2).words(0));
  CHECK(Philox(1, 0).words(0) != Philox(1, 1).words(0));
  CHECK(Philox(1).words(0) != Philox(1).words(1));
  CHECK(Philox(1).words(Index{1} << 32) != Philox(1).words(0));
}

TEST_CASE("philox: uniform numbers lie strictly between 0 and 1") {
  const Philox philox(3);
  double least = 1;
  double greatest = 0;
  for (std::uint64_t i = 0; i < 100000; ++i) {
    const double u = philox.uniform(i);
    least = std::min(least, u);
    greatest = std::max(greatest, u);
  }
  CHECK(least > 0);
  CHECK(least < 1e-3);
  CHECK(greatest < 1);
  CHECK(greatest > 1 - 1e-3);
}

TEST_CASE("philox: access in any order gives the same numbers") {
  const Philox philox(5, 7);
  std::vector<double> forward(100);
  for (std::size_t i = 0; i < 100; ++i) forward[i] = philox.normal(i);
  for (std::size_t i = 100; i-- > 0;) CHECK(philox.normal(i) == forward[i]);
}

TEST_CASE("random stream: continues from a saved position") {
  RandomStream stream(11, 2);
  for (int i = 0; i < 17; ++i) stream.gamma(0.4);
  const auto position = stream.position();
  std::vector<double> expected;
  for (int i = 0; i < 5; ++i) expected.push_back(stream.normal());
  RandomStream other(11, 2);
  other.seek(position);
  for (const double value : expected) CHECK(other.normal() == value);
}

TEST_CASE("random stream: uniform and normal moments") {
  RandomStream stream(1);
  check_moments(0.5, 1.0 / 12, -1.2, [&] { return stream.uniform(); });
  check_moments(1, 4.0 / 3, -1.2, [&] { return stream.uniform(-1, 3); });
  check_moments(0, 1, 0, [&] { return stream.normal(); });
  check_moments(-2, 9, 0, [&] { return stream.normal(-2, 3); });
}

TEST_CASE("random stream: normal tails") {
  RandomStream stream(4);
  constexpr int count = 200000;
  int beyond_2 = 0;
  int beyond_3 = 0;
  bool finite = true;
  for (int i = 0; i < count; ++i) {
    const double x = std::abs(stream.normal());
    finite = finite && std::isfinite(x);
    beyond_2 += x > 2;
    beyond_3 += x > 3;
  }
  CHECK(finite);
  CHECK(std::abs(beyond_2 - 0.0455003 * count) < 5 * std::sqrt(0.0455003 * count));
  CHECK(std::abs(beyond_3 - 0.0026998 * count) < 5 * std::sqrt(0.0026998 * count));
}

TEST_CASE("random stream: below covers 0 .. n-1 evenly") {
  RandomStream stream(2);
  CHECK(stream.below(1) == 0);
  constexpr int count = 70000;
  std::array<int, 7> histogram{};
  for (int i = 0; i < count; ++i) {
    const Index k = stream.below(7);
    if (k < 0 || k > 6) FAIL("below(7) gave " << k);
    ++histogram[static_cast<std::size_t>(k)];
  }
  double chi_squared = 0;
  for (const int n : histogram) chi_squared += (n - count / 7.0) * (n - count / 7.0) / (count / 7.0);
  CHECK(chi_squared < 27.9);  // 6 degrees of freedom, 1 in 10,000
  const Index large = std::numeric_limits<Index>::max();
  for (int i = 0; i < 1000; ++i) {
    const Index k = stream.below(large);
    REQUIRE(k >= 0);
    REQUIRE(k < large);
  }
}

TEST_CASE("random stream: gamma moments, shapes below and above one") {
  RandomStream stream(3);
  for (const double shape : {0.1, 0.5, 1.0, 3.5, 200.0})
    for (const double scale : {1.0, 0.25}) {
      CAPTURE(shape);
      check_moments(shape * scale, shape * scale * scale, 6 / shape, [&] { return stream.gamma(shape, scale); });
    }
}

TEST_CASE("random stream: Poisson moments on both sides of the change of method") {
  RandomStream stream(5);
  for (const double mean : {0.01, 0.7, 8.0, 29.9, 30.0, 31.0, 120.0, 5000.0, 1e7}) {
    check_moments(mean, mean, 1 / mean, [&] { return stream.poisson(mean); });
  }
  CHECK(stream.poisson(0) == 0);
  CHECK(stream.poisson(-1) == 0);
  CHECK(stream.poisson(std::numeric_limits<double>::quiet_NaN()) == 0);
}

TEST_CASE("random stream: Poisson distribution function") {
  constexpr int count = 50000;
  const double limit = 1.95 / std::sqrt(count);  // Kolmogorov-Smirnov, 1 in 1,000
  RandomStream stream(6);
  for (const double mean : {0.7, 12.0, 30.0, 45.0}) {
    CAPTURE(mean);
    CHECK(distribution_distance(count, 100, [&] { return stream.poisson(mean); },
                                [&](int k) { return poisson_cdf(k, mean); }) < limit);
  }
}

TEST_CASE("random stream: negative binomial moments and distribution function") {
  constexpr int count = 50000;
  const double limit = 1.95 / std::sqrt(count);
  RandomStream stream(7);
  for (const double mean : {0.3, 5.0, 60.0})
    for (const double dispersion : {0.05, 0.5, 2.0}) {
      CAPTURE(mean);
      CAPTURE(dispersion);
      const double variance = mean + dispersion * mean * mean;
      check_moments(mean, variance, 6 * dispersion + 1 / variance,
                    [&] { return stream.negative_binomial(mean, dispersion); });
      CHECK(distribution_distance(count, 300, [&] { return stream.negative_binomial(mean, dispersion); },
                                  [&](int k) { return negative_binomial_cdf(k, mean, dispersion); }) < limit);
    }
  check_moments(4, 4, 0.25, [&] { return stream.negative_binomial(4, 0); });
  CHECK(stream.negative_binomial(0, 0.5) == 0);
}

TEST_CASE("random stream: permutations are permutations, and all of them come") {
  RandomStream stream(8);
  CHECK(stream.permutation(0).empty());
  CHECK(stream.permutation(1) == std::vector<Index>{0});
  auto order = stream.permutation(1000);
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == static_cast<Index>(i));
  std::set<std::vector<Index>> seen;
  for (int i = 0; i < 500; ++i) seen.insert(stream.permutation(4));
  CHECK(seen.size() == 24);
  CHECK(RandomStream(9).permutation(50) == RandomStream(9).permutation(50));
  CHECK(RandomStream(9).permutation(50) != RandomStream(10).permutation(50));
}
