#include <eosin/losses/composition.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;
using losses::CompositionLoss;

namespace {

double loss_of(CompositionLoss kind, const Matrix<double>& p, const Matrix<double>& reference) {
  return losses::composition_loss<double>(kind, p.row(0), reference.row(0), 1, {});
}

}  // namespace

TEST_CASE("losses::composition_loss: values, with a reference on any scale") {
  Matrix<double> p(1, 4), q(1, 4);
  const double predicted[] = {0.1, 0.2, 0.3, 0.4}, reference[] = {6, 6, 0, 3};
  std::copy(std::begin(predicted), std::end(predicted), p.data());
  std::copy(std::begin(reference), std::end(reference), q.data());
  CHECK(loss_of(CompositionLoss::off, p, q) == 0);
  CHECK(loss_of(CompositionLoss::mean_squared_error, p, q) ==
        doctest::Approx((0.3 * 0.3 + 0.2 * 0.2 + 0.3 * 0.3 + 0.2 * 0.2) / 4));
  CHECK(loss_of(CompositionLoss::mean_absolute_error, p, q) == doctest::Approx((0.3 + 0.2 + 0.3 + 0.2) / 4));
  CHECK(loss_of(CompositionLoss::cross_entropy, p, q) ==
        doctest::Approx(-0.4 * std::log(0.1) - 0.4 * std::log(0.2) - 0.2 * std::log(0.4)));
  double sum = 0;
  for (const double x : predicted) sum += std::exp(x);
  CHECK(loss_of(CompositionLoss::cross_entropy_on_probabilities, p, q) ==
        doctest::Approx(-(0.4 * 0.1 + 0.4 * 0.2 + 0.2 * 0.4) + std::log(sum)));
}

TEST_CASE("losses::composition_loss: gradients by six-point differences, weighted and added") {
  auto p = testing::composition_matrix<double>(1, 6, 1);
  auto q = testing::composition_matrix<double>(1, 6, 2);
  for (Index c = 0; c < 6; ++c) q(0, c) *= 17;
  q(0, 4) = 0;
  for (const auto kind : {CompositionLoss::mean_squared_error, CompositionLoss::mean_absolute_error,
                          CompositionLoss::cross_entropy, CompositionLoss::cross_entropy_on_probabilities}) {
    CAPTURE(static_cast<int>(kind));
    Matrix<double> d(1, 6);
    losses::composition_loss<double>(kind, std::as_const(p).row(0), std::as_const(q).row(0), 3, d.row(0));
    const auto once = d;
    // The step stays well within the smallest probability, and within the kinks of |p - q|.
    CHECK(testing::gradient_error(p.flat(), once.flat(), [&] { return 3 * loss_of(kind, p, q); }, 2e-4) <=
          testing::gradient_tolerance);
    losses::composition_loss<double>(kind, std::as_const(p).row(0), std::as_const(q).row(0), 3, d.row(0));
    for (Index c = 0; c < 6; ++c) CHECK(d(0, c) == doctest::Approx(2 * once(0, c)).epsilon(1e-15));
  }
}

TEST_CASE("losses::composition_loss: |p - q| has slope 0 at 0") {
  const auto p = testing::composition_matrix<float>(1, 5, 1);
  Matrix<float> d(1, 5);
  Matrix<float> two(1, 2);
  two.fill(0.5f);
  losses::composition_loss<float>(CompositionLoss::mean_absolute_error, std::as_const(two).row(0),
                                  std::as_const(two).row(0), 1, d.row(0).segment(0, 2));
  CHECK((d(0, 0) == 0 && d(0, 1) == 0));
}

TEST_CASE("losses::composition_loss: a probability that underflowed gives a finite loss and gradient at any weight") {
  Matrix<float> p(1, 2), q(1, 2), d(1, 2);
  p(0, 0) = 1;
  q(0, 1) = 1;
  const double loss = losses::composition_loss<float>(CompositionLoss::cross_entropy, std::as_const(p).row(0),
                                                      std::as_const(q).row(0), 1e6f, d.row(0));
  CHECK(std::isfinite(loss));
  CHECK(loss > 80);
  CHECK((std::isfinite(d(0, 0)) && std::isfinite(d(0, 1))));
  CHECK(d(0, 1) < -1e37f);
}

TEST_CASE("losses::composition_loss: errors name what is wrong") {
  Matrix<double> p(1, 3), q(1, 3), other(1, 2);
  const auto run = [&](const Matrix<double>& reference) {
    loss_of(CompositionLoss::mean_squared_error, p, reference);
  };
  CHECK_THROWS_WITH_AS(run(other), "composition_loss: reference has 2 elements, expected 3 (cell types)", ShapeError);
  CHECK_THROWS_WITH_AS(run(q),
                       "composition_loss: the reference composition sums to 0.000000, expected a positive number",
                       ValueError);
  for (const double bad : {-1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    q(0, 1) = bad;
    CHECK_THROWS_AS(run(q), ValueError);
  }
}
