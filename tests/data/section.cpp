#include <eosin/data/section.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support/message.hpp"
#include "support/skip.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

namespace {

using Names = std::vector<std::string>;

/// A small study; tests replace single files.
struct Study {
  testing::TemporaryFolder folder;
  data::ManifestRow row;

  Study() {
    row.sample = "A1";
    row.patient = "A";
    row.place = "samples.csv:2";
    row.counts = folder.write("counts.tsv",
                              "\tG1\tG2\tG3\n"
                              "3x4\t1\t0\t2\n"
                              "9x9\t5\t5\t5\n"
                              "2x4\t0\t7\t0\n"
                              "2x5\t0\t0\t0\n");
    row.spots = folder.write("spots.tsv",
                             "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n"
                             "2.04\t3.98\t0\t0\t200.5\t400\t1\n"
                             "3\t4\t0\t0\t300\t400\t1\n"
                             "7\t7\t0\t0\t700\t700\t1\n"
                             "2\t5\t0\t0\t200\t500\t1\n"
                             "9\t9\t0\t0\t900\tn/a\t0\n");
  }
  data::Section load(std::vector<std::string>* lines = nullptr) const {
    return data::load_section(row, {}, [lines](std::string_view line) {
      if (lines != nullptr) lines->emplace_back(line);
    });
  }
  std::string error() const {
    return message_of([&] { load(); });
  }
};

}  // namespace

TEST_CASE("section: counts and spots are joined, what has no partner is counted") {
  Study study;
  std::vector<std::string> log;
  const auto section = study.load(&log);
  CHECK(section.sample == "A1");
  CHECK(section.patient == "A");
  CHECK(section.spots == Names{"3x4", "2x4"});
  CHECK(section.genes == Names{"G1", "G2", "G3"});
  CHECK(section.pixel_x == std::vector<double>{300, 200.5});
  CHECK(section.pixel_y == std::vector<double>{400, 400});
  CHECK(section.array_x == std::vector<double>{3, 2.04});
  CHECK(section.counts.at(0, 2) == 2);
  CHECK(section.counts.at(1, 1) == 7);
  CHECK(section.counts.nonzeros() == 3);
  CHECK(section.spot_pitch() == 99.5);
  CHECK(section.types.empty());
  CHECK(section.labels.empty());
  REQUIRE(log.size() == 1);
  CHECK(log[0] ==
        "A1: 2 spots, 3 genes; 1 spots without counts dropped; 1 spots with a total of 0 dropped; "
        "1 rows of counts without a spot dropped (1 spots are not selected)");
}

TEST_CASE("section: names of counts are rounded like array positions; a spot column takes their place") {
  Study study;
  study.row.counts = study.folder.write("counts.tsv", "\tG1\n2.96x4.02\t1\n");
  CHECK(study.load().spots == Names{"2.96x4.02"});
  study.row.counts = study.folder.write("counts.tsv", "\tG1\nAAAC-1\t1\n");
  study.row.spots = study.folder.write("spots.csv", "spot,x,y,pixel_x,pixel_y\nAAAC-1,0,0,5,6\n");
  CHECK(study.load().pixel_y == std::vector<double>{6});
}

TEST_CASE("section: errors name file and place") {
  Study study;
  const auto with_counts = [&](const char* content) {
    study.row.counts = study.folder.write("counts.tsv", content);
    return study.error();
  };
  CHECK(contains(with_counts("\tG1\n3x4\t0.5\n"), "counts.tsv:2: column G1: '0.5'"));
  CHECK(contains(with_counts("\tG1\n3x4\t-1\n"), "negative"));
  CHECK(contains(with_counts("\tG1\n30x40\t1\n"), "counts.tsv: none of its spots (the first is '30x40') is in " +
                                                      study.row.spots.string() + " (the first there is '2x4')"));
  CHECK(contains(with_counts("\tG1\n3x4\t1\n3.1x4\t1\n"), "'3x4' and '3.1x4' have the same array position"));
  CHECK(contains(with_counts("\tG1\n3x4\t0\n"), "has a count above zero"));
  CHECK(contains(with_counts("\tG1\n"), "counts.tsv: none of its spots"));

  Study other;
  const auto with_spots = [&](const char* content) {
    other.row.spots = other.folder.write("spots.tsv", content);
    return other.error();
  };
  CHECK(contains(with_spots("x\ty\tpixel_x\n3\t4\t1\n"), "spots.tsv:1: no column 'pixel_y'"));
  CHECK(contains(with_spots("x\ty\tpixel_x\tpixel_y\n3\t4\tn/a\t1\n"),
                 "spots.tsv:2: column pixel_x: 'n/a' is not a number"));
  CHECK(contains(with_spots("x\ty\tpixel_x\tpixel_y\n3\t4\t1\tinf\n"), "not finite"));
  CHECK(contains(with_spots("x\ty\tpixel_x\tpixel_y\n3\t1e12\t1\t1\n"), "out of range"));
  CHECK(contains(with_spots("x\ty\tpixel_x\tpixel_y\n3\t4\t1\t1\n3.2\t4\t1\t1\n"),
                 "spots.tsv:3: the spot 3x4 occurs twice (first on line 2)"));
  CHECK(contains(with_spots("x\ty\tpixel_x\tpixel_y\tselected\n3\t4\t1\t1\t0\n"), "which has none"));

  Study missing;
  missing.row.image = missing.folder.path() / "no.jpg";
  CHECK(contains(missing.error(), "samples.csv:2: column image: " + missing.row.image.string() + ": no such file"));
  missing.row.spots.clear();
  CHECK(contains(missing.error(), "samples.csv:2: column spots: sample A1 names no file"));
}

TEST_CASE("section: composition is joined and missing spots are flagged") {
  Study study;
  study.row.composition = study.folder.write("p.tsv", "\tT\tB\n2x4\t0.25\t0.5\n8x8\t1\t1\n");
  std::vector<std::string> log;
  const auto section = study.load(&log);
  CHECK(section.types == Names{"T", "B"});
  CHECK(section.has_composition == std::vector<std::uint8_t>{0, 1});
  CHECK(section.composition(0, 0) == 0);
  CHECK(section.composition(1, 0) == 0.25);
  CHECK(section.composition(1, 1) == 0.5);
  REQUIRE(log.size() == 2);
  CHECK(contains(log[1], "1 of 2 spots have no composition"));
  study.row.composition = study.folder.write("p.tsv", "\tT\n8x8\t1\n");
  CHECK(contains(study.error(), "p.tsv: none of its spots (the first is '8x8')"));
  study.row.composition = study.folder.write("p.tsv", "\tT\n2x4\t-0.1\n");
  CHECK(contains(study.error(), "p.tsv:2: column T: '-0.1' is negative"));
  study.row.composition = study.folder.write("p.tsv", "\tT\n2x4\t0\n");
  CHECK(study.load().has_composition == std::vector<std::uint8_t>{0, 0});
}

TEST_CASE("section: annotation is joined by rounded position") {
  Study study;
  study.row.annotation = study.folder.write("l.tsv",
                                            "Row.names\tx\ty\tpixel_x\tpixel_y\tlabel\n"
                                            "a\t3.02\t4.01\t0\t0\tinvasive cancer\n"
                                            "b\tNA\tNA\t0\t0\tundetermined\n");
  std::vector<std::string> log;
  CHECK(study.load(&log).labels == Names{"invasive cancer", ""});
  CHECK(log.size() == 3);
  study.row.annotation = study.folder.write("l.tsv", "x\ty\tlabel\n3\t4\ta\n3\t4\tb\n");
  CHECK(contains(study.error(), "l.tsv:3: the spot 3x4 occurs twice"));
  study.row.annotation = study.folder.write("l.tsv", "x\ty\tlabel\n30\t4\ta\n");
  CHECK(contains(study.error(), "none of its spots (the first is '30x4')"));
}

TEST_CASE("section: features by name and by coordinates") {
  Study study;
  study.row.features = study.folder.write("f.csv", "spot,f0\n2x4,1\n5x5,2\n");
  auto section = study.load();
  CHECK(data::feature_rows(section) == std::vector<Index>{-1, 0});
  io::Features features;
  features.file = "f.h5";
  features.values = Matrix<float>(3, 1);
  features.coords = Matrix<double>(3, 2);
  const double coords[6] = {310, 400, 295, 403, 100, 100};
  for (Index i = 0; i < 6; ++i) features.coords.flat()[i] = coords[i];
  section.features = features;
  CHECK(data::feature_rows(section, {.radius = 20}) == std::vector<Index>{1, -1});
  CHECK(data::feature_rows(section, {.radius = 20, .offset = -10}) == std::vector<Index>{0, -1});
  CHECK(contains(message_of([&] { data::feature_rows(section, {.radius = 1}); }), "f.h5: coords"));
  CHECK_THROWS_AS(data::feature_rows(section), ValueError);
  section.features.reset();
  CHECK_THROWS_AS(data::feature_rows(section, {.radius = 1}), ValueError);
  study.row.features = study.folder.write("f.csv", "spot,f0\n5x5,2\n");
  section = study.load();
  CHECK(contains(message_of([&] { data::feature_rows(section); }), "f.csv: none of its spots"));
}

TEST_CASE("section: published sections") {
  const auto folder = testing::data_folder();
  if (!folder) EOSIN_SKIP("EOSIN_DATA is not set");
  const std::filesystem::path root(*folder);
  const auto her2st = data::read_manifest(root / "her2st/samples.csv");
  CHECK(her2st.rows.size() == 35);
  const auto b4 = data::load_section(her2st.at("B4"));
  CHECK(b4.size() == 283);
  CHECK(b4.types.size() == 8);
  CHECK(b4.spot_pitch() > 250);
  CHECK(b4.spot_pitch() < 300);
  for (const auto flag : b4.has_composition) CHECK(flag == 1);
  const auto g2 = data::load_section(her2st.at("G2"));
  CHECK(g2.size() == 467);
  CHECK(g2.labels.size() == 467);
  const auto mob = data::read_manifest(root / "mob/samples.csv");
  CHECK(data::load_section(mob.at("MOB1")).size() == 379);
}
