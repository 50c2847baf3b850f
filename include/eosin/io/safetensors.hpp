#pragma once

// safetensors: named tensors in one file. Eight bytes header length (little-endian), a JSON header
//   {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {"key": "text"}},
// then the data, row-major and little-endian. See github.com/huggingface/safetensors. Needs nlohmann/json.
//
// The reader trusts nothing: the header must fit in the file, every tensor's bytes must be those of its shape and type,
// and the tensors must cover the data section without holes or overlap under unique names.

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace eosin::io {

enum class ElementType { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

namespace detail {

static_assert(std::endian::native == std::endian::little, "eosin: safetensors are read on little-endian machines");

struct ElementTypeRow {
  ElementType type;
  std::string_view name;
  std::size_t bytes;
};

inline constexpr std::array<ElementTypeRow, 13> element_types{{{ElementType::f64, "F64", 8},
                                                               {ElementType::f32, "F32", 4},
                                                               {ElementType::f16, "F16", 2},
                                                               {ElementType::bf16, "BF16", 2},
                                                               {ElementType::i64, "I64", 8},
                                                               {ElementType::i32, "I32", 4},
                                                               {ElementType::i16, "I16", 2},
                                                               {ElementType::i8, "I8", 1},
                                                               {ElementType::u64, "U64", 8},
                                                               {ElementType::u32, "U32", 4},
                                                               {ElementType::u16, "U16", 2},
                                                               {ElementType::u8, "U8", 1},
                                                               {ElementType::boolean, "BOOL", 1}}};

inline const ElementTypeRow& element_row(ElementType type) {
  return element_types[static_cast<std::size_t>(type)];
}

template <class T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// IEEE half precision, widened exactly.
inline float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

inline float bfloat16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

template <class T>
constexpr ElementType element_type_of() {
  if constexpr (std::is_same_v<T, double>)
    return ElementType::f64;
  else if constexpr (std::is_same_v<T, float>)
    return ElementType::f32;
  else if constexpr (std::is_same_v<T, bool>)
    return ElementType::boolean;
  else {
    static_assert(std::is_integral_v<T>, "safetensors: the element type must be a number");
    if constexpr (std::is_signed_v<T>)
      return sizeof(T) == 8   ? ElementType::i64
             : sizeof(T) == 4 ? ElementType::i32
             : sizeof(T) == 2 ? ElementType::i16
                              : ElementType::i8;
    else
      return sizeof(T) == 8   ? ElementType::u64
             : sizeof(T) == 4 ? ElementType::u32
             : sizeof(T) == 2 ? ElementType::u16
                              : ElementType::u8;
  }
}

}  // namespace detail

/// One tensor of a file: what the header says of it, checked.
struct TensorInfo {
  std::string name;
  ElementType type = ElementType::f32;
  std::vector<Index> shape;  // empty for a scalar
  std::size_t begin = 0;     // bytes from the start of the data section
  std::size_t end = 0;

  /// Number of elements; 1 for a scalar.
  Index size() const { return static_cast<Index>((end - begin) / detail::element_row(type).bytes); }
};

/// A safetensors file in memory.
class SafeTensors {
 public:
  /// Reads and checks a whole file. Throws FileError or ParseError. Memory: the size of the file.
  static SafeTensors read(const std::filesystem::path& path) { return SafeTensors(io::read_file(path), path.string()); }
  /// The same from bytes; `name` stands for the file in messages.
  static SafeTensors parse(std::string bytes, std::string name) {
    return SafeTensors(std::move(bytes), std::move(name));
  }

  const std::string& file() const { return file_; }
  /// In the order of the data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  bool contains(std::string_view name) const { return index_.find(name) != index_.end(); }
  /// Throws ParseError naming the tensor when there is none.
  const TensorInfo& at(std::string_view name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) throw ParseError(file_, name, "the file has no tensor of this name");
    return tensors_[found->second];
  }

  /// The raw bytes of a tensor.
  std::string_view bytes(const TensorInfo& tensor) const {
    return std::string_view(content_).substr(data_begin_ + tensor.begin, tensor.end - tensor.begin);
  }

  /// All elements, row-major, converted to T. A floating T takes every type (F16 and BF16 widen exactly); an integer T
  /// takes integers and booleans that fit it, else ParseError.
  template <class T>
  std::vector<T> values(std::string_view name) const {
    const TensorInfo& tensor = at(name);
    std::vector<T> result(static_cast<std::size_t>(tensor.size()));
    convert(tensor, result.data());
    return result;
  }

  /// Fills `target`, whose size must be that of the tensor (ParseError: the file does not fit what is asked of it).
  template <class T>
  void copy_to(std::string_view name, VectorView<T> target) const {
    const TensorInfo& tensor = at(name);
    if (tensor.size() != target.size())
      throw ParseError(file_, name,
                       "has " + std::to_string(tensor.size()) + " elements, expected " + std::to_string(target.size()));
    if (target.contiguous()) {
      convert(tensor, target.data());
      return;
    }
    std::vector<T> row(static_cast<std::size_t>(tensor.size()));
    convert(tensor, row.data());
    for (Index i = 0; i < target.size(); ++i) target[i] = row[static_cast<std::size_t>(i)];
  }

 private:
  SafeTensors(std::string content, std::string file) : content_(std::move(content)), file_(std::move(file)) {
    parse_header();
  }

  [[noreturn]] void fail(std::string_view place, std::string_view message) const {
    throw ParseError(file_, place, message);
  }

  void parse_header() {
    using nlohmann::json;
    if (content_.size() < 8)
      fail("header length",
           "the file has " + std::to_string(content_.size()) + " bytes, 8 are needed for the header length");
    const auto length = detail::load<std::uint64_t>(content_.data());
    if (length > content_.size() - 8)
      fail("header length", "the header claims " + std::to_string(length) + " bytes, the file holds " +
                                std::to_string(content_.size() - 8) + " after the header length");
    if (length > header_limit)
      fail("header length", "the header claims " + std::to_string(length) + " bytes, more than the " +
                                std::to_string(header_limit) + " that the format allows");
    const auto header_size = static_cast<std::size_t>(length);
    data_begin_ = 8 + header_size;
    const std::size_t data_size = content_.size() - data_begin_;

    // nlohmann/json keeps the last of two equal keys without a word, so names are watched while it parses.
    std::vector<std::set<std::string>> names;
    const auto watch = [&](int depth, json::parse_event_t event, json& value) {
      if (depth > 4) fail("header", "is nested too deeply");
      if (event == json::parse_event_t::object_start) names.emplace_back();
      if (event == json::parse_event_t::object_end && !names.empty()) names.pop_back();
      if (event == json::parse_event_t::key && !names.empty()) {
        auto key = value.get<std::string>();
        if (!names.back().insert(key).second) fail(key, "the name occurs twice in the header");
      }
      return true;
    };
    json header;
    try {
      header = json::parse(content_.data() + 8, content_.data() + data_begin_, watch);
    } catch (const json::exception& error) {
      fail("header", std::string("is not valid JSON: ") + error.what());
    }
    if (!header.is_object()) fail("header", "is not a JSON object");

    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        read_metadata(entry);
        continue;
      }
      tensors_.push_back(read_tensor(name, entry, data_size));
    }
    std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::size_t covered = 0;
    const std::string* previous = nullptr;
    for (const TensorInfo& tensor : tensors_) {
      const std::string after = previous != nullptr ? "tensor " + *previous : std::string("the start of the data");
      if (tensor.begin < covered)
        fail(tensor.name, "its data begin at byte " + std::to_string(tensor.begin) + ", inside " + after +
                              " (which ends at byte " + std::to_string(covered) + ")");
      if (tensor.begin > covered)
        fail(tensor.name, "its data begin at byte " + std::to_string(tensor.begin) + ", which leaves a hole after " +
                              after + " (byte " + std::to_string(covered) + ")");
      covered = tensor.end;
      previous = &tensor.name;
    }
    if (covered != data_size)
      fail("data",
           "the tensors cover " + std::to_string(covered) + " bytes, the file holds " + std::to_string(data_size));
    for (std::size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
  }

  void read_metadata(const nlohmann::json& entry) {
    if (!entry.is_object()) fail("__metadata__", "is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail("__metadata__", "the value of '" + key + "' is not a string");
      metadata_.emplace(key, value.get<std::string>());
    }
  }

  TensorInfo read_tensor(const std::string& name, const nlohmann::json& entry, std::size_t data_size) const {
    TensorInfo tensor;
    tensor.name = name;
    if (!entry.is_object()) fail(name, "its header entry is not an object");
    const auto member = [&](const char* key) -> const nlohmann::json& {
      const auto found = entry.find(key);
      if (found == entry.end()) fail(name, std::string("its header entry has no '") + key + "'");
      return *found;
    };
    const auto& dtype = member("dtype");
    if (!dtype.is_string()) fail(name, "dtype is not a string");
    const auto type_name = dtype.get<std::string>();
    const auto row = std::find_if(detail::element_types.begin(), detail::element_types.end(),
                                  [&](const auto& candidate) { return candidate.name == type_name; });
    if (row == detail::element_types.end()) fail(name, "its element type '" + type_name + "' is not known");
    tensor.type = row->type;

    const auto& shape = member("shape");
    if (!shape.is_array()) fail(name, "shape is not an array");
    constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
    // Zero extents make a product of anything; extents themselves must still be representable.
    std::uint64_t elements = 1;
    bool empty = false;
    bool too_large = false;
    for (const auto& extent : shape) {
      if (!extent.is_number_unsigned()) fail(name, "shape " + shape.dump() + " has an entry that is not a size");
      const auto value = extent.get<std::uint64_t>();
      if (value > limit) fail(name, "shape " + shape.dump() + " is out of range");
      if (value == 0)
        empty = true;
      else if (elements > limit / value)
        too_large = true;
      else
        elements *= value;
      tensor.shape.push_back(static_cast<Index>(value));
    }
    if (empty)
      elements = 0;
    else if (too_large || elements > limit / row->bytes)
      fail(name, "shape " + shape.dump() + " is out of range");

    const auto& offsets = member("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      fail(name, "data_offsets is not a pair of sizes");
    const auto begin = offsets[0].get<std::uint64_t>();
    const auto end = offsets[1].get<std::uint64_t>();
    if (begin > end || end > data_size)
      fail(name, "data_offsets " + offsets.dump() + " lie outside the " + std::to_string(data_size) +
                     " bytes of data that the file holds");
    if (end - begin != elements * row->bytes)
      fail(name, "data_offsets " + offsets.dump() + " span " + std::to_string(end - begin) + " bytes, shape " +
                     shape.dump() + " of " + type_name + " needs " + std::to_string(elements * row->bytes));
    tensor.begin = static_cast<std::size_t>(begin);
    tensor.end = static_cast<std::size_t>(end);
    return tensor;
  }

  template <class T>
  void convert(const TensorInfo& tensor, T* out) const {
    const char* data = content_.data() + data_begin_ + tensor.begin;
    const auto count = static_cast<std::size_t>(tensor.size());
    switch (tensor.type) {
      case ElementType::f64:
        return convert_from<double>(tensor, data, count, out);
      case ElementType::f32:
        return convert_from<float>(tensor, data, count, out);
      case ElementType::f16:
        return convert_with(tensor, count, out, [&](std::size_t i) {
          return detail::half_to_float(detail::load<std::uint16_t>(data + 2 * i));
        });
      case ElementType::bf16:
        return convert_with(tensor, count, out, [&](std::size_t i) {
          return detail::bfloat16_to_float(detail::load<std::uint16_t>(data + 2 * i));
        });
      case ElementType::i64:
        return convert_from<std::int64_t>(tensor, data, count, out);
      case ElementType::i32:
        return convert_from<std::int32_t>(tensor, data, count, out);
      case ElementType::i16:
        return convert_from<std::int16_t>(tensor, data, count, out);
      case ElementType::i8:
        return convert_from<std::int8_t>(tensor, data, count, out);
      case ElementType::u64:
        return convert_from<std::uint64_t>(tensor, data, count, out);
      case ElementType::u32:
        return convert_from<std::uint32_t>(tensor, data, count, out);
      case ElementType::u16:
        return convert_from<std::uint16_t>(tensor, data, count, out);
      case ElementType::u8:
        return convert_from<std::uint8_t>(tensor, data, count, out);
      case ElementType::boolean:
        return convert_with(tensor, count, out,
                            [&](std::size_t i) { return static_cast<std::uint8_t>(data[i] != 0 ? 1 : 0); });
    }
  }

  template <class From, class T>
  void convert_from(const TensorInfo& tensor, const char* data, std::size_t count, T* out) const {
    if constexpr (std::is_same_v<From, T>) {
      if (count != 0) std::memcpy(out, data, count * sizeof(T));
    } else {
      convert_with(tensor, count, out, [&](std::size_t i) { return detail::load<From>(data + i * sizeof(From)); });
    }
  }

  template <class T, class Read>
  void convert_with(const TensorInfo& tensor, std::size_t count, T* out, Read&& read) const {
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = read(i);
      if constexpr (std::is_integral_v<T>) {
        if constexpr (std::is_floating_point_v<decltype(value)>)
          fail(tensor.name,
               "its elements are " + std::string(detail::element_row(tensor.type).name) + ", integers are expected");
        else if (!std::in_range<T>(value))
          fail(tensor.name, "element " + std::to_string(i) + " is " + std::to_string(value) +
                                ", which does not fit the integer type asked for");
        else
          out[i] = static_cast<T>(value);
      } else {
        out[i] = static_cast<T>(value);
      }
    }
  }

  // The reference implementation refuses longer headers too.
  static constexpr std::uint64_t header_limit = 100'000'000;

  std::string content_;
  std::string file_;
  std::size_t data_begin_ = 0;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// Collects tensors and writes them in one atomic step. Equal content gives equal bytes.
class SafeTensorsWriter {
 public:
  /// Adds a copy of `values` (float, double, bool or integers), row-major, under a name not used before.
  template <class T>
  void add(std::string name, std::vector<Index> shape, VectorView<const T> values) {
    Index elements = 1;
    for (const Index extent : shape) elements *= extent;
    if (elements != values.size())
      throw ShapeError("SafeTensorsWriter: tensor '" + name + "' has " + std::to_string(values.size()) +
                       " values, its shape has " + std::to_string(elements));
    Entry entry{std::move(name), detail::element_type_of<T>(), std::move(shape), {}};
    if (entry.name == "__metadata__") throw ValueError("SafeTensorsWriter: a tensor cannot be called __metadata__");
    for (const Entry& other : entries_)
      if (other.name == entry.name) throw ValueError("SafeTensorsWriter: two tensors are called '" + entry.name + "'");
    entry.bytes.resize(static_cast<std::size_t>(values.size()) * sizeof(T));
    for (Index i = 0; i < values.size(); ++i) {
      const T value = values[i];
      std::memcpy(entry.bytes.data() + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
    }
    entries_.push_back(std::move(entry));
  }
  template <class T>
  void add(std::string name, std::vector<Index> shape, const std::vector<T>& values) {
    add<T>(std::move(name), std::move(shape), VectorView<const T>(values.data(), static_cast<Index>(values.size())));
  }
  template <class T>
  void add(std::string name, const Matrix<T>& values) {
    add<T>(std::move(name), {values.rows(), values.cols()}, values.flat());
  }
  template <class T>
  void add(std::string name, const Vector<T>& values) {
    add<T>(std::move(name), {values.size()}, values.view());
  }

  void set_metadata(std::string key, std::string text) { metadata_[std::move(key)] = std::move(text); }

  /// The file's bytes. Tensors of wide elements come first, so that every one is aligned to its element.
  std::string bytes() const {
    std::vector<const Entry*> order;
    for (const Entry& entry : entries_) order.push_back(&entry);
    std::stable_sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
      return detail::element_row(a->type).bytes > detail::element_row(b->type).bytes;
    });
    nlohmann::json header = nlohmann::json::object();
    if (!metadata_.empty()) header["__metadata__"] = metadata_;
    std::size_t offset = 0;
    for (const Entry* entry : order) {
      header[entry->name] = {{"dtype", detail::element_row(entry->type).name},
                             {"shape", entry->shape},
                             {"data_offsets", {offset, offset + entry->bytes.size()}}};
      offset += entry->bytes.size();
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    const auto length = static_cast<std::uint64_t>(text.size());
    std::string content(sizeof length, '\0');
    std::memcpy(content.data(), &length, sizeof length);
    content.reserve(content.size() + text.size() + offset);
    content += text;
    for (const Entry* entry : order) content += entry->bytes;
    return content;
  }

  /// Writes the file atomically. Throws FileError.
  void write(const std::filesystem::path& path) const { write_file(path, bytes()); }

 private:
  struct Entry {
    std::string name;
    ElementType type;
    std::vector<Index> shape;
    std::string bytes;
  };

  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace eosin::io
