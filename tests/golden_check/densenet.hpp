#pragma once

// Golden component `densenet`.

#include <eosin/vision/densenet.hpp>

#include "golden_check/image_network.hpp"

namespace eosin::testing {

template <class T, class C = CpuContext>
void check_densenet(const GoldenCase& golden, Comparison& comparison) {
  const auto& config = golden.config;
  using Space = typename C::space;
  C context = new_context<C>();
  Parameters<T, Space> parameters;
  vision::DenseNet<T, Space> network(
      parameters, "",
      {.growth_rate = config.at("growth_rate").get<Index>(),
       .block_config = config.at("block_config").get<std::vector<Index>>(),
       .num_init_features = config.at("num_init_features").get<Index>(),
       .bn_size = config.at("bn_size").get<Index>(),
       .final_relu = config.at("final_relu").get<bool>(),
       .norm = {config.at("bn_eps").get<double>(), config.at("bn_momentum").get<double>()}});
  check_image_network<T>(golden, comparison, context, network, parameters);
}

}  // namespace eosin::testing
