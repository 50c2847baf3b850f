#pragma once

// Golden component `resnet`.

#include <eosin/vision/resnet.hpp>

#include "golden_check/image_network.hpp"

namespace eosin::testing {

template <class T>
void check_resnet(const GoldenCase& golden, Comparison& comparison) {
  const auto& config = golden.config;
  const auto block = config.at("block").get<std::string>();
  if (block != "basic" && block != "bottleneck") throw Error("config block: unknown value " + block);
  CpuContext context({.threads = 2});
  Parameters<T> parameters;
  vision::ResNet<T> network(parameters, "",
                            {.block = block == "basic" ? vision::ResNetBlock::basic : vision::ResNetBlock::bottleneck,
                             .layers = config.at("layers").get<std::vector<Index>>(),
                             .base_planes = config.at("base_planes").get<Index>(),
                             .norm = {config.at("bn_eps").get<double>(), config.at("bn_momentum").get<double>()}});
  check_image_network<T>(golden, comparison, context, network, parameters);
}

}  // namespace eosin::testing
