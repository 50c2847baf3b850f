#pragma once

// Splits of samples (sections or slides) into training, validation and test: named, seeded, by sample or by patient,
// k-fold, leave-one-out; a check for leaks; and a text form that goes into a manifest.
//
// A sample is never divided: neighbouring spots of a section resemble each other. Sections of one patient resemble each
// other too, so a split with the same patient on both sides is reported (find_leaks). Splits by patient cannot leak. A
// sample without a patient's name is a patient of its own.

#include <eosin/core/error.hpp>
#include <eosin/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::data {

struct SampleIdentity {
  std::string sample;
  /// Empty: unknown.
  std::string patient = {};

  const std::string& patient_or_sample() const { return patient.empty() ? sample : patient; }
};

enum class SplitUnit { sample, patient };
enum class SplitSide { train, validate, test };

/// Names of samples per side, each side in the order of the manifest.
struct Split {
  std::vector<std::string> train;
  std::vector<std::string> validate;
  std::vector<std::string> test;

  const std::vector<std::string>& side(SplitSide s) const {
    return s == SplitSide::train ? train : s == SplitSide::validate ? validate : test;
  }
  std::vector<std::string>& side(SplitSide s) {
    return s == SplitSide::train ? train : s == SplitSide::validate ? validate : test;
  }
  bool operator==(const Split&) const = default;
};

inline constexpr const char* split_side_name(SplitSide side) {
  return side == SplitSide::train ? "train" : side == SplitSide::validate ? "validate" : "test";
}

namespace detail {

inline constexpr SplitSide split_sides[] = {SplitSide::train, SplitSide::validate, SplitSide::test};

inline void check_samples(std::string_view function, std::span<const SampleIdentity> samples) {
  std::set<std::string_view> seen;
  for (const auto& sample : samples) {
    require_value(!sample.sample.empty(), function, "a sample has no name");
    require_value(seen.insert(sample.sample).second, function, "sample '" + sample.sample + "' occurs twice");
  }
}

/// Samples grouped into what must stay together, groups in the order of the manifest.
inline std::vector<std::vector<std::size_t>> split_groups(std::span<const SampleIdentity> samples, SplitUnit unit) {
  std::vector<std::string> keys;
  std::vector<std::vector<std::size_t>> groups;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    // The prefix keeps a patient's name apart from the name of a sample without a patient.
    const std::string key = unit == SplitUnit::sample || samples[i].patient.empty() ? "s" + samples[i].sample
                                                                                    : "p" + samples[i].patient;
    const auto found = std::find(keys.begin(), keys.end(), key);
    if (found == keys.end()) {
      keys.push_back(key);
      groups.push_back({i});
    } else {
      groups[static_cast<std::size_t>(found - keys.begin())].push_back(i);
    }
  }
  return groups;
}

/// Builds a split from the side of each sample.
inline Split split_from_sides(std::span<const SampleIdentity> samples, std::span<const SplitSide> sides) {
  Split split;
  for (std::size_t i = 0; i < samples.size(); ++i) split.side(sides[i]).push_back(samples[i].sample);
  return split;
}

}  // namespace detail

/// The split with these names on its sides; samples named nowhere are left out. Throws ValueError for a name that is
/// not among the samples, or that is on two sides or twice on one, or where train or test is empty.
inline Split make_split(std::span<const SampleIdentity> samples, std::span<const std::string> train,
                        std::span<const std::string> validate, std::span<const std::string> test) {
  detail::check_samples("make_split", samples);
  require_value(!train.empty(), "make_split", "there are no training samples");
  require_value(!test.empty(), "make_split", "there are no test samples");
  std::set<std::string_view> seen;
  const std::span<const std::string> sides[] = {train, validate, test};
  for (const SplitSide side : detail::split_sides)
    for (const std::string& name : sides[static_cast<std::size_t>(side)]) {
      const std::string place = std::string(split_side_name(side)) + " sample '" + name + "'";
      require_value(std::any_of(samples.begin(), samples.end(), [&](const auto& s) { return s.sample == name; }),
                    "make_split", place + " is not in the manifest");
      require_value(seen.insert(name).second, "make_split", place + " is named twice");
    }
  Split split;
  for (const auto& sample : samples)
    for (const SplitSide side : detail::split_sides) {
      const auto names = sides[static_cast<std::size_t>(side)];
      if (std::find(names.begin(), names.end(), sample.sample) != names.end())
        split.side(side).push_back(sample.sample);
    }
  return split;
}

struct RandomSplitOptions {
  SplitUnit unit = SplitUnit::patient;
  /// Fractions of the units (samples or patients), rounded; at least one where the fraction is positive.
  double validate_fraction = 0.0;
  double test_fraction = 0.2;
  std::uint64_t seed = 1;
};

/// Random split. A function of the samples' order, the options and the seed alone. Throws ValueError for fractions out
/// of range or too few units to fill every side.
inline Split random_split(std::span<const SampleIdentity> samples, const RandomSplitOptions& options = {}) {
  detail::check_samples("random_split", samples);
  require_value(options.test_fraction > 0 && options.validate_fraction >= 0 &&
                    options.test_fraction + options.validate_fraction < 1,
                "random_split", "fractions must satisfy 0 < test, 0 <= validate, test + validate < 1");
  const auto groups = detail::split_groups(samples, options.unit);
  const auto units = static_cast<Index>(groups.size());
  const auto share = [&](double fraction) {
    return fraction > 0 ? std::max<Index>(1, std::lround(fraction * static_cast<double>(units))) : Index{0};
  };
  const Index test = share(options.test_fraction), validate = share(options.validate_fraction);
  require_value(test + validate < units, "random_split",
                std::to_string(units) + (options.unit == SplitUnit::patient ? " patients" : " samples") +
                    " are too few for " + std::to_string(test) + " to test, " + std::to_string(validate) +
                    " to validate and any to train");
  const auto order = RandomStream(options.seed).permutation(units);
  std::vector<SplitSide> sides(samples.size(), SplitSide::train);
  for (Index i = 0; i < test + validate; ++i)
    for (const std::size_t member : groups[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])])
      sides[member] = i < test ? SplitSide::test : SplitSide::validate;
  return detail::split_from_sides(samples, sides);
}

struct KFoldOptions {
  SplitUnit unit = SplitUnit::sample;
  Index folds = 5;
  /// Whether the fold after the test fold validates; needs at least three folds.
  bool validate = false;
  /// Units are dealt to the folds in random order.
  std::uint64_t seed = 1;
};

/// k splits in which every sample is tested exactly once. Fold sizes differ by one unit at most. Throws ValueError for
/// fewer than two folds (three with validation) or more folds than units.
inline std::vector<Split> k_fold(std::span<const SampleIdentity> samples, const KFoldOptions& options = {}) {
  detail::check_samples("k_fold", samples);
  const auto groups = detail::split_groups(samples, options.unit);
  const auto units = static_cast<Index>(groups.size());
  require_value(options.folds >= (options.validate ? 3 : 2), "k_fold",
                options.validate ? "validation needs at least three folds" : "there must be at least two folds");
  require_value(options.folds <= units, "k_fold",
                std::to_string(options.folds) + " folds of " + std::to_string(units) +
                    (options.unit == SplitUnit::patient ? " patients" : " samples"));
  const auto order = RandomStream(options.seed).permutation(units);
  std::vector<Index> fold_of(samples.size());
  for (Index i = 0; i < units; ++i)
    for (const std::size_t member : groups[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])])
      fold_of[member] = i % options.folds;
  std::vector<Split> splits;
  for (Index fold = 0; fold < options.folds; ++fold) {
    std::vector<SplitSide> sides(samples.size(), SplitSide::train);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      if (fold_of[i] == fold) sides[i] = SplitSide::test;
      else if (options.validate && fold_of[i] == (fold + 1) % options.folds) sides[i] = SplitSide::validate;
    }
    splits.push_back(detail::split_from_sides(samples, sides));
  }
  return splits;
}

/// Every sample (or patient) tested in turn, in the order of the manifest, all others training. At least two units.
inline std::vector<Split> leave_one_out(std::span<const SampleIdentity> samples, SplitUnit unit = SplitUnit::sample) {
  detail::check_samples("leave_one_out", samples);
  const auto groups = detail::split_groups(samples, unit);
  require_value(groups.size() >= 2, "leave_one_out", "there must be at least two units");
  std::vector<Split> splits;
  for (const auto& group : groups) {
    std::vector<SplitSide> sides(samples.size(), SplitSide::train);
    for (const std::size_t member : group) sides[member] = SplitSide::test;
    splits.push_back(detail::split_from_sides(samples, sides));
  }
  return splits;
}

/// A patient with samples on two sides of a split.
struct Leak {
  std::string patient;
  SplitSide first = SplitSide::train;
  SplitSide second = SplitSide::test;
  std::vector<std::string> first_samples;
  std::vector<std::string> second_samples;

  /// "patient 'C' is in train (C2, C3) and in test (C5)".
  std::string text() const {
    const auto list = [](const std::vector<std::string>& names) {
      std::string joined;
      for (const auto& name : names) joined += (joined.empty() ? "" : ", ") + name;
      return joined;
    };
    return "patient '" + patient + "' is in " + split_side_name(first) + " (" + list(first_samples) + ") and in " +
           split_side_name(second) + " (" + list(second_samples) + ")";
  }
};

/// All patients that occur on more than one side, one entry per pair of sides, in the order of the manifest. Throws
/// ValueError for a name that the samples do not hold.
inline std::vector<Leak> find_leaks(std::span<const SampleIdentity> samples, const Split& split) {
  for (const SplitSide side : detail::split_sides)
    for (const auto& name : split.side(side))
      require_value(std::any_of(samples.begin(), samples.end(), [&](const auto& s) { return s.sample == name; }),
                    "find_leaks", std::string(split_side_name(side)) + " sample '" + name + "' is not in the manifest");
  std::vector<Leak> leaks;
  const auto members = [&](const std::vector<std::size_t>& group, SplitSide side) {
    std::vector<std::string> names;
    for (const std::size_t i : group)
      if (std::find(split.side(side).begin(), split.side(side).end(), samples[i].sample) != split.side(side).end())
        names.push_back(samples[i].sample);
    return names;
  };
  for (const auto& group : detail::split_groups(samples, SplitUnit::patient))
    for (std::size_t a = 0; a < 3; ++a)
      for (std::size_t b = a + 1; b < 3; ++b) {
        Leak leak{samples[group.front()].patient_or_sample(), detail::split_sides[a], detail::split_sides[b],
                  members(group, detail::split_sides[a]), members(group, detail::split_sides[b])};
        if (!leak.first_samples.empty() && !leak.second_samples.empty()) leaks.push_back(std::move(leak));
      }
  return leaks;
}

/// "sample<TAB>side" lines under a header, train first; names with a tab or a line break are a ValueError.
inline std::string to_tsv(const Split& split) {
  std::string text = "sample\tside\n";
  for (const SplitSide side : detail::split_sides)
    for (const auto& name : split.side(side)) {
      require_value(name.find_first_of("\t\r\n") == std::string::npos, "to_tsv",
                    "sample name '" + name + "' holds a tab or a line break");
      text += name + "\t" + split_side_name(side) + "\n";
    }
  return text;
}

/// Reads what to_tsv wrote. Throws ParseError naming `file` and the line.
inline Split split_from_tsv(std::string_view text, std::string_view file) {
  Split split;
  std::set<std::string> seen;
  std::size_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line_number == 1) {
      if (line != "sample\tside") throw ParseError(file, line_number, "expected the header 'sample<TAB>side'");
      continue;
    }
    if (line.empty()) continue;
    const std::size_t tab = line.find('\t');
    if (tab == std::string_view::npos || tab == 0) throw ParseError(file, line_number, "expected 'sample<TAB>side'");
    const std::string name(line.substr(0, tab));
    const std::string_view side_name = line.substr(tab + 1);
    if (!seen.insert(name).second) throw ParseError(file, line_number, "sample '" + name + "' occurs twice");
    bool known = false;
    for (const SplitSide side : detail::split_sides)
      if (side_name == split_side_name(side)) {
        split.side(side).push_back(name);
        known = true;
      }
    if (!known)
      throw ParseError(file, line_number, "side '" + std::string(side_name) + "' is none of train, validate, test");
  }
  if (line_number == 0) throw ParseError(file, std::size_t{1}, "the file is empty");
  return split;
}

}  // namespace eosin::data
