#pragma once

// Count matrices of 10x Genomics as HDF5 (Cell Ranger): version 3 with a group `matrix` and features of several kinds,
// version 2 with a group per genome. Features x cells, compressed by cell; read entry by entry in bounded memory.

#include <eosin/core/error.hpp>
#include <eosin/io/gene_spool.hpp>
#include <eosin/io/hdf5.hpp>
#include <eosin/io/hdf5_matrix.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace eosin::io {

/// The file, open for reading. Functions throw ParseError that names the file and the dataset.
class TenxFile {
 public:
  /// `genome` chooses the group of a version 2 file; empty: the only one. Throws FileError, ParseError.
  explicit TenxFile(const std::filesystem::path& path, const std::string& genome = {}) : file_(path) {
    const auto guard = hdf5::lock();
    if (file_.kind("matrix") == hdf5::ObjectKind::group && genome.empty()) {
      group_ = "matrix";
      ids_ = texts("features/id");
      names_ = texts("features/name");
      types_ = texts("features/feature_type");
    } else {
      std::vector<std::string> genomes;
      for (const auto& name : file_.children("/"))
        if (file_.kind(name + "/barcodes") == hdf5::ObjectKind::dataset) genomes.push_back(name);
      if (genomes.empty()) file_.fail("matrix", "is missing: this is no 10x Genomics file");
      for (const auto& name : genomes)
        if (name == genome || (genome.empty() && genomes.size() == 1)) group_ = name;
      std::string known;
      for (const auto& name : genomes) known += (known.empty() ? "" : ", ") + name;
      if (group_.empty())
        file_.fail(genome.empty() ? "/" : genome,
                   genome.empty() ? "holds several genomes (" + known + "), of which one must be named"
                                  : "the file has no such genome (there are: " + known + ")");
      ids_ = texts("genes");
      names_ = texts("gene_names");
    }
    barcodes_ = texts("barcodes");
    for (const auto* list : {&names_, &types_})
      if (list->size() != ids_.size() && !list->empty())
        file_.fail(group_, "has " + std::to_string(ids_.size()) + " features and " + std::to_string(list->size()) +
                               " names or types of them");
    std::vector<std::int64_t> shape;
    const hdf5::Dataset extents(file_, group_ + "/shape");
    if (extents.size() != 2) extents.fail("has " + std::to_string(extents.size()) + " elements, expected 2");
    extents.read(0, 2, shape);
    if (shape[0] != features() || shape[1] != cells())
      extents.fail("is " + std::to_string(shape[0]) + " x " + std::to_string(shape[1]) + ", there are " +
                   std::to_string(features()) + " features and " + std::to_string(cells()) + " barcodes");
  }

  const std::string& file() const { return file_.name(); }
  Index features() const { return static_cast<Index>(ids_.size()); }
  Index cells() const { return static_cast<Index>(barcodes_.size()); }
  const std::vector<std::string>& barcodes() const { return barcodes_; }
  const std::vector<std::string>& feature_ids() const { return ids_; }
  /// Symbols, which may repeat.
  const std::vector<std::string>& feature_names() const { return names_; }
  /// "Gene Expression", "Antibody Capture" and so on; empty in version 2.
  const std::vector<std::string>& feature_types() const { return types_; }

  /// Calls entry(feature, cell, count) for the stored entries.
  template <class Entry>
  void scan(Values wanted, Entry&& entry) const {
    const auto guard = hdf5::lock();
    hdf5::scan_compressed(file_, group_, cells(), features(), wanted,
                          [&](Index cell, Index feature, double count) { entry(feature, cell, count); });
  }

 private:
  std::vector<std::string> texts(const std::string& name) const {
    return hdf5::Dataset(file_, group_ + "/" + name).texts();
  }

  hdf5::File file_;
  std::string group_;
  std::vector<std::string> barcodes_, ids_, names_, types_;
};

/// The counts of all features as a source of genes. Throws FileError, ParseError.
inline GeneSpool read_tenx_genes(const std::filesystem::path& path, const GeneSpoolOptions& options = {}) {
  const TenxFile file(path);
  GeneSpool spool(file.features(), file.cells(), options);
  file.scan(Values::counts, [&](Index feature, Index cell, double count) { spool.push(feature, cell, count); });
  spool.finish();
  return spool;
}

}  // namespace eosin::io
