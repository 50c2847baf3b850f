#include <eosin/glm/separation.hpp>

#include <doctest/doctest.h>

#include <eosin/core/random.hpp>
#include <eosin/glm/components.hpp>

#include <set>
#include <utility>
#include <vector>

using namespace eosin;

namespace {

/// Groups of a design of factors: row of indicators and whether there are counts.
struct Groups {
  std::vector<std::vector<Index>> level;  // [groups][factors]
  std::vector<char> has_counts;
  std::vector<Index> levels;

  Matrix<int> design() const {
    Index columns = 0;
    for (const Index n : levels) columns += n;
    Matrix<int> result(static_cast<Index>(level.size()), columns);
    for (std::size_t k = 0; k < level.size(); ++k) {
      Index first = 0;
      for (std::size_t f = 0; f < levels.size(); ++f) {
        result(static_cast<Index>(k), first + level[k][f]) = 1;
        first += levels[f];
      }
    }
    return result;
  }
};

Groups random_groups(RandomStream& random, std::vector<Index> levels, double observed, double counted) {
  Groups groups;
  groups.levels = levels;
  Index cells = 1;
  for (const Index n : levels) cells *= n;
  for (Index c = 0; c < cells; ++c) {
    if (random.uniform() > observed) continue;
    std::vector<Index> row;
    for (Index rest = c, f = 0; f < static_cast<Index>(levels.size()); ++f) {
      row.push_back(rest % levels[static_cast<std::size_t>(f)]);
      rest /= levels[static_cast<std::size_t>(f)];
    }
    groups.level.push_back(row);
    groups.has_counts.push_back(random.uniform() < counted);
  }
  return groups;
}

}  // namespace

TEST_CASE("glm::vanishing_groups: agrees with the graph of two factors") {
  RandomStream random(5);
  Index some = 0, none = 0, beyond = 0;
  for (int round = 0; round < 6000; ++round) {
    const Index types = 1 + random.below(6), batches = 1 + random.below(6);
    const Groups groups = random_groups(random, {types, batches}, random.uniform(0.3, 1.0), random.uniform(0.05, 1.0));
    glm::Components components;
    components.reset(types, batches);
    std::vector<char> type_counts(static_cast<std::size_t>(types)), batch_counts(static_cast<std::size_t>(batches));
    for (std::size_t k = 0; k < groups.level.size(); ++k) {
      const Index t = groups.level[k][0], b = groups.level[k][1];
      if (groups.has_counts[k]) {
        components.link(t, b);
        type_counts[static_cast<std::size_t>(t)] = batch_counts[static_cast<std::size_t>(b)] = 1;
      } else {
        components.arc(t, b);
      }
    }
    components.finish();
    const Matrix<int> design = groups.design();
    const auto vanishes = glm::vanishing_groups(design.view(), groups.has_counts);
    bool any = false;
    for (std::size_t k = 0; k < groups.level.size(); ++k) {
      const Index t = groups.level[k][0], b = groups.level[k][1];
      const bool expected = !groups.has_counts[k] && components.of_type(t) != components.of_batch(b);
      REQUIRE(static_cast<bool>(vanishes[k]) == expected);
      any = any || expected;
      beyond += expected && type_counts[static_cast<std::size_t>(t)] && batch_counts[static_cast<std::size_t>(b)];
    }
    ++(any ? some : none);
  }
  CHECK(some > 500);
  CHECK(none > 500);
  CHECK(beyond > 500);  // not only levels without counts
}

TEST_CASE("glm::vanishing_groups: agrees with all small directions of three factors") {
  // For 2 x 2 x 2 every ray of the cone has entries of magnitude at most 2 in a gauge where two levels are fixed at 0.
  RandomStream random(6);
  Index some = 0, beyond_pairs = 0;
  for (int round = 0; round < 1500; ++round) {
    const Groups groups = random_groups(random, {2, 2, 2}, random.uniform(0.5, 1.0), random.uniform(0.1, 0.9));
    const Matrix<int> design = groups.design();
    std::vector<char> expected(groups.level.size(), 0);
    for (int code = 0; code < 7 * 7 * 7 * 7; ++code) {
      const int d[6] = {code % 7 - 3, code / 7 % 7 - 3, 0, code / 49 % 7 - 3, 0, code / 343 - 3};
      std::vector<int> change(groups.level.size(), 0);
      bool allowed = true;
      for (std::size_t k = 0; k < groups.level.size() && allowed; ++k) {
        for (Index j = 0; j < 6; ++j) change[k] += design(static_cast<Index>(k), j) * d[j];
        allowed = groups.has_counts[k] ? change[k] == 0 : change[k] <= 0;
      }
      if (!allowed) continue;
      for (std::size_t k = 0; k < change.size(); ++k)
        if (change[k] < 0) expected[k] = 1;
    }
    const auto vanishes = glm::vanishing_groups(design.view(), groups.has_counts);
    REQUIRE(vanishes == expected);
    std::set<std::pair<std::size_t, Index>> seen;
    for (std::size_t k = 0; k < expected.size(); ++k)
      for (std::size_t f = 0; f < 3; ++f)
        if (groups.has_counts[k]) seen.insert({f, groups.level[k][f]});
    for (std::size_t k = 0; k < expected.size(); ++k) {
      some += expected[k] != 0;
      bool levels_seen = true;
      for (std::size_t f = 0; f < 3; ++f) levels_seen = levels_seen && seen.contains({f, groups.level[k][f]});
      beyond_pairs += expected[k] && levels_seen;
    }
  }
  CHECK(some > 500);
  CHECK(beyond_pairs > 100);
}

TEST_CASE("glm::vanishing_groups: three factors that no pair of them shows") {
  // Counts in the four groups of one parity determine the four coefficients: finite. Without those of group 0 the
  // others leave one direction, but group 7 rises along it where 0 falls: finite still. Where 7 has no cells, 0, 1, 2
  // and 4 vanish together, though every level has counts.
  Matrix<int> design(8, 6);
  std::vector<char> counts(8);
  for (Index k = 0; k < 8; ++k) {
    for (Index f = 0; f < 3; ++f) design(k, 2 * f + (k >> f & 1)) = 1;
    counts[static_cast<std::size_t>(k)] = ((k & 1) ^ (k >> 1 & 1) ^ (k >> 2 & 1)) == 0;
  }
  for (const char v : glm::vanishing_groups(design.view(), counts)) CHECK(v == 0);
  counts[0] = 0;
  for (const char v : glm::vanishing_groups(design.view(), counts)) CHECK(v == 0);
  counts.pop_back();
  const auto seven = MatrixView<const int>(design.view()).middle_rows(0, 7);
  CHECK(glm::vanishing_groups(seven, counts) == std::vector<char>{1, 1, 1, 0, 1, 0, 0});
  CHECK_THROWS_AS(glm::vanishing_groups(design.view(), std::vector<char>(3)), ShapeError);
}

TEST_CASE("glm::vanishing_groups: large sparse designs end") {
  RandomStream random(7);
  for (int round = 0; round < 3; ++round) {
    const Groups groups = random_groups(random, {40, 15, 3}, 0.6, round == 0 ? 0.02 : 0.2);
    const auto vanishes = glm::vanishing_groups(groups.design().view(), groups.has_counts);
    for (std::size_t k = 0; k < vanishes.size(); ++k) CHECK_FALSE((vanishes[k] && groups.has_counts[k]));
  }
}
