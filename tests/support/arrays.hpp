#pragma once

// Matrices to test with, and comparisons of views.

#include <eosin/core/buffer.hpp>
#include <eosin/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace eosin::testing {

template <class T>
Matrix<T> normal_matrix(Index rows, Index cols, std::uint64_t seed, double deviation = 1, double mean = 0) {
  Matrix<T> m(rows, cols);
  const Philox random(seed);
  for (Index i = 0; i < m.size(); ++i)
    m.data()[i] = static_cast<T>(mean + deviation * random.normal(static_cast<std::uint64_t>(i)));
  return m;
}

/// Rows of positive numbers that sum to one.
template <class T>
Matrix<T> composition_matrix(Index rows, Index cols, std::uint64_t seed) {
  Matrix<T> m(rows, cols);
  const Philox random(seed);
  for (Index r = 0; r < rows; ++r) {
    double total = 0;
    const auto at = [&](Index c) { return std::exp(random.normal(static_cast<std::uint64_t>(r * cols + c))); };
    for (Index c = 0; c < cols; ++c) total += at(c);
    for (Index c = 0; c < cols; ++c) m(r, c) = static_cast<T>(at(c) / total);
  }
  return m;
}

template <class To, class From>
Matrix<To> converted(const Matrix<From>& from) {
  Matrix<To> to(from.rows(), from.cols());
  for (Index i = 0; i < from.size(); ++i) to.data()[i] = static_cast<To>(from.data()[i]);
  return to;
}

template <class T>
Matrix<T> copy_of(MatrixView<const T> from) {
  Matrix<T> to(from.rows(), from.cols());
  for (Index r = 0; r < from.rows(); ++r)
    for (Index c = 0; c < from.cols(); ++c) to(r, c) = from(r, c);
  return to;
}

/// max |a - b| / max |b|; the largest |a| where b is zero. NaN if an element is.
template <class A, class B>
double relative_difference(const Matrix<A>& a, const Matrix<B>& b) {
  double difference = 0, scale = 0;
  for (Index i = 0; i < b.size(); ++i) {
    const double d = std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]));
    if (std::isnan(d)) return d;
    difference = std::max(difference, d);
    scale = std::max(scale, std::abs(static_cast<double>(b.data()[i])));
  }
  return scale > 0 ? difference / scale : difference;
}

/// sum of a * b, for losses that are linear in an output.
inline double inner_product(MatrixView<const double> a, MatrixView<const double> b) {
  double sum = 0;
  for (Index r = 0; r < a.rows(); ++r)
    for (Index c = 0; c < a.cols(); ++c) sum += a(r, c) * b(r, c);
  return sum;
}

template <class T>
bool same_bits(VectorView<T> a, std::type_identity_t<VectorView<T>> b) {
  if (a.size() != b.size()) return false;
  for (Index i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  return true;
}
template <class T>
bool same_bits(const Matrix<T>& a, const Matrix<T>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && same_bits(a.flat(), b.flat());
}

}  // namespace eosin::testing
