#pragma once

// A study made of a simulated tissue (eosin/sim/tissue.hpp), with its truth: compositions of the spots, and labelled
// single cells for prototypes.

#include "common/study.hpp"

#include <eosin/core/sparse.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace study {

struct SimulationOptions {
  std::uint64_t seed = 1;
  double noise = 1;
  /// Sections S1, S2, ...; none: the last patient tests.
  std::vector<std::string> train = {}, validate = {}, test = {};
  bool encode = true;        ///< false: no features
  bool keep_images = false;  ///< keep the images of the samples
};

struct SimulatedStudy {
  Study study;
  eosin::SparseMatrix<float> cells;  ///< [cells x genes]
  std::vector<std::string> cell_type, cell_batch;
};

/// Simulates, encodes and normalises. The composition of every section is the truth.
SimulatedStudy simulate_study(CpuContext& context, const SimulationOptions& options);

}  // namespace study
