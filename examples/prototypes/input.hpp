#pragma once

// From files to what the estimator takes: counts by gene, labels by cell, with an account of what was left out.

#include "options.hpp"

#include <eosin/glm/categories.hpp>
#include <eosin/io/gene_spool.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace prototypes {

/// Where cells and genes went.
struct Account {
  Index cells_in_counts = 0;
  Index cells_without_row = 0;    ///< in the counts, not in the table of cells
  Index rows_without_counts = 0;  ///< in the table of cells, not in the counts
  Index left_out = 0;             ///< by --where
  Index without_label = 0, without_batch = 0, without_covariate = 0;
  Index cells_used = 0;
  Index cells_without_depth = 0;  ///< of the cells used, those of size factor 0
  Index genes_in_counts = 0;      ///< of the first file
  Index other_features = 0;       ///< antibodies and the like, of the first file
  Index genes_in_all_files = 0;
  Index genes_asked = 0, genes_missing = 0;  ///< by --genes
  Index genes_used = 0;
};

struct Input {
  eosin::io::GeneSpool counts;     ///< genes used x cells used
  std::vector<std::string> genes;  ///< in the order of the first file
  std::vector<std::string> cells;  ///< names
  std::vector<Index> file_of_cell;
  std::string batch_word;                          ///< "batch", or "file" where each file is a batch; empty: no batches
  eosin::glm::Categories type, batch;              ///< batch without levels: none
  std::vector<eosin::glm::Categories> covariates;  ///< in the order of the options
  std::optional<std::vector<double>> size_factors;  ///< where they cannot come from the counts above
  Account account;
};

/// Reads all files. `log` receives notes, `check` is called now and then and may throw to end the reading. Throws
/// FileError, ParseError, ValueError.
Input read_input(const Options& options, const std::function<void(std::string_view)>& log,
                 const std::function<void()>& check);

}  // namespace prototypes
