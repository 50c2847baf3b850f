#pragma once

// Golden component `mclstexp_spot`: everything but the image network, and its training.

#include "golden_check/layer_norm.hpp"
#include "mclstexp/model.hpp"

#include <eosin/optim/adam.hpp>

namespace eosin::testing {

inline mclstexp::ModelOptions mclstexp_options(const nlohmann::json& config) {
  mclstexp::ModelOptions options;
  options.genes = config.at("dim").get<Index>();
  if (config.at("encoder") == "attention") {
    options.depth = config.at("depth").get<Index>();
    options.heads = config.at("heads").get<Index>();
    options.head_width = config.at("dim_head").get<Index>();
    options.hidden = config.at("mlp_dim").get<Index>();
  } else if (config.at("encoder") == "mlp") {
    options.encoder = mclstexp::SpotEncoder::mlp;
  } else {
    throw Error("config encoder: unknown value " + config.at("encoder").get<std::string>());
  }
  const auto position = config.at("position").get<std::string>();
  if (position == "learned") {
    options.x_rows = options.y_rows = config.at("position_rows").get<Index>();
  } else if (position == "sinusoidal") {
    options.position = mclstexp::Position::sinusoidal;
    options.sinusoidal.base = config.at("position_base").get<double>();
    options.sinusoidal.layout =
        config.at("position_layout") == "split" ? ops::SinusoidalLayout::split : ops::SinusoidalLayout::sum;
  } else if (position == "none") {
    options.position = mclstexp::Position::none;
  } else {
    throw Error("config position: unknown value " + position);
  }
  options.image_features = config.at("image_dim").get<Index>();
  options.projection = config.at("projection_dim").get<Index>();
  options.layer_norm_eps = config.at("layer_norm_eps").get<double>();
  options.normalize = config.at("normalize").get<bool>();
  options.learned_temperature = config.at("learned_temperature").get<bool>();
  options.temperature = config.value("temperature", 1.0);
  options.image_weight = config.at("image_weight").get<double>();
  return options;
}

template <class T, class C = CpuContext>
void check_mclstexp_spot(const GoldenCase& golden, Comparison& comparison) {
  using Space = typename C::space;
  C context = new_context<C>();
  const auto expression = place(context, golden.matrix<T>("in/expression"));
  const auto features = place(context, golden.matrix<T>("in/image_features"));
  const auto offsets = sentence_offsets(golden);
  const Index n = expression.rows();
  Matrix<Index> numbers(n, 2);
  for (Index i = 0; i < numbers.size(); ++i)
    numbers.data()[i] = static_cast<Index>(golden.at("in/position").values[static_cast<std::size_t>(i)]);
  const auto positions = place(context, std::move(numbers));
  mclstexp::Model<T, Space> model(mclstexp_options(golden.config));
  auto& parameters = model.parameters();
  parameters.allocate(context, 0);
  load_parameters(context, golden, parameters);
  const mclstexp::Batch<T, Space> batch{expression.view(), positions.view(), offsets, features.view()};

  Matrix<T, Space> spots(n, model.options().projection), images(n, model.options().projection),
      d_expression(n, expression.cols()), d_features(n, features.cols());
  const double loss = model.step(context, batch, layers::GradientMode::overwrite,
                                 {spots.view(), images.view(), d_expression.view(), d_features.view()});
  comparison.check("loss", loss);
  comparison.check("out/spot_embeddings", fetch(context, spots));
  comparison.check("out/image_embeddings", fetch(context, images));
  comparison.check("grad/in/expression", fetch(context, d_expression));
  comparison.check("grad/in/image_features", fetch(context, d_features));
  const auto compare = [&](const std::string& prefix, const std::string& norms, const Vector<T>& flat) {
    check_segments<T>(comparison, prefix, parameters, flat.view());
    if (golden.has(norms)) comparison.check(norms, norms_of<T>(golden, parameters, flat.view()));
  };
  compare("grad/param/", "grad/norms", fetch(context, std::as_const(parameters).gradients()));
  if (!golden.has("trajectory/loss")) return;

  const auto& adam = golden.config.at("optimizer");
  optim::Adam<T, Space> optimizer(parameters, {.beta1 = adam.at("beta1").get<double>(),
                                               .beta2 = adam.at("beta2").get<double>(),
                                               .eps = adam.at("eps").get<double>(),
                                               .weight_decay = adam.at("weight_decay").get<double>(),
                                               .decay = optim::WeightDecay::coupled});
  std::vector<double> trajectory;
  const int steps = adam.at("steps").get<int>();
  for (int step = 0; step < steps; ++step) {
    trajectory.push_back(model.step(context, batch, layers::GradientMode::overwrite));
    optimizer.step(context, parameters, adam.at("lr").get<double>());
  }
  comparison.check("trajectory/loss", trajectory);
  const std::string prefix = "step" + std::to_string(steps) + "/";
  compare(prefix + "param/", prefix + "norms", fetch(context, std::as_const(parameters).values()));
}

}  // namespace eosin::testing
