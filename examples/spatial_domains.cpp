// Spatial domains of a measured section: k-means on the first principal components of its log-normalised expression,
// and their agreement with the section's annotation.
//
//   spatial_domains MANIFEST SAMPLE [GENES]
//
// MANIFEST is a samples.csv, GENES a list with one gene per line (default: all genes of the section).

#include <eosin/data/gene_filter.hpp>
#include <eosin/data/manifest.hpp>
#include <eosin/data/normalisation.hpp>
#include <eosin/data/section.hpp>
#include <eosin/eval/k_means.hpp>
#include <eosin/eval/partition_agreement.hpp>
#include <eosin/eval/principal_components.hpp>

#include "common/domains.hpp"
#include "common/gene_list.hpp"

#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

using namespace eosin;

namespace {

void run(const std::string& manifest, const std::string& sample, const std::string& genes) {
  CpuContext context;
  const auto section = data::load_section(data::read_manifest(manifest).at(sample), {.features = false}, {});
  if (section.labels.empty()) throw ParseError(manifest + ": sample " + sample + " has no annotation");
  study::Sample annotated;
  annotated.annotation = section.labels;
  const auto [names, annotation] = study::annotation_of(annotated);

  // Each spot is scaled to its own total over all genes, whichever genes are looked at.
  const auto totals = section.counts.row_sums();
  Vector<double> library(section.size());
  for (Index i = 0; i < library.size(); ++i) library[i] = static_cast<double>(totals[static_cast<std::size_t>(i)]);
  auto counts = section.counts;
  if (!genes.empty())
    counts = counts.select_columns(data::select_genes(section.genes, common::read_gene_list(genes), genes).columns);
  const auto dense = counts.dense();
  Matrix<float> expression(dense.rows(), dense.cols());
  data::normalise(context, dense.view(), expression.view(), {}, library);

  const auto components = eval::principal_components(context, std::as_const(expression).view(), 50);
  const auto domains =
      eval::k_means(context, components.scores.view(), {.clusters = static_cast<Index>(names.size())}).labels;
  std::printf("%s: %td spots, %td genes, %zu annotated labels\n", sample.c_str(), expression.rows(), expression.cols(),
              names.size());
  std::printf("adjusted Rand index             %.4f\n", eval::adjusted_rand_index(domains, annotation));
  std::printf("normalised mutual information   %.4f\n", eval::normalised_mutual_information(domains, annotation));
  for (std::size_t l = 0; l < names.size(); ++l) {
    std::printf("%-24s", names[l].c_str());
    for (Index d = 0; d < static_cast<Index>(names.size()); ++d) {
      Index count = 0;
      for (std::size_t i = 0; i < domains.size(); ++i)
        count += domains[i] == d && annotation[i] == static_cast<Index>(l);
      std::printf(" %5td", count);
    }
    std::printf("\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: spatial_domains MANIFEST SAMPLE [GENES]\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argc == 4 ? argv[3] : "");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spatial_domains: %s\n", error.what());
    return 1;
  }
  return 0;
}
