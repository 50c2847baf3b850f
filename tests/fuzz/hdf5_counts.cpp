#include <eosin/io/anndata.hpp>
#include <eosin/io/tenx.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/hdf5_files.hpp"
#include "support/temporary_folder.hpp"

namespace {

/// The input as numbers, 0 behind its end.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  int next() { return at_ < size_ ? data_[at_++] : 0; }
  /// Mostly small, now and then what no array may hold.
  double number() {
    const int byte = next();
    switch (byte) {
      case 255:
        return -1;
      case 254:
        return 1e18;
      case 253:
        return std::numeric_limits<double>::quiet_NaN();
      case 252:
        return 0.5;
      case 251:
        return -9e18;
      default:
        return byte % 8;
    }
  }
  std::vector<double> numbers(std::size_t usual) {
    const int byte = next();
    std::vector<double> values(byte < 200 ? usual : static_cast<std::size_t>(byte % 8));
    for (double& value : values) value = number();
    return values;
  }
  std::vector<double> offsets(std::size_t usual) {
    auto values = numbers(usual);
    const bool sum = next() < 200;
    for (std::size_t i = 0; sum && i < values.size(); ++i)
      values[i] = i == 0 ? 0 : values[i - 1] + (std::isfinite(values[i]) ? std::abs(values[i]) : 0);
    return values;
  }
  std::vector<std::int64_t> integers(std::size_t usual) {
    std::vector<std::int64_t> result;
    for (const double value : numbers(usual))
      result.push_back(std::isnan(value) ? 0 : static_cast<std::int64_t>(value));
    return result;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_, at_ = 0;
};

std::vector<std::string> names(std::size_t count) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < count; ++i) result.push_back("n" + std::to_string(i));
  return result;
}

}  // namespace

// The input is what the arrays of a sound HDF5 file hold: damaged HDF5 itself is the library's to refuse, and some
// versions of it do so by a crash.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  if (size > 1024) return 0;  // more than is ever read of it
  static const testing::TemporaryFolder folder;
  const auto path = folder.path() / "input.h5";
  Bytes bytes(data, size);
  {
    const io::hdf5::Silence silence;
    testing::Hdf5Writer file(path);
    const auto rows = static_cast<std::size_t>(bytes.next() % 6), cols = static_cast<std::size_t>(bytes.next() % 6);
    for (const auto& [frame, count] : {std::pair(std::string("obs"), rows), std::pair(std::string("var"), cols)}) {
      file.group(frame);
      file.texts(frame + "/_index", names(count));
      file.numbers(frame + "/numbers", bytes.numbers(count));
      file.group(frame + "/type");
      file.attribute(frame + "/type", "encoding-type", bytes.next() < 200 ? "categorical" : "nullable-integer");
      file.numbers(frame + "/type/codes", bytes.numbers(count));
      file.texts(frame + "/type/categories", names(3));
      file.numbers(frame + "/type/values", bytes.numbers(count));
      file.numbers(frame + "/type/mask", bytes.numbers(count));
    }
    const bool by_row = bytes.next() % 2 == 0;
    file.group("X");
    file.attribute("X", "encoding-type", by_row ? "csr_matrix" : "csc_matrix");
    const auto shape = bytes.next() < 200
                           ? std::vector<std::int64_t>{static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols)}
                           : bytes.integers(2);
    file.attribute("X", "shape", shape);
    const auto offsets = bytes.offsets((by_row ? rows : cols) + 1);
    const auto entries =
        offsets.empty() ? 0 : static_cast<std::size_t>(std::fmin(64.0, std::fmax(0.0, offsets.back())));
    file.numbers("X/indptr", offsets);
    file.numbers("X/indices", bytes.numbers(entries));
    file.numbers("X/data", bytes.numbers(entries));
    file.group("matrix");
    file.group("matrix/features");
    for (const char* name : {"id", "name", "feature_type"})
      file.texts(std::string("matrix/features/") + name, names(bytes.next() < 250 ? cols : 7));
    file.texts("matrix/barcodes", names(rows));
    file.numbers("matrix/shape", {static_cast<double>(cols), static_cast<double>(rows)});
    file.numbers("matrix/indptr", offsets);
    file.numbers("matrix/indices", bytes.numbers(entries));
    file.numbers("matrix/data", bytes.numbers(entries));
  }
  const auto drain = [](auto&& source) {
    while (source.next(2).genes() > 0) {
    }
  };
  try {
    const io::AnnData file(path);
    for (const char* frame : {"obs", "var"})
      for (const auto& name : file.columns(frame)) {
        try {
          const auto column = file.column(frame, name);
          for (Index row = 0; row < column.rows(); ++row) column.text(row);
        } catch (const Error&) {
        }
      }
    drain(io::read_anndata_genes(path, "X", {.memory = 1}));
  } catch (const Error&) {
  }
  try {
    drain(io::read_tenx_genes(path));
  } catch (const Error&) {
  }
  return 0;
}
