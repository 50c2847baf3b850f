#pragma once

// For tests of what runs on a device: emulated on the processor, or real where the unit is compiled by nvcc.

#include <eosin/core/context.hpp>
#include <eosin/core/cuda_context.cuh>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <type_traits>

namespace eosin::testing {

/// Runs `f` once on a device; where the device is emulated once per order of threads and blocks, since a result that
/// depends on it lacks a barrier.
template <class F>
void in_every_order(F&& f) {
#if defined(EOSIN_CUDA_EMULATION)
  using emulation::Order;
  for (const Order order : {Order::forward, Order::reverse, Order::shuffle}) {
#if defined(EMULATION_THREAD_SANITIZER)
    if (order != Order::forward) break;  // to it the threads have no order
#endif
    CAPTURE(static_cast<int>(order));
    emulation::options().threads = emulation::options().blocks = order;
    f();
  }
  emulation::options() = {};
#else
  f();
#endif
}

template <class T>
Vector<T> normal_vector(Index size, std::uint64_t seed) {
  const auto row = normal_matrix<T>(1, size, seed);
  Vector<T> out(size);
  std::copy_n(row.data(), size, out.data());
  return out;
}
template <class T>
double relative_difference(const Vector<T>& a, const Vector<T>& b) {
  REQUIRE(a.size() == b.size());
  Matrix<T> left(1, a.size()), right(1, b.size());
  std::copy_n(a.data(), a.size(), left.data());
  std::copy_n(b.data(), b.size(), right.data());
  return relative_difference(left, right);
}

/// Whether a case of so many products is run: the thread sanitizer takes a hundred times as long, and sees in a small grid
/// what it would see in a large one.
inline bool affordable([[maybe_unused]] Index products) {
#if defined(EMULATION_THREAD_SANITIZER)
  return products <= 5000;
#else
  return true;
#endif
}

/// What processor and device may differ by: sums are added in another order.
template <class T>
inline constexpr double agreement = std::is_same_v<T, float> ? 3e-6 : 1e-13;

}  // namespace eosin::testing
