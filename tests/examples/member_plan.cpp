#include "common/member_plan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

study::Study study_of(std::vector<std::string> train, std::vector<std::string> validate = {},
                      const std::string& patients = "") {
  study::Study study;
  for (const auto* names : {&train, &validate})
    for (const auto& name : *names) {
      auto& sample = study.samples.emplace_back();
      sample.name = name;
      const auto place = static_cast<std::size_t>(study.samples.size() - 1);
      if (place < patients.size()) sample.patient = std::string(1, patients[place]);
    }
  study.split.train = std::move(train);
  study.split.validate = std::move(validate);
  return study;
}

std::vector<std::string> joined(const study::MemberPlan& plan) {
  auto all = plan.train;
  all.insert(all.end(), plan.validate.begin(), plan.validate.end());
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

TEST_CASE("plan_members: training samples take turns, each validates once per member") {
  const auto study = study_of({"A", "B", "C", "D", "E"});
  const auto plans = study::plan_members(study, {.folds = 3, .members = 2, .seed = 7, .split_seed = 5});
  REQUIRE(plans.size() == 6);
  std::set<std::uint64_t> seeds;
  for (std::size_t member = 0; member < 2; ++member) {
    std::vector<std::string> validated;
    for (std::size_t fold = 0; fold < 3; ++fold) {
      const auto& plan = plans[member * 3 + fold];
      CHECK(joined(plan) == std::vector<std::string>{"A", "B", "C", "D", "E"});
      CHECK_FALSE(plan.train.empty());
      validated.insert(validated.end(), plan.validate.begin(), plan.validate.end());
      CHECK(plan.validate == plans[fold].validate);  // every member has the same folds
      seeds.insert(plan.seed);
    }
    std::sort(validated.begin(), validated.end());
    CHECK(validated == std::vector<std::string>{"A", "B", "C", "D", "E"});
  }
  CHECK(seeds.size() == 6);
  CHECK(*seeds.begin() == 7001);
  CHECK(*seeds.rbegin() == 7006);
}

TEST_CASE("plan_members: as many folds as samples at most, folds by the split seed alone") {
  const auto study = study_of({"A", "B", "C", "D"});
  CHECK(study::plan_members(study, {.folds = 9}).size() == 4);
  const auto folds = [&](std::uint64_t seed, std::uint64_t split_seed) {
    std::vector<std::vector<std::string>> validate;
    for (const auto& plan : study::plan_members(study, {.folds = 2, .seed = seed, .split_seed = split_seed}))
      validate.push_back(plan.validate);
    return validate;
  };
  CHECK(folds(1, 3) == folds(2, 3));
  bool differs = false;
  for (std::uint64_t seed = 4; seed < 12; ++seed) differs = differs || folds(1, seed) != folds(1, 3);
  CHECK(differs);
}

TEST_CASE("plan_members: nothing validates with one fold or one sample") {
  const std::pair<study::Study, eosin::Index> cases[] = {{study_of({"A", "B", "C"}), 1}, {study_of({"A"}), 4}};
  for (const auto& [study, folds] : cases) {
    const auto plans = study::plan_members(study, {.folds = folds, .members = 2});
    REQUIRE(plans.size() == 2);
    for (const auto& plan : plans) {
      CHECK(plan.train == study.split.train);
      CHECK(plan.validate.empty());
    }
    CHECK(plans[0].seed != plans[1].seed);
  }
}

TEST_CASE("plan_members: given validation samples validate every member, and folds do not count") {
  const auto plans = study::plan_members(study_of({"A", "B", "C"}, {"V"}), {.folds = 3, .members = 2});
  REQUIRE(plans.size() == 2);
  for (const auto& plan : plans) {
    CHECK(plan.train == std::vector<std::string>{"A", "B", "C"});
    CHECK(plan.validate == std::vector<std::string>{"V"});
  }
}
