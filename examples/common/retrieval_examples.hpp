#pragma once

// For a model that predicts by retrieval: some test spots with the training spots found nearest to them, as pictures
// for the report.

#include "common/report_data.hpp"
#include "common/study.hpp"

#include <eosin/eval/k_means.hpp>
#include <eosin/vision/patches.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace study {

struct RetrievalExampleOptions {
  Index examples = 5;
  Index matches = 5;
  double edge = 0;      ///< of a patch in image pixels; 0: the pitch of its sample
  Index pixels = 112;   ///< edge of a picture
};

/// Spots spread over a section: those nearest to the centres of as many clusters of places. Distinct, in their order;
/// fewer than `count` only where there are fewer spots.
inline std::vector<Index> spread_spots(CpuContext& context, const Sample& sample, Index count) {
  const Index clusters = std::min(count, sample.size());
  Matrix<double> places(sample.size(), 2);
  for (Index i = 0; i < sample.size(); ++i) {
    places(i, 0) = sample.x[static_cast<std::size_t>(i)];
    places(i, 1) = sample.y[static_cast<std::size_t>(i)];
  }
  const auto found = eosin::eval::k_means(context, std::as_const(places).view(), {.clusters = clusters});
  std::vector<Index> chosen(static_cast<std::size_t>(clusters), -1);
  std::vector<double> nearest(chosen.size(), std::numeric_limits<double>::infinity());
  for (Index i = 0; i < sample.size(); ++i) {
    const Index c = found.labels[static_cast<std::size_t>(i)];
    const double dx = places(i, 0) - found.centres(c, 0), dy = places(i, 1) - found.centres(c, 1);
    if (const double square = dx * dx + dy * dy; square < nearest[static_cast<std::size_t>(c)]) {
      nearest[static_cast<std::size_t>(c)] = square;
      chosen[static_cast<std::size_t>(c)] = i;
    }
  }
  std::erase(chosen, -1);  // of clusters without spots, where several lie at one place
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

/// `keys`: the samples whose spots, one sample after the other, are the rows that `indices` [N x k] count; `similarity`
/// [N x k] falling along a row. All samples have their images. Throws ShapeError, ValueError.
inline std::vector<report::RetrievalExample> retrieval_examples(CpuContext& context, const Sample& test,
                                                                const std::vector<const Sample*>& keys,
                                                                MatrixView<const Index> indices,
                                                                MatrixView<const float> similarity,
                                                                const RetrievalExampleOptions& options = {}) {
  eosin::require_size("retrieval_examples", "indices", "rows", indices.rows(), test.size(), "spots");
  eosin::require_shape("retrieval_examples", "similarity", similarity, indices.rows(), indices.cols());
  const auto patch = [&](const Sample& sample, Index spot) {
    eosin::require_value(sample.image != nullptr, "retrieval_examples", "sample " + sample.name + " has no image");
    const auto i = static_cast<std::size_t>(spot);
    return eosin::vision::resample_window(*sample.image, {sample.x[i], sample.y[i]},
                                          options.edge > 0 ? options.edge : sample.pitch, options.pixels);
  };
  std::vector<report::RetrievalExample> examples;
  for (const Index spot : spread_spots(context, test, options.examples)) {
    report::RetrievalExample example{test.spots[static_cast<std::size_t>(spot)], patch(test, spot), {}};
    for (Index j = 0; j < std::min(options.matches, indices.cols()); ++j) {
      Index row = indices(spot, j);
      auto key = keys.begin();
      eosin::require_value(row >= 0, "retrieval_examples", "an index is negative");
      while (key != keys.end() && row >= (*key)->size()) row -= (*key++)->size();
      eosin::require_value(key != keys.end(), "retrieval_examples", "an index exceeds the spots of the keys");
      example.matches.push_back({(*key)->name + " " + (*key)->spots[static_cast<std::size_t>(row)],
                                 static_cast<double>(similarity(spot, j)), patch(**key, row)});
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace study
