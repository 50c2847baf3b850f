#pragma once

// Golden cases of component `metrics`.

#include <eosin/eval/metrics.hpp>

#include "support/golden.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace eosin::testing {

template <class T>
void check_metrics(const GoldenCase& golden, Comparison& comparison) {
  CpuContext context({.threads = 2});
  const auto truth = golden.matrix<T>("in/truth");
  const auto prediction = golden.matrix<T>("in/prediction");
  const eval::SummaryOptions options{.heg_count = golden.config.at("heg_count").get<Index>()};
  const eval::Summary s = eval::summarise(context, prediction.view(), truth.view(), options);

  const auto correlations = [&](const std::string& name, const eval::Correlations& c) {
    comparison.check("out/" + name, c.values);
    comparison.check("out/" + name + "_defined", c.defined);
    comparison.check("out/" + name + "_undefined_count", c.undefined_count());
    comparison.check("out/" + name + "_mean", eval::mean_of(c).mean);
  };
  correlations("pearson_per_gene", s.pearson_per_gene);
  correlations("spearman_per_gene", s.spearman_per_gene);
  correlations("pearson_per_spot", s.pearson_per_spot);
  correlations("spearman_per_spot", s.spearman_per_spot);
  comparison.check("out/mse", s.error.mse);
  comparison.check("out/mae", s.error.mae);
  comparison.check("out/rmse", s.error.rmse);
  comparison.check("out/mse_per_gene", s.error.mse_per_gene);
  comparison.check("out/mae_per_gene", s.error.mae_per_gene);
  comparison.check("out/rmse_per_gene", s.error.rmse_per_gene);
  comparison.check("out/heg_indices", s.heg);
  comparison.check("out/heg_pearson_mean", s.pearson_heg.mean);

  if (golden.has("in/section")) {
    const auto section = golden.vector<std::int64_t>("in/section");
    const eval::SectionedSummary sections = eval::summarise_sections(
        context, prediction.view(), truth.view(),
        std::span<const std::int64_t>(section.data(), static_cast<std::size_t>(section.size())), options);
    std::vector<double> pearson, heg;
    for (const eval::Summary& one : sections.per_section) {
      pearson.push_back(one.pearson_gene.mean);
      heg.push_back(one.pearson_heg.mean);
    }
    comparison.check("out/section_pearson_mean", pearson);
    comparison.check("out/section_heg_pearson_mean", heg);
    comparison.check("out/sections_pearson_mean", sections.mean.pearson_gene_mean);
    comparison.check("out/sections_heg_pearson_mean", sections.mean.pearson_heg_mean);
    correlations("pearson_per_gene_across_sections", sections.pearson_per_gene_across_sections);
  }
  comparison.finish();
}

}  // namespace eosin::testing
