#pragma once

#include <eosin/optim/adam.hpp>
#include <eosin/optim/clip.hpp>
#include <eosin/optim/schedule.hpp>
#include <eosin/optim/sgd.hpp>

#include "support/golden.hpp"
#include "support/place.hpp"

#include <string>
#include <variant>

namespace eosin::testing {

/// An optimiser with its clipping and schedule, as the `optimizer` object of a case describes it.
template <class T, class Space = Host>
class GoldenOptimizer {
 public:
  struct Step {
    double rate;
    double norm;
  };

  GoldenOptimizer(const nlohmann::json& config, const Parameters<T, Space>& parameters)
      : rate_(config.at("lr").get<double>()), optimizer_(make(config, parameters)) {
    if (config.contains("clip_norm") && !config["clip_norm"].is_null()) clip_ = config["clip_norm"].get<double>();
    const auto& schedule = config.at("schedule");
    const auto type = schedule.at("type").get<std::string>();
    if (type == "step") {
      schedule_.kind = optim::StepRate{schedule.at("step_size").get<Index>(), schedule.at("gamma").get<double>()};
    } else if (type == "cosine") {
      schedule_.kind = optim::CosineRate{schedule.at("T_max").get<Index>(), schedule.at("eta_min").get<double>()};
    } else if (type != "constant") {
      throw Error("unknown schedule " + type);
    }
  }

  template <class C>
  Step step(C& context, Parameters<T, Space>& parameters) {
    const double rate = schedule_(rate_, steps_++);
    const double norm = optim::gradient_norm<T>(context, std::as_const(parameters).gradients());
    const double scale = clip_ ? optim::clip_factor(norm, *clip_) : 1.0;
    std::visit([&](auto& optimizer) { optimizer.step(context, parameters, rate, scale); }, optimizer_);
    return {rate, norm};
  }

 private:
  using Optimizer = std::variant<optim::Adam<T, Space>, optim::Sgd<T, Space>>;

  static Optimizer make(const nlohmann::json& config, const Parameters<T, Space>& parameters) {
    const auto name = config.at("optimizer").get<std::string>();
    const double decay = config.at("weight_decay").get<double>();
    if (name == "sgd")
      return optim::Sgd<T, Space>(parameters, {.momentum = config.at("momentum").get<double>(),
                                               .dampening = config.at("dampening").get<double>(),
                                               .nesterov = config.at("nesterov").get<bool>(),
                                               .weight_decay = decay});
    if (name != "adam" && name != "adamw") throw Error("unknown optimizer " + name);
    return optim::Adam<T, Space>(
        parameters, {.beta1 = config.at("betas").at(0).get<double>(),
                     .beta2 = config.at("betas").at(1).get<double>(),
                     .eps = config.at("eps").get<double>(),
                     .weight_decay = decay,
                     .decay = name == "adamw" ? optim::WeightDecay::decoupled : optim::WeightDecay::coupled});
  }

  double rate_;
  Index steps_ = 0;
  std::optional<double> clip_;
  optim::Schedule schedule_;
  Optimizer optimizer_;
};

/// Copies the tensors PREFIX + NAME of a case into the segments of the same names.
template <class T, class Space>
void load_segments(const GoldenCase& golden, const std::string& prefix, const Parameters<T, Space>& layout,
                   VectorView<T> flat) {
  for (const auto& segment : layout.segments()) {
    const auto& tensor = golden.at(prefix + segment.name);
    if (tensor.shape != segment.shape) throw Error(golden.name + ": " + prefix + segment.name + " has another shape");
    for (Index i = 0; i < segment.size; ++i)
      flat[segment.offset + i] = static_cast<T>(tensor.values[static_cast<std::size_t>(i)]);
  }
}

/// Compares the segments with the tensors PREFIX + NAME.
template <class T, class Space>
void check_segments(Comparison& comparison, const std::string& prefix, const Parameters<T, Space>& layout,
                    VectorView<const T> flat) {
  for (const auto& segment : layout.segments())
    comparison.check(prefix + segment.name, flat.data() + segment.offset, segment.size);
}

template <class T, class C = CpuContext>
void check_optimizer(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  Parameters<T, Space> parameters;
  for (const auto& [name, tensor] : golden.tensors)
    if (name.rfind("param/", 0) == 0) parameters.add(name.substr(6), tensor.shape);
  parameters.allocate(context, 0);
  Vector<T> given(parameters.values().size());
  const auto load = [&](const std::string& prefix, VectorView<T, Space> to) {
    load_segments<T>(golden, prefix, parameters, given.view());
    place_parameters(context, given, to);
  };
  load("param/", parameters.values());
  GoldenOptimizer<T, Space> optimizer(golden.config, parameters);
  std::vector<double> rates, norms;
  const int steps = golden.config.at("steps").get<int>();
  for (int t = 1; t <= steps; ++t) {
    load("in/grad/" + std::to_string(t) + "/", parameters.gradients());
    const auto step = optimizer.step(context, parameters);
    rates.push_back(step.rate);
    norms.push_back(step.norm);
    const auto values = fetch(context, std::as_const(parameters).values());
    check_segments<T>(comparison, "step" + std::to_string(t) + "/param/", parameters, values.view());
  }
  comparison.check("out/lr", rates);
  comparison.check("out/grad_norm", norms);
}

}  // namespace eosin::testing
