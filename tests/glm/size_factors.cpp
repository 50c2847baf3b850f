#include <eosin/glm/size_factors.hpp>

#include <doctest/doctest.h>

#include "support/message.hpp"

using namespace eosin;
using glm::SizeFactorMethod;

namespace {
// Genes x cells; the last cell has no counts.
const SparseMatrix<int> counts = SparseMatrix<int>::from_triplets(2, 3, {{0, 0, 4}, {0, 1, 1}, {1, 0, 4}, {1, 1, 1}});
}  // namespace

TEST_CASE("glm::size_factors: totals over their geometric mean") {
  auto source = glm::gene_blocks(counts);
  const auto total = glm::size_factors(source, SizeFactorMethod::total);
  CHECK(total[0] == doctest::Approx(2.0));
  CHECK(total[1] == doctest::Approx(0.5));
  CHECK(total[2] == 0.0);
  const auto normed = glm::size_factors(source, SizeFactorMethod::normed_sum);
  CHECK(normed[0] == doctest::Approx(2.0));
  CHECK(normed[2] == 0.001);
}

TEST_CASE("glm::size_factors: poscounts is the median ratio to the genes' means") {
  // Gene 0: cells 8, 1, 2; gene 1: 8, 1, -; gene 2: 2, 4, -. m = 16^(1/3), 8^(1/3), 8^(1/3).
  const auto three = SparseMatrix<int>::from_triplets(
      3, 3, {{0, 0, 8}, {0, 1, 1}, {0, 2, 2}, {1, 0, 8}, {1, 1, 1}, {2, 0, 2}, {2, 1, 4}});
  auto source = glm::gene_blocks(three);
  const auto s = glm::size_factors(source, SizeFactorMethod::poscounts);
  const double m = std::cbrt(16.0);
  const double first = 8.0 / m, second = 0.5, third = 2.0 / m;  // medians of {8/m, 4, 1}, {1/m, .5, 2}, {2/m}
  const double mean = std::cbrt(first * second * third);
  CHECK(s[0] == doctest::Approx(first / mean));
  CHECK(s[1] == doctest::Approx(second / mean));
  CHECK(s[2] == doctest::Approx(third / mean));
}

TEST_CASE("glm::size_factors: given ones are taken as they are; no counts at all are refused") {
  auto source = glm::gene_blocks(counts);
  const auto s = glm::size_factors(source, glm::SizeFactors(std::vector<double>{1.0, 2.0, 3.0}));
  CHECK(s[2] == 3.0);
  CHECK_THROWS_AS(glm::size_factors(source, glm::SizeFactors(std::vector<double>{1.0})), ShapeError);
  const SparseMatrix<int> none(2, 3);
  auto empty = glm::gene_blocks(none);
  CHECK_THROWS_AS(glm::size_factors(empty, SizeFactorMethod::total), ValueError);
}
