#pragma once

// All parameters of a model in one flat buffer, with named, shaped segments; gradients in a second buffer of the same
// layout. So an optimiser step is one loop, gradient clipping one reduction, a checkpoint one file. Names follow
// PyTorch's state_dict of the original systems.

#include <eosin/core/buffer.hpp>
#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>

#include <cmath>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/core/cuda_context.cuh>
#endif

namespace eosin {

/// How a segment starts.
namespace init {
struct Zeros {};
struct Constant {
  double value = 0;
};
struct Normal {
  double mean = 0;
  double deviation = 1;
};
struct Uniform {
  double low = -1;
  double high = 1;
};
/// Normal with deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010); shape [fan_out, fan_in].
struct XavierNormal {
  double gain = 1;
};
/// Given values, row-major; their number must be that of the segment.
struct Values {
  std::vector<double> values;
};
}  // namespace init

using Initialiser =
    std::variant<init::Zeros, init::Constant, init::Normal, init::Uniform, init::XavierNormal, init::Values>;

/// One named tensor of the flat buffer.
struct Segment {
  std::string name;
  std::vector<Index> shape;
  Index offset = 0;
  Index size = 0;
  Initialiser initialiser;
};

/// Position of a segment in its Parameters.
struct SegmentId {
  std::size_t index = 0;
};

/// Layers register segments with add() while the model is put together; allocate() then lays them out and fills them.
/// Segments start at multiples of a cache line; the padding between them stays zero in values and gradients.
template <class T, class Space = Host>
class Parameters {
 public:
  using value_type = T;

  /// Registers a tensor; names are unique. Throws ValueError for a name that exists, for a shape that no memory holds,
  /// or after allocate().
  SegmentId add(std::string name, std::vector<Index> shape, Initialiser initialiser = init::Zeros{}) {
    require_value(!allocated_, "Parameters::add", "'" + name + "' comes after allocate()");
    require_value(!contains(name), "Parameters::add", "the name '" + name + "' exists already");
    Segment segment;
    segment.name = std::move(name);
    segment.shape = std::move(shape);
    segment.size = 1;
    for (const Index extent : segment.shape) {
      require_value(extent >= 0 && (extent == 0 || segment.size <= largest_segment / extent), "Parameters::add",
                    "the shape of '" + segment.name + "' is out of range");
      segment.size *= extent;
    }
    segment.offset = padded_size_;
    segment.initialiser = std::move(initialiser);
    const Index unit = static_cast<Index>(alignment / sizeof(T));
    padded_size_ += (segment.size + unit - 1) / unit * unit;
    segments_.push_back(std::move(segment));
    return {segments_.size() - 1};
  }

  /// Lays out the segments and fills each from its initialiser; random ones from (seed, position in the list).
  template <Context C>
  void allocate(C& context, std::uint64_t seed) {
    Buffer<T> start(padded_size_);
    for (std::size_t i = 0; i < segments_.size(); ++i) fill(segments_[i], Philox(seed, i), start.data());
    gradients_ = Buffer<T, Space>(padded_size_);
    if constexpr (std::is_same_v<Space, Host>) {
      static_cast<void>(context);
      values_ = std::move(start);
    } else {
      values_ = Buffer<T, Space>(padded_size_);
      upload<T>(context, VectorView<const T>(start.data(), start.size()), values());
    }
    allocated_ = true;
  }

  bool allocated() const { return allocated_; }
  const std::vector<Segment>& segments() const { return segments_; }
  const Segment& segment(SegmentId id) const { return segments_[id.index]; }
  bool contains(std::string_view name) const {
    for (const auto& segment : segments_)
      if (segment.name == name) return true;
    return false;
  }
  /// Throws ValueError for an unknown name.
  SegmentId find(std::string_view name) const {
    for (std::size_t i = 0; i < segments_.size(); ++i)
      if (segments_[i].name == name) return {i};
    throw ValueError("Parameters: no segment is named '" + std::string(name) + "'");
  }

  /// The whole buffers, padding included.
  VectorView<T, Space> values() { return {values_.data(), values_.size()}; }
  VectorView<const T, Space> values() const { return {values_.data(), values_.size()}; }
  VectorView<T, Space> gradients() { return {gradients_.data(), gradients_.size()}; }
  VectorView<const T, Space> gradients() const { return {gradients_.data(), gradients_.size()}; }

  VectorView<T, Space> value(SegmentId id) { return slice(values_, id); }
  VectorView<const T, Space> value(SegmentId id) const { return slice(values_, id); }
  VectorView<T, Space> gradient(SegmentId id) { return slice(gradients_, id); }
  /// A two-dimensional segment as matrix.
  MatrixView<T, Space> matrix(SegmentId id) { return shaped(values_, id); }
  MatrixView<const T, Space> matrix(SegmentId id) const { return shaped(values_, id); }
  MatrixView<T, Space> gradient_matrix(SegmentId id) { return shaped(gradients_, id); }

  void zero_gradients() requires std::is_same_v<Space, Host> { gradients_.fill(T(0)); }
  template <Context C>
  void zero_gradients(C& context) {
    zero(context, gradients());
  }

 private:
  /// Far beyond any memory, and small enough that sizes in bytes and sums of them fit an Index.
  static constexpr Index largest_segment = Index{1} << 48;

  template <class B>
  auto slice(B& buffer, SegmentId id) const {
    const Segment& s = segments_[id.index];
    using Element = std::remove_pointer_t<decltype(buffer.data())>;
    return VectorView<Element, Space>(buffer.data() + s.offset, s.size);
  }
  template <class B>
  auto shaped(B& buffer, SegmentId id) const {
    const Segment& s = segments_[id.index];
    using Element = std::remove_pointer_t<decltype(buffer.data())>;
    return MatrixView<Element, Space>(buffer.data() + s.offset, s.shape[0], s.shape[1]);
  }

  static void fill(const Segment& segment, const Philox& random, T* values) {
    T* out = values + segment.offset;
    const auto each = [&](auto&& f) {
      for (Index i = 0; i < segment.size; ++i) out[i] = static_cast<T>(f(static_cast<std::uint64_t>(i)));
    };
    std::visit(
        [&](const auto& initialiser) {
          using I = std::decay_t<decltype(initialiser)>;
          if constexpr (std::is_same_v<I, init::Constant>) {
            each([&](std::uint64_t) { return initialiser.value; });
          } else if constexpr (std::is_same_v<I, init::Normal>) {
            each([&](std::uint64_t i) { return initialiser.mean + initialiser.deviation * random.normal(i); });
          } else if constexpr (std::is_same_v<I, init::Uniform>) {
            each([&](std::uint64_t i) {
              return initialiser.low + (initialiser.high - initialiser.low) * random.uniform(i);
            });
          } else if constexpr (std::is_same_v<I, init::XavierNormal>) {
            require_value(segment.shape.size() == 2, "Parameters::allocate",
                          "Xavier initialisation of '" + segment.name + "' needs two dimensions");
            const double deviation =
                initialiser.gain * std::sqrt(2.0 / static_cast<double>(segment.shape[0] + segment.shape[1]));
            each([&](std::uint64_t i) { return deviation * random.normal(i); });
          } else if constexpr (std::is_same_v<I, init::Values>) {
            require_size("Parameters::allocate", "initial value of '" + segment.name + "'", "elements",
                         static_cast<Index>(initialiser.values.size()), segment.size);
            each([&](std::uint64_t i) { return initialiser.values[i]; });
          }
        },
        segment.initialiser);
  }

  std::vector<Segment> segments_;
  Index padded_size_ = 0;
  bool allocated_ = false;
  Buffer<T, Space> values_;
  Buffer<T, Space> gradients_;
};

}  // namespace eosin
