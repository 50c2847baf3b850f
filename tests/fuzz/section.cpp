#include <eosin/data/section.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "support/temporary_folder.hpp"

// The input is a study: files separated by a byte 0 (manifest, counts, spots, composition, annotation, features).
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  static const testing::TemporaryFolder folder;
  const std::string input(reinterpret_cast<const char*>(data), size);
  static constexpr const char* names[] = {"samples.csv", "c.tsv", "s.tsv", "p.tsv", "a.tsv", "f.tsv"};
  std::size_t begin = 0;
  for (const char* name : names) {
    const std::size_t end = std::min(input.find('\0', begin), input.size());
    // Not atomic, not forced to the disk: a fuzzer writes many thousand times.
    std::FILE* file = std::fopen((folder.path() / name).c_str(), "wb");
    if (file == nullptr) return 0;
    std::fwrite(input.data() + begin, 1, end - begin, file);
    std::fclose(file);
    begin = std::min(end + 1, input.size());
  }
  try {
    data::read_manifest(folder.path() / "samples.csv");
  } catch (const Error&) {
  }
  data::ManifestRow row;
  row.sample = "A";
  row.place = "samples.csv:2";
  row.counts = folder.path() / "c.tsv";
  row.spots = folder.path() / "s.tsv";
  const auto load = [&] {
    try {
      const auto section = data::load_section(row);
      if (section.features) data::feature_rows(section, {.radius = 1});
      section.spot_pitch();
    } catch (const Error&) {
    }
  };
  load();
  row.composition = folder.path() / "p.tsv";
  row.annotation = folder.path() / "a.tsv";
  row.features = folder.path() / "f.tsv";
  load();
  return 0;
}
