#include <eosin/core/view.hpp>

#include <doctest/doctest.h>

#include <eosin/core/buffer.hpp>
#include <eosin/core/eigen.hpp>

#include <array>
#include <span>
#include <type_traits>
#include <vector>

using namespace eosin;

namespace {

// Views are what kernels take by value.
static_assert(std::is_trivially_copyable_v<VectorView<float>>);
static_assert(std::is_trivially_copyable_v<MatrixView<const double, Device>>);

// Constness and memory space are part of the type.
static_assert(std::is_convertible_v<VectorView<float>, VectorView<const float>>);
static_assert(!std::is_convertible_v<VectorView<const float>, VectorView<float>>);
static_assert(std::is_convertible_v<MatrixView<float>, MatrixView<const float>>);
static_assert(!std::is_convertible_v<MatrixView<const float>, MatrixView<float>>);
static_assert(!std::is_convertible_v<VectorView<float, Device>, VectorView<float, Host>>);
static_assert(!std::is_convertible_v<VectorView<float, Host>, VectorView<float, Device>>);
static_assert(!std::is_convertible_v<MatrixView<float, Device>, MatrixView<const float, Host>>);
static_assert(!std::is_convertible_v<std::vector<float>&, VectorView<float, Device>>);
static_assert(std::is_convertible_v<VectorView<float, Device>, VectorView<const float, Device>>);
static_assert(!std::is_convertible_v<VectorView<float, Device>, VectorView<const float, Host>>);
static_assert(std::is_convertible_v<Vector<float, Host>&, VectorView<float, Host>>);

// A matrix does not become a vector unasked: its rows may be apart. flat() says it.
static_assert(!std::is_convertible_v<MatrixView<float>, VectorView<float>>);
static_assert(!std::is_convertible_v<Matrix<float>&, VectorView<float>>);

// The element type is not converted.
static_assert(!std::is_convertible_v<VectorView<float>, VectorView<double>>);
static_assert(!std::is_convertible_v<std::vector<float>&, VectorView<double>>);
static_assert(!std::is_convertible_v<const std::vector<float>&, VectorView<float>>);
static_assert(!std::is_convertible_v<RowMajor<float>&, MatrixView<double>>);
static_assert(!std::is_convertible_v<const RowMajor<float>&, MatrixView<float>>);
static_assert(std::is_convertible_v<const RowMajor<float>&, MatrixView<const float>>);

double sum(VectorView<const double> v) {
  double total = 0;
  for (Index i = 0; i < v.size(); ++i) total += v[i];
  return total;
}

double corner(MatrixView<const double> m) { return m(m.rows() - 1, m.cols() - 1); }

}  // namespace

TEST_CASE("views: default ones are empty") {
  const VectorView<double> v;
  CHECK(v.empty());
  CHECK(v.size() == 0);
  CHECK(v.data() == nullptr);
  const MatrixView<double> m;
  CHECK(m.empty());
  CHECK(m.size() == 0);
  CHECK(m.contiguous());
}

TEST_CASE("views: vector stride, segment and constness") {
  std::vector<double> memory{0, 1, 2, 3, 4, 5, 6, 7, 8};
  const VectorView<double> every_second(memory.data(), 5, 2);
  CHECK(every_second[4] == 8);
  CHECK_FALSE(every_second.contiguous());
  const auto middle = every_second.segment(1, 3);
  CHECK(middle.size() == 3);
  CHECK(middle.stride() == 2);
  CHECK(middle[0] == 2);
  CHECK(middle[2] == 6);
  middle[1] = 40;
  CHECK(memory[4] == 40);
  const VectorView<const double> constant = middle;
  CHECK(constant[1] == 40);
  CHECK(constant.stride() == 2);
  CHECK(every_second.segment(5, 0).empty());
}

TEST_CASE("views: contiguous containers convert") {
  std::vector<double> vector{1, 2, 3};
  const std::vector<double> constant{4, 5};
  std::array<double, 2> array{6, 7};
  Buffer<double> buffer(3);
  buffer.fill(2);
  CHECK(sum(vector) == 6);
  CHECK(sum(constant) == 9);
  CHECK(sum(array) == 13);
  CHECK(sum(std::span<const double>(vector)) == 6);
  CHECK(sum(buffer) == 6);
  const VectorView<double> view = vector;
  view[0] = 10;
  CHECK(vector[0] == 10);
}

TEST_CASE("views: rows, columns and blocks of a matrix with padding") {
  std::vector<double> memory(4 * 7);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<double>(i);
  const MatrixView<double> m(memory.data(), 4, 5, 7);
  CHECK_FALSE(m.contiguous());
  CHECK(m.size() == 20);
  CHECK(m(2, 3) == 17);
  CHECK(m.row(3)[4] == 25);
  CHECK(m.row(3).contiguous());
  CHECK(m.col(2).stride() == 7);
  CHECK(m.col(2)[3] == 23);
  const auto rows = m.middle_rows(1, 2);
  CHECK(rows.rows() == 2);
  CHECK(rows(1, 4) == 18);
  const auto cols = m.middle_cols(3, 2);
  CHECK(cols.cols() == 2);
  CHECK(cols.stride() == 7);
  CHECK(cols(3, 1) == 25);
  CHECK_FALSE(cols.contiguous());
  CHECK(m.middle_rows(2, 1).contiguous());
  CHECK(m.middle_cols(5, 0).empty());
}

TEST_CASE("views: Eigen vectors convert with their stride") {
  Eigen::VectorXd column = Eigen::VectorXd::LinSpaced(5, 1, 5);
  CHECK(sum(column) == 15);
  const Eigen::RowVectorXd row = Eigen::RowVectorXd::LinSpaced(4, 0, 3);
  CHECK(sum(row) == 6);

  RowMajor<double> matrix(3, 4);
  for (Index i = 0; i < 12; ++i) matrix.data()[i] = static_cast<double>(i);
  auto second_column = matrix.col(1);
  const VectorView<double> view = second_column;
  CHECK(view.size() == 3);
  CHECK(view.stride() == 4);
  CHECK(view[2] == 9);
  auto last_row = matrix.row(2);
  const VectorView<double> row_view = last_row;
  CHECK(row_view.size() == 4);
  CHECK(row_view.stride() == 1);
  CHECK(row_view[3] == 11);
  row_view[3] = -1;
  CHECK(matrix(2, 3) == -1);

  const Eigen::Map<const Eigen::VectorXd, Eigen::Unaligned, Eigen::InnerStride<>> strided(
      matrix.data(), 4, Eigen::InnerStride<>(3));
  const VectorView<const double> from_map = strided;
  CHECK(from_map.stride() == 3);
  CHECK(from_map[3] == 9);
}

TEST_CASE("views: row-major Eigen matrices, maps and blocks convert without a copy") {
  RowMajor<double> matrix(3, 4);
  for (Index i = 0; i < 12; ++i) matrix.data()[i] = static_cast<double>(i);
  CHECK(corner(matrix) == 11);
  const MatrixView<double> whole = matrix;
  CHECK(whole.data() == matrix.data());
  CHECK(whole.rows() == 3);
  CHECK(whole.cols() == 4);

  auto block = matrix.block(1, 1, 2, 2);
  const MatrixView<double> part = block;
  CHECK(part.rows() == 2);
  CHECK(part.cols() == 2);
  CHECK(part.stride() == 4);
  CHECK(part(1, 1) == 10);
  part(0, 0) = 50;
  CHECK(matrix(1, 1) == 50);

  const Eigen::Map<const RowMajor<double>> map(matrix.data(), 4, 3);
  CHECK(corner(map) == 11);
  const Eigen::MatrixXd column_major = matrix.transpose();
  // The transpose of a column-major matrix is row-major.
  CHECK(corner(column_major.transpose()) == 11);
}

TEST_CASE("views: as_eigen maps a view with its strides") {
  std::vector<double> memory(4 * 7);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<double>(i);
  const MatrixView<double> m(memory.data(), 4, 5, 7);
  auto map = as_eigen(m);
  CHECK(map.rows() == 4);
  CHECK(map.cols() == 5);
  CHECK(map(3, 4) == 25);
  CHECK(map.outerStride() == 7);
  map(3, 4) = -3;
  CHECK(m(3, 4) == -3);
  m(3, 4) = 25;

  const MatrixView<const double> constant = m;
  CHECK(as_eigen(constant).sum() == doctest::Approx(as_eigen(m).sum()));
  static_assert(!std::is_assignable_v<decltype(as_eigen(constant)(0, 0)), double>);

  const auto column = as_eigen(m.col(2));
  CHECK(column.size() == 4);
  CHECK(column.sum() == 2 + 9 + 16 + 23);
  CHECK(as_eigen(m.row(1)).maxCoeff() == 11);

  // There and back again.
  const MatrixView<double> again = map;
  CHECK(again.data() == m.data());
  CHECK(again.stride() == m.stride());
}
