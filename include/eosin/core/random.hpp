#pragma once

// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a function of (seed, stream, position) alone, so it is the same on CPU and GPU,
// in any order and on any number of threads.

#include <eosin/core/config.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace eosin {

/// Four random words from a 128-bit counter and a 64-bit key; ten rounds.
EOSIN_HOST_DEVICE inline std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                                std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// Random access to the numbers of one (seed, stream) pair.
class Philox {
 public:
  EOSIN_HOST_DEVICE constexpr explicit Philox(std::uint64_t seed, std::uint64_t stream = 0)
      : seed_(seed), stream_(stream) {}

  /// The four words at `position`.
  EOSIN_HOST_DEVICE std::array<std::uint32_t, 4> words(std::uint64_t position) const {
    return philox4x32({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32),
                       static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
                      {static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32)});
  }

  /// Uniform in the open interval (0, 1), 52 bits.
  EOSIN_HOST_DEVICE double uniform(std::uint64_t position) const {
    const auto w = words(position);
    return to_unit(w[0], w[1]);
  }

  /// Standard normal by Box-Muller.
  EOSIN_HOST_DEVICE double normal(std::uint64_t position) const {
    const auto w = words(position);
    return std::sqrt(-2.0 * std::log(to_unit(w[0], w[1]))) * std::cos(6.283185307179586 * to_unit(w[2], w[3]));
  }

 private:
  EOSIN_HOST_DEVICE static double to_unit(std::uint32_t high, std::uint32_t low) {
    // 52 bits, so that adding the half is exact and neither 0 nor 1 can come out.
    const std::uint64_t bits = (std::uint64_t{high} << 20) | (std::uint64_t{low} >> 12);
    return (static_cast<double>(bits) + 0.5) * 0x1p-52;
  }

  std::uint64_t seed_;
  std::uint64_t stream_;
};

/// Reads a Philox stream in order and draws from the distributions that simulations and splits need. The state is
/// (seed, stream, position): save `position()` and continue there.
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t seed, std::uint64_t stream = 0) : philox_(seed, stream) {}

  std::uint64_t position() const { return position_; }
  void seek(std::uint64_t position) { position_ = position; }

  double uniform() { return philox_.uniform(position_++); }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal() { return philox_.normal(position_++); }
  double normal(double mean, double deviation) { return mean + deviation * normal(); }

  /// Integer in [0, n), n >= 1; the bias is below n / 2^53.
  Index below(Index n) {
    const Index i = static_cast<Index>(uniform() * static_cast<double>(n));
    return i < n ? i : n - 1;
  }

  /// Gamma with the given shape > 0 and scale > 0 (Marsaglia and Tsang, ACM TOMS 26, 2000).
  double gamma(double shape, double scale = 1.0) {
    double boost = 1.0;
    if (shape < 1.0) {
      boost = std::pow(uniform(), 1.0 / shape);
      shape += 1.0;
    }
    const double d = shape - 1.0 / 3.0;
    const double c = 1.0 / std::sqrt(9.0 * d);
    for (;;) {
      const double x = normal();
      const double v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
      if (v <= 0.0) continue;
      if (std::log(uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return boost * scale * d * v;
    }
  }

  /// Poisson with mean >= 0: multiplication below 30, above it the transformed rejection of Hormann (PTRS, 1993).
  std::int64_t poisson(double mean) {
    if (!(mean > 0.0)) return 0;
    if (mean < 30.0) {
      const double limit = std::exp(-mean);
      double product = uniform();
      std::int64_t k = 0;
      while (product > limit) {
        product *= uniform();
        ++k;
      }
      return k;
    }
    const double slam = std::sqrt(mean);
    const double b = 0.931 + 2.53 * slam;
    const double a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    const double vr = 0.9277 - 3.6224 / (b - 2.0);
    for (;;) {
      const double u = uniform() - 0.5;
      const double v = uniform();
      const double us = 0.5 - std::abs(u);
      const double k = std::floor((2.0 * a / us + b) * u + mean + 0.43);
      if (us >= 0.07 && v <= vr) return static_cast<std::int64_t>(k);
      if (k < 0.0 || (us < 0.013 && v > us)) continue;
      if (std::log(v) + std::log(inverse_alpha) - std::log(a / (us * us) + b) <=
          k * std::log(mean) - mean - std::lgamma(k + 1.0))
        return static_cast<std::int64_t>(k);
    }
  }

  /// Negative binomial with variance mean + dispersion * mean^2.
  std::int64_t negative_binomial(double mean, double dispersion) {
    if (!(dispersion > 0.0)) return poisson(mean);
    return poisson(gamma(1.0 / dispersion, mean * dispersion));
  }

  /// Fisher-Yates permutation of 0 .. n-1.
  std::vector<Index> permutation(Index n) {
    std::vector<Index> order(static_cast<std::size_t>(n));
    for (Index i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
    for (Index i = n - 1; i > 0; --i)
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(below(i + 1))]);
    return order;
  }

 private:
  Philox philox_;
  std::uint64_t position_ = 0;
};

}  // namespace eosin
