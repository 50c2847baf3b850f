#pragma once

// A file of counts, whatever its format: the names on its two axes, which axis is the genes, and its entries one by
// one.

#include "options.hpp"

#include <eosin/core/config.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace prototypes {

/// The table of the cells: a CSV or TSV file, or obs of an h5ad file.
struct CellTable {
  std::string file;
  std::vector<std::string> names;  ///< unique
  /// The texts of a column, an empty one where the value is missing. Throws ParseError where there is no such column.
  std::function<std::vector<std::string>(const std::string&)> column;
  /// Where row `i` stands, for messages: "FILE:LINE".
  std::function<std::string(Index)> place;
};

CellTable read_cell_table(const std::filesystem::path& path);

/// entry(gene, cell, count): positions on the two axes of the file; counts are integers >= 0.
using EntrySink = std::function<void(Index, Index, double)>;

struct CountsFile {
  std::string file;
  std::vector<std::string> genes;              ///< unique
  std::vector<std::string> cells;              ///< unique; empty: the cells of the table in their order
  std::vector<char> is_gene;                   ///< [genes] 0: another kind of feature; empty: all are genes
  std::function<void(const EntrySink&)> scan;  ///< reads all entries; throws FileError, ParseError
};

/// Opens file number `i` of the options. `table` is that of its cells, null where none was given; one that the file
/// itself holds is put there. Throws FileError, ParseError; the orientation of a text file that its lengths or names
/// leave open is an error.
CountsFile open_counts(const Options& options, std::size_t i, std::shared_ptr<const CellTable>& table);

}  // namespace prototypes
