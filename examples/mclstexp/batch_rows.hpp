#pragma once

// Which spots make a mini-batch.

#include <eosin/core/config.hpp>

#include <compare>
#include <vector>

namespace mclstexp {

using eosin::Index;

/// A spot of one of the training sections.
struct SpotRow {
  Index section = 0;
  Index row = 0;

  auto operator<=>(const SpotRow&) const = default;
};
using BatchRows = std::vector<SpotRow>;

}  // namespace mclstexp
