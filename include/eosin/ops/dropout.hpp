#pragma once

// Dropout (Srivastava et al. 2014): y = x * b / (1 - rate), where b is 0 with probability `rate`, else 1.
//
//   dx = dy * b / (1 - rate): the same function, since b is a function of the key and the position alone
//
// The decision for element i (row by row) takes word i mod 4 of the Philox numbers at position i / 4, so that forward
// and backward agree, on any number of threads, without a mask in memory.

#include <eosin/core/context.hpp>
#include <eosin/core/random.hpp>

#include <cmath>
#include <type_traits>

namespace eosin::ops {

/// Which elements are dropped. A training step takes a new `stream`, each place in a model its own.
struct DropoutKey {
  double rate = 0;  ///< in [0, 1); 0 drops nothing
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  /// The key of one of up to 2^8 places that share this key; places may nest.
  DropoutKey at(std::uint64_t place) const { return {rate, seed, (stream << 8) + place}; }
};

namespace detail {

/// What becomes of an element, on the processor and on a device.
template <class T>
class DropoutRule {
 public:
  explicit DropoutRule(const DropoutKey& key)
      : random_(key.seed, key.stream),
        limit_(static_cast<std::uint64_t>(std::ldexp(key.rate, 32))),
        scale_(static_cast<T>(1 / (1 - key.rate))) {}

  /// The words of elements 4 group .. 4 group + 3.
  EOSIN_HOST_DEVICE std::array<std::uint32_t, 4> words(std::uint64_t group) const { return random_.words(group); }
  EOSIN_HOST_DEVICE T operator()(std::uint32_t word, T x) const { return word < limit_ ? T(0) : scale_ * x; }

 private:
  Philox random_;
  std::uint64_t limit_;
  T scale_;
};

template <class T, class Space>
void check_dropout(const DropoutKey& key, MatrixView<const T, Space> x, MatrixView<T, Space> y) {
  require_shape("dropout", "y", y, x.rows(), x.cols());
  require_value(key.rate >= 0 && key.rate < 1, "dropout", "the rate must be in [0, 1)");
}

}  // namespace detail

/// y = dropout of x; y may be x. With rate 0 and y = x nothing is done. Throws ShapeError, ValueError.
template <class T>
void dropout(CpuContext& context, const DropoutKey& key, MatrixView<const std::type_identity_t<T>> x, MatrixView<T> y) {
  detail::check_dropout<T>(key, x, y);
  if (x.empty() || (key.rate == 0 && x.data() == y.data())) return;
  const detail::DropoutRule<T> rule(key);
  const Index cols = x.cols();
  context.parallel_for(x.rows(), 16, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const T* from = x.row(r).data();
      T* to = y.row(r).data();
      std::array<std::uint32_t, 4> words{};
      for (Index c = 0; c < cols; ++c) {
        const auto element = static_cast<std::uint64_t>(r * cols + c);
        if (c == 0 || element % 4 == 0) words = rule.words(element / 4);
        to[c] = rule(words[element % 4], from[c]);
      }
    }
  });
}

}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/dropout.cuh>
#endif
