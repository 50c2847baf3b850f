#include "common/calibration.hpp"

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE("SlopeFit: finds the slopes of exact lines, whatever the sections' levels") {
  const Index genes = 3;
  const double slope[] = {0.25, 1, 3};
  study::SlopeFit fit(genes);
  for (std::uint64_t section = 0; section < 3; ++section) {
    const Index spots = 5 + static_cast<Index>(section);
    const auto predicted = testing::normal_matrix<double>(spots, genes, section + 1);
    Matrix<double> measured(spots, genes);
    for (Index r = 0; r < spots; ++r)
      for (Index g = 0; g < genes; ++g)
        measured(r, g) = 10 * static_cast<double>(section) + static_cast<double>(g) + slope[g] * predicted(r, g);
    fit.add<double>(predicted.view(), std::as_const(measured).view());
  }
  const auto slopes = fit.slopes();
  for (Index g = 0; g < genes; ++g) CHECK(slopes[g] == doctest::Approx(slope[g]).epsilon(1e-12));
}

TEST_CASE("SlopeFit: least squares of measured on predicted, not the other way round") {
  Matrix<double> predicted(4, 1);
  Matrix<float> measured(4, 1);
  for (Index r = 0; r < 4; ++r) {
    predicted(r, 0) = static_cast<double>(r);   // 0 1 2 3
    measured(r, 0) = r % 2 == 0 ? 0.0f : 3.0f;  // 0 3 0 3
  }
  study::SlopeFit fit(1);
  fit.add<float>(std::as_const(predicted).view(), std::as_const(measured).view());
  CHECK(fit.slopes()[0] == doctest::Approx(0.6));  // 3 over 5
}

TEST_CASE("SlopeFit: no slope below a thousandth") {
  study::SlopeFit fit(3);
  CHECK(fit.slopes()[0] == 1e-3);  // no section yet
  Matrix<double> predicted(3, 3);
  Matrix<float> measured(3, 3);
  for (Index r = 0; r < 3; ++r) {
    predicted(r, 0) = static_cast<double>(r);
    measured(r, 0) = -static_cast<float>(r);  // falls where it was predicted to rise
    predicted(r, 1) = 2;                      // no difference predicted
    measured(r, 1) = static_cast<float>(r);
    predicted(r, 2) = static_cast<double>(r);
    measured(r, 2) = 1;                       // none measured
  }
  fit.add<float>(std::as_const(predicted).view(), std::as_const(measured).view());
  const auto slopes = fit.slopes();
  for (Index g = 0; g < 3; ++g) CHECK(slopes[g] == 1e-3);
}

TEST_CASE("SlopeFit: a section of another shape is an error") {
  study::SlopeFit fit(2);
  const Matrix<double> predicted(3, 2);
  const Matrix<float> narrow(3, 1), few(2, 2);
  CHECK_THROWS_AS(fit.add<float>(predicted.view(), narrow.view()), ShapeError);
  CHECK_THROWS_AS(fit.add<float>(predicted.view(), few.view()), ShapeError);
}
