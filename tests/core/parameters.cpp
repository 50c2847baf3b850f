#include <eosin/core/parameters.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

using namespace eosin;

namespace {

struct Model {
  Parameters<float> parameters;
  SegmentId weight, bias, scale, table, scalar;

  Model() {
    weight = parameters.add("encoder.0.weight", {30, 50}, init::XavierNormal{.gain = 2.0});
    bias = parameters.add("encoder.0.bias", {30});
    scale = parameters.add("scale", {3}, init::Constant{.value = 1.5});
    table = parameters.add("table", {2, 3}, init::Values{{1, 2, 3, 4, 5, 6}});
    scalar = parameters.add("scalar", {}, init::Constant{.value = -2});
  }
};

}  // namespace

TEST_CASE("parameters: layout, names and shapes") {
  Model model;
  auto& p = model.parameters;
  CHECK_FALSE(p.allocated());
  CpuContext context({.threads = 1});
  p.allocate(context, 1);
  CHECK(p.allocated());
  REQUIRE(p.segments().size() == 5);
  Index end = 0;
  for (const auto& segment : p.segments()) {
    CHECK(segment.offset >= end);
    CHECK(segment.offset * static_cast<Index>(sizeof(float)) % static_cast<Index>(alignment) == 0);
    end = segment.offset + segment.size;
  }
  CHECK(p.values().size() >= end);
  CHECK(p.values().size() == p.gradients().size());
  CHECK(p.segment(model.weight).size == 1500);
  CHECK(p.segment(model.scalar).size == 1);
  CHECK(p.contains("scale"));
  CHECK_FALSE(p.contains("scal"));
  CHECK(p.find("table").index == model.table.index);
  CHECK_THROWS_WITH_AS(p.find("nothing"), "Parameters: no segment is named 'nothing'", ValueError);
}

TEST_CASE("parameters: initial values") {
  Model model;
  auto& p = model.parameters;
  CpuContext context({.threads = 1});
  p.allocate(context, 7);
  for (Index i = 0; i < 30; ++i) CHECK(p.value(model.bias)[i] == 0);
  for (Index i = 0; i < 3; ++i) CHECK(p.value(model.scale)[i] == 1.5f);
  const auto table = p.matrix(model.table);
  CHECK(table.rows() == 2);
  CHECK(table.cols() == 3);
  CHECK(table(1, 0) == 4);
  CHECK(p.value(model.scalar)[0] == -2);

  const auto weight = p.value(model.weight);
  double mean = 0;
  double square = 0;
  for (Index i = 0; i < weight.size(); ++i) {
    mean += static_cast<double>(weight[i]) / 1500;
    square += static_cast<double>(weight[i]) * static_cast<double>(weight[i]) / 1500;
  }
  const double variance = 4 * 2.0 / 80;
  CHECK(std::abs(mean) < 5 * std::sqrt(variance / 1500));
  CHECK(std::abs(square - variance) < 5 * variance * std::sqrt(2.0 / 1500));
}

TEST_CASE("parameters: normal and uniform initialisers") {
  Parameters<double> p;
  const auto normal = p.add("normal", {4000}, init::Normal{.mean = 3, .deviation = 0.5});
  const auto uniform = p.add("uniform", {4000}, init::Uniform{.low = -2, .high = 6});
  CpuContext context({.threads = 1});
  p.allocate(context, 3);
  double mean = 0;
  for (Index i = 0; i < 4000; ++i) mean += p.value(normal)[i] / 4000;
  CHECK(std::abs(mean - 3) < 5 * 0.5 / std::sqrt(4000));
  double low = 10;
  double high = -10;
  for (Index i = 0; i < 4000; ++i) {
    low = std::min(low, p.value(uniform)[i]);
    high = std::max(high, p.value(uniform)[i]);
  }
  CHECK(low >= -2);
  CHECK(low < -1.9);
  CHECK(high <= 6);
  CHECK(high > 5.9);
}

TEST_CASE("parameters: the seed decides, and segments differ") {
  const auto make = [](std::uint64_t seed) {
    Parameters<double> p;
    p.add("a", {5}, init::Normal{});
    p.add("b", {5}, init::Normal{});
    CpuContext context({.threads = 1});
    p.allocate(context, seed);
    return p;
  };
  const auto first = make(1);
  const auto same = make(1);
  const auto other = make(2);
  for (Index i = 0; i < first.values().size(); ++i) CHECK(first.values()[i] == same.values()[i]);
  CHECK(first.values()[0] != other.values()[0]);
  CHECK(first.value(first.find("a"))[0] != first.value(first.find("b"))[0]);
}

TEST_CASE("parameters: values and gradients are views of the flat buffers, padding is zero") {
  Model model;
  auto& p = model.parameters;
  CpuContext context({.threads = 1});
  p.allocate(context, 1);
  const Index offset = p.segment(model.table).offset;
  p.matrix(model.table)(1, 2) = 60;
  CHECK(p.values()[offset + 5] == 60);
  p.gradient_matrix(model.table)(0, 1) = 9;
  CHECK(p.gradients()[offset + 1] == 9);
  CHECK(p.gradient(model.table)[1] == 9);
  p.zero_gradients();
  for (Index i = 0; i < p.gradients().size(); ++i) REQUIRE(p.gradients()[i] == 0);
  Index next = 0;
  for (const auto& segment : p.segments()) {
    for (Index i = next; i < segment.offset; ++i) CHECK(p.values()[i] == 0);
    next = segment.offset + segment.size;
  }
  for (Index i = next; i < p.values().size(); ++i) CHECK(p.values()[i] == 0);
  const auto& constant = p;
  static_assert(std::is_same_v<decltype(constant.value(model.table)), VectorView<const float>>);
  static_assert(std::is_same_v<decltype(constant.matrix(model.table)), MatrixView<const float>>);
  CHECK(constant.matrix(model.table)(1, 2) == 60);
}

TEST_CASE("parameters: copies are independent") {
  Model model;
  CpuContext context({.threads = 1});
  model.parameters.allocate(context, 1);
  const Parameters<float> copy = model.parameters;
  model.parameters.value(model.scale)[0] = 99;
  CHECK(copy.value(model.scale)[0] == 1.5f);
}

TEST_CASE("parameters: refusals") {
  CpuContext context({.threads = 1});
  Parameters<double> p;
  p.add("a", {2});
  CHECK_THROWS_AS(p.add("a", {3}), ValueError);
  p.allocate(context, 1);
  CHECK_THROWS_AS(p.add("b", {3}), ValueError);

  Parameters<double> wrong_count;
  wrong_count.add("v", {2, 2}, init::Values{{1, 2, 3}});
  CHECK_THROWS_WITH_AS(wrong_count.allocate(context, 1),
                       "Parameters::allocate: initial value of 'v' has 3 elements, expected 4", ShapeError);
  Parameters<double> no_matrix;
  no_matrix.add("v", {4}, init::XavierNormal{});
  CHECK_THROWS_AS(no_matrix.allocate(context, 1), ValueError);
  Parameters<double> negative;
  CHECK_THROWS_AS(negative.add("v", {2, -3}), ValueError);
  CHECK_THROWS_AS(negative.add("w", {Index{1} << 40, Index{1} << 40}), ValueError);
}

TEST_CASE("parameters: none, and segments without elements") {
  CpuContext context({.threads = 1});
  Parameters<float> none;
  none.allocate(context, 1);
  CHECK(none.values().empty());
  Parameters<float> p;
  const auto empty = p.add("empty", {0, 4});
  const auto one = p.add("one", {1}, init::Constant{.value = 2});
  p.allocate(context, 1);
  CHECK(p.value(empty).empty());
  CHECK(p.matrix(empty).cols() == 4);
  CHECK(p.value(one)[0] == 2);
}
