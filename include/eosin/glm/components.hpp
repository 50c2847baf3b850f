#pragma once

// Which coefficients of a types x batches model belong together. Types and batches are nodes; a group of cells (a pair
// of type and batch) with counts links its two nodes both ways, a group without a count is an arc from type to batch:
// its fitted mean falls when the type's coefficient falls or the batch's does. The likelihood has a finite maximum iff
// every arc has both ends in one strongly connected component; an arc between components says that the fitted mean of
// its group tends to 0 along a direction (docs/derivations/nb_glm.md).

#include <eosin/core/config.hpp>

#include <numeric>
#include <vector>

namespace eosin::glm {

/// Nodes 0 .. types-1 are types, then come the batches.
class Components {
 public:
  void reset(Index types, Index batches) {
    types_ = types;
    component_.resize(static_cast<std::size_t>(types + batches));
    std::iota(component_.begin(), component_.end(), Index{0});
    arcs_.clear();
  }
  /// Links both ways.
  void link(Index type, Index batch) {
    const Index a = root(type), b = root(types_ + batch);
    if (a != b) component_[to(std::max(a, b))] = std::min(a, b);
  }
  /// Before finish(): equal for nodes that links connect.
  Index linked_to(Index type) { return root(type); }
  void arc(Index type, Index batch) { arcs_.push_back({type, types_ + batch}); }

  /// Merges what the arcs connect strongly and numbers the components. Nodes that nothing touches stay alone.
  void finish() {
    const Index nodes = static_cast<Index>(component_.size());
    std::vector<Index>& number = number_;
    number.assign(component_.size(), Index{-1});
    Index count = 0;
    for (Index node = 0; node < nodes; ++node)
      if (root(node) == node) number[to(node)] = count++;
    for (Index node = 0; node < nodes; ++node) number[to(node)] = number[to(root(node))];

    reach_.assign(to(count * count), 0);
    for (Index c = 0; c < count; ++c) reach_[to(c * count + c)] = 1;
    for (const auto& [from, onto] : arcs_) reach_[to(number[to(from)] * count + number[to(onto)])] = 1;
    if (count > 1)
      for (Index via = 0; via < count; ++via)
        for (Index from = 0; from < count; ++from)
          if (reach_[to(from * count + via)])
            for (Index onto = 0; onto < count; ++onto)
              if (reach_[to(via * count + onto)]) reach_[to(from * count + onto)] = 1;
    count_ = count;
    for (Index node = 0; node < nodes; ++node) {
      Index first = 0;
      const Index own = number[to(node)];
      while (!(reach_[to(own * count + first)] && reach_[to(first * count + own)])) ++first;
      component_[to(node)] = first;
    }
  }

  /// Component of a type or batch; only equality means something.
  Index of_type(Index type) const { return component_[to(type)]; }
  Index of_batch(Index batch) const { return component_[to(types_ + batch)]; }
  /// A path of links and arcs leads from component a to component b.
  bool reaches(Index a, Index b) const { return reach_[to(a * count_ + b)] != 0; }

 private:
  static std::size_t to(Index i) { return static_cast<std::size_t>(i); }
  Index root(Index node) {
    while (component_[to(node)] != node) node = component_[to(node)] = component_[to(component_[to(node)])];
    return node;
  }
  struct Arc {
    Index from, onto;
  };

  Index types_ = 0, count_ = 0;
  std::vector<Index> component_, number_;
  std::vector<Arc> arcs_;
  std::vector<char> reach_;
};

}  // namespace eosin::glm
