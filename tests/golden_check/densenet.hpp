#pragma once

// Golden component `densenet`.

#include <eosin/vision/densenet.hpp>

#include "golden_check/image_network.hpp"

namespace eosin::testing {

template <class T>
void check_densenet(const GoldenCase& golden, Comparison& comparison) {
  const auto& config = golden.config;
  CpuContext context({.threads = 2});
  Parameters<T> parameters;
  vision::DenseNet<T> network(parameters, "",
                              {.growth_rate = config.at("growth_rate").get<Index>(),
                               .block_config = config.at("block_config").get<std::vector<Index>>(),
                               .num_init_features = config.at("num_init_features").get<Index>(),
                               .bn_size = config.at("bn_size").get<Index>(),
                               .final_relu = config.at("final_relu").get<bool>(),
                               .norm = {config.at("bn_eps").get<double>(), config.at("bn_momentum").get<double>()}});
  check_image_network<T>(golden, comparison, context, network, parameters);
}

}  // namespace eosin::testing
