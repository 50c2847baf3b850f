#pragma once

// The innermost part of a product L R of matrices that do not fit the cache, on one thread: tiles of 12 rows x 2
// registers (6 x 2 where a processor has 16 of them), whose sums stay in registers along the whole inner length.
//
//   panels of R   [inner x tile_cols], one after the other, without gaps; the columns past the end are 0
//   rows of L     read where they lie, one number at a time, or packed [inner x tile_rows], the rows past the end 0
//
// A panel of some 250 inner steps stays in the first-level cache while tiles of L go by; then a tile is 24 sums, 2
// loads and 12 broadcasts per 24 multiplications, and the processor is bound by these (Goto and van de Geijn 2008). The
// order of every sum is that of the inner index, so a result does not depend on how rows and columns are cut.

#include <eosin/core/view.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/ops/block_product.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

#if defined(__AVX512F__) || defined(__ARM_NEON)
inline constexpr Index panel_tile_rows = 12;
#else
inline constexpr Index panel_tile_rows = 6;
#endif
inline constexpr Index panel_tile_packs = 2;
template <class T>
inline constexpr Index panel_tile_cols = panel_tile_packs * math::Pack<T>::size;
/// Inner steps whose panel leaves room in the first-level cache.
inline constexpr Index panel_depth = 256;

/// A matrix with any distance between rows and columns: a view, or its transpose.
template <class T>
struct Strided {
  T* data;
  Index row, col;

  Strided at(Index r, Index c) const { return {data + r * row + c * col, row, col}; }
  Strided transposed() const { return {data, col, row}; }
};
template <class T>
Strided<T> strided(MatrixView<T> view) {
  return {view.data(), view.stride(), 1};
}

/// As many registers as one has lanes.
template <class T>
struct RegisterSquare {
  using Register = typename math::Pack<T>::Register;
  static constexpr Index size = math::Pack<T>::size;

  Register rows[size];

  EOSIN_ALWAYS_INLINE void load(Index row, const T* from) { std::memcpy(&rows[row], from, sizeof(Register)); }
  EOSIN_ALWAYS_INLINE void clear(Index row) { rows[row] = Register{}; }
  EOSIN_ALWAYS_INLINE void store(Index row, T* to) const { std::memcpy(to, &rows[row], sizeof(Register)); }
#if defined(__CUDACC__)
  void transpose() { static_assert(size == 1); }
#else
  EOSIN_ALWAYS_INLINE void transpose() { exchange_blocks<size / 2>(); }

 private:
  /// Of two rows whose distance is D, the ones that have their D x D blocks beside the diagonal exchanged.
  template <Index D, std::size_t... I>
  static EOSIN_ALWAYS_INLINE void exchange(Register& upper, Register& lower, std::index_sequence<I...>) {
    const Register first = upper, second = lower;
    upper = __builtin_shufflevector(first, second, ((I & D) != 0 ? size + (I ^ D) : I)...);
    lower = __builtin_shufflevector(first, second, ((I & D) != 0 ? size + I : (I ^ D))...);
  }
  template <Index D>
  EOSIN_ALWAYS_INLINE void exchange_blocks() {
    for (Index i = 0; i < size; ++i)
      if ((i & D) == 0) exchange<D>(rows[i], rows[i + D], std::make_index_sequence<size>());
    if constexpr (D > 1) exchange_blocks<D / 2>();
  }
#endif
};

/// Elements of the panels of `cols` columns and `inner` rows.
template <class T>
Index panels_size(Index inner, Index cols) {
  return rounded_up(cols, panel_tile_cols<T>) * inner;
}

/// Panels of a matrix [inner x cols] with distance 1 between its columns or its rows.
template <class T>
void pack_panels(Strided<const T> in, Index inner, Index cols, T* out) {
  constexpr Index size = math::Pack<T>::size, width = panel_tile_cols<T>;
  const Index full = cols / width * width;
  if (in.col == 1) {
    // Along the rows, as they lie in memory.
    for (Index k = 0; k < inner; ++k) {
      const T* from = in.data + k * in.row;
      T* to = out + k * width;
      for (Index j = 0; j < full; j += width) std::memcpy(to + j * inner, from + j, width * sizeof(T));
      if (full == cols) continue;
      to += full * inner;
      std::copy(from + full, from + cols, to);
      std::fill(to + (cols - full), to + width, T(0));
    }
    return;
  }
  for (Index j = 0; j < cols; j += width, out += inner * width) {
    const Index wide = std::min(width, cols - j);
    const T* from = in.data + j * in.col;
    Index k = 0;
    for (; k + size <= inner; k += size)
      for (Index part = 0; part < width; part += size) {
        RegisterSquare<T> square;
        for (Index i = 0; i < size; ++i) {
          if (part + i < wide) {
            square.load(i, from + (part + i) * in.col + k);
          } else {
            square.clear(i);
          }
        }
        square.transpose();
        for (Index i = 0; i < size; ++i) square.store(i, out + (k + i) * width + part);
      }
    for (; k < inner; ++k)
      for (Index i = 0; i < width; ++i) out[k * width + i] = i < wide ? from[i * in.col + k] : T(0);
  }
}

/// Elements of packed rows of L, with room for the last register that is stored.
template <class T>
Index tile_rows_size(Index inner, Index rows) {
  return rounded_up(rows, panel_tile_rows) * inner + math::Pack<T>::size;
}

/// Rows of a matrix [rows x inner] with distance 1 between its columns or its rows: [inner x panel_tile_rows], one
/// tile after the other.
template <class T>
void pack_tile_rows(Strided<const T> in, Index rows, Index inner, T* out) {
  constexpr Index size = math::Pack<T>::size;
  constexpr Index parts = (panel_tile_rows + size - 1) / size;
  for (Index i = 0; i < rows; i += panel_tile_rows, out += inner * panel_tile_rows) {
    const Index high = std::min(panel_tile_rows, rows - i);
    const T* from = in.data + i * in.row;
    Index k = 0;
    if (in.row == 1 && high == panel_tile_rows) {
      for (; k < inner; ++k) std::memcpy(out + k * panel_tile_rows, from + k * in.col, panel_tile_rows * sizeof(T));
    } else if (in.col == 1) {
      for (; k + size <= inner; k += size) {
        RegisterSquare<T> squares[parts];
        for (Index r = 0; r < parts * size; ++r) {
          if (r < high) {
            squares[r / size].load(r % size, from + r * in.row + k);
          } else {
            squares[r / size].clear(r % size);
          }
        }
        for (auto& square : squares) square.transpose();
        // In the order of memory: what a register holds too much is written over by the next.
        for (Index step = 0; step < size; ++step)
          for (Index part = 0; part < parts; ++part)
            squares[part].store(step, out + (k + step) * panel_tile_rows + part * size);
      }
    }
    for (; k < inner; ++k)
      for (Index r = 0; r < panel_tile_rows; ++r)
        out[k * panel_tile_rows + r] = r < high ? from[r * in.row + k * in.col] : T(0);
  }
}

/// The sums of a tile, row by row.
template <class T>
struct PanelTileSums {
  math::Pack<T> at[panel_tile_rows][panel_tile_packs];
};

template <bool Packed, class T, std::size_t... R>
EOSIN_ALWAYS_INLINE inline void panel_tile(Index inner, const T* left, Index stride, const T* panel,
                                           PanelTileSums<T>& out, std::index_sequence<R...>) {
  using Pack = math::Pack<T>;
  Pack sums[sizeof...(R)][panel_tile_packs];
  ((sums[R][0] = Pack(T(0)), sums[R][1] = Pack(T(0))), ...);
  for (Index k = 0; k < inner; ++k) {
    Pack first, second;
    std::memcpy(&first.lanes, panel, sizeof first.lanes);
    std::memcpy(&second.lanes, panel + Pack::size, sizeof second.lanes);
    const auto row = [&](auto r) EOSIN_ALWAYS_INLINE {
      const Pack value(left[Packed ? static_cast<Index>(r()) : static_cast<Index>(r()) * stride]);
      sums[r()][0] = math::multiply_add(value, first, sums[r()][0]);
      sums[r()][1] = math::multiply_add(value, second, sums[r()][1]);
    };
    (row(std::integral_constant<std::size_t, R>{}), ...);
    left += Packed ? panel_tile_rows : 1;
    panel += panel_tile_cols<T>;
  }
  ((out.at[R][0] = sums[R][0], out.at[R][1] = sums[R][1]), ...);
}

/// Sums of a tile whose rows of L lie `stride` apart.
template <class T>
void panel_tile_of_rows(Index inner, const T* left, Index stride, const T* panel, PanelTileSums<T>& sums) {
  panel_tile<false>(inner, left, stride, panel, sums, std::make_index_sequence<panel_tile_rows>());
}

/// Sums of a tile whose rows of L are packed.
template <class T>
void panel_tile_of_packed(Index inner, const T* left, const T* panel, PanelTileSums<T>& sums) {
  panel_tile<true>(inner, left, 0, panel, sums, std::make_index_sequence<panel_tile_rows>());
}

/// What happens to C: overwritten by the sums, added to, or alpha * sums + beta * C.
enum class TileStore { overwrite, add, scale };

template <TileStore Mode, class T, class Lanes>
EOSIN_ALWAYS_INLINE inline void store_lanes(math::Pack<T> sum, Lanes lanes, T alpha, T beta, T* to) {
  if constexpr (Mode == TileStore::overwrite) {
    lanes.store(to, sum);
  } else if constexpr (Mode == TileStore::add) {
    lanes.store(to, lanes.load(to) + sum);
  } else {
    const auto scaled = math::Pack<T>(alpha) * sum;
    lanes.store(to, beta == T(0) ? scaled : math::multiply_add(math::Pack<T>(beta), lanes.load(to), scaled));
  }
}

/// The sums [high x wide] of a tile into C, whose rows or columns have distance 1.
template <TileStore Mode, class T>
void store_tile_in_mode(const PanelTileSums<T>& sums, Index high, Index wide, T alpha, T beta, Strided<T> c) {
  using Pack = math::Pack<T>;
  constexpr Index size = Pack::size;
  const auto store = [&](Pack sum, Index count, T* to) EOSIN_ALWAYS_INLINE {
    if (count >= size) {
      store_lanes<Mode>(sum, math::FullLanes<T>{0}, alpha, beta, to);
    } else if (count > 0) {
      store_lanes<Mode>(sum, math::FirstLanes<T>{0, count}, alpha, beta, to);
    }
  };
  if (c.col == 1) {
    for (Index r = 0; r < high; ++r)
      for (Index part = 0; part < panel_tile_packs; ++part)
        store(sums.at[r][part], wide - part * size, c.data + r * c.row + part * size);
    return;
  }
  for (Index part = 0; part * size < wide; ++part)
    for (Index begin = 0; begin < high; begin += size) {
      RegisterSquare<T> square;
      for (Index r = 0; r < size; ++r) {
        if (begin + r < panel_tile_rows) {
          square.rows[r] = sums.at[begin + r][part].lanes;
        } else {
          square.clear(r);
        }
      }
      square.transpose();
      const Index cols = std::min(size, wide - part * size);
      for (Index i = 0; i < size; ++i)
        if (i < cols) store(Pack(square.rows[i]), high - begin, c.data + (part * size + i) * c.col + begin);
    }
}

/// C [high x wide] = alpha * sums + beta * C; rows or columns of C have distance 1. With beta = 0 C is not read.
template <class T>
void store_panel_tile(const PanelTileSums<T>& sums, Index high, Index wide, T alpha, T beta, Strided<T> c) {
  if (alpha == T(1) && beta == T(0)) {
    store_tile_in_mode<TileStore::overwrite>(sums, high, wide, alpha, beta, c);
  } else if (alpha == T(1) && beta == T(1)) {
    store_tile_in_mode<TileStore::add>(sums, high, wide, alpha, beta, c);
  } else {
    store_tile_in_mode<TileStore::scale>(sums, high, wide, alpha, beta, c);
  }
}

}  // namespace detail

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops
