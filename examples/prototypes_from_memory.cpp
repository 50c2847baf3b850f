// Cell-type prototypes from counts in memory: simulates labelled cells in two batches, fits the negative binomial GLM
// and prints the prototypes beside the truth and beside plain means.

#include <eosin/core/random.hpp>
#include <eosin/glm/naive_means.hpp>
#include <eosin/glm/prototypes.hpp>

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

using namespace eosin;

namespace {

constexpr Index genes = 8, cells = 1200;
const std::vector<std::string> type_names{"B", "Mono", "T"};

struct Simulation {
  SparseMatrix<int> counts;              // genes x cells
  std::vector<std::string> type, batch;  // a label per cell
  std::vector<double> depth;             // size factor per cell
  Matrix<double> truth{3, genes};        // mean at size factor 1, averaged over the batches
};

/// B cells are rare in the second batch, which doubles some genes and silences the first. T cells lack gene 1.
Simulation simulate() {
  RandomStream random(/*seed=*/7);
  Simulation result;
  Matrix<double> type_mean(3, genes), batch_factor(2, genes);
  for (Index g = 0; g < genes; ++g) {
    for (Index t = 0; t < 3; ++t) type_mean(t, g) = g == 1 && t == 2 ? 0.0 : std::exp(random.normal(0.5, 1.0));
    batch_factor(0, g) = 1.0;
    batch_factor(1, g) = g == 0 ? 0.0 : g % 3 == 0 ? 2.0 : 1.0;
    for (Index t = 0; t < 3; ++t)
      result.truth(t, g) = type_mean(t, g) * (batch_factor(0, g) + batch_factor(1, g)) / 2.0;
  }
  std::vector<Triplet<int>> entries;
  for (Index cell = 0; cell < cells; ++cell) {
    const Index batch = random.below(2);
    const Index type = batch == 1 && random.uniform() < 0.8 ? 1 + random.below(2) : random.below(3);
    const double depth = std::exp(random.normal(0.0, 0.4));
    for (Index g = 0; g < genes; ++g) {
      const auto count = random.negative_binomial(depth * type_mean(type, g) * batch_factor(batch, g), 0.3);
      if (count > 0) entries.push_back({g, cell, static_cast<int>(count)});
    }
    result.depth.push_back(depth);
    result.type.push_back(type_names[static_cast<std::size_t>(type)]);
    result.batch.push_back(batch == 0 ? "plate1" : "plate2");
  }
  result.counts = SparseMatrix<int>::from_triplets(genes, cells, entries);
  return result;
}

}  // namespace

int main() try {
  const Simulation data = simulate();
  CpuContext context;

  glm::PrototypeOptions options;
  options.type = glm::Categories::from_labels(data.type);
  options.batch = glm::Categories::from_labels(data.batch);
  options.fit.size_factors =
      data.depth;  // of eight genes the total counts would say more about the type than the depth
  const auto prototypes = glm::fit_prototypes(context, data.counts, options);
  const auto means = glm::naive_means(glm::gene_blocks(data.counts), options.type, data.depth);

  const Matrix<double> fitted = prototypes.expression(), naive = means.expression();
  std::printf("mean counts at size factor 1, averaged over the batches\n\n%-6s", "gene");
  for (const auto& name : prototypes.type_names()) std::printf(" | %-5s truth    GLM  means", name.c_str());
  std::printf("\n");
  for (Index g = 0; g < prototypes.genes(); ++g) {
    std::printf("g%-5d", static_cast<int>(g));
    for (Index t = 0; t < prototypes.types(); ++t)
      std::printf(" |      %6.2f %6.2f %6.2f", data.truth(t, g), fitted(t, g), naive(t, g));
    std::printf("\n");
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "prototypes_from_memory: %s\n", error.what());
  return 1;
}
