#include <eosin/core/buffer.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <utility>

using namespace eosin;

namespace {

template <class T>
bool aligned(const T* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

}  // namespace

TEST_CASE_TEMPLATE("buffer: aligned and zero-initialised", T, float, double, std::int32_t, std::uint8_t) {
  for (const Index size : {1, 3, 64, 1001}) {
    Buffer<T> buffer(size);
    CHECK(buffer.size() == size);
    CHECK_FALSE(buffer.empty());
    CHECK(aligned(buffer.data()));
    for (const T value : buffer) CHECK(value == T(0));
    buffer.fill(T(7));
    CHECK(buffer[0] == T(7));
    CHECK(buffer[size - 1] == T(7));
  }
}

TEST_CASE("buffer: empty") {
  const Buffer<double> none;
  CHECK(none.empty());
  CHECK(none.data() == nullptr);
  const Buffer<double> zero(0);
  CHECK(zero.empty());
  const Buffer<double> copy = zero;
  CHECK(copy.empty());
  for ([[maybe_unused]] const double value : zero) FAIL("an empty buffer has no elements");
}

TEST_CASE("buffer: copies are deep, moves leave an empty one") {
  Buffer<double> a(3);
  for (Index i = 0; i < 3; ++i) a[i] = static_cast<double>(i);
  Buffer<double> b = a;
  CHECK(b.data() != a.data());
  b[1] = 10;
  CHECK(a[1] == 1);

  const double* memory = b.data();
  Buffer<double> c = std::move(b);
  CHECK(c.data() == memory);
  CHECK(c.size() == 3);
  CHECK(b.empty());
  CHECK(b.data() == nullptr);

  a = c;
  CHECK(a[1] == 10);
  CHECK(a.data() != c.data());
  a = std::move(c);
  CHECK(a.data() == memory);
  auto& alias = a;
  a = alias;
  CHECK(a.size() == 3);
  CHECK(a[1] == 10);
}

TEST_CASE("buffer: sizes out of range are errors, not allocations") {
  CHECK_THROWS_AS(Buffer<double>(-1), ValueError);
  CHECK_THROWS_AS(Buffer<double>(std::numeric_limits<Index>::max()), ValueError);
  CHECK_THROWS_AS(Buffer<double>(std::numeric_limits<Index>::max() / 8 + 1), ValueError);
}

TEST_CASE("vector: view and iteration") {
  Vector<double> v(4);
  v.fill(2);
  v[3] = 5;
  const auto view = v.view();
  CHECK(view.data() == v.data());
  CHECK(view.size() == 4);
  CHECK(view[3] == 5);
  const Vector<double>& constant = v;
  static_assert(std::is_same_v<decltype(constant.view()), VectorView<const double>>);
  const VectorView<const double> implicit = constant;
  CHECK(implicit.data() == v.data());
  double total = 0;
  for (const double value : constant) total += value;
  CHECK(total == 11);
  CHECK(Vector<double>().empty());
  CHECK_THROWS_AS(Vector<double>(-2), ValueError);
}

TEST_CASE("matrix: row-major layout, rows, columns, flat") {
  Matrix<double> m(2, 3);
  CHECK(m.rows() == 2);
  CHECK(m.cols() == 3);
  CHECK(m.size() == 6);
  CHECK(aligned(m.data()));
  for (Index i = 0; i < 6; ++i) m.data()[i] = static_cast<double>(i);
  CHECK(m(1, 2) == 5);
  CHECK(m.row(1)[0] == 3);
  CHECK(m.col(2)[1] == 5);
  CHECK(m.col(2).stride() == 3);
  CHECK(m.flat().size() == 6);
  CHECK(m.view().contiguous());
  const Matrix<double>& constant = m;
  const MatrixView<const double> view = constant;
  CHECK(view(1, 1) == 4);
  CHECK(constant.row(0)[2] == 2);
  CHECK(constant.flat()[4] == 4);

  Matrix<double> copy = m;
  copy(0, 0) = 9;
  CHECK(m(0, 0) == 0);
  Matrix<double> moved = std::move(copy);
  CHECK(moved(0, 0) == 9);
}

TEST_CASE("matrix: shapes without elements keep their extents") {
  const Matrix<float> no_rows(0, 5);
  CHECK(no_rows.empty());
  CHECK(no_rows.rows() == 0);
  CHECK(no_rows.cols() == 5);
  const Matrix<float> no_cols(5, 0);
  CHECK(no_cols.empty());
  CHECK(no_cols.rows() == 5);
}

TEST_CASE("matrix: shapes out of range are errors") {
  CHECK_THROWS_AS(Matrix<double>(-1, 3), ValueError);
  CHECK_THROWS_AS(Matrix<double>(3, -1), ValueError);
  CHECK_THROWS_AS(Matrix<double>(Index{1} << 40, Index{1} << 40), ValueError);
  CHECK_THROWS_WITH_AS(Matrix<double>(-1, 3), "Matrix: shape [-1 x 3] is out of range", ValueError);
}
