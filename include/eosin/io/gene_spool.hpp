#pragma once

// Counts that arrive in any order, handed out gene after gene: the way from a file that is not gene-major to an
// estimator. Entries are held in memory up to a budget of bytes; what does not fit is sorted and written to a temporary
// file (a run), and the runs are merged while they are read, so that every file is read once whatever its order, and a
// pass over the genes reads the temporary file once.
//
// Exact: every count comes back as it came; counts of one gene and cell add up. Memory: at most the budget, and 8 bytes
// per gene beside it. Disk: 16 bytes per entry, only where the budget is exceeded. Cost: O(entries) each for filling
// and for a pass, O(entries log) for genes whose cells come out of order.

#include <eosin/core/error.hpp>
#include <eosin/glm/gene_blocks.hpp>

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace eosin::io {

struct GeneSpoolOptions {
  Index memory = Index{2} << 30;      ///< bytes that hold counts; at least 64 KiB are used
  std::filesystem::path folder = {};  ///< of the temporary file; empty: the system's
};

namespace detail {

/// A file without a name: it is gone when the object is.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  explicit TemporaryFile(const std::filesystem::path& folder) {
    std::error_code error;
    name_ = (folder.empty() ? std::filesystem::temp_directory_path(error) : folder) / "eosin-counts-XXXXXX";
    std::string pattern = name_.string();
    descriptor_ = ::mkstemp(pattern.data());
    if (descriptor_ < 0) fail("cannot be created");
    ::unlink(pattern.c_str());
  }
  TemporaryFile(TemporaryFile&& other) noexcept
      : name_(std::move(other.name_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  TemporaryFile& operator=(TemporaryFile&& other) noexcept {
    std::swap(name_, other.name_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  bool open() const { return descriptor_ >= 0; }

  void append(const void* data, std::size_t size) {
    const char* bytes = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, bytes, size);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("cannot be written");
      bytes += written;
      size -= static_cast<std::size_t>(written);
    }
  }
  void read_at(Index offset, void* data, std::size_t size) const {
    char* bytes = static_cast<char*>(data);
    while (size > 0) {
      const ssize_t got = ::pread(descriptor_, bytes, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) fail("cannot be read");
      bytes += got;
      offset += got;
      size -= static_cast<std::size_t>(got);
    }
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw FileError(name_.string() + " (temporary file of counts): " + what + ": " + std::strerror(errno));
  }

  std::filesystem::path name_;
  int descriptor_ = -1;
};

}  // namespace detail

/// A GeneBlockSource that is filled by push() and finish(). Nothing is allocated by `genes` and `cells` before
/// finish(). A block may hold fewer genes than asked for, where the budget says so.
class GeneSpool {
 public:
  GeneSpool(Index genes, Index cells, GeneSpoolOptions options = {}) : genes_(genes), cells_(cells) {
    constexpr Index most = std::numeric_limits<std::int32_t>::max();
    require_value(genes >= 0 && cells >= 0 && genes <= most && cells <= most, "GeneSpool",
                  "shape " + eosin::detail::shape_text(genes, cells) + " is out of range");
    memory_ = std::max(options.memory, Index{1} << 16);
    folder_ = std::move(options.folder);
    // An entry takes its own 16 bytes and as much again while it is sorted.
    capacity_ = memory_ / (2 * static_cast<Index>(sizeof(Entry)));
    slab_ = std::clamp(capacity_ / 16, Index{64}, Index{1} << 16);
  }
  GeneSpool(GeneSpool&&) noexcept = default;
  GeneSpool& operator=(GeneSpool&&) noexcept = default;

  /// Adds a count, which must be an integer from 0 to 2^32 - 1; zeros are forgotten. Throws ValueError for a gene or cell
  /// that is not there or no count, FileError where the temporary file cannot be written.
  void push(Index gene, Index cell, double count) {
    if (gene < 0 || gene >= genes_ || cell < 0 || cell >= cells_) [[unlikely]]
      throw ValueError("GeneSpool: gene " + std::to_string(gene) + ", cell " + std::to_string(cell) +
                       " lies outside the " + std::to_string(genes_) + " genes and " + std::to_string(cells_) +
                       " cells");
    glm::detail::to_count(count, gene, cell);
    if (count == 0.0) return;
    if (held_ == capacity_) write_run();
    if (slabs_.empty() || static_cast<Index>(slabs_.back().size()) == slab_) {
      slabs_.emplace_back();
      slabs_.back().reserve(static_cast<std::size_t>(slab_));
    }
    slabs_.back().push_back({static_cast<std::int32_t>(gene), static_cast<std::int32_t>(cell), count});
    ++held_;
    ++pushed_;
    largest_gene_ = std::max(largest_gene_, gene);
  }

  /// All counts are there; from here on the object is a source. Throws ValueError where there are so many more genes
  /// than entries that the number of genes cannot be true, or so many entries that the budget cannot merge them.
  void finish() {
    require_plausible(genes_);
    if (runs_.empty()) {
      sort_in_memory();
    } else {
      write_run();
      const Index room = memory_ / 4 / static_cast<Index>(sizeof(Entry)) / static_cast<Index>(runs_.size());
      require_value(room >= 16, "GeneSpool",
                    std::to_string(pushed_) + " counts need more memory than " + std::to_string(memory_) + " bytes");
      buffer_entries_ = std::min(room, Index{1} << 16);
    }
    finished_ = true;
    rewind();
  }

  Index genes() const { return genes_; }
  Index cells() const { return cells_; }
  /// Counts pushed that are not 0.
  Index entries() const { return pushed_; }
  /// Whether the temporary file is in use.
  bool spilled() const { return !runs_.empty(); }

  void rewind() {
    next_ = 0;
    for (auto& run : runs_) {
      run.taken = 0;
      run.at = 0;
      run.buffer.clear();
    }
  }

  glm::GeneBlock next(Index most) {
    require_value(finished_, "GeneSpool", "is read before finish()");
    const Index first = next_;
    const Index end = std::min(genes_, next_ + most);
    block_offsets_.assign(1, 0);
    if (runs_.empty()) {
      for (; next_ < end; ++next_) block_offsets_.push_back(offset(next_ + 1) - offset(first));
      const Index begin = offset(first), count = offset(next_) - begin;
      return {first, block_offsets_, VectorView<const Index>(cells_of_entries_.data() + begin, count),
              VectorView<const double>(counts_.data() + begin, count)};
    }
    cells_of_entries_.clear();
    counts_.clear();
    const auto room = static_cast<std::size_t>(memory_ / 4 / static_cast<Index>(sizeof(Entry)));
    while (next_ < end && (next_ == first || row_.size() + counts_.size() < room)) {
      merge_gene();
      for (const Entry& entry : row_) {
        cells_of_entries_.push_back(entry.cell);
        counts_.push_back(entry.count);
      }
      block_offsets_.push_back(static_cast<Index>(counts_.size()));
      ++next_;
    }
    return {first, block_offsets_, cells_of_entries_, counts_};
  }

 private:
  struct Entry {
    std::int32_t gene, cell;
    double count;
  };
  struct Run {
    Index begin = 0;    // byte in the file
    Index entries = 0;  // in the run
    Index taken = 0;    // of them, into the buffer
    std::vector<Entry> buffer;
    std::size_t at = 0;  // in the buffer
  };

  /// What is held per gene must stand in a proportion to the counts.
  void require_plausible(Index genes) const {
    constexpr Index free_genes = Index{1} << 24;
    require_value(genes <= free_genes || genes / 8 <= pushed_, "GeneSpool",
                  std::to_string(genes) + " genes with " + std::to_string(pushed_) + " counts in all");
  }
  Index offset(Index gene) const { return offsets_[static_cast<std::size_t>(gene)]; }

  /// Sets offsets_ to where each gene of the held entries starts, and calls put(place, entry) for all of them, in their
  /// order within a gene.
  template <class Put>
  void distribute(Index genes, Put&& put) {
    offsets_.assign(static_cast<std::size_t>(genes) + 1, 0);
    for (const auto& slab : slabs_)
      for (const Entry& entry : slab) ++offsets_[static_cast<std::size_t>(entry.gene) + 1];
    for (std::size_t g = 1; g < offsets_.size(); ++g) offsets_[g] += offsets_[g - 1];
    for (auto& slab : slabs_) {
      for (const Entry& entry : slab) put(offsets_[static_cast<std::size_t>(entry.gene)]++, entry);
      slab = {};
    }
    slabs_.clear();
    held_ = 0;
    for (std::size_t g = offsets_.size() - 1; g > 0; --g) offsets_[g] = offsets_[g - 1];
    offsets_[0] = 0;
  }

  void sort_in_memory() {
    cells_of_entries_.resize(static_cast<std::size_t>(held_));
    counts_.resize(static_cast<std::size_t>(held_));
    distribute(genes_, [&](Index place, const Entry& entry) {
      cells_of_entries_[static_cast<std::size_t>(place)] = entry.cell;
      counts_[static_cast<std::size_t>(place)] = entry.count;
    });
    std::size_t write = 0;
    Index begin = 0;
    for (Index gene = 0; gene < genes_; ++gene) {
      const Index end = offset(gene + 1);
      bool ascending = true;
      for (Index e = begin + 1; e < end; ++e)
        ascending = ascending &&
                    cells_of_entries_[static_cast<std::size_t>(e - 1)] < cells_of_entries_[static_cast<std::size_t>(e)];
      if (ascending && write == static_cast<std::size_t>(begin)) {
        write = static_cast<std::size_t>(end);
      } else {
        row_.clear();
        for (Index e = begin; e < end; ++e)
          row_.push_back({0, static_cast<std::int32_t>(cells_of_entries_[static_cast<std::size_t>(e)]),
                          counts_[static_cast<std::size_t>(e)]});
        if (!ascending) make_canonical(gene);
        for (const Entry& entry : row_) {
          cells_of_entries_[write] = entry.cell;
          counts_[write] = entry.count;
          ++write;
        }
      }
      begin = end;
      offsets_[static_cast<std::size_t>(gene) + 1] = static_cast<Index>(write);
    }
    cells_of_entries_.resize(write);
    counts_.resize(write);
    row_ = {};
  }

  void write_run() {
    if (held_ == 0) return;
    require_plausible(largest_gene_ + 1);
    if (!file_.open()) file_ = detail::TemporaryFile(folder_);
    Run run;
    run.begin = written_;
    run.entries = held_;
    std::vector<Entry> sorted(static_cast<std::size_t>(held_));
    distribute(largest_gene_ + 1,
               [&](Index place, const Entry& entry) { sorted[static_cast<std::size_t>(place)] = entry; });
    offsets_ = {};
    const std::size_t bytes = sorted.size() * sizeof(Entry);
    file_.append(sorted.data(), bytes);
    written_ += static_cast<Index>(bytes);
    runs_.push_back(std::move(run));
  }

  /// Sorts row_ by cell and adds up what falls on one cell.
  void make_canonical(Index gene) {
    std::sort(row_.begin(), row_.end(), [](const Entry& a, const Entry& b) { return a.cell < b.cell; });
    std::size_t write = 0;
    for (std::size_t read = 0; read < row_.size(); ++read) {
      if (write > 0 && row_[write - 1].cell == row_[read].cell) {
        row_[write - 1].count += row_[read].count;
        glm::detail::to_count(row_[write - 1].count, gene, row_[read].cell);
      } else {
        row_[write++] = row_[read];
      }
    }
    row_.resize(write);
  }

  /// Gathers gene next_ from all runs into row_.
  void merge_gene() {
    row_.clear();
    for (auto& run : runs_) {
      for (;;) {
        if (run.at == run.buffer.size()) {
          const Index count = std::min(buffer_entries_, run.entries - run.taken);
          if (count == 0) break;
          run.buffer.resize(static_cast<std::size_t>(count));
          file_.read_at(run.begin + run.taken * static_cast<Index>(sizeof(Entry)), run.buffer.data(),
                        run.buffer.size() * sizeof(Entry));
          run.taken += count;
          run.at = 0;
        }
        if (run.buffer[run.at].gene != next_) break;
        row_.push_back(run.buffer[run.at++]);
      }
    }
    bool ascending = true;
    for (std::size_t e = 1; e < row_.size(); ++e) ascending = ascending && row_[e - 1].cell < row_[e].cell;
    if (!ascending) make_canonical(next_);
  }

  Index genes_, cells_, memory_ = 0, capacity_ = 0, slab_ = 0;
  std::filesystem::path folder_;
  Index held_ = 0, pushed_ = 0, largest_gene_ = -1;
  bool finished_ = false;
  std::vector<std::vector<Entry>> slabs_;

  detail::TemporaryFile file_;
  Index written_ = 0, buffer_entries_ = 0;
  std::vector<Run> runs_;

  // In memory: all genes. With runs: the block that was given last.
  std::vector<Index> offsets_, cells_of_entries_;
  std::vector<double> counts_;

  Index next_ = 0;
  std::vector<Index> block_offsets_;
  std::vector<Entry> row_;
};

static_assert(glm::GeneBlockSource<GeneSpool>);

}  // namespace eosin::io
