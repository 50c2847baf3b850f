// main() for a fuzz target without libFuzzer: every file under the arguments is given to the target as it is, cut at
// several lengths, and with a few bytes changed in a reproducible way.

#include <eosin/core/random.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

void replay(const Bytes& bytes) { LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); }

void replay_with_mutations(const Bytes& bytes, std::uint64_t stream) {
  constexpr int mutations = 24;
  replay(bytes);
  if (bytes.empty()) return;
  eosin::RandomStream random(1, stream);
  const auto size = static_cast<eosin::Index>(bytes.size());
  for (int i = 0; i < mutations; ++i) {
    Bytes changed = bytes;
    if (i % 3 == 0) changed.resize(static_cast<std::size_t>(random.below(size)));
    // The start of a file is its header, where a changed byte matters most.
    const eosin::Index reach = i % 2 == 0 ? std::min<eosin::Index>(size, 64) : size;
    for (eosin::Index change = random.below(4); change >= 0; --change) {
      const auto at = static_cast<std::size_t>(random.below(reach));
      if (at < changed.size()) changed[at] = static_cast<std::uint8_t>(random.below(256));
    }
    replay(changed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path = argv[i];
    if (std::filesystem::is_regular_file(path)) files.push_back(path);
    if (!std::filesystem::is_directory(path)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path))
      if (entry.is_regular_file() && entry.file_size() <= std::uintmax_t{1} << 20) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  replay({});
  std::uint64_t stream = 0;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    replay_with_mutations(Bytes(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()), stream++);
  }
  std::printf("%zu files replayed\n", files.size());
  return files.empty() ? 1 : 0;
}
