#pragma once

// The k keys of largest cosine similarity to each query, exactly:
//
//   similarity = unit(query) . unit(key),   unit(x) = x / max(|x|, 1e-12)
//
// sorted by falling similarity, equal ones by rising index of the key.
//
// Keys go by in blocks of 1,024. The similarities of a block to a tile of queries are one matrix product that stays in
// the cache; what exceeds a query's threshold (the k-th largest similarity when it was last sorted out) joins its list
// of candidates, and a full list is cut down to the k best, which raises the threshold. 2 m q d operations and 4 m d
// bytes of reading per 2,048 queries; lists of at most 64 MiB (or of 64 queries). Products are of full precision
// whatever the context's math mode. Results do not depend on the number of threads.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/ops/gemm.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

namespace eosin::retrieval {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Keys of one product, and keys between two meetings of the threads.
inline constexpr Index key_block = 1024;
inline constexpr Index key_chunk = 4 * key_block;
inline constexpr Index list_bytes = Index{1} << 26;

/// Bit i is lane i of the mask.
template <class T>
EOSIN_ALWAYS_INLINE inline std::uint32_t lane_bits(math::PackMask<T> mask) {
#if defined(__AVX512F__)
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

  /// Offers `count` keys from `first` on.
  void offer(const T* similarity, Index count, Index first) {
    math::Pack<T> threshold(*threshold_);
    math::for_each_pack<T>(0, count, [&](auto lanes) EOSIN_ALWAYS_INLINE {
      const auto values = lanes.load(similarity, -std::numeric_limits<T>::infinity());
      std::uint32_t bits = lane_bits(values > threshold);
      if (bits == 0) return;
      for (; bits != 0; bits &= bits - 1) {
        const Index i = lanes.index + std::countr_zero(bits);
        add(similarity[i], static_cast<std::int32_t>(first + i));
      }
      threshold = math::Pack<T>(*threshold_);
    });
  }

  /// Cuts the list down to the k best, sorted.
  void finish() {
    if (*size_ > k_) cut();
    std::sort(list_, list_ + *size_);
  }

 private:
  EOSIN_ALWAYS_INLINE void add(T value, std::int32_t key) {
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

}  // namespace detail

/// indices [q x k] and similarity [q x k] (an empty view: not wanted) of the k keys nearest to each query; keys [m x
/// d], queries [q x d]. Throws ShapeError; ValueError unless 1 <= k <= m, or for a row that is not finite.
template <class T>
void top_k(CpuContext& context, MatrixView<const T> keys, MatrixView<const std::type_identity_t<T>> queries, Index k,
           MatrixView<Index> indices, MatrixView<std::type_identity_t<T>> similarity) {
  require_size("top_k", "queries", "columns", queries.cols(), keys.cols(), "columns of keys");
  require_value(k >= 1 && k <= keys.rows(), "top_k",
                std::to_string(k) + " neighbours of " + std::to_string(keys.rows()) + " keys are asked for");
  require_value(keys.rows() <= std::numeric_limits<std::int32_t>::max(), "top_k", "there are more than 2^31 - 1 keys");
  require_shape("top_k", "indices", indices, queries.rows(), k);
  if (!similarity.empty()) require_shape("top_k", "similarity", similarity, queries.rows(), k);
  using Candidate = detail::Candidate<T>;
  const Index capacity = k + std::max(k, Index{256});
  const Index row_bytes = capacity * static_cast<Index>(sizeof(Candidate));
  const Index group = std::min(queries.rows(), std::clamp(detail::list_bytes / row_bytes, Index{64}, Index{2048}));
  const Index tile = std::clamp((group + 7) / 8 / 32 * 32 + 32, Index{32}, Index{256});
  const auto mark = context.workspace().mark();
  Workspace& workspace = context.workspace();
  const auto unit_queries = workspace.take<T>(group, keys.cols());
  const auto unit_keys = workspace.take<T>(std::min(detail::key_chunk, keys.rows()), keys.cols());
  const auto products = workspace.take<T>(group, std::min(detail::key_block, keys.rows()));
  const auto lists = workspace.take<Candidate>(group, capacity);
  const auto thresholds = workspace.take<T>(group);
  const auto sizes = workspace.take<Index>(group);
  const GemmBackend* backend = context.gemm_backend();
  for (Index q = 0; q < queries.rows(); q += group) {
    const Index count = std::min(group, queries.rows() - q);
    detail::unit_rows<T>(context, "queries", queries.middle_rows(q, count), q, unit_queries.middle_rows(0, count));
    std::fill_n(thresholds.data(), count, -std::numeric_limits<T>::infinity());
    std::fill_n(sizes.data(), count, Index{0});
    const auto list = [&](Index row) {
      return detail::CandidateList<T>(lists.row(row).data(), k, capacity, &thresholds[row], &sizes[row]);
    };
    for (Index first = 0; first < keys.rows(); first += unit_keys.rows()) {
      const Index chunk = std::min(unit_keys.rows(), keys.rows() - first);
      detail::unit_rows<T>(context, "keys", keys.middle_rows(first, chunk), first, unit_keys.middle_rows(0, chunk));
      context.parallel_for(count, tile, [&](Index begin, Index end) {
        const auto left = unit_queries.middle_rows(begin, end - begin);
        for (Index at = 0; at < chunk; at += detail::key_block) {
          const Index block = std::min(detail::key_block, chunk - at);
          const auto right = unit_keys.middle_rows(at, block);
          const auto out = products.middle_rows(begin, end - begin).middle_cols(0, block);
          if (backend != nullptr) {
            backend->gemm(Transpose::no, Transpose::yes, T(1), left, right, T(0), out);
          } else {
            ops::detail::gemm_eigen<T>(Transpose::no, Transpose::yes, T(1), left, right, T(0), out);
          }
          for (Index row = begin; row < end; ++row) list(row).offer(products.row(row).data(), block, first + at);
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
