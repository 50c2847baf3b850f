#include <eosin/retrieval/top_k.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <numeric>
#include <vector>

using namespace eosin;

namespace {

/// All similarities in double, all sorted.
std::vector<Index> sorted_keys(const Matrix<float>& keys, const Matrix<float>& queries, Index q,
                               std::vector<double>& similarity) {
  const auto length = [](VectorView<const float> x) {
    double sum = 0;
    for (Index c = 0; c < x.size(); ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
    return std::max(std::sqrt(sum), 1e-12);
  };
  similarity.assign(static_cast<std::size_t>(keys.rows()), 0);
  for (Index m = 0; m < keys.rows(); ++m) {
    double dot = 0;
    for (Index c = 0; c < keys.cols(); ++c) dot += static_cast<double>(keys(m, c)) * static_cast<double>(queries(q, c));
    similarity[static_cast<std::size_t>(m)] = dot / length(keys.row(m)) / length(queries.row(q));
  }
  std::vector<Index> order(similarity.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return similarity[static_cast<std::size_t>(a)] > similarity[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace

TEST_CASE("retrieval::top_k: what sorting everything finds") {
  CpuContext context({.threads = 2});
  // Fewer and more keys than a block, lists that overflow and lists that do not.
  for (const Index m : {7, 1024, 3111})
    for (const Index k : {Index{1}, Index{5}, std::min(m, Index{300}), m}) {
      if (k > m) continue;
      CAPTURE(m);
      CAPTURE(k);
      const auto keys = testing::normal_matrix<float>(m, 19, 1, 1, 0.3);
      const auto queries = testing::normal_matrix<float>(35, 19, 2, 1, 0.3);
      Matrix<Index> indices(35, k);
      Matrix<float> similarity(35, k);
      retrieval::top_k<float>(context, keys, queries, k, indices, similarity);
      std::vector<double> want;
      for (Index q = 0; q < 35; ++q) {
        const auto order = sorted_keys(keys, queries, q, want);
        for (Index j = 0; j < k; ++j) {
          const double wanted = want[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
          // Similarities may come in the other order where they differ by rounding alone.
          REQUIRE(want[static_cast<std::size_t>(indices(q, j))] == doctest::Approx(wanted).epsilon(1e-6));
          REQUIRE(static_cast<double>(similarity(q, j)) == doctest::Approx(wanted).epsilon(1e-5));
        }
      }
    }
}

TEST_CASE("retrieval::top_k: equal similarities by rising index, across blocks and full lists") {
  CpuContext context({.threads = 2});
  const Index m = 5000;
  Matrix<double> keys(m, 2), queries(2, 2);
  for (Index i = 0; i < m; ++i) {
    keys(i, 0) = 1 + static_cast<double>(i % 3);  // directions (1, 0) of several lengths, and (0, 1)
    if (i % 5 == 0) {
      keys(i, 0) = 0;
      keys(i, 1) = 2;
    }
  }
  queries(0, 0) = 3;  // the second query has no direction: everything is equal
  for (const Index k : {1, 10, 400, 4500}) {
    Matrix<Index> indices(2, k);
    Matrix<double> similarity(2, k);
    retrieval::top_k<double>(context, keys, queries, k, indices, similarity);
    Index next = 0, other = 0;
    for (Index j = 0; j < k; ++j) {
      if (j < 4000) {
        while (next % 5 == 0) ++next;
        REQUIRE(indices(0, j) == next++);
        REQUIRE(similarity(0, j) == 1);
      } else {
        REQUIRE(indices(0, j) == other);
        other += 5;
      }
      REQUIRE(indices(1, j) == j);
      REQUIRE(similarity(1, j) == 0);
    }
  }
}

TEST_CASE("retrieval::top_k: the same on any number of threads; more queries than a group") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto keys = testing::normal_matrix<float>(1500, 8, 1), queries = testing::normal_matrix<float>(2500, 8, 2);
  Matrix<Index> i1(2500, 20), i3(2500, 20);
  Matrix<float> s1(2500, 20), s3(2500, 20);
  retrieval::top_k<float>(one, keys, queries, 20, i1, s1);
  retrieval::top_k<float>(three, keys, queries, 20, i3, s3);
  CHECK(testing::same_bits(s1, s3));
  CHECK(testing::same_bits(i1.flat(), i3.flat()));
  // The similarity is not needed.
  retrieval::top_k<float>(one, keys, queries, 20, i3, MatrixView<float>{});
  CHECK(testing::same_bits(i1.flat(), i3.flat()));
}

TEST_CASE("retrieval::top_k: refusals name what is wrong") {
  CpuContext context({.threads = 1});
  auto keys = testing::normal_matrix<float>(6, 3, 1);
  const auto queries = testing::normal_matrix<float>(2, 3, 2);
  Matrix<Index> indices(2, 4), many(2, 7);
  Matrix<float> similarity(2, 4), wrong(2, 4);
  CHECK_THROWS_WITH_AS(retrieval::top_k<float>(context, keys, queries, 7, many, MatrixView<float>{}),
                       "top_k: 7 neighbours of 6 keys are asked for", ValueError);
  CHECK_THROWS_AS(retrieval::top_k<float>(context, keys, queries, 0, indices, similarity), ValueError);
  CHECK_THROWS_AS(retrieval::top_k<float>(context, keys, queries, 3, indices, similarity), ShapeError);
  CHECK_THROWS_AS(retrieval::top_k<float>(context, keys, wrong, 4, indices, similarity), ShapeError);
  keys(4, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(retrieval::top_k<float>(context, keys, queries, 4, indices, similarity),
                       "top_k: row 4 of keys has an element that is not finite, or no finite length", ValueError);
}
