#include <eosin/sim/tissue.hpp>

#include <eosin/vision/patches.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace eosin;
using sim::SimulatedTissue;
using sim::TissueOptions;

namespace {

TissueOptions small_tissue() {
  TissueOptions options;
  options.seed = 7;
  options.sections = 3;
  options.columns = 9;
  options.rows = 8;
  options.pitch = 48;
  options.genes = 40;
  options.cells = 280;
  return options;
}

SimulatedTissue make(const TissueOptions& options, int threads = 2) {
  CpuContext context({.threads = threads});
  return sim::simulate_tissue(context, options);
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto n = static_cast<double>(a.size());
  double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ma += a[i] / n;
    mb += b[i] / n;
  }
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += (a[i] - ma) * (a[i] - ma);
    bb += (b[i] - mb) * (b[i] - mb);
    ab += (a[i] - ma) * (b[i] - mb);
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("shapes fit and shares are shares") {
  const TissueOptions options = small_tissue();
  const SimulatedTissue tissue = make(options);
  REQUIRE(tissue.sections.size() == 3);
  CHECK(tissue.genes.size() == 40);
  CHECK(tissue.types.size() == 7);
  CHECK(tissue.types.front() == "tumour");
  CHECK(tissue.modality.size() == 40);
  CHECK(tissue.dispersion.size() == 40);
  for (Index k = 0; k < 7; ++k) {
    double sum = 0.0;
    for (Index g = 0; g < 40; ++g) sum += tissue.prototypes(k, g);
    CHECK(sum == doctest::Approx(1.0));
  }
  CHECK(tissue.sections[0].patient == tissue.sections[1].patient);
  CHECK(tissue.sections[0].patient != tissue.sections[2].patient);
  for (const auto& section : tissue.sections) {
    const auto n = static_cast<std::size_t>(section.size());
    CHECK(n > 30);
    CHECK(n <= 72);
    CHECK(section.image.width == 480);
    CHECK(section.image.height == 432);
    CHECK(section.array_x.size() == n);
    CHECK(section.pixel_y.size() == n);
    CHECK(section.depth.size() == n);
    CHECK(std::set<std::string>(section.spots.begin(), section.spots.end()).size() == n);
    CHECK(section.counts.rows() == section.size());
    CHECK(section.counts.cols() == 40);
    for (Index i = 0; i < section.size(); ++i) {
      double types = 0.0, genes = 0.0;
      for (Index k = 0; k < 7; ++k) {
        REQUIRE(section.composition(i, k) >= 0.0);
        types += section.composition(i, k);
      }
      for (Index g = 0; g < 40; ++g) genes += static_cast<double>(section.expression(i, g));
      CHECK(types == doctest::Approx(1.0));
      CHECK(genes == doctest::Approx(1.0).epsilon(1e-5));
      const auto at = static_cast<std::size_t>(i);
      CHECK(section.spots[at] ==
            std::to_string(std::lround(section.array_x[at])) + "x" + std::to_string(std::lround(section.array_y[at])));
      CHECK(std::abs(section.pixel_x[at] - 48.0 * section.array_x[at]) < 5.0);
    }
  }
}

TEST_CASE("one seed, one tissue: on any number of threads, and whatever else is made") {
  TissueOptions options = small_tissue();
  const SimulatedTissue one = make(options, 1), three = make(options, 3);
  for (std::size_t s = 0; s < 3; ++s) {
    CHECK(one.sections[s].image.pixels == three.sections[s].image.pixels);
    CHECK(one.sections[s].counts == three.sections[s].counts);
  }
  CHECK(one.cells.counts == three.cells.counts);
  CHECK(one.cells.batch == three.cells.batch);

  options.sections = 4;
  options.cells = 10;
  const SimulatedTissue more = make(options);
  CHECK(more.sections[1].image.pixels == one.sections[1].image.pixels);
  CHECK(more.sections[1].counts == one.sections[1].counts);
  CHECK(one.sections[0].counts != one.sections[1].counts);
  options.seed = 8;
  CHECK(make(options).sections[1].counts != one.sections[1].counts);
}

TEST_CASE("expression is the composition times the prototypes, and counts follow it") {
  TissueOptions options = small_tissue();
  options.noise = 0.0;
  options.log_depth = 9.0;
  const SimulatedTissue tissue = make(options);
  for (const auto& section : tissue.sections) {
    std::vector<double> expected, measured;
    for (Index i = 0; i < section.size(); ++i) {
      std::vector<double> r(40);
      double sum = 0.0;
      for (Index g = 0; g < 40; ++g) {
        for (Index k = 0; k < 7; ++k)
          r[static_cast<std::size_t>(g)] += section.composition(i, k) * tissue.prototypes(k, g);
        sum += r[static_cast<std::size_t>(g)] *= tissue.modality[static_cast<std::size_t>(g)];
      }
      double total = 0.0;
      for (Index g = 0; g < 40; ++g) {
        CHECK(static_cast<double>(section.expression(i, g)) ==
              doctest::Approx(r[static_cast<std::size_t>(g)] / sum).epsilon(1e-4));
        total += static_cast<double>(section.counts.at(i, g));
        expected.push_back(section.depth[static_cast<std::size_t>(i)] * r[static_cast<std::size_t>(g)] / sum);
        measured.push_back(static_cast<double>(section.counts.at(i, g)));
      }
      // Poisson: six deviations of the total.
      const double depth = section.depth[static_cast<std::size_t>(i)];
      CHECK(std::abs(total - depth) < 6.0 * std::sqrt(depth));
    }
    CHECK(correlation(expected, measured) > 0.98);
  }
}

TEST_CASE("counts have the mean and the variance of their negative binomial") {
  TissueOptions options = small_tissue();
  options.sections = 8;
  options.dispersion_spread = 0.0;
  options.dispersion = 0.3;
  const SimulatedTissue tissue = make(options);
  double observed = 0.0, expected = 0.0, squares = 0.0, variance = 0.0;
  for (const auto& section : tissue.sections)
    for (Index i = 0; i < section.size(); ++i)
      for (Index g = 0; g < 40; ++g) {
        const double mean = section.depth[static_cast<std::size_t>(i)] * static_cast<double>(section.expression(i, g));
        const double y = static_cast<double>(section.counts.at(i, g)), v = mean + 0.3 * mean * mean;
        observed += y / std::sqrt(v);
        expected += mean / std::sqrt(v);
        squares += (y - mean) * (y - mean) / v;
        variance += 1.0;
      }
  CHECK(variance > 10000);
  CHECK(std::abs(observed - expected) < 5.0 * std::sqrt(variance));
  CHECK(squares / variance == doctest::Approx(1.0).epsilon(0.1));
}

TEST_CASE("the image shows the tissue where the spots are, with the section's own stain") {
  const SimulatedTissue tissue = make(small_tissue());
  for (const auto& section : tissue.sections) {
    const vision::StainSeparator separator(section.stain);
    // Haematoxylin of the window of a spot follows its share of cells with much chromatin.
    std::vector<double> stained, fat;
    double tissue_density = 0.0;
    for (std::size_t i = 0; i < section.spots.size(); ++i) {
      const vision::Image patch = vision::extract_patch(section.image, {section.pixel_x[i], section.pixel_y[i]}, 36);
      double h = 0.0, density = 0.0;
      for (Index y = 0; y < 36; ++y)
        for (Index x = 0; x < 36; ++x) {
          const auto amount = separator(patch.at(x, y));
          h += static_cast<double>(amount[0]) / (36.0 * 36.0);
          density += static_cast<double>(amount[3]) / (36.0 * 36.0);
        }
      stained.push_back(h);
      const auto row = static_cast<Index>(i);
      fat.push_back(section.composition(row, 0) + section.composition(row, 2) + section.composition(row, 3));
      tissue_density += density / static_cast<double>(section.spots.size());
    }
    CHECK(correlation(stained, fat) > 0.5);
    CHECK(tissue_density > 0.2);
    const auto corner = separator(section.image.at(1, 1));
    CHECK(std::abs(corner[3]) < 0.1f);
  }
}

TEST_CASE("single cells carry their type and batch, every type in every batch") {
  TissueOptions options = small_tissue();
  options.cells = 700;
  const SimulatedTissue tissue = make(options);
  const auto& cells = tissue.cells;
  CHECK(cells.counts.rows() == 700);
  CHECK(cells.names.size() == 700);
  std::map<std::pair<std::string, std::string>, int> table;
  for (std::size_t c = 0; c < 700; ++c) ++table[{cells.type[c], cells.batch[c]}];
  CHECK(table.size() == 21);
  // The mean profile of a type is nearer to its own prototype than to any other.
  for (Index k = 0; k < 7; ++k) {
    std::vector<double> mean(40, 0.0);
    for (Index c = 0; c < 700; ++c) {
      if (cells.type[static_cast<std::size_t>(c)] != tissue.types[static_cast<std::size_t>(k)]) continue;
      const auto row = cells.counts.row(c);
      double total = 0.0;
      for (const float v : row.values) total += static_cast<double>(v);
      for (std::size_t e = 0; e < row.values.size(); ++e)
        mean[static_cast<std::size_t>(row.columns[e])] += static_cast<double>(row.values[e]) / total;
    }
    Index best = -1;
    double highest = -2.0;
    for (Index j = 0; j < 7; ++j) {
      std::vector<double> a, b;
      for (Index g = 0; g < 40; ++g) {
        a.push_back(std::log(mean[static_cast<std::size_t>(g)] + 1e-4));
        b.push_back(std::log(tissue.prototypes(j, g) * 100.0 + 1e-4));
      }
      const double r = correlation(a, b);
      if (r > highest) {
        highest = r;
        best = j;
      }
    }
    CHECK(best == k);
  }
}

TEST_CASE("options out of range are refused by name") {
  CpuContext context({.threads = 1});
  const auto refuse = [&](auto change, const char* message) {
    TissueOptions options = small_tissue();
    change(options);
    CHECK_THROWS_WITH_AS(sim::simulate_tissue(context, options), message, ValueError);
  };
  refuse([](auto& o) { o.types = 9; }, "simulate_tissue: types is 9, expected 1 to 8");
  refuse([](auto& o) { o.sections = 0; }, "simulate_tissue: sections is 0, expected 1 to 10000");
  refuse([](auto& o) { o.noise = std::nan(""); }, "simulate_tissue: a deviation lies outside [0, 100]");
  refuse([](auto& o) { o.dispersion = 0.0; }, "simulate_tissue: dispersion is 0; set noise to 0 for Poisson counts");
  refuse([](auto& o) { o.capture = 0.0; },
         "simulate_tissue: territory and capture are positive lengths, capture at most 2 pitches");
  TissueOptions options = small_tissue();
  options.types = 1;
  options.cells = 0;
  options.sections = 1;
  const SimulatedTissue one = make(options);
  CHECK(one.sections[0].composition(0, 0) == doctest::Approx(1.0));
  CHECK(one.cells.counts.rows() == 0);
}
