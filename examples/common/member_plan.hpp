#pragma once

// Who trains on what: one model per fold of the training samples and seed, whose predictions are averaged.

#include "common/study.hpp"

#include <eosin/data/splits.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace study {

struct MemberPlan {
  std::vector<std::string> train;
  std::vector<std::string> validate;
  std::uint64_t seed = 0;
};

struct MemberOptions {
  Index folds = 4;    ///< at most so many training samples take turns in validating; below 2: none does
  Index members = 1;  ///< per fold
  std::uint64_t seed = 1;
  std::uint64_t split_seed = 1;  ///< of the folds
};

/// With validation samples given, they validate every member; otherwise training samples take turns (a single one
/// leaves nothing to validate on).
inline std::vector<MemberPlan> plan_members(const Study& study, const MemberOptions& options) {
  std::vector<MemberPlan> folds;
  if (!study.split.validate.empty()) {
    folds.push_back({study.split.train, study.split.validate});
  } else if (study.split.train.size() < 2 || options.folds < 2) {
    folds.push_back({study.split.train, {}});
  } else {
    std::vector<eosin::data::SampleIdentity> identities;
    for (const auto& name : study.split.train) identities.push_back({name, study.at(name).patient});
    const auto count = std::min(options.folds, static_cast<Index>(identities.size()));
    for (const auto& split : eosin::data::k_fold(identities, {.folds = count, .seed = options.split_seed}))
      folds.push_back({split.train, split.test});
  }
  std::vector<MemberPlan> plans;
  for (Index member = 0; member < options.members; ++member)
    for (const auto& fold : folds) {
      plans.push_back(fold);
      plans.back().seed = options.seed * 1000 + plans.size();
    }
  return plans;
}

}  // namespace study
