#include <eosin/core/random.hpp>
#include <eosin/data/standardise.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;

TEST_CASE("standardise: fitted sections together have mean 0 and deviation 1") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  Matrix<float> first(50, 130), second(31, 130);
  RandomStream random(1);
  for (Matrix<float>* m : {&first, &second})
    for (Index r = 0; r < m->rows(); ++r)
      for (Index c = 0; c < m->cols(); ++c)
        (*m)(r, c) = c == 4 ? 0.1f : static_cast<float>(1e4 + static_cast<double>(c + 1) * random.normal());
  const std::vector<MatrixView<const float>> sections{first.view(), second.view()};
  const auto standardiser = data::Standardiser::fit<float>(one, sections);
  CHECK(standardiser.constant_features() == 1);
  Matrix<double> a(50, 130), b(31, 130);
  standardiser.apply(one, first.view(), a.view());
  standardiser.apply(one, second.view(), b.view());
  for (Index c = 0; c < 130; ++c) {
    double sum = 0, squares = 0;
    for (const Matrix<double>* m : {&a, &b})
      for (Index r = 0; r < m->rows(); ++r) {
        sum += (*m)(r, c);
        squares += (*m)(r, c) * (*m)(r, c);
      }
    CHECK(std::abs(sum) / 81 < 1e-10);
    CHECK(squares / 81 == doctest::Approx(c == 4 ? 0.0 : 1.0).epsilon(1e-10));
  }
  const auto threaded = data::Standardiser::fit<float>(three, sections);
  CHECK(std::equal(standardiser.mean().begin(), standardiser.mean().end(), threaded.mean().begin()));

  // A feature that was constant in training says nothing elsewhere.
  Matrix<float> other(1, 130), out(1, 130);
  other.fill(7.0f);
  standardiser.apply(one, other.view(), out.view());
  CHECK(out(0, 4) == 0.0f);
  CHECK(out(0, 5) != 0.0f);

  const data::Standardiser restored(standardiser.mean(), standardiser.inverse_deviation());
  CHECK(restored(7.0, 9) == standardiser(7.0, 9));
}

TEST_CASE("standardise: per section, in place") {
  CpuContext context({.threads = 2});
  Matrix<float> section(4, 2);
  for (Index r = 0; r < 4; ++r) section(r, 0) = static_cast<float>(r < 2 ? 10 : 14);
  data::standardise_per_section(context, section.view(), section.view());
  CHECK(section(0, 0) == -1.0f);
  CHECK(section(3, 0) == 1.0f);
  CHECK(section(3, 1) == 0.0f);
}

TEST_CASE("standardise: a constant feature is recognised by equal values") {
  CpuContext context({.threads = 1});
  for (Index rows = 1; rows < 40; ++rows) {
    Matrix<double> section(rows, 1);
    section.fill(0.1);
    CHECK(data::Standardiser::fit(context, section.view()).constant_features() == 1);
  }
}

TEST_CASE("standardise: bad input is named") {
  CpuContext context({.threads = 1});
  Matrix<double> a(3, 2), b(3, 3), out(3, 2);
  const std::vector<MatrixView<const double>> different{a.view(), b.view()};
  CHECK_THROWS_AS(data::Standardiser::fit<double>(context, different), ShapeError);
  CHECK_THROWS_AS(data::Standardiser::fit(context, std::span<const MatrixView<const double>>()), ValueError);
  const auto standardiser = data::Standardiser::fit(context, a.view());
  CHECK_THROWS_AS(standardiser.apply(context, b.view(), out.view()), ShapeError);
  a(2, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(data::Standardiser::fit(context, a.view()),
                       "Standardiser::fit: section 0, row 2, feature 1 is not finite", ValueError);
}
