#include <eosin/core/random.hpp>
#include <eosin/eval/ridge.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;

namespace {

struct Section {
  Matrix<double> features;
  Matrix<double> expression;
  eval::ProbeSection<double> probe() const { return {features.view(), expression.view()}; }
};

// expression = 3 + features * weights + noise, features with offsets and scales of their own.
Section make_section(std::uint64_t seed, Index spots, Index dimensions, Index genes, double noise) {
  Section section{Matrix<double>(spots, dimensions), Matrix<double>(spots, genes)};
  RandomStream weights(99), random(seed);
  Matrix<double> w(dimensions, genes);
  for (double* value = w.data(); value != w.data() + w.size(); ++value) *value = weights.normal();
  for (Index s = 0; s < spots; ++s) {
    for (Index g = 0; g < genes; ++g) section.expression(s, g) = 3 + noise * random.normal();
    for (Index d = 0; d < dimensions; ++d) {
      const double z = random.normal();
      section.features(s, d) = 100.0 + static_cast<double>(d + 1) * z;
      for (Index g = 0; g < genes; ++g) section.expression(s, g) += z * w(d, g);
    }
  }
  return section;
}

std::vector<eval::ProbeSection<double>> probes(const std::vector<Section>& sections) {
  std::vector<eval::ProbeSection<double>> result;
  for (const auto& section : sections) result.push_back(section.probe());
  return result;
}

}  // namespace

TEST_CASE("ridge: the gradient of the penalised squared error vanishes, in primal and dual form") {
  CpuContext context({.threads = 2});
  for (const Index dimensions : {Index{7}, Index{60}}) {
    const Section section = make_section(1, 40, dimensions, 5, 0.5);
    const auto probe = section.probe();
    const double alpha = 3.0;
    const auto model = eval::fit_ridge(context, std::span(&probe, 1), alpha);
    const auto standardiser = data::Standardiser::fit(context, section.features.view());
    Matrix<double> z(40, dimensions), predicted(40, 5);
    standardiser.apply(context, section.features.view(), z.view());
    model.predict(context, section.features.view(), predicted.view());
    const RowMajor<double> residual = as_eigen(predicted.view()) - as_eigen(section.expression.view());
    const RowMajor<double> gradient = as_eigen(z.view()).transpose() * residual + alpha * model.weights();
    CHECK(gradient.cwiseAbs().maxCoeff() < 1e-10);
    // Unpenalised intercept: residuals have mean 0.
    CHECK(residual.colwise().mean().cwiseAbs().maxCoeff() < 1e-12);
  }
}

TEST_CASE("ridge: one feature by hand") {
  CpuContext context({.threads = 1});
  Matrix<float> x(4, 1), y(4, 1), predicted(1, 1), at(1, 1);
  for (Index i = 0; i < 4; ++i) {
    x(i, 0) = static_cast<float>(i < 2 ? -1 : 1);  // mean 0, deviation 1
    y(i, 0) = static_cast<float>(i < 2 ? 1 : 5);
  }
  at(0, 0) = 1;
  const eval::ProbeSection<float> probe{x.view(), y.view()};
  // w = sum z y / (n + alpha) = 8 / (4 + 4)
  const auto model = eval::fit_ridge(context, std::span(&probe, 1), 4.0);
  CHECK(model.weights()(0, 0) == doctest::Approx(1.0));
  model.predict(context, at.view(), predicted.view());
  CHECK(predicted(0, 0) == doctest::Approx(4.0));
}

TEST_CASE("ridge: alpha is chosen by the section left out") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const std::vector<Section> clean{make_section(1, 30, 10, 6, 0.01), make_section(2, 30, 10, 6, 0.01),
                                   make_section(3, 30, 10, 6, 0.01)};
  const std::vector<Section> noisy{make_section(1, 30, 10, 6, 60.0), make_section(2, 30, 10, 6, 60.0),
                                   make_section(3, 30, 10, 6, 60.0)};
  const eval::RidgeOptions options{.criterion = eval::RidgeCriterion::mean_squared_error};
  const auto easy = probes(clean), hard = probes(noisy);
  const auto small = eval::choose_ridge_alpha<double>(one, easy, options);
  const auto large = eval::choose_ridge_alpha<double>(one, hard, options);
  CHECK(small.candidates.size() == 13);
  CHECK(small.candidates.front().alpha == 1.0);
  CHECK(small.candidates.back().alpha == 1e4);
  CHECK(small.alpha == 1.0);
  CHECK(small.at_edge);
  CHECK(large.alpha >= 100.0);
  const auto by_pearson = eval::choose_ridge_alpha<double>(one, easy);
  CHECK(by_pearson.candidates.front().pearson_gene_mean > 0.99);

  const auto threaded = eval::choose_ridge_alpha<double>(three, hard, options);
  CHECK(threaded.alpha == large.alpha);
  for (std::size_t i = 0; i < large.candidates.size(); ++i) {
    CHECK(threaded.candidates[i].mean_squared_error == large.candidates[i].mean_squared_error);
    CHECK(threaded.candidates[i].pearson_gene_mean == large.candidates[i].pearson_gene_mean);
  }

  // The score of a candidate is that of models fitted without the section.
  double wanted = 0;
  for (std::size_t left_out = 0; left_out < 3; ++left_out) {
    auto rest = easy;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(left_out));
    const auto model = eval::fit_ridge<double>(one, rest, 10.0);
    Matrix<double> predicted(30, 6);
    model.predict(one, easy[left_out].features, predicted.view());
    wanted += eval::errors(one, predicted.view(), easy[left_out].expression).mse / 3;
  }
  const auto found = std::find_if(small.candidates.begin(), small.candidates.end(),
                                  [](const auto& c) { return std::abs(c.alpha - 10.0) < 1e-9; });
  REQUIRE(found != small.candidates.end());
  CHECK(found->mean_squared_error == doctest::Approx(wanted).epsilon(1e-10));
}

TEST_CASE("ridge: per-section standardisation takes out shifts between sections") {
  CpuContext context({.threads = 2});
  const Section training = make_section(1, 80, 5, 4, 0.01);
  Section test = make_section(2, 80, 5, 4, 0.01);
  for (double* value = test.features.data(); value != test.features.data() + test.features.size(); ++value)
    *value += 1000.0;
  const auto probe = training.probe();
  Matrix<double> by_training(80, 4), by_section(80, 4);
  eval::fit_ridge(context, std::span(&probe, 1), 1.0).predict(context, test.features.view(), by_training.view());
  eval::fit_ridge(context, std::span(&probe, 1), 1.0, eval::RidgeStandardisation::per_section)
      .predict(context, test.features.view(), by_section.view());
  const double shifted = eval::errors(context, by_training.view(), test.expression.view()).mse;
  const double aligned = eval::errors(context, by_section.view(), test.expression.view()).mse;
  CHECK(aligned < 0.5);
  CHECK(shifted > 100 * aligned);
}

TEST_CASE("ridge: constant and repeated features, HEST's rule") {
  CpuContext context({.threads = 2});
  CHECK(eval::hest_alpha(50, 4) == 0.5);
  Section section = make_section(1, 30, 6, 3, 0.1);
  for (Index s = 0; s < 30; ++s) {
    section.features(s, 2) = 0.1;
    section.features(s, 3) = section.features(s, 4);
  }
  const auto probe = section.probe();
  const auto model = eval::fit_ridge(context, std::span(&probe, 1), eval::hest_alpha(6, 3));
  CHECK(model.weights().row(2).cwiseAbs().maxCoeff() == 0.0);
  CHECK(model.weights()(3, 0) == doctest::Approx(model.weights()(4, 0)));
  CHECK(model.weights().allFinite());
}

TEST_CASE("ridge: bad input is named") {
  CpuContext context({.threads = 1});
  std::vector<Section> sections{make_section(1, 10, 4, 3, 0.1), make_section(2, 10, 5, 3, 0.1)};
  CHECK_THROWS_AS(eval::fit_ridge<double>(context, probes(sections), 1.0), ShapeError);
  CHECK_THROWS_AS(eval::choose_ridge_alpha<double>(context, probes(sections)), ShapeError);
  sections[1] = make_section(2, 10, 4, 3, 0.1);
  CHECK_THROWS_AS(eval::fit_ridge<double>(context, probes(sections), 0.0), ValueError);
  CHECK_THROWS_AS(eval::fit_ridge<double>(context, {}, 1.0), ValueError);
  const auto one = probes({sections[0]});
  CHECK_THROWS_AS(eval::choose_ridge_alpha<double>(context, one), ValueError);
  const auto model = eval::fit_ridge<double>(context, probes(sections), 1.0);
  sections[0].features(3, 2) = std::numeric_limits<double>::quiet_NaN();
  Matrix<double> predicted(10, 3);
  CHECK_THROWS_WITH_AS(model.predict(context, sections[0].features.view(), predicted.view()),
                       "RidgeModel::predict: features(3, 2) is not finite", ValueError);
  CHECK_THROWS_WITH_AS(eval::fit_ridge<double>(context, probes(sections), 1.0),
                       "Standardiser::fit: section 0, row 3, feature 2 is not finite", ValueError);
}
