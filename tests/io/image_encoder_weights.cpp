#include <eosin/io/image_encoder_weights.hpp>

#include <eosin/vision/densenet.hpp>
#include <eosin/vision/resnet.hpp>

#include "support/arrays.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <functional>

using namespace eosin;

namespace {

const vision::DenseNetOptions small_densenet{
    .growth_rate = 2, .block_config = {1, 1}, .num_init_features = 4, .bn_size = 2, .norm = {}};
const vision::ResNetOptions small_resnet{.layers = {1, 1}, .base_planes = 2, .norm = {}};

template <class Network>
struct Loaded {
  CpuContext context{{.threads = 1}};
  Parameters<float> parameters;
  Network network;
  template <class Options>
  Loaded(const std::string& prefix, const Options& options, std::uint64_t seed)
      : network((parameters.add("other.weight", {3}), parameters), prefix, options) {
    parameters.allocate(context, seed);
    std::uint64_t k = 100 * seed;
    for (const auto& buffer : network.buffers()) {
      const auto values = testing::normal_matrix<float>(1, buffer.values.size(), k++);
      for (Index i = 0; i < buffer.values.size(); ++i) buffer.values[i] = values(0, i);
    }
  }
  /// Calls f(name without prefix, shape, values) for every tensor.
  template <class F>
  void for_each(F&& f) {
    const auto [first, last] = network.segments();
    for (std::size_t s = first; s < last; ++s)
      f(parameters.segments()[s].name.substr(network.prefix().size()), parameters.segments()[s].shape,
        parameters.value({s}));
    for (const auto& buffer : network.buffers())
      f(buffer.name.substr(network.prefix().size()), std::vector<Index>{buffer.values.size()}, buffer.values);
  }
};

using Rename = std::function<std::string(const std::string&)>;

template <class Network, class Options>
void check_round(const Options& options, const Rename& rename) {
  testing::TemporaryFolder folder;
  Loaded<Network> from("", options, 1), to("image", options, 2);
  io::SafeTensorsWriter writer;
  from.for_each([&](const std::string& name, const std::vector<Index>& shape, VectorView<float> values) {
    writer.add<float>(rename(name), shape, VectorView<const float>(values));
  });
  const Vector<float> classifier(6);
  writer.add<float>("classifier.weight", {2, 3}, classifier.view());
  writer.write(folder.path() / "weights.safetensors");
  io::load_image_encoder<float>(io::SafeTensors::read(folder.path() / "weights.safetensors"), to.network,
                                to.parameters);
  std::vector<VectorView<float>> want;
  from.for_each(
      [&](const std::string&, const std::vector<Index>&, VectorView<float> values) { want.push_back(values); });
  std::size_t i = 0;
  to.for_each([&](const std::string& name, const std::vector<Index>&, VectorView<float> values) {
    CAPTURE(name);
    CHECK(testing::same_bits(values, want[i++]));
  });
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
  return text;
}

}  // namespace

TEST_CASE("io::load_image_encoder: DenseNet in torchvision's, the published file's and mclSTExp's names") {
  using Network = vision::DenseNet<float>;
  check_round<Network>(small_densenet, [](const std::string& name) { return name; });
  check_round<Network>(small_densenet, [](const std::string& name) { return "image." + name; });
  check_round<Network>(small_densenet, [](std::string name) {
    for (const char* number : {"1", "2"})
      for (const char* kind : {"norm", "conv"})
        name = replaced(name, std::string(".") + kind + number + ".", std::string(".") + kind + "." + number + ".");
    return name;
  });
  for (const char* encoder : {"image_encoder", "image_ecode"})
    check_round<Network>(small_densenet, [&](const std::string& name) {
      return replaced(name, "features.", encoder + std::string(".model.0."));
    });
}

TEST_CASE("io::load_image_encoder: ResNet in torchvision's and mclSTExp's names") {
  using Network = vision::ResNet<float>;
  check_round<Network>(small_resnet, [](const std::string& name) { return name; });
  check_round<Network>(small_resnet, [](const std::string& name) {
    for (const auto& [start, number] :
         {std::pair<const char*, const char*>{"conv1", "0"}, {"bn1", "1"}, {"layer1", "4"}, {"layer2", "5"}})
      if (name.rfind(start, 0) == 0) return replaced(name, start, std::string("image_encoder.model.") + number);
    return name;
  });
}

TEST_CASE("io::load_image_encoder: a missing or misshapen tensor is named, and nothing has changed") {
  testing::TemporaryFolder folder;
  Loaded<vision::DenseNet<float>> from("", small_densenet, 1), to("", small_densenet, 2);
  const auto file = folder.path() / "weights.safetensors";
  const auto write = [&](const std::string& without, const std::string& misshapen) {
    io::SafeTensorsWriter writer;
    from.for_each([&](const std::string& name, std::vector<Index> shape, VectorView<float> values) {
      if (name == without) return;
      if (name == misshapen) shape = {values.size(), 1};
      writer.add<float>(name, shape, VectorView<const float>(values));
    });
    writer.write(file);
  };
  const float before = to.parameters.values()[to.parameters.segments()[1].offset];
  const auto load = [&] {
    return testing::message_of(
        [&] { io::load_image_encoder<float>(io::SafeTensors::read(file), to.network, to.parameters); });
  };
  write("features.norm5.running_var", "");
  CHECK(load().find("features.norm5.running_var: the file has no tensor of this name") != std::string::npos);
  write("", "features.transition1.norm.bias");
  CHECK(load().find("features.transition1.norm.bias: the tensor is [6 x 1], the network has [6]") != std::string::npos);
  CHECK(to.parameters.values()[to.parameters.segments()[1].offset] == before);
}
