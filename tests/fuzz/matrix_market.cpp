#include <eosin/io/matrix_market.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  const std::string input(reinterpret_cast<const char*>(data), size);
  for (const auto orientation : {io::Orientation::as_stored, io::Orientation::transposed}) {
    try {
      io::read_matrix_market<float>(io::TextReader::from_memory(input, "input"), {.values = io::Values::counts},
                                    orientation);
    } catch (const ParseError&) {
    }
  }
  try {
    io::read_matrix_market<double>(io::TextReader::from_memory(input, "input"));
  } catch (const ParseError&) {
  }
  return 0;
}
