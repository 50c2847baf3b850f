#pragma once

// Small HDF5 files for tests, with some of their datasets changed.

#include <eosin/io/hdf5.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace eosin::testing {

/// Numbers in the place of those of a dataset.
using Hdf5Changes = std::map<std::string, std::vector<double>>;

class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path, Hdf5Changes changes = {})
      : changes_(std::move(changes)),
        file_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose) {}

  void group(const std::string& path) {
    const io::hdf5::Handle made(H5Gcreate2(file_.id(), path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
  }
  /// Whole numbers as 64-bit integers, others as doubles.
  void numbers(const std::string& path, std::vector<double> values) {
    if (const auto changed = changes_.find(path); changed != changes_.end()) values = changed->second;
    bool whole = true;
    for (const double value : values) whole = whole && value == std::floor(value);
    const hsize_t extent = values.size();
    const io::hdf5::Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
    const io::hdf5::Handle data(H5Dcreate2(file_.id(), path.c_str(), whole ? H5T_STD_I64LE : H5T_IEEE_F64LE, space.id(),
                                           H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT),
                                H5Dclose);
    H5Dwrite(data.id(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  }
  /// Texts of a fixed length, as 10x Genomics writes them.
  void texts(const std::string& path, const std::vector<std::string>& values) {
    constexpr std::size_t width = 16;
    std::string bytes(values.size() * width, '\0');
    for (std::size_t i = 0; i < values.size(); ++i) bytes.replace(i * width, values[i].size(), values[i]);
    const io::hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.id(), width);
    H5Tset_strpad(type.id(), H5T_STR_NULLPAD);
    const hsize_t extent = values.size();
    const io::hdf5::Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
    const io::hdf5::Handle data(
        H5Dcreate2(file_.id(), path.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
    H5Dwrite(data.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data());
  }
  void attribute(const std::string& path, const std::string& name, const std::string& text) {
    const io::hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.id(), text.size() + 1);
    const io::hdf5::Handle space(H5Screate(H5S_SCALAR), H5Sclose);
    add_attribute(path, name, type.id(), space.id(), text.c_str());
  }
  void attribute(const std::string& path, const std::string& name, const std::vector<std::int64_t>& values) {
    const hsize_t extent = values.size();
    const io::hdf5::Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
    add_attribute(path, name, H5T_NATIVE_INT64, space.id(), values.data());
  }

 private:
  void add_attribute(const std::string& path, const std::string& name, hid_t type, hid_t space, const void* data) {
    const io::hdf5::Handle object(H5Oopen(file_.id(), path.c_str(), H5P_DEFAULT), H5Oclose);
    const io::hdf5::Handle made(H5Acreate2(object.id(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    H5Awrite(made.id(), type, data);
  }

  Hdf5Changes changes_;
  io::hdf5::Handle file_;
};

}  // namespace eosin::testing
