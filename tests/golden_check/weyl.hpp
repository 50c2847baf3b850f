#pragma once

// Parameters that a case gives by a rule instead of storing them, and the norms that stand for tensors too large to
// store.

#include <eosin/core/parameters.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace eosin::testing {

/// Values of the tensors of `config.state_dict` by the rule "weyl": name -> (shape, values). Tensors of integers have
/// none and are left out.
inline std::map<std::string, GoldenTensor> weyl_parameters(const nlohmann::json& config) {
  std::map<std::string, GoldenTensor> result;
  const double gain = config.value("gain", 1.0);
  double k = 0;
  for (const auto& entry : config.at("state_dict")) {
    const auto rule = entry.at(2).get<std::string>();
    if (rule == "integer") continue;
    GoldenTensor tensor{entry.at(1).get<std::vector<Index>>(), {}};
    Index size = 1;
    for (const Index extent : tensor.shape) size *= extent;
    const double fan_in = static_cast<double>(size) / static_cast<double>(tensor.shape.at(0));
    k += 1;
    for (Index i = 0; i < size; ++i) {
      // Each product rounded on its own, which volatile keeps the compiler to.
      const volatile double a = static_cast<double>(i + 1) * 0.6180339887498949;
      const volatile double b = k * 0.7548776662466927;
      const double sum = a + b;
      const double u = sum - std::floor(sum);
      if (rule == "weight") {
        tensor.values.push_back(2 * (u - 0.5) * gain * std::sqrt(3 / fan_in));
      } else if (rule == "one") {
        tensor.values.push_back(1 + 0.1 * (u - 0.5));
      } else if (rule == "small") {
        tensor.values.push_back(0.1 * (u - 0.5));
      } else if (rule == "variance") {
        tensor.values.push_back(1 + 0.5 * u);
      } else if (rule == "unit") {
        tensor.values.push_back(2 * (u - 0.5));
      } else {
        throw Error("unknown rule " + rule);
      }
    }
    result.emplace(entry.at(0).get<std::string>(), std::move(tensor));
  }
  return result;
}

/// Fills the segments from `param/NAME` of the case, or by its rule.
template <class T, class C>
void load_parameters(C& context, const GoldenCase& golden, Parameters<T, typename C::space>& parameters) {
  Vector<T> values(parameters.values().size());
  const bool by_rule = golden.config.contains("parameters") && golden.config["parameters"] == "weyl";
  const auto rule = by_rule ? weyl_parameters(golden.config) : std::map<std::string, GoldenTensor>();
  for (const auto& segment : parameters.segments()) {
    if (by_rule && rule.count(segment.name) == 0) throw Error(golden.name + ": no rule for " + segment.name);
    const auto& tensor = by_rule ? rule.at(segment.name) : golden.at("param/" + segment.name);
    if (tensor.shape != segment.shape) throw Error(golden.name + ": " + segment.name + " has another shape");
    for (Index i = 0; i < segment.size; ++i)
      values[segment.offset + i] = static_cast<T>(tensor.values[static_cast<std::size_t>(i)]);
  }
  place_parameters(context, values, parameters.values());
}

/// L2 norms of the tensors of `config.norms_of` within a buffer laid out as `parameters`.
template <class T, class Space>
std::vector<double> norms_of(const GoldenCase& golden, const Parameters<T, Space>& parameters,
                             VectorView<const T> flat) {
  std::vector<double> norms;
  for (const auto& name : golden.config.at("norms_of")) {
    const Segment& segment = parameters.segment(parameters.find(name.get<std::string>()));
    double sum = 0;
    for (Index i = segment.offset; i < segment.offset + segment.size; ++i)
      sum += static_cast<double>(flat[i]) * static_cast<double>(flat[i]);
    norms.push_back(std::sqrt(sum));
  }
  return norms;
}

}  // namespace eosin::testing
