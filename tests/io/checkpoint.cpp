#include <eosin/io/checkpoint.hpp>

#include "support/arrays.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <utility>
#include <vector>

using namespace eosin;

namespace {

template <class T>
struct Model {
  CpuContext context{{.threads = 1}};
  Parameters<T> parameters;

  explicit Model(std::uint64_t seed, std::vector<Index> shape = {3, 5}) {
    parameters.add("encoder.weight", std::move(shape), init::Normal{});
    parameters.add("encoder.bias", {3}, init::Normal{});
    parameters.add("scale", {}, init::Constant{.value = 0.1});
    parameters.allocate(context, seed);
  }
  VectorView<const T> values() const { return parameters.values(); }
};

}  // namespace

TEST_CASE_TEMPLATE("io::checkpoint: what is read is what was written, bit for bit", T, float, double) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "model.safetensors";
  Model<T> model(1), moments(2), read(3), read_moments(4);
  auto bias = model.parameters.value(model.parameters.find("encoder.bias"));
  bias[0] = -T(0);
  bias[1] = std::numeric_limits<T>::denorm_min();
  bias[2] = std::numeric_limits<T>::quiet_NaN();
  io::SafeTensorsWriter writer;
  io::add_segments<T>(writer, "", model.parameters, model.values());
  io::add_segments<T>(writer, "adam/m/", model.parameters, moments.values());
  writer.write(path);

  const auto file = io::SafeTensors::read(path);
  CHECK(file.tensors().size() == 6);
  CHECK(file.at("encoder.weight").shape == std::vector<Index>{3, 5});
  CHECK(file.at("adam/m/scale").shape.empty());
  io::load_segments<T>(file, "", read.parameters, read.parameters.values());
  io::load_segments<T>(file, "adam/m/", read.parameters, read_moments.parameters.values());
  CHECK(testing::same_bits(read.values(), model.values()));
  CHECK(testing::same_bits(read_moments.values(), moments.values()));
}

TEST_CASE("io::checkpoint: a missing tensor and one of another shape are named, with the file") {
  Model<float> model(1), wide(1, {3, 6}), turned(1, {5, 3});
  io::SafeTensorsWriter writer;
  io::add_segments<float>(writer, "", model.parameters, model.values());
  const auto file = io::SafeTensors::parse(writer.bytes(), "model.safetensors");
  const auto load = [&](const char* prefix, Model<float>& into) {
    return testing::message_of(
        [&] { io::load_segments<float>(file, prefix, into.parameters, into.parameters.values()); });
  };
  CHECK(load("", model).empty());
  CHECK(load("best/", model) ==
        "model.safetensors: best/encoder.weight: the file has no tensor of this name");
  CHECK(load("", wide) == "model.safetensors: encoder.weight: the tensor is [3 x 5], the model has [3 x 6]");
  // As many elements in another order are not the same tensor.
  CHECK(load("", turned) == "model.safetensors: encoder.weight: the tensor is [3 x 5], the model has [5 x 3]");
  CHECK_THROWS_AS(io::load_segments<float>(file, "best/", model.parameters, model.parameters.values()), ParseError);
}

TEST_CASE("io::checkpoint: a buffer of another size is an error") {
  Model<float> model(1), wide(1, {3, 60});
  io::SafeTensorsWriter writer;
  CHECK_THROWS_AS(io::add_segments<float>(writer, "", model.parameters, wide.values()), ShapeError);
  io::add_segments<float>(writer, "", model.parameters, model.values());
  const auto file = io::SafeTensors::parse(writer.bytes(), "model.safetensors");
  CHECK_THROWS_AS(io::load_segments<float>(file, "", model.parameters, wide.parameters.values()), ShapeError);
}
