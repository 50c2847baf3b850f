#include <eosin/glm/design.hpp>

#include <doctest/doctest.h>

#include "support/message.hpp"

using namespace eosin;
using glm::Categories, glm::CellGroups, glm::Design;
using testing::contains, testing::message_of;

TEST_CASE("glm::Design: coefficients that cannot be told apart are refused by name") {
  const auto types = Categories::from_labels({"Mono", "T", "B", "Mono"});
  CHECK(message_of([&] {
          Design(types, Categories::from_labels({"plate3", "plate1", "plate1", "plate3"}));
        }) ==
        "batch 'plate3' holds only cells of type 'Mono', and no other batch holds that type: their effects cannot be "
        "told "
        "apart");
  CHECK_THROWS_AS(Design(types, Categories::from_labels({"plate3", "plate1", "plate1", "plate3"})), DesignError);
  CHECK_NOTHROW(Design(types, Categories::from_labels({"plate3", "plate1", "plate3", "plate1"})));
  CHECK(contains(message_of([&] {
                   Design(Categories::from_labels({"a", "b", "c", "d"}), Categories::from_labels({"p", "p", "q", "q"}));
                 }),
                 "types 'c', 'd'"));
}

TEST_CASE("glm::Design: lengths, codes and names are checked") {
  const auto two = Categories::from_labels({"a", "b"});
  CHECK_THROWS_AS(Design(two, Categories::from_labels({"p"})), ShapeError);
  CHECK(contains(message_of([&] { Design(Categories{{"a"}, {0, 1}}); }), "cell 1"));
  CHECK(contains(message_of([&] { Design(Categories{{"a", "a"}, {0, 1}}); }), "named 'a'"));
  CHECK(contains(message_of([&] { Design(Categories{{"a", "b"}, {0, 0}}); }), "type 'b' has no cell"));
  CHECK_THROWS_AS(Design(Categories{}), ValueError);
  // A level whose only cell has no other label is empty too.
  CHECK_THROWS_AS(Design(two, Categories::from_labels({"p", ""})), DesignError);
}

TEST_CASE("glm::CellGroups: cells by type and batch") {
  const Design design(Categories::from_codes({1, 0, 1, 0, -1, 1}), Categories::from_codes({0, 1, 0, 0, 1, 0}));
  CHECK(design.dropped() == 1);
  const std::vector<double> s{3.0, 2.0, 1.0, 0.5, 9.0, 0.0};
  const CellGroups groups(design, s);
  REQUIRE(groups.groups() == 3);  // (0, 0), (0, 1), (1, 0)
  CHECK(groups.used() == 4);
  CHECK(groups.group(1, 1) == -1);
  const auto group = groups.group(1, 0);
  REQUIRE(groups.size_factors(group).size() == 2);
  CHECK(groups.size_factors(group)[0] == 3.0);  // in the order of the cells
  CHECK(groups.size_factors(group)[1] == 1.0);
  CHECK(groups.group_of(2) == group);
  CHECK(groups.size_factor_of(2) == 1.0);
  CHECK(groups.group_of(4) == CellGroups::without_label);
  CHECK(groups.group_of(5) == CellGroups::without_depth);
  CHECK(groups.type(group) == 1);
  CHECK(groups.batch(group) == 0);
}

TEST_CASE("glm::CellGroups: a level that has only cells of size factor 0 is refused") {
  const Design design(Categories::from_labels({"a", "b", "b"}));
  const std::vector<double> s{0.0, 1.0, 1.0};
  CHECK(contains(message_of([&] { CellGroups(design, s); }), "type 'a'"));
}
