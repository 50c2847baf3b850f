#include <eosin/core/random.hpp>
#include <eosin/data/gene_filter.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

using namespace eosin;

namespace {

constexpr Index spots = 150, genes = 300;

bool is_variable(Index gene) { return gene % 30 == 7; }

// Poisson genes over three orders of magnitude in mean, every thirtieth much more variable than its mean explains.
Matrix<float> section(std::uint64_t seed) {
  Matrix<float> counts(spots, genes);
  RandomStream random(seed);
  for (Index s = 0; s < spots; ++s)
    for (Index g = 0; g < genes; ++g) {
      const double mean = std::pow(10.0, -1.0 + 3.0 * static_cast<double>(g) / static_cast<double>(genes));
      counts(s, g) = static_cast<float>(is_variable(g) && s % 2 == 0 ? random.poisson(3 * mean)
                                        : is_variable(g)             ? random.poisson(mean / 9)
                                                                     : random.poisson(mean));
    }
  for (Index s = 0; s < spots; ++s) counts(s, 100) = 4;
  return counts;
}

SparseMatrix<float> sparse_of(const Matrix<float>& dense) {
  std::vector<Triplet<float>> entries;
  for (Index r = 0; r < dense.rows(); ++r)
    for (Index c = 0; c < dense.cols(); ++c)
      if (dense(r, c) != 0) entries.push_back({r, c, dense(r, c)});
  return SparseMatrix<float>::from_triplets(dense.rows(), dense.cols(), entries);
}

}  // namespace

TEST_CASE("gene filter: totals and thresholds over sections") {
  Matrix<float> first(2, 4), second(1, 4);
  first(0, 0) = 3;
  first(0, 1) = 1;
  first(1, 1) = 1;
  second(0, 1) = 1;
  second(0, 3) = 9;
  data::GeneTotals totals(4);
  totals.add(first.view());
  totals.add(sparse_of(second));
  CHECK(totals.total()[1] == 3.0);
  CHECK(totals.spots()[1] == 3);
  CHECK(data::genes_above(totals) == std::vector<Index>{0, 1, 3});
  CHECK(data::genes_above(totals, {.min_total = 3, .min_spots = 1}) == std::vector<Index>{0, 1, 3});
  CHECK(data::genes_above(totals, {.min_total = 0, .min_spots = 2}) == std::vector<Index>{1});
  CHECK(data::genes_above(totals, {.min_total = 0, .min_spots = 0}).size() == 4);
  second(0, 0) = -1;
  CHECK_THROWS_WITH_AS(totals.add(second.view()), "GeneTotals::add: counts(0, 0) is negative or not finite",
                       ValueError);
  CHECK_THROWS_AS(totals.add(Matrix<float>(2, 3).view()), ShapeError);
}

TEST_CASE("gene filter: highly variable genes are found by both methods, dense and sparse, on any number of threads") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  const auto a = section(1), b = section(2);
  for (const auto method : {data::HvgMethod::seurat_v3, data::HvgMethod::binomial_deviance}) {
    data::HighlyVariableGenes dense(genes, method), sparse(genes, method);
    dense.add(one, a.view());
    dense.add(one, b.view());
    sparse.add(three, sparse_of(a));
    sparse.add(three, sparse_of(b));
    CHECK(dense.sections() == 2);
    for (Index s = 0; s < 2; ++s)
      for (std::size_t g = 0; g < genes; ++g)
        REQUIRE(dense.scores(s)[g] == sparse.scores(s)[g]);
    if (method == data::HvgMethod::seurat_v3) CHECK(dense.scores(0)[100] == 0.0);
    const auto chosen = dense.select(8);
    REQUIRE(chosen.size() == 8);
    const auto hits = std::count_if(chosen.begin(), chosen.end(), is_variable);
    CHECK(hits >= 7);
    CHECK(std::set<Index>(chosen.begin(), chosen.end()).size() == 8);
    CHECK(dense.select(genes).size() <= genes);
    CHECK_THROWS_AS(dense.select(0), ValueError);
  }
  CHECK_THROWS_AS(data::HighlyVariableGenes(genes).select(3), ValueError);
  data::HighlyVariableGenes filter(genes);
  CHECK_THROWS_AS(filter.add(one, a.view().middle_rows(0, 1)), ValueError);
  CHECK_THROWS_AS(filter.add(one, a.view().middle_cols(0, 5)), ShapeError);
}

TEST_CASE("gene filter: deviance equals the formula term by term") {
  CpuContext context({.threads = 1});
  const auto counts = section(3);
  data::HighlyVariableGenes filter(genes, data::HvgMethod::binomial_deviance);
  filter.add(context, counts.view());
  const auto library = data::library_sizes(context, counts.view());
  double all = 0;
  for (const double n : library) all += n;
  for (const Index g : {Index{0}, Index{7}, Index{150}, Index{299}}) {
    double total = 0, deviance = 0;
    for (Index s = 0; s < spots; ++s) total += static_cast<double>(counts(s, g));
    for (Index s = 0; s < spots; ++s) {
      const double y = static_cast<double>(counts(s, g)), n = library[s], share = total / all;
      if (y > 0) deviance += 2 * y * std::log(y / (n * share));
      deviance += 2 * (n - y) * std::log((n - y) / (n * (1 - share)));
    }
    CHECK(filter.scores(0)[static_cast<std::size_t>(g)] == doctest::Approx(deviance).epsilon(1e-9));
  }
}

TEST_CASE("gene filter: clipped variance equals its definition") {
  CpuContext context({.threads = 2});
  const auto counts = section(4);
  data::HighlyVariableGenes filter(genes);
  filter.add(context, counts.view());
  std::vector<double> log_mean, log_variance, mean(genes), variance(genes);
  std::vector<std::size_t> varying;
  for (std::size_t g = 0; g < genes; ++g) {
    for (Index s = 0; s < spots; ++s) mean[g] += static_cast<double>(counts(s, static_cast<Index>(g))) / spots;
    for (Index s = 0; s < spots; ++s)
      variance[g] += std::pow(static_cast<double>(counts(s, static_cast<Index>(g))) - mean[g], 2) / (spots - 1);
    if (g == 100 || variance[g] == 0) continue;
    varying.push_back(g);
    log_mean.push_back(std::log10(mean[g]));
    log_variance.push_back(std::log10(variance[g]));
  }
  const auto trend = data::detail::local_trend(context, log_mean, log_variance);
  for (std::size_t i = 0; i < varying.size(); ++i) {
    const std::size_t g = varying[i];
    const double sigma = std::sqrt(std::pow(10.0, trend[i]));
    double sum = 0;
    for (Index s = 0; s < spots; ++s) {
      const double z = (static_cast<double>(counts(s, static_cast<Index>(g))) - mean[g]) / sigma;
      sum += std::pow(std::min(z, std::sqrt(static_cast<double>(spots))), 2);
    }
    REQUIRE(filter.scores(0)[g] == doctest::Approx(sum / (spots - 1)).epsilon(1e-8));
  }
}

TEST_CASE("gene filter: the local trend reproduces a parabola and survives ties") {
  CpuContext context({.threads = 2});
  std::vector<double> x, y;
  RandomStream random(1);
  for (int i = 0; i < 700; ++i) {
    x.push_back(random.uniform(-2, 2));
    y.push_back(1 + 2 * x.back() - 0.5 * x.back() * x.back());
  }
  const auto trend = data::detail::local_trend(context, x, y);
  // Exact at the knots; between them the chord of the parabola, 0.5 h^2 / 4 off at most.
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(trend[i] == doctest::Approx(y[i]).epsilon(1e-3));
  const std::vector<double> tied(20, 1.0);
  std::vector<double> values(20, 0.0);
  values[3] = 10;
  for (const double value : data::detail::local_trend(context, tied, values)) CHECK(value == doctest::Approx(0.5));
  const std::vector<double> one{2.0};
  CHECK(data::detail::local_trend(context, one, one)[0] == doctest::Approx(2.0));
  CHECK(data::detail::local_trend(context, {}, {}).empty());
}

TEST_CASE("gene filter: lists and names") {
  const std::vector<std::string> available{"ACTB", "GAPDH", "TP53", "DUP", "DUP"};
  const std::vector<std::string> wanted{"TP53", "MISSING", "ACTB", "TP53"}, absent{"X", "Y"}, twice{"DUP"}, none;
  const auto selection = data::select_genes(available, wanted, "genes.txt");
  CHECK(selection.columns == std::vector<Index>{2, 0});
  CHECK(selection.missing == std::vector<std::string>{"MISSING"});
  CHECK_THROWS_WITH_AS(data::select_genes(available, absent, "genes.txt"),
                       "genes.txt: none of its 2 genes is among the 5 genes of the counts (the list begins with 'X', "
                       "the counts with 'ACTB')",
                       ParseError);
  CHECK_THROWS_AS(data::select_genes(available, none, "genes.txt"), ParseError);
  CHECK_THROWS_WITH_AS(data::select_genes(available, twice, "genes.txt"),
                       "genes.txt: gene 'DUP' names more than one column of the counts", ValueError);
  const std::vector<std::string> both{"TP53", "GAPDH"};
  CHECK(data::require_genes(available, both, "B4.tsv") == std::vector<Index>{2, 1});
  CHECK_THROWS_WITH_AS(data::require_genes(available, wanted, "B4.tsv"),
                       "B4.tsv: gene 'MISSING' is missing (4 genes are asked for, the counts hold 5)", ParseError);

  const std::vector<std::vector<std::string>> sections{
      {"C", "A", "B", "D", "E"}, {"A", "B", "C", "D", "D"}, {"B", "C", "D"}};
  CHECK(data::common_genes(sections) == std::vector<std::string>{"C", "B"});
  const std::vector<std::vector<std::string>> apart{{"A"}, {"B"}};
  CHECK_THROWS_WITH_AS(data::common_genes(apart), "common_genes: section 1 shares no gene with the sections before it",
                       ValueError);
  CHECK_THROWS_AS(data::common_genes({}), ValueError);
}
