#pragma once

// A gene list: one name per line, empty lines skipped.

#include <eosin/core/error.hpp>
#include <eosin/io/text.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace common {

/// Throws FileError, and ParseError where the file lists nothing.
inline std::vector<std::string> read_gene_list(const std::filesystem::path& path) {
  std::vector<std::string> genes;
  eosin::io::TextReader reader(path);
  while (auto line = reader.next_line()) {
    std::string_view text = *line;
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    if (!text.empty()) genes.emplace_back(text);
  }
  if (genes.empty()) throw eosin::ParseError(path.string() + ": lists no genes");
  return genes;
}

}  // namespace common
