#include <eosin/io/table.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  const std::string input(reinterpret_cast<const char*>(data), size);
  // The first byte chooses the separator and what the numbers must be.
  const char separator = size > 0 && (data[0] & 1u) != 0 ? ',' : '\t';
  const auto values = static_cast<io::Values>(size > 0 ? (data[0] >> 1) % 4 : 0);
  const std::string text = size > 0 ? input.substr(1) : input;
  const auto reader = [&] { return io::TextReader::from_memory(text, "input"); };
  const io::NumericTableOptions options{.separator = separator, .values = values};
  try {
    io::read_numeric_table<double>(reader(), options);
  } catch (const ParseError&) {
  }
  try {
    io::read_sparse_table<float>(reader(), options);
  } catch (const ParseError&) {
  }
  try {
    const auto table = io::Table::read(reader(), {.separator = separator});
    for (Index r = 0; r < table.rows(); ++r) table.text(r, 0);
  } catch (const ParseError&) {
  }
  return 0;
}
