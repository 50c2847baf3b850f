#include "cpnn/trainer.hpp"

#include "support/arrays.hpp"
#include "support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>

using namespace eosin;
using cpnn::TrainOptions;
using layers::GradientMode;

namespace {

constexpr Index inputs = 8, types = 4, genes = 30, samples = 10, patches = 12;

using Slide = cpnn::Slide<float>;
using Section = cpnn::Section<float>;

/// Samples whose expression follows from their features through a composition and the prototypes.
struct Data {
  Matrix<float> features, expression, composition;
  Matrix<double> prototypes{types, genes};
  std::vector<losses::PearsonTarget<float>> targets;

  Data() : features(samples * patches, inputs), expression(samples * patches, genes), composition(samples, types) {
    const auto signature = testing::normal_matrix<double>(types, inputs, 1);
    const auto logs = testing::normal_matrix<double>(types, genes, 2);
    for (Index i = 0; i < logs.size(); ++i) prototypes.data()[i] = std::exp(logs.data()[i]);
    RandomStream random(3);
    CpuContext context({.threads = 1});
    for (Index s = 0; s < samples; ++s) {
      const Index leading = random.below(types);
      for (Index n = 0; n < patches; ++n) {
        const Index type = random.uniform() < 0.7 ? leading : random.below(types);
        composition(s, type) += 1.0f / static_cast<float>(patches);
        for (Index i = 0; i < inputs; ++i)
          features(s * patches + n, i) = static_cast<float>(signature(type, i) + random.normal(0, 0.3));
        for (Index g = 0; g < genes; ++g)
          expression(s * patches + n, g) = static_cast<float>(random.poisson(20 * prototypes(type, g)));
      }
      targets.push_back(losses::pearson_target<float>(
          context, std::as_const(expression).view().middle_rows(s * patches, patches)));
    }
  }
  std::vector<Slide> slides(Index begin, Index end) const {
    std::vector<Slide> items;
    for (Index s = begin; s < end; ++s)
      items.push_back({features.view().middle_rows(s * patches, patches), expression.row(s * patches),
                       composition.row(s)});
    return items;
  }
  std::vector<Section> sections(Index begin, Index end) const {
    std::vector<Section> items;
    for (Index s = begin; s < end; ++s) {
      const auto rows = expression.view().middle_rows(s * patches, patches);
      items.push_back({features.view().middle_rows(s * patches, patches), &targets[static_cast<std::size_t>(s)], rows,
                       composition.view().middle_rows(s, 1)});
    }
    return items;
  }
};

const Data& data() {
  static const Data shared;
  return shared;
}

cpnn::ModelOptions model_options(cpnn::Observation observation) {
  cpnn::ModelOptions options;
  options.inputs = inputs;
  options.hidden = {10};
  options.types = types;
  options.genes = genes;
  options.observation = observation;
  options.composition_level = cpnn::CompositionLevel::section;
  options.regulariser_weight = 1;
  options.correction = observation != cpnn::Observation::pearson;
  return options;
}

TrainOptions train_options() {
  TrainOptions options;
  options.epochs = 12;
  options.batch = 3;
  options.learning_rate = 0.01;
  options.feature_noise = 0.05;
  options.patience = 0;
  return options;
}

/// A run over slides or sections: 7 samples to train on, 3 to validate.
template <class Item>
struct Run {
  CpuContext context;
  cpnn::Model<float> model;
  cpnn::Trainer<float, Item> trainer;

  explicit Run(const TrainOptions& options, int threads = 2, std::uint64_t seed = 4)
      : context({.threads = threads}),
        model(model_options(is_slide ? cpnn::Observation::negative_binomial : cpnn::Observation::pearson),
              data().prototypes),
        trainer(context, allocated(model, context, seed), items(0, 7), items(7, samples), options) {}

  static constexpr bool is_slide = std::is_same_v<Item, Slide>;
  static cpnn::Model<float>& allocated(cpnn::Model<float>& model, CpuContext& context, std::uint64_t seed) {
    model.parameters().allocate(context, seed);
    return model;
  }
  static std::vector<Item> items(Index begin, Index end) {
    if constexpr (is_slide) {
      return data().slides(begin, end);
    } else {
      return data().sections(begin, end);
    }
  }
  std::vector<cpnn::EpochRecord> epochs(Index count) {
    std::vector<cpnn::EpochRecord> records;
    for (Index i = 0; i < count; ++i) records.push_back(trainer.run_epoch());
    return records;
  }
  VectorView<const float> values() const { return model.parameters().values(); }
};

void check_same(const std::vector<cpnn::EpochRecord>& a, const std::vector<cpnn::EpochRecord>& b,
                std::size_t from = 0) {
  REQUIRE(a.size() == b.size() + from);
  for (std::size_t i = 0; i < b.size(); ++i) {
    CHECK(a[from + i].epoch == b[i].epoch);
    CHECK(a[from + i].train.total == b[i].train.total);
    CHECK(a[from + i].validation == b[i].validation);
    CHECK(a[from + i].gradient_norm == b[i].gradient_norm);
    CHECK(a[from + i].best == b[i].best);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("cpnn::Trainer: the loss falls, and the records say what happened", Item, Slide, Section) {
  auto options = train_options();
  options.feature_noise = 0;
  options.epochs = 40;
  Run<Item> run(options);
  const auto records = run.epochs(40);
  CHECK(records.back().train.total < records.front().train.total);
  CHECK(records.back().train.observation < records.front().train.observation);
  CHECK(records.back().validation < records.front().validation);
  CHECK(records.back().epoch == 40);
  CHECK(records.front().learning_rate == 0.01);
  CHECK(records.front().gradient_norm > 0);
  CHECK(run.trainer.epoch() == 40);
  CHECK(run.trainer.done());
}

TEST_CASE_TEMPLATE("cpnn::Trainer: the same bits again and on any number of threads, others from another seed", Item,
                   Slide, Section) {
  Run<Item> one(train_options(), 1), three(train_options(), 3);
  check_same(one.epochs(4), three.epochs(4));
  CHECK(testing::same_bits(one.values(), three.values()));
  auto options = train_options();
  options.seed = 2;
  Run<Item> other(options, 1);
  other.epochs(4);
  CHECK_FALSE(testing::same_bits(one.values(), other.values()));
}

TEST_CASE_TEMPLATE("cpnn::Trainer: continues bit for bit from any epoch, with every optimiser", Item, Slide, Section) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  for (const auto optimiser : {cpnn::Optimiser::adamw, cpnn::Optimiser::adam, cpnn::Optimiser::sgd}) {
    auto options = train_options();
    options.optimiser = optimiser;
    const Index total = 7;
    const Index cut = RandomStream(11 + static_cast<std::uint64_t>(optimiser)).below(total);
    CAPTURE(static_cast<int>(optimiser));
    CAPTURE(cut);
    Run<Item> whole(options), interrupted(options), resumed(options, 2, 99);
    const auto records = whole.epochs(total);
    interrupted.epochs(cut);
    interrupted.trainer.save(path, {{"note", "kept"}});
    const auto state = resumed.trainer.load(path);
    CHECK(state.at("note") == "kept");
    CHECK(resumed.trainer.epoch() == cut);
    CHECK(resumed.trainer.best_epoch() == interrupted.trainer.best_epoch());
    check_same(records, resumed.epochs(total - cut), static_cast<std::size_t>(cut));
    CHECK(testing::same_bits(whole.values(), resumed.values()));
    CHECK(whole.trainer.best_epoch() == resumed.trainer.best_epoch());
    CHECK(whole.trainer.best_validation() == resumed.trainer.best_validation());
    whole.trainer.restore_best();
    resumed.trainer.restore_best();
    CHECK(testing::same_bits(whole.values(), resumed.values()));
  }
}

TEST_CASE("cpnn::Trainer: stops when validation no longer improves and restores the best parameters") {
  auto options = train_options();
  options.epochs = 1000;
  options.patience = 3;
  options.learning_rate = 0.2;
  options.clip_norm = 0;
  Run<Slide> run(options);
  std::vector<cpnn::EpochRecord> records;
  while (!run.trainer.done()) records.push_back(run.trainer.run_epoch());
  REQUIRE(run.trainer.epoch() < 1000);
  CHECK(run.trainer.epoch() == run.trainer.best_epoch() + 4);
  double best = std::numeric_limits<double>::infinity();
  Index best_epoch = 0;
  for (const auto& record : records) {
    CHECK(record.best == (record.validation < best));
    if (!record.best) continue;
    best = record.validation;
    best_epoch = record.epoch;
  }
  CHECK(run.trainer.best_epoch() == best_epoch);
  CHECK(run.trainer.best_validation() == best);
  run.trainer.restore_best();
  run.model.set_library(options.validation_library);
  const auto validation = data().slides(7, samples);
  CHECK(run.model.slide_step(run.context, validation, GradientMode::ignore).observation == best);
}

TEST_CASE("cpnn::Trainer: without validation, or with keep_last, the last parameters are the best") {
  auto options = train_options();
  options.keep_last = true;
  Run<Slide> last(options);
  last.epochs(3);
  CHECK(last.trainer.best_epoch() == 3);

  CpuContext context({.threads = 1});
  cpnn::Model<float> model(model_options(cpnn::Observation::negative_binomial), data().prototypes);
  model.parameters().allocate(context, 4);
  cpnn::Trainer<float, Slide> trainer(context, model, data().slides(0, 7), {}, train_options());
  CHECK(std::isnan(trainer.run_epoch().validation));
  CHECK(trainer.best_epoch() == 1);
}

TEST_CASE("cpnn::Trainer: errors") {
  CpuContext context({.threads = 1});
  cpnn::Model<float> model(model_options(cpnn::Observation::negative_binomial), data().prototypes);
  model.parameters().allocate(context, 4);
  auto options = train_options();
  const auto make = [&](Index samples_to_train) {
    return cpnn::Trainer<float, Slide>(context, model, data().slides(0, samples_to_train), {}, options);
  };
  CHECK_THROWS_WITH_AS(make(0), "Trainer: there is nothing to train on", ValueError);
  options.batch = 0;
  CHECK_THROWS_WITH_AS(make(1), "Trainer: batch must be at least 1", ValueError);

  options = train_options();
  options.learning_rate = 1e30;
  auto exploding = make(7);
  CHECK_THROWS_AS(
      for (int i = 0; i < 5; ++i) exploding.run_epoch(), Error);

  const testing::TemporaryFolder folder;
  io::SafeTensorsWriter writer;
  writer.write(folder.path() / "other.safetensors");
  CHECK_THROWS_AS(make(7).load(folder.path() / "other.safetensors"), ParseError);
  for (const char* state : {"{\"epoch\": 1", "[]", "{\"epoch\": 1}", "{\"epoch\": -1, \"best_epoch\": 0, \"steps\": 0}",
                            "{\"epoch\": 1, \"best_epoch\": 0, \"steps\": 0}"}) {
    writer.set_metadata("state", state);
    writer.write(folder.path() / "broken.safetensors");
    CHECK_THROWS_AS(make(7).load(folder.path() / "broken.safetensors"), ParseError);
  }
}
