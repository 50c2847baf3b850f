#include <eosin/core/workspace.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

using namespace eosin;

namespace {

template <class T>
bool aligned(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

}  // namespace

TEST_CASE("workspace: pieces are aligned and do not overlap") {
  Workspace workspace;
  const auto mark = workspace.mark();
  std::vector<VectorView<unsigned char>> pieces;
  for (const Index size : {1, 63, 64, 65, 1000, 70000, 3, 200000, 5}) {
    pieces.push_back(workspace.take<unsigned char>(size));
    CHECK(pieces.back().size() == size);
    CHECK(aligned(pieces.back().data()));
    std::memset(pieces.back().data(), static_cast<int>(pieces.size()), static_cast<std::size_t>(size));
  }
  for (std::size_t p = 0; p < pieces.size(); ++p) {
    bool own = true;
    for (Index i = 0; i < pieces[p].size(); ++i) own = own && pieces[p][i] == p + 1;
    CHECK(own);
  }
}

TEST_CASE("workspace: matrices and other types") {
  Workspace workspace;
  const auto mark = workspace.mark();
  const auto m = workspace.take<double>(3, 5);
  CHECK(m.rows() == 3);
  CHECK(m.cols() == 5);
  CHECK(m.contiguous());
  const auto v = workspace.take<float>(7);
  CHECK(reinterpret_cast<const char*>(v.data()) >= reinterpret_cast<const char*>(m.data() + 15));
  CHECK(workspace.take<int>(0).empty());
  CHECK(workspace.take<double>(0, 4).empty());
}

TEST_CASE("workspace: what a mark covered is given back, and the rest stays") {
  Workspace workspace;
  const auto outer = workspace.mark();
  const auto kept = workspace.take<double>(10);
  for (Index i = 0; i < 10; ++i) kept[i] = 1;
  const double* first = nullptr;
  {
    const auto inner = workspace.mark();
    first = workspace.take<double>(100).data();
  }
  const auto again = workspace.take<double>(100);
  CHECK(again.data() == first);
  for (Index i = 0; i < 100; ++i) again[i] = 2;
  for (Index i = 0; i < 10; ++i) CHECK(kept[i] == 1);
}

TEST_CASE("workspace: outer pieces survive when an inner mark grows the arena") {
  Workspace workspace;
  const auto outer = workspace.mark();
  const auto kept = workspace.take<double>(1000);
  for (Index i = 0; i < 1000; ++i) kept[i] = static_cast<double>(i);
  for (int round = 0; round < 3; ++round) {
    const auto inner = workspace.mark();
    const auto big = workspace.take<double>(Index{1} << (14 + round));
    for (Index i = 0; i < big.size(); ++i) big[i] = -1;
  }
  bool intact = true;
  for (Index i = 0; i < 1000; ++i) intact = intact && kept[i] == static_cast<double>(i);
  CHECK(intact);
}

TEST_CASE("workspace: the same work the second time allocates nothing") {
  Workspace workspace;
  const auto step = [&] {
    const auto mark = workspace.mark();
    workspace.take<double>(5000);
    {
      const auto inner = workspace.mark();
      workspace.take<float>(40000);
    }
    workspace.take<double>(30000);
    return workspace.take<double>(1).data();
  };
  CHECK(workspace.capacity() == 0);
  step();
  const Index after_first = workspace.capacity();
  CHECK(after_first > 0);
  const double* place = step();
  for (int i = 0; i < 10; ++i) CHECK(step() == place);
  CHECK(workspace.capacity() == after_first);
}

TEST_CASE("workspace: marks unwind with exceptions") {
  Workspace workspace;
  const auto outer = workspace.mark();
  const double* before = nullptr;
  {
    const auto probe = workspace.mark();
    before = workspace.take<double>(1).data();
  }
  try {
    const auto inner = workspace.mark();
    workspace.take<double>(500);
    throw std::runtime_error("out");
  } catch (const std::runtime_error&) {
  }
  CHECK(workspace.take<double>(1).data() == before);
}
