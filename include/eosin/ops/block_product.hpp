#pragma once

// Products of matrices that lie in the cache, on one thread: C = op(A) B, or C += op(A) B, for the blocks of an
// operation that is itself cut into tasks (attention). Operands are dense row-major blocks made for this: columns of B
// and C padded to a multiple of block_columns<T>, rows of C to a multiple of block_rows. What stands in the padding of
// the operands ends in the padding of C alone.
//
// C is computed in tiles of 6 rows x 4 registers (x 2 where a processor has 16 of them), whose sums stay in registers
// along the whole inner length; the order of every sum is that of the inner index. A row of a tile reads one number of
// A and broadcasts it. With AVX-512 a tile is 24 sums, 4 loads and 6 broadcasts per 24 multiplications, which comes
// close to the peak from the second-level cache; 8 x 2 lost a quarter to the loads.

#include <eosin/math/pack.hpp>

#include <type_traits>
#include <utility>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Rows and registers of a tile, and rows of the tiles at the end.
inline constexpr Index register_rows = 6;
#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr Index tile_packs = 4;
#else
inline constexpr Index tile_packs = 2;
#endif
inline constexpr Index block_rows = 2;

/// Columns of blocks are a multiple of this, which is a multiple of block_rows: a block may stand transposed.
template <class T>
inline constexpr Index block_columns = math::Pack<T>::size;

inline Index rounded_up(Index count, Index unit) {
  return (count + unit - 1) / unit * unit;
}

/// Where a block starts and how far apart its rows are.
template <class T>
struct Block {
  T* data;
  Index stride;

  Block at(Index row, Index col) const { return {data + row * stride + col, stride}; }
};

/// One tile of C: rows R..., registers C....
template <bool TransposeA, bool Add, class T, std::size_t... R, std::size_t... C>
inline void product_tile(Index inner, Block<const T> a, Block<const T> b, Block<T> c, std::index_sequence<R...>,
                         std::index_sequence<C...>) {
  using Pack = math::Pack<T>;
  constexpr std::size_t packs = sizeof...(C);
  Pack sums[sizeof...(R) * packs];
  const auto each = [&](auto&& body) EOSIN_ALWAYS_INLINE {
    const auto row = [&](auto r) EOSIN_ALWAYS_INLINE { (body(r, std::integral_constant<std::size_t, C>{}), ...); };
    (row(std::integral_constant<std::size_t, R>{}), ...);
  };
  const auto lanes = [](std::size_t pack)
                         EOSIN_ALWAYS_INLINE { return math::FullLanes<T>{static_cast<Index>(pack) * Pack::size}; };
  each([&](auto r, auto k) EOSIN_ALWAYS_INLINE {
    if constexpr (Add) {
      sums[r * packs + k] = lanes(k).load(c.data + static_cast<Index>(r()) * c.stride);
    } else {
      sums[r * packs + k] = Pack(T(0));
    }
  });
  const T* left = a.data;
  const T* right = b.data;
  for (Index i = 0; i < inner; ++i) {
    const Pack factors[packs] = {lanes(C).load(right)...};
    const auto row = [&](auto r) EOSIN_ALWAYS_INLINE {
      const Pack value(TransposeA ? left[r()] : left[static_cast<Index>(r()) * a.stride]);
      ((sums[r * packs + C] = math::multiply_add(value, factors[C], sums[r * packs + C])), ...);
    };
    (row(std::integral_constant<std::size_t, R>{}), ...);
    left += TransposeA ? a.stride : 1;
    right += b.stride;
  }
  each([&](auto r, auto k)
           EOSIN_ALWAYS_INLINE { lanes(k).store(c.data + static_cast<Index>(r()) * c.stride, sums[r * packs + k]); });
}

template <bool TransposeA, bool Add, Index Packs, class T>
void product_columns(Index rows, Index inner, Block<const T> a, Block<const T> b, Block<T> c) {
  const auto tile = [&](Index row, auto height) EOSIN_ALWAYS_INLINE {
    product_tile<TransposeA, Add>(inner, TransposeA ? a.at(0, row) : a.at(row, 0), b, c.at(row, 0), height,
                                  std::make_index_sequence<Packs>());
  };
  Index row = 0;
  for (; row + register_rows <= rows; row += register_rows) tile(row, std::make_index_sequence<register_rows>());
  for (; row < rows; row += block_rows) tile(row, std::make_index_sequence<block_rows>());
}

/// C [rows x cols] = op(A) [rows x inner] B [inner x cols], added to C where Add. rows is a multiple of block_rows,
/// cols of block_columns<T>.
template <bool TransposeA, bool Add, class T>
void block_product(Index rows, Index cols, Index inner, Block<const T> a, Block<const T> b, Block<T> c) {
  constexpr Index width = math::Pack<T>::size;
  Index col = 0;
  for (; col + tile_packs * width <= cols; col += tile_packs * width)
    product_columns<TransposeA, Add, tile_packs>(rows, inner, a, b.at(0, col), c.at(0, col));
  for (; col < cols; col += width) product_columns<TransposeA, Add, 1>(rows, inner, a, b.at(0, col), c.at(0, col));
}

}  // namespace detail

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
