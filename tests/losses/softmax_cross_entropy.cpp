#include <eosin/losses/softmax_cross_entropy.hpp>

#include "golden_check/softmax_cross_entropy.hpp"
#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <utility>

using namespace eosin;

TEST_CASE("losses::softmax_cross_entropy: golden cases in double and in float") {
  const auto folders = testing::golden_cases("softmax_cross_entropy");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_softmax_cross_entropy<float>(golden, comparison)
             : testing::check_softmax_cross_entropy<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

TEST_CASE("losses::softmax_cross_entropy: gradients by six-point differences for every target and reduction") {
  CpuContext context({.threads = 2});
  for (const Index classes : {1, 3, 40})
    for (const auto reduction : {losses::Reduction::mean, losses::Reduction::sum, losses::Reduction::none}) {
      auto logits = testing::normal_matrix<double>(9, classes, 1);
      auto targets = testing::composition_matrix<double>(9, classes, 2);
      for (Index c = 0; c < classes; ++c) targets(4, c) *= 0.5;  // rows need not sum to 1
      const auto weights = testing::normal_matrix<double>(1, 9, 3);
      Vector<Index> labels(9);
      for (Index i = 0; i < 9; ++i) labels[i] = (i * 7) % classes;
      Matrix<double> gradient(9, classes);
      losses::SoftmaxCrossEntropyOptions<double> options{.reduction = reduction, .weight = 1.5};
      if (reduction == losses::Reduction::none) options.row_weights = weights.flat();
      auto with_gradient = options;
      with_gradient.gradient = gradient.view();
      losses::softmax_cross_entropy<double>(context, logits, targets.view(), with_gradient);
      CHECK(testing::gradient_error(logits.flat(), std::as_const(gradient).flat(), [&] {
              return losses::softmax_cross_entropy<double>(context, logits, targets.view(), options);
            }) <= testing::gradient_tolerance);
      losses::softmax_cross_entropy<double>(context, logits, labels.view(), with_gradient);
      const auto by_label = [&] {
        return losses::softmax_cross_entropy<double>(context, logits, labels.view(), options);
      };
      CHECK(testing::gradient_error(logits.flat(), std::as_const(gradient).flat(), by_label) <=
            testing::gradient_tolerance);
    }
}

TEST_CASE("losses::softmax_cross_entropy: labels are probabilities of one; the gradient may replace the logits") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const Index rows = 700, classes = 130;
  auto logits = testing::normal_matrix<float>(rows, classes, 1, 3);
  Matrix<float> targets(rows, classes), gradient(rows, classes), in_place = logits;
  Vector<Index> labels(rows);
  for (Index i = 0; i < rows; ++i) {
    labels[i] = i % classes;
    targets(i, labels[i]) = 1;
  }
  losses::SoftmaxCrossEntropyOptions<float> options;
  options.gradient = gradient.view();
  const double by_label = losses::softmax_cross_entropy<float>(one, logits, labels.view(), options);
  options.gradient = in_place.view();
  const double by_target = losses::softmax_cross_entropy<float>(three, in_place, targets.view(), options);
  CHECK(by_label == by_target);
  CHECK(testing::same_bits(gradient, in_place));
}

TEST_CASE("losses::softmax_cross_entropy: a class that is impossible and not asked for takes no part") {
  CpuContext context({.threads = 1});
  Matrix<double> logits(1, 3), gradient(1, 3);
  logits(0, 1) = -std::numeric_limits<double>::infinity();
  Vector<Index> labels(1);
  losses::SoftmaxCrossEntropyOptions<double> options;
  options.gradient = gradient.view();
  CHECK(losses::softmax_cross_entropy<double>(context, logits, labels.view(), options) ==
        doctest::Approx(std::log(2.0)).epsilon(1e-15));
  CHECK(gradient(0, 0) == doctest::Approx(-0.5));
  CHECK(gradient(0, 1) == 0);
  // Asked for, it costs infinitely much.
  labels[0] = 1;
  CHECK(losses::softmax_cross_entropy<double>(context, logits, labels.view(), options) ==
        std::numeric_limits<double>::infinity());
}

TEST_CASE("losses::softmax_cross_entropy: arguments that do not fit are named") {
  CpuContext context({.threads = 1});
  Matrix<double> logits(3, 4), other(3, 5), targets(3, 4);
  Vector<Index> labels(3), few(2);
  losses::SoftmaxCrossEntropyOptions<double> options;
  const auto call = [&] { return losses::softmax_cross_entropy<double>(context, logits, labels.view(), options); };
  CHECK_THROWS_AS(losses::softmax_cross_entropy<double>(context, logits, few.view(), options), ShapeError);
  CHECK_THROWS_AS(losses::softmax_cross_entropy<double>(context, logits, other.view(), options), ShapeError);
  labels[1] = 4;
  CHECK_THROWS_WITH_AS(call(), "softmax_cross_entropy: label 4 of row 1 lies outside 4 classes", ValueError);
  labels[1] = 0;
  targets(2, 1) = -0.5;
  CHECK_THROWS_AS(losses::softmax_cross_entropy<double>(context, logits, targets.view(), options), ValueError);
  logits(2, 0) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH_AS(call(), "softmax_cross_entropy: the loss of row 2 is not a number", ValueError);
  options.gradient = other.view();
  CHECK_THROWS_AS(call(), ShapeError);
  options.gradient = {};
  options.reduction = losses::Reduction::none;
  CHECK_THROWS_AS(call(), ShapeError);
}
