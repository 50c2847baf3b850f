#include <eosin/core/random.hpp>
#include <eosin/data/normalisation.hpp>

#include "golden_check/normalization.hpp"
#include "support/golden.hpp"
#include "support/skip.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;

TEST_CASE("normalisation: golden cases in double and in float, dense and sparse") {
  using namespace eosin::testing;
  const auto cases = golden_cases("normalization");
  if (cases.empty()) EOSIN_SKIP("no golden cases of normalization");
  for (const auto& folder : cases) {
    const GoldenCase golden = load_golden(folder);
    Comparison in_double(golden, false), in_float(golden, true);
    check_normalization<double>(golden, in_double);
    check_normalization<float>(golden, in_float);
    CHECK_MESSAGE(in_double.ok(), golden.name, ": ", in_double.summary());
    CHECK_MESSAGE(in_float.ok(), golden.name, " (float): ", in_float.summary());
  }
}

namespace {

Matrix<float> small_counts() {
  Matrix<float> counts(3, 2);
  counts(0, 0) = 1;
  counts(0, 1) = 3;
  counts(2, 1) = 8;
  return counts;
}

}  // namespace

TEST_CASE("normalisation: targets and axes by hand") {
  CpuContext context({.threads = 1});
  const auto counts = small_counts();
  Matrix<double> out(3, 2);

  SUBCASE("median of positive totals, no logarithm") {
    const auto result = data::normalise(context, counts.view(), out.view(),
                                        {.target = data::MedianPositiveTarget{}, .log = data::LogTransform::none});
    CHECK(result.target_sum == 6.0);
    CHECK(out(0, 0) == 1.5);
    CHECK(out(0, 1) == 4.5);
    CHECK(out(1, 0) == 0.0);
    CHECK(out(2, 1) == 6.0);
  }
  SUBCASE("mean of totals counts the empty spot") {
    const auto result = data::normalise(context, counts.view(), out.view(),
                                        {.target = data::MeanTarget{}, .log = data::LogTransform::none});
    CHECK(result.target_sum == 4.0);
    CHECK(out(2, 1) == 4.0);
  }
  SUBCASE("gene axis") {
    const auto result = data::normalise(
        context, counts.view(), out.view(),
        {.axis = data::NormalisationAxis::gene, .target = data::NoTarget{}, .log = data::LogTransform::none});
    CHECK(result.totals.size() == 2);
    CHECK(out(0, 0) == 1.0);
    CHECK(out(0, 1) == doctest::Approx(3.0 / 11.0).epsilon(1e-15));
  }
  SUBCASE("library given, in place") {
    auto in_place = small_counts();
    Vector<double> library(3);
    library[0] = 10;
    library[2] = 16;
    data::normalise(context, in_place.view(), in_place.view(), {.target = 100.0, .log = data::LogTransform::log2},
                    library.view());
    CHECK(in_place(0, 0) == doctest::Approx(std::log2(11.0)));
    CHECK(in_place(2, 1) == doctest::Approx(std::log2(51.0)));
    CHECK(in_place(1, 0) == 0.0f);
  }
  SUBCASE("no counts at all") {
    const Matrix<float> none(2, 2);
    Matrix<float> zero(2, 2);
    CHECK(data::normalise(context, none.view(), zero.view(), {.target = data::MedianPositiveTarget{}}).target_sum ==
          1.0);
    for (const float value : std::vector<float>(zero.data(), zero.data() + zero.size())) CHECK(value == 0.0f);
  }
}

TEST_CASE("normalisation: results do not depend on threads; sparse equals dense bit for bit") {
  Matrix<float> counts(157, 203);
  RandomStream random(3);
  for (float* value = counts.data(); value != counts.data() + counts.size(); ++value)
    *value = static_cast<float>(random.poisson(0.7));
  std::vector<Triplet<float>> entries;
  for (Index r = 0; r < counts.rows(); ++r)
    for (Index c = 0; c < counts.cols(); ++c)
      if (counts(r, c) != 0) entries.push_back({r, c, counts(r, c)});
  const auto sparse = SparseMatrix<float>::from_triplets(counts.rows(), counts.cols(), entries);
  for (const auto axis : {data::NormalisationAxis::spot, data::NormalisationAxis::gene}) {
    Matrix<float> one(157, 203), three(157, 203), from_sparse(157, 203);
    CpuContext single({.threads = 1}), several({.threads = 3});
    data::normalise(single, counts.view(), one.view(), {.axis = axis});
    data::normalise(several, counts.view(), three.view(), {.axis = axis});
    data::normalise(several, sparse, from_sparse.view(), {.axis = axis});
    CHECK(std::equal(one.data(), one.data() + one.size(), three.data()));
    CHECK(std::equal(one.data(), one.data() + one.size(), from_sparse.data()));
  }
}

TEST_CASE("normalisation: bad input is named") {
  CpuContext context({.threads = 1});
  Matrix<float> out(3, 2);
  auto counts = small_counts();
  counts(1, 1) = -2;
  CHECK_THROWS_WITH_AS(data::normalise(context, counts.view(), out.view()),
                       "normalise: counts(1, 1) is negative or not finite", ValueError);
  counts(1, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(data::normalise(context, counts.view(), out.view()), ValueError);
  counts = small_counts();
  Matrix<float> narrow(3, 1);
  CHECK_THROWS_AS(data::normalise(context, counts.view(), narrow.view()), ShapeError);
  CHECK_THROWS_AS(data::normalise(context, counts.view(), out.view(), {.target = 0.0}), ValueError);
  CHECK_THROWS_AS(
      data::normalise(context, counts.view(), out.view(), {.log = data::LogTransform::log10, .pseudocount = 0.0}),
      ValueError);
  Vector<double> library(2);
  CHECK_THROWS_AS(data::normalise(context, counts.view(), out.view(), {}, library.view()), ShapeError);
}
