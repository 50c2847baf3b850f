#include <eosin/glm/categories.hpp>

#include <doctest/doctest.h>

using namespace eosin;
using glm::Categories;

TEST_CASE("glm::Categories: levels in the order of their names, empty labels missing") {
  const auto c = Categories::from_labels({"T cell", "", "B cell", "T cell"});
  CHECK(c.names == std::vector<std::string>{"B cell", "T cell"});
  CHECK(c.codes == std::vector<Index>{1, Categories::missing, 0, 1});
  CHECK(c.levels() == 2);
  CHECK(c.cells() == 4);
}

TEST_CASE("glm::Categories: from codes") {
  const auto c = Categories::from_codes({1, -5, 0}, "b");
  CHECK(c.names == std::vector<std::string>{"b0", "b1"});
  CHECK(c.codes == std::vector<Index>{1, Categories::missing, 0});
  CHECK_THROWS_AS(Categories::from_codes({0, 1000000000}), ValueError);
}
