#include <eosin/layers/batch_norm.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

using namespace eosin;
using layers::BatchNormMode;
using layers::GradientMode;

namespace {

template <class T>
struct Fixture {
  CpuContext context;
  Parameters<T> parameters;
  layers::BatchNorm<T> norm;
  typename layers::BatchNorm<T>::Cache cache;
  Matrix<T> x, upstream, y, dx;
  BatchNormMode mode;
  bool relu;

  Fixture(BatchNormMode m, bool with_relu, Index rows = 9, Index channels = 5, int threads = 2)
      : context({.threads = threads}),
        norm(parameters, "bn", channels),
        x(testing::normal_matrix<T>(rows, channels, 1, 2, 1)),
        upstream(testing::normal_matrix<T>(rows, channels, 2)),
        y(rows, channels),
        dx(rows, channels),
        mode(m),
        relu(with_relu) {
    parameters.allocate(context, 1);
    const auto noise = testing::normal_matrix<T>(4, channels, 3, 0.3);
    std::vector<layers::NamedBuffer<T>> buffers;
    norm.append_buffers(buffers);
    for (Index c = 0; c < channels; ++c) {
      parameters.value({0})[c] += noise(0, c);
      parameters.value({1})[c] += noise(1, c);
      buffers[0].values[c] += noise(2, c);
      buffers[1].values[c] += std::abs(noise(3, c));
    }
  }
  double value() {
    norm.forward(context, mode, x, y.view(), relu, cache);
    double sum = 0;
    for (Index i = 0; i < y.size(); ++i) sum += static_cast<double>(y.data()[i] * upstream.data()[i]);
    return sum;
  }
  void backward(GradientMode gradient) { norm.backward(context, mode, x, upstream, dx.view(), relu, cache, gradient); }
};

}  // namespace

TEST_CASE("layers::BatchNorm: gradients by six-point differences in each mode") {
  for (const auto mode : {BatchNormMode::training, BatchNormMode::evaluation}) {
    Fixture<double> f(mode, false);
    f.value();
    f.backward(GradientMode::overwrite);
    testing::check_parameter_gradients(f.parameters, [&] { return f.value(); });
    CHECK(testing::gradient_error(f.x.flat(), std::as_const(f.dx).flat(), [&] { return f.value(); }) <=
          testing::gradient_tolerance);
  }
}

TEST_CASE("layers::BatchNorm: with relu the gradient is that of the plain norm from the masked upstream") {
  for (const auto mode : {BatchNormMode::training, BatchNormMode::evaluation}) {
    Fixture<double> fused(mode, true), plain(mode, false);
    fused.value();
    plain.value();
    for (Index i = 0; i < plain.y.size(); ++i) {
      CHECK(fused.y.data()[i] == std::max(0.0, plain.y.data()[i]));
      if (plain.y.data()[i] <= 0) plain.upstream.data()[i] = 0;
    }
    fused.backward(GradientMode::overwrite);
    plain.backward(GradientMode::overwrite);
    CHECK(testing::same_bits(fused.dx, plain.dx));
    CHECK(testing::same_bits(fused.parameters.gradients(), plain.parameters.gradients()));
  }
}

TEST_CASE("layers::BatchNorm: the derivative of relu at 0 is 0") {
  Fixture<double> f(BatchNormMode::evaluation, true, 3, 2);
  for (Index i = 0; i < f.parameters.values().size(); ++i) f.parameters.values()[i] = 0;
  f.value();
  f.backward(GradientMode::overwrite);
  for (Index i = 0; i < f.dx.size(); ++i) CHECK(f.dx.data()[i] == 0);
  for (Index i = 0; i < f.parameters.gradients().size(); ++i) CHECK(f.parameters.gradients()[i] == 0);
}

TEST_CASE("layers::BatchNorm: running statistics move in training alone, with the unbiased variance") {
  Fixture<double> f(BatchNormMode::training, false, 4, 1);
  for (Index r = 0; r < 4; ++r) f.x(r, 0) = static_cast<double>(r);  // mean 1.5, variance 1.25, unbiased 5/3
  std::vector<layers::NamedBuffer<double>> buffers;
  f.norm.append_buffers(buffers);
  CHECK(buffers[0].name == "bn.running_mean");
  CHECK(buffers[1].name == "bn.running_var");
  const double mean = buffers[0].values[0], variance = buffers[1].values[0];
  f.mode = BatchNormMode::evaluation;
  f.value();
  CHECK(buffers[0].values[0] == mean);
  CHECK(buffers[1].values[0] == variance);
  f.mode = BatchNormMode::training;
  f.value();
  CHECK(buffers[0].values[0] == doctest::Approx(0.9 * mean + 0.15).epsilon(1e-14));
  CHECK(buffers[1].values[0] == doctest::Approx(0.9 * variance + 0.1 * 5 / 3).epsilon(1e-14));
}

TEST_CASE("layers::BatchNorm: frozen is evaluation with constant weight and bias; gradient modes") {
  Fixture<double> frozen(BatchNormMode::frozen, true), evaluation(BatchNormMode::evaluation, true);
  CHECK(frozen.value() == evaluation.value());
  frozen.backward(GradientMode::overwrite);
  evaluation.backward(GradientMode::overwrite);
  CHECK(testing::same_bits(frozen.dx, evaluation.dx));
  const Vector<double> once = [&] {
    Vector<double> copy(evaluation.parameters.gradients().size());
    for (Index i = 0; i < copy.size(); ++i) copy[i] = evaluation.parameters.gradients()[i];
    return copy;
  }();
  evaluation.backward(GradientMode::accumulate);
  evaluation.backward(GradientMode::ignore);
  for (Index i = 0; i < once.size(); ++i) {
    CHECK(frozen.parameters.gradients()[i] == 0);
    CHECK(evaluation.parameters.gradients()[i] == doctest::Approx(2 * once[i]).epsilon(1e-14));
  }
}

TEST_CASE("layers::BatchNorm: the same bits on any number of threads; one row; no rows") {
  Fixture<float> one(BatchNormMode::training, true, 3000, 37, 1), three(BatchNormMode::training, true, 3000, 37, 3);
  for (auto* f : {&one, &three}) {
    f->value();
    f->backward(GradientMode::overwrite);
  }
  CHECK(testing::same_bits(one.y, three.y));
  CHECK(testing::same_bits(one.dx, three.dx));
  CHECK(testing::same_bits(one.parameters.gradients(), three.parameters.gradients()));
  Fixture<double> single(BatchNormMode::training, false, 1);
  CHECK_THROWS_WITH_AS(single.value(), "BatchNorm: 'bn' has one value per channel, which training cannot normalise",
                       ValueError);
  Fixture<double> none(BatchNormMode::evaluation, false, 0);
  none.value();
  none.backward(GradientMode::overwrite);
  for (Index i = 0; i < none.parameters.gradients().size(); ++i) CHECK(none.parameters.gradients()[i] == 0);
}
