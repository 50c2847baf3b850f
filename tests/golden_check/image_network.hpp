#pragma once

// What the cases of image networks share: parameters and buffers from the case or from the rule of the irrational
// steps, images with their channels together, comparison of values, gradients and statistics.

#include <eosin/core/parameters.hpp>
#include <eosin/layers/batch_norm.hpp>
#include <eosin/vision/image_batch.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

#include <cmath>
#include <string>
#include <vector>

namespace eosin::testing {

/// Element i of tensor k of the rule, in [0, 1).
inline double irrational_step(Index i, Index k) {
  // Each product rounded on its own: contracted into one operation they would give other numbers.
  const volatile double a = static_cast<double>(i + 1) * 0.6180339887498949;
  const volatile double b = static_cast<double>(k + 1) * 0.7548776662466927;
  const double s = a + b;
  return s - std::floor(s);
}

/// Fills `values` with tensor k of the rule.
template <class T>
void fill_by_rule(const std::string& rule, const std::vector<Index>& shape, Index k, double gain,
                  VectorView<T> values) {
  double fan_in = 1;
  for (std::size_t d = 1; d < shape.size(); ++d) fan_in *= static_cast<double>(shape[d]);
  for (Index i = 0; i < values.size(); ++i) {
    const double u = irrational_step(i, k);
    double value = 0;
    if (rule == "weight") {
      value = 2 * (u - 0.5) * gain * std::sqrt(3 / fan_in);
    } else if (rule == "one") {
      value = 1 + 0.1 * (u - 0.5);
    } else if (rule == "small") {
      value = 0.1 * (u - 0.5);
    } else if (rule == "variance") {
      value = 1 + 0.5 * u;
    } else if (rule == "unit") {
      value = 2 * (u - 0.5);
    } else {
      throw Error("unknown rule " + rule);
    }
    values[i] = static_cast<T>(value);
  }
}

/// Fills parameters and buffers of a network from a case. Every tensor of the rule that the network has must have its
/// shape there, and the network may have none beyond them.
template <class T, class C>
void load_network(const GoldenCase& golden, C& context, Parameters<T, typename C::space>& parameters,
                  std::vector<layers::NamedBuffer<T, typename C::space>> buffers) {
  using Space = typename C::space;
  const auto load = [&](const std::string& name, VectorView<T, Space> values) {
    if (golden.at("param/" + name).size() != values.size())
      throw Error(golden.name + ": " + name + " has another size");
    place_parameters(context, golden.vector<T>("param/" + name), values);
  };
  if (golden.config.value("parameters", "") != "weyl") {
    for (std::size_t s = 0; s < parameters.segments().size(); ++s)
      load(parameters.segments()[s].name, parameters.value({s}));
    for (const auto& buffer : buffers) load(buffer.name, buffer.values);
    return;
  }
  const double gain = golden.config.at("gain").get<double>();
  std::size_t met = 0;
  Index k = 0;
  for (const auto& entry : golden.config.at("state_dict")) {
    const auto name = entry[0].get<std::string>();
    const auto shape = entry[1].get<std::vector<Index>>();
    const auto rule = entry[2].get<std::string>();
    if (rule == "integer") continue;
    VectorView<T, Space> values;
    if (parameters.contains(name)) {
      const auto id = parameters.find(name);
      if (parameters.segment(id).shape != shape) throw Error(golden.name + ": " + name + " has another shape");
      values = parameters.value(id);
    } else {
      for (const auto& buffer : buffers)
        if (buffer.name == name) values = buffer.values;
    }
    if (values.data() != nullptr) {
      Index size = 1;
      for (const Index extent : shape) size *= extent;
      if (size != values.size()) throw Error(golden.name + ": " + name + " has another size");
      Vector<T> host(size);
      fill_by_rule(rule, shape, k, gain, host.view());
      place_parameters(context, host, values);
      ++met;
    }
    ++k;
  }
  if (met != parameters.segments().size() + buffers.size())
    throw Error(golden.name + ": the network has tensors that the case does not list");
}

/// [n x channels x height x width] of a case as pixels.
template <class T>
Matrix<T> pixels_of(const GoldenTensor& tensor) {
  const Index n = tensor.shape[0], channels = tensor.shape[1], area = tensor.shape[2] * tensor.shape[3];
  Matrix<T> pixels(n * area, channels);
  for (Index i = 0; i < n; ++i)
    for (Index c = 0; c < channels; ++c)
      for (Index p = 0; p < area; ++p)
        pixels(i * area + p, c) =
            static_cast<T>(tensor.values[static_cast<std::size_t>((i * channels + c) * area + p)]);
  return pixels;
}

/// And back.
template <class T>
std::vector<double> planes_of(const Matrix<T>& pixels, Index images) {
  const Index area = pixels.rows() / images, channels = pixels.cols();
  std::vector<double> planes(static_cast<std::size_t>(pixels.size()));
  for (Index i = 0; i < images; ++i)
    for (Index c = 0; c < channels; ++c)
      for (Index p = 0; p < area; ++p)
        planes[static_cast<std::size_t>((i * channels + c) * area + p)] = static_cast<double>(pixels(i * area + p, c));
  return planes;
}

template <class T, class C, class Network>
void check_image_network(const GoldenCase& golden, Comparison& comparison, C& context, Network& network,
                         Parameters<T, typename C::space>& parameters) {
  using Space = typename C::space;
  parameters.allocate(context, 0);
  load_network<T>(golden, context, parameters, network.buffers());
  network.set_mode(golden.config.at("training").get<bool>() ? layers::BatchNormMode::training
                                                            : layers::BatchNormMode::evaluation);
  const auto& tensor = golden.at("in/image");
  const auto pixels = place(context, pixels_of<T>(tensor));
  const auto upstream = golden.matrix<T>("in/upstream");
  const Index images = tensor.shape[0];
  Matrix<T, Space> y(images, network.channels()), dx(pixels.rows(), pixels.cols());
  typename Network::Cache cache;
  network.forward(context, {pixels.view(), images, tensor.shape[2], tensor.shape[3]}, y.view(), cache);
  network.backward(context, place(context, upstream), cache, layers::GradientMode::overwrite, dx.view());
  const auto features = fetch(context, y);
  double loss = 0;
  for (Index i = 0; i < features.size(); ++i)
    loss += static_cast<double>(features.data()[i]) * static_cast<double>(upstream.data()[i]);
  comparison.check("loss", loss);
  comparison.check("out/features", features);
  for (const auto& buffer : network.buffers())
    comparison.check("out/buffer/" + buffer.name, fetch(context, buffer.values));
  comparison.check("grad/in/image", planes_of(fetch(context, dx), images));
  for (std::size_t s = 0; s < parameters.segments().size(); ++s)
    comparison.check("grad/param/" + parameters.segments()[s].name, fetch(context, parameters.gradient({s})));
  if (golden.config.contains("norms_of")) {
    std::vector<double> norms;
    for (const auto& name : golden.config["norms_of"]) {
      double sum = 0;
      const auto gradient = fetch(context, parameters.gradient(parameters.find(name.get<std::string>())));
      for (Index i = 0; i < gradient.size(); ++i)
        sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
      norms.push_back(std::sqrt(sum));
    }
    comparison.check("grad/norms", norms);
  }
}

}  // namespace eosin::testing
