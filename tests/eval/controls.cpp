#include <eosin/core/random.hpp>
#include <eosin/eval/controls.hpp>
#include <eosin/eval/metrics.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

using namespace eosin;

TEST_CASE("controls: constant, fitted line and raw library size") {
  CpuContext context({.threads = 2});
  // expression of gene g = g + slope_g * log10(1 + library), exactly
  const double slope[] = {2.0, -1.0, 0.0};
  RandomStream random(4);
  const auto section = [&](Index spots, Matrix<double>& expression, Vector<double>& library) {
    expression = Matrix<double>(spots, 3);
    library = Vector<double>(spots);
    for (Index s = 0; s < spots; ++s) {
      library[s] = std::floor(random.uniform(50, 20000));
      for (Index g = 0; g < 3; ++g)
        expression(s, g) = static_cast<double>(g) + slope[g] * std::log10(1 + library[s]);
    }
  };
  Matrix<double> first, second, test;
  Vector<double> first_library, second_library, test_library;
  section(20, first, first_library);
  section(35, second, second_library);
  section(15, test, test_library);
  const std::vector<eval::ControlSection<double>> training{{first.view(), first_library.view()},
                                                           {second.view(), second_library.view()}};
  const auto controls = eval::expression_controls<double>(context, training, test_library.view());
  REQUIRE(controls.size() == 3);
  CHECK(std::string(controls[0].name) == "constant");
  CHECK_FALSE(controls[0].oracle);
  CHECK(controls[1].oracle);
  CHECK(controls[2].oracle);
  CHECK_FALSE(controls[2].has_scale);

  double mean = 0;
  for (Index s = 0; s < 20; ++s) mean += first(s, 0);
  for (Index s = 0; s < 35; ++s) mean += second(s, 0);
  CHECK(controls[0].prediction(7, 0) == doctest::Approx(mean / 55).epsilon(1e-14));
  CHECK(eval::errors(context, controls[1].prediction.view(), test.view()).mse < 1e-20);
  const auto raw = eval::pearson_per_gene(context, controls[2].prediction.view(), test.view());
  CHECK(raw[0].value == doctest::Approx(1.0));
  CHECK(raw[1].value == doctest::Approx(-1.0));
  const auto constant = eval::summarise(context, controls[0].prediction.view(), test.view());
  CHECK(constant.pearson_gene.undefined == 3);
  CHECK(constant.pearson_gene.mean == 0.0);
}

TEST_CASE("controls: equal library sizes give slope 0; bad input is named") {
  CpuContext context({.threads = 1});
  Matrix<float> expression(3, 2);
  expression(0, 0) = 3;
  Vector<double> library(3);
  library.fill(100);
  const std::vector<eval::ControlSection<float>> training{{expression.view(), library.view()}};
  const auto fit = eval::fit_library_size<float>(context, training);
  CHECK(fit.slope[0] == 0.0);
  CHECK(fit.intercept[0] == doctest::Approx(1.0));
  library[1] = -1;
  CHECK_THROWS_AS(eval::fit_library_size<float>(context, training), ValueError);
  const Vector<double> short_library(2);
  const std::vector<eval::ControlSection<float>> wrong{{expression.view(), short_library.view()}};
  CHECK_THROWS_AS(eval::fit_library_size<float>(context, wrong), ShapeError);
  CHECK_THROWS_AS(eval::training_mean<float>(context, {}), ValueError);
}
