#include <eosin/data/manifest.hpp>

#include <doctest/doctest.h>

#include <string>

#include "support/message.hpp"
#include "support/temporary_folder.hpp"

using namespace eosin;
using testing::contains;
using testing::message_of;

TEST_CASE("manifest: paths are relative to it, empty fields stay empty, other columns are ignored") {
  testing::TemporaryFolder folder;
  const auto path = folder.write("study/samples.csv",
                                 "sample,patient,counts,spots,image,features,composition,annotation,note\n"
                                 "B4,B,counts/B4.tsv.gz,../spots/B4.tsv,,,,labels.tsv,x\n"
                                 "C2,,/data/C2.tsv,C2.tsv,C2.jpg,,p.tsv,,\n");
  const auto manifest = data::read_manifest(path);
  REQUIRE(manifest.rows.size() == 2);
  const auto& b4 = manifest.at("B4");
  CHECK(b4.patient == "B");
  CHECK(b4.counts == folder.path() / "study/counts/B4.tsv.gz");
  CHECK(b4.spots == folder.path() / "spots/B4.tsv");
  CHECK(b4.image.empty());
  CHECK(b4.annotation == folder.path() / "study/labels.tsv");
  CHECK(b4.place == path.string() + ":2");
  const auto& c2 = manifest.at("C2");
  CHECK(c2.patient == "C2");
  CHECK(c2.counts == "/data/C2.tsv");
  CHECK(c2.annotation.empty());
  const auto message = message_of([&] { manifest.at("Z9"); });
  CHECK(contains(message, "no sample 'Z9' (samples: B4, C2)"));
}

TEST_CASE("manifest: errors") {
  testing::TemporaryFolder folder;
  const std::string header = "sample,patient,counts,spots,image,features,composition\n";
  const auto error = [&](const std::string& content) {
    const auto path = folder.write("samples.csv", content);
    return message_of([&] { data::read_manifest(path); });
  };
  CHECK(error(header + "A,P,c,s,i,f,p\n") == "");
  CHECK(contains(error(header + "A,P,c,s,i,f,p\nA,P,c,s,i,f,p\n"), "samples.csv:3: column sample: 'A' occurs twice"));
  CHECK(contains(error(header + ",P,c,s,i,f,p\n"), "samples.csv:2: column sample"));
  CHECK(contains(error(header + "../A,P,c,s,i,f,p\n"), "cannot name a file"));
  CHECK(contains(error(header), "no samples"));
  CHECK(contains(error(header + "A,P,c\n"), "samples.csv:2: has 3 fields, expected 7"));
  CHECK(contains(error("sample,patient,counts,image,features,composition\nA,P,c,i,f,p\n"), "no column 'spots'"));
  CHECK(contains(message_of([] { data::read_manifest("none.csv"); }), "none.csv"));
}
