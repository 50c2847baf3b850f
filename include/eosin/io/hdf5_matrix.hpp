#pragma once

// Matrices of HDF5 files entry by entry, in bounded memory: compressed sparse ones (a group with data, indices and
// indptr, as scipy, AnnData and 10x Genomics have it) and dense datasets.

#include <eosin/core/error.hpp>
#include <eosin/io/hdf5.hpp>
#include <eosin/io/number.hpp>
#include <eosin/io/table.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace eosin::io::hdf5 {

namespace detail {

inline void require_value(const Dataset& data, double value, Values wanted, Index row, Index col) {
  if (const char* fault = value_fault(value, wanted))
    data.fail("row " + std::to_string(row) + ", column " + std::to_string(col) + " (from 0): " + number_text(value) +
              " " + fault);
}

}  // namespace detail

/// Calls entry(major, minor, value) for the stored entries of a compressed matrix of `majors` compressed vectors, in
/// the order of the file; explicit zeros come too. Before the first entry indptr is checked whole: its length, that it
/// starts at 0, does not decrease and ends at the length of indices and data. Throws ParseError. Memory: 8 bytes per
/// compressed vector and 4 MiB.
template <class Entry>
void scan_compressed(const File& file, const std::string& group, Index majors, Index minors, Values wanted,
                     Entry&& entry) {
  const Dataset pointers(file, group + "/indptr"), indices(file, group + "/indices"), data(file, group + "/data");
  if (pointers.size() != majors + 1)
    pointers.fail("has " + std::to_string(pointers.size()) + " elements, expected " + std::to_string(majors + 1));
  if (indices.size() != data.size())
    data.fail("has " + std::to_string(data.size()) + " elements, " + indices.path() + " has " +
              std::to_string(indices.size()));
  std::vector<std::int64_t> offsets;
  pointers.read(0, majors + 1, offsets);
  if (offsets.front() != 0) pointers.fail("starts at " + std::to_string(offsets.front()) + ", expected 0");
  for (std::size_t m = 1; m < offsets.size(); ++m)
    if (offsets[m] < offsets[m - 1])
      pointers.fail("decreases from " + std::to_string(offsets[m - 1]) + " to " + std::to_string(offsets[m]) +
                    " at element " + std::to_string(m));
  if (offsets.back() != data.size())
    pointers.fail("ends at " + std::to_string(offsets.back()) + ", there are " + std::to_string(data.size()) +
                  " entries");
  constexpr Index at_once = Index{1} << 18;
  std::vector<std::int64_t> minor;
  std::vector<double> values;
  Index major = 0;
  for (Index first = 0; first < data.size(); first += at_once) {
    const Index count = std::min(at_once, data.size() - first);
    indices.read(first, count, minor);
    data.read(first, count, values);
    for (Index i = 0; i < count; ++i) {
      while (first + i >= offsets[static_cast<std::size_t>(major) + 1]) ++major;
      const Index m = minor[static_cast<std::size_t>(i)];
      if (m < 0 || m >= minors)
        indices.fail("element " + std::to_string(first + i) + " is " + std::to_string(m) + ", expected 0 .. " +
                     std::to_string(minors - 1));
      detail::require_value(data, values[static_cast<std::size_t>(i)], wanted, major, m);
      entry(major, m, values[static_cast<std::size_t>(i)]);
    }
  }
}

/// Calls entry(row, col, value) for the elements of a dense dataset [rows x cols] that are not 0, chunk by chunk.
/// Throws ParseError. Memory: one chunk, or 4 MiB.
template <class Entry>
void scan_dense(const File& file, const std::string& path, Index rows, Index cols, Values wanted, Entry&& entry) {
  const Dataset data(file, path);
  if (data.shape() != std::vector<Index>{rows, cols})
    data.fail("is not a matrix of " + std::to_string(rows) + " x " + std::to_string(cols));
  if (rows == 0 || cols == 0) return;
  constexpr Index at_once = Index{1} << 19;
  Index height = std::clamp(at_once / cols, Index{1}, rows), width = cols;
  if (!data.chunk().empty()) {
    width = std::max(data.chunk()[1], Index{1});
    height = std::clamp(std::max(at_once * 8 / width, Index{1}), Index{1}, std::max(data.chunk()[0], Index{1}));
  }
  std::vector<double> values;
  for (Index top = 0; top < rows; top += height)
    for (Index left = 0; left < cols; left += width) {
      const Index tall = std::min(height, rows - top), wide = std::min(width, cols - left);
      data.read({top, left}, {tall, wide}, values);
      for (Index r = 0; r < tall; ++r)
        for (Index c = 0; c < wide; ++c) {
          const double value = values[static_cast<std::size_t>(r * wide + c)];
          if (value == 0) continue;
          detail::require_value(data, value, wanted, top + r, left + c);
          entry(top + r, left + c, value);
        }
    }
}

}  // namespace eosin::io::hdf5
