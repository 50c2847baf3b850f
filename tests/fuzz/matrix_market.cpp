#include <eosin/io/matrix_market_genes.hpp>

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
  try {
    auto source = io::read_matrix_market_genes(io::TextReader::from_memory(input, "input"),
                                               glm::Orientation::genes_by_cells, {.memory = 1});
    while (source.next(1000).genes() > 0) {
    }
  } catch (const Error&) {
  }
  return 0;
}
