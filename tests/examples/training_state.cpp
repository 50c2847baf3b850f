#include "common/training_state.hpp"

#include "support/arrays.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>

using namespace eosin;
using common::Optimiser;

namespace {

/// Two tensors and a buffer, moved by gradients that depend on the values and the step, as a training's do.
struct Setup {
  CpuContext context{{.threads = 1}};
  Parameters<float> parameters;
  SegmentId weight = parameters.add("weight", {4, 3}, init::Normal{});
  SegmentId bias = parameters.add("bias", {3}, init::Normal{});
  Vector<float> running{3};
  std::optional<common::TrainingState<float>> state;

  explicit Setup(Optimiser optimiser = Optimiser::adam, std::uint64_t seed = 1, bool with_buffer = true) {
    parameters.allocate(context, seed);
    for (Index i = 0; i < running.size(); ++i) running[i] = static_cast<float>(seed) + 0.1f * static_cast<float>(i);
    std::vector<common::StateBuffer<float>> buffers;
    if (with_buffer) buffers.push_back({"running", running.view()});
    state.emplace(parameters, common::OptimiserOptions{optimiser, 0.01}, std::move(buffers));
  }

  bool epoch(std::optional<double> value) {
    for (int step = 0; step < 3; ++step) {
      for (const auto id : {weight, bias}) {
        const auto values = std::as_const(parameters).value(id);
        auto gradient = parameters.gradient(id);
        for (Index i = 0; i < gradient.size(); ++i)
          gradient[i] = values[i] - static_cast<float>((i + state->steps()) % 5);
      }
      state->step(context, 0.05, 0.9);
      for (float& number : running) number = 0.9f * number + 0.1f * values()[0];
    }
    return state->end_epoch(value);
  }
  VectorView<const float> values() const { return parameters.values(); }
};

template <class T>
std::vector<T> copied(VectorView<const T> from) {
  return {from.data(), from.data() + from.size()};
}

}  // namespace

TEST_CASE("TrainingState: continues from a file bit for bit, with every optimiser") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  for (const auto optimiser : {Optimiser::adamw, Optimiser::adam, Optimiser::sgd}) {
    CAPTURE(static_cast<int>(optimiser));
    // The best epoch is the second, so best and present parameters differ in the file.
    const double validation[] = {3, 1, 2, 2.5, 1.5};
    Setup whole(optimiser), interrupted(optimiser), resumed(optimiser, 99);
    for (const double value : validation) whole.epoch(value);
    for (int i = 0; i < 3; ++i) interrupted.epoch(validation[i]);
    interrupted.state->save(path, {{"note", "kept"}});
    const auto state = resumed.state->load(path);
    CHECK(state.at("note") == "kept");
    CHECK(state.at("epoch") == 3);
    CHECK(resumed.state->epoch() == 3);
    CHECK(resumed.state->best_epoch() == 2);
    CHECK(resumed.state->best_value() == 1);
    CHECK(resumed.state->steps() == 9);
    CHECK(testing::same_bits(resumed.values(), interrupted.values()));
    for (int i = 3; i < 5; ++i) CHECK_FALSE(resumed.epoch(validation[i]));
    CHECK(testing::same_bits(resumed.values(), whole.values()));
    CHECK(testing::same_bits(std::as_const(resumed.running).view(), std::as_const(whole.running).view()));
    whole.state->restore_best();
    resumed.state->restore_best();
    CHECK(testing::same_bits(resumed.values(), whole.values()));
    CHECK(testing::same_bits(std::as_const(resumed.running).view(), std::as_const(whole.running).view()));
  }
}

TEST_CASE("TrainingState: the best epoch's parameters and buffers come back") {
  Setup run;
  const auto start = copied(run.values());
  run.state->restore_best();
  CHECK(copied(run.values()) == start);  // before any epoch the start counts as the best
  CHECK(run.epoch(0.5));
  const auto best = copied(run.values());
  const auto running = copied(std::as_const(run.running).view());
  CHECK_FALSE(run.epoch(0.5));  // as good is not better
  CHECK_FALSE(run.epoch(std::numeric_limits<double>::quiet_NaN()));
  CHECK(copied(run.values()) != best);
  CHECK(run.state->best_epoch() == 1);
  run.state->restore_best();
  CHECK(copied(run.values()) == best);
  CHECK(copied(std::as_const(run.running).view()) == running);
}

TEST_CASE("TrainingState: with nothing to validate on the last parameters are the best") {
  Setup run;
  CHECK(run.epoch(std::nullopt));
  CHECK(run.epoch(std::nullopt));
  CHECK(run.state->best_epoch() == 2);
  const auto last = copied(run.values());
  run.state->restore_best();
  CHECK(copied(run.values()) == last);

  // Infinity, the value to beat before the first validation, survives the file.
  const testing::TemporaryFolder folder;
  run.state->save(folder.path() / "state.safetensors", nlohmann::json::object());
  Setup resumed(Optimiser::adam, 5);
  resumed.state->load(folder.path() / "state.safetensors");
  CHECK(std::isinf(resumed.state->best_value()));
}

TEST_CASE("TrainingState: files that are not of this model and optimiser") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "state.safetensors";
  Setup run;
  CHECK_THROWS_AS(run.state->load(folder.path() / "missing.safetensors"), FileError);

  Setup(Optimiser::sgd).state->save(path, nlohmann::json::object());
  CHECK_THROWS_AS(run.state->load(path), ParseError);  // no moments
  Setup(Optimiser::adam, 1, false).state->save(path, nlohmann::json::object());
  CHECK_THROWS_AS(run.state->load(path), ParseError);  // no buffer

  io::SafeTensorsWriter writer;
  writer.write(path);
  CHECK_THROWS_AS(run.state->load(path), ParseError);
  for (const char* state : {"{\"epoch\": 1", "[]", "{\"epoch\": 1}", "{\"epoch\": -1, \"best_epoch\": 0, \"steps\": 0}",
                            "{\"epoch\": 1, \"best_epoch\": 0, \"steps\": 0}"}) {
    CAPTURE(state);
    writer.set_metadata("state", state);
    writer.write(path);
    CHECK_THROWS_AS(run.state->load(path), ParseError);
  }
}

TEST_CASE("read_checkpoint: refuses what another run wrote, and says what differs") {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "checkpoint.safetensors";
  const nlohmann::json settings{{"seed", 1}}, others{{"seed", 2}};
  const auto write = [&](const nlohmann::json& extra) { Setup().state->save(path, extra); };
  const auto message = [&](const nlohmann::json& wanted, std::uint64_t data, const std::string& products) {
    return testing::message_of([&] { common::read_checkpoint(path, wanted, data, products); });
  };
  const nlohmann::json extra{{"settings", settings}, {"data", 7u}, {"products", "eosin"}, {"member", 2}};
  write(extra);
  const auto state = common::read_checkpoint(path, settings, 7, "eosin");
  CHECK(state.at("member") == 2);
  CHECK(state.at("epoch") == 0);
  CHECK_THROWS_AS(common::read_checkpoint(path, others, 7, "eosin"), ValueError);
  CHECK(message(others, 7, "eosin") == path.string() + ": was written by a run with other settings");
  CHECK(message(settings, 8, "eosin") ==
        path.string() + ": was written by a run on other data: the files have changed");
  CHECK(message(settings, 7, "oneDNN") ==
        path.string() + ": was written by a run with matrix products by eosin, these are by oneDNN");
  for (const char* key : {"settings", "data", "products", "member"}) {
    CAPTURE(key);
    auto lacking = extra;
    lacking.erase(key);
    write(lacking);
    CHECK_THROWS_AS(common::read_checkpoint(path, settings, 7, "eosin"), ParseError);
  }
  auto word = extra;
  word["member"] = "two";
  write(word);
  CHECK_THROWS_AS(common::read_checkpoint(path, settings, 7, "eosin"), ParseError);
  io::SafeTensorsWriter().write(path);
  CHECK_THROWS_AS(common::read_checkpoint(path, settings, 7, "eosin"), ParseError);
}
