#include <eosin/eval/k_means.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <set>

using namespace eosin;

namespace {

/// Three clouds of 60, 30 and 10 points, in an order that mixes them.
Matrix<double> clouds() {
  auto x = testing::normal_matrix<double>(100, 3, 5, 0.3);
  for (Index i = 0; i < 100; ++i) {
    x(i, 0) += i % 10 == 0 ? 9.0 : 0.0;
    x(i, 1) += i % 10 > 6 ? 9.0 : 0.0;
  }
  return x;
}

}  // namespace

TEST_CASE("eval::k_means: finds clouds, numbered by size") {
  CpuContext context({.threads = 2});
  const auto x = clouds();
  const auto found = eval::k_means(context, x.view(), {.clusters = 3});
  for (Index i = 0; i < 100; ++i)
    REQUIRE(found.labels[static_cast<std::size_t>(i)] == (i % 10 == 0 ? 2 : i % 10 > 6 ? 1 : 0));
  CHECK(found.converged);
  // Centres are the means of their rows, the inertia is what the definition says.
  double inertia = 0, mean = 0;
  for (Index i = 0; i < 100; ++i) {
    for (Index j = 0; j < 3; ++j)
      inertia += std::pow(x(i, j) - found.centres(found.labels[static_cast<std::size_t>(i)], j), 2);
    mean += i % 10 == 0 ? x(i, 0) / 10 : 0.0;
  }
  CHECK(found.inertia == doctest::Approx(inertia).epsilon(1e-12));
  CHECK(found.centres(2, 0) == doctest::Approx(mean).epsilon(1e-12));
}

TEST_CASE("eval::k_means: the best of scikit-learn's fifty restarts") {
  CpuContext context({.threads = 1});
  Matrix<double> x(9, 4);
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 4; ++j)
      x(i, j) = static_cast<double>((i * 37 + j * 11 + i * j * j) % 23) / 7.0 + static_cast<double>(j * i % 3);
  // scikit-learn 1.9.1, KMeans(3, n_init=50): labels 2 2 1 0 0 1 0 2 1.
  const auto found = eval::k_means(context, x.view(), {.clusters = 3, .restarts = 50});
  CHECK(found.inertia == doctest::Approx(11.29251700680272).epsilon(1e-12));
  CHECK(found.labels == std::vector<Index>{0, 0, 1, 2, 2, 1, 2, 0, 1});
}

TEST_CASE("eval::k_means: one cluster, a cluster for each row, equal rows") {
  CpuContext context({.threads = 1});
  const auto x = clouds();
  const auto one = eval::k_means(context, x.view(), {.clusters = 1});
  CHECK(std::set<Index>(one.labels.begin(), one.labels.end()).size() == 1);
  const auto each = eval::k_means(context, x.view(), {.clusters = 100, .restarts = 1});
  CHECK(each.inertia == 0);
  CHECK(std::set<Index>(each.labels.begin(), each.labels.end()).size() == 100);
  Matrix<double> equal(5, 2);
  equal.fill(3);
  const auto same = eval::k_means(context, equal.view(), {.clusters = 3, .restarts = 2, .iterations = 5});
  CHECK(same.inertia == 0);
}

TEST_CASE("eval::k_means: the seed decides, threads do not") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto x = testing::normal_matrix<float>(1000, 5, 3);
  const eval::KMeansOptions options{.clusters = 7, .restarts = 2, .seed = 5};
  const auto a = eval::k_means(one, x.view(), options), b = eval::k_means(three, x.view(), options);
  CHECK(a.labels == b.labels);
  CHECK(a.inertia == b.inertia);
  CHECK(testing::same_bits(a.centres, b.centres));
  CHECK(eval::k_means(one, x.view(), {.clusters = 7, .restarts = 1, .seed = 6}).inertia != a.inertia);
}

TEST_CASE("eval::k_means: refusals") {
  CpuContext context({.threads = 1});
  auto x = testing::normal_matrix<double>(4, 3, 1);
  CHECK_THROWS_WITH_AS(eval::k_means(context, x.view(), {.clusters = 5}), "k_means: 5 clusters of 4 rows are asked for",
                       ValueError);
  CHECK_THROWS_AS(eval::k_means(context, x.view(), {.clusters = 0}), ValueError);
  CHECK_THROWS_AS(eval::k_means(context, x.view(), {.clusters = 2, .restarts = 0}), ValueError);
  x(1, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(eval::k_means(context, x.view(), {.clusters = 2}), ValueError);
}
