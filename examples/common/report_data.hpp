#pragma once

// What a program hands to the report generator: plain values, filled in any order. Matrices are views of the
// caller's memory and must stay alive until write_report returns.

#include <eosin/core/view.hpp>
#include <eosin/vision/image.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace report {

using eosin::Index;

struct KeyValue {
  std::string key;
  std::string value;
};

struct NamedNumber {
  std::string name;
  double value = 0;
};

/// A key figure of the page's head: what it is, the figure as text, what to compare it with.
struct Tile {
  std::string label;
  std::string value;
  std::string note;
};

/// One epoch of one member of the ensemble (member 0 where there is only one). A name that occurs in both `train` and
/// `validation` is drawn in one panel.
struct Epoch {
  Index epoch = 0;
  Index member = 0;
  std::vector<NamedNumber> train;       ///< losses: total, observation, composition, prototype, ...
  std::vector<NamedNumber> validation;  ///< losses or metrics on the validation sections
  double learning_rate = 0;
  double seconds = 0;
  bool kept = false;  ///< the parameters of this epoch are the ones that predict
};

enum class Better { higher, lower, neither };

/// A column of the table of metrics. `name` is what MetricRow::numbers refers to, `label` what is shown.
struct MetricColumn {
  std::string name;
  std::string label;
  Better better = Better::higher;
  int decimals = 3;
};

/// The columns that every program reports.
inline std::vector<MetricColumn> standard_metric_columns() {
  return {{"pearson_gene_mean", "Pearson per gene", Better::higher, 3},
          {"pearson_heg50_mean", "Pearson, 50 highest", Better::higher, 3},
          {"spearman_gene_mean", "Spearman per gene", Better::higher, 3},
          {"mse", "Squared error", Better::lower, 4},
          {"mae", "Absolute error", Better::lower, 4}};
}

/// One method on one test sample. A number that is absent or not finite is shown as a dash.
struct MetricRow {
  std::string sample;
  std::string method;
  bool is_control = false;  ///< a baseline beside the model
  bool is_oracle = false;   ///< looks at the test counts: marked, and never the best of its column
  std::vector<NamedNumber> numbers;
  Index undefined_genes = 0;
};

/// Pearson correlation per gene across the spots of a section; `defined[g]` is 0 where gene g has none (constant).
struct GenePearson {
  std::string name;
  std::vector<double> pearson;
  std::vector<std::uint8_t> defined;
};

/// How far two partitions of the spots agree.
struct Agreement {
  double rand_index = 0;          ///< adjusted
  double mutual_information = 0;  ///< normalised
};

/// Clusters of spots, by predicted and by measured expression, beside an annotation. Equal numbers have equal colours.
struct Domains {
  Index count = 0;                         ///< 0: none are shown
  std::vector<Index> predicted, measured;  ///< per spot
  std::vector<std::string> labels;         ///< of the annotation
  std::vector<Index> annotation;           ///< per spot, into `labels`, -1 = unknown; empty: there is no annotation
  Agreement predicted_with_annotation, measured_with_annotation;  ///< where there is one
  Agreement predicted_with_measured;
};

/// A test spot and what a model that retrieves found for it: patches as small as they are to be shown.
struct RetrievalExample {
  struct Match {
    std::string label;  ///< sample and spot
    double similarity = 0;
    eosin::vision::Image patch;
  };
  std::string spot;  ///< one of the section's
  eosin::vision::Image patch;
  std::vector<Match> matches;  ///< most similar first
};

/// One test section. Spots by genes and spots by types share the order of `spots`, `x`, `y`.
struct SectionView {
  std::string name;
  eosin::vision::Image thumbnail;  ///< the tissue, already reduced; may be empty
  double scale = 1;                ///< thumbnail pixels per pixel of the full image
  std::vector<std::string> spots;
  std::vector<double> x, y;  ///< spot centres in pixels of the full image
  double pitch = 0;          ///< distance of neighbouring spots in pixels of the full image; 0 = estimate it

  std::vector<std::string> genes;
  eosin::MatrixView<const float> predicted;  ///< [spots x genes], log-normalised
  eosin::MatrixView<const float> measured;   ///< [spots x genes], log-normalised
  GenePearson model;                         ///< of `predicted`; its name is the model's
  GenePearson control;                       ///< drawn beside the model; empty = none
  std::vector<std::string> show;             ///< genes mapped whatever their correlation

  std::vector<std::string> types;
  eosin::MatrixView<const float> composition;  ///< [spots x types], rows sum to 1; empty = none
  eosin::MatrixView<const float> reference;    ///< [spots x types] to compare with; empty = none
  std::string reference_name = "Reference";    ///< where the reference comes from

  Domains domains;
  std::vector<RetrievalExample> retrieval;  ///< none: the model does not retrieve
};

struct ReportData {
  std::string title;
  std::string subtitle;
  std::vector<Tile> tiles;  ///< shown before the ones made from `metrics`
  std::vector<Epoch> epochs;
  std::vector<MetricColumn> columns = standard_metric_columns();
  std::vector<MetricRow> metrics;
  std::vector<SectionView> sections;
  std::vector<std::string> notes;
  std::vector<KeyValue> settings;
  std::vector<std::string> commands;  ///< what to type to get this result again
};

struct ReportOptions {
  Index best_genes = 4;
  Index median_genes = 2;
  Index worst_genes = 2;
  Index explorer_bytes = Index{4} << 20;  ///< text spent on the gene selector over all sections; 0 = no selector
  Index open_types = 12;                  ///< composition maps shown at once, by mean share; more are folded away
  int image_quality = 82;                 ///< JPEG quality of the thumbnails
};

}  // namespace report
