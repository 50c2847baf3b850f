#pragma once

// The k keys of largest cosine similarity to each query, exactly:
//
//   similarity = unit(query) . unit(key),   unit(x) = x / max(|x|, 1e-12)
//
// sorted by falling similarity, equal ones by rising index of the key.
//
// Keys go by in panels, queries in tiles of rows (ops/panel_product.hpp). The similarities of a panel to a tile never
// leave the registers: what exceeds a query's threshold (the k-th largest similarity when it was last sorted out) joins
// its list of candidates, and a full list is cut down to the k best, which raises the threshold. 2 m q d operations and
// 4 m d bytes of reading per 2,048 queries; lists of at most 64 MiB (or of 64 queries). Products are the library's own,
// whatever the context's backend and math mode. Results do not depend on the number of threads.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/ops/panel_product.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::retrieval {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Keys between two meetings of the threads, and tiles of queries for which a panel of keys is read once.
inline constexpr Index key_chunk = 4096;
inline constexpr Index query_tiles = 4;
inline constexpr Index list_bytes = Index{1} << 26;

/// Bit i is lane i of the mask.
template <class T>
EOSIN_ALWAYS_INLINE inline std::uint32_t lane_bits(math::PackMask<T> mask) {
#if defined(__CUDACC__)
  return math::any(mask) ? 1u : 0u;  // of the one number of a pack there
#elif defined(__AVX512F__)
  const auto lanes = reinterpret_cast<__m512i>(mask.lanes);
  if constexpr (sizeof(T) == 4) return _mm512_test_epi32_mask(lanes, lanes);
  return _mm512_test_epi64_mask(lanes, lanes);
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (sizeof(T) == 4)
    return static_cast<std::uint32_t>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask.lanes)));
  return static_cast<std::uint32_t>(_mm256_movemask_pd(reinterpret_cast<__m256d>(mask.lanes)));
#else
  std::uint32_t bits = 0;
  for (Index i = 0; i < math::Pack<T>::size; ++i) bits |= mask.lanes[i] != 0 ? 1u << i : 0u;
  return bits;
#endif
}

template <class T>
struct Candidate {
  T similarity;
  std::int32_t key;

  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.similarity > b.similarity || (a.similarity == b.similarity && a.key < b.key);
  }
};

/// The best candidates of one query so far, unsorted. Keys must be offered in ascending order: then one that equals
/// the threshold can be left out.
template <class T>
class CandidateList {
 public:
  CandidateList(Candidate<T>* memory, Index k, Index capacity, T* threshold, Index* size)
      : list_(memory), k_(k), capacity_(capacity), threshold_(threshold), size_(size) {}

  /// Offers the first `count` keys of a panel, which are numbered from `first` on.
  void offer(const math::Pack<T> (&similarity)[ops::detail::panel_tile_packs], Index count, Index first) {
    constexpr Index size = math::Pack<T>::size;
    for (Index part = 0; part < ops::detail::panel_tile_packs; ++part) {
      std::uint32_t bits = lane_bits(similarity[part] > math::Pack<T>(*threshold_));
      if (bits == 0) continue;
      const Index wanted = count - part * size;
      if (wanted < size) bits &= wanted > 0 ? (1U << wanted) - 1U : 0U;
      T values[size];
      std::memcpy(values, &similarity[part].lanes, sizeof values);
      for (; bits != 0; bits &= bits - 1) {
        const Index i = std::countr_zero(bits);
        add(values[i], static_cast<std::int32_t>(first + part * size + i));
      }
    }
  }

  /// Cuts the list down to the k best, sorted.
  void finish() {
    if (*size_ > k_) cut();
    std::sort(list_, list_ + *size_);
  }

 private:
  void add(T value, std::int32_t key) {
    if (!(value > *threshold_)) return;
    list_[(*size_)++] = {value, key};
    if (*size_ == capacity_) cut();
  }

  void cut() {
    std::nth_element(list_, list_ + (k_ - 1), list_ + *size_);
    *size_ = k_;
    *threshold_ = list_[k_ - 1].similarity;
  }

  Candidate<T>* list_;
  Index k_;
  Index capacity_;
  T* threshold_;
  Index* size_;
};

/// out = rows of x over max(length, 1e-12); `first` is the number of the first row for messages.
template <class T>
void unit_rows(CpuContext& context, const char* argument, MatrixView<const T> x, Index first, MatrixView<T> out) {
  context.parallel_for(x.rows(), 64, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const T* from = x.row(r).data();
      T* to = out.row(r).data();
      const auto square = [&](Index c) { return static_cast<double>(from[c]) * static_cast<double>(from[c]); };
      double parts[8] = {}, sum = 0;
      Index at = 0;
      for (; at + 8 <= x.cols(); at += 8)
        for (Index i = 0; i < 8; ++i) parts[i] += square(at + i);
      for (; at < x.cols(); ++at) sum += square(at);
      for (const double part : parts) sum += part;
      if (!std::isfinite(sum))
        throw ValueError(std::string("top_k: row ") + std::to_string(first + r) + " of " + argument +
                         " has an element that is not finite, or no finite length");
      // Divided, not multiplied by an inverse: rows that are multiples of each other stay equal where they can.
      const math::Pack<T> length(static_cast<T>(std::max(std::sqrt(sum), 1e-12)));
      math::for_each_pack<T>(0, x.cols(), [&](auto lanes) { lanes.store(to, lanes.load(from) / length); });
    }
  });
}

/// What has to hold of the arguments on every device.
template <class Rows, class Indices, class Similarity>
void require_top_k(const Rows& keys, const Rows& queries, Index k, const Indices& indices,
                   const Similarity& similarity) {
  require_size("top_k", "queries", "columns", queries.cols(), keys.cols(), "columns of keys");
  require_value(k >= 1 && k <= keys.rows(), "top_k",
                std::to_string(k) + " neighbours of " + std::to_string(keys.rows()) + " keys are asked for");
  require_value(keys.rows() <= std::numeric_limits<std::int32_t>::max(), "top_k", "there are more than 2^31 - 1 keys");
  require_shape("top_k", "indices", indices, queries.rows(), k);
  if (!similarity.empty()) require_shape("top_k", "similarity", similarity, queries.rows(), k);
}

}  // namespace detail

/// indices [q x k] and similarity [q x k] (an empty view: not wanted) of the k keys nearest to each query; keys [m x
/// d], queries [q x d]. Throws ShapeError; ValueError unless 1 <= k <= m, or for a row that is not finite.
template <class T>
void top_k(CpuContext& context, MatrixView<const T> keys, MatrixView<const std::type_identity_t<T>> queries, Index k,
           MatrixView<Index> indices, MatrixView<std::type_identity_t<T>> similarity) {
  detail::require_top_k(keys, queries, k, indices, similarity);
  using Candidate = detail::Candidate<T>;
  using ops::detail::panel_tile_cols;
  using ops::detail::panel_tile_rows;
  const Index width = keys.cols();
  const Index capacity = k + std::max(k, Index{256});
  const Index row_bytes = capacity * static_cast<Index>(sizeof(Candidate));
  const Index group = std::min(queries.rows(), std::clamp(detail::list_bytes / row_bytes, Index{64}, Index{2048}));
  const auto mark = context.workspace().mark();
  Workspace& workspace = context.workspace();
  const auto unit_queries = workspace.take<T>(group, width);
  T* const tiles = workspace.take<T>(ops::detail::tile_rows_size<T>(width, group)).data();
  const auto unit_keys = workspace.take<T>(std::min(detail::key_chunk, keys.rows()), width);
  T* const panels = workspace.take<T>(ops::detail::panels_size<T>(width, unit_keys.rows())).data();
  const auto lists = workspace.take<Candidate>(group, capacity);
  const auto thresholds = workspace.take<T>(group);
  const auto sizes = workspace.take<Index>(group);
  for (Index q = 0; q < queries.rows(); q += group) {
    const Index count = std::min(group, queries.rows() - q);
    detail::unit_rows<T>(context, "queries", queries.middle_rows(q, count), q, unit_queries.middle_rows(0, count));
    ops::detail::pack_tile_rows<T>(ops::detail::strided(MatrixView<const T>(unit_queries)), count, width, tiles);
    std::fill_n(thresholds.data(), count, -std::numeric_limits<T>::infinity());
    std::fill_n(sizes.data(), count, Index{0});
    const auto list = [&](Index row) {
      return detail::CandidateList<T>(lists.row(row).data(), k, capacity, &thresholds[row], &sizes[row]);
    };
    for (Index first = 0; first < keys.rows(); first += unit_keys.rows()) {
      const Index chunk = std::min(unit_keys.rows(), keys.rows() - first);
      detail::unit_rows<T>(context, "keys", keys.middle_rows(first, chunk), first, unit_keys.middle_rows(0, chunk));
      context.parallel_for(chunk, 8 * panel_tile_cols<T>, [&](Index begin, Index end) {
        ops::detail::pack_panels<T>(ops::detail::strided(MatrixView<const T>(unit_keys)).at(begin, 0).transposed(),
                                    width, end - begin, panels + begin * width);
      });
      context.parallel_for(count, detail::query_tiles * panel_tile_rows, [&](Index begin, Index end) {
        for (Index at = 0; at < chunk; at += panel_tile_cols<T>)
          for (Index row = begin; row < end; row += panel_tile_rows) {
            ops::detail::PanelTileSums<T> sums;
            ops::detail::panel_tile_of_packed<T>(width, tiles + row * width, panels + at * width, sums);
            for (Index r = 0; r < std::min(panel_tile_rows, end - row); ++r) {
              const math::Pack<T> threshold(thresholds[row + r]);
              if (detail::lane_bits(sums.at[r][0] > threshold || sums.at[r][1] > threshold) != 0)
                list(row + r).offer(sums.at[r], std::min(panel_tile_cols<T>, chunk - at), first + at);
            }
          }
      });
    }
    context.parallel_for(count, 16, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        list(row).finish();
        for (Index j = 0; j < k; ++j) {
          indices(q + row, j) = lists(row, j).key;
          if (!similarity.empty()) similarity(q + row, j) = lists(row, j).similarity;
        }
      }
    });
  }
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::retrieval

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/retrieval/top_k.cuh>
#endif
