#include <eosin/io/features.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  const std::string input(reinterpret_cast<const char*>(data), size);
  try {
    io::read_feature_table(io::TextReader::from_memory(input, "input.csv"));
  } catch (const ParseError&) {
  }
  return 0;
}
