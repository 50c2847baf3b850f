#include <eosin/glm/benjamini_hochberg.hpp>

#include <doctest/doctest.h>

#include "support/message.hpp"

#include <eosin/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::benjamini_hochberg: values of the original paper and of p.adjust") {
  // The fifteen p-values of Benjamini and Hochberg's example (thrombolysis); four pass at 0.05.
  const std::vector<double> p{0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                              0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000};
  // p.adjust(p, "BH")
  const std::vector<double> q{0.0015,        0.003,         0.0095,       0.035625,     0.0603,
                              0.06385714286, 0.06385714286, 0.0645,       0.0765,       0.486,
                              0.58118181818, 0.714875,      0.7532307692, 0.8132142857, 1.0};
  const auto adjusted = glm::benjamini_hochberg(p);
  for (std::size_t i = 0; i < p.size(); ++i) {
    CAPTURE(i);
    CHECK(adjusted[static_cast<Index>(i)] == doctest::Approx(q[i]).epsilon(1e-9));
  }
  CHECK(std::count_if(adjusted.begin(), adjusted.end(), [](double x) { return x <= 0.05; }) == 4);
}

TEST_CASE("glm::benjamini_hochberg: NaN does not count, ties are equal, order plays no part") {
  const double nan = std::nan("");
  std::vector<double> p{0.03, nan, 0.01, 0.03, 0.5, nan, 0.0};
  const auto q = glm::benjamini_hochberg(p);
  CHECK(std::isnan(q[1]));
  CHECK(std::isnan(q[5]));
  CHECK(q[0] == q[3]);
  CHECK(q[0] == doctest::Approx(0.0375));  // 5 * 0.03 / 4
  CHECK(q[2] == doctest::Approx(0.025));
  CHECK(q[4] == 0.5);
  CHECK(q[6] == 0.0);
  glm::benjamini_hochberg(p, VectorView<double>(p));  // in place
  for (Index i = 0; i < q.size(); ++i) CHECK((p[static_cast<std::size_t>(i)] == q[i] || std::isnan(q[i])));
  CHECK(glm::benjamini_hochberg(std::vector<double>{}).size() == 0);
  CHECK(testing::contains(testing::message_of([] {
                            glm::benjamini_hochberg(std::vector<double>{0.5, 1.5});
                          }),
                          "p-value 1 (from 0)"));
  CHECK_THROWS_AS(glm::benjamini_hochberg(std::vector<double>{-0.1}), ValueError);
}

TEST_CASE("glm::benjamini_hochberg: the false discovery rate is kept") {
  RandomStream random(11);
  double proportion = 0.0;
  const int rounds = 400;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> p;
    for (int i = 0; i < 200; ++i) p.push_back(i < 150 ? random.uniform() : 1e-3 * std::pow(random.uniform(), 3.0));
    const auto q = glm::benjamini_hochberg(p);
    double wrong = 0.0, called = 0.0;
    for (Index i = 0; i < 200; ++i)
      if (q[i] <= 0.1) {
        called += 1.0;
        wrong += i < 150;
      }
    proportion += called > 0.0 ? wrong / called : 0.0;
  }
  // Exactly 0.1 times 150 / 200; the standard error of the mean is about 0.0015.
  CHECK(proportion / rounds == doctest::Approx(0.075).epsilon(0.08));
}
