#pragma once

// C = alpha * op(A) op(B) + beta * C for row-major matrices; op is the identity or the transpose.
//
// C is cut into tiles of fixed size, one task each, so the result does not depend on the number of threads. A tile is
// computed by the context's backend; without one by the library's own product (packed_product.hpp), products of
// mini-batches with large weights by a form of their own (few_rows_product.hpp). In bf16 mode the operands are rounded
// once, before tiling; without a bf16 product in the backend the rounded operands are multiplied in float: the same
// numbers up to the order of summation, without the speed.
//
// What follows a product elementwise can be handed in as an epilogue, which takes each tile while it is in the cache.

#include <eosin/core/context.hpp>
#include <eosin/ops/few_rows_product.hpp>
#include <eosin/ops/packed_product.hpp>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Rows and columns of op(A), and its rows [begin, begin + count).
template <class T>
Index op_rows(Transpose t, MatrixView<const T> a) {
  return t == Transpose::yes ? a.cols() : a.rows();
}
template <class T>
Index op_cols(Transpose t, MatrixView<const T> a) {
  return t == Transpose::yes ? a.rows() : a.cols();
}
template <class T>
MatrixView<const T> op_middle_rows(Transpose t, MatrixView<const T> a, Index begin, Index count) {
  return t == Transpose::yes ? a.middle_cols(begin, count) : a.middle_rows(begin, count);
}
template <class T>
MatrixView<const T> op_middle_cols(Transpose t, MatrixView<const T> a, Index begin, Index count) {
  return t == Transpose::yes ? a.middle_rows(begin, count) : a.middle_cols(begin, count);
}

/// The rows of tiles start at multiples of this.
inline constexpr Index tile_grid = 64;

/// `extent` cut into equal parts of at most about `wanted`, a multiple of `grid`.
inline Index tile_edge(Index extent, Index wanted, Index grid = tile_grid) {
  if (extent <= wanted) return extent;
  const Index tiles = (extent + wanted - 1) / wanted;
  const Index edge = (extent + tiles - 1) / tiles;
  return (edge + grid - 1) / grid * grid;
}

/// Rows and columns of a tile of C.
struct TileShape {
  Index high, wide;
};

/// Tiles large enough that packing the operands of a tile costs little beside its product, small enough that a dozen
/// cores find work, and rather wide than high, since rows are contiguous in memory. A small product, the layers of a
/// mini-batch, gets some eight tiles of equal work: with few large ones threads would wait for the last. A function of
/// the shapes alone.
inline TileShape tile_shape(Index rows, Index cols, Index inner) {
  constexpr Index small = Index{1} << 28;
  if (rows * cols * inner <= small) {
    if (rows < 512) return {tile_edge(rows, 256), tile_edge(cols, std::clamp(cols / 4, Index{128}, Index{256}), 16)};
    return {tile_edge(rows, std::clamp(rows / 4, Index{256}, Index{512})),
            tile_edge(cols, std::clamp(cols / 2, Index{256}, Index{512}), 16)};
  }
  const Index wide = tile_edge(cols, rows >= 256 ? 1024 : 512);
  const bool large = rows * cols >= (Index{1} << 21);
  return {tile_edge(rows, large ? 1024 : std::min(Index{512}, (Index{1} << 18) / wide)), wide};
}

template <class T, class Product>
void for_each_tile(CpuContext& context, MatrixView<T> c, Index inner, Product&& product) {
  const TileShape tile = tile_shape(c.rows(), c.cols(), inner);
  const Index tiles_down = (c.rows() + tile.high - 1) / tile.high;
  const Index tiles_across = (c.cols() + tile.wide - 1) / tile.wide;
  context.pool().run(tiles_down * tiles_across, [&](Index task, int) {
    const Index row = task / tiles_across * tile.high;
    const Index col = task % tiles_across * tile.wide;
    product(row, std::min(tile.high, c.rows() - row), col, std::min(tile.wide, c.cols() - col));
  });
}

inline MatrixView<const BFloat16> rounded_to_bfloat16(CpuContext& context, MatrixView<const float> a, float scale) {
  auto out = context.workspace().take<BFloat16>(a.rows(), a.cols());
  context.parallel_for(a.rows(), 64, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const float* in = a.row(r).data();
      BFloat16* to = out.row(r).data();
      for (Index c = 0; c < a.cols(); ++c) to[c] = BFloat16(scale * in[c]);
    }
  });
  return out;
}

inline MatrixView<const float> widened(CpuContext& context, MatrixView<const BFloat16> a) {
  auto out = context.workspace().take<float>(a.rows(), a.cols());
  context.parallel_for(a.rows(), 64, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r)
      for (Index c = 0; c < a.cols(); ++c) out(r, c) = static_cast<float>(a(r, c));
  });
  return out;
}

/// Products so small that handing them to threads and libraries costs more than they do.
inline constexpr Index tiny_product = 4096;

template <class T, class Epilogue>
void gemm_tiled(CpuContext& context, Transpose ta, Transpose tb, T alpha, MatrixView<const T> a, MatrixView<const T> b,
                T beta, MatrixView<T> c, Epilogue&& epilogue) {
  const GemmBackend* backend = context.gemm_backend();
  const Index inner = op_cols(ta, a);
  if (backend == nullptr && is_few_rows_product(ta, tb, c.rows(), c.cols(), inner)) {
    few_rows_product<T>(context, ta, tb, alpha, a, b, beta, c, epilogue);
    return;
  }
  if (c.size() * inner <= tiny_product) backend = nullptr;
  for_each_tile(context, c, inner, [&](Index row, Index rows, Index col, Index cols) {
    const auto tile = c.middle_rows(row, rows).middle_cols(col, cols);
    const auto left = op_middle_rows(ta, a, row, rows);
    const auto right = op_middle_cols(tb, b, col, cols);
    if (backend == nullptr) {
      packed_product<T>(ta, tb, alpha, left, right, beta, tile);
    } else {
      backend->gemm(ta, tb, alpha, left, right, beta, tile);
    }
    epilogue(row, rows, col, cols);
  });
}

}  // namespace detail

/// C [m x n] = alpha * op(A) [m x k] op(B) [k x n] + beta * C. C must not overlap A or B; with beta = 0 its old
/// contents are not read. Throws ShapeError. 2 m n k operations; in bf16 mode 2 (m k + k n) bytes of workspace.
/// `epilogue(row, rows, col, cols)` is called once for each tile of C after it was computed, by the same thread, tiles
/// in any order; it may change that tile. Tiles start at rows that are multiples of tile_grid; how C is cut is open.
template <class T, class Epilogue>
requires std::invocable<Epilogue&, Index, Index, Index, Index>
void gemm(CpuContext& context, Transpose ta, Transpose tb, std::type_identity_t<T> alpha,
          MatrixView<const std::type_identity_t<T>> a, MatrixView<const std::type_identity_t<T>> b,
          std::type_identity_t<T> beta, MatrixView<T> c, Epilogue&& epilogue) {
  const Index inner = detail::op_cols<T>(ta, a);
  require_size("gemm", "op(B)", "rows", detail::op_rows<T>(tb, b), inner, "columns of op(A)");
  require_size("gemm", "C", "rows", c.rows(), detail::op_rows<T>(ta, a), "rows of op(A)");
  require_size("gemm", "C", "columns", c.cols(), detail::op_cols<T>(tb, b), "columns of op(B)");
  if (c.empty()) return;
  if constexpr (std::is_same_v<T, float>) {
    if (context.math_mode() == MathMode::bf16 && inner > 0) {
      const auto mark = context.workspace().mark();
      const auto a16 = detail::rounded_to_bfloat16(context, a, alpha);
      const auto b16 = detail::rounded_to_bfloat16(context, b, 1.0f);
      const GemmBackend* backend = context.gemm_backend();
      std::atomic<bool> done = backend != nullptr && (beta == 0.0f || beta == 1.0f);
      if (done.load()) {
        detail::for_each_tile(context, c, inner, [&](Index row, Index rows, Index col, Index cols) {
          if (!backend->gemm(ta, tb, detail::op_middle_rows(ta, a16, row, rows),
                             detail::op_middle_cols(tb, b16, col, cols), beta,
                             c.middle_rows(row, rows).middle_cols(col, cols))) {
            done.store(false);
          } else {
            epilogue(row, rows, col, cols);
          }
        });
      }
      if (!done.load())
        detail::gemm_tiled<float>(context, ta, tb, 1.0f, detail::widened(context, a16), detail::widened(context, b16),
                                  beta, c, epilogue);
      return;
    }
  }
  detail::gemm_tiled<T>(context, ta, tb, alpha, a, b, beta, c, epilogue);
}

/// The same without an epilogue.
template <class T>
void gemm(CpuContext& context, Transpose ta, Transpose tb, std::type_identity_t<T> alpha,
          MatrixView<const std::type_identity_t<T>> a, MatrixView<const std::type_identity_t<T>> b,
          std::type_identity_t<T> beta, MatrixView<T> c) {
  gemm<T>(context, ta, tb, alpha, a, b, beta, c, [](Index, Index, Index, Index) {});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/gemm.cuh>
#endif
