#pragma once

// ops::gemm against sums in long double, over shapes, transposes, factors, strides and misaligned starts.

#include <eosin/ops/gemm.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace eosin::testing {

struct GemmCase {
  Index m, n, k;
  Transpose ta = Transpose::no, tb = Transpose::no;
  double alpha = 1, beta = 0;
  Index gap = 0;     ///< elements between the rows
  Index offset = 0;  ///< elements before the first
};

/// Largest error of C in units of the bound eps * (|alpha| sum_i |a_i b_i| + |beta c|) of one rounding; infinity if
/// something beside C was written. In bf16 mode the reference rounds alpha A and B first.
template <class T>
double gemm_error(CpuContext& context, const GemmCase& g, bool rounds = false) {
  const Index a_rows = g.ta == Transpose::yes ? g.k : g.m, a_cols = g.ta == Transpose::yes ? g.m : g.k;
  const Index b_rows = g.tb == Transpose::yes ? g.n : g.k, b_cols = g.tb == Transpose::yes ? g.k : g.n;
  std::uint64_t seed = 0;
  const auto placed = [&](Index rows, Index cols) {
    return normal_matrix<T>(1, rows * (cols + g.gap) + g.offset, ++seed);
  };
  const auto view = [&](auto& memory, Index rows, Index cols) {
    return MatrixView(memory.data() + g.offset, rows, cols, cols + g.gap);
  };
  const auto a_memory = placed(a_rows, a_cols), b_memory = placed(b_rows, b_cols);
  auto c_memory = placed(g.m, g.n);
  const auto a = view(a_memory, a_rows, a_cols), b = view(b_memory, b_rows, b_cols);
  const auto c = view(c_memory, g.m, g.n);
  const T alpha = static_cast<T>(g.alpha), beta = static_cast<T>(g.beta);
  if (beta == T(0))  // old contents must not be read
    for (Index r = 0; r < g.m; ++r)
      for (Index q = 0; q < g.n; ++q) c(r, q) = std::numeric_limits<T>::quiet_NaN();
  const auto before = c_memory;
  const auto old = view(before, g.m, g.n);

  ops::gemm<T>(context, g.ta, g.tb, alpha, a, b, beta, c);

  const auto rounded = [&](T value) {
    if (!rounds) return static_cast<long double>(value);
    return static_cast<long double>(static_cast<float>(BFloat16(static_cast<float>(value))));
  };
  double worst = 0;
  for (Index r = 0; r < g.m; ++r)
    for (Index q = 0; q < g.n; ++q) {
      long double sum = 0, size = 0;
      for (Index i = 0; i < g.k; ++i) {
        const T left = g.ta == Transpose::yes ? a(i, r) : a(r, i), right = g.tb == Transpose::yes ? b(q, i) : b(i, q);
        const long double term = rounds ? rounded(alpha * left) * rounded(right)
                                        : static_cast<long double>(alpha) * left * static_cast<long double>(right);
        sum += term;
        size += std::abs(term);
      }
      if (beta != T(0)) {
        const long double term = static_cast<long double>(beta) * old(r, q);
        sum += term;
        size += std::abs(term);
      }
      const long double error = std::abs(static_cast<long double>(c(r, q)) - sum);
      if (std::isnan(error)) return std::numeric_limits<double>::infinity();
      if (size > 0) {
        worst = std::max(worst, static_cast<double>(error / (size * std::numeric_limits<T>::epsilon())));
      } else if (error > 0) {
        return std::numeric_limits<double>::infinity();
      }
    }
  // What lies before C and between its rows.
  for (Index i = 0; i < c_memory.size(); ++i) {
    const Index at = i - g.offset;
    if (at >= 0 && at % std::max<Index>(1, g.n + g.gap) < g.n) continue;
    if (c_memory.data()[i] != before.data()[i]) return std::numeric_limits<double>::infinity();
  }
  return worst;
}

/// The cases that every way to compute a product must pass.
template <class T>
void check_gemm(CpuContext& context, const std::vector<Index>& extents, bool rounds = false) {
  for (const Index m : extents)
    for (const Index n : extents)
      for (const Index k : extents)
        for (const bool ta : {false, true})
          for (const bool tb : {false, true})
            for (const int form : {0, 1, 2}) {
              const GemmCase g{m, n, k, Transpose{ta}, Transpose{tb}, form == 0 ? 1.0 : form == 1 ? -0.5 : 3.0,
                               form == 0 ? 0.0 : form == 1 ? 1.0 : 0.25, 3 * form, form};
              CAPTURE(m);
              CAPTURE(n);
              CAPTURE(k);
              CAPTURE(ta);
              CAPTURE(tb);
              CAPTURE(form);
              REQUIRE(gemm_error<T>(context, g, rounds) <= static_cast<double>(k + 3));
            }
}

}  // namespace eosin::testing
