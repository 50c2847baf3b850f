#include <eosin/eval/summary.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

using namespace eosin;

namespace {

struct Example {
  Matrix<double> prediction{90, 12};
  Matrix<double> truth{90, 12};
  std::vector<std::int64_t> section;
};

// Three interleaved sections of 30 spots; sections differ in level, so that pooled correlations exceed those within.
Example example() {
  Example e;
  RandomStream random(11);
  for (Index s = 0; s < 90; ++s) {
    e.section.push_back(7 - 3 * (s % 3));
    for (Index g = 0; g < 12; ++g) {
      const double level = 5.0 * static_cast<double>(s % 3);
      e.truth(s, g) = level + random.normal() + static_cast<double>(g);
      e.prediction(s, g) = level + 0.3 * e.truth(s, g) + random.normal();
    }
  }
  return e;
}

}  // namespace

TEST_CASE("summary: numbers carry their names") {
  CpuContext context({.threads = 2});
  const Example e = example();
  const auto s = eval::summarise(context, e.prediction.view(), e.truth.view(), {.heg_count = 4});
  std::map<std::string, double> numbers;
  s.for_each_number([&](const std::string& name, double value) {
    CHECK(numbers.emplace(name, value).second);
  });
  for (const char* name : {"pearson_gene_mean", "pearson_heg4_mean", "spearman_gene_mean", "pearson_spot_mean", "mse",
                           "mae", "rmse", "pearson_gene_undefined", "spots", "genes"})
    CHECK_MESSAGE(numbers.count(name) == 1, name);
  CHECK(numbers["spots"] == 90.0);
  CHECK(numbers["pearson_gene_mean"] == s.pearson_gene.mean);
  CHECK(numbers["pearson_heg4_mean"] == s.pearson_heg.mean);
  CHECK(s.heg == std::vector<Index>{11, 10, 9, 8});
}

TEST_CASE("summary: sections are judged by themselves, pooled spots as one") {
  CpuContext context({.threads = 2});
  const Example e = example();
  const auto all = eval::summarise_sections(context, e.prediction.view(), e.truth.view(), e.section, {.heg_count = 4});
  REQUIRE(all.ids == std::vector<std::int64_t>{1, 4, 7});
  REQUIRE(all.per_section.size() == 3);
  CHECK(all.pooled.pearson_gene.mean ==
        eval::summarise(context, e.prediction.view(), e.truth.view()).pearson_gene.mean);
  CHECK(all.pooled.pearson_gene.mean > all.mean.pearson_gene_mean + 0.2);
  double mean = 0;
  for (const auto& s : all.per_section) {
    CHECK(s.spots == 30);
    mean += s.pearson_gene.mean / 3;
  }
  CHECK(all.mean.pearson_gene_mean == doctest::Approx(mean).epsilon(1e-14));
  // Levels of sections agree, so the section means correlate almost perfectly.
  for (Index g = 0; g < 12; ++g) CHECK(all.pearson_per_gene_across_sections[g].value > 0.99);
  const std::vector<std::int64_t> short_ids(3, 0);
  CHECK_THROWS_AS(eval::summarise_sections(context, e.prediction.view(), e.truth.view(), short_ids), ShapeError);
}

TEST_CASE("summary: a section without a defined correlation counts as 0 and is counted") {
  CpuContext context({.threads = 1});
  Matrix<float> truth(4, 3), constant(4, 3);
  for (Index s = 0; s < 4; ++s)
    for (Index g = 0; g < 3; ++g) truth(s, g) = static_cast<float>((s + 1) * (g + 1));
  const eval::Summary sections[] = {eval::summarise(context, truth.view(), truth.view()),
                                    eval::summarise(context, constant.view(), truth.view())};
  const auto mean = eval::mean_over_sections(sections);
  CHECK(mean.sections_undefined == 1);
  CHECK(mean.pearson_gene_mean == doctest::Approx(0.5));
  CHECK(sections[1].pearson_gene.undefined == 3);
  CHECK_THROWS_AS(eval::mean_over_sections({}), ValueError);
}

TEST_CASE("summary: slides need three for a correlation per gene") {
  CpuContext context({.threads = 1});
  Matrix<float> truth(3, 4), prediction(3, 4);
  for (Index s = 0; s < 3; ++s)
    for (Index g = 0; g < 4; ++g) {
      truth(s, g) = static_cast<float>(s * s + g);
      prediction(s, g) = static_cast<float>(s * s - 2 * g);
    }
  const auto three = eval::summarise_slides(context, prediction.view(), truth.view());
  CHECK(three.pearson_gene_across_slides.mean == doctest::Approx(1.0));
  CHECK(three.pearson_slide.mean == doctest::Approx(-1.0));
  const auto two = eval::summarise_slides(context, prediction.view().middle_rows(0, 2), truth.view().middle_rows(0, 2));
  CHECK(two.pearson_gene_across_slides.undefined == 4);
  CHECK(two.pearson_slide.defined == 2);
}

TEST_CASE("summary: bootstrap interval") {
  CpuContext one({.threads = 1}), three({.threads = 3});
  std::vector<double> values(400);
  RandomStream random(5);
  for (double& value : values) value = random.normal(2.0, 1.0);
  const auto a = eval::bootstrap_mean(one, values, {.replicates = 4000});
  const auto b = eval::bootstrap_mean(three, values, {.replicates = 4000});
  CHECK(a.defined);
  CHECK(a.lower == b.lower);
  CHECK(a.upper == b.upper);
  double squares = 0;
  for (const double value : values) squares += (value - a.mean) * (value - a.mean);
  const double standard_error = std::sqrt(squares / 400.0 / 400.0);
  CHECK((a.upper - a.lower) / (2 * 1.96 * standard_error) == doctest::Approx(1.0).epsilon(0.08));
  CHECK(a.lower < a.mean);
  CHECK(a.upper > a.mean);
  CHECK(eval::bootstrap_mean(one, values, {.replicates = 4000, .seed = 2}).lower != a.lower);
  CHECK(eval::bootstrap_mean(one, values, {.replicates = 4000, .level = 0.5}).lower > a.lower);

  const std::vector<double> single{3.0};
  const auto undefined = eval::bootstrap_mean(one, single);
  CHECK_FALSE(undefined.defined);
  CHECK(undefined.lower == 3.0);
  CHECK_THROWS_AS(eval::bootstrap_mean(one, {}), ValueError);
  CHECK_THROWS_AS(eval::bootstrap_mean(one, values, {.level = 1.0}), ValueError);
}
