// Rows of a table by their number and sinusoidal positions, on the device against the processor.

#include <eosin/layers/embedding.hpp>
#include <eosin/ops/gather_rows.hpp>
#include <eosin/ops/sinusoidal_position.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <utility>
#include <vector>

using namespace eosin;
using namespace eosin::testing;

namespace {

/// n numbers of rows in [0, rows), as a column of positions, many of them equal.
Matrix<Index> random_positions(Index n, Index rows) {
  RandomStream random(3);
  Matrix<Index> positions(n, 2);
  for (Index i = 0; i < positions.size(); ++i)
    positions.data()[i] = static_cast<Index>(random.uniform() * double(rows));
  return positions;
}

}  // namespace

TEST_CASE_TEMPLATE("add_rows, add_to_rows: device and processor agree", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto& [n, rows, cols] :
       {std::tuple<Index, Index, Index>{1, 1, 1}, {5, 3, 33}, {256, 4, 40}, {300, 9, 257}, {600, 1, 5}, {0, 4, 3}}) {
    if (!affordable(n * rows)) continue;
    CAPTURE(n);
    CAPTURE(rows);
    CAPTURE(cols);
    const auto table = normal_matrix<T>(rows, cols, 1), dy = normal_matrix<T>(n, cols, 2);
    const auto before = normal_matrix<T>(rows, cols, 4);
    const auto positions = random_positions(n, rows);
    std::vector<Index> numbers;
    for (Index i = 0; i < n; ++i) numbers.push_back(positions(i, 1));
    auto y = dy, d_table = before;
    ops::add_rows<T>(cpu, table, numbers, y.view());
    ops::add_to_rows<T>(cpu, dy, numbers, d_table.view());
    in_every_order([&] {
      const auto table_d = on_device(gpu, table.view()), dy_d = on_device(gpu, dy.view());
      const auto positions_d = on_device(gpu, positions.view());
      auto y_d = on_device(gpu, dy.view()), d_table_d = on_device(gpu, before.view());
      ops::add_rows<T>(gpu, table_d, positions_d.view().col(1), y_d.view());
      ops::add_to_rows<T>(gpu, dy_d, positions_d.view().col(1), d_table_d.view());
      CHECK(relative_difference(on_host(gpu, y_d.view()), y) < agreement<T>);
      CHECK(relative_difference(on_host(gpu, d_table_d.view()), d_table) < agreement<T>);
    });
  }
}

TEST_CASE("add_rows, add_to_rows on the device: numbers outside the table") {
  CudaContext gpu;
  const Matrix<float> table(2, 3);
  const auto table_d = on_device(gpu, table.view());
  auto y = on_device(gpu, normal_matrix<float>(3, 3, 1).view());
  Vector<Index> numbers(3);
  numbers[0] = -1;
  numbers[1] = 1;
  numbers[2] = 2;
  const auto numbers_d = on_device(gpu, numbers.view());
  ops::add_rows<float>(gpu, table_d, numbers_d.view(), y.view());
  const auto result = on_host(gpu, y.view());
  CHECK(std::isnan(result(0, 0)));
  CHECK(std::isfinite(result(1, 2)));
  CHECK(std::isnan(result(2, 2)));
  const auto dy = on_device(gpu, normal_matrix<float>(3, 3, 1).view());
  Matrix<float, Device> gradient(2, 3);
  ops::add_to_rows<float>(gpu, dy, numbers_d.view(), gradient.view());
  CHECK(on_host(gpu, gradient.view())(0, 0) == 0);
  Matrix<float, Device> narrow(2, 2);
  CHECK_THROWS_WITH_AS(ops::add_to_rows<float>(gpu, dy, numbers_d.view(), narrow.view()),
                       "add_to_rows: d_table has 2 columns, expected 3 (columns of dy)", ShapeError);
}

TEST_CASE_TEMPLATE("Embedding: a layer on the device, gradients overwritten and accumulated", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 1});
  Parameters<T> parameters;
  Parameters<T, Device> parameters_d;
  const layers::Embedding<T> embedding(parameters, "x_embed", 7, 20);
  const layers::Embedding<T, Device> embedding_d(parameters_d, "x_embed", 7, 20);
  parameters.allocate(cpu, 1);
  parameters_d.allocate(gpu, 1);
  const std::vector<Index> numbers{3, 3, 0, 6, 3};
  Vector<Index> numbers_h(5);
  std::copy(numbers.begin(), numbers.end(), numbers_h.data());
  const auto numbers_d = on_device(gpu, numbers_h.view());
  auto y = normal_matrix<T>(5, 20, 2);
  auto y_d = on_device(gpu, y.view());
  embedding.forward_add(cpu, numbers, y.view());
  embedding_d.forward_add(gpu, numbers_d.view(), y_d.view());
  CHECK(relative_difference(on_host(gpu, y_d.view()), y) < agreement<T>);
  using layers::GradientMode;
  for (const auto mode : {GradientMode::overwrite, GradientMode::accumulate, GradientMode::ignore}) {
    embedding.backward(cpu, numbers, y, mode);
    embedding_d.backward(gpu, numbers_d.view(), y_d, mode);
    Vector<T> want(parameters.gradients().size());
    std::copy_n(parameters.gradients().data(), want.size(), want.data());
    CHECK(relative_difference(on_host(gpu, parameters_d.gradients()), want) < agreement<T>);
  }
}

TEST_CASE_TEMPLATE("add_sinusoidal_position: device and processor agree", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto layout : {ops::SinusoidalLayout::split, ops::SinusoidalLayout::sum})
    for (const auto& [n, d] : {std::pair<Index, Index>{1, 1}, {3, 33}, {9, 64}}) {
      const ops::SinusoidalOptions options{layout, 1000};
      const auto positions = random_positions(n, 60);
      const auto start = normal_matrix<T>(n, d, 1);
      auto y = start;
      ops::add_sinusoidal_position<T>(cpu, positions.view(), options, y.view());
      in_every_order([&] {
        auto y_d = on_device(gpu, start.view());
        const auto positions_d = on_device(gpu, positions.view());
        ops::add_sinusoidal_position<T>(gpu, positions_d.view(), options, y_d.view());
        CHECK(relative_difference(on_host(gpu, y_d.view()), y) < 10 * agreement<T>);
      });
    }
}
