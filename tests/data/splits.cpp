#include <eosin/data/splits.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace eosin;
using data::Split;

namespace {

// Patients A..D with 3, 3, 2, 1 sections, and one section without a patient's name that is called like a patient.
std::vector<data::SampleIdentity> samples() {
  return {{"A1", "A"}, {"A2", "A"}, {"A3", "A"}, {"B1", "B"}, {"B2", "B"}, {"B3", "B"},
          {"C1", "C"}, {"C2", "C"}, {"D1", "D"}, {"A", ""}};
}

std::size_t size(const Split& split) { return split.train.size() + split.validate.size() + split.test.size(); }

}  // namespace

TEST_CASE("splits: random, by patient") {
  const auto all = samples();
  std::set<std::vector<std::string>> tests;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const data::RandomSplitOptions options{.validate_fraction = 0.2, .test_fraction = 0.2, .seed = seed};
    const Split split = data::random_split(all, options);
    CHECK(size(split) == all.size());
    CHECK_FALSE(split.train.empty());
    CHECK_FALSE(split.validate.empty());
    CHECK_FALSE(split.test.empty());
    CHECK(data::find_leaks(all, split).empty());
    CHECK(split == data::random_split(all, options));
    tests.insert(split.test);
  }
  CHECK(tests.size() > 2);
}

TEST_CASE("splits: random, by sample, leaks sooner or later and that is reported") {
  const auto all = samples();
  std::size_t leaks = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Split split = data::random_split(
        all, {.unit = data::SplitUnit::sample, .validate_fraction = 0, .test_fraction = 0.3, .seed = seed});
    CHECK(split.test.size() == 3);
    CHECK(split.train.size() == 7);
    CHECK(split.validate.empty());
    leaks += data::find_leaks(all, split).size();
  }
  CHECK(leaks > 0);
}

TEST_CASE("splits: k-fold tests every sample once") {
  const auto all = samples();
  for (const auto unit : {data::SplitUnit::sample, data::SplitUnit::patient}) {
    const auto splits = data::k_fold(all, {.unit = unit, .folds = 4, .validate = true, .seed = 3});
    REQUIRE(splits.size() == 4);
    std::map<std::string, int> tested, validated;
    for (const auto& split : splits) {
      CHECK(size(split) == all.size());
      CHECK_FALSE(split.train.empty());
      for (const auto& name : split.test) ++tested[name];
      for (const auto& name : split.validate) ++validated[name];
      if (unit == data::SplitUnit::patient) CHECK(data::find_leaks(all, split).empty());
    }
    CHECK(tested.size() == all.size());
    CHECK(validated.size() == all.size());
    for (const auto& [name, count] : tested) CHECK(count == 1);
  }
  CHECK_THROWS_AS(data::k_fold(all, {.unit = data::SplitUnit::patient, .folds = 6}), ValueError);
  CHECK_THROWS_AS(data::k_fold(all, {.folds = 1}), ValueError);
  CHECK_THROWS_AS(data::k_fold(all, {.folds = 2, .validate = true}), ValueError);
}

TEST_CASE("splits: leave one out") {
  const auto all = samples();
  const auto by_sample = data::leave_one_out(all);
  REQUIRE(by_sample.size() == 10);
  CHECK(by_sample[4].test == std::vector<std::string>{"B2"});
  CHECK(by_sample[4].train.size() == 9);
  const auto by_patient = data::leave_one_out(all, data::SplitUnit::patient);
  REQUIRE(by_patient.size() == 5);
  CHECK(by_patient[1].test == std::vector<std::string>{"B1", "B2", "B3"});
  // The unnamed patient of section "A" is not patient "A".
  CHECK(by_patient[4].test == std::vector<std::string>{"A"});
}

TEST_CASE("splits: given names, leaks by patient") {
  const auto all = samples();
  const std::vector<std::string> train{"B1", "A2", "A1"}, validate{"B2"}, test{"A3", "C1"};
  const Split split = data::make_split(all, train, validate, test);
  CHECK(split.train == std::vector<std::string>{"A1", "A2", "B1"});
  const auto leaks = data::find_leaks(all, split);
  REQUIRE(leaks.size() == 2);
  CHECK(leaks[0].text() == "patient 'A' is in train (A1, A2) and in test (A3)");
  CHECK(leaks[1].text() == "patient 'B' is in train (B1) and in validate (B2)");

  const std::vector<std::string> unknown{"Z"}, none;
  CHECK_THROWS_WITH_AS(data::make_split(all, train, none, unknown),
                       "make_split: test sample 'Z' is not in the manifest", ValueError);
  CHECK_THROWS_WITH_AS(data::make_split(all, train, train, test), "make_split: validate sample 'B1' is named twice",
                       ValueError);
  CHECK_THROWS_AS(data::make_split(all, none, none, test), ValueError);
  CHECK_THROWS_AS(data::make_split(all, train, none, none), ValueError);
  auto twice = all;
  twice.push_back(all.front());
  CHECK_THROWS_AS(data::random_split(twice), ValueError);
}

TEST_CASE("splits: too few units and fractions out of range") {
  const std::vector<data::SampleIdentity> two{{"A1", "A"}, {"A2", "A"}};
  CHECK_THROWS_AS(data::random_split(two), ValueError);
  CHECK(data::random_split(two, {.unit = data::SplitUnit::sample}).test.size() == 1);
  CHECK_THROWS_AS(data::random_split(samples(), {.test_fraction = 0}), ValueError);
  CHECK_THROWS_AS(data::random_split(samples(), {.validate_fraction = 0.6, .test_fraction = 0.5}), ValueError);
  CHECK_THROWS_AS(data::leave_one_out(two, data::SplitUnit::patient), ValueError);
}

TEST_CASE("splits: text form and back") {
  const Split split{{"A1", "B 2"}, {"C"}, {"D"}};
  const std::string text = data::to_tsv(split);
  CHECK(text == "sample\tside\nA1\ttrain\nB 2\ttrain\nC\tvalidate\nD\ttest\n");
  CHECK(data::split_from_tsv(text, "split.tsv") == split);
  CHECK(data::split_from_tsv("sample\tside\r\nA1\ttrain\r\nB 2\ttrain\r\nC\tvalidate\r\nD\ttest", "split.tsv") ==
        split);
  CHECK_THROWS_WITH_AS(data::split_from_tsv("sample\tside\nA\ttraining\n", "split.tsv"),
                       "split.tsv:2: side 'training' is none of train, validate, test", ParseError);
  CHECK_THROWS_WITH_AS(data::split_from_tsv("sample\tside\nA\ttrain\nA\ttest\n", "split.tsv"),
                       "split.tsv:3: sample 'A' occurs twice", ParseError);
  CHECK_THROWS_AS(data::split_from_tsv("", "split.tsv"), ParseError);
  CHECK_THROWS_AS(data::split_from_tsv("name,side\n", "split.tsv"), ParseError);
  CHECK_THROWS_AS(data::split_from_tsv("sample\tside\nA train\n", "split.tsv"), ParseError);
  CHECK_THROWS_AS(data::to_tsv({{"A\tB"}, {}, {}}), ValueError);
}
