#pragma once

// The library's own product of two matrices, on one thread: C = alpha * op(A) op(B) + beta * C.
//
// Blocks of panel_depth inner steps, of up to 1,024 columns and 240 rows, are packed as panel_product.hpp wants them: a
// panel of op(B) stays in the first-level cache while the packed rows of op(A) go by from the second (Goto and van de
// Geijn 2008). Where C is so low that most of a tile would be empty, C^T = op(B)^T op(A)^T is computed instead. Every
// element is the sum over the inner index in blocks of panel_depth, however C is cut.

#include <eosin/core/buffer.hpp>
#include <eosin/core/gemm_backend.hpp>
#include <eosin/ops/panel_product.hpp>

#include <algorithm>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Rows and columns of the blocks that are packed at a time.
inline constexpr Index packed_rows = 240;
inline constexpr Index packed_cols = 1024;

/// Length of each of the equal blocks of at most panel_depth into which the inner length is cut.
inline Index depth_of(Index inner) {
  const Index blocks = std::max<Index>(1, (inner + panel_depth - 1) / panel_depth);
  return (inner + blocks - 1) / blocks;
}

/// C = beta * C; with beta = 0 its old contents are not read.
template <class T>
void scale(Strided<T> c, Index rows, Index cols, T beta) {
  for (Index r = 0; r < rows; ++r)
    for (Index k = 0; k < cols; ++k) {
      T& value = *c.at(r, k).data;
      value = beta == T(0) ? T(0) : beta * value;
    }
}

template <class T>
void packed_product(Index rows, Index cols, Index inner, T alpha, Strided<const T> a, Strided<const T> b, T beta,
                    Strided<T> c) {
  if (rows == 0 || cols == 0) return;
  if (inner == 0) return scale(c, rows, cols, beta);
  const Index depth = depth_of(inner);
  const Index most_rows = std::min(rows, packed_rows), most_cols = std::min(cols, packed_cols);
  // Of bounded size, kept for the next product of this thread.
  thread_local Buffer<T> scratch;
  const Index size = panels_size<T>(depth, most_cols) + tile_rows_size<T>(depth, most_rows);
  if (scratch.size() < size) scratch = Buffer<T>(size);
  T* const panels = scratch.data();
  T* const tiles = panels + panels_size<T>(depth, most_cols);
  for (Index col = 0; col < cols; col += most_cols) {
    const Index wide = std::min(most_cols, cols - col);
    for (Index k = 0; k < inner; k += depth) {
      const Index length = std::min(depth, inner - k);
      const T keep = k == 0 ? beta : T(1);
      pack_panels<T>(b.at(k, col), length, wide, panels);
      for (Index row = 0; row < rows; row += most_rows) {
        const Index high = std::min(most_rows, rows - row);
        pack_tile_rows<T>(a.at(row, k), high, length, tiles);
        for (Index j = 0; j < wide; j += panel_tile_cols<T>)
          for (Index i = 0; i < high; i += panel_tile_rows) {
            PanelTileSums<T> sums;
            panel_tile_of_packed<T>(length, tiles + i * length, panels + j * length, sums);
            store_panel_tile<T>(sums, std::min(panel_tile_rows, high - i), std::min(panel_tile_cols<T>, wide - j),
                                alpha, keep, c.at(row + i, col + j));
          }
      }
    }
  }
}

/// C [m x n] = alpha * op(A) op(B) + beta * C on the calling thread; shapes fit, C overlaps neither A nor B.
template <class T>
void packed_product(Transpose ta, Transpose tb, std::type_identity_t<T> alpha,
                    MatrixView<const std::type_identity_t<T>> a, MatrixView<const std::type_identity_t<T>> b,
                    std::type_identity_t<T> beta, MatrixView<T> c) {
  const Index rows = c.rows(), cols = c.cols(), inner = ta == Transpose::yes ? a.rows() : a.cols();
  const auto left = ta == Transpose::yes ? strided(a).transposed() : strided(a);
  const auto right = tb == Transpose::yes ? strided(b).transposed() : strided(b);
  const auto padded = [](Index high, Index wide) {
    return rounded_up(high, panel_tile_rows) * rounded_up(wide, panel_tile_cols<T>);
  };
  if (padded(rows, cols) <= padded(cols, rows)) {
    packed_product<T>(rows, cols, inner, alpha, left, right, beta, strided(c));
  } else {
    packed_product<T>(cols, rows, inner, alpha, right.transposed(), left.transposed(), beta, strided(c).transposed());
  }
}

}  // namespace detail

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
