#include "mclstexp/trainer.hpp"

#include "support/arrays.hpp"
#include "support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <utility>
#include <vector>

using namespace eosin;
using mclstexp::SpotInputs;
using mclstexp::TrainOptions;

namespace {

constexpr Index genes = 12, inputs = 7;
constexpr Index section_sizes[] = {11, 7, 5};

/// Three sections whose expression and features follow from the same three hidden numbers of a spot. Every spot has a
/// row of the position table of its own.
struct Data {
  std::vector<SpotInputs> sections;
  std::vector<Matrix<float>> features;
  Index spots = 0;

  Data() {
    const auto to_genes = testing::normal_matrix<double>(3, genes, 1);
    const auto to_features = testing::normal_matrix<double>(3, inputs, 2);
    std::uint64_t seed = 3;
    for (const Index n : section_sizes) {
      const auto hidden = testing::normal_matrix<double>(n, 3, seed++);
      SpotInputs section;
      section.expression = testing::normal_matrix<float>(n, genes, seed++, 0.1);
      section.positions = Matrix<Index>(n, 2);
      section.centres = Matrix<float>(n, 2);
      auto given = testing::normal_matrix<float>(n, inputs, seed++, 0.1);
      for (Index i = 0; i < n; ++i) {
        section.positions(i, 0) = spots++;
        section.positions(i, 1) = 0;
        section.centres(i, 0) = static_cast<float>(i);  // in a row, one pitch apart
        section.centres(i, 1) = 0;
        for (Index k = 0; k < 3; ++k) {
          for (Index g = 0; g < genes; ++g)
            section.expression(i, g) += static_cast<float>(hidden(i, k) * to_genes(k, g));
          for (Index c = 0; c < inputs; ++c) given(i, c) += static_cast<float>(hidden(i, k) * to_features(k, c));
        }
      }
      sections.push_back(std::move(section));
      features.push_back(std::move(given));
    }
  }
};

const Data& tissue() {
  static const Data shared;
  return shared;
}

mclstexp::ModelOptions model_options() {
  mclstexp::ModelOptions options;
  options.genes = genes;
  options.depth = 1;
  options.heads = 2;
  options.head_width = 4;
  options.x_rows = tissue().spots + 3;  // three that no spot uses
  options.y_rows = 1;
  options.image_features = inputs;
  options.projection = 6;
  options.normalize = true;
  options.temperature = 0.3;
  return options;
}

TrainOptions train_options() {
  TrainOptions options;
  options.epochs = 100;
  options.batch = 8;
  options.learning_rate = 1e-2;
  options.dropout = 0.1;
  return options;
}

struct Run {
  CpuContext context;
  mclstexp::Model<float> model;
  mclstexp::ImageBranch images;
  mclstexp::Trainer trainer;

  explicit Run(const TrainOptions& options, const mclstexp::ModelOptions& shape = model_options(), double noise = 0.1,
               int threads = 2, std::function<double()> validate = {}, std::uint64_t seed = 4,
               std::size_t sections = std::size(section_sizes))
      : context({.threads = threads}),
        model(shape),
        images(mclstexp::GivenFeatures(feature_views(sections), noise)),
        trainer(context, allocated(model, context, seed), images, spots(sections), std::move(validate), options) {}

  static mclstexp::Model<float>& allocated(mclstexp::Model<float>& model, CpuContext& context, std::uint64_t seed) {
    model.parameters().allocate(context, seed);
    return model;
  }
  static std::vector<MatrixView<const float>> feature_views(std::size_t sections) {
    std::vector<MatrixView<const float>> views;
    for (std::size_t s = 0; s < sections; ++s) views.push_back(tissue().features[s].view());
    return views;
  }
  static std::vector<const SpotInputs*> spots(std::size_t sections) {
    std::vector<const SpotInputs*> pointers;
    for (std::size_t s = 0; s < sections; ++s) pointers.push_back(&tissue().sections[s]);
    return pointers;
  }
  std::vector<mclstexp::EpochRecord> epochs(Index count) {
    std::vector<mclstexp::EpochRecord> records;
    for (Index i = 0; i < count; ++i) records.push_back(trainer.run_epoch());
    return records;
  }
  VectorView<const float> values() const { return std::as_const(model).parameters().values(); }
};

/// Rows of the table of positions that an epoch moved.
std::set<Index> rows_moved_by_an_epoch(Run& run) {
  const auto id = run.model.parameters().find("x_embed.weight");
  const auto before = testing::copy_of<float>(std::as_const(run.model.parameters()).matrix(id));
  run.epochs(1);
  const auto after = std::as_const(run.model.parameters()).matrix(id);
  std::set<Index> rows;
  for (Index r = 0; r < before.rows(); ++r)
    for (Index c = 0; c < before.cols(); ++c)
      if (before(r, c) != after(r, c)) rows.insert(r);
  return rows;
}

/// At a temperature beyond all similarities the loss of a step is the logarithm of its number of spots.
mclstexp::ModelOptions counting_options() {
  auto options = model_options();
  options.temperature = 1e7;
  return options;
}

void check_same(const std::vector<mclstexp::EpochRecord>& a, const std::vector<mclstexp::EpochRecord>& b,
                std::size_t from = 0) {
  REQUIRE(a.size() == b.size() + from);
  for (std::size_t i = 0; i < b.size(); ++i) {
    CHECK(a[from + i].epoch == b[i].epoch);
    CHECK(a[from + i].loss == b[i].loss);
    CHECK(a[from + i].gradient_norm == b[i].gradient_norm);
    CHECK(a[from + i].best == b[i].best);
  }
}

}  // namespace

TEST_CASE("mclstexp::Trainer: every spot is in one batch of an epoch, batches are nearly equal") {
  auto options = train_options();
  options.optimiser.weight_decay = 0;  // it would move rows that no spot uses
  options.dropout = 0;
  Run moving(options);
  std::set<Index> all;
  for (Index i = 0; i < tissue().spots; ++i) all.insert(i);
  CHECK(rows_moved_by_an_epoch(moving) == all);

  // 23 spots in three batches of at most 8 are 7, 8 and 8. All 23 occur (above), so none twice.
  Run counting(options, counting_options());
  Index steps = 0;
  const auto record = counting.trainer.run_epoch([&](Index step, Index total) {
    CHECK(step == steps++);
    CHECK(total == 3);
  });
  CHECK(steps == 3);
  CHECK(record.loss == doctest::Approx((std::log(7.0) + 2 * std::log(8.0)) / 3).epsilon(1e-5));
}

TEST_CASE("mclstexp::Trainer: batch 0 takes whole sections") {
  auto options = train_options();
  options.batch = 0;
  options.dropout = 0;
  options.optimiser.weight_decay = 0;
  Run moving(options);
  CHECK(static_cast<Index>(rows_moved_by_an_epoch(moving).size()) == tissue().spots);
  Run counting(options, counting_options());
  Index steps = 0;
  const auto record = counting.trainer.run_epoch([&](Index, Index) { ++steps; });
  CHECK(steps == 3);
  CHECK(record.loss == doctest::Approx((std::log(11.0) + std::log(7.0) + std::log(5.0)) / 3).epsilon(1e-5));
}

TEST_CASE("mclstexp::Trainer: a sentence is a section's spots, or the whole batch") {
  auto options = train_options();
  Run sections(options);
  options.sentences = mclstexp::Sentences::batch;
  Run whole(options);
  sections.epochs(1);
  whole.epochs(1);
  CHECK_FALSE(testing::same_bits(sections.values(), whole.values()));

  // With one section there is no difference.
  Run again(options, model_options(), 0.1, 2, {}, 4, 1);
  options.sentences = mclstexp::Sentences::section;
  Run one(options, model_options(), 0.1, 2, {}, 4, 1);
  check_same(one.epochs(2), again.epochs(2));
  CHECK(testing::same_bits(one.values(), again.values()));
}

TEST_CASE("mclstexp::Trainer: positives are the spots of the same section within the radius") {
  auto options = train_options();
  options.dropout = 0;
  Run none(options), alone([&] {
    auto near = options;
    near.positive_radius = 0.5;  // neighbours are 1 apart
    return near;
  }()), near([&] {
    auto wider = options;
    wider.positive_radius = 1.01;
    return wider;
  }());
  const double without = none.trainer.run_epoch().loss, own = alone.trainer.run_epoch().loss;
  CHECK(own == doctest::Approx(without).epsilon(1e-5));
  CHECK(std::abs(near.trainer.run_epoch().loss - without) > 1e-3);
}

TEST_CASE("mclstexp::Trainer: the loss falls on spots and patches that have the same cause") {
  for (const auto encoder : {mclstexp::SpotEncoder::attention, mclstexp::SpotEncoder::mlp}) {
    for (const auto position : {mclstexp::Position::learned, mclstexp::Position::none}) {
      auto shape = model_options();
      shape.encoder = encoder;
      shape.position = position;
      shape.learned_temperature = true;
      auto options = train_options();
      options.dropout = 0;
      Run run(options, shape, 0);
      const auto records = run.epochs(40);
      CAPTURE(records.front().loss);
      CAPTURE(records.back().loss);
      CHECK(records.back().loss < 0.5 * records.front().loss);
      CHECK(records.front().learning_rate == 1e-2);
      CHECK(records.front().gradient_norm > 0);
      CHECK(records.back().epoch == 40);
      CHECK(std::isnan(records.back().validation));
      CHECK(run.trainer.best_epoch() == 40);  // nothing validates
    }
  }
}

TEST_CASE("mclstexp::Trainer: the same bits again and on any number of threads, others from another seed") {
  Run one(train_options(), model_options(), 0.1, 1), three(train_options(), model_options(), 0.1, 3);
  check_same(one.epochs(4), three.epochs(4));
  CHECK(testing::same_bits(one.values(), three.values()));
  auto options = train_options();
  options.seed = 2;
  Run other(options, model_options(), 0.1, 1);
  other.epochs(4);
  CHECK_FALSE(testing::same_bits(one.values(), other.values()));
}

TEST_CASE("mclstexp::Trainer: continues bit for bit from any epoch, with every optimiser") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  for (const auto optimiser : {common::Optimiser::adamw, common::Optimiser::adam, common::Optimiser::sgd}) {
    auto options = train_options();
    options.optimiser.kind = optimiser;
    options.clip_norm = 1;
    options.positive_radius = 1.5;
    auto shape = model_options();
    shape.learned_temperature = true;
    const Index total = 6;
    const Index cut = RandomStream(11 + static_cast<std::uint64_t>(optimiser)).below(total);
    CAPTURE(static_cast<int>(optimiser));
    CAPTURE(cut);
    Run whole(options, shape), interrupted(options, shape), resumed(options, shape, 0.1, 2, {}, 99);
    const auto records = whole.epochs(total);
    interrupted.epochs(cut);
    interrupted.trainer.save(path, {{"note", "kept"}});
    CHECK(resumed.trainer.load(path).at("note") == "kept");
    CHECK(resumed.trainer.epoch() == cut);
    check_same(records, resumed.epochs(total - cut), static_cast<std::size_t>(cut));
    CHECK(testing::same_bits(whole.values(), resumed.values()));
    CHECK(whole.trainer.best_epoch() == resumed.trainer.best_epoch());
  }
}

TEST_CASE("mclstexp::Trainer: stops when validation no longer improves and restores the best parameters") {
  auto options = train_options();
  options.patience = 2;
  const double scripted[] = {0.9, 0.5, 0.7, 0.5, 0.6, 0.1};
  std::size_t asked = 0;
  std::vector<float> at_best;
  Run* self = nullptr;
  Run run(options, model_options(), 0.1, 2, [&] {
    if (asked == 1) at_best.assign(self->values().data(), self->values().data() + self->values().size());
    return scripted[asked++];
  });
  self = &run;
  while (!run.trainer.done()) {
    const auto record = run.trainer.run_epoch();
    CHECK(record.validation == scripted[record.epoch - 1]);
    CHECK(record.best == (record.epoch <= 2));
  }
  CHECK(run.trainer.epoch() == 5);
  CHECK(run.trainer.best_epoch() == 2);
  run.trainer.restore_best();
  CHECK(testing::same_bits(run.values(), VectorView<const float>(at_best.data(), static_cast<Index>(at_best.size()))));
}

TEST_CASE("mclstexp::Trainer: errors") {
  auto options = train_options();
  CHECK_THROWS_WITH_AS(Run(options, model_options(), 0.1, 1, {}, 4, 0), "Trainer: there is nothing to train on",
                       ValueError);
  options.batch = 1;
  CHECK_THROWS_WITH_AS(Run(options, model_options(), 0.1, 1), "Trainer: a batch needs at least 2 spots to tell apart",
                       ValueError);
  options = train_options();
  options.learning_rate = 1e30;
  Run exploding(options, model_options(), 0.1, 1);
  CHECK_THROWS_AS(exploding.epochs(10), ValueError);
  // What is thrown between two steps ends the epoch, which does not count.
  Run stopped(train_options(), model_options(), 0.1, 1);
  CHECK_THROWS_AS(stopped.trainer.run_epoch([](Index step, Index) {
    if (step == 1) throw Cancelled("stop");
  }),
                  Cancelled);
  CHECK(stopped.trainer.epoch() == 0);
}
