#pragma once

// A small layer over the HDF5 C library (1.10 and later): handles that close themselves, whole datasets and parts of
// them, texts, attributes, errors that name the file and the dataset, no messages on the terminal. The library is not
// to be used by several threads at a time; whoever reads in parallel takes hdf5::lock() around the reading.

#include <eosin/core/error.hpp>
#include <eosin/io/file.hpp>
#include <eosin/io/lzf.hpp>

#include <hdf5.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace eosin::io::hdf5 {

/// Holds the one lock under which this process uses HDF5.
[[nodiscard]] inline std::unique_lock<std::recursive_mutex> lock() {
  static std::recursive_mutex mutex;
  return std::unique_lock(mutex);
}

/// An identifier and the function that closes it.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0 && close_ != nullptr) close_(id_);
  }
  bool valid() const { return id_ >= 0; }
  hid_t id() const { return id_; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

/// Keeps the library from printing its error stack while it lives.
class Silence {
 public:
  Silence() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

template <class T>
hid_t native_type() {
  if constexpr (std::is_same_v<T, double>)
    return H5T_NATIVE_DOUBLE;
  else if constexpr (std::is_same_v<T, float>)
    return H5T_NATIVE_FLOAT;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return H5T_NATIVE_INT32;
  else {
    static_assert(std::is_same_v<T, std::int64_t>, "hdf5: double, float, int32 and int64 are read");
    return H5T_NATIVE_INT64;
  }
}

namespace detail {

/// The filter LZF, which h5py brings and the library does not; reads only.
inline std::size_t lzf_filter(unsigned flags, std::size_t, const unsigned*, std::size_t bytes, std::size_t* size,
                              void** buffer) {
  if ((flags & H5Z_FLAG_REVERSE) == 0) return 0;
  // A copy of at most 264 bytes takes 3.
  const auto out = lzf_decompress({static_cast<const char*>(*buffer), bytes}, 128 * bytes);
  if (!out || out->empty()) return 0;
  void* grown = H5allocate_memory(out->size(), false);
  if (grown == nullptr) return 0;
  std::memcpy(grown, out->data(), out->size());
  H5free_memory(*buffer);
  *buffer = grown;
  *size = out->size();
  return out->size();
}

inline void register_filters() {
  constexpr H5Z_filter_t lzf = 32000;
  static const H5Z_class2_t filter{H5Z_CLASS_T_VERS, lzf, 0, 1, "lzf", nullptr, nullptr, lzf_filter};
  static const bool done = H5Zfilter_avail(lzf) > 0 || H5Zregister(&filter) >= 0;
  static_cast<void>(done);
}

}  // namespace detail

enum class ObjectKind { none, group, dataset };

/// An HDF5 file open for reading.
class File {
 public:
  explicit File(const std::filesystem::path& path) : name_(path.string()) {
    require_file(path);
    std::error_code code;
    bytes_ = std::filesystem::file_size(path, code);
    const Silence silence;
    detail::register_filters();
    file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (!file_.valid()) throw ParseError(name_ + ": is not an HDF5 file, or is damaged or truncated");
  }

  const std::string& name() const { return name_; }
  hid_t id() const { return file_.id(); }

  bool has_dataset(const std::string& dataset) const {
    const Silence silence;
    return Handle(H5Dopen2(file_.id(), dataset.c_str(), H5P_DEFAULT), H5Dclose).valid();
  }

  /// What is found at a path.
  ObjectKind kind(const std::string& path) const {
    const Silence silence;
    const Handle object(H5Oopen(file_.id(), path.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid()) return ObjectKind::none;
    const H5I_type_t type = H5Iget_type(object.id());
    return type == H5I_GROUP ? ObjectKind::group : type == H5I_DATASET ? ObjectKind::dataset : ObjectKind::none;
  }

  /// Names in a group, in the order of their names. Throws ParseError where it is none.
  std::vector<std::string> children(const std::string& group) const {
    const Silence silence;
    const Handle handle(H5Gopen2(file_.id(), group.c_str(), H5P_DEFAULT), H5Gclose);
    if (!handle.valid()) fail(group, "the file has no such group");
    std::vector<std::string> names;
    const auto visit = [](hid_t, const char* name, const H5L_info_t*, void* data) -> herr_t {
      static_cast<std::vector<std::string>*>(data)->emplace_back(name);
      return 0;
    };
    hsize_t place = 0;
    if (H5Literate(handle.id(), H5_INDEX_NAME, H5_ITER_INC, &place, visit, &names) < 0) fail(group, "cannot be listed");
    return names;
  }

  /// A text attribute of a group or dataset; nothing where there is none of that name or it is no text.
  std::optional<std::string> text_attribute(const std::string& path, const std::string& name) const {
    const Silence silence;
    const Handle attribute = open_attribute(path, name);
    if (!attribute.valid()) return std::nullopt;
    const Handle type(H5Aget_type(attribute.id()), H5Tclose);
    const Handle space(H5Aget_space(attribute.id()), H5Sclose);
    if (!type.valid() || !space.valid() || H5Tget_class(type.id()) != H5T_STRING ||
        H5Sget_simple_extent_npoints(space.id()) != 1)
      return std::nullopt;
    if (H5Tis_variable_str(type.id()) > 0) {
      char* text = nullptr;
      if (H5Aread(attribute.id(), type.id(), &text) < 0) return std::nullopt;
      std::string result(text == nullptr ? "" : text);
      H5free_memory(text);
      return result;
    }
    std::string text(std::min<std::size_t>(H5Tget_size(type.id()), longest_attribute), '\0');
    if (text.size() == longest_attribute || H5Aread(attribute.id(), type.id(), text.data()) < 0) return std::nullopt;
    return text.substr(0, text.find('\0'));
  }

  /// An attribute of at most 16 integers or booleans; nothing where there is none such.
  std::optional<std::vector<Index>> integer_attribute(const std::string& path, const std::string& name) const {
    const Silence silence;
    const Handle attribute = open_attribute(path, name);
    if (!attribute.valid()) return std::nullopt;
    const Handle type(H5Aget_type(attribute.id()), H5Tclose);
    const Handle space(H5Aget_space(attribute.id()), H5Sclose);
    const H5T_class_t kind = type.valid() ? H5Tget_class(type.id()) : H5T_NO_CLASS;
    const hssize_t count = space.valid() ? H5Sget_simple_extent_npoints(space.id()) : -1;
    if ((kind != H5T_INTEGER && kind != H5T_ENUM) || count < 1 || count > 16) return std::nullopt;
    std::vector<std::int64_t> values(static_cast<std::size_t>(count));
    if (H5Aread(attribute.id(), H5T_NATIVE_INT64, values.data()) < 0) return std::nullopt;
    return std::vector<Index>(values.begin(), values.end());
  }

  /// The path of the object that an attribute refers to; nothing where there is no such attribute.
  std::optional<std::string> reference_attribute(const std::string& path, const std::string& name) const {
    const Silence silence;
    const Handle attribute = open_attribute(path, name);
    if (!attribute.valid()) return std::nullopt;
    const Handle type(H5Aget_type(attribute.id()), H5Tclose);
    const Handle space(H5Aget_space(attribute.id()), H5Sclose);
    if (!type.valid() || !space.valid() || H5Tequal(type.id(), H5T_STD_REF_OBJ) <= 0 ||
        H5Sget_simple_extent_npoints(space.id()) != 1)
      return std::nullopt;
    hobj_ref_t reference{};
    if (H5Aread(attribute.id(), H5T_STD_REF_OBJ, &reference) < 0) return std::nullopt;
    const Handle object(H5Rdereference2(attribute.id(), H5P_DEFAULT, H5R_OBJECT, &reference), H5Oclose);
    char target[4096] = {};
    if (!object.valid() || H5Iget_name(object.id(), target, sizeof target) <= 0)
      fail(path, "its attribute " + name + " refers to nothing");
    return std::string(target);
  }

  /// Extents of a dataset, empty for a scalar. Throws ParseError when there is none of that name.
  std::vector<Index> shape(const std::string& dataset) const {
    const Silence silence;
    return shape_of(open(dataset), dataset);
  }

  /// All elements of a numeric dataset, row-major, converted by HDF5. Throws ParseError when it holds no numbers, or
  /// claims more than the file can hold.
  template <class T>
  std::vector<T> read(const std::string& dataset) const {
    const Silence silence;
    const Handle handle = open(dataset);
    const Handle type(H5Dget_type(handle.id()), H5Tclose);
    const H5T_class_t kind = type.valid() ? H5Tget_class(type.id()) : H5T_NO_CLASS;
    if (kind != H5T_FLOAT && kind != H5T_INTEGER) fail(dataset, "does not hold numbers");
    if (std::is_integral_v<T> && kind != H5T_INTEGER) fail(dataset, "does not hold integers");
    const Index count = elements(handle, dataset, static_cast<Index>(sizeof(T)));
    std::vector<T> values(static_cast<std::size_t>(count));
    if (count > 0 && H5Dread(handle.id(), native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
      fail(dataset, "cannot be read (damaged, truncated, or compressed by a filter that is not installed)");
    return values;
  }

  [[noreturn]] void fail(const std::string& dataset, std::string_view message) const {
    throw ParseError(name_, dataset, message);
  }

 private:
  friend class Dataset;
  static constexpr std::size_t longest_attribute = 65536;

  Handle open_attribute(const std::string& path, const std::string& name) const {
    const Handle object(H5Oopen(file_.id(), path.c_str(), H5P_DEFAULT), H5Oclose);
    if (!object.valid() || H5Aexists(object.id(), name.c_str()) <= 0) return {};
    return Handle(H5Aopen(object.id(), name.c_str(), H5P_DEFAULT), H5Aclose);
  }

  Handle open(const std::string& dataset) const {
    Handle handle(H5Dopen2(file_.id(), dataset.c_str(), H5P_DEFAULT), H5Dclose);
    if (!handle.valid()) fail(dataset, "the file has no such dataset");
    return handle;
  }

  std::vector<Index> shape_of(const Handle& handle, const std::string& dataset) const {
    const Handle space(H5Dget_space(handle.id()), H5Sclose);
    const int rank = space.valid() ? H5Sget_simple_extent_ndims(space.id()) : -1;
    if (rank < 0) fail(dataset, "has no shape");
    std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
    H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr);
    std::vector<Index> result;
    for (const hsize_t extent : extents) {
      if (extent > static_cast<hsize_t>(std::numeric_limits<Index>::max())) fail(dataset, "its shape is out of range");
      result.push_back(static_cast<Index>(extent));
    }
    return result;
  }

  // A compressed chunk grows by at most about 1,030; what is far beyond that was never written.
  Index elements(const Handle& handle, const std::string& dataset, Index element_bytes) const {
    const double limit = 64e6 + 2000.0 * static_cast<double>(bytes_);
    Index count = 1;
    double bytes = static_cast<double>(element_bytes);
    const auto extents = shape_of(handle, dataset);
    for (const Index extent : extents)
      if (extent == 0) return 0;
    std::string text;
    for (const Index extent : extents) {
      bytes *= static_cast<double>(extent);
      text += (text.empty() ? "" : " x ") + std::to_string(extent);
    }
    if (bytes > limit)
      fail(dataset, "claims " + text + " elements, which a file of " + std::to_string(bytes_) + " bytes cannot hold");
    for (const Index extent : extents) count *= extent;
    return count;
  }

  std::string name_;
  std::uintmax_t bytes_ = 0;
  Handle file_;
};

/// A dataset, or one field of a compound one, read in parts. Holds what of its shape the file can be believed. The file
/// must outlive it.
class Dataset {
 public:
  enum class Kind { integers, floats, booleans, texts, other };

  /// Throws ParseError where there is no such dataset or field, or it claims more than the file can hold.
  Dataset(const File& file, std::string path, std::string field = {})
      : file_(&file), path_(std::move(path)), field_(std::move(field)) {
    const Silence silence;
    handle_ = file.open(path_);
    Handle type(H5Dget_type(handle_.id()), H5Tclose);
    if (!type.valid()) fail("has no type");
    if (!field_.empty()) {
      const int member = H5Tget_class(type.id()) == H5T_COMPOUND ? H5Tget_member_index(type.id(), field_.c_str()) : -1;
      if (member < 0) fail("has no field '" + field_ + "'");
      type = Handle(H5Tget_member_type(type.id(), static_cast<unsigned>(member)), H5Tclose);
    }
    switch (H5Tget_class(type.id())) {
      case H5T_INTEGER:
        kind_ = Kind::integers;
        break;
      case H5T_FLOAT:
        kind_ = Kind::floats;
        break;
      case H5T_ENUM:
        kind_ = Kind::booleans;
        break;
      case H5T_STRING:
        kind_ = Kind::texts;
        break;
      default:
        break;
    }
    variable_ = kind_ == Kind::texts && H5Tis_variable_str(type.id()) > 0;
    width_ = variable_ ? sizeof(char*) : H5Tget_size(type.id());
    type_ = std::move(type);
    shape_ = file.shape_of(handle_, path_);
    file.elements(handle_, path_, static_cast<Index>(kind_ == Kind::texts ? width_ : sizeof(double)));
    const Handle plist(H5Dget_create_plist(handle_.id()), H5Pclose);
    if (!shape_.empty() && plist.valid() && H5Pget_layout(plist.id()) == H5D_CHUNKED) {
      std::vector<hsize_t> extents(shape_.size());
      if (H5Pget_chunk(plist.id(), static_cast<int>(extents.size()), extents.data()) > 0)
        for (std::size_t d = 0; d < extents.size(); ++d)
          chunk_.push_back(std::min(shape_[d], static_cast<Index>(std::min<hsize_t>(extents[d], hsize_t{1} << 40))));
    }
  }

  const std::string& path() const { return path_; }
  /// Names of the fields of a compound dataset; none for others.
  std::vector<std::string> fields() const {
    std::vector<std::string> names;
    const int count = H5Tget_class(type_.id()) == H5T_COMPOUND ? H5Tget_nmembers(type_.id()) : 0;
    for (int i = 0; i < count; ++i) {
      char* name = H5Tget_member_name(type_.id(), static_cast<unsigned>(i));
      if (name != nullptr) names.emplace_back(name);
      H5free_memory(name);
    }
    return names;
  }
  Kind kind() const { return kind_; }
  const std::vector<Index>& shape() const { return shape_; }
  /// Extents of a chunk, at most the shape's; empty where the layout has none.
  const std::vector<Index>& chunk() const { return chunk_; }
  /// Elements of a dataset with one dimension. Throws ParseError where it has another number of them.
  Index size() const {
    if (shape_.size() != 1) fail("has " + std::to_string(shape_.size()) + " dimensions, expected 1");
    return shape_.front();
  }

  /// Elements [first, first + count) of each dimension, row-major, converted by HDF5 (booleans to 0 and 1). Throws
  /// ParseError where it holds no numbers or, for an integral T, no integers.
  template <class T>
  void read(const std::vector<Index>& first, const std::vector<Index>& count, std::vector<T>& out) const {
    if (kind_ != Kind::integers && kind_ != Kind::booleans && (std::is_integral_v<T> || kind_ != Kind::floats))
      fail(std::is_integral_v<T> ? "does not hold integers" : "does not hold numbers");
    Index elements = 1;
    for (const Index extent : count) elements *= extent;
    out.resize(static_cast<std::size_t>(elements));
    if (elements > 0) read_raw(first, count, native_type<T>(), sizeof(T), out.data());
  }
  template <class T>
  void read(Index first, Index count, std::vector<T>& out) const {
    read(std::vector<Index>{first}, std::vector<Index>{count}, out);
  }

  /// All texts of a dataset with one dimension. Throws ParseError where it holds none, or more than the file can.
  std::vector<std::string> texts() const {
    if (kind_ != Kind::texts) fail("does not hold texts");
    const Index count = size();
    const double limit = 64e6 + 100.0 * static_cast<double>(file_->bytes_);
    double bytes = 0;
    std::vector<std::string> result;
    constexpr Index at_once = 256;
    std::vector<char*> pointers;
    std::vector<char> fixed;
    for (Index first = 0; first < count; first += at_once) {
      const Index part = std::min(at_once, count - first);
      if (variable_) {
        pointers.assign(static_cast<std::size_t>(part), nullptr);
        read_raw({first}, {part}, type_.id(), width_, pointers.data());
        for (char*& text : pointers) {
          result.emplace_back(text == nullptr ? "" : text);
          H5free_memory(text);
          text = nullptr;
          bytes += static_cast<double>(result.back().size());
        }
      } else {
        fixed.assign(static_cast<std::size_t>(part) * width_, '\0');
        read_raw({first}, {part}, type_.id(), width_, fixed.data());
        for (Index i = 0; i < part; ++i) {
          std::string_view text(fixed.data() + static_cast<std::size_t>(i) * width_, width_);
          text = text.substr(0, text.find('\0'));
          if (H5Tget_strpad(type_.id()) == H5T_STR_SPACEPAD)
            while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
          result.emplace_back(text);
          bytes += static_cast<double>(text.size());
        }
      }
      if (bytes > limit) fail("holds more text than a file of " + std::to_string(file_->bytes_) + " bytes can");
    }
    return result;
  }

  [[noreturn]] void fail(const std::string& message) const {
    file_->fail(field_.empty() ? path_ : path_ + "." + field_, message);
  }

 private:
  void read_raw(const std::vector<Index>& first, const std::vector<Index>& count, hid_t type, std::size_t width,
                void* out) const {
    const Silence silence;
    if (first.size() != shape_.size() || count.size() != shape_.size())
      fail("has " + std::to_string(shape_.size()) + " dimensions, expected " + std::to_string(first.size()));
    const Handle space(H5Dget_space(handle_.id()), H5Sclose);
    const std::vector<hsize_t> start(first.begin(), first.end()), extent(count.begin(), count.end());
    const Handle memory(H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr), H5Sclose);
    Handle compound;
    if (!field_.empty()) {
      compound = Handle(H5Tcreate(H5T_COMPOUND, width), H5Tclose);
      if (H5Tinsert(compound.id(), field_.c_str(), 0, type) < 0) fail("cannot be read");
      type = compound.id();
    }
    if (!space.valid() || !memory.valid() ||
        H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) < 0 ||
        H5Dread(handle_.id(), type, memory.id(), space.id(), H5P_DEFAULT, out) < 0)
      fail("cannot be read (damaged, truncated, or compressed by a filter that is not installed)");
  }

  const File* file_;
  std::string path_, field_;
  Handle handle_, type_;
  Kind kind_ = Kind::other;
  bool variable_ = false;
  std::size_t width_ = 0;
  std::vector<Index> shape_, chunk_;
};

}  // namespace eosin::io::hdf5
