// The negative binomial GLM on the device against the processor: designs with one factor and with several, genes that
// do not determine their coefficients, all ways to a dispersion, every kind of storage, memory of both kinds.

#include <eosin/glm/fit.hpp>

#include <eosin/core/random.hpp>

#include "support/cuda.hpp"
#include "support/message.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

using namespace eosin;
using namespace eosin::testing;
using glm::Categories, glm::CoxReid, glm::CoxReidPlugin, glm::Fixed, glm::FitStatus, glm::MaximumLikelihood,
    glm::Shrunken;

namespace {

struct Cells {
  std::vector<Index> type, batch, chip, site;
  std::vector<double> size_factors;

  glm::Design design() const { return glm::Design(Categories::from_codes(type), Categories::from_codes(batch)); }
  glm::Design design_with_covariates() const {
    return glm::Design(Categories::from_codes(type), Categories::from_codes(batch),
                       {{"chip", Categories::from_codes(chip)}, {"site", Categories::from_codes(site)}});
  }
};

/// Random labels, about a third of the pairs of type and batch being empty; size factors over a decade.
Cells random_cells(Index cells, Index types, Index batches, std::uint64_t seed) {
  RandomStream random(seed);
  Cells result;
  for (Index i = 0; i < cells; ++i) {
    Index t = random.below(types), b = random.below(batches);
    if (t != 0 && b != 0 && (t + 2 * b) % 3 == 0) b = 0;
    if (i < types) t = i, b = 0;
    if (i >= types && i < types + batches) t = 0, b = i - types;
    result.type.push_back(t);
    result.batch.push_back(b);
    result.chip.push_back(random.below(2));
    result.site.push_back(random.below(3));
    result.size_factors.push_back(std::pow(10.0, random.uniform() - 0.5));
  }
  return result;
}

/// Genes from hardly a count to many above 64, dispersions from none to large; gene 2 has no count, gene 3 counts in
/// one type alone, gene 4 one count.
Matrix<double> simulate(const Cells& cells, Index genes, double lowest, double highest, std::uint64_t seed) {
  RandomStream random(seed);
  Matrix<double> counts(genes, static_cast<Index>(cells.type.size()));
  for (Index g = 0; g < genes; ++g) {
    const double share = genes > 1 ? static_cast<double>(g) / static_cast<double>(genes - 1) : 0.5;
    const double level = lowest + (highest - lowest) * share,
                 phi = g % 4 == 0 ? 0.0 : std::pow(10.0, -2.0 + double(g % 3));
    std::vector<double> effect(100);
    for (double& e : effect) e = random.normal(0.0, 0.6);
    for (Index i = 0; i < counts.cols(); ++i) {
      const auto c = static_cast<std::size_t>(i);
      const double eta = level + effect[static_cast<std::size_t>(cells.type[c])] +
                         0.5 * effect[static_cast<std::size_t>(50 + cells.batch[c])] +
                         0.3 * static_cast<double>(cells.chip[c]) - 0.4 * static_cast<double>(cells.site[c]);
      const double y = static_cast<double>(random.negative_binomial(cells.size_factors[c] * std::exp(eta), phi));
      const bool counted = genes < 6 || (g == 2 ? false : g == 3 ? cells.type[c] == 1 : g == 4 ? i == 1 : true);
      counts(g, i) = !counted ? 0.0 : g == 4 ? 1.0 : y;
    }
  }
  return counts;
}

/// Largest difference, of numbers above 1 relative to them; infinite where what is not finite differs.
double difference(double a, double b) {
  if (std::isnan(a) && std::isnan(b)) return 0.0;
  if (!std::isfinite(a) || !std::isfinite(b)) return a == b ? 0.0 : std::numeric_limits<double>::infinity();
  return std::abs(a - b) / std::max(1.0, std::abs(b));
}
template <class Values>
double difference(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0.0;
  for (Index i = 0; i < a.size(); ++i) largest = std::max(largest, difference(a.data()[i], b.data()[i]));
  return largest;
}
double difference(const Vector<double>& a, const Vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0.0;
  for (Index i = 0; i < a.size(); ++i) largest = std::max(largest, difference(a[i], b[i]));
  return largest;
}

/// Coefficients are iterated to 1e-9 and one further step, dispersions to 1e-12 or, by Brent's method, 1e-10; errors
/// and deviances follow them: the saturated likelihood in the deviance changes with the dispersion to first order.
///
/// Likelihoods are differences of sums; `cancelled` is how much larger those are.
void check_same(const glm::FitResults& got, const glm::FitResults& expected, double cancelled = 1.0) {
  CHECK(difference(got.type_coefficients, expected.type_coefficients) < 1e-9);
  CHECK(difference(got.batch_coefficients, expected.batch_coefficients) < 1e-9);
  CHECK(difference(got.covariate_coefficients, expected.covariate_coefficients) < 1e-9);
  CHECK(difference(got.type_standard_errors, expected.type_standard_errors) < 1e-9);
  CHECK(difference(got.batch_standard_errors, expected.batch_standard_errors) < 1e-9);
  CHECK(difference(got.covariate_standard_errors, expected.covariate_standard_errors) < 1e-9);
  CHECK(difference(got.log_prototypes, expected.log_prototypes) < 1e-9);
  CHECK(difference(got.log_prototype_errors, expected.log_prototype_errors) < 1e-9);
  CHECK(difference(got.mean, expected.mean) == 0.0);
  CHECK(difference(got.dispersion, expected.dispersion) < 1e-9);
  CHECK(difference(got.gene_wise_dispersion, expected.gene_wise_dispersion) < 1e-9);
  CHECK(difference(got.dispersion_precision, expected.dispersion_precision) < 1e-4);
  CHECK(difference(got.deviance, expected.deviance) < cancelled * 1e-9);
  CHECK(difference(got.log_likelihood, expected.log_likelihood) < cancelled * 1e-12);
  CHECK(difference(got.size_factors, expected.size_factors) == 0.0);
  CHECK(difference(got.level_weights, expected.level_weights) == 0.0);
  CHECK(got.status == expected.status);
  CHECK(got.dispersion_status == expected.dispersion_status);
  CHECK(got.cells_used == expected.cells_used);
}
bool same_numbers(const glm::FitResults& a, const glm::FitResults& b) {
  return same_bits(a.type_coefficients, b.type_coefficients) && same_bits(a.log_prototypes, b.log_prototypes) &&
         same_bits(a.type_standard_errors, b.type_standard_errors) &&
         same_bits(a.log_prototype_errors, b.log_prototype_errors) &&
         same_bits(a.dispersion.view(), b.dispersion.view()) &&
         same_bits(a.dispersion_precision.view(), b.dispersion_precision.view()) &&
         same_bits(a.deviance.view(), b.deviance.view()) &&
         same_bits(a.log_likelihood.view(), b.log_likelihood.view()) && a.iterations == b.iterations;
}

}  // namespace

TEST_CASE("glm::fit: device and processor agree for designs with one factor and with several") {
  CpuContext cpu({.threads = 1});
  std::set<FitStatus> seen;
  std::set<glm::DispersionStatus> ways;
  struct Case {
    Index cells, types, batches, genes;
    bool covariates;
  };
  for (const Case& c : {Case{90, 1, 1, 7, false},
                        {230, 5, 1, 9, false},
                        {300, 6, 4, 17, false},
                        {420, 3, 37, 7, false},
                        {150, 41, 2, 7, false},
                        {400, 4, 3, 9, true}}) {
    if (!affordable(c.cells * c.genes)) continue;
    CAPTURE(c.types);
    CAPTURE(c.batches);
    CAPTURE(c.covariates);
    const Cells cells = random_cells(c.cells, c.types, c.batches, 3);
    const auto design = c.covariates ? cells.design_with_covariates() : cells.design();
    const auto counts = simulate(cells, c.genes, -4.0, 4.5, 5);
    const glm::FitOptions options{.size_factors = cells.size_factors};
    const auto expected = glm::fit(cpu, counts.view(), design, options);
    seen.insert(expected.status.begin(), expected.status.end());
    ways.insert(expected.dispersion_status.begin(), expected.dispersion_status.end());
    glm::FitResults first;
    in_every_order([&] {
      CudaContext gpu;
      auto got = glm::fit(gpu, counts.view(), design, options);
      check_same(got, expected);
      if (first.mean.size() > 0) CHECK(same_numbers(got, first));
      first = std::move(got);
    });
  }
#if !defined(EMULATION_THREAD_SANITIZER)
  CHECK(seen == std::set{FitStatus::no_counts, FitStatus::separated, FitStatus::converged});
  CHECK(ways.count(glm::DispersionStatus::maximum) + ways.count(glm::DispersionStatus::zero) == 2);
#endif
}

TEST_CASE("glm::fit: device and processor agree on genes whose counts fall apart") {
  // Two types and batches that only the first gene's counts link; the others are disconnected, separated, or of one
  // cell.
  const std::vector<Index> type{0, 0, 0, 1, 1, 1, 2, 2}, batch{0, 0, 1, 0, 1, 1, 2, 1};
  const glm::Design design(Categories::from_codes(type), Categories::from_codes(batch));
  Matrix<double> counts(6, 8);
  for (const auto& [gene, cell, count] :
       std::vector<std::array<Index, 3>>{{0, 0, 3},
                                         {0, 2, 1},
                                         {0, 3, 2},
                                         {0, 4, 5},
                                         {0, 6, 1},
                                         {0, 7, 2},  // all
                                         {1, 0, 4},
                                         {1, 4, 2},
                                         {1, 5, 1},  // type 0 in batch 0, type 1 in batch 1
                                         {2, 0, 1},
                                         {2, 6, 3},  // two parts
                                         {3, 7, 9},  // one cell
                                         {4, 0, 2},
                                         {4, 1, 2},
                                         {4, 3, 1},
                                         {4, 6, 70},
                                         {4, 7, 90}})
    counts(gene, cell) = static_cast<double>(count);
  CpuContext cpu({.threads = 1});
  for (const double weight : {0.0, 1.0}) {
    const glm::FitOptions options{.dispersion = Fixed{0.2},
                                  .size_factors = std::vector<double>{1, 2, 1, 0.5, 1, 1, 3, 1},
                                  .batch_weights = std::vector<double>{1.0, 2.0, weight}};
    const auto expected = glm::fit(cpu, counts.view(), design, options);
    const std::set<FitStatus> seen(expected.status.begin(), expected.status.end());
    CHECK(seen.count(FitStatus::disconnected) + seen.count(FitStatus::separated) == 2);
    in_every_order([&] {
      CudaContext gpu;
      check_same(glm::fit(gpu, counts.view(), design, options), expected);
    });
  }
}

TEST_CASE("glm::fit: device and processor agree for every way to a dispersion") {
  CpuContext cpu({.threads = 1});
  CudaContext gpu;
  const Cells cells = random_cells(200, 4, 3, 11);
  const auto design = cells.design();
  const Index genes = 11;
  const auto counts = simulate(cells, genes, -3.0, 5.0, 12);
  const auto shrink = [](const glm::GeneDispersions& own) {
    std::vector<double> result;
    for (Index g = 0; g < own.dispersion.size(); ++g) result.push_back(0.5 * own.dispersion[g] + 0.1 * own.mean[g]);
    return result;
  };
  std::vector<double> given;
  for (Index g = 0; g < genes; ++g) given.push_back(0.3 * static_cast<double>(g % 3));
  for (const glm::Dispersion& dispersion :
       {glm::Dispersion(CoxReid{1.0, 1e8}), glm::Dispersion(CoxReid{0.99, 0.05}), glm::Dispersion(MaximumLikelihood{}),
        glm::Dispersion(Fixed{0.0}), glm::Dispersion(Fixed{given}), glm::Dispersion(CoxReidPlugin{}),
        glm::Dispersion(Shrunken{shrink})}) {
    CAPTURE(dispersion.index());
    for (const bool standard_errors : {true, false}) {
      const glm::FitOptions options{
          .dispersion = dispersion, .size_factors = cells.size_factors, .standard_errors = standard_errors};
      check_same(glm::fit(gpu, counts.view(), design, options), glm::fit(cpu, counts.view(), design, options));
    }
  }
}

TEST_CASE("glm::fit on the device: groups of thousands of counts, counts to 10^6, an iteration that is cut short") {
  CpuContext cpu({.threads = 1});
  CudaContext gpu;
  const Cells cells = random_cells(affordable(6000) ? 6000 : 100, 2, 1, 21);
  const auto design = cells.design();
  const auto counts = simulate(cells, 3, 2.0, 12.0, 22);
  glm::FitOptions options{.size_factors = cells.size_factors};
  constexpr double cancelled = 1e4;
  check_same(glm::fit(gpu, counts.view(), design, options), glm::fit(cpu, counts.view(), design, options), cancelled);
  options.dispersion = Fixed{1.0};
  options.max_iterations = 2;
  const auto expected = glm::fit(cpu, counts.view(), design, options),
             got = glm::fit(gpu, counts.view(), design, options);
  CHECK(std::count(expected.status.begin(), expected.status.end(), FitStatus::iteration_limit) > 0);
  check_same(got, expected, cancelled);
}

TEST_CASE("glm::fit on the device: more groups than shared memory holds") {
  if (!affordable(6000)) return;
  CpuContext cpu({.threads = 1});
  CudaContext gpu;
  const Cells cells = random_cells(3000, 40, 33, 31);
  const auto design = cells.design();
  const auto counts = simulate(cells, 3, -1.0, 3.0, 32);
  const glm::FitOptions options{.size_factors = cells.size_factors};
  check_same(glm::fit(gpu, counts.view(), design, options), glm::fit(cpu, counts.view(), design, options));
}

TEST_CASE("glm::fit on the device: the same from rows, columns, dense and streamed counts, over several batches") {
  CpuContext cpu({.threads = 1});
  CudaContext gpu;
  const Cells cells = random_cells(60, 3, 2, 41);
  const auto design = cells.design();
  // Almost all genes are without counts; some on both sides of the first batch's end are not.
  const Index genes = 2053;
  const auto simulated = simulate(cells, 7, 0.0, 3.0, 42);
  Matrix<float> dense(genes, 60), turned(60, genes);
  std::vector<Index> rows;
  for (const auto& [from, gene] : std::vector<std::pair<Index, Index>>{{0, 0}, {5, 1}, {6, 2046}, {1, 2047}, {3, 2048}})
    for (Index i = 0; i < 60; ++i) turned(i, gene) = dense(gene, i) = static_cast<float>(simulated(from, i));
  const auto base = glm::fit(gpu, dense.view(), design);
  check_same(base, glm::fit(cpu, dense.view(), design));
  CHECK(same_numbers(base, glm::fit(gpu, turned.view(), design, {}, glm::Orientation::cells_by_genes)));
  const auto sparse = [](const Matrix<float>& matrix) {
    std::vector<Index> offsets{0};
    std::vector<std::int32_t> columns;
    std::vector<float> values;
    for (Index r = 0; r < matrix.rows(); ++r) {
      for (Index c = 0; c < matrix.cols(); ++c)
        if (matrix(r, c) != 0) {
          columns.push_back(static_cast<std::int32_t>(c));
          values.push_back(matrix(r, c));
        }
      offsets.push_back(static_cast<Index>(values.size()));
    }
    return SparseMatrix<float>(matrix.rows(), matrix.cols(), offsets, columns, values);
  };
  CHECK(same_numbers(base, glm::fit(gpu, sparse(dense), design)));
  CHECK(same_numbers(base, glm::fit(gpu, sparse(turned), design, {}, glm::Orientation::cells_by_genes)));
  std::vector<Index> progress;
  const auto source = glm::gene_blocks(dense.view());
  auto streamed = source;
  CHECK(same_numbers(
      base, glm::fit(gpu, streamed, design, {.progress = [&](Index done, Index) { progress.push_back(done); }})));
  CHECK(progress == std::vector<Index>{2048, 2053});
}

TEST_CASE("glm::fit on the device: what it refuses") {
  CudaContext gpu;
  const Cells cells = random_cells(30, 2, 2, 51);
  const auto design = cells.design();
  auto counts = simulate(cells, 2, 1.0, 2.0, 52);
  const auto refused = [&](const glm::FitOptions& options) {
    return message_of([&] { glm::fit(gpu, counts.view(), design, options); });
  };
  CHECK(refused({.inspect = [](Index, const glm::GeneFit&) {}}) ==
        "fit on a device: options.inspect is not covered: it is given the processor's solver");
  CHECK(refused({.dispersion = Fixed{-1.0}}) != "");
  std::stop_source stop;
  stop.request_stop();
  CHECK_THROWS_AS(glm::fit(gpu, counts.view(), design, {.cancellation = stop.get_token()}), Cancelled);
  counts(1, 7) = 0.5;
  CHECK(contains(refused({}), "0.5"));
  CHECK_THROWS_AS(glm::fit(gpu, Matrix<double>(2, 29).view(), design), ShapeError);
}
