#include "input.hpp"

#include "counts_file.hpp"

#include "common/gene_list.hpp"

#include <eosin/core/error.hpp>
#include <eosin/io/number.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace prototypes {

namespace {

using eosin::glm::Categories;
using NameMap = std::unordered_map<std::string_view, Index>;

NameMap places_of(const std::vector<std::string>& names) {
  NameMap places;
  places.reserve(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) places.emplace(names[i], static_cast<Index>(i));
  return places;
}

/// As R and pandas write a missing value.
bool is_missing(const std::string& text) {
  return text.empty() || text == "NA" || text == "NaN" || text == "nan";
}

/// Short names of the files, as batches: up to the first dot, of the folder where the file is called matrix, numbered
/// where two are alike.
std::vector<std::string> file_names(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const auto& file : files) {
    const std::filesystem::path path = std::filesystem::path(file).lexically_normal();
    auto name = path.filename().string();
    name = name.substr(0, name.find('.'));
    if (name.empty() || name == "matrix") name = path.parent_path().filename().string();
    if (name.empty()) name = "file";
    names.push_back(std::move(name));
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    if (std::count(names.begin(), names.end(), names[i]) > 1)
      for (std::size_t j = 0, number = 0; j < names.size(); ++j)
        if (j != i && names[j] == names[i]) names[j] += "-" + std::to_string(++number + 1);
  return names;
}

/// The columns of one table of cells that the options name.
struct Columns {
  std::vector<std::string> label, batch, size_factor;
  std::vector<std::vector<std::string>> covariates, conditions;
};

Columns read_columns(const Options& options, const CellTable& table) {
  Columns columns;
  columns.label = table.column(options.label_column);
  if (!options.batch_column.empty()) columns.batch = table.column(options.batch_column);
  for (const auto& name : options.covariates) columns.covariates.push_back(table.column(name));
  for (const auto& condition : options.conditions) columns.conditions.push_back(table.column(condition.column));
  if (const auto* column = std::get_if<SizeFactorColumn>(&options.size_factors))
    columns.size_factor = table.column(column->name);
  return columns;
}

/// Conditions on one column: any of the values; on several columns: all.
bool meets(const std::vector<Condition>& conditions, const Columns& columns, std::size_t row) {
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    bool any = false;
    for (std::size_t j = 0; j < conditions.size(); ++j)
      any = any || (conditions[j].column == conditions[i].column && columns.conditions[j][row] == conditions[j].value);
    if (!any) return false;
  }
  return true;
}

double size_factor(const std::string& text, const std::string& column, const std::string& place) {
  const auto value = eosin::io::parse_number(text);
  const char* fault = !value                   ? "is not a number"
                      : std::isnan(*value)     ? "is not a number above 0"
                      : !std::isfinite(*value) ? "is not finite"
                      : *value < 0             ? "is negative; a size factor is above 0"
                      : *value == 0            ? "is zero; a size factor is above 0 (leave the cell out with --where)"
                                               : nullptr;
  if (fault != nullptr) throw eosin::ParseError(place + ": column " + column + ": size factor '" + text + "' " + fault);
  return *value;
}

struct File {
  CountsFile counts;
  std::shared_ptr<const CellTable> table;
  std::vector<Index> cell;  // of each cell of the counts: its place among the cells used, or -1
  std::vector<Index> gene;  // of each gene of the counts: its place among the genes of all files, or -1
};

}  // namespace

Input read_input(const Options& options, const std::function<void(std::string_view)>& log,
                 const std::function<void()>& check) {
  const auto say = [&](const std::string& text) {
    if (log) log(text);
  };
  Account account;
  std::vector<File> files(options.counts.size());
  std::vector<std::string> names;
  std::vector<Index> file_of_cell;
  std::vector<std::string> type, batch;
  std::vector<std::vector<std::string>> covariates(options.covariates.size());
  std::vector<double> given_factors;
  const bool batch_of_file = options.batch_column.empty() && files.size() > 1;
  const auto batch_names = file_names(options.counts);

  for (std::size_t f = 0; f < files.size(); ++f) {
    File& file = files[f];
    if (!options.cells.empty()) file.table = std::make_shared<const CellTable>(read_cell_table(options.cells[f]));
    file.counts = open_counts(options, f, file.table);
    check();
    const CellTable& table = *file.table;
    const Columns columns = read_columns(options, table);
    const bool by_order = file.counts.cells.empty();
    const auto& cells = by_order ? table.names : file.counts.cells;
    const NameMap rows = by_order ? NameMap{} : places_of(table.names);
    Index matched = 0;
    for (std::size_t c = 0; c < cells.size(); ++c) {
      ++account.cells_in_counts;
      file.cell.push_back(-1);
      std::size_t row = c;
      if (!by_order) {
        const auto found = rows.find(cells[c]);
        if (found == rows.end()) {
          ++account.cells_without_row;
          continue;
        }
        row = static_cast<std::size_t>(found->second);
      }
      ++matched;
      if (!meets(options.conditions, columns, row)) {
        ++account.left_out;
        continue;
      }
      if (is_missing(columns.label[row])) {
        ++account.without_label;
        continue;
      }
      if (!columns.batch.empty() && is_missing(columns.batch[row])) {
        ++account.without_batch;
        continue;
      }
      bool complete = true;
      for (const auto& column : columns.covariates) complete = complete && !is_missing(column[row]);
      if (!complete) {
        ++account.without_covariate;
        continue;
      }
      if (!columns.size_factor.empty())
        given_factors.push_back(size_factor(columns.size_factor[row],
                                            std::get<SizeFactorColumn>(options.size_factors).name,
                                            table.place(static_cast<Index>(row))));
      file.cell.back() = static_cast<Index>(names.size());
      names.push_back(cells[c]);
      file_of_cell.push_back(static_cast<Index>(f));
      type.push_back(columns.label[row]);
      if (!columns.batch.empty()) batch.push_back(columns.batch[row]);
      if (batch_of_file) batch.push_back(batch_names[f]);
      for (std::size_t k = 0; k < covariates.size(); ++k) covariates[k].push_back(columns.covariates[k][row]);
    }
    if (matched == 0)
      throw eosin::ParseError(file.counts.file + ": none of its cells (" + (cells.empty() ? "none" : cells.front()) +
                              ", ...) is in " + table.file + " (" +
                              (table.names.empty() ? "none" : table.names.front()) + ", ...)");
    account.rows_without_counts += static_cast<Index>(table.names.size()) - matched;
  }
  account.cells_used = static_cast<Index>(names.size());
  if (names.empty())
    throw eosin::ValueError("no cell is left: of " + std::to_string(account.cells_in_counts) + " cells " +
                            std::to_string(account.cells_without_row) + " are not in the cells file, " +
                            std::to_string(account.left_out) + " do not meet --where, " +
                            std::to_string(account.without_label) + " have no label, " +
                            std::to_string(account.without_batch) + " no batch, " +
                            std::to_string(account.without_covariate) + " not all covariates");

  // Genes that all files have, in the order of the first.
  const auto takes_part = [](const CountsFile& counts, std::size_t g) {
    return counts.is_gene.empty() || counts.is_gene[g] != 0;
  };
  std::vector<std::string> genes;
  for (std::size_t g = 0; g < files.front().counts.genes.size(); ++g) {
    if (takes_part(files.front().counts, g))
      genes.push_back(files.front().counts.genes[g]);
    else
      ++account.other_features;
  }
  account.genes_in_counts = static_cast<Index>(genes.size());
  for (std::size_t f = 1; f < files.size(); ++f) {
    std::unordered_set<std::string_view> known;
    for (std::size_t g = 0; g < files[f].counts.genes.size(); ++g)
      if (takes_part(files[f].counts, g)) known.insert(files[f].counts.genes[g]);
    const auto first = genes.empty() ? std::string("none") : genes.front();
    std::erase_if(genes, [&](const std::string& gene) { return !known.contains(gene); });
    if (genes.empty())
      throw eosin::ParseError(files[f].counts.file + ": has no gene in common with the files before it (" + first +
                              ", ... there; " +
                              (files[f].counts.genes.empty() ? "none" : files[f].counts.genes.front()) + ", ... here)");
  }
  if (genes.empty()) throw eosin::ParseError(files.front().counts.file + ": has no genes");
  account.genes_in_all_files = static_cast<Index>(genes.size());

  std::vector<Index> selected;  // of the genes of all files, where --genes is given
  if (!options.genes.empty()) {
    const auto wanted = common::read_gene_list(options.genes);
    const NameMap places = places_of(genes);
    for (const auto& gene : std::unordered_set<std::string>(wanted.begin(), wanted.end())) {
      ++account.genes_asked;
      const auto found = places.find(gene);
      if (found == places.end())
        ++account.genes_missing;
      else
        selected.push_back(found->second);
    }
    if (selected.empty())
      throw eosin::ParseError(options.genes + ": none of its " + std::to_string(account.genes_asked) +
                              " genes is in the counts (" + wanted.front() + ", ... there; " + genes.front() +
                              ", ... in the counts)");
    std::sort(selected.begin(), selected.end());
  }

  const auto cells = static_cast<Index>(names.size());
  const bool subset = !options.genes.empty();
  const bool by_all_genes = subset && std::holds_alternative<eosin::glm::SizeFactorMethod>(options.size_factors);
  // With a gene list, the depth of a cell is still that of all its genes.
  const eosin::io::GeneSpoolOptions spooling{.memory = by_all_genes ? options.memory / 2 : options.memory,
                                             .folder = {}};
  std::vector<Index> place_of_selected;
  if (subset && !by_all_genes) {
    place_of_selected.assign(genes.size(), Index{-1});
    for (std::size_t k = 0; k < selected.size(); ++k)
      place_of_selected[static_cast<std::size_t>(selected[k])] = static_cast<Index>(k);
  }
  eosin::io::GeneSpool counts(static_cast<Index>(subset && !by_all_genes ? selected.size() : genes.size()), cells,
                              spooling);
  const NameMap places = places_of(genes);
  for (File& file : files) {
    for (std::size_t g = 0; g < file.counts.genes.size(); ++g) {
      const auto found = takes_part(file.counts, g) ? places.find(file.counts.genes[g]) : places.end();
      Index place = found == places.end() ? Index{-1} : found->second;
      if (place >= 0 && !place_of_selected.empty()) place = place_of_selected[static_cast<std::size_t>(place)];
      file.gene.push_back(place);
    }
    Index until_check = 0;
    file.counts.scan([&](Index gene, Index cell, double count) {
      if (--until_check < 0) {
        until_check = 100000;
        check();
      }
      const Index to_gene = file.gene[static_cast<std::size_t>(gene)];
      const Index to_cell = file.cell[static_cast<std::size_t>(cell)];
      if (to_gene >= 0 && to_cell >= 0) counts.push(to_gene, to_cell, count);
    });
    file = {};
  }
  counts.finish();

  std::optional<std::vector<double>> factors;
  if (!given_factors.empty()) factors = std::move(given_factors);
  if (by_all_genes) {
    const auto computed =
        eosin::glm::size_factors(counts, std::get<eosin::glm::SizeFactorMethod>(options.size_factors));
    factors.emplace(computed.begin(), computed.end());
    eosin::io::GeneSpool kept(static_cast<Index>(selected.size()), cells, spooling);
    std::size_t next = 0;
    for (auto block = counts.next(256); block.genes() > 0; block = counts.next(256)) {
      check();
      for (; next < selected.size() && selected[next] < block.first_gene + block.genes(); ++next) {
        const auto cell = block.cells_of(selected[next] - block.first_gene);
        const auto count = block.counts_of(selected[next] - block.first_gene);
        for (Index e = 0; e < cell.size(); ++e) kept.push(static_cast<Index>(next), cell[e], count[e]);
      }
    }
    kept.finish();
    counts = std::move(kept);
  }
  if (subset) {
    std::vector<std::string> listed;
    for (const Index g : selected) listed.push_back(std::move(genes[static_cast<std::size_t>(g)]));
    genes = std::move(listed);
  }
  account.genes_used = static_cast<Index>(genes.size());

  const auto note = [&](Index count, const std::string& what) {
    if (count > 0) say(std::to_string(count) + " " + what);
  };
  say(std::to_string(account.cells_used) + " of " + std::to_string(account.cells_in_counts) + " cells and " +
      std::to_string(account.genes_used) + " of " + std::to_string(account.genes_in_counts) + " genes are used");
  note(account.cells_without_row, "cells of the counts are not in the cells file: dropped");
  note(account.rows_without_counts, "cells of the cells file are not in the counts");
  note(account.left_out, "cells left out by --where");
  note(account.without_label, "cells without a label: dropped");
  note(account.without_batch, "cells without a batch: dropped");
  note(account.without_covariate, "cells without all covariates: dropped");
  note(account.other_features, "features that are no genes: left out");
  note(account.genes_in_counts - account.genes_in_all_files, "genes are not in all files: left out");
  note(account.genes_missing, "genes of --genes are not in the counts");
  if (counts.spilled()) say("the counts exceed --memory: a temporary file holds them");

  Input input{.counts = std::move(counts),
              .genes = std::move(genes),
              .cells = std::move(names),
              .file_of_cell = std::move(file_of_cell),
              .batch_word = batch_of_file                  ? "file"
                            : options.batch_column.empty() ? ""
                                                           : "batch",
              .type = Categories::from_labels(type),
              .batch = batch.empty() ? Categories{} : Categories::from_labels(batch),
              .covariates = {},
              .size_factors = std::move(factors),
              .account = account};
  for (const auto& labels : covariates) input.covariates.push_back(Categories::from_labels(labels));
  return input;
}

}  // namespace prototypes
