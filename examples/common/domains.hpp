#pragma once

// Spatial domains of a section: k-means on the first principal components of log-normalised expression, of what was
// measured and of what was predicted, and how far they agree with an annotation of the spots. Neither the places of the
// spots nor the annotation are looked at in finding them; of an annotation only the number of labels is.

#include "common/report_choices.hpp"
#include "common/report_data.hpp"
#include "common/study.hpp"

#include <eosin/eval/k_means.hpp>
#include <eosin/eval/partition_agreement.hpp>
#include <eosin/eval/principal_components.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace study {

namespace detail {

/// As many as is usual in the field (scanpy's default); a section of few spots has fewer.
inline constexpr Index domain_components = 50;

inline std::vector<Index> cluster_spots(CpuContext& context, MatrixView<const float> expression, Index count) {
  const auto reduced = eosin::eval::principal_components(context, expression, domain_components);
  return eosin::eval::k_means(context, reduced.scores.view(), {.clusters = count}).labels;
}

/// Renumbers clusters such that they share numbers, and so colours, with the classes of `reference` that they overlap
/// most: largest overlap first. Clusters that are left take the lowest free numbers.
inline std::vector<Index> number_like(const std::vector<Index>& clusters, const std::vector<Index>& reference) {
  const Index count = clusters.empty() ? 0 : *std::max_element(clusters.begin(), clusters.end()) + 1;
  const Index classes = reference.empty() ? 0 : *std::max_element(reference.begin(), reference.end()) + 1;
  Matrix<Index> overlap(count, classes);
  for (std::size_t i = 0; i < clusters.size(); ++i)
    if (reference[i] >= 0) ++overlap(clusters[i], reference[i]);
  std::vector<std::tuple<Index, Index, Index>> pairs;  // minus the overlap, cluster, class
  for (Index c = 0; c < count; ++c)
    for (Index k = 0; k < classes; ++k)
      if (overlap(c, k) > 0) pairs.emplace_back(-overlap(c, k), c, k);
  std::sort(pairs.begin(), pairs.end());
  std::vector<Index> number(static_cast<std::size_t>(count), -1);
  std::vector<char> taken(static_cast<std::size_t>(count + classes), 0);
  const auto give = [&](Index cluster, Index to) {
    number[static_cast<std::size_t>(cluster)] = to;
    taken[static_cast<std::size_t>(to)] = 1;
  };
  for (const auto& [minus, c, k] : pairs)
    if (number[static_cast<std::size_t>(c)] < 0 && !taken[static_cast<std::size_t>(k)]) give(c, k);
  for (Index c = 0; c < count; ++c)
    if (number[static_cast<std::size_t>(c)] < 0) give(c, std::find(taken.begin(), taken.end(), 0) - taken.begin());
  std::vector<Index> renumbered;
  for (const Index c : clusters) renumbered.push_back(number[static_cast<std::size_t>(c)]);
  return renumbered;
}

}  // namespace detail

/// The labels of a sample's annotation in the order of the alphabet, and per spot which it has: -1 where it is empty or
/// "undetermined".
struct Annotation {
  std::vector<std::string> labels;
  std::vector<Index> of;
};

inline Annotation annotation_of(const Sample& sample) {
  Annotation annotation;
  const auto known = [](const std::string& label) { return !label.empty() && label != "undetermined"; };
  for (const auto& label : sample.annotation)
    if (known(label)) annotation.labels.push_back(label);
  std::sort(annotation.labels.begin(), annotation.labels.end());
  annotation.labels.erase(std::unique(annotation.labels.begin(), annotation.labels.end()), annotation.labels.end());
  if (annotation.labels.empty()) return annotation;
  for (const auto& label : sample.annotation)
    annotation.of.push_back(known(label) ? std::lower_bound(annotation.labels.begin(), annotation.labels.end(), label) -
                                               annotation.labels.begin()
                                         : -1);
  return annotation;
}

/// How many domains the choices ask for on a sample, 0 for none.
inline Index domain_count(const Sample& sample, const ReportChoices& choices) {
  return choices.domains ? *choices.domains : static_cast<Index>(annotation_of(sample).labels.size());
}

/// Domains of a measured sample, none where none are asked for. `predicted` [N x G].
inline std::optional<report::Domains> find_domains(CpuContext& context, const Sample& sample,
                                                   MatrixView<const float> predicted, const ReportChoices& choices) {
  const Index count = domain_count(sample, choices);
  if (count < 1) return std::nullopt;
  const auto annotation = annotation_of(sample);
  report::Domains domains;
  domains.count = count;
  domains.labels = annotation.labels;
  domains.annotation = annotation.of;
  domains.measured = detail::cluster_spots(context, sample.expression.view(), count);
  if (!annotation.of.empty()) domains.measured = detail::number_like(domains.measured, annotation.of);
  domains.predicted = detail::number_like(detail::cluster_spots(context, predicted, count),
                                          annotation.of.empty() ? domains.measured : annotation.of);
  const auto agreement = [](const std::vector<Index>& a, const std::vector<Index>& b) {
    return report::Agreement{eosin::eval::adjusted_rand_index(a, b), eosin::eval::normalised_mutual_information(a, b)};
  };
  domains.predicted_with_measured = agreement(domains.predicted, domains.measured);
  if (!annotation.of.empty()) {
    domains.predicted_with_annotation = agreement(domains.predicted, annotation.of);
    domains.measured_with_annotation = agreement(domains.measured, annotation.of);
  }
  return domains;
}

inline nlohmann::ordered_json to_json(const std::string& sample, const report::Domains& domains) {
  const auto agreement = [](const report::Agreement& a) {
    return nlohmann::ordered_json{{"adjusted_rand_index", a.rand_index},
                                  {"normalised_mutual_information", a.mutual_information}};
  };
  nlohmann::ordered_json json{{"sample", sample}, {"domains", domains.count}};
  if (!domains.annotation.empty()) {
    json["annotated_spots"] = std::count_if(domains.annotation.begin(), domains.annotation.end(),
                                            [](Index label) { return label >= 0; });
    json["predicted_with_annotation"] = agreement(domains.predicted_with_annotation);
    json["measured_with_annotation"] = agreement(domains.measured_with_annotation);
  }
  json["predicted_with_measured"] = agreement(domains.predicted_with_measured);
  return json;
}

}  // namespace study
