#include "common/study.hpp"

#include "support/skip.hpp"

#include <eosin/io/atomic_file.hpp>
#include <eosin/io/image.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

using eosin::Index;

namespace {

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / "eosin-study-test") {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

/// Samples A and B with nine spots and a feature file each, an annotation of B; images where `picture` is not empty.
void write_samples(const std::filesystem::path& folder, const std::string& picture) {
  std::string manifest = "sample,patient,counts,spots,image,features,composition,annotation\n";
  if (!picture.empty()) eosin::io::write_file(folder / "image.png", picture);
  for (const std::string name : {"A", "B"}) {
    std::string counts = "\tG1\tG2\n", spots = "x\ty\tpixel_x\tpixel_y\n", features = "spot,f1,f2\n";
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 3; ++x) {
        const std::string spot = std::to_string(x + 4) + "x" + std::to_string(y + 7);
        counts += spot + "\t" + std::to_string(x + 1) + "\t" + std::to_string(y + 2) + "\n";
        spots += std::to_string(x + 4) + ".1\t" + std::to_string(y + 7) + "\t" + std::to_string(10 + 20 * x) + "\t" +
                 std::to_string(12 + 20 * y) + "\n";
        features += spot + "," + std::to_string(x) + "," + std::to_string(y) + "\n";
      }
    eosin::io::write_file(folder / (name + ".tsv"), counts);
    eosin::io::write_file(folder / (name + "-spots.tsv"), spots);
    eosin::io::write_file(folder / (name + "-features.csv"), features);
    manifest += name + "," + name + "," + name + ".tsv," + name + "-spots.tsv," +
                (picture.empty() ? "" : "image.png") + "," + name + "-features.csv,," +
                (name == "B" ? "labels.tsv" : "") + "\n";
  }
  eosin::io::write_file(folder / "labels.tsv", "x\ty\tlabel\n4\t7\tcore\n6\t9\tedge\n");
  eosin::io::write_file(folder / "samples.csv", manifest);
}

study::LoadOptions load_options(const std::filesystem::path& folder) {
  study::LoadOptions options;
  options.manifest = folder / "samples.csv";
  options.train = {"A"};
  options.test = {"B"};
  return options;
}

}  // namespace

TEST_CASE("study: places in the array, annotation and features") {
  eosin::CpuContext context;
  const Folder folder;
  write_samples(folder.path, "");
  auto options = load_options(folder.path);
  auto study = study::load_study(context, options);
  const auto& b = study.at("B");
  CHECK(b.array_x == std::vector<Index>{4, 5, 6, 4, 5, 6, 4, 5, 6});
  CHECK(b.array_y == std::vector<Index>{7, 7, 7, 8, 8, 8, 9, 9, 9});
  REQUIRE(b.annotation.size() == 9);
  CHECK(b.annotation[0] == "core");
  CHECK(b.annotation[1].empty());
  CHECK(b.annotation[8] == "edge");
  CHECK(study.at("A").annotation.empty());
  CHECK(study.feature_names == std::vector<std::string>{"f1", "f2"});
  CHECK_FALSE(study.simulated);
  CHECK(b.image == nullptr);

  // Training that reads places notices when they move, training that does not stays the same.
  const auto all = study::training_fingerprint(study, true), without = study::training_fingerprint(study);
  ++study.at("A").array_x[3];
  CHECK(study::training_fingerprint(study, true) != all);
  CHECK(study::training_fingerprint(study) == without);

  // Feature files are not even opened where none are wanted.
  eosin::io::write_file(folder.path / "A-features.csv", "no table");
  options.encode = false;
  const auto bare = study::load_study(context, options);
  CHECK(bare.feature_names.empty());
  CHECK(bare.at("B").features.rows() == 9);
  CHECK(bare.at("B").features.cols() == 0);
  options.keep_images = true;
  CHECK(study::load_study(context, options).at("B").image == nullptr);
  options.require_images = true;
  CHECK_THROWS_AS(study::load_study(context, options), eosin::ParseError);
}

TEST_CASE("study: images are kept where they are asked for and hold the spots") {
#if EOSIN_HAS_PNG
  eosin::CpuContext context;
  const Folder folder;
  const auto picture = [](Index width, Index height) {
    eosin::vision::Image image(width, height);
    image.at(50, 12)[1] = 77;
    return eosin::io::encode_png(image);
  };
  write_samples(folder.path, picture(64, 64));
  auto options = load_options(folder.path);
  options.encode = false;
  CHECK(study::load_study(context, options).at("B").image == nullptr);
  options.keep_images = true;
  auto study = study::load_study(context, options);
  for (const auto& sample : study.samples) {
    REQUIRE(sample.image != nullptr);
    CHECK(sample.image->width == 64);
    CHECK(sample.image->at(50, 12)[1] == 77);
    CHECK_FALSE(sample.thumbnail.empty());
  }
  const auto before = study::training_fingerprint(study, true);
  auto painted = *study.at("A").image;
  painted.at(0, 0)[0] ^= 1;
  study.at("A").image = std::make_shared<const eosin::vision::Image>(painted);
  CHECK(study::training_fingerprint(study, true) != before);

  write_samples(folder.path, picture(64, 40));
  CHECK_THROWS_AS(study::load_study(context, options), eosin::ParseError);
#else
  EOSIN_SKIP("this build writes no PNG");
#endif
}
