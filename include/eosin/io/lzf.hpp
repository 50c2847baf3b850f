#pragma once

// LZF (Marc Lehmann), the compression that h5py offers beside gzip: decompression alone. A stream is a sequence of
// literal runs (control byte below 32) and of copies from at most 8 KiB back.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace eosin::io {

/// The decompressed bytes; nothing where the stream is damaged or gives more than `most` bytes.
inline std::optional<std::string> lzf_decompress(std::string_view input, std::size_t most) {
  std::string out;
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(input[i])); };
  for (std::size_t i = 0; i < input.size();) {
    const std::size_t control = byte(i++);
    if (control < 32) {
      const std::size_t length = control + 1;
      if (length > input.size() - i || length > most - out.size()) return std::nullopt;
      out.append(input.substr(i, length));
      i += length;
      continue;
    }
    std::size_t length = control >> 5;
    if (length == 7) {
      if (i == input.size()) return std::nullopt;
      length += byte(i++);
    }
    length += 2;
    if (i == input.size()) return std::nullopt;
    const std::size_t back = ((control & 31) << 8) + byte(i++) + 1;
    if (back > out.size() || length > most - out.size()) return std::nullopt;
    for (std::size_t from = out.size() - back; length > 0; --length) out += out[from++];
  }
  return out;
}

}  // namespace eosin::io
