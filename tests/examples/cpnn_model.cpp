#include "cpnn/model.hpp"

#include "golden_check/cpnn_patch.hpp"
#include "golden_check/cpnn_slide.hpp"
#include "support/arrays.hpp"
#include "support/gradient.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace eosin;
using cpnn::Observation;
using layers::GradientMode;

namespace {

template <class CheckDouble, class CheckFloat>
void check_golden(const char* component, CheckDouble&& in_double, CheckFloat&& in_float) {
  const auto folders = testing::golden_cases(component);
  REQUIRE(!folders.empty());
  for (const auto& folder : folders) {
    const auto golden = testing::load_golden(folder);
    for (const bool single : {false, true}) {
      testing::Comparison comparison(golden, single);
      single ? in_float(golden, comparison) : in_double(golden, comparison);
      comparison.finish();
      INFO(golden.name << ": " << comparison.summary());
      CHECK(comparison.ok());
    }
  }
}

constexpr Index inputs = 6, types = 4, genes = 9;

cpnn::ModelOptions small_options(Observation observation) {
  cpnn::ModelOptions options;
  options.inputs = inputs;
  options.hidden = {7};
  options.types = types;
  options.genes = genes;
  options.observation = observation;
  options.regulariser_weight = 2;
  return options;
}

/// A model and two sections; every parameter at a place where its gradient is not tiny.
template <class T>
struct Fixture {
  CpuContext context;
  cpnn::Model<T> model;
  Matrix<T> patches, counts, composition, pooled;
  std::vector<losses::PearsonTarget<T>> targets;
  std::vector<cpnn::Section<T>> sections;

  Fixture(const cpnn::ModelOptions& options, Index rows, int threads)
      : context({.threads = threads}),
        model(options, prototypes()),
        patches(testing::normal_matrix<T>(rows, inputs, 1)),
        counts(testing::normal_matrix<T>(rows, genes, 2)),
        composition(testing::composition_matrix<T>(rows, types, 3)),
        pooled(testing::composition_matrix<T>(2, types, 4)) {
    for (Index i = 0; i < counts.size(); ++i) counts.data()[i] = std::floor(std::exp(counts.data()[i] + T(1)));
    for (Index r = 0; r < rows; ++r) counts(r, 0) += T(1);
    auto& parameters = model.parameters();
    parameters.allocate(context, 5);
    for (const Segment& segment : parameters.segments()) {
      const auto noise = testing::normal_matrix<T>(1, segment.size, 6, 0.2);
      const auto values = parameters.values().segment(segment.offset, segment.size);
      for (Index i = 0; i < segment.size; ++i) values[i] = (segment.name == "beta_g" ? T(-1) : values[i]) + noise(0, i);
    }
    const bool per_patch = options.composition_level == cpnn::CompositionLevel::patch;
    const Index first = rows / 3;
    for (const Index begin : {Index{0}, first}) {
      const Index count = begin == 0 ? first : rows - first;
      targets.push_back(losses::pearson_target<T>(context, std::as_const(counts).view().middle_rows(begin, count)));
      sections.push_back({patches.view().middle_rows(begin, count), nullptr, counts.view().middle_rows(begin, count),
                          per_patch ? composition.view().middle_rows(begin, count)
                                    : pooled.view().middle_rows(begin == 0 ? 0 : 1, 1)});
    }
    for (std::size_t s = 0; s < 2; ++s) sections[s].target = &targets[s];
  }

  static Matrix<double> prototypes() {
    auto t = testing::normal_matrix<double>(types, genes, 7);
    for (Index i = 0; i < t.size(); ++i) t.data()[i] = std::exp(t.data()[i]);
    return t;
  }
  double value() { return model.patch_step(context, sections, GradientMode::ignore).total; }
};

}  // namespace

TEST_CASE("cpnn::Model: golden slide cases in double and in float") {
  check_golden("cpnn_slide", testing::check_cpnn_slide<double>, testing::check_cpnn_slide<float>);
}

TEST_CASE("cpnn::Model: golden patch cases in double and in float") {
  check_golden("cpnn_patch", testing::check_cpnn_patch<double>, testing::check_cpnn_patch<float>);
}

TEST_CASE("cpnn::Model: patch level, gradients of every observation by six-point differences") {
  for (const auto observation : {Observation::negative_binomial, Observation::mean_squared_error, Observation::pearson})
    for (const auto level : {cpnn::CompositionLevel::patch, cpnn::CompositionLevel::section}) {
      CAPTURE(static_cast<int>(observation));
      CAPTURE(static_cast<int>(level));
      auto options = small_options(observation);
      options.composition_level = level;
      // No modality correction where the loss does not see it.
      options.correction = observation != Observation::pearson;
      if (observation == Observation::negative_binomial) options.library = 50;
      constexpr Index rows = 15;
      Fixture<double> f(options, rows, 2);
      // The squared error is meant for targets on the scale of the prediction, shares.
      if (observation == Observation::mean_squared_error)
        for (Index r = 0; r < rows; ++r) {
          double total = 0;
          for (Index g = 0; g < genes; ++g) total += f.counts(r, g);
          for (Index g = 0; g < genes; ++g) f.counts(r, g) /= total;
        }
      Matrix<double> d_patches(rows, inputs);
      f.model.patch_step(f.context, f.sections, GradientMode::overwrite, {.d_patches = d_patches.view()});
      // A correlation over few patches bends on a smaller scale than the parameters.
      const double step = 3e-3;
      const auto value = [&] { return f.value(); };
      testing::check_parameter_gradients(f.model.parameters(), value, step);
      CHECK(testing::gradient_error(f.patches.flat(), std::as_const(d_patches).flat(), value, step) <=
            testing::gradient_tolerance);
    }
}

TEST_CASE("cpnn::Model: blocks of a section add up to the section") {
  // 600 patches are three blocks; the loss is the mean over patches, whatever the section is cut into.
  for (const auto observation : {Observation::negative_binomial, Observation::mean_squared_error}) {
    auto options = small_options(observation);
    options.regulariser_weight = 0;
    Fixture<double> f(options, 600, 2);
    const cpnn::Section<double> whole{f.patches.view(), nullptr, f.counts.view(), {}};
    const auto losses = f.model.patch_step(f.context, std::span(&whole, 1), GradientMode::overwrite);
    const auto gradients = f.model.parameters().gradients();
    const std::vector<double> at_once(gradients.data(), gradients.data() + gradients.size());
    double loss = 0;
    std::vector<double> sum(at_once.size());
    for (Index n = 0; n < 600; n += 100) {
      const cpnn::Section<double> part{f.patches.view().middle_rows(n, 100), nullptr,
                                       f.counts.view().middle_rows(n, 100), {}};
      loss += f.model.patch_step(f.context, std::span(&part, 1), GradientMode::overwrite).observation / 6;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += gradients[static_cast<Index>(i)] / 6;
    }
    CHECK(losses.observation == doctest::Approx(loss).epsilon(1e-12));
    for (std::size_t i = 0; i < sum.size(); ++i) REQUIRE(sum[i] == doctest::Approx(at_once[i]).epsilon(1e-9));
  }
}

TEST_CASE("cpnn::Model: the same bits on any number of threads, and no gradient where none is asked for") {
  for (const auto observation : {Observation::negative_binomial, Observation::pearson}) {
    Fixture<float> one(small_options(observation), 600, 1), three(small_options(observation), 600, 3);
    const auto first = one.model.patch_step(one.context, one.sections, GradientMode::overwrite);
    const auto second = three.model.patch_step(three.context, three.sections, GradientMode::overwrite);
    CHECK(first.total == second.total);
    CHECK(testing::same_bits(one.model.parameters().gradients(), three.model.parameters().gradients()));

    std::vector<cpnn::Slide<float>> slides;
    for (const auto* f : {&one, &three}) slides.push_back({f->patches.view(), f->counts.row(0), f->pooled.row(0)});
    if (observation == Observation::negative_binomial) {
      const auto a = one.model.slide_step(one.context, std::span(slides).first(1), GradientMode::overwrite);
      const auto b = three.model.slide_step(three.context, std::span(slides).last(1), GradientMode::overwrite);
      CHECK(a.total == b.total);
      CHECK(testing::same_bits(one.model.parameters().gradients(), three.model.parameters().gradients()));
    }
    auto gradients = one.model.parameters().gradients();
    for (Index i = 0; i < gradients.size(); ++i) gradients[i] = 7;
    CHECK(one.model.patch_step(one.context, one.sections, GradientMode::ignore).total == first.total);
    for (Index i = 0; i < gradients.size(); ++i) REQUIRE(gradients[i] == 7);
  }
}

TEST_CASE("cpnn::Model: errors name what is wrong") {
  auto options = small_options(Observation::negative_binomial);
  auto prototypes = Fixture<double>::prototypes();
  CHECK_THROWS_WITH_AS((cpnn::Model<double>(options, prototypes.view().middle_rows(0, 3))),
                       "cpnn::Model: prototypes is [3 x 9], expected [4 x 9]", ShapeError);
  prototypes(1, 1) = -1;
  CHECK_THROWS_WITH_AS((cpnn::Model<double>(options, prototypes)), "cpnn::Model: prototypes must not be negative",
                       ValueError);
  Fixture<double> f(options, 6, 1);
  for (Index g = 0; g < genes; ++g) f.counts(5, g) = 0;
  // A spot without counts of the selected genes says nothing: it adds no loss and no gradient.
  CHECK(std::isfinite(f.value()));
  Fixture<double> pearson(small_options(Observation::pearson), 6, 1);
  pearson.sections[1].target = nullptr;
  CHECK_THROWS_WITH_AS(pearson.value(), "cpnn::Model: the section has no Pearson target", ValueError);
  pearson.sections[1].target = &pearson.targets[0];
  CHECK_THROWS_AS(pearson.value(), ShapeError);
}
