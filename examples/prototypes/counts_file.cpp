#include "counts_file.hpp"

#include <eosin/core/error.hpp>
#include <eosin/io/features.hpp>
#include <eosin/io/matrix_market.hpp>
#include <eosin/io/table.hpp>
#include <eosin/io/text.hpp>
#if EOSIN_HAS_HDF5
#include <eosin/io/anndata.hpp>
#include <eosin/io/tenx.hpp>
#endif

#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace prototypes {

namespace fs = std::filesystem;
namespace io = eosin::io;
using eosin::glm::Orientation;

namespace {

/// Throws ParseError that names both places where a name occurs twice.
void require_unique(const std::string& file, const std::vector<std::string>& names, const std::string& what) {
  std::unordered_map<std::string_view, std::size_t> seen;
  seen.reserve(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto [found, fresh] = seen.emplace(names[i], i);
    if (!fresh)
      throw eosin::ParseError(file + ": the " + what + " '" + names[i] + "' occurs twice (numbers " +
                              std::to_string(found->second + 1) + " and " + std::to_string(i + 1) + ")");
  }
}

/// Names of one axis: the first field of each line, separated by tabs (commas where the name ends in .csv). `kinds`
/// receives the third field where every line has one: the kind of feature in files of Cell Ranger 3.
std::vector<std::string> read_names(const fs::path& path, std::vector<std::string>* kinds = nullptr) {
  io::TextReader reader(path);
  const char separator = io::detail::separator_for(path.string(), 0);
  std::vector<std::string> names;
  bool has_kinds = kinds != nullptr;
  while (const auto line = reader.next_line()) {
    if (line->empty()) continue;
    const auto first = line->find(separator);
    auto name = line->substr(0, first);
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
    names.emplace_back(name);
    if (!has_kinds) continue;
    const auto second = first == std::string_view::npos ? first : line->find(separator, first + 1);
    has_kinds = second != std::string_view::npos;
    if (!has_kinds) continue;
    const auto kind = line->substr(second + 1);
    kinds->emplace_back(kind.substr(0, kind.find(separator)));
  }
  if (kinds != nullptr && !has_kinds) kinds->clear();
  return names;
}

/// The first of `names` that is a file in the folder of `path`, with .gz or without.
std::optional<fs::path> beside(const fs::path& path, std::initializer_list<const char*> names) {
  // GSM123_matrix.mtx.gz goes with GSM123_features.tsv.gz.
  const std::string file = path.filename().string();
  const auto at = file.find("matrix.mtx");
  const std::string prefix = at == std::string::npos ? std::string() : file.substr(0, at);
  for (const char* name : names)
    for (const char* ending : {".gz", ""}) {
      const fs::path candidate = path.parent_path() / (prefix + name + ending);
      std::error_code error;
      if (fs::is_regular_file(candidate, error)) return candidate;
    }
  return std::nullopt;
}

bool is_matrix_market(const fs::path& path) {
  io::TextReader reader(path);
  const auto line = reader.next_line();
  if (!line) throw eosin::ParseError(path.string(), std::size_t{1}, "the file is empty");
  return line->substr(0, 2) == "%%";
}

[[noreturn]] void ambiguous(const std::string& file, const std::string& why) {
  throw eosin::ParseError(file + ": " + why + "; say which with --orientation genes-by-cells or cells-by-genes");
}

const std::vector<std::string>& require_table(const std::shared_ptr<const CellTable>& table, const std::string& file) {
  if (!table) throw eosin::ParseError(file + ": holds no columns of its cells; name their table with --cells");
  return table->names;
}

CountsFile open_matrix_market(const Options& options, std::size_t i, const fs::path& path,
                              const std::shared_ptr<const CellTable>& table) {
  CountsFile result;
  result.file = path.string();
  const auto [rows, cols] = io::matrix_market_shape(io::TextReader(path));
  const auto& listed = require_table(table, result.file);

  std::optional<fs::path> features;
  if (!options.features.empty())
    features = options.features.size() == 1 ? options.features.front() : options.features[i];
  else
    features = beside(path, {"features.tsv", "genes.tsv"});
  if (!features)
    throw eosin::ParseError(result.file +
                            ": no names of its genes: give --features, or put features.tsv or genes.tsv beside it");
  std::vector<std::string> kinds;
  result.genes = read_names(*features, &kinds);
  for (const auto& kind : kinds) result.is_gene.push_back(kind.empty() || kind == "Gene Expression");

  const auto barcodes = beside(path, {"barcodes.tsv"});
  if (barcodes) result.cells = read_names(*barcodes);
  const auto genes = static_cast<Index>(result.genes.size());
  const auto cells = static_cast<Index>(barcodes ? result.cells.size() : listed.size());
  const std::string cell_file = barcodes ? barcodes->string() : table->file;
  const bool upright = rows == genes && cols == cells, flat = rows == cells && cols == genes;
  const std::string lengths = "is " + std::to_string(rows) + " x " + std::to_string(cols) + "; " + features->string() +
                              " names " + std::to_string(genes) + " genes, " + cell_file + " names " +
                              std::to_string(cells) + " cells";
  if (upright && flat && !options.orientation)
    ambiguous(result.file, lengths + ", so rows and columns could be either");
  const bool genes_are_rows = options.orientation ? *options.orientation == Orientation::genes_by_cells : upright;
  if (!(genes_are_rows ? upright : flat))
    throw eosin::ParseError(result.file + ": " + lengths +
                            (options.orientation ? ", which does not fit --orientation" : ", which does not fit"));
  require_unique(features->string(), result.genes, "gene");
  if (barcodes) require_unique(barcodes->string(), result.cells, "cell");
  result.scan = [path, genes_are_rows](const EntrySink& sink) {
    io::scan_matrix_market(
        io::TextReader(path), {.values = io::Values::counts}, [](Index, Index) {},
        [&](Index row, Index col, double count) {
          if (genes_are_rows)
            sink(row, col, count);
          else
            sink(col, row, count);
        });
  };
  return result;
}

Index count_known(const std::vector<std::string>& names, const std::vector<std::string>& of) {
  const std::unordered_set<std::string_view> known(of.begin(), of.end());
  Index count = 0;
  for (const auto& name : names) count += known.contains(name) ? 1 : 0;
  return count;
}

CountsFile open_table(const Options& options, const fs::path& path, const std::shared_ptr<const CellTable>& table) {
  const auto& listed = require_table(table, path.string());
  auto counts = std::make_shared<io::NumericTable<eosin::SparseMatrix<double>>>(
      io::read_sparse_table<double>(path, {.separator = 0, .values = io::Values::counts}));
  CountsFile result;
  result.file = path.string();
  bool genes_are_rows = true;
  if (options.orientation) {
    genes_are_rows = *options.orientation == Orientation::genes_by_cells;
  } else {
    const Index in_rows = count_known(counts->row_names, listed), in_cols = count_known(counts->col_names, listed);
    if (in_rows > 0 && in_cols > 0)
      ambiguous(result.file, "names of cells of " + table->file + " are among both its rows and its columns");
    if (in_rows == 0 && in_cols == 0)
      throw eosin::ParseError(result.file + ": neither its rows (" +
                              io::detail::shortened(counts->row_names.empty() ? "" : counts->row_names.front()) +
                              ", ...) nor its columns (" +
                              io::detail::shortened(counts->col_names.empty() ? "" : counts->col_names.front()) +
                              ", ...) are cells of " + table->file + " (" +
                              io::detail::shortened(listed.empty() ? "" : listed.front()) + ", ...)");
    genes_are_rows = in_cols > 0;
  }
  result.genes = genes_are_rows ? counts->row_names : counts->col_names;
  result.cells = genes_are_rows ? counts->col_names : counts->row_names;
  result.scan = [counts, genes_are_rows](const EntrySink& sink) {
    for (Index r = 0; r < counts->values.rows(); ++r) {
      const auto row = counts->values.row(r);
      for (std::size_t k = 0; k < row.columns.size(); ++k)
        if (genes_are_rows)
          sink(r, row.columns[k], row.values[k]);
        else
          sink(row.columns[k], r, row.values[k]);
    }
  };
  return result;
}

#if EOSIN_HAS_HDF5
CountsFile open_hdf5(const Options& options, const fs::path& path, std::shared_ptr<const CellTable>& table) {
  CountsFile result;
  result.file = path.string();
  bool is_anndata = false;
  {
    const auto guard = io::hdf5::lock();
    const io::hdf5::File file(path);
    is_anndata = file.kind("obs") != io::hdf5::ObjectKind::none && file.kind("var") != io::hdf5::ObjectKind::none;
  }
  if (is_anndata) {
    auto file = std::make_shared<const io::AnnData>(path);
    result.cells = file->names("obs");
    require_unique(result.file + ": obs", result.cells, "cell");
    const std::string matrix = options.matrix;
    result.genes = file->names(io::AnnData::variables_of(matrix));
    if (!table) {
      CellTable own;
      own.file = result.file;
      own.names = result.cells;
      own.column = [file](const std::string& name) {
        const auto column = file->column("obs", name);
        std::vector<std::string> texts;
        for (Index row = 0; row < column.rows(); ++row) texts.push_back(column.text(row));
        return texts;
      };
      own.place = [file](Index row) { return file->file() + ": obs row " + std::to_string(row + 1); };
      table = std::make_shared<const CellTable>(std::move(own));
    }
    result.scan = [file, matrix](const EntrySink& sink) {
      file->scan(matrix, io::Values::counts, [&](Index cell, Index gene, double count) { sink(gene, cell, count); });
    };
  } else {
    require_table(table, result.file);
    auto file = std::make_shared<const io::TenxFile>(path);
    result.cells = file->barcodes();
    result.genes = file->feature_ids();
    for (const auto& kind : file->feature_types()) result.is_gene.push_back(kind == "Gene Expression");
    require_unique(result.file + ": barcodes", result.cells, "cell");
    result.scan = [file](const EntrySink& sink) { file->scan(io::Values::counts, sink); };
  }
  require_unique(result.file, result.genes, "gene");
  return result;
}
#else
CountsFile open_hdf5(const Options&, const fs::path& path, std::shared_ptr<const CellTable>&) {
  throw eosin::FileError(path.string() +
                         ": HDF5 files need the package libhdf5-dev, which was not found when this program was built");
}
#endif

}  // namespace

CellTable read_cell_table(const fs::path& path) {
  auto table = std::make_shared<const io::Table>(io::Table::read(path));
  CellTable result;
  result.file = table->file();
  std::unordered_map<std::string_view, Index> seen;
  for (Index row = 0; row < table->rows(); ++row) {
    result.names.push_back(table->text(row, 0));
    const auto [found, fresh] = seen.emplace(table->text(row, 0), row);
    if (!fresh)
      throw eosin::ParseError(result.file, table->line(row),
                              "the cell '" + result.names.back() + "' occurs twice (first on line " +
                                  std::to_string(table->line(found->second)) + ")");
  }
  result.column = [table](const std::string& name) {
    const Index column = table->column(name);
    std::vector<std::string> texts;
    texts.reserve(static_cast<std::size_t>(table->rows()));
    for (Index row = 0; row < table->rows(); ++row) texts.push_back(table->text(row, column));
    return texts;
  };
  result.place = [table](Index row) { return table->file() + ":" + std::to_string(table->line(row)); };
  return result;
}

CountsFile open_counts(const Options& options, std::size_t i, std::shared_ptr<const CellTable>& table) {
  fs::path path = options.counts[i];
  std::error_code error;
  if (fs::is_directory(path, error)) {
    const auto matrix = beside(path / "matrix.mtx", {"matrix.mtx"});
    if (!matrix) throw eosin::FileError(path.string() + ": is a folder without matrix.mtx or matrix.mtx.gz");
    path = *matrix;
  }
  if (io::detail::is_hdf5(path) || io::detail::names_hdf5(path) || path.extension() == ".h5ad")
    return open_hdf5(options, path, table);
  if (is_matrix_market(path)) return open_matrix_market(options, i, path, table);
  return open_table(options, path, table);
}

}  // namespace prototypes
