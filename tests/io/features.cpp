#include <eosin/io/features.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/golden.hpp"
#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

TEST_CASE("features: a table by spot") {
  testing::TemporaryFolder folder;
  const auto features = io::read_features(folder.write("f.csv", "spot,f0,f1\n10x14,0.5,-1e-3\n10x15,2,3\n"));
  CHECK(features.by_name());
  CHECK(features.names == std::vector<std::string>{"10x14", "10x15"});
  CHECK(features.columns == std::vector<std::string>{"f0", "f1"});
  CHECK(features.values(0, 1) == -1e-3f);
  const auto error = [&](const char* content) {
    const auto path = folder.write("g.tsv", content);
    return message_of([&] { io::read_features(path); });
  };
  CHECK(contains(error("spot\tf0\na\tnan\n"), "g.tsv:2: column f0: 'nan' is not finite"));
  CHECK(contains(error("spot\tf0\na\t1e39\n"), "too large"));
  CHECK(contains(error("spot\na\n"), "no feature columns"));
  CHECK(contains(error("spot\tf0\na\t1\na\t2\n"), "twice"));
}

#if EOSIN_HAS_HDF5
namespace {

template <class T>
void write_dataset(const std::filesystem::path& path, const char* name, std::vector<hsize_t> shape,
                   const std::vector<T>& values, bool fresh) {
  namespace hdf5 = io::hdf5;
  const hdf5::Handle file(fresh ? H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)
                                : H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT),
                          H5Fclose);
  const hdf5::Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose);
  // Chunked, so that a dataset may be larger than what was written.
  const hdf5::Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  const std::vector<hsize_t> chunk(shape.size(), 1);
  H5Pset_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data());
  const hdf5::Handle dataset(
      H5Dcreate2(file.id(), name, hdf5::native_type<T>(), space.id(), H5P_DEFAULT, properties.id(), H5P_DEFAULT),
      H5Dclose);
  REQUIRE(dataset.valid());
  if (!values.empty())
    REQUIRE(H5Dwrite(dataset.id(), hdf5::native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0);
}

}  // namespace

TEST_CASE("features: CLAM HDF5, golden file") {
  const auto golden = testing::load_golden(testing::golden_folder() / "io/clam_h5");
  const auto features = io::read_features(golden.folder / golden.config.at("file").get<std::string>());
  CHECK_FALSE(features.by_name());
  for (const bool single : {false, true}) {
    testing::Comparison comparison(golden, single);
    comparison.check("out/features", features.values);
    comparison.check("out/coords", features.coords);
    comparison.finish();
    INFO(comparison.summary());
    CHECK(comparison.ok());
  }
}

TEST_CASE("features: a leading dimension of one is dropped, other shapes are errors") {
  testing::TemporaryFolder folder;
  const auto path = folder.path() / "f.h5";
  write_dataset<float>(path, "features", {1, 2, 3}, {1, 2, 3, 4, 5, 6}, true);
  CHECK(contains(message_of([&] { io::read_features(path); }), "f.h5: coords: the file has no such dataset"));
  write_dataset<std::int64_t>(path, "coords", {1, 2, 2}, {10, 20, 30, 40}, false);
  const auto features = io::read_features(path);
  CHECK(features.rows() == 2);
  CHECK(features.dimension() == 3);
  CHECK(features.values(1, 0) == 4);
  CHECK(features.coords(1, 1) == 40);

  const auto error = [&](std::vector<hsize_t> shape, std::vector<float> values, std::vector<hsize_t> coords) {
    write_dataset<float>(path, "features", std::move(shape), values, true);
    write_dataset<double>(path, "coords", std::move(coords), {}, false);
    return message_of([&] { io::read_features(path); });
  };
  CHECK(contains(error({2, 1}, {1, std::numeric_limits<float>::quiet_NaN()}, {2, 2}), "row 1, column 0 is not finite"));
  CHECK(contains(error({2, 1}, {1, 2}, {3, 2}), "coords: has 3 rows, features has 2"));
  CHECK(contains(error({2, 1}, {1, 2}, {2, 3}), "coords: has 3 columns"));
  CHECK(contains(error({2}, {1, 2}, {2, 2}), "features: has shape [2]"));
  CHECK(contains(error({1000000000, 1000000}, {}, {1000000000, 2}), "features: claims 1000000000 x 1000000 elements"));
}

TEST_CASE("features: damaged HDF5 files") {
  testing::TemporaryFolder folder;
  const auto golden = testing::golden_folder() / "io/clam_h5/slide_1.h5";
  const std::string bytes = io::read_file(golden);
  for (std::size_t part = 0; part < 20; ++part) {
    const auto path = folder.write("cut.h5", bytes.substr(0, bytes.size() * part / 20));
    CAPTURE(part);
    CHECK(contains(message_of([&] { io::read_features(path); }), "cut.h5"));
  }
  const auto path = folder.write("text.h5", "spot,f0\na,1\n");
  CHECK(contains(message_of([&] { io::read_features(path); }), "is not an HDF5 file"));
}
#endif
