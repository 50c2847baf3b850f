#pragma once

// The files of a fit. All are written under temporary names first and put in place together at the end.

#include "input.hpp"
#include "markers.hpp"
#include "options.hpp"

#include <eosin/glm/design.hpp>
#include <eosin/glm/fit.hpp>

#include <string>
#include <vector>

namespace prototypes {

struct Seconds {
  double read = 0, fit = 0, write = 0;
};

/// A fit with all that is said about it.
struct Fitted {
  const Options& options;
  const std::string& command;
  int threads;
  const Input& input;
  const eosin::glm::Design& design;
  const eosin::glm::FitResults& results;
  const std::vector<Marker>& markers;
};

/// Writes options.out and, where named, options.h5ad. `seconds.write` is measured here.
void write_results(const Fitted& fitted, Seconds seconds);

const char* word_of(eosin::glm::FitStatus status);
const char* word_of(eosin::glm::DispersionStatus status);

}  // namespace prototypes
