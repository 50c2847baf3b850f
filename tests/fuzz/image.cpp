#include <eosin/io/image.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  const std::string input(reinterpret_cast<const char*>(data), size);
  for (const int reduction : {1, 8}) {
    try {
      io::decode_image(input, "input", {.reduction = reduction, .max_pixels = Index{1} << 22});
    } catch (const ParseError&) {
    }
  }
  return 0;
}
