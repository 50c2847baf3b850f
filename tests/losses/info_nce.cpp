#include <eosin/losses/info_nce.hpp>

#include "golden_check/info_nce.hpp"
#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <eosin/core/sparse.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <utility>
#include <vector>

using namespace eosin;

namespace {

/// The formulas of the header, one number after the other.
double reference_loss(const Matrix<double>& spot, const Matrix<double>& image, const losses::InfoNceOptions& options,
                      double scale) {
  const Index n = spot.rows(), d = spot.cols();
  Matrix<double> logits(n, n), positive(n, n);
  const auto length = [&](const Matrix<double>& x, Index i) {
    double sum = 0;
    for (Index c = 0; c < d; ++c) sum += x(i, c) * x(i, c);
    return options.normalize ? std::max(std::sqrt(sum), 1e-12) : 1.0;
  };
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      for (Index c = 0; c < d; ++c) logits(i, j) += spot(i, c) * image(j, c);
      logits(i, j) *= scale / length(spot, i) / length(image, j);
    }
    positive(i, i) = 1;
    if (!options.positives.empty())
      for (Index k = options.positives.row_offsets[static_cast<std::size_t>(i)];
           k < options.positives.row_offsets[static_cast<std::size_t>(i) + 1]; ++k)
        positive(i, options.positives.columns[static_cast<std::size_t>(k)]) = 1;
  }
  double loss = 0;
  for (const bool transpose : {false, true}) {
    const auto at = [&](const Matrix<double>& m, Index i, Index j) { return transpose ? m(j, i) : m(i, j); };
    for (Index i = 0; i < n; ++i) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0, count = 0;
      for (Index j = 0; j < n; ++j) largest = std::max(largest, at(logits, i, j));
      for (Index j = 0; j < n; ++j) {
        sum += std::exp(at(logits, i, j) - largest);
        target += at(positive, i, j) * at(logits, i, j);
        count += at(positive, i, j);
      }
      const double weight = transpose ? options.image_weight : 1 - options.image_weight;
      loss += weight * (largest + std::log(sum) - target / count) / static_cast<double>(n);
    }
  }
  return loss;
}

/// Some images beside a spot's own; rows of different lengths, not symmetric, some naming the own image.
SparseMatrix<float> neighbours(Index n) {
  Matrix<float> mask(n, n);
  const Philox random(11);
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      mask(i, j) = random.uniform(static_cast<std::uint64_t>(i * n + j)) < 0.15 ? 1.0f : 0.0f;
  std::vector<Index> offsets{0};
  std::vector<std::int32_t> columns;
  std::vector<float> values;
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j)
      if (mask(i, j) != 0) {
        columns.push_back(static_cast<std::int32_t>(j));
        values.push_back(1);
      }
    offsets.push_back(static_cast<Index>(columns.size()));
  }
  return SparseMatrix<float>(n, n, offsets, columns, values);
}

}  // namespace

TEST_CASE("losses::info_nce: golden cases in double and in float") {
  const auto folders = testing::golden_cases("info_nce");
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? testing::check_info_nce<float>(golden, comparison) : testing::check_info_nce<double>(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

TEST_CASE("losses::info_nce: value against the formula, gradients by six-point differences") {
  CpuContext context({.threads = 2});
  const Index n = 37;
  const auto mask = neighbours(n);
  for (const bool normalize : {false, true})
    for (const bool positives : {false, true})
      for (const double weight : {0.5, 0.2, 1.0}) {
        CAPTURE(normalize);
        CAPTURE(positives);
        CAPTURE(weight);
        auto spot = testing::normal_matrix<double>(n, 5, 1, 0.7), image = testing::normal_matrix<double>(n, 5, 2, 0.7);
        Vector<double> log_scale(1);
        log_scale[0] = 0.4;
        losses::InfoNceOptions options{.normalize = normalize, .image_weight = weight};
        if (positives) options.positives = {mask.row_offsets(), mask.column_indices()};
        Matrix<double> d_spot(n, 5), d_image(n, 5);
        Vector<double> d_scale(1);
        const double loss = losses::info_nce<double>(context, spot, image, options, d_spot.view(), d_image.view(),
                                                     log_scale.data(), d_scale.data());
        const auto value = [&] { return losses::info_nce<double>(context, spot, image, options, log_scale.data()); };
        CHECK(loss == value());
        CHECK(loss == doctest::Approx(reference_loss(spot, image, options, std::exp(0.4))).epsilon(1e-13));
        CHECK(testing::gradient_error(spot.flat(), std::as_const(d_spot).flat(), value) <= testing::gradient_tolerance);
        CHECK(testing::gradient_error(image.flat(), std::as_const(d_image).flat(), value) <=
              testing::gradient_tolerance);
        CHECK(testing::gradient_error(log_scale.view(), std::as_const(d_scale).view(), value) <=
              testing::gradient_tolerance);
        // The temperature is the inverse of the scale; one gradient may be left out.
        options.temperature = std::exp(-0.4);
        Matrix<double> alone(n, 5);
        losses::info_nce<double>(context, spot, image, options, MatrixView<double>{}, alone.view());
        CHECK(testing::relative_difference(alone, d_image) < 1e-12);
      }
}

TEST_CASE("losses::info_nce: the value holds for every way in which products are cut") {
  for (const int threads : {1, 2, 3})
    for (const Index n : {63, 64, 130, 256, 257, 600})
      for (const Index d : {6, 33, 64}) {
        CAPTURE(threads);
        CAPTURE(n);
        CAPTURE(d);
        CpuContext context({.threads = threads});
        const auto spot = testing::normal_matrix<double>(n, d, 1), image = testing::normal_matrix<double>(n, d, 2);
        const losses::InfoNceOptions options{.temperature = 0.25, .normalize = true, .image_weight = 0.3};
        CHECK(losses::info_nce<double>(context, spot, image, options) ==
              doctest::Approx(reference_loss(spot, image, options, 4)).epsilon(1e-12));
      }
}

TEST_CASE("losses::info_nce: several blocks give what one product over all pairs gives") {
  CpuContext context({.threads = 2});
  // Two blocks and a remainder that is no multiple of anything; coordinates in one dimension make the sums checkable.
  const Index n = losses::detail::info_nce_block<double> + 77, d = 3;
  const auto spot = testing::normal_matrix<double>(n, d, 1), image = testing::normal_matrix<double>(n, d, 2);
  std::vector<Index> offsets(static_cast<std::size_t>(n) + 1);
  std::vector<std::int32_t> columns;
  for (Index i = 0; i < n; ++i) {
    columns.push_back(static_cast<std::int32_t>((i * 7919) % n));
    offsets[static_cast<std::size_t>(i) + 1] = i + 1;
  }
  const losses::InfoNceOptions options{.temperature = 0.8, .positives = {offsets, columns}};
  Matrix<double> d_spot(n, d), d_image(n, d);
  const double loss = losses::info_nce<double>(context, spot, image, options, d_spot.view(), d_image.view());

  Matrix<double> logits(n, n);
  losses::info_nce_logits<double>(context, spot, image, options, logits.view());
  Vector<double> rows(n), cols(n), row_count(n), col_count(n);
  for (Index i = 0; i < n; ++i) {
    const Index other = columns[static_cast<std::size_t>(i)];
    row_count[i] += 1;
    col_count[i] += 1;
    if (other != i) {
      row_count[i] += 1;
      col_count[other] += 1;
    }
    for (Index j = 0; j < n; ++j) {
      rows[i] += std::exp(logits(i, j));
      cols[j] += std::exp(logits(i, j));
    }
  }
  double want = 0;
  Matrix<double> want_spot(n, d), want_image(n, d);
  const double share = 0.5 / static_cast<double>(n);
  for (Index i = 0; i < n; ++i) {
    want += share * (std::log(rows[i]) + std::log(cols[i]));
    for (Index j = 0; j < n; ++j) {
      double g = share * (std::exp(logits(i, j)) / rows[i] + std::exp(logits(i, j)) / cols[j]);
      if (j == i || j == columns[static_cast<std::size_t>(i)]) {
        const double target = share * (1 / row_count[i] + 1 / col_count[j]);
        g -= target;
        want -= target * logits(i, j);
      }
      for (Index c = 0; c < d; ++c) {
        want_spot(i, c) += g * image(j, c) / 0.8;
        want_image(j, c) += g * spot(i, c) / 0.8;
      }
    }
  }
  CHECK(loss == doctest::Approx(want).epsilon(1e-12));
  CHECK(testing::relative_difference(d_spot, want_spot) < 1e-11);
  CHECK(testing::relative_difference(d_image, want_image) < 1e-11);
}

TEST_CASE("losses::info_nce: the same bits on any number of threads, without allocation after the first call") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const Index n = 1500, d = 20;
  const auto spot = testing::normal_matrix<float>(n, d, 1), image = testing::normal_matrix<float>(n, d, 2);
  const float log_scale = 0.3f;
  Matrix<float> s1(n, d), i1(n, d), s3(n, d), i3(n, d);
  float d1 = 0, d3 = 0;
  const losses::InfoNceOptions options{.normalize = true};
  const double first = losses::info_nce<float>(one, spot, image, options, s1.view(), i1.view(), &log_scale, &d1);
  const double second = losses::info_nce<float>(three, spot, image, options, s3.view(), i3.view(), &log_scale, &d3);
  CHECK(first == second);
  CHECK(d1 == d3);
  CHECK(testing::same_bits(s1, s3));
  CHECK(testing::same_bits(i1, i3));
  const Index held = three.workspace().capacity();
  losses::info_nce<float>(three, spot, image, options, s3.view(), i3.view(), &log_scale, &d3);
  CHECK(three.workspace().capacity() == held);
}

TEST_CASE("losses::info_nce: one pair gives exact zeros, no pairs nothing") {
  CpuContext context({.threads = 1});
  const auto spot = testing::normal_matrix<float>(1, 4, 1), image = testing::normal_matrix<float>(1, 4, 2);
  const float log_scale = 1.7f;
  float d_log_scale = 9;
  Matrix<float> d_spot(1, 4), d_image(1, 4);
  d_spot.fill(9);
  for (const double weight : {0.0, 0.3, 0.77}) {
    CHECK(losses::info_nce<float>(context, spot, image, {.image_weight = weight}, d_spot.view(), d_image.view(),
                                  &log_scale, &d_log_scale) == doctest::Approx(0).epsilon(1e-15));
    CHECK(d_log_scale == 0);
    for (Index c = 0; c < 4; ++c) CHECK((d_spot(0, c) == 0 && d_image(0, c) == 0));
  }
  const MatrixView<float> none(nullptr, 0, 4);
  CHECK(losses::info_nce<float>(context, none, none, {}, none, none) == 0);
}

TEST_CASE("losses::info_nce: arguments that do not fit are named") {
  CpuContext context({.threads = 1});
  Matrix<double> x(4, 3), y(5, 3), wrong(4, 2);
  const double scale = 1, huge = 1e4;
  double d_scale = 0;
  const auto call = [&](losses::InfoNceOptions options, const double* log_scale = nullptr, double* d = nullptr) {
    return losses::info_nce<double>(context, x, x, options, MatrixView<double>{}, MatrixView<double>{}, log_scale, d);
  };
  CHECK_THROWS_WITH_AS(losses::info_nce<double>(context, x, y), "info_nce: image is [5 x 3], expected [4 x 3]",
                       ShapeError);
  CHECK_THROWS_WITH_AS(losses::info_nce<double>(context, x, x, {}, wrong.view(), MatrixView<double>{}),
                       "info_nce: d_spot is [4 x 2], expected [4 x 3]", ShapeError);
  CHECK_THROWS_AS(call({.temperature = 0}), ValueError);
  CHECK_THROWS_AS(call({.temperature = std::numeric_limits<double>::quiet_NaN()}), ValueError);
  CHECK_THROWS_AS(call({.image_weight = 1.5}), ValueError);
  CHECK_THROWS_AS(call({}, &huge), ValueError);
  CHECK_THROWS_WITH_AS(call({}, nullptr, &d_scale), "info_nce: d_log_scale is given without log_scale", ValueError);
  CHECK_NOTHROW(call({}, &scale, &d_scale));
  const std::vector<Index> offsets{0, 1, 2, 3, 4}, short_offsets{0, 1, 4}, falling{0, 3, 2, 3, 4};
  const std::vector<std::int32_t> columns{0, 1, 2, 3}, outside{0, 1, 2, 4}, twice{1, 1, 2, 3};
  const std::vector<Index> pairs{0, 2, 2, 3, 4};
  CHECK_NOTHROW(call({.positives = {offsets, columns}}));
  CHECK_THROWS_AS(call({.positives = {short_offsets, columns}}), ShapeError);
  CHECK_THROWS_AS(call({.positives = {falling, columns}}), ValueError);
  CHECK_THROWS_AS(call({.positives = {offsets, outside}}), ValueError);
  CHECK_THROWS_AS(call({.positives = {pairs, twice}}), ValueError);
  x(2, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(call({}), ValueError);
  x(2, 1) = 1e200;
  CHECK_THROWS_AS(call({}), ValueError);
}
