#include <eosin/optim/schedule.hpp>

#include <doctest/doctest.h>

using namespace eosin;
using optim::Schedule;

TEST_CASE("optim::Schedule: constant and step rates") {
  const Schedule constant;
  for (const Index t : {0, 1, 1000}) CHECK(constant(0.3, t) == 0.3);
  const Schedule step{optim::StepRate{.period = 3, .factor = 0.5}};
  const double want[] = {1, 1, 1, 0.5, 0.5, 0.5, 0.25};
  for (Index t = 0; t < 7; ++t) CHECK(step(1, t) == want[t]);
}

TEST_CASE("optim::Schedule: cosine, also beyond its period") {
  const Schedule cosine{optim::CosineRate{.period = 10, .minimum = 0.2}};
  CHECK(cosine(1, 0) == doctest::Approx(1));
  CHECK(cosine(1, 5) == doctest::Approx(0.6));
  CHECK(cosine(1, 10) == doctest::Approx(0.2));
  CHECK(cosine(1, 15) == doctest::Approx(0.6));
  for (Index t = 0; t < 10; ++t) CHECK(cosine(1, t + 1) < cosine(1, t));
}

TEST_CASE("optim::Schedule: warm-up rises linearly to the schedule beneath") {
  const Schedule schedule{optim::StepRate{.period = 2, .factor = 0.5}, 4};
  const double want[] = {0.25, 0.5, 0.75 * 0.5, 0.5, 0.25, 0.25};
  for (Index t = 0; t < 6; ++t) CHECK(schedule(1, t) == doctest::Approx(want[t]).epsilon(1e-15));
}

TEST_CASE("optim::Schedule: a period below 1 is an error") {
  CHECK_THROWS_WITH_AS((Schedule{optim::StepRate{.period = 0}}(1, 0)), "StepRate: period must be at least 1",
                       ValueError);
  CHECK_THROWS_WITH_AS((Schedule{optim::CosineRate{.period = -1}}(1, 0)), "CosineRate: period must be at least 1",
                       ValueError);
}
