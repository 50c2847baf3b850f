#include <eosin/glm/gene_counts.hpp>
#include <eosin/glm/merged_gene.hpp>

#include <doctest/doctest.h>

#include "glm/dense_reference.hpp"

#include <eosin/glm/fit.hpp>

#include <cmath>
#include <vector>

using namespace eosin;

TEST_CASE("glm::MergedGene: the full model is GeneSolver's, merged levels are those of a merged design") {
  const auto data = testing::simulate_counts(80, 90, 5, 4, 1.0, 8);
  CpuContext context({.threads = 1});
  const glm::Design design = data.design();
  const glm::CellGroups groups(design, data.size_factors);
  const glm::GroupSums sums(context, groups);
  // T3 joins T1 and B2 joins B0; the merged design numbers its levels anew.
  glm::MergedLevels merged = glm::MergedLevels::none(5, 4);
  merged.types[3] = 1;
  merged.batches[2] = 0;
  auto renamed = data;
  for (Index& t : renamed.type) t = t == 3 ? 1 : t == 4 ? 3 : t;
  for (Index& b : renamed.batch) b = b == 2 ? 0 : b == 3 ? 2 : b;
  const glm::Design small = renamed.design();
  const glm::CellGroups small_groups(small, data.size_factors);
  const glm::GroupSums small_sums(context, small_groups);

  glm::GeneSolver full(groups, sums, 100), reduced(small_groups, small_sums, 100);
  glm::GeneCounts full_counts(groups), reduced_counts(small_groups);
  glm::MergedGene gene(groups, sums);
  auto source = glm::gene_blocks(data.counts);
  const auto block = source.next(80);
  const glm::MergedLevels none = glm::MergedLevels::none(5, 4);
  std::vector<double> types(5), batches(4);
  for (const double phi : {0.0, 0.5}) {
    for (Index g = 0; g < 80; ++g) {
      CAPTURE(g);
      const auto cells = block.cells_of(g);
      const auto counts = block.counts_of(g);
      full.load(full_counts.arrange(g, cells.data(), counts.data(), cells.size()));
      reduced.load(reduced_counts.arrange(g, cells.data(), counts.data(), cells.size()));
      full.solve(phi);
      reduced.solve(phi);
      gene.load(g, block.cells_of(g), block.counts_of(g));
      REQUIRE(gene.maximise(none, phi));
      CHECK(gene.log_likelihood() == doctest::Approx(full.log_likelihood(phi)).epsilon(1e-12));
      full.coefficients(VectorView<double>(types), VectorView<double>(batches));
      for (std::size_t t = 0; t < 5; ++t) {
        std::vector<double> unit(5, 0.0);
        unit[t] = 1.0;
        const double got = gene.estimate(unit, {});
        CHECK((got == types[t] || (std::isnan(got) && std::isnan(types[t])) || std::abs(got - types[t]) < 1e-10));
      }
      std::vector<double> type_errors(5), batch_errors(4);
      if (full.status() != glm::FitStatus::no_counts && full.prepare_standard_errors()) {
        full.standard_errors(VectorView<double>(type_errors), VectorView<double>(batch_errors));
        for (std::size_t b = 0; b < 4; ++b) {
          std::vector<double> unit(4, 0.0);
          unit[b] = 1.0;
          if (!std::isnan(batch_errors[b]))
            CHECK(std::sqrt(gene.variance({}, unit)) == doctest::Approx(batch_errors[b]).epsilon(1e-10));
        }
      }
      REQUIRE(gene.maximise(merged, phi));
      CHECK(gene.log_likelihood() == doctest::Approx(reduced.log_likelihood(phi)).epsilon(1e-12));
    }
  }
}
