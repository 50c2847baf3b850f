#include <eosin/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "support/golden.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;

namespace {

std::string with_header(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

std::string error_of(const std::string& bytes) {
  try {
    io::SafeTensors::parse(bytes, "w.safetensors");
  } catch (const ParseError& error) {
    return error.what();
  }
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("safetensors: every element type as the reference library wrote it") {
  const auto golden = testing::load_golden(testing::golden_folder() / "io/safetensors_types");
  const auto file = io::SafeTensors::read(golden.folder / golden.config.at("file").get<std::string>());
  for (const bool single : {false, true}) {
    testing::Comparison comparison(golden, single);
    for (const auto& [name, want] : golden.tensors) {
      if (name.rfind("out/", 0) != 0) continue;
      const std::string stored = name.substr(4);
      REQUIRE(file.contains(stored));
      if (single)
        comparison.check(name, file.values<float>(stored));
      else
        comparison.check(name, file.values<double>(stored));
      const auto& shape = file.at(stored).shape;
      if (!shape.empty()) CHECK(shape == want.shape);
      // A difference does not see the sign of a zero.
      const auto values = file.values<double>(stored);
      for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::signbit(values[i]) == std::signbit(want.values[i]));
    }
    comparison.finish();
    INFO(comparison.summary());
    CHECK(comparison.ok());
  }
  for (const auto& name : golden.config.at("empty")) CHECK(file.at(name.get<std::string>()).size() == 0);
  CHECK_FALSE(file.metadata().empty());
}

TEST_CASE("safetensors: what the writer writes the reader reads") {
  testing::TemporaryFolder folder;
  io::SafeTensorsWriter writer;
  Matrix<float> weight(2, 3);
  for (Index i = 0; i < 6; ++i) weight.flat()[i] = static_cast<float>(i) - 2.5f;
  weight(1, 2) = -0.0f;
  const std::vector<double> exact{1e-310, std::numeric_limits<double>::infinity(), 0.1};
  writer.add<std::uint8_t>("flags", {3}, std::vector<std::uint8_t>{1, 0, 255});
  writer.add("weight", weight);
  writer.add<double>("exact", {3, 1}, exact);
  writer.add<std::int64_t>("step", {}, std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min()});
  writer.add<float>("none", {0, 7}, std::vector<float>{});
  writer.set_metadata("format", "eosin");
  writer.write(folder.path() / "w.safetensors");

  const auto file = io::SafeTensors::read(folder.path() / "w.safetensors");
  CHECK(file.tensors().size() == 5);
  CHECK(file.metadata().at("format") == "eosin");
  CHECK(file.values<float>("weight") == std::vector<float>(weight.data(), weight.data() + weight.size()));
  CHECK(std::signbit(file.values<float>("weight")[5]));
  CHECK(file.values<double>("exact") == exact);
  CHECK(file.at("exact").shape == std::vector<Index>{3, 1});
  CHECK(file.values<std::int64_t>("step")[0] == std::numeric_limits<std::int64_t>::min());
  CHECK(file.at("step").shape.empty());
  CHECK(file.at("none").shape == std::vector<Index>{0, 7});
  CHECK(file.values<std::uint8_t>("flags") == std::vector<std::uint8_t>{1, 0, 255});
  for (const auto& tensor : file.tensors()) CHECK(tensor.begin % (tensor.type == io::ElementType::u8 ? 1u : 4u) == 0);

  Vector<float> target(6);
  file.copy_to("weight", target.view());
  CHECK(target[0] == -2.5f);
  Vector<float> short_target(5);
  CHECK_THROWS_WITH_AS(file.copy_to("weight", short_target.view()), doctest::Contains("weight"), ParseError);
  CHECK_THROWS_WITH_AS(file.values<int>("weight"), doctest::Contains("integers are expected"), ParseError);
  CHECK_THROWS_WITH_AS(file.values<int>("step"), doctest::Contains("does not fit"), ParseError);
  CHECK_THROWS_WITH_AS(file.at("missing"), doctest::Contains("missing"), ParseError);
}

TEST_CASE("safetensors: the writer refuses what no reader could read") {
  io::SafeTensorsWriter writer;
  writer.add<float>("a", {1}, std::vector<float>{1});
  CHECK_THROWS_AS(writer.add<float>("a", {1}, std::vector<float>{1}), ValueError);
  CHECK_THROWS_AS(writer.add<float>("b", {2}, std::vector<float>{1}), ShapeError);
  CHECK_THROWS_AS(writer.add<float>("__metadata__", {1}, std::vector<float>{1}), ValueError);
}

TEST_CASE("safetensors: malformed files") {
  for (const char* name : {"bad_safetensors_dtype", "bad_safetensors_header_length", "bad_safetensors_overlap"}) {
    const auto golden = testing::load_golden(testing::golden_folder() / "io" / name);
    CAPTURE(name);
    std::string message;
    try {
      io::SafeTensors::read(golden.folder / golden.config.at("file").get<std::string>());
    } catch (const Error& error) {
      message = error.what();
    }
    CHECK(testing::unmet_error_text(golden, message) == "");
  }
  const std::string four(4, 'x');
  CHECK(has(error_of(""), "header length"));
  CHECK(has(error_of(with_header("{", "")), "JSON"));
  CHECK(has(error_of(with_header("[]", "")), "object"));
  CHECK(has(error_of(with_header(std::string(1000, '['), "")), "deep"));
  CHECK(has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four + "y")), "cover"));
  CHECK(has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})", four + "y")), "hole"));
  CHECK(has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four)), "span"));
  CHECK(has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", four)), "outside"));
  CHECK(has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four)), "size"));
  CHECK(
      has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}})", four)),
          "range"));
  CHECK(has(error_of(with_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                 R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                                 four)),
            "twice"));
  CHECK(has(error_of(with_header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", four)), "dtype"));
  CHECK(has(error_of(with_header(R"({"a":3})", four)), "object"));
  CHECK(has(error_of(with_header(R"({"__metadata__":{"k":1}})", "")), "string"));
  CHECK_THROWS_WITH_AS(io::SafeTensors::read("no_such_file.safetensors"), doctest::Contains("no_such_file"), FileError);
}
