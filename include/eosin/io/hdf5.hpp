#pragma once

// A small layer over the HDF5 C library (1.10 and later): handles that close themselves, errors that name the file and
// the dataset, no messages on the terminal. The library is not to be used by several threads at a time; whoever reads
// in parallel takes hdf5::lock() around the reading.

#include <eosin/core/error.hpp>
#include <eosin/io/file.hpp>

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <mutex>
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

/// An HDF5 file open for reading.
class File {
 public:
  explicit File(const std::filesystem::path& path) : name_(path.string()) {
    require_file(path);
    std::error_code code;
    bytes_ = std::filesystem::file_size(path, code);
    const Silence silence;
    file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    if (!file_.valid()) throw ParseError(name_ + ": is not an HDF5 file, or is damaged or truncated");
  }

  const std::string& name() const { return name_; }
  hid_t id() const { return file_.id(); }

  bool has_dataset(const std::string& dataset) const {
    const Silence silence;
    return Handle(H5Dopen2(file_.id(), dataset.c_str(), H5P_DEFAULT), H5Dclose).valid();
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

}  // namespace eosin::io::hdf5
