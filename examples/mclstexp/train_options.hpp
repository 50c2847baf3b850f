#pragma once

// How an mclSTExp is trained, as typed options.

#include "common/training_state.hpp"

#include <eosin/core/config.hpp>
#include <eosin/optim/schedule.hpp>

#include <cstdint>

namespace mclstexp {

using eosin::Index;

enum class Sentences {
  section,  ///< spots of one section attend to each other
  batch     ///< all spots of a mini-batch do, whatever their section
};

struct TrainOptions {
  Index epochs = 90;
  Index batch = 128;  ///< spots per step; 0: one whole section per step
  Sentences sentences = Sentences::section;
  common::OptimiserOptions optimiser{common::Optimiser::adam, 1e-3};
  double learning_rate = 1e-4;
  eosin::optim::Schedule schedule{};
  double clip_norm = 0;        ///< 0: none
  double dropout = 0;
  double positive_radius = 0;  ///< in spot pitches: spots that near count as positives of each other; 0: none
  Index patience = 0;          ///< epochs without improvement before stopping; 0: never
  std::uint64_t seed = 1;
};

}  // namespace mclstexp
