#include <eosin/io/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  const std::string input(reinterpret_cast<const char*>(data), size);
  try {
    const auto file = io::SafeTensors::parse(input, "input");
    for (const auto& tensor : file.tensors()) {
      file.values<double>(tensor.name);
      try {
        file.values<std::int32_t>(tensor.name);
      } catch (const ParseError&) {
      }
    }
  } catch (const ParseError&) {
  }
  return 0;
}
