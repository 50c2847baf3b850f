#pragma once

// The two jobs of the program: `run` trains, predicts and judges; `predict` applies a trained model.

#include "settings.hpp"

#include <eosin/core/context.hpp>

#include <string>
#include <vector>

namespace mclstexp {

/// Trains, predicts, judges, writes everything into settings.out. `command` is what the user typed, for the record.
void run(eosin::CpuContext& context, Settings settings, const std::string& command);

struct PredictSettings {
  std::string model, samples, out;
  std::vector<std::string> test;
  bool quiet = false;
};

/// Applies a trained model to samples that need only an image (or features) and spots; judges those with counts. The
/// precision of matrix products is the model's, whatever `options` say.
void predict(eosin::CpuOptions options, const PredictSettings& settings, const std::string& command);

}  // namespace mclstexp
