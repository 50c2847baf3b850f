#include <eosin/losses/composition_pearson.hpp>
#include <eosin/losses/pearson.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace eosin;

namespace {

/// Compositions, prototypes that share most of their expression (as cell types do), and counts-like targets.
struct Problem {
  Matrix<double> composition, expression, target;

  Problem(Index rows, Index types, Index genes, double contrast = 1)
      : composition(testing::composition_matrix<double>(rows, types, 1)),
        expression(testing::normal_matrix<double>(types, genes, 2)),
        target(testing::normal_matrix<double>(rows, genes, 3)) {
    for (Index g = 0; g < genes; ++g) {
      const double level = 50 * std::exp(expression(0, g));
      for (Index c = 0; c < types; ++c) expression(c, g) = level * std::exp(contrast * expression(c, g));
    }
    for (Index i = 0; i < target.size(); ++i) target.data()[i] = std::floor(std::exp(2 + target.data()[i]));
  }
};

template <class T>
struct Result {
  double loss = 0;
  Matrix<T> correlation, d_composition, d_expression;
};

/// Value and gradients in T.
template <class T>
Result<T> by_composition(CpuContext& context, const Problem& problem, double weight = 1) {
  const auto p = testing::converted<T>(problem.composition), e = testing::converted<T>(problem.expression);
  const auto y = testing::converted<T>(problem.target);
  const auto target = losses::pearson_target<T>(context, y.view());
  Result<T> r{0, Matrix<T>(1, e.cols()), Matrix<T>(p.rows(), p.cols()), Matrix<T>(e.rows(), e.cols())};
  r.d_composition.fill(std::numeric_limits<T>::quiet_NaN());  // is overwritten
  losses::CompositionPearsonOptions<T> options{.weight = static_cast<T>(weight),
                                               .correlation = r.correlation.row(0),
                                               .d_composition = r.d_composition.view(),
                                               .d_expression = r.d_expression.view()};
  r.loss = losses::composition_pearson<T>(context, p, e, target, options);
  return r;
}

/// The same in double through the product P E; d_composition without its mean over types, which leads out of the
/// compositions.
Result<double> by_product(CpuContext& context, const Problem& problem, double weight = 1) {
  const auto& p = problem.composition;
  const auto& e = problem.expression;
  Matrix<double> product(p.rows(), e.cols()), gradient(p.rows(), e.cols());
  ops::gemm(context, Transpose::no, Transpose::no, 1, p, e, 0, product.view());
  Result<double> r{0, Matrix<double>(1, e.cols()), Matrix<double>(p.rows(), p.cols()),
                   Matrix<double>(e.rows(), e.cols())};
  losses::PearsonOptions<double> options{.weight = weight};
  options.correlation = r.correlation.row(0);
  options.gradient = gradient.view();
  r.loss = losses::pearson(context, product, problem.target, options);
  ops::gemm(context, Transpose::no, Transpose::yes, 1, gradient, e, 0, r.d_composition.view());
  ops::gemm(context, Transpose::yes, Transpose::no, 1, p, gradient, 0, r.d_expression.view());
  for (Index n = 0; n < p.rows(); ++n) {
    double mean = 0;
    for (Index c = 0; c < p.cols(); ++c) mean += r.d_composition(n, c) / static_cast<double>(p.cols());
    for (Index c = 0; c < p.cols(); ++c) r.d_composition(n, c) -= mean;
  }
  return r;
}

}  // namespace

TEST_CASE("losses::composition_pearson: equals the Pearson loss of the product P E") {
  CpuContext context({.threads = 2});
  for (const Index genes : {1, 7, 600}) {
    const Problem problem(60, 5, genes);
    const auto got = by_composition<double>(context, problem, 3);
    const auto want = by_product(context, problem, 3);
    CHECK(got.loss == doctest::Approx(want.loss).epsilon(1e-12));
    CHECK(testing::relative_difference(got.correlation, want.correlation) <= 1e-11);
    CHECK(testing::relative_difference(got.d_composition, want.d_composition) <= 1e-11);
    CHECK(testing::relative_difference(got.d_expression, want.d_expression) <= 1e-11);
  }
}

TEST_CASE("losses::composition_pearson: float keeps its digits where the prototypes hardly differ") {
  CpuContext context({.threads = 2});
  for (const double contrast : {1.0, 0.01}) {
    CAPTURE(contrast);
    Problem problem(200, 6, 300, contrast);
    // What float makes of the input is not the loss's doing.
    problem.composition = testing::converted<double>(testing::converted<float>(problem.composition));
    problem.expression = testing::converted<double>(testing::converted<float>(problem.expression));
    const auto want = by_product(context, problem);
    const auto got = by_composition<float>(context, problem);
    CHECK(std::abs(got.loss - want.loss) <= 1e-6);
    CHECK(testing::relative_difference(got.correlation, want.correlation) <= 2e-5);
    CHECK(testing::relative_difference(got.d_composition, want.d_composition) <= 2e-5);
    CHECK(testing::relative_difference(got.d_expression, want.d_expression) <= 2e-5);
  }
}

TEST_CASE("losses::composition_pearson: gradients by six-point differences") {
  CpuContext context({.threads = 2});
  auto p = testing::composition_matrix<double>(7, 4, 1);
  auto e = testing::normal_matrix<double>(4, 6, 2);
  const auto y = testing::normal_matrix<double>(7, 6, 3);
  const auto target = losses::pearson_target<double>(context, y.view());
  Matrix<double> dp(7, 4), de(4, 6);
  losses::CompositionPearsonOptions<double> options{
      .weight = 2, .d_composition = dp.view(), .d_expression = de.view()};
  losses::composition_pearson<double>(context, p, e, target, options);
  const auto value = [&] { return 2 * losses::composition_pearson<double>(context, p, e, target, {}); };
  // Compositions lie within 1: their differences vary on a smaller scale.
  CHECK(testing::gradient_error(p.flat(), std::as_const(dp).flat(), value, 2e-3) <= testing::gradient_tolerance);
  CHECK(testing::gradient_error(e.flat(), std::as_const(de).flat(), value) <= testing::gradient_tolerance);
  // d_expression is added to.
  const auto once = de;
  losses::composition_pearson<double>(context, p, e, target, options);
  for (Index i = 0; i < de.size(); ++i) CHECK(de.data()[i] == doctest::Approx(2 * once.data()[i]).epsilon(1e-14));
}

TEST_CASE_TEMPLATE("losses::composition_pearson: undefined correlations are 0 with gradient 0", T, float, double) {
  CpuContext context({.threads = 1});
  Problem problem(9, 3, 4);
  SUBCASE("constant target, and equal prototypes") {
    for (Index n = 0; n < 9; ++n) problem.target(n, 0) = 0.1;
    for (Index c = 0; c < 3; ++c) problem.expression(c, 2) = 0.3;
    const auto r = by_composition<T>(context, problem);
    for (const Index g : {0, 2}) {
      CHECK(r.correlation(0, g) == 0);
      for (Index c = 0; c < 3; ++c) CHECK(r.d_expression(c, g) == 0);
    }
    for (const Index g : {1, 3}) CHECK(r.correlation(0, g) != 0);
    // Of the sums 0.3 P 1 the product cannot tell that they are meant to be equal.
    const auto want = by_product(context, problem);
    CHECK(r.loss == doctest::Approx(-(want.correlation(0, 1) + want.correlation(0, 3)) / 4).epsilon(1e-6));
  }
  SUBCASE("equal compositions") {
    for (Index n = 0; n < 9; ++n)
      for (Index c = 0; c < 3; ++c) problem.composition(n, c) = problem.composition(0, c);
    const auto r = by_composition<T>(context, problem);
    CHECK(r.loss == 0);
    for (Index i = 0; i < r.d_composition.size(); ++i) CHECK(r.d_composition.data()[i] == 0);
    for (Index i = 0; i < r.d_expression.size(); ++i) CHECK(r.d_expression.data()[i] == 0);
  }
  SUBCASE("one patch") { CHECK(by_composition<T>(context, Problem(1, 3, 4)).loss == 0); }
  SUBCASE("no patch") { CHECK(by_composition<T>(context, Problem(0, 3, 4)).loss == 0); }
  SUBCASE("one type") { CHECK(by_composition<T>(context, Problem(9, 1, 4)).loss == 0); }
  SUBCASE("no gene") { CHECK(by_composition<T>(context, Problem(9, 3, 0)).loss == 0); }
}

TEST_CASE("losses::pearson_target: unit columns, constant ones marked") {
  CpuContext context({.threads = 1});
  auto y = testing::normal_matrix<double>(20, 70, 1, 2, 1e3);
  for (Index n = 0; n < 20; ++n) y(n, 66) = 0.1;
  const auto target = losses::pearson_target<double>(context, std::as_const(y).view());
  for (Index g = 0; g < 70; ++g) {
    double sum = 0, squares = 0;
    for (Index n = 0; n < 20; ++n) {
      sum += target.unit(n, g);
      squares += target.unit(n, g) * target.unit(n, g);
    }
    CHECK(static_cast<bool>(target.defined[static_cast<std::size_t>(g)]) == (g != 66));
    CHECK(std::abs(sum) <= 1e-11);
    CHECK(squares == doctest::Approx(g != 66 ? 1 : 0));
  }
}

TEST_CASE("losses::composition_pearson: the same bits on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const Problem problem(700, 6, 1100);
  const auto first = by_composition<float>(one, problem), second = by_composition<float>(three, problem);
  CHECK(first.loss == second.loss);
  CHECK(testing::same_bits(first.correlation, second.correlation));
  CHECK(testing::same_bits(first.d_composition, second.d_composition));
  CHECK(testing::same_bits(first.d_expression, second.d_expression));
}

TEST_CASE("losses::composition_pearson: errors name what is wrong") {
  CpuContext context({.threads = 1});
  Problem problem(5, 3, 4);
  const auto target = losses::pearson_target<double>(context, std::as_const(problem.target).view());
  Matrix<double> other(5, 4), correlation(1, 3);
  const auto run = [&](MatrixView<const double> p, MatrixView<const double> e,
                       const losses::CompositionPearsonOptions<double>& options = {}) {
    losses::composition_pearson<double>(context, p, e, target, options);
  };
  CHECK_THROWS_WITH_AS(run(other, problem.expression),
                       "composition_pearson: expression has 3 rows, expected 4 (columns of composition)", ShapeError);
  CHECK_THROWS_WITH_AS(run(problem.composition.view().middle_rows(0, 4), problem.expression),
                       "composition_pearson: target is [5 x 4], expected [4 x 4]", ShapeError);
  CHECK_THROWS_AS(run(problem.composition, problem.expression, {.correlation = correlation.row(0)}), ShapeError);
  CHECK_THROWS_AS(run(problem.composition, problem.expression, {.d_composition = other.view()}), ShapeError);
  CHECK_THROWS_AS(run(problem.composition, problem.expression, {.d_expression = other.view()}), ShapeError);
  CHECK_THROWS_WITH_AS(run(problem.composition.view().middle_cols(0, 0), problem.expression.view().middle_rows(0, 0)),
                       "composition_pearson: composition has no columns", ValueError);
}
