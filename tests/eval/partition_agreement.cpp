#include <eosin/eval/partition_agreement.hpp>

#include <doctest/doctest.h>

#include <numeric>
#include <vector>

using namespace eosin;

namespace {

using Labels = std::vector<Index>;

template <class F>
Labels labels_of(F&& f) {
  Labels labels(60);
  for (Index i = 0; i < 60; ++i) labels[static_cast<std::size_t>(i)] = f(i);
  return labels;
}

void check(const Labels& a, const Labels& b, double rand, double information) {
  for (const bool swapped : {false, true}) {
    const auto& first = swapped ? b : a;
    const auto& second = swapped ? a : b;
    CHECK(eval::adjusted_rand_index(first, second) == doctest::Approx(rand).epsilon(1e-14));
    CHECK(eval::normalised_mutual_information(first, second) == doctest::Approx(information).epsilon(1e-13));
  }
}

}  // namespace

TEST_CASE("eval::partition_agreement: scikit-learn's figures") {
  const auto x = labels_of([](Index i) { return (i * 7 + i * i) % 5; });
  const auto y = labels_of([](Index i) { return (i * 3 + i / 7) % 4; });
  const auto z = labels_of([&](Index i) {
    const Index v = x[static_cast<std::size_t>(i)];
    return i % 9 != 0 ? v : (v + 1) % 5;
  });
  // scikit-learn 1.9.1, adjusted_rand_score and normalized_mutual_info_score.
  check(x, y, -0.030616782061868766, 0.008934157071788585);
  check(x, z, 0.7591857537133898, 0.7529129327048507);
  check(z, y, -0.032848720746285434, 0.03545201066489369);
  check({0, 0, 1, 2}, {0, 0, 1, 1}, 0.5714285714285714, 0.7999999999999999);
  check({0, 1, 0, 1}, {0, 0, 1, 1}, -0.5, 0);
  // One class, a class each, nothing.
  const Labels one(60, 0);
  Labels own(60);
  std::iota(own.begin(), own.end(), Index{0});
  const Labels reversed(own.rbegin(), own.rend());
  check(x, one, 0, 0);
  check(x, own, 0, 0.4097362335237644);
  check(one, own, 0, 0);
  check(one, one, 1, 1);
  check(own, reversed, 1, 1);
  check({3}, {4}, 1, 1);
  check({}, {}, 1, 1);
}

TEST_CASE("eval::partition_agreement: names do not matter, missing labels do not count") {
  const Labels a{0, 0, 1, 1, 2, 2}, renamed{70, 70, 5, 5, 0, 0};
  check(a, renamed, 1, 1);
  const Labels with_missing{0, -1, 0, 1, 1, 2, 2, 1}, other{4, 4, 4, 9, 9, 0, -3, -1};
  check(with_missing, other, 1, 1);
  const Labels x{0, 0, 1, 2}, y{0, 0, 1, 1}, padded_x{0, -1, 0, 1, 2, 1}, padded_y{0, 3, 0, 1, 1, -1};
  CHECK(eval::adjusted_rand_index(padded_x, padded_y) == eval::adjusted_rand_index(x, y));
  CHECK(eval::normalised_mutual_information(padded_x, padded_y) == eval::normalised_mutual_information(x, y));
  CHECK_THROWS_AS(eval::adjusted_rand_index(a, x), ShapeError);
}
