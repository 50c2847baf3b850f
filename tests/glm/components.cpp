#include <eosin/glm/components.hpp>

#include <doctest/doctest.h>

using eosin::glm::Components;

TEST_CASE("glm::Components: links join, arcs only in a cycle") {
  Components c;
  c.reset(3, 3);
  c.link(0, 0);
  c.link(1, 1);
  c.arc(0, 1);  // from the part of type 0 to that of type 1
  c.finish();
  CHECK(c.of_type(0) == c.of_batch(0));
  CHECK(c.of_type(1) == c.of_batch(1));
  CHECK(c.of_type(0) != c.of_type(1));
  CHECK(c.reaches(c.of_type(0), c.of_batch(1)));
  CHECK_FALSE(c.reaches(c.of_type(1), c.of_batch(0)));
  CHECK(c.of_type(2) != c.of_batch(2));

  c.reset(3, 3);
  c.link(0, 0);
  c.link(1, 1);
  c.link(2, 2);
  c.arc(0, 1);
  c.arc(1, 2);
  c.finish();
  CHECK(c.reaches(c.of_type(0), c.of_batch(2)));
  CHECK(c.of_type(0) != c.of_type(2));

  c.reset(3, 3);
  c.link(0, 0);
  c.link(1, 1);
  c.link(2, 2);
  c.arc(0, 1);
  c.arc(1, 2);
  c.arc(2, 0);
  c.finish();
  CHECK(c.of_type(0) == c.of_type(1));
  CHECK(c.of_batch(2) == c.of_type(0));
}
