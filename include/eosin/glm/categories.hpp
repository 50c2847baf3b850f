#pragma once

// A categorical variable over the cells: the names of its levels and one code per cell.

#include <eosin/core/config.hpp>
#include <eosin/core/error.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace eosin::glm {

/// codes[cell] is the place of the cell's level in `names`, or `missing`.
struct Categories {
  static constexpr Index missing = -1;

  std::vector<std::string> names;
  std::vector<Index> codes;

  Index levels() const { return static_cast<Index>(names.size()); }
  Index cells() const { return static_cast<Index>(codes.size()); }

  /// Levels in the order of their names, as R and pandas have them, so that the order of the cells plays no part; an
  /// empty label is missing.
  static Categories from_labels(const std::vector<std::string>& labels) {
    Categories result;
    for (const auto& label : labels)
      if (!label.empty()) result.names.push_back(label);
    std::sort(result.names.begin(), result.names.end());
    result.names.erase(std::unique(result.names.begin(), result.names.end()), result.names.end());
    result.codes.reserve(labels.size());
    for (const auto& label : labels)
      result.codes.push_back(label.empty() ? missing
                                           : std::lower_bound(result.names.begin(), result.names.end(), label) -
                                                 result.names.begin());
    return result;
  }

  /// Codes from 0 with generated names PREFIX0, PREFIX1, ...; a negative code is missing.
  static Categories from_codes(std::vector<Index> codes, const std::string& prefix = {}) {
    Categories result;
    Index largest = -1;
    for (Index& code : codes) {
      if (code < 0) code = missing;
      largest = std::max(largest, code);
    }
    require_value(largest < static_cast<Index>(codes.size()), "Categories::from_codes",
                  "a code is not smaller than the number of cells");
    for (Index level = 0; level <= largest; ++level) result.names.push_back(prefix + std::to_string(level));
    result.codes = std::move(codes);
    return result;
  }
};

}  // namespace eosin::glm
