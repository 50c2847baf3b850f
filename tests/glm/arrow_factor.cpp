#include <eosin/glm/arrow_factor.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"

#include <cmath>
#include <utility>
#include <vector>

using namespace eosin;
using testing::DenseRegression;

namespace {

/// Groups of a model with their weights, and X'WX written out: types, then free columns.
struct Model {
  Index types, factors;
  std::vector<Index> slots, type, column;
  std::vector<double> weight;

  Index size() const {
    Index n = types;
    for (const Index slot : slots) n += slot >= 0;
    return n;
  }
  std::vector<Index> places(std::size_t k) const {
    std::vector<Index> result{type[k]};
    for (Index f = 0; f < factors; ++f) {
      const Index slot =
          slots[static_cast<std::size_t>(column[k * static_cast<std::size_t>(factors) + static_cast<std::size_t>(f)])];
      if (slot >= 0) result.push_back(types + slot);
    }
    return result;
  }
  std::vector<long double> dense() const {
    const auto n = static_cast<std::size_t>(size());
    std::vector<long double> matrix(n * n, 0.0L);
    for (std::size_t k = 0; k < type.size(); ++k)
      for (const Index a : places(k))
        for (const Index b : places(k))
          matrix[static_cast<std::size_t>(a) * n + static_cast<std::size_t>(b)] += weight[k];
    return matrix;
  }
};

void check(const Model& model) {
  const auto n = static_cast<std::size_t>(model.size()), types = static_cast<std::size_t>(model.types);
  glm::ArrowFactor factor;
  factor.reset(model.type, model.column, model.factors, model.slots, static_cast<Index>(n - types));
  REQUIRE(factor.factor(model.weight.data()));
  const auto dense = model.dense();
  const auto variance = [&](const std::vector<long double>& x) {
    const auto solved = DenseRegression::solve_with(dense, x);
    long double sum = 0.0L;
    for (std::size_t i = 0; i < n; ++i) sum += x[i] * solved[i];
    return static_cast<double>(sum);
  };
  const auto lower = DenseRegression::cholesky(dense);
  long double log_determinant = 0.0L;
  for (std::size_t i = 0; i < n; ++i) log_determinant += 2.0L * std::log(lower[i * n + i]);
  CHECK(factor.log_determinant() == doctest::Approx(static_cast<double>(log_determinant)).epsilon(1e-12));

  // X'g for a g over the groups.
  std::vector<double> g;
  std::vector<long double> right(n, 0.0L);
  for (std::size_t k = 0; k < model.type.size(); ++k) {
    g.push_back(std::sin(1.0 + 3.0 * static_cast<double>(k)));
    for (const Index place : model.places(k)) right[static_cast<std::size_t>(place)] += g.back();
  }
  std::vector<double> type_part(types), columns(model.slots.size());
  factor.solve(g.data(), type_part.data(), columns.data());
  const auto solution = DenseRegression::solve_with(dense, right);
  for (std::size_t t = 0; t < types; ++t)
    CHECK(type_part[t] == doctest::Approx(static_cast<double>(solution[t])).epsilon(1e-11));

  factor.invert();
  std::vector<double> shares(model.slots.size()), type_shares(types, 0.0);
  for (std::size_t c = 0; c < model.slots.size(); ++c) {
    shares[c] = 0.2 + 0.1 * static_cast<double>(c);
    const Index slot = model.slots[c];
    if (slot < 0) {
      CHECK(columns[c] == 0.0);
      CHECK(factor.variance_of_column(static_cast<Index>(c)) == 0.0);
      continue;
    }
    const std::size_t i = types + static_cast<std::size_t>(slot);
    CHECK(columns[c] == doctest::Approx(static_cast<double>(solution[i])).epsilon(1e-11));
    std::vector<long double> unit(n, 0.0L);
    unit[i] = 1.0L;
    CHECK(factor.variance_of_column(static_cast<Index>(c)) == doctest::Approx(variance(unit)).epsilon(1e-11));
  }
  std::vector<double> of_groups(model.type.size());
  factor.variances_of_groups(of_groups.data());
  for (std::size_t k = 0; k < model.type.size(); ++k) {
    std::vector<long double> x(n, 0.0L);
    for (const Index place : model.places(k)) x[static_cast<std::size_t>(place)] = 1.0L;
    CHECK(of_groups[k] == doctest::Approx(variance(x)).epsilon(1e-11));
  }
  std::vector<long double> with_shares(n, 0.0L), contrast(n, 0.0L), first(n, 0.0L);
  for (std::size_t c = 0; c < model.slots.size(); ++c)
    if (model.slots[c] >= 0) with_shares[types + static_cast<std::size_t>(model.slots[c])] = shares[c];
  contrast = with_shares;
  with_shares[1] = 1.0L;
  contrast[0] = type_shares[0] = 1.0;
  contrast[2] = type_shares[2] = -1.0;
  first[0] = 1.0L;
  CHECK(factor.variance(1, shares.data()) == doctest::Approx(variance(with_shares)).epsilon(1e-11));
  CHECK(factor.variance_of(type_shares.data(), shares.data()) == doctest::Approx(variance(contrast)).epsilon(1e-11));
  CHECK(factor.variance_of_type(0) == doctest::Approx(variance(first)).epsilon(1e-11));
  const auto column = DenseRegression::solve_with(dense, first);
  CHECK(factor.covariance_of_types(0, 2) == doctest::Approx(static_cast<double>(column[2])).epsilon(1e-11));
  CHECK(factor.covariance_of_types(0, 0) == doctest::Approx(static_cast<double>(column[0])).epsilon(1e-11));
}

}  // namespace

TEST_CASE("glm::ArrowFactor: one factor, against the dense matrix") {
  Model model{3, 1, {-1, 0, 1, 2}, {}, {}, {}};
  for (Index t = 0; t < 3; ++t)
    for (Index b = 0; b < 4; ++b) {
      if ((t + b) % 4 == 3) continue;
      model.type.push_back(t);
      model.column.push_back(b);
      model.weight.push_back(1.0 + static_cast<double>(t) + 0.3 * static_cast<double>(b * b));
    }
  check(model);
}

TEST_CASE("glm::ArrowFactor: three factors, against the dense matrix") {
  // Columns 0..2, 3..4 and 5..8; the reference of the last factor is not its first level.
  Model model{4, 3, {-1, 0, 1, -1, 2, 3, -1, 4, 5}, {}, {}, {}};
  for (Index t = 0; t < 4; ++t)
    for (Index i = 0; i < 24; ++i) {
      if ((t * 5 + i * 7) % 11 > 6) continue;
      model.type.push_back(t);
      for (const Index c : {i % 3, 3 + i / 3 % 2, 5 + i / 6}) model.column.push_back(c);
      model.weight.push_back(0.1 + static_cast<double>((i * i + 3 * t) % 17));
    }
  check(model);
}

TEST_CASE("glm::ArrowFactor: a batch that nothing links is singular") {
  const std::vector<Index> slots{-1, 0}, type{0, 1}, column{0, 1};
  const std::vector<double> weight{1.0, 1.0};
  glm::ArrowFactor factor;
  factor.reset(type, column, 1, slots, 1);
  CHECK_FALSE(factor.factor(weight.data()));
}
