#include <eosin/core/random.hpp>
#include <eosin/eval/correlation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;

namespace {

eval::Correlation pearson(const std::vector<double>& x, const std::vector<double>& y, Index minimum = 2) {
  return eval::pearson(VectorView<const double>(x), VectorView<const double>(y), minimum);
}

eval::Correlation spearman(const std::vector<double>& x, const std::vector<double>& y) {
  return eval::spearman(VectorView<const double>(x), VectorView<const double>(y));
}

}  // namespace

TEST_CASE("correlation: values by hand") {
  CHECK(pearson({1, 2, 3}, {2, 4, 6}).value == doctest::Approx(1.0).epsilon(1e-15));
  CHECK(pearson({1, 2, 3}, {3, 2, 1}).value == doctest::Approx(-1.0).epsilon(1e-15));
  // xc = (-1, 0, 1), yc = (-1, 1, 0): 1 / 2
  CHECK(pearson({1, 2, 3}, {1, 3, 2}).value == doctest::Approx(0.5).epsilon(1e-15));
  // A monotone map leaves ranks alone.
  CHECK(spearman({1, 2, 3, 4}, {1, 10, 100, 1000}).value == doctest::Approx(1.0).epsilon(1e-15));
  // Ranks 1.5, 1.5, 3 and 1, 2, 3: xc = (-.5, -.5, 1), yc = (-1, 0, 1): 1.5 / sqrt(1.5 * 2).
  CHECK(spearman({5, 5, 9}, {1, 2, 3}).value == doctest::Approx(1.5 / std::sqrt(3.0)).epsilon(1e-15));
  // Ranks 1.5, 1.5, 3, 4: xc = (-1, -1, .5, 1.5), yc = (-1.5, -.5, .5, 1.5): 4.5 / sqrt(4.5 * 5).
  CHECK(spearman({1, 1, 2, 3}, {1, 2, 3, 4}).value == doctest::Approx(4.5 / std::sqrt(22.5)).epsilon(1e-15));
}

TEST_CASE("correlation: undefined is judged by equal values, not by a computed variance") {
  // The sum of ten times 0.1 is not 1, so a computed variance would not be 0.
  const std::vector<double> constant(10, 0.1), ramp{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  CHECK_FALSE(pearson(constant, ramp).defined);
  CHECK(pearson(constant, ramp).value == 0.0);
  CHECK_FALSE(pearson(ramp, constant).defined);
  CHECK_FALSE(spearman(constant, ramp).defined);
  CHECK_FALSE(pearson({1}, {2}).defined);
  CHECK_FALSE(pearson({}, {}).defined);
  CHECK(pearson({1, 2}, {5, 3}).defined);
  CHECK_FALSE(pearson({1, 2}, {5, 3}, 3).defined);
  CHECK(pearson({1, 2, 4}, {5, 3, 1}, 3).defined);
}

TEST_CASE("correlation: invariant to offset and scale, at the ends of the range too") {
  const std::vector<double> x{0, 1, 0, 2, 5, 3}, y{1, 0, 0, 3, 4, 4};
  const double wanted = pearson(x, y).value;
  for (const double scale : {1.0, 0x1p-40, 0x1p900, 0x1p-1040, 0x1p1020})
    for (const double offset : {0.0, 0x1p50}) {
      auto moved = x;
      for (double& value : moved) value = (value + offset) * (offset == 0 ? scale : 1.0);
      CAPTURE(scale);
      CAPTURE(offset);
      const auto r = pearson(moved, y);
      CHECK(r.defined);
      CHECK(r.value == doctest::Approx(wanted).epsilon(1e-14));
    }
  const double largest = std::numeric_limits<double>::max();
  CHECK(pearson({-largest, 0, largest}, {1, 2, 3}).value == doctest::Approx(1.0).epsilon(1e-15));
  CHECK(pearson({0, 5e-324}, {1, 2}).value == doctest::Approx(1.0).epsilon(1e-15));
}

TEST_CASE("correlation: axes, means and threads") {
  const Index spots = 83, genes = 45;
  Matrix<float> prediction(spots, genes);
  Matrix<double> truth(spots, genes);
  RandomStream random(7);
  for (Index s = 0; s < spots; ++s)
    for (Index g = 0; g < genes; ++g) {
      truth(s, g) = g == 3 ? 2.5 : static_cast<double>(random.poisson(1.5));
      prediction(s, g) = s == 5 ? 1.0f : static_cast<float>(truth(s, g) + random.normal());
    }
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto per_gene = eval::pearson_per_gene(one, prediction.view(), truth.view());
  const auto per_spot = eval::spearman_per_spot(one, prediction.view(), truth.view());
  REQUIRE(per_gene.size() == genes);
  REQUIRE(per_spot.size() == spots);
  CHECK_FALSE(per_gene[3].defined);
  CHECK(per_gene.undefined_count() == 1);
  CHECK_FALSE(per_spot[5].defined);
  CHECK(per_gene[10].value == eval::pearson(prediction.view().col(10), truth.view().col(10)).value);
  CHECK(per_spot[10].value == eval::spearman(prediction.view().row(10), truth.view().row(10)).value);

  double sum = 0;
  for (Index g = 0; g < genes; ++g) sum += per_gene.values[g];
  const auto mean = eval::mean_of(per_gene);
  CHECK(mean.mean == doctest::Approx(sum / static_cast<double>(genes - 1)).epsilon(1e-15));
  CHECK(mean.mean_undefined_as_zero == doctest::Approx(sum / static_cast<double>(genes)).epsilon(1e-15));
  CHECK(mean.defined == genes - 1);
  CHECK(mean.undefined == 1);
  const std::vector<Index> undefined_only{3};
  CHECK(eval::mean_of(per_gene, undefined_only).mean == 0.0);
  const std::vector<Index> outside{genes};
  CHECK_THROWS_AS(eval::mean_of(per_gene, outside), ValueError);

  const auto threaded = eval::pearson_per_gene(three, prediction.view(), truth.view());
  CHECK(std::equal(per_gene.values.begin(), per_gene.values.end(), threaded.values.begin()));
}

TEST_CASE("correlation: bad input is named") {
  CpuContext context({.threads = 2});
  Matrix<float> prediction(4, 3), truth(4, 3), other(4, 2);
  CHECK_THROWS_WITH_AS(eval::pearson_per_gene(context, other.view(), truth.view()),
                       "pearson_per_gene: prediction is [4 x 2], expected [4 x 3]", ShapeError);
  prediction(2, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(eval::pearson_per_gene(context, prediction.view(), truth.view()),
                       "pearson_per_gene: prediction, column 1, entry 2 is not finite", ValueError);
  CHECK_THROWS_AS(eval::spearman_per_spot(context, prediction.view(), truth.view()), ValueError);
  CHECK_THROWS_AS(pearson({1, 2}, {1, 2, 3}), ShapeError);
}
