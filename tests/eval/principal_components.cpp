#include <eosin/eval/principal_components.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

using namespace eosin;

namespace {

Matrix<double> sample() {
  Matrix<double> x(9, 4);
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 4; ++j)
      x(i, j) = static_cast<double>((i * 37 + j * 11 + i * j * j) % 23) / 7.0 + static_cast<double>(j * i % 3);
  return x;
}

Matrix<double> transposed(const Matrix<double>& x) {
  Matrix<double> t(x.cols(), x.rows());
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) t(j, i) = x(i, j);
  return t;
}

void check_row(VectorView<const double> got, const std::vector<double>& want) {
  REQUIRE(got.size() == static_cast<Index>(want.size()));
  for (Index i = 0; i < got.size(); ++i)
    CHECK(got[i] == doctest::Approx(want[static_cast<std::size_t>(i)]).epsilon(1e-10).scale(1));
}

}  // namespace

TEST_CASE("eval::principal_components: scikit-learn's figures, signs included") {
  CpuContext context({.threads = 2});
  // scikit-learn 1.9.1, PCA(3, svd_solver='full').
  const auto tall = eval::principal_components(context, sample().view(), 3);
  check_row(tall.components.row(0), {-0.2844415554714144, 0.9416917966147674, 0.17974860697500233, 0});
  check_row(tall.components.row(1), {-0.6287685826116827, -0.3247808992406452, 0.7065178249760821, 0});
  check_row(tall.components.row(2), {0.7237009541526789, 0.08794275227038056, 0.6844874003819299, 0});
  check_row(tall.variances.view(), {2.466370533212773, 1.7726555404321318, 0.44351360889477603});
  check_row(tall.scores.row(0), {-0.2846480390563615, 1.4415229193766095, -0.8334282734917822});
  check_row(tall.scores.row(8), {1.2018986690153914, -2.245818078847209, 0.49515135113271924});
  const auto wide = eval::principal_components(context, transposed(sample()).view(), 3);
  check_row(wide.variances.view(), {8.873778202370225, 4.87929878174852, 0.9118890022758143});
  check_row(wide.components.row(0),
            {0.3731542791778315, 0.2347963034967702, 0.48728321351585857, -0.21043006248202584, 0.07627054510826264,
             0.6668788510088327, -0.030834424989051736, 0.2558661826012368, 0.0832945093489753});
  check_row(wide.scores.row(2), {2.7395086836125984, -2.4814126570664703, 0.36024329903022423});
}

TEST_CASE("eval::principal_components: directions that are not there are not returned") {
  CpuContext context({.threads = 1});
  // Four points on a line, shifted far from 0; wide and tall.
  for (const Index d : {2, 30}) {
    Matrix<double> x(4, d);
    for (Index i = 0; i < 4; ++i)
      for (Index j = 0; j < d; ++j) x(i, j) = 100 + static_cast<double>(i * (j + 1));
    const auto found = eval::principal_components(context, x.view(), 3);
    CHECK(found.variances.size() == 1);
    CHECK(found.components(0, d - 1) > 0);
    CHECK(found.variances[0] == doctest::Approx(found.total_variance).epsilon(1e-12));
    CHECK(found.means[0] == doctest::Approx(101.5));
  }
  Matrix<double> constant(5, 3);
  constant.fill(2);
  CHECK(eval::principal_components(context, constant.view(), 2).variances.empty());
}

TEST_CASE("eval::principal_components: scores of all components keep distances; the same on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto x = testing::normal_matrix<float>(300, 200, 1);
  const auto a = eval::principal_components(one, x.view(), 200);
  const auto b = eval::principal_components(three, x.view(), 200);
  CHECK(testing::same_bits(a.scores, b.scores));
  REQUIRE(a.variances.size() == 200);
  double distance = 0, kept = 0, variance = 0;
  for (Index j = 0; j < 200; ++j) {
    distance += std::pow(static_cast<double>(x(3, j)) - static_cast<double>(x(7, j)), 2);
    kept += std::pow(a.scores(3, j) - a.scores(7, j), 2);
    variance += a.variances[j];
    if (j > 0) CHECK(a.variances[j] <= a.variances[j - 1]);
  }
  CHECK(kept == doctest::Approx(distance).epsilon(1e-12));
  CHECK(variance == doctest::Approx(a.total_variance).epsilon(1e-12));
}

TEST_CASE("eval::principal_components: refusals") {
  CpuContext context({.threads = 1});
  auto x = testing::normal_matrix<double>(4, 3, 1);
  CHECK_THROWS_AS(eval::principal_components(context, x.view(), 0), ValueError);
  CHECK_THROWS_AS(eval::principal_components(context, x.view().middle_rows(0, 1), 1), ValueError);
  x(2, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(eval::principal_components(context, x.view(), 1), "principal_components: x(2, 1) is not finite",
                       ValueError);
}
