#pragma once

// Parameters of a model to and from safetensors: one tensor per named segment, in the element type of the model, so
// that what is read back is what was written, bit for bit. Names may carry a prefix ("best/", "adam/m/"), so that
// parameters, optimiser moments and the best parameters so far go into one file.

#include <eosin/core/parameters.hpp>
#include <eosin/io/safetensors.hpp>

#include <string>

namespace eosin::io {

/// Adds the segments of `flat`, a buffer in the layout of `parameters` (its values, an optimiser's moment).
template <class T>
void add_segments(SafeTensorsWriter& writer, const std::string& prefix, const Parameters<T>& parameters,
                  VectorView<const T> flat) {
  require_size("add_segments", "flat", "elements", flat.size(), parameters.values().size(), "those of the parameters");
  for (const Segment& segment : parameters.segments())
    writer.add<T>(prefix + segment.name, segment.shape, flat.segment(segment.offset, segment.size));
}

/// Fills `flat` from the tensors PREFIX + NAME. Throws ParseError naming a tensor that is missing or has another shape.
template <class T>
void load_segments(const SafeTensors& file, const std::string& prefix, const Parameters<T>& parameters,
                   VectorView<T> flat) {
  require_size("load_segments", "flat", "elements", flat.size(), parameters.values().size(), "those of the parameters");
  for (const Segment& segment : parameters.segments()) {
    const std::string name = prefix + segment.name;
    const TensorInfo& tensor = file.at(name);
    if (tensor.shape != segment.shape) {
      const auto text = [](const std::vector<Index>& shape) {
        std::string out = "[";
        for (const Index extent : shape) out += (out.size() > 1 ? " x " : "") + std::to_string(extent);
        return out + "]";
      };
      throw ParseError(file.file(), name,
                       "the tensor is " + text(tensor.shape) + ", the model has " + text(segment.shape));
    }
    file.copy_to<T>(name, flat.segment(segment.offset, segment.size));
  }
}

}  // namespace eosin::io
