#pragma once

// Writes an AnnData file (.h5ad) in the encoding of AnnData 0.8 and later: frames obs and var with columns, matrices in
// varm, anything in uns; no X. The file is made in memory and put in place whole.
//
// Format: anndata.readthedocs.io, "On-disk format".

#include <eosin/core/buffer.hpp>
#include <eosin/core/error.hpp>
#include <eosin/io/atomic_file.hpp>
#include <eosin/io/hdf5.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace eosin::io {

/// Frames are "obs", "var" and those that frame() makes. Names must not hold a '/'. Functions throw ShapeError where a
/// column does not have the rows of its frame, ValueError for a name that is taken or cannot be one.
class AnnDataWriter {
 public:
  AnnDataWriter(const std::vector<std::string>& observations, const std::vector<std::string>& variables) {
    const auto guard = hdf5::lock();
    const hdf5::Silence silence;
    const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    // In memory, growing by this much, never written by the library itself.
    H5Pset_fapl_core(access.id(), std::size_t{1} << 20, 0);
    file_ = hdf5::Handle(H5Fcreate("anndata", H5F_ACC_TRUNC, H5P_DEFAULT, access.id()), H5Fclose);
    require(file_.valid(), "/");
    encode(file_.id(), "anndata", "0.1.0", "/");
    frame("obs", observations);
    frame("var", variables);
    for (const char* group : {"obsm", "varm", "obsp", "varp", "layers", "uns"}) dictionary(group);
  }

  /// A group of uns, as "uns/NAME" or deeper; its parent must exist.
  void dictionary(const std::string& path) {
    const auto guard = hdf5::lock();
    const auto group = make_group(path);
    encode(group.id(), "dict", "0.1.0", path);
  }

  /// A table with named rows.
  void frame(const std::string& path, const std::vector<std::string>& names) {
    const auto guard = hdf5::lock();
    const auto group = make_group(path);
    encode(group.id(), "dataframe", "0.2.0", path);
    attribute(group.id(), "_index", "_index", path);
    frames_.push_back({path, static_cast<Index>(names.size()), {}});
    texts(path + "/_index", names);
  }

  void column(const std::string& frame, const std::string& name, const std::vector<double>& values) {
    add_column(frame, name, static_cast<Index>(values.size()));
    numbers(frame + "/" + name, values.data(), {static_cast<Index>(values.size())});
  }
  void column(const std::string& frame, const std::string& name, const std::vector<std::string>& values) {
    add_column(frame, name, static_cast<Index>(values.size()));
    texts(frame + "/" + name, values);
  }
  /// Categories; code -1 is missing.
  void column(const std::string& frame, const std::string& name, const std::vector<std::string>& categories,
              const std::vector<Index>& codes) {
    const auto guard = hdf5::lock();
    add_column(frame, name, static_cast<Index>(codes.size()));
    const std::string path = frame + "/" + name;
    const auto group = make_group(path);
    encode(group.id(), "categorical", "0.2.0", path);
    boolean_attribute(group.id(), "ordered", false, path);
    texts(path + "/categories", categories);
    std::vector<std::int32_t> narrow;
    for (const Index code : codes) {
      require_value(code >= -1 && code < static_cast<Index>(categories.size()), "AnnDataWriter",
                    path + ": code " + std::to_string(code) + " is out of range");
      narrow.push_back(static_cast<std::int32_t>(code));
    }
    write(path + "/codes", H5T_NATIVE_INT32, narrow.data(), {static_cast<Index>(narrow.size())}, "array");
  }

  /// A matrix [rows x cols], for example "varm/NAME" with a row per variable.
  void matrix(const std::string& path, MatrixView<const double> values) {
    Matrix<double> dense(values.rows(), values.cols());
    for (Index r = 0; r < values.rows(); ++r)
      for (Index c = 0; c < values.cols(); ++c) dense(r, c) = values(r, c);
    if (path.rfind("varm/", 0) == 0)
      require_size("AnnDataWriter", path, "rows", values.rows(), frames_[1].rows, "variables");
    numbers(path, dense.data(), {values.rows(), values.cols()});
  }
  void array(const std::string& path, const std::vector<double>& values) {
    numbers(path, values.data(), {static_cast<Index>(values.size())});
  }
  void array(const std::string& path, const std::vector<std::string>& values) { texts(path, values); }
  void text(const std::string& path, const std::string& value) {
    const auto guard = hdf5::lock();
    const char* pointer = value.c_str();
    const auto type = text_type();
    write(path, type.id(), &pointer, {}, "string");
  }

  /// Puts the file in place. Nothing may be added afterwards. Throws FileError.
  void commit(const std::filesystem::path& path) {
    const auto guard = hdf5::lock();
    const hdf5::Silence silence;
    for (const auto& frame : frames_) {
      const hdf5::Handle group(H5Gopen2(file_.id(), frame.path.c_str(), H5P_DEFAULT), H5Gclose);
      std::vector<const char*> names;
      for (const auto& column : frame.columns) names.push_back(column.c_str());
      const auto type = text_type();
      const auto space = space_of({static_cast<Index>(names.size())});
      const hdf5::Handle order(H5Acreate2(group.id(), "column-order", type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT),
                               H5Aclose);
      require(order.valid() && (names.empty() || H5Awrite(order.id(), type.id(), names.data()) >= 0), frame.path);
    }
    require(H5Fflush(file_.id(), H5F_SCOPE_GLOBAL) >= 0, "/");
    const ssize_t size = H5Fget_file_image(file_.id(), nullptr, 0);
    require(size > 0, "/");
    std::vector<char> image(static_cast<std::size_t>(size));
    require(H5Fget_file_image(file_.id(), image.data(), image.size()) == size, "/");
    AtomicFile file(path);
    file.write(image.data(), image.size());
    file.commit();
  }

 private:
  struct Frame {
    std::string path;
    Index rows;
    std::vector<std::string> columns;
  };

  static void require(bool ok, const std::string& path) {
    if (!ok) throw ValueError("AnnDataWriter: " + path + " cannot be written (is the name taken, or not a name?)");
  }

  void add_column(const std::string& frame, const std::string& name, Index rows) {
    for (auto& known : frames_)
      if (known.path == frame) {
        require_size("AnnDataWriter", frame + "/" + name, "rows", rows, known.rows, frame);
        require(name.find('/') == std::string::npos && !name.empty() && name != "_index", frame + "/" + name);
        known.columns.push_back(name);
        return;
      }
    throw ValueError("AnnDataWriter: there is no frame " + frame);
  }

  static hdf5::Handle text_type() {
    hdf5::Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.id(), H5T_VARIABLE);
    H5Tset_cset(type.id(), H5T_CSET_UTF8);
    return type;
  }
  static hdf5::Handle space_of(const std::vector<Index>& shape) {
    if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
    const std::vector<hsize_t> extents(shape.begin(), shape.end());
    return {H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose};
  }

  hdf5::Handle make_group(const std::string& path) {
    const hdf5::Silence silence;
    hdf5::Handle group(H5Gcreate2(file_.id(), path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Gclose);
    require(group.valid(), path);
    return group;
  }

  static void attribute(hid_t object, const char* name, const char* text, const std::string& path) {
    const auto type = text_type();
    const auto space = space_of({});
    const hdf5::Handle attribute(H5Acreate2(object, name, type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    require(attribute.valid() && H5Awrite(attribute.id(), type.id(), &text) >= 0, path);
  }
  /// As h5py writes a bool.
  static void boolean_attribute(hid_t object, const char* name, bool value, const std::string& path) {
    const hdf5::Handle type(H5Tenum_create(H5T_NATIVE_INT8), H5Tclose);
    const std::int8_t no = 0, yes = 1, chosen = value ? 1 : 0;
    H5Tenum_insert(type.id(), "FALSE", &no);
    H5Tenum_insert(type.id(), "TRUE", &yes);
    const auto space = space_of({});
    const hdf5::Handle attribute(H5Acreate2(object, name, type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    require(attribute.valid() && H5Awrite(attribute.id(), type.id(), &chosen) >= 0, path);
  }
  static void encode(hid_t object, const char* type, const char* version, const std::string& path) {
    attribute(object, "encoding-type", type, path);
    attribute(object, "encoding-version", version, path);
  }

  void write(const std::string& path, hid_t type, const void* data, const std::vector<Index>& shape,
             const char* encoding) {
    const hdf5::Silence silence;
    const auto space = space_of(shape);
    const hdf5::Handle dataset(
        H5Dcreate2(file_.id(), path.c_str(), type, space.id(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose);
    require(dataset.valid(), path);
    bool empty = false;
    for (const Index extent : shape) empty = empty || extent == 0;
    require(empty || H5Dwrite(dataset.id(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, path);
    encode(dataset.id(), encoding, "0.2.0", path);
  }
  void numbers(const std::string& path, const double* values, const std::vector<Index>& shape) {
    const auto guard = hdf5::lock();
    write(path, H5T_NATIVE_DOUBLE, values, shape, "array");
  }
  void texts(const std::string& path, const std::vector<std::string>& values) {
    const auto guard = hdf5::lock();
    std::vector<const char*> pointers;
    for (const auto& value : values) pointers.push_back(value.c_str());
    const auto type = text_type();
    write(path, type.id(), pointers.data(), {static_cast<Index>(values.size())}, "string-array");
  }

  hdf5::Handle file_;
  std::vector<Frame> frames_;
};

}  // namespace eosin::io
