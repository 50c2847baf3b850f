// Library sizes and scaled counts: every scale, a given library, profiles without counts, errors.

#include <eosin/ops/library_target.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using ops::LibraryScale;

namespace {

struct Result {
  Vector<double> libraries{2};
  Matrix<double> target{2, 3};
};

/// Counts 1, 0, 3 of the first profile, none of the second.
Result scaled(const ops::LibraryTargetOptions& options, double second = 0) {
  CpuContext context({.threads = 2});
  Matrix<double> counts(2, 3);
  counts(0, 0) = 1;
  counts(0, 2) = 3;
  counts(1, 1) = second;
  Result result;
  ops::library_target<double>(context, counts, options, result.libraries.view(), result.target.view());
  return result;
}

}  // namespace

TEST_CASE("ops::library_target: counts, library and shares") {
  const auto counts = scaled({LibraryScale::counts, {}});
  CHECK(counts.libraries[0] == 4);
  CHECK(counts.libraries[1] == 0);
  CHECK(counts.target(0, 2) == 3);
  const auto given = scaled({LibraryScale::counts, 100.0});
  CHECK(given.libraries[0] == 100);
  CHECK(given.libraries[1] == 0);
  CHECK(given.target(0, 2) == 3);
  const auto library = scaled({LibraryScale::library, 100.0});
  CHECK(library.target(0, 0) == 25);
  CHECK(library.target(0, 2) == 75);
  CHECK(library.target(1, 0) == 0);
  const auto shares = scaled({LibraryScale::shares, {}}, 2);
  CHECK(shares.target(0, 0) == 0.25);
  CHECK(shares.target(1, 1) == 1);
  CHECK(shares.libraries[1] == 2);
}

TEST_CASE("ops::library_target: errors name what is wrong") {
  CHECK_THROWS_WITH_AS(scaled({LibraryScale::shares, {}}), "library_target: an expression profile has no counts",
                       ValueError);
  CHECK_THROWS_WITH_AS(scaled({LibraryScale::counts, 0.0}), "library_target: the library is not positive", ValueError);
  CpuContext context({.threads = 1});
  const Matrix<float> counts(2, 3);
  Matrix<float> target(2, 2);
  Vector<float> libraries(2);
  CHECK_THROWS_WITH_AS(ops::library_target<float>(context, counts, {}, libraries.view(), target.view()),
                       "library_target: target is [2 x 2], expected [2 x 3]", ShapeError);
}
