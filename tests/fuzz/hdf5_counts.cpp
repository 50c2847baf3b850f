#include <eosin/io/anndata.hpp>
#include <eosin/io/tenx.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "support/temporary_folder.hpp"

// The input is a file: tried as AnnData and as 10x Genomics. What does not start as HDF5 is not worth a file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace eosin;
  static const testing::TemporaryFolder folder;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.substr(0, 4) != "\x89HDF") return 0;
  const auto path = folder.path() / "input.h5";
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return 0;
  std::fwrite(data, 1, size, file);
  std::fclose(file);
  try {
    const io::AnnData anndata(path);
    for (const char* frame : {"obs", "var", "raw/var"}) {
      try {
        const auto rows = static_cast<Index>(anndata.names(frame).size());
        for (const auto& name : anndata.columns(frame)) {
          const auto column = anndata.column(frame, name);
          if (rows > 0) column.text(rows - 1);
        }
      } catch (const Error&) {
      }
    }
    for (const char* matrix : {"X", "raw/X", "layers/counts", "layers/dense"}) {
      try {
        auto source = io::read_anndata_genes(path, matrix, {.memory = 1});
        while (source.next(100).genes() > 0) {
        }
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  try {
    auto source = io::read_tenx_genes(path);
    while (source.next(100).genes() > 0) {
    }
  } catch (const Error&) {
  }
  return 0;
}
