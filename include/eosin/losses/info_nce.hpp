#pragma once

// Symmetric InfoNCE (van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018; in
// both directions as in Radford et al., "Learning transferable visual models", ICML 2021): row i of the spot embeddings
// S and row i of the image embeddings I, both [n x d], belong together.
//
//   L = s S I^T,  s = 1 / temperature or exp(log_scale);  with `normalize` the rows are divided by max(|row|, 1e-12)
//   loss_spot  = mean_i ( logsumexp_j L_ij - sum_j T_ij L_ij )         T = identity, or the positives, rows scaled to 1
//   loss_image = mean_j ( logsumexp_i L_ij - sum_i U_ij L_ij )         U = the same positives, columns scaled to 1
//   loss = image_weight loss_image + (1 - image_weight) loss_spot
//
// Gradient, with P, Q the softmax of L over rows and over columns, w = image_weight:
//   G = dL = ( (1 - w) (P - T) + w (Q - U) ) / n
//   dS = s G I,  dI = s G^T S,  d log_scale = sum G L;   unit row y = x / r:  dx = (dy - y (y . dy)) / r
//
// Value and gradients come from one call. L exists in blocks of at most 64 MiB, once for the sums of exponentials and,
// where there is more than one block, once again for G: three products of 2 n^2 d operations up to 4,096 pairs (float),
// four above. Scratch: the block, and some 100 bytes per pair. Derivation: docs/derivations/info_nce.md.

#include <eosin/math/exponential.hpp>
#include <eosin/ops/gemm.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

namespace eosin::losses {
inline namespace EOSIN_ISA_NAMESPACE {

/// Which images are right for a spot beside its own: those in columns[k] for row_offsets[i] <= k < row_offsets[i + 1],
/// ascending within a row (the arrays of a SparseMatrix). The own image counts whether it is listed or not.
struct PositivePairs {
  std::span<const Index> row_offsets{};
  std::span<const std::int32_t> columns{};

  bool empty() const { return row_offsets.empty(); }
};

/// The pairs that a call takes where it computes.
template <class Space>
struct PositivePairsIn {
  using type = PositivePairs;
};

template <class Pairs>
struct BasicInfoNceOptions {
  /// Logits are divided by it; not read where log_scale is given.
  double temperature = 1;
  /// Whether rows are scaled to length 1 first. Gradients are by the rows as given either way.
  bool normalize = false;
  /// Weight of the image direction, in [0, 1]; the spot direction has the rest.
  double image_weight = 0.5;
  /// More than one right image per spot; empty: its own alone. Not owned.
  Pairs positives{};
};
using InfoNceOptions = BasicInfoNceOptions<PositivePairs>;

namespace detail {

/// What has to hold of the arguments on every device; `learned`: the temperature is not read.
template <class View, class Pairs>
void require_info_nce(const View& spot, const View& image, const BasicInfoNceOptions<Pairs>& options, bool learned) {
  require_shape("info_nce", "image", image, spot.rows(), spot.cols());
  require_value(options.image_weight >= 0 && options.image_weight <= 1, "info_nce", "image_weight is outside [0, 1]");
  if (!learned)
    require_value(options.temperature > 0 && std::isfinite(options.temperature), "info_nce",
                  "temperature is not a finite number > 0");
}

/// Edge of the square blocks of L for a type: 64 MiB.
template <class T>
inline constexpr Index info_nce_block = sizeof(T) == 4 ? 4096 : 2880;
/// What is scanned at a time lies in the first-level cache.
inline constexpr Index info_nce_strip_rows = 32;
inline constexpr Index info_nce_strip_cols = 256;

/// sum exp(x) over lines of logits as exp(largest) * sum, and the sum of the logits of each line's positives. Several
/// slots per line are filled by different tasks and merged in their order.
template <class T>
struct LogitSums {
  MatrixView<T> largest, sum;  // [slots x lines]
  MatrixView<double> positive;

  LogitSums(Workspace& workspace, Index slots, Index lines)
      : largest(workspace.take<T>(slots, lines)),
        sum(workspace.take<T>(slots, lines)),
        positive(workspace.take<double>(slots, lines)) {}

  void clear(Index slot, Index begin, Index count) const {
    // The lowest number, not -infinity, of which differences are NaN.
    std::fill_n(largest.row(slot).data() + begin, count, std::numeric_limits<T>::lowest());
    std::fill_n(sum.row(slot).data() + begin, count, T(0));
    std::fill_n(positive.row(slot).data() + begin, count, 0.0);
  }
};

/// exp(m) s += exp(m2) s2.
template <math::Number V>
EOSIN_ALWAYS_INLINE inline void add_exponentials(V& m, V& s, std::type_identity_t<V> m2, std::type_identity_t<V> s2) {
  const V largest = math::select(m2 > m, m2, m);
  s = s * math::exp(m - largest) + s2 * math::exp(m2 - largest);
  m = largest;
}

/// Adds rows [row, row + rows) and columns [col, col + cols) of the block to the sums of its rows and columns.
template <class T>
void add_strip(MatrixView<const T> block, Index row, Index rows, Index col, Index cols, T* row_largest, T* row_sum,
               T* col_largest, T* col_sum) {
  using Pack = math::Pack<T>;
  constexpr T lowest = std::numeric_limits<T>::lowest();
  alignas(64) T best[info_nce_strip_cols];
  alignas(64) T sums[info_nce_strip_cols];
  std::fill_n(best, cols, lowest);
  std::fill_n(sums, cols, T(0));
  T row_best[info_nce_strip_rows];
  for (Index r = 0; r < rows; ++r) {
    const T* x = block.row(row + r).data() + col;
    Pack across(lowest);
    math::for_each_pack<T>(0, cols, [&](auto lanes) EOSIN_ALWAYS_INLINE {
      const Pack value = lanes.load(x, lowest), down = lanes.load(best, lowest);
      across = math::select(value > across, value, across);
      lanes.store(best, math::select(value > down, value, down));
    });
    row_best[r] = across.lanes[0];
    for (Index i = 1; i < Pack::size; ++i) row_best[r] = std::max(row_best[r], T(across.lanes[i]));
  }
  for (Index r = 0; r < rows; ++r) {
    const T* x = block.row(row + r).data() + col;
    const Pack shift(row_best[r]);
    Pack across(T(0));
    math::for_each_pack<T>(0, cols, [&](auto lanes) EOSIN_ALWAYS_INLINE {
      const Pack value = lanes.load(x, lowest);
      across = across + math::exp(value - shift);
      lanes.store(sums, lanes.load(sums) + math::exp(value - lanes.load(best)));
    });
    T sum = 0;
    for (Index i = 0; i < Pack::size; ++i) sum += across.lanes[i];
    add_exponentials<T>(row_largest[row + r], row_sum[row + r], row_best[r], sum);
  }
  math::for_each_pack<T>(0, cols, [&](auto lanes) EOSIN_ALWAYS_INLINE {
    Pack m = lanes.load(col_largest + col), s = lanes.load(col_sum + col);
    add_exponentials(m, s, lanes.load(best), lanes.load(sums));
    lanes.store(col_largest + col, m);
    lanes.store(col_sum + col, s);
  });
}

/// Calls f(column) for the positives of row i in columns [begin, end): those listed, and i itself.
template <class F>
void for_each_positive(const PositivePairs& pairs, Index i, Index begin, Index end, F&& f) {
  bool own = i >= begin && i < end;
  if (!pairs.empty()) {
    const auto* last = pairs.columns.data() + pairs.row_offsets[static_cast<std::size_t>(i) + 1];
    const auto* k = pairs.columns.data() + pairs.row_offsets[static_cast<std::size_t>(i)];
    for (k = std::lower_bound(k, last, begin); k != last && *k < end; ++k) {
      own = own && *k != i;
      f(static_cast<Index>(*k));
    }
  }
  if (own) f(i);
}

inline void require_positives(const PositivePairs& pairs, Index n) {
  if (pairs.empty()) return;
  const auto& offsets = pairs.row_offsets;
  require_size("info_nce", "positives.row_offsets", "elements", static_cast<Index>(offsets.size()), n + 1,
               "pairs and one");
  require_value(offsets.front() == 0 && offsets.back() == static_cast<Index>(pairs.columns.size()), "info_nce",
                "positives.row_offsets do not begin at 0 and end at the number of columns");
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
    require_value(offsets[i] <= offsets[i + 1], "info_nce",
                  "positives.row_offsets decrease at row " + std::to_string(i));
  for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i)
    for (Index k = offsets[i]; k < offsets[i + 1]; ++k) {
      const Index column = pairs.columns[static_cast<std::size_t>(k)];
      require_value(
          column >= 0 && column < n && (k == offsets[i] || pairs.columns[static_cast<std::size_t>(k) - 1] < column),
          "info_nce", "positives of row " + std::to_string(i) + " do not ascend within [0, n)");
    }
}

/// One over the length of each row, at most 1e12.
template <class T>
void inverse_lengths(CpuContext& context, MatrixView<const T> x, VectorView<T> out) {
  context.parallel_for(x.rows(), 64, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const T* row = x.row(r).data();
      math::PackSum<T> sum;
      math::for_each_pack<T>(0, x.cols(), [&](auto lanes) { sum.add(lanes.load(row) * lanes.load(row)); });
      out[r] = static_cast<T>(1 / std::max(std::sqrt(sum.total()), 1e-12));
    }
  });
}

/// From h = (gradient by the unit row) / |row| to the gradient by the row, in place.
template <class T>
void through_unit_length(CpuContext& context, MatrixView<const T> x, VectorView<const T> inverse_length,
                         MatrixView<T> h) {
  context.parallel_for(x.rows(), 64, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      // Shorter rows are divided by a constant.
      if (!(inverse_length[r] < T(1e12))) continue;
      const T* row = x.row(r).data();
      T* gradient = h.row(r).data();
      math::PackSum<T> sum;
      math::for_each_pack<T>(0, x.cols(), [&](auto lanes) { sum.add(lanes.load(row) * lanes.load(gradient)); });
      const double inverse = static_cast<double>(inverse_length[r]);
      const math::Pack<T> along(static_cast<T>(-sum.total() * inverse * inverse));
      math::for_each_pack<T>(0, x.cols(), [&](auto lanes) {
        lanes.store(gradient, math::multiply_add(along, lanes.load(row), lanes.load(gradient)));
      });
    }
  });
}

/// The work of one call.
template <class T>
class InfoNce {
 public:
  InfoNce(CpuContext& context, MatrixView<const T> spot, MatrixView<const T> image, const InfoNceOptions& options,
          const T* log_scale)
      : context_(context), spot_(spot), image_(image), options_(options), pairs_(spot.rows()) {
    require_info_nce(spot, image, options, log_scale != nullptr);
    scale_ = log_scale == nullptr ? static_cast<T>(1 / options.temperature) : std::exp(*log_scale);
    require_value(scale_ > 0 && std::isfinite(scale_), "info_nce",
                  "the scale of the logits is not a finite number > 0");
    require_positives(options.positives, pairs_);
    if (options.normalize) {
      inverse_spot_ = context.workspace().take<T>(pairs_);
      inverse_image_ = context.workspace().take<T>(pairs_);
      inverse_lengths<T>(context, spot_, inverse_spot_);
      inverse_lengths<T>(context, image_, inverse_image_);
    }
  }

  /// L in rows [row, row + out.rows()) and columns [col, col + out.cols()); `scan` is called for each tile of it.
  template <class Scan>
  void logits(Index row, Index col, MatrixView<T> out, Scan&& scan) {
    ops::gemm<T>(context_, Transpose::no, Transpose::yes, scale_, spot_.middle_rows(row, out.rows()),
                 image_.middle_rows(col, out.cols()), T(0), out, [&](Index r0, Index rows, Index c0, Index cols) {
                   if (options_.normalize) {
                     const T* across = inverse_image_.data() + col + c0;
                     for (Index r = r0; r < r0 + rows; ++r) {
                       T* x = out.row(r).data() + c0;
                       const math::Pack<T> down(inverse_spot_[row + r]);
                       math::for_each_pack<T>(0, cols, [&](auto lanes) EOSIN_ALWAYS_INLINE {
                         lanes.store(x, lanes.load(x) * (down * lanes.load(across)));
                       });
                     }
                   }
                   scan(r0, rows, c0, cols);
                 });
  }

  double run(MatrixView<T> d_spot, MatrixView<T> d_image, T* d_log_scale) {
    const Index n = pairs_, edge = std::min(n, info_nce_block<T>), blocks = (n + edge - 1) / edge;
    Workspace& workspace = context_.workspace();
    const auto block = workspace.take<T>(edge, edge);
    const LogitSums<T> rows(workspace, 1, n), cols(workspace, 1, n);
    rows.clear(0, 0, n);
    cols.clear(0, 0, n);
    count_positives();
    {
      const auto mark = workspace.mark();
      const auto [high, wide] = ops::detail::tile_shape(edge, edge, spot_.cols());
      // A smaller last block may have smaller tiles, of the grid's size at least.
      const Index smallest = blocks > 1 ? ops::detail::tile_grid : std::min(high, wide);
      const LogitSums<T> row_parts(workspace, (edge + smallest - 1) / smallest, edge);
      const LogitSums<T> col_parts(workspace, (edge + smallest - 1) / smallest, edge);
      for (Index a = 0; a < n; a += edge)
        for (Index b = 0; b < n; b += edge) sum_block(block, a, b, row_parts, col_parts, rows, cols);
    }
    double loss_spot = 0, loss_image = 0;
    for (Index i = 0; i < n; ++i) {
      loss_spot += static_cast<double>(rows.largest(0, i)) + std::log(static_cast<double>(rows.sum(0, i))) -
                   rows.positive(0, i) / row_count(i);
      loss_image += static_cast<double>(cols.largest(0, i)) + std::log(static_cast<double>(cols.sum(0, i))) -
                    cols.positive(0, i) / col_count(i);
    }
    const double w = options_.image_weight, size = static_cast<double>(n);
    const double loss = (w * loss_image + (1 - w) * loss_spot) / size;
    require_value(std::isfinite(loss), "info_nce",
                  "the loss is not a finite number: the embeddings hold NaN, or their products overflow");
    if (d_spot.empty() && d_image.empty() && d_log_scale == nullptr) return loss;

    double d_scale = 0;
    if (d_log_scale != nullptr)
      for (Index i = 0; i < n; ++i)
        d_scale -= (1 - w) * (rows.positive(0, i) / row_count(i) - static_cast<double>(rows.largest(0, i))) +
                   w * (cols.positive(0, i) / col_count(i) - static_cast<double>(cols.largest(0, i)));
    // The sums become the weights of the exponentials in G.
    for (Index i = 0; i < n; ++i) {
      rows.sum(0, i) = static_cast<T>((1 - w) / size / static_cast<double>(rows.sum(0, i)));
      cols.sum(0, i) = static_cast<T>(w / size / static_cast<double>(cols.sum(0, i)));
    }
    for (Index a = 0; a < n; a += edge)
      for (Index b = 0; b < n; b += edge) {
        const MatrixView<T> part(block.data(), std::min(edge, n - a), std::min(edge, n - b));
        if (blocks > 1) logits(a, b, part, [](Index, Index, Index, Index) {});
        const double sum = to_gradient(part, a, b, rows, cols, d_log_scale != nullptr);
        d_scale += size * sum;
        if (!d_spot.empty())
          ops::gemm<T>(context_, Transpose::no, Transpose::no, scale_, part, image_.middle_rows(b, part.cols()),
                       b == 0 ? T(0) : T(1), d_spot.middle_rows(a, part.rows()));
        if (!d_image.empty())
          ops::gemm<T>(context_, Transpose::yes, Transpose::no, scale_, part, spot_.middle_rows(a, part.rows()),
                       a == 0 ? T(0) : T(1), d_image.middle_rows(b, part.cols()));
      }
    if (options_.normalize) {
      if (!d_spot.empty()) through_unit_length<T>(context_, spot_, inverse_spot_, d_spot);
      if (!d_image.empty()) through_unit_length<T>(context_, image_, inverse_image_, d_image);
    }
    if (d_log_scale != nullptr) *d_log_scale = static_cast<T>(d_scale / size);
    return loss;
  }

 private:
  double row_count(Index i) const { return row_counts_.empty() ? 1.0 : static_cast<double>(row_counts_[i]); }
  double col_count(Index i) const { return col_counts_.empty() ? 1.0 : static_cast<double>(col_counts_[i]); }

  /// Positives per row and per column, the own pair included.
  void count_positives() {
    if (options_.positives.empty()) return;
    row_counts_ = context_.workspace().take<Index>(pairs_);
    col_counts_ = context_.workspace().take<Index>(pairs_);
    std::fill_n(row_counts_.data(), pairs_, Index{0});
    std::fill_n(col_counts_.data(), pairs_, Index{0});
    for (Index i = 0; i < pairs_; ++i)
      for_each_positive(options_.positives, i, 0, pairs_, [&](Index j) {
        ++row_counts_[i];
        ++col_counts_[j];
      });
  }

  /// Computes the block of L at (a, b) and adds it to the sums of its rows and columns.
  void sum_block(MatrixView<T> block, Index a, Index b, const LogitSums<T>& row_parts, const LogitSums<T>& col_parts,
                 const LogitSums<T>& rows, const LogitSums<T>& cols) {
    const MatrixView<T> part(block.data(), std::min(block.rows(), pairs_ - a), std::min(block.rows(), pairs_ - b));
    const ops::detail::TileShape tile = ops::detail::tile_shape(part.rows(), part.cols(), spot_.cols());
    const auto scan = [&](Index row, Index tile_rows, Index col, Index tile_cols) {
      const Index across = col / tile.wide, down = row / tile.high;
      row_parts.clear(across, row, tile_rows);
      col_parts.clear(down, col, tile_cols);
      for (Index r = row; r < row + tile_rows; r += info_nce_strip_rows)
        for (Index c = col; c < col + tile_cols; c += info_nce_strip_cols)
          add_strip<T>(part, r, std::min(info_nce_strip_rows, row + tile_rows - r), c,
                       std::min(info_nce_strip_cols, col + tile_cols - c), row_parts.largest.row(across).data(),
                       row_parts.sum.row(across).data(), col_parts.largest.row(down).data(),
                       col_parts.sum.row(down).data());
      for (Index r = row; r < row + tile_rows; ++r)
        for_each_positive(options_.positives, a + r, b + col, b + col + tile_cols, [&](Index j) {
          const double logit = static_cast<double>(part(r, j - b));
          row_parts.positive(across, r) += logit;
          col_parts.positive(down, j - b) += logit;
        });
    };
    // The slots stand for tiles, and the library's own products of few rows are cut by the number of threads.
    if (context_.gemm_backend() == nullptr &&
        ops::detail::is_few_rows_product(Transpose::no, Transpose::yes, part.rows(), part.cols(), spot_.cols())) {
      logits(a, b, part, [](Index, Index, Index, Index) {});
      ops::detail::for_each_tile(context_, part, spot_.cols(), scan);
    } else {
      logits(a, b, part, scan);
    }
    const auto merge = [&](const LogitSums<T>& parts, Index slots, const LogitSums<T>& into, Index begin, Index count) {
      context_.parallel_for(count, 256, [&](Index first, Index last) {
        for (Index slot = 0; slot < slots; ++slot)
          for (Index i = first; i < last; ++i) {
            add_exponentials<T>(into.largest(0, begin + i), into.sum(0, begin + i), parts.largest(slot, i),
                                parts.sum(slot, i));
            into.positive(0, begin + i) += parts.positive(slot, i);
          }
      });
    };
    merge(row_parts, (part.cols() + tile.wide - 1) / tile.wide, rows, a, part.rows());
    merge(col_parts, (part.rows() + tile.high - 1) / tile.high, cols, b, part.cols());
  }

  /// The block of L at (a, b) becomes that of G, each element times the inverse lengths of its two rows where they are
  /// normalised. Returns, if asked, the block's part of sum P (L - largest of the row) + the same for Q, weighted.
  double to_gradient(MatrixView<T> block, Index a, Index b, const LogitSums<T>& rows, const LogitSums<T>& cols,
                     bool want_sum) {
    const double w = options_.image_weight, size = static_cast<double>(pairs_);
    const T* col_largest = cols.largest.data() + b;
    const T* col_weight = cols.sum.data() + b;
    return context_.parallel_sum<double>(block.rows(), info_nce_strip_rows, [&](Index begin, Index end) {
      math::PackSum<T> total;
      for (Index r = begin; r < end; ++r) {
        T* x = block.row(r).data();
        const math::Pack<T> largest(rows.largest(0, a + r)), weight(rows.sum(0, a + r));
        if (want_sum) {
          math::for_each_pack<T>(0, block.cols(), [&](auto lanes) EOSIN_ALWAYS_INLINE {
            const auto value = lanes.load(x);
            const auto below_row = value - largest, below_col = value - lanes.load(col_largest);
            const auto p = math::exp(below_row) * weight, q = math::exp(below_col) * lanes.load(col_weight);
            total.add(lanes.keep(math::multiply_add(p, below_row, q * below_col)));
            lanes.store(x, p + q);
          });
        } else {
          math::for_each_pack<T>(0, block.cols(), [&](auto lanes) EOSIN_ALWAYS_INLINE {
            const auto value = lanes.load(x);
            lanes.store(x, math::exp(value - largest) * weight +
                               math::exp(value - lanes.load(col_largest)) * lanes.load(col_weight));
          });
        }
        const T share = static_cast<T>((1 - w) / size / row_count(a + r));
        for_each_positive(options_.positives, a + r, b, b + block.cols(),
                          [&](Index j) { x[j - b] -= share + static_cast<T>(w / size / col_count(j)); });
        if (options_.normalize) {
          const math::Pack<T> down(inverse_spot_[a + r]);
          const T* across = inverse_image_.data() + b;
          math::for_each_pack<T>(0, block.cols(), [&](auto lanes) EOSIN_ALWAYS_INLINE {
            lanes.store(x, lanes.load(x) * (down * lanes.load(across)));
          });
        }
      }
      return total.total();
    });
  }

  CpuContext& context_;
  MatrixView<const T> spot_, image_;
  const InfoNceOptions& options_;
  Index pairs_;
  T scale_ = T(1);
  VectorView<T> inverse_spot_, inverse_image_;
  VectorView<Index> row_counts_, col_counts_;
};

}  // namespace detail

/// Loss of the pairs in `spot` and `image`, both [n x d]. d_spot and d_image [n x d] receive the gradients (an empty
/// view: not computed); with `log_scale` (null: fixed temperature) the scale is learned and *d_log_scale, unless null,
/// receives its gradient. No pairs give 0. Throws ShapeError; ValueError for options and positives out of range, and
/// where the loss is not finite. The gradients must not overlap the embeddings.
template <class T>
double info_nce(CpuContext& context, MatrixView<const std::type_identity_t<T>> spot,
                MatrixView<const std::type_identity_t<T>> image, const InfoNceOptions& options, MatrixView<T> d_spot,
                MatrixView<T> d_image, const std::type_identity_t<T>* log_scale = nullptr,
                std::type_identity_t<T>* d_log_scale = nullptr) {
  const auto mark = context.workspace().mark();
  detail::InfoNce<T> work(context, spot, image, options, log_scale);
  if (!d_spot.empty()) require_shape("info_nce", "d_spot", d_spot, spot.rows(), spot.cols());
  if (!d_image.empty()) require_shape("info_nce", "d_image", d_image, spot.rows(), spot.cols());
  require_value(d_log_scale == nullptr || log_scale != nullptr, "info_nce", "d_log_scale is given without log_scale");
  if (d_log_scale != nullptr) *d_log_scale = T(0);
  if (spot.rows() == 0) return 0;
  return work.run(d_spot, d_image, d_log_scale);
}

/// The loss alone, for validation: info_nce<float>(...) without gradients.
template <class T>
double info_nce(CpuContext& context, MatrixView<const std::type_identity_t<T>> spot,
                MatrixView<const std::type_identity_t<T>> image, const InfoNceOptions& options = {},
                const std::type_identity_t<T>* log_scale = nullptr) {
  return info_nce<T>(context, spot, image, options, MatrixView<T>{}, MatrixView<T>{}, log_scale);
}

/// The logits L [n x n], to look at.
template <class T>
void info_nce_logits(CpuContext& context, MatrixView<const std::type_identity_t<T>> spot,
                     MatrixView<const std::type_identity_t<T>> image, const InfoNceOptions& options,
                     MatrixView<T> logits, const std::type_identity_t<T>* log_scale = nullptr) {
  const auto mark = context.workspace().mark();
  detail::InfoNce<T> work(context, spot, image, options, log_scale);
  require_shape("info_nce_logits", "logits", logits, spot.rows(), spot.rows());
  work.logits(0, 0, logits, [](Index, Index, Index, Index) {});
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::losses

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/losses/info_nce.cuh>
#endif
