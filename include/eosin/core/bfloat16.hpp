#pragma once

// bfloat16 as storage: the upper half of a float, rounded to nearest, ties to even.

#include <eosin/core/config.hpp>

#include <bit>
#include <cstdint>

namespace eosin {

struct BFloat16 {
  std::uint16_t bits = 0;

  constexpr BFloat16() = default;
  /// Rounds; a NaN stays a (quiet) NaN.
  EOSIN_HOST_DEVICE constexpr explicit BFloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t rounded = word + 0x7FFFu + ((word >> 16) & 1u);
    const bool nan = (word & 0x7FFFFFFFu) > 0x7F800000u;
    bits = static_cast<std::uint16_t>((nan ? (word | 0x00400000u) : rounded) >> 16);
  }
  EOSIN_HOST_DEVICE constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

}  // namespace eosin
