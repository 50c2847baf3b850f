#pragma once

// What the slide and patch cases of CPNN share: the model from a case's config, and its training trajectory.

#include "cpnn/model.hpp"
#include "golden_check/optimizer.hpp"
#include "support/golden.hpp"

#include <map>
#include <string>

namespace eosin::testing {

template <class Value>
Value choice(const nlohmann::json& config, const char* key, const std::map<std::string, Value>& values) {
  const auto name = config.at(key).get<std::string>();
  const auto found = values.find(name);
  if (found == values.end()) throw Error(std::string("config ") + key + ": unknown value " + name);
  return found->second;
}

inline cpnn::ModelOptions cpnn_options(const nlohmann::json& config) {
  cpnn::ModelOptions options;
  options.projector = choice<cpnn::Projector>(
      config, "projector",
      {{"mlp", cpnn::Projector::mlp}, {"adapter", cpnn::Projector::adapter}, {"linear", cpnn::Projector::linear}});
  options.inputs = config.at("input_dim").get<Index>();
  options.hidden = config.at("hidden_dims").get<std::vector<Index>>();
  options.types = config.at("cell_types").get<Index>();
  options.genes = config.at("genes").get<Index>();
  options.prototypes = choice<cpnn::Prototypes>(
      config, "prototypes", {{"trained", cpnn::Prototypes::trained}, {"static", cpnn::Prototypes::fixed}});
  options.correction = choice<bool>(config, "correction", {{"alpha_beta", true}, {"off", false}});
  using losses::PrototypeLoss;
  options.prototype_regulariser = choice<PrototypeLoss>(config, "prototype_regulariser",
                                                        {{"softmax_mse", PrototypeLoss::softmax_mse},
                                                         {"exp_mse", PrototypeLoss::exp_mse},
                                                         {"pearson", PrototypeLoss::pearson},
                                                         {"off", PrototypeLoss::off}});
  using losses::CompositionLoss;
  options.composition_regulariser = choice<CompositionLoss>(config, "composition_regulariser",
                                                            {{"mse", CompositionLoss::mean_squared_error},
                                                             {"mae", CompositionLoss::mean_absolute_error},
                                                             {"cross_entropy", CompositionLoss::cross_entropy},
                                                             {"off", CompositionLoss::off}});
  options.observation = choice<cpnn::Observation>(config, "observation",
                                                  {{"nb", cpnn::Observation::negative_binomial},
                                                   {"pearson", cpnn::Observation::pearson},
                                                   {"mse", cpnn::Observation::mean_squared_error}});
  options.regulariser_weight = config.at("reg_weight").get<double>();
  options.composition_scale = config.at("composition_scale").get<double>();
  if (config.contains("library") && config["library"].is_number()) options.library = config["library"].get<double>();
  options.eps = config.value("eps", 0.0);
  if (config.contains("composition_level"))
    options.composition_level = choice<cpnn::CompositionLevel>(
        config, "composition_level",
        {{"patch", cpnn::CompositionLevel::patch}, {"section", cpnn::CompositionLevel::section}});
  for (const auto& name : config.value("compat", nlohmann::json::array())) {
    if (name == "mask_as_one") {
      options.mask_as_one = true;
    } else if (name == "cross_entropy_on_probabilities") {
      options.composition_regulariser = CompositionLoss::cross_entropy_on_probabilities;
    } else {
      throw Error("config compat: unknown value " + name.get<std::string>());
    }
  }
  return options;
}

/// The model of a case with its parameters loaded.
template <class T, class C>
cpnn::Model<T, typename C::space> cpnn_model(const GoldenCase& golden, C& context) {
  auto options = cpnn_options(golden.config);
  Matrix<double> prototypes, mask;
  if (golden.has("in/prototypes")) {
    prototypes = golden.matrix<double>("in/prototypes");
  } else if (options.prototypes == cpnn::Prototypes::trained) {
    // Trained without a reference: nothing to regularise towards, and the start comes from the file.
    options.prototypes = cpnn::Prototypes::scratch;
  }
  if (golden.config.at("mask").get<bool>()) mask = golden.matrix<double>("in/mask");
  cpnn::Model<T, typename C::space> model(options, prototypes.view(), mask.view());
  model.parameters().allocate(context, 0);
  Vector<T> given(model.parameters().values().size());
  load_segments<T>(golden, "param/", model.parameters(), given.view());
  place_parameters(context, given, model.parameters().values());
  return model;
}

/// Ten optimiser steps on the same batch; `step` computes loss and gradient.
template <class T, class C, class Step>
void check_trajectory(const GoldenCase& golden, Comparison& comparison, C& context,
                      cpnn::Model<T, typename C::space>& model, Step&& step) {
  if (!golden.has("trajectory/loss")) return;
  GoldenOptimizer<T, typename C::space> optimizer(golden.config.at("optimizer"), model.parameters());
  std::vector<double> trajectory;
  for (Index t = 0; t < golden.at("trajectory/loss").size(); ++t) {
    trajectory.push_back(step().total);
    optimizer.step(context, model.parameters());
  }
  comparison.check("trajectory/loss", trajectory);
  const auto values = fetch(context, std::as_const(model).parameters().values());
  check_segments<T>(comparison, "step10/param/", model.parameters(), std::as_const(values).view());
}

/// Compares the gradients of the parameters.
template <class T, class C>
void check_gradients(Comparison& comparison, C& context, const cpnn::Model<T, typename C::space>& model) {
  const auto gradients = fetch(context, model.parameters().gradients());
  check_segments<T>(comparison, "grad/param/", model.parameters(), gradients.view());
}

inline void check_losses(Comparison& comparison, const cpnn::Losses& losses) {
  comparison.check("loss", losses.total);
  comparison.check("out/loss_observation", losses.observation);
  comparison.check("out/loss_composition", losses.composition);
  comparison.check("out/loss_prototype", losses.prototype);
}

}  // namespace eosin::testing
