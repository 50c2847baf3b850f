#pragma once

// Weights of image networks (vision/densenet.hpp, vision/resnet.hpp) from safetensors files, under the names that
// torchvision, its published files and mclSTExp's checkpoints give them. How a .pth file becomes one:
// docs/image_encoders.md.

#include <eosin/core/parameters.hpp>
#include <eosin/io/safetensors.hpp>

#include <string>
#include <vector>

namespace eosin::io {

/// Fills the parameters and the running statistics of `network`, whose parameters are part of `parameters`. A tensor is
/// looked for under its own name, prefix included, and under Network::spellings. What else the file holds, a classifier
/// for one, is ignored. Throws ParseError naming a tensor that is missing or has another shape; nothing is changed
/// then.
template <class T, class Network>
void load_image_encoder(const SafeTensors& file, Network& network, Parameters<T>& parameters) {
  struct Target {
    std::string found;
    VectorView<T> values;
  };
  std::vector<Target> targets;
  const auto text = [](const std::vector<Index>& shape) {
    std::string out = "[";
    for (const Index extent : shape) out += (out.size() > 1 ? " x " : "") + std::to_string(extent);
    return out + "]";
  };
  const auto add = [&](const std::string& name, const std::vector<Index>& shape, VectorView<T> values) {
    const std::string plain = name.substr(network.prefix().size());
    std::string found = file.contains(name) ? name : "";
    std::string tried;
    for (const std::string& spelling : Network::spellings(plain)) {
      if (found.empty() && file.contains(spelling)) found = spelling;
      tried += (tried.empty() ? "" : ", ") + spelling;
    }
    if (found.empty())
      throw ParseError(file.file(), plain, "the file has no tensor of this name (tried " + tried + ")");
    if (file.at(found).shape != shape)
      throw ParseError(file.file(), found,
                       "the tensor is " + text(file.at(found).shape) + ", the network has " + text(shape));
    targets.push_back({found, values});
  };
  const auto [first, last] = network.segments();
  for (std::size_t s = first; s < last; ++s) {
    const Segment& segment = parameters.segments()[s];
    add(segment.name, segment.shape, parameters.value({s}));
  }
  for (const auto& buffer : network.buffers()) add(buffer.name, {buffer.values.size()}, buffer.values);
  // A tensor of a type that is no number would be found only now: read everything before anything is changed.
  std::vector<std::vector<T>> values;
  for (const Target& target : targets) values.push_back(file.values<T>(target.found));
  for (std::size_t t = 0; t < targets.size(); ++t)
    for (Index i = 0; i < targets[t].values.size(); ++i) targets[t].values[i] = values[t][static_cast<std::size_t>(i)];
}

}  // namespace eosin::io
