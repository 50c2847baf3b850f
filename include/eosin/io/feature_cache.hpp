#pragma once

// Features of a frozen encoder on disk, under everything that they depend on: content of the image, centres and edge of
// the patches, encoder, content of its weights, normalisation. A file is read back only if it was written under exactly
// the same key; a file that is damaged counts as absent, since features can be made again.
//
//   FeatureKey key;
//   key.set("image", content_hash(image)).set("edge", edge).set("encoder", "densenet121").set("weights",
//   hash_file(path)); if (auto cached = cache.read(key, spots)) use(*cached); else cache.write(key, encode());
//
// Files are safetensors with the tensor `features` [spots x d] and the key as metadata, named by the hash of the key
// and written atomically. Needs nlohmann/json.

#include <eosin/io/safetensors.hpp>
#include <eosin/vision/image.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace eosin::io {

/// FNV-1a over eight bytes at a time (the rest singly), with a finaliser; 64 bits tell contents apart that differ by
/// accident, not by intent.
class ContentHash {
 public:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes + i, 8);
      mix(word);
    }
    for (; i < size; ++i) mix(bytes[i]);
    mix(static_cast<std::uint64_t>(size));
  }
  void add(std::string_view text) { add(text.data(), text.size()); }

  /// Sixteen hexadecimal digits.
  std::string text() const {
    std::uint64_t h = state_;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    h ^= h >> 33;
    std::string out(16, '0');
    for (std::size_t i = 16; i-- > 0; h >>= 4) out[i] = "0123456789abcdef"[h & 15];
    return out;
  }

 private:
  void mix(std::uint64_t word) {
    state_ = (state_ ^ word) * 0x100000001b3ULL;
    // The product moves bits up only; high bits must reach low ones too.
    state_ ^= state_ >> 29;
  }

  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

/// Hash of size and pixels.
inline std::string content_hash(const vision::Image& image) {
  ContentHash hash;
  hash.add(std::to_string(image.width) + "x" + std::to_string(image.height));
  hash.add(image.pixels.data(), image.pixels.size());
  return hash.text();
}

/// Hash of the elements' bytes, for centres and the like.
template <class T>
requires std::is_trivially_copyable_v<T> std::string content_hash(std::span<const T> values) {
  ContentHash hash;
  hash.add(values.data(), values.size_bytes());
  return hash.text();
}

/// Hash of a file's content. Throws FileError.
inline std::string hash_file(const std::filesystem::path& path) {
  ContentHash hash;
  hash.add(read_file(path));
  return hash.text();
}

/// What features depend on, as named texts.
class FeatureKey {
 public:
  FeatureKey& set(std::string name, std::string value) {
    entries_["key/" + std::move(name)] = std::move(value);
    return *this;
  }
  FeatureKey& set(std::string name, const char* value) { return set(std::move(name), std::string(value)); }
  FeatureKey& set(std::string name, Index value) { return set(std::move(name), std::to_string(value)); }

  const std::map<std::string, std::string>& entries() const { return entries_; }
  std::string hash() const {
    ContentHash hash;
    for (const auto& [name, value] : entries_) {
      hash.add(name);
      hash.add(value);
    }
    return hash.text();
  }

 private:
  std::map<std::string, std::string> entries_;
};

class FeatureCache {
 public:
  /// `folder` is created when the first features are written.
  explicit FeatureCache(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path path(const FeatureKey& key) const {
    return folder_ / ("features-" + key.hash() + ".safetensors");
  }

  /// The features of `spots` spots under this key, or nothing.
  std::optional<Matrix<float>> read(const FeatureKey& key, Index spots) const {
    const auto file = path(key);
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored)) return std::nullopt;
    try {
      const auto tensors = SafeTensors::read(file);
      if (tensors.metadata() != key.entries() || !tensors.contains("features")) return std::nullopt;
      const TensorInfo& info = tensors.at("features");
      if (info.type != ElementType::f32 || info.shape.size() != 2 || info.shape[0] != spots) return std::nullopt;
      Matrix<float> features(info.shape[0], info.shape[1]);
      tensors.copy_to<float>("features", features.flat());
      return features;
    } catch (const ParseError&) {
      return std::nullopt;
    }
  }

  /// Throws FileError.
  void write(const FeatureKey& key, const Matrix<float>& features) const {
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw FileError(folder_.string() + ": cannot be created: " + error.message());
    SafeTensorsWriter writer;
    writer.add("features", features);
    for (const auto& [name, value] : key.entries()) writer.set_metadata(name, value);
    writer.write(path(key));
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace eosin::io
