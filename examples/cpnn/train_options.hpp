#pragma once

// How a CPNN is trained, as typed options.

#include "common/training_state.hpp"

#include <eosin/core/config.hpp>
#include <eosin/optim/schedule.hpp>

#include <cstdint>
#include <optional>

namespace cpnn {

using eosin::Index;

using common::Optimiser;

struct TrainOptions {
  Index epochs = 1000;
  Index batch = 8;                 ///< slides or sections per step
  Optimiser optimiser = Optimiser::adamw;
  double learning_rate = 1e-3;
  double weight_decay = 0.01;
  double momentum = 0.9;           ///< of sgd
  double clip_norm = 0.5;          ///< 0: no clipping
  eosin::optim::Schedule schedule{eosin::optim::StepRate{50, 0.9}};  ///< per epoch
  Index patience = 30;             ///< epochs without improvement before stopping; 0: never
  /// Deviation of the normal noise that every epoch adds to the (standardised) features: to first order a ridge penalty
  /// on what the projector does with them (Bishop, "Training with noise is equivalent to Tikhonov regularization",
  /// 1995).
  double feature_noise = 0;
  std::optional<double> validation_library = 1e4;  ///< slide level: library of the validation targets
  bool keep_last = false;          ///< compat: the last parameters count as best
  std::uint64_t seed = 1;
};

}  // namespace cpnn
