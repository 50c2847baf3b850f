#pragma once

// Every number a report shows for one method on one test sample, and its combinations over sections:
//
//   summarise           one section (or, by the caller's choice, pooled spots)
//   summarise_sections  each section by itself, the mean over sections, the pooled spots (all sections as one), and
//                       per gene across the section means
//   summarise_slides    slide level: one row per slide; per gene across slides is undefined below three slides
//   bootstrap_mean      confidence interval of a mean over sections
//
// Section-wise means weigh every section alike. Pooled correlations also reward what differs between sections (stain,
// depth), so they are not comparable with section-wise ones and carry "pooled" in their name.

#include <eosin/core/random.hpp>
#include <eosin/eval/correlation.hpp>
#include <eosin/eval/errors.hpp>
#include <eosin/eval/gene_sets.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eosin::eval {

struct SummaryOptions {
  /// Number of genes of highest mean truth (HEG) that are averaged apart.
  Index heg_count = 50;
};

/// Scores of one method on one section. "mean" is over the defined correlations, see CorrelationMean.
struct Summary {
  Index spots = 0;
  Index genes = 0;
  CorrelationMean pearson_gene;
  CorrelationMean pearson_heg;
  CorrelationMean spearman_gene;
  CorrelationMean spearman_heg;
  CorrelationMean pearson_spot;
  CorrelationMean spearman_spot;
  Errors error;
  Correlations pearson_per_gene;
  Correlations spearman_per_gene;
  Correlations pearson_per_spot;
  Correlations spearman_per_spot;
  /// Genes of highest mean truth, descending.
  std::vector<Index> heg;

  /// Calls f(name, value) for every scalar that belongs into a result file, in a fixed order; counts as doubles. The
  /// number of HEG is part of their name ("pearson_heg50_mean").
  template <class F>
  void for_each_number(F&& f) const {
    const auto correlation = [&](const std::string& name, const CorrelationMean& c) {
      f(name + "_mean", c.mean);
      f(name + "_mean_undefined_as_zero", c.mean_undefined_as_zero);
      f(name + "_undefined", static_cast<double>(c.undefined));
    };
    const std::string heg_name = "heg" + std::to_string(heg.size());
    f(std::string("spots"), static_cast<double>(spots));
    f(std::string("genes"), static_cast<double>(genes));
    correlation("pearson_gene", pearson_gene);
    correlation("pearson_" + heg_name, pearson_heg);
    correlation("spearman_gene", spearman_gene);
    correlation("spearman_" + heg_name, spearman_heg);
    correlation("pearson_spot", pearson_spot);
    correlation("spearman_spot", spearman_spot);
    f(std::string("mse"), error.mse);
    f(std::string("mae"), error.mae);
    f(std::string("rmse"), error.rmse);
  }
};

/// All scores of prediction against truth, both [spots x genes] on the scale on which they are to be compared. Throws
/// ShapeError on different shapes, ValueError on no entries or values that are not finite.
template <class P, class T>
Summary summarise(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth,
                  const SummaryOptions& options = {}) {
  Summary s;
  s.spots = truth.rows();
  s.genes = truth.cols();
  s.error = errors(context, prediction, truth);
  s.pearson_per_gene = pearson_per_gene(context, prediction, truth);
  s.spearman_per_gene = spearman_per_gene(context, prediction, truth);
  s.pearson_per_spot = pearson_per_spot(context, prediction, truth);
  s.spearman_per_spot = spearman_per_spot(context, prediction, truth);
  s.heg = highest_mean_genes(context, truth, options.heg_count);
  s.pearson_gene = mean_of(s.pearson_per_gene);
  s.pearson_heg = mean_of(s.pearson_per_gene, s.heg);
  s.spearman_gene = mean_of(s.spearman_per_gene);
  s.spearman_heg = mean_of(s.spearman_per_gene, s.heg);
  s.pearson_spot = mean_of(s.pearson_per_spot);
  s.spearman_spot = mean_of(s.spearman_per_spot);
  return s;
}

/// Plain means over sections. A section in which no correlation is defined enters as 0 and is counted.
struct SectionMeans {
  Index sections = 0;
  double pearson_gene_mean = 0;
  double pearson_heg_mean = 0;
  double spearman_gene_mean = 0;
  double pearson_spot_mean = 0;
  double mse = 0;
  double mae = 0;
  double rmse = 0;
  /// Sections without any defined per-gene Pearson correlation.
  Index sections_undefined = 0;
};

/// Averages summaries of sections, each weighing the same. No summaries: ValueError.
inline SectionMeans mean_over_sections(std::span<const Summary> sections) {
  require_value(!sections.empty(), "mean_over_sections", "there are no sections");
  SectionMeans m;
  m.sections = static_cast<Index>(sections.size());
  for (const Summary& s : sections) {
    m.pearson_gene_mean += s.pearson_gene.mean;
    m.pearson_heg_mean += s.pearson_heg.mean;
    m.spearman_gene_mean += s.spearman_gene.mean;
    m.pearson_spot_mean += s.pearson_spot.mean;
    m.mse += s.error.mse;
    m.mae += s.error.mae;
    m.rmse += s.error.rmse;
    if (s.pearson_gene.defined == 0) ++m.sections_undefined;
  }
  const double n = static_cast<double>(m.sections);
  for (double* value : {&m.pearson_gene_mean, &m.pearson_heg_mean, &m.spearman_gene_mean, &m.pearson_spot_mean, &m.mse,
                        &m.mae, &m.rmse})
    *value /= n;
  return m;
}

struct SectionedSummary {
  /// Section ids, ascending; per_section in the same order.
  std::vector<std::int64_t> ids;
  std::vector<Summary> per_section;
  SectionMeans mean;
  /// All spots as if they were one section.
  Summary pooled;
  /// Per gene, Pearson over sections of the section means of prediction and truth.
  Correlations pearson_per_gene_across_sections;
};

/// Scores section by section. prediction and truth [spots x genes], section [spots] ids in any order. Errors as
/// summarise; ShapeError where section has another length.
template <class P, class T>
SectionedSummary summarise_sections(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth,
                                    std::span<const std::int64_t> section, const SummaryOptions& options = {}) {
  require_shape("summarise_sections", "prediction", prediction, truth.rows(), truth.cols());
  require_size("summarise_sections", "section", "entries", static_cast<Index>(section.size()), truth.rows(), "spots");
  SectionedSummary result;
  result.pooled = summarise(context, prediction, truth, options);
  result.ids.assign(section.begin(), section.end());
  std::sort(result.ids.begin(), result.ids.end());
  result.ids.erase(std::unique(result.ids.begin(), result.ids.end()), result.ids.end());
  const Index genes = truth.cols();
  const auto count = static_cast<Index>(result.ids.size());
  Matrix<double> prediction_means(count, genes), truth_means(count, genes);
  for (Index i = 0; i < count; ++i) {
    const std::int64_t id = result.ids[static_cast<std::size_t>(i)];
    Matrix<std::remove_const_t<P>> p(static_cast<Index>(std::count(section.begin(), section.end(), id)), genes);
    Matrix<std::remove_const_t<T>> t(p.rows(), genes);
    Index row = 0;
    for (Index s = 0; s < truth.rows(); ++s) {
      if (section[static_cast<std::size_t>(s)] != id) continue;
      std::copy_n(&prediction(s, 0), genes, &p(row, 0));
      std::copy_n(&truth(s, 0), genes, &t(row, 0));
      ++row;
    }
    result.per_section.push_back(summarise(context, p.view(), t.view(), options));
    const Vector<double> p_mean = column_means(context, p.view());
    const Vector<double> t_mean = column_means(context, t.view());
    std::copy_n(p_mean.data(), genes, &prediction_means(i, 0));
    std::copy_n(t_mean.data(), genes, &truth_means(i, 0));
  }
  result.mean = mean_over_sections(result.per_section);
  result.pearson_per_gene_across_sections = pearson_per_gene(context, prediction_means.view(), truth_means.view());
  return result;
}

/// Fewest slides for a correlation across slides: through two points every line goes.
inline constexpr Index minimum_slides = 3;

struct SlideSummary {
  Index slides = 0;
  /// Per gene across slides; undefined below three slides.
  Correlations pearson_per_gene_across_slides;
  CorrelationMean pearson_gene_across_slides;
  /// Per slide across genes.
  Correlations pearson_per_slide;
  CorrelationMean pearson_slide;
  Errors error;
};

/// Scores of slide-level expression, prediction and truth [slides x genes]. Errors as summarise.
template <class P, class T>
SlideSummary summarise_slides(CpuContext& context, MatrixView<P> prediction, MatrixView<T> truth) {
  SlideSummary s;
  s.slides = truth.rows();
  s.error = errors(context, prediction, truth);
  s.pearson_per_gene_across_slides = pearson_per_gene(context, prediction, truth, minimum_slides);
  s.pearson_gene_across_slides = mean_of(s.pearson_per_gene_across_slides);
  s.pearson_per_slide = pearson_per_spot(context, prediction, truth);
  s.pearson_slide = mean_of(s.pearson_per_slide);
  return s;
}

struct BootstrapOptions {
  Index replicates = 10000;
  /// Coverage of the interval, in (0, 1).
  double level = 0.95;
  std::uint64_t seed = 1;
};

struct ConfidenceInterval {
  double mean = 0;
  double lower = 0;
  double upper = 0;
  /// False below two values: lower and upper are then the mean.
  bool defined = false;
};

/// Percentile bootstrap interval of the mean (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993): values
/// (one per section) are drawn with replacement. With a handful of sections the interval is too short; it says how far
/// sections differ, not more. For two methods, pass the differences of their scores section by section. Depends on the
/// seed alone. Throws ValueError for no values, values that are not finite, or options out of range.
inline ConfidenceInterval bootstrap_mean(CpuContext& context, std::span<const double> values,
                                         const BootstrapOptions& options = {}) {
  require_value(!values.empty(), "bootstrap_mean", "there are no values");
  require_value(options.replicates >= 1, "bootstrap_mean", "replicates must be at least 1");
  require_value(options.level > 0 && options.level < 1, "bootstrap_mean", "level must lie between 0 and 1");
  const double n = static_cast<double>(values.size());
  ConfidenceInterval result;
  for (const double value : values) {
    require_value(std::isfinite(value), "bootstrap_mean", "a value is not finite");
    result.mean += value / n;
  }
  result.lower = result.upper = result.mean;
  if (values.size() < 2) return result;
  result.defined = true;
  std::vector<double> means(static_cast<std::size_t>(options.replicates));
  context.parallel_for(options.replicates, 256, [&](Index begin, Index end) {
    for (Index replicate = begin; replicate < end; ++replicate) {
      RandomStream random(options.seed, static_cast<std::uint64_t>(replicate));
      double sum = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        sum += values[static_cast<std::size_t>(random.below(static_cast<Index>(values.size())))];
      means[static_cast<std::size_t>(replicate)] = sum / n;
    }
  });
  std::sort(means.begin(), means.end());
  const auto quantile = [&](double probability) {
    const double position = probability * static_cast<double>(means.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, means.size() - 1);
    return means[below] + (position - static_cast<double>(below)) * (means[above] - means[below]);
  };
  result.lower = quantile(0.5 * (1 - options.level));
  result.upper = quantile(0.5 * (1 + options.level));
  return result;
}

}  // namespace eosin::eval
