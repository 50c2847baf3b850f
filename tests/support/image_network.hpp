#pragma once

// What every image network must do.

#include <eosin/layers/batch_norm.hpp>
#include <eosin/vision/image_batch.hpp>

#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <string>

namespace eosin::testing {

/// A network of float or double with a batch of images.
template <class T, template <class...> class Network, class Options>
struct NetworkFixture {
  CpuContext context;
  Parameters<T> parameters;
  Network<T> network;
  typename Network<T>::Cache cache;
  Index images, height, width;
  Matrix<T> pixels, features, upstream, d_pixels;

  NetworkFixture(const Options& options, CpuOptions cpu, Index n = 2, Index h = 33, Index w = 36,
                 const std::string& prefix = "")
      : context(cpu),
        network(parameters, prefix, options),
        images(n),
        height(h),
        width(w),
        pixels(normal_matrix<T>(n * h * w, 3, 1)),
        features(n, network.channels()),
        upstream(normal_matrix<T>(n, network.channels(), 2)),
        d_pixels(n * h * w, 3) {
    parameters.allocate(context, 3);
    const auto noise = normal_matrix<T>(1, parameters.values().size(), 4, 0.05);
    for (const Segment& segment : parameters.segments())
      for (Index i = segment.offset; i < segment.offset + segment.size; ++i) parameters.values()[i] += noise(0, i);
  }
  double value() {
    network.forward(context, {pixels.view(), images, height, width}, features.view(), cache);
    double sum = 0;
    for (Index i = 0; i < features.size(); ++i)
      sum += static_cast<double>(features.data()[i]) * static_cast<double>(upstream.data()[i]);
    return sum;
  }
  void backward(layers::GradientMode mode) { network.backward(context, upstream, cache, mode, d_pixels.view()); }
};

/// Derivatives along a few random directions of all parameters and of the image, by differences so small that hardly a
/// kink lies between: the golden cases compare every entry.
template <class Fixture>
void check_directional_gradients(Fixture& f) {
  f.value();
  f.backward(layers::GradientMode::overwrite);
  const auto gradients = f.parameters.gradients();
  const auto check = [&](VectorView<double> x, VectorView<const double> gradient, std::uint64_t seed) {
    const auto direction = normal_matrix<double>(1, x.size(), seed);
    const auto start = [&] {
      Vector<double> copy(x.size());
      for (Index i = 0; i < x.size(); ++i) copy[i] = x[i];
      return copy;
    }();
    double want = 0, scale = 0;
    for (Index i = 0; i < x.size(); ++i) {
      want += gradient[i] * direction(0, i);
      scale += gradient[i] * gradient[i];
    }
    double position = 0;
    const double got = six_point_difference(
        position,
        [&] {
          for (Index i = 0; i < x.size(); ++i) x[i] = start[i] + position * direction(0, i);
          const double value = f.value();
          for (Index i = 0; i < x.size(); ++i) x[i] = start[i];
          return value;
        },
        1e-7);
    CHECK(std::abs(got - want) <= 1e-5 * std::sqrt(scale));
  };
  Vector<double> computed(gradients.size()), d_pixels(f.d_pixels.size());
  for (Index i = 0; i < gradients.size(); ++i) computed[i] = gradients[i];
  for (Index i = 0; i < d_pixels.size(); ++i) d_pixels[i] = f.d_pixels.data()[i];
  for (const std::uint64_t seed : {11u, 12u}) {
    check(f.pixels.flat(), std::as_const(d_pixels).view(), seed);
    // Padding between segments stays as it is: its gradient is zero.
    check(f.parameters.values(), std::as_const(computed).view(), seed);
  }
}

template <class Fixture>
void check_gradient_modes(Fixture& f) {
  const auto gradients = f.parameters.gradients();
  f.value();
  f.backward(layers::GradientMode::overwrite);
  Vector<double> once(gradients.size());
  for (Index i = 0; i < gradients.size(); ++i) once[i] = static_cast<double>(gradients[i]);
  const auto d_pixels = f.d_pixels;
  f.backward(layers::GradientMode::accumulate);
  for (Index i = 0; i < gradients.size(); ++i)
    REQUIRE(static_cast<double>(gradients[i]) == doctest::Approx(2 * once[i]).epsilon(1e-12));
  for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
  f.backward(layers::GradientMode::ignore);
  for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);
  CHECK(same_bits(f.d_pixels, d_pixels));
}

/// Features with and without a cache kept, and that backward then refuses.
template <class Fixture>
void check_forward_alone(Fixture& f) {
  f.network.set_mode(layers::BatchNormMode::evaluation);
  f.value();
  const auto features = f.features;
  f.network.forward(f.context, {f.pixels.view(), f.images, f.height, f.width}, f.features.view(), f.cache, false);
  CHECK(same_bits(f.features, features));
  CHECK_THROWS_AS(f.backward(layers::GradientMode::overwrite), ValueError);
}

template <class Fixture>
void check_same_bits(Fixture& one, Fixture& other) {
  for (auto* f : {&one, &other}) {
    f->value();
    f->backward(layers::GradientMode::overwrite);
  }
  CHECK(same_bits(one.features, other.features));
  CHECK(same_bits(one.d_pixels, other.d_pixels));
  CHECK(same_bits(one.parameters.gradients(), other.parameters.gradients()));
}

/// No image: zero gradients, nothing else.
template <class Fixture>
void check_no_images(Fixture& f) {
  for (Index i = 0; i < f.parameters.gradients().size(); ++i) f.parameters.gradients()[i] = 7;
  f.value();
  f.backward(layers::GradientMode::overwrite);
  for (const Segment& segment : f.parameters.segments())
    for (Index i = 0; i < segment.size; ++i) REQUIRE(f.parameters.gradients()[segment.offset + i] == 0);
}

/// Workspace and features of later steps: nothing grows.
template <class Fixture>
void check_steady(Fixture& f) {
  f.value();
  f.backward(layers::GradientMode::overwrite);
  const Index held = f.context.workspace().capacity();
  f.value();
  f.backward(layers::GradientMode::overwrite);
  CHECK(f.context.workspace().capacity() == held);
}

}  // namespace eosin::testing
