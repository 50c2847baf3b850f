#pragma once

// Products of the layers of a mini-batch, C = alpha * op(A) op(B) + beta * C where one extent of the batch X is small and
// the weights W are large:
//
//   Y = X W^T     few rows of C:  the panels are X^T, made once; rows of W are read where they lie, C^T is computed
//   dX = dY W     few rows of C:  panels of W by straight copies, rows of dY where they lie
//   dW = dY^T X   short inner length:  panels of X and packed rows of dY^T, both made once
//
// A general product packs W in every call, with a transposition for X W^T, which few rows do not pay for. Here W is
// read once, in the order in which it lies in memory. Every element is the sum over the inner index in blocks of
// panel_depth, whatever the number of threads.

#include <eosin/core/context.hpp>
#include <eosin/ops/packed_product.hpp>

#include <algorithm>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Rows of a batch up to which its products are few-rows products.
inline constexpr Index few_rows = 256;
/// Products below this many multiplications are not worth their panels.
inline constexpr Index few_rows_operations = Index{1} << 17;

inline bool is_few_rows_product(Transpose ta, Transpose tb, Index rows, Index cols, Index inner) {
  if (rows * cols * inner < few_rows_operations || std::min({rows, cols, inner}) < 8) return false;
  if (ta == Transpose::no) return rows <= few_rows && cols >= 64 && inner >= 32;
  return tb == Transpose::no && inner <= few_rows && rows >= 48 && cols >= 64;
}

/// Calls f(begin, end) from tasks over [0, count): multiples of `unit`, some four tasks for each thread.
template <class F>
void for_each_share(CpuContext& context, Index count, Index unit, F&& f) {
  const Index units = (count + unit - 1) / unit;
  const Index wanted = std::min(units, 4 * static_cast<Index>(context.threads()));
  context.pool().run(wanted, [&](Index task, int) {
    const Index begin = units * task / wanted * unit, end = std::min(count, units * (task + 1) / wanted * unit);
    f(begin, end);
  });
}

/// Tiles of the rows of a matrix. They are read where they lie; rows a multiple of 4 KiB apart, which would fall into
/// one set of the cache, and the last rows, fewer than a tile, are packed.
template <class T>
class TileOfRows {
 public:
  /// Rows [row, row + high), columns [k, k + length), at most panel_depth of them.
  void set(MatrixView<const T> matrix, Index row, Index high, Index k, Index length) {
    length_ = length;
    packed_ = high < panel_tile_rows || matrix.stride() * static_cast<Index>(sizeof(T)) % 4096 == 0;
    rows_ = strided(matrix).at(row, k);
    if (packed_) pack_tile_rows<T>(rows_, high, length, scratch_);
  }
  void multiply(const T* panel, PanelTileSums<T>& sums) const {
    if (packed_) {
      panel_tile_of_packed<T>(length_, scratch_, panel, sums);
    } else {
      panel_tile_of_rows<T>(length_, rows_.data, rows_.row, panel, sums);
    }
  }

 private:
  Index length_ = 0;
  bool packed_ = false;
  Strided<const T> rows_{};
  T scratch_[panel_tile_rows * panel_depth + math::Pack<T>::size];
};

/// Y = X W^T by the columns of Y.
template <class T, class Epilogue>
void few_rows_forward(CpuContext& context, T alpha, MatrixView<const T> x, MatrixView<const T> w, T beta,
                      MatrixView<T> y, Epilogue&& epilogue) {
  const Index rows = x.rows(), inner = x.cols(), depth = depth_of(inner);
  const Index panels = (rows + panel_tile_cols<T> - 1) / panel_tile_cols<T>;
  const auto mark = context.workspace().mark();
  T* const packs = context.workspace().take<T>(panels_size<T>(inner, rows)).data();
  const Index blocks = (inner + depth - 1) / depth;
  const auto panel_at = [&](Index row, Index k, Index length) {
    return packs + k * panels * panel_tile_cols<T> + row * length;
  };
  context.pool().run(panels * blocks, [&](Index task, int) {
    const Index row = task / blocks * panel_tile_cols<T>, k = task % blocks * depth;
    const Index length = std::min(depth, inner - k);
    pack_panels<T>(strided(x).at(row, k).transposed(), length, std::min(panel_tile_cols<T>, rows - row),
                   panel_at(row, k, length));
  });
  for_each_share(context, w.rows(), panel_tile_rows, [&](Index begin, Index end) {
    TileOfRows<T> tile;
    for (Index k = 0; k < inner; k += depth) {
      const Index length = std::min(depth, inner - k);
      const T keep = k == 0 ? beta : T(1);
      for (Index i = begin; i < end; i += panel_tile_rows) {
        const Index high = std::min(panel_tile_rows, end - i);
        tile.set(w, i, high, k, length);
        for (Index row = 0; row < rows; row += panel_tile_cols<T>) {
          PanelTileSums<T> sums;
          tile.multiply(panel_at(row, k, length), sums);
          store_panel_tile<T>(sums, high, std::min(panel_tile_cols<T>, rows - row), alpha, keep,
                              strided(y).at(row, i).transposed());
        }
      }
    }
    epilogue(Index{0}, rows, begin, end - begin);
  });
}

/// dX = dY W by the columns of dX.
template <class T, class Epilogue>
void few_rows_input(CpuContext& context, T alpha, MatrixView<const T> dy, MatrixView<const T> w, T beta,
                    MatrixView<T> dx, Epilogue&& epilogue) {
  const Index rows = dy.rows(), inner = dy.cols(), depth = depth_of(inner);
  const auto mark = context.workspace().mark();
  T* const packs = context.workspace().take<T>(panels_size<T>(depth, w.cols())).data();
  for_each_share(context, w.cols(), panel_tile_cols<T>, [&](Index begin, Index end) {
    T* const own = packs + begin * depth;
    TileOfRows<T> tile;
    for (Index k = 0; k < inner; k += depth) {
      const Index length = std::min(depth, inner - k);
      const T keep = k == 0 ? beta : T(1);
      pack_panels<T>(strided(w).at(k, begin), length, end - begin, own);
      for (Index row = 0; row < rows; row += panel_tile_rows) {
        const Index high = std::min(panel_tile_rows, rows - row);
        tile.set(dy, row, high, k, length);
        for (Index col = begin; col < end; col += panel_tile_cols<T>) {
          PanelTileSums<T> sums;
          tile.multiply(own + (col - begin) * length, sums);
          store_panel_tile<T>(sums, high, std::min(panel_tile_cols<T>, end - col), alpha, keep,
                              strided(dx).at(row, col));
        }
      }
    }
    epilogue(Index{0}, rows, begin, end - begin);
  });
}

/// dW = dY^T X by the rows of dW.
template <class T>
void few_rows_weight(CpuContext& context, T alpha, MatrixView<const T> dy, MatrixView<const T> x, T beta,
                     MatrixView<T> dw) {
  const Index inner = dy.rows(), rows = dw.rows(), cols = dw.cols();
  const auto mark = context.workspace().mark();
  T* const packs = context.workspace().take<T>(panels_size<T>(inner, cols)).data();
  const Index panels = (cols + panel_tile_cols<T> - 1) / panel_tile_cols<T>;
  context.pool().run(panels, [&](Index panel, int) {
    const Index col = panel * panel_tile_cols<T>;
    pack_panels<T>(strided(x).at(0, col), inner, std::min(panel_tile_cols<T>, cols - col), packs + col * inner);
  });
  for_each_share(context, rows, panel_tile_rows, [&](Index begin, Index end) {
    constexpr Index together = 4;  // tiles for which a panel is read once
    T left[together * panel_tile_rows * few_rows + math::Pack<T>::size];
    for (; begin < end; begin += together * panel_tile_rows) {
      const Index high = std::min(together * panel_tile_rows, end - begin);
      pack_tile_rows<T>(strided(dy).at(0, begin).transposed(), high, inner, left);
      for (Index col = 0; col < cols; col += panel_tile_cols<T>)
        for (Index row = 0; row < high; row += panel_tile_rows) {
          PanelTileSums<T> sums;
          panel_tile_of_packed<T>(inner, left + row * inner, packs + col * inner, sums);
          store_panel_tile<T>(sums, std::min(panel_tile_rows, high - row), std::min(panel_tile_cols<T>, cols - col),
                              alpha, beta, strided(dw).at(begin + row, col));
        }
    }
  });
}

/// For shapes of which is_few_rows_product is true; the epilogue is that of gemm.
template <class T, class Epilogue>
void few_rows_product(CpuContext& context, Transpose ta, Transpose tb, T alpha, MatrixView<const T> a,
                      MatrixView<const T> b, T beta, MatrixView<T> c, Epilogue&& epilogue) {
  if (ta == Transpose::yes) {
    few_rows_weight<T>(context, alpha, a, b, beta, c);
    epilogue(Index{0}, c.rows(), Index{0}, c.cols());
  } else if (tb == Transpose::yes) {
    few_rows_forward<T>(context, alpha, a, b, beta, c, epilogue);
  } else {
    few_rows_input<T>(context, alpha, a, b, beta, c, epilogue);
  }
}

}  // namespace detail

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
