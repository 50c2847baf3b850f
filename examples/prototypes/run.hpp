#pragma once

// The jobs of the program: `fit` estimates and writes; `evaluate` compares the likelihood of held-out cells with and
// without batches.

#include "options.hpp"

#include <string>

namespace prototypes {

/// `command` is what the user typed, for the record.
void fit(const Options& options, const std::string& command);

void evaluate(const Options& options, const EvaluateOptions& evaluation);

}  // namespace prototypes
