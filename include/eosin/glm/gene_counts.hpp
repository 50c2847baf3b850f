#pragma once

// The counts of one gene as the solver takes them: ordered by the cells' positions, so that the groups follow each
// other, 8 bytes per nonzero. GeneCounts brings a sparse row over the cells into that order; the columns of
// gene_blocks.hpp come in it by themselves.

#include <eosin/glm/design.hpp>
#include <eosin/glm/gene_blocks.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

namespace detail {

[[noreturn]] inline void refuse_count_without_depth(Index cell, Index gene) {
  throw ValueError("fit: cell " + std::to_string(cell) + " (from 0) has size factor 0 but a count of gene " +
                   std::to_string(gene));
}

}  // namespace detail

/// Orders rows by position; scratch is kept from row to row. One object per thread.
class GeneCounts {
 public:
  explicit GeneCounts(const CellGroups& groups)
      : groups_(&groups), place_(static_cast<std::size_t>(groups.groups()) + 1) {}

  /// The counts of a gene at the cells that take part, by position; valid until the next call. `cells` in any order,
  /// each at most once. ValueError on what is not a count, cells out of range or twice, and a count in a cell of size
  /// factor 0. Cost O(nonzeros + groups) for ascending cells.
  template <class I, class T>
  std::span<const CellCount> arrange(Index gene, const I* cells, const T* counts, Index n) {
    std::fill(place_.begin(), place_.end(), Index{0});
    bool ascending = true;
    Index before = -1;
    taken_.clear();
    for (Index e = 0; e < n; ++e) {
      const Index cell = static_cast<Index>(cells[e]);
      if (cell < 0 || cell >= groups_->cells()) detail::refuse_cell(gene, cell, groups_->cells());
      ascending = ascending && cell > before;
      before = cell;
      const std::uint32_t count = detail::to_count(counts[e], gene, cell);
      if (count == 0) continue;
      const Index group = groups_->group_of(cell);
      if (group < 0) {
        if (group == CellGroups::without_depth) detail::refuse_count_without_depth(cell, gene);
        continue;
      }
      ++place_[static_cast<std::size_t>(group) + 1];
      taken_.push_back({static_cast<std::uint32_t>(groups_->position_of(cell)), count});
    }
    ordered_.resize(taken_.size());
    if (!ascending) {
      check_twice(gene, cells, n);
      std::copy(taken_.begin(), taken_.end(), ordered_.begin());
      std::sort(ordered_.begin(), ordered_.end(),
                [](const CellCount& a, const CellCount& b) { return a.position < b.position; });
      return ordered_;
    }
    for (std::size_t k = 1; k < place_.size(); ++k) place_[k] += place_[k - 1];
    for (const CellCount& entry : taken_) {
      const Index group = groups_->group_of(groups_->cell_at(static_cast<Index>(entry.position)));
      ordered_[static_cast<std::size_t>(place_[static_cast<std::size_t>(group)]++)] = entry;
    }
    return ordered_;
  }

 private:
  template <class I>
  void check_twice(Index gene, const I* cells, Index n) {
    std::vector<I> sorted(cells, cells + n);
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) detail::refuse_twice(gene, static_cast<Index>(*twice));
  }

  const CellGroups* groups_;
  std::vector<Index> place_;
  std::vector<CellCount> taken_, ordered_;
};

}  // namespace eosin::glm
