#pragma once

// Multi-head self-attention over a ragged batch of sentences, exact, in memory linear in their length (Vaswani et al.
// 2017; the blocked form with a running maximum after Milakov and Gimelshein 2018, Dao et al. 2022).
//
//   S = scale Q_j K_j^T,   P = softmax over the rows of S,   O_j = P V_j      for head j, within each sentence
//
// Q, K, V, O are [n x heads k]; head j has columns j k .. (j+1) k - 1. Sentence s is rows offsets[s] .. offsets[s+1]-1
// of all four, and may be empty. No sentence-by-sentence matrix exists: S is computed block by block, the softmax
// being corrected as larger entries appear. Forward leaves O and L = log sum exp S per row and head, from which
// backward recomputes P = exp(S - L).
//
//   D = rowsum(dO * O),   dP = dO V^T,   dS = P * (dP - D)
//   dV = P^T dO,   dQ = scale dS K,   dK = scale dS^T Q            (docs/derivations/attention.md)
//
// A task is one block of queries of one head and sentence (forward), or half of its keys and all its queries
// (backward); blocks have fixed sizes and begin with the sentence. So a sentence gives the same bits alone as among
// others, on any number of threads. 4 n^2 heads k operations forward and 10 n^2 heads k backward for a sentence of n.
//
// Workspace beyond the caller's matrices: some 1.2 MB per thread, and in backward n heads numbers and, for sentences
// longer than a block, up to max_parts - 1 copies of dQ (one with 8 heads: 34 MB for n = 16,384, k = 64 in float).
// Products are computed in float (double for doubles) by the loops of ops/block_product.hpp, whatever the context's
// backend and math mode.

#include <eosin/core/context.hpp>
#include <eosin/math/exponential.hpp>
#include <eosin/ops/block_product.hpp>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

namespace detail {

/// Queries and keys of a block. Two blocks of S, and what belongs to them, stay in a second-level cache.
inline constexpr Index attention_block = 192;
/// A head of few is cut into parts by its keys, so that some sixteen tasks come of one sentence.
inline constexpr Index attention_tasks = 16;
inline constexpr Index attention_max_parts = 8;

/// Piece of work: rows [begin, begin + length) are the sentence, [first, first + count) of it the part.
struct AttentionTask {
  Index begin, length;
  Index first, count;
  Index part;
};

/// Parts into which the keys of a sentence are cut in backward: a function of its length and the number of heads.
inline Index attention_parts(Index length, Index heads) {
  const Index wanted = std::clamp((attention_tasks + heads - 1) / heads, Index{1}, attention_max_parts);
  return std::clamp((length + attention_block - 1) / attention_block, Index{1}, wanted);
}

inline void check_offsets(const char* function, std::span<const Index> offsets, Index rows) {
  require_value(!offsets.empty() && offsets.front() == 0 && offsets.back() == rows, function,
                "offsets must begin with 0 and end with the number of rows, " + std::to_string(rows));
  for (std::size_t s = 1; s < offsets.size(); ++s)
    require_value(offsets[s] >= offsets[s - 1], function, "offsets descend at sentence " + std::to_string(s - 1));
}

template <class T, class Space>
Index check_heads(const char* function, MatrixView<const T, Space> q, MatrixView<const T, Space> k,
                  MatrixView<const T, Space> v, Index heads) {
  require_value(
      heads >= 1 && q.cols() % heads == 0, function,
      "q has " + std::to_string(q.cols()) + " columns, which " + std::to_string(heads) + " heads do not divide");
  require_shape(function, "k", k, q.rows(), q.cols());
  require_shape(function, "v", v, q.rows(), q.cols());
  return q.cols() / heads;
}

/// Tasks of all sentences; `pieces(length)` says into how many parts of which size a sentence is cut.
template <class F>
VectorView<const AttentionTask> attention_task_list(CpuContext& context, std::span<const Index> offsets,
                                                    F&& piece_size) {
  Index count = 0;
  for (std::size_t s = 1; s < offsets.size(); ++s) {
    const Index length = offsets[s] - offsets[s - 1];
    if (length > 0) count += (length + piece_size(length) - 1) / piece_size(length);
  }
  const auto tasks = context.workspace().take<AttentionTask>(count);
  Index next = 0;
  for (std::size_t s = 1; s < offsets.size(); ++s) {
    const Index length = offsets[s] - offsets[s - 1];
    const Index size = length > 0 ? piece_size(length) : 1;
    for (Index first = 0; first < length; first += size)
      tasks[next++] = {offsets[s - 1], length, first, std::min(size, length - first), first / size};
  }
  return tasks;
}

inline Index longest_sentence(std::span<const Index> offsets) {
  Index longest = 0;
  for (std::size_t s = 1; s < offsets.size(); ++s) longest = std::max(longest, offsets[s] - offsets[s - 1]);
  return longest;
}

/// `to` [count, padded with zeros to rows x cols] = scale * the given rows and columns of a matrix.
template <class T>
void pack_rows(MatrixView<const T> from, T scale, Index rows, Index cols, Block<T> to) {
  for (Index r = 0; r < from.rows(); ++r) {
    const T* source = from.row(r).data();
    T* target = to.data + r * to.stride;
    math::for_each_pack<T>(0, from.cols(), [&](auto lanes) EOSIN_ALWAYS_INLINE {
      lanes.store(target, math::Pack<T>(scale) * lanes.load(source));
    });
    std::fill(target + from.cols(), target + cols, T(0));
  }
  for (Index r = from.rows(); r < rows; ++r) std::fill_n(to.data + r * to.stride, cols, T(0));
}

/// `to` [columns of from x cols] = scale * the transpose, padded with zeros.
template <class T>
void pack_transposed(MatrixView<const T> from, T scale, Index cols, Block<T> to) {
  for (Index c = 0; c < from.cols(); ++c) {
    T* target = to.data + c * to.stride;
    for (Index r = 0; r < from.rows(); ++r) target[r] = scale * from(r, c);
    std::fill(target + from.rows(), target + cols, T(0));
  }
}

/// Head `head` of rows [begin, begin + count).
template <class T>
MatrixView<T> head_of(MatrixView<T> x, Index begin, Index count, Index head, Index width) {
  return x.middle_rows(begin, count).middle_cols(head * width, width);
}

/// What one thread needs in forward; S stands transposed, [keys x queries], so that the softmax of a query runs down a
/// lane.
template <class T>
struct AttentionForward {
  Index width, padded_width, queries;
  Block<T> q_transposed, k, v, scores, sums;
  T *largest, *total, *correction;

  AttentionForward(Workspace& workspace, Index head_width, Index longest)
      : width(head_width),
        padded_width(rounded_up(width, block_columns<T>)),
        queries(rounded_up(std::min(longest, attention_block), block_columns<T>)) {
    const auto block = [&](Index rows, Index cols) { return Block<T>{workspace.take<T>(rows * cols).data(), cols}; };
    q_transposed = block(width, queries);
    k = block(queries, width);
    v = block(queries, padded_width);
    scores = block(queries, queries);
    sums = block(queries, padded_width);
    largest = workspace.take<T>(queries).data();
    total = workspace.take<T>(queries).data();
    correction = workspace.take<T>(queries).data();
  }

  /// Takes `keys` rows of scores into account: scores become exp(scores - largest), largest and total are brought up to
  /// date, correction is what earlier sums are to be multiplied with.
  void soften(Index keys) {
    constexpr Index together = 4;
    Index col = 0;
    for (; col + together * math::Pack<T>::size <= queries; col += together * math::Pack<T>::size)
      soften_columns<together>(col, keys);
    for (; col < queries; col += math::Pack<T>::size) soften_columns<1>(col, keys);
  }

  /// The same for so many packs of queries: several at a time, for the maxima depend on each other down a column.
  template <Index Packs>
  void soften_columns(Index col, Index keys) {
    using Pack = math::Pack<T>;
    const auto lanes = [col](Index pack) EOSIN_ALWAYS_INLINE { return math::FullLanes<T>{col + pack * Pack::size}; };
    Pack now[Packs], sum[Packs];
    for (Index p = 0; p < Packs; ++p) {
      now[p] = lanes(p).load(largest);
      sum[p] = Pack(T(0));
    }
    T* row = scores.data;
    for (Index key = 0; key < keys; ++key, row += scores.stride)
      for (Index p = 0; p < Packs; ++p) {
        const Pack score = lanes(p).load(row);
        // Not a maximum that drops NaN: one in S is to reach the result.
        now[p] = math::select(score <= now[p], now[p], score);
      }
    row = scores.data;
    for (Index key = 0; key < keys; ++key, row += scores.stride)
      for (Index p = 0; p < Packs; ++p) {
        const Pack weight = math::exp(lanes(p).load(row) - now[p]);
        lanes(p).store(row, weight);
        sum[p] = sum[p] + weight;
      }
    for (Index p = 0; p < Packs; ++p) {
      const Pack scale = math::exp(lanes(p).load(largest) - now[p]);
      lanes(p).store(largest, now[p]);
      lanes(p).store(correction, scale);
      lanes(p).store(total, math::multiply_add(lanes(p).load(total), scale, sum[p]));
    }
  }

  void correct_sums() {
    for (Index q = 0; q < queries; ++q) {
      if (correction[q] == T(1)) continue;
      T* row = sums.data + q * sums.stride;
      const math::Pack<T> scale(correction[q]);
      math::for_each_pack<T>(0, padded_width, [&](auto lanes) { lanes.store(row, scale * lanes.load(row)); });
    }
  }
};

/// What one thread needs in backward; S stands as [queries x keys].
template <class T>
struct AttentionBackward {
  Index width, padded_width, side;
  Block<T> k, k_transposed, v_transposed, d_k, d_v, q, d_out, weights, d_scores, d_q;

  AttentionBackward(Workspace& workspace, Index head_width, Index longest)
      : width(head_width),
        padded_width(rounded_up(width, block_columns<T>)),
        side(rounded_up(std::min(longest, attention_block), block_columns<T>)) {
    const auto block = [&](Index rows, Index cols) { return Block<T>{workspace.take<T>(rows * cols).data(), cols}; };
    k = block(side, padded_width);
    k_transposed = block(width, side);
    v_transposed = block(width, side);
    d_k = block(side, padded_width);
    d_v = block(side, padded_width);
    q = block(side, padded_width);
    d_out = block(side, padded_width);
    weights = block(side, side);
    d_scores = block(side, side);
    d_q = block(side, padded_width);
  }
};

template <class T>
constexpr Block<const T> constant(Block<T> block) {
  return {block.data, block.stride};
}

template <class T>
void attention_task(AttentionForward<T>& own, const AttentionTask& task, Index head, MatrixView<const T> q,
                    MatrixView<const T> k, MatrixView<const T> v, T scale, MatrixView<T> out, VectorView<T> log_sums) {
  const Index width = own.width;
  const Index queries = rounded_up(task.count, block_columns<T>);
  own.queries = queries;
  own.q_transposed.stride = own.scores.stride = queries;
  pack_transposed(head_of(q, task.begin + task.first, task.count, head, width), scale, queries, own.q_transposed);
  std::fill_n(own.largest, queries, -std::numeric_limits<T>::infinity());
  std::fill_n(own.total, queries, T(0));
  for (Index first = 0; first < task.length; first += attention_block) {
    const Index keys = std::min(attention_block, task.length - first);
    const Index padded_keys = rounded_up(keys, block_rows);
    pack_rows(head_of(k, task.begin + first, keys, head, width), T(1), padded_keys, width, own.k);
    pack_rows(head_of(v, task.begin + first, keys, head, width), T(1), keys, own.padded_width, own.v);
    block_product<false, false>(padded_keys, queries, width, constant(own.k), constant(own.q_transposed), own.scores);
    own.soften(keys);
    if (first == 0) {
      block_product<true, false>(queries, own.padded_width, keys, constant(own.scores), constant(own.v), own.sums);
    } else {
      own.correct_sums();
      block_product<true, true>(queries, own.padded_width, keys, constant(own.scores), constant(own.v), own.sums);
    }
  }
  for (Index i = 0; i < task.count; ++i) {
    const T share = T(1) / own.total[i];
    const T* sum = own.sums.data + i * own.sums.stride;
    T* to = head_of(out, task.begin + task.first + i, 1, head, width).data();
    math::for_each_pack<T>(0, width, [&](auto lanes) { lanes.store(to, lanes.load(sum) * math::Pack<T>(share)); });
    log_sums[task.begin + task.first + i] = own.largest[i] + std::log(own.total[i]);
  }
}

/// `d_q` is the whole matrix or, for a part but the first, its own copy.
template <class T>
void attention_backward_task(AttentionBackward<T>& own, const AttentionTask& task, Index head, MatrixView<const T> q,
                             MatrixView<const T> k, MatrixView<const T> v, T scale, VectorView<const T> log_sums,
                             VectorView<const T> inner, MatrixView<const T> d_out, MatrixView<T> d_q, MatrixView<T> d_k,
                             MatrixView<T> d_v) {
  using Pack = math::Pack<T>;
  const Index width = own.width;
  for (Index first = task.first; first < task.first + task.count; first += attention_block) {
    const Index keys = std::min(attention_block, task.first + task.count - first);
    const Index padded_keys = rounded_up(keys, block_columns<T>);
    own.k_transposed.stride = own.v_transposed.stride = own.weights.stride = own.d_scores.stride = padded_keys;
    const auto block_k = head_of(k, task.begin + first, keys, head, width);
    const auto block_v = head_of(v, task.begin + first, keys, head, width);
    pack_rows(block_k, scale, keys, own.padded_width, own.k);
    pack_transposed(block_k, scale, padded_keys, own.k_transposed);
    pack_transposed(block_v, T(1), padded_keys, own.v_transposed);
    std::fill_n(own.d_k.data, padded_keys * own.padded_width, T(0));
    std::fill_n(own.d_v.data, padded_keys * own.padded_width, T(0));
    for (Index query = 0; query < task.length; query += attention_block) {
      const Index queries = std::min(attention_block, task.length - query);
      const Index padded_queries = rounded_up(queries, block_rows);
      const Index row = task.begin + query;
      pack_rows(head_of(q, row, queries, head, width), T(1), padded_queries, own.padded_width, own.q);
      pack_rows(head_of(d_out, row, queries, head, width), T(1), padded_queries, own.padded_width, own.d_out);
      block_product<false, false>(padded_queries, padded_keys, width, constant(own.q), constant(own.k_transposed),
                                  own.weights);
      block_product<false, false>(padded_queries, padded_keys, width, constant(own.d_out), constant(own.v_transposed),
                                  own.d_scores);
      for (Index i = 0; i < queries; ++i) {
        T* weights = own.weights.data + i * padded_keys;
        T* d_scores = own.d_scores.data + i * padded_keys;
        const Pack log_sum(log_sums[row + i]);
        Pack mean(inner[row + i]);
        if (keys == task.length) {
          math::PackSum<T> total, product;
          math::for_each_pack<T>(0, keys, [&](auto lanes) {
            const Pack weight = lanes.keep(math::exp(lanes.load(weights) - log_sum));
            total.add(weight);
            product.add(weight * lanes.load(d_scores));
          });
          mean = Pack(product.total() / total.total());
        }
        for (Index col = 0; col < padded_keys; col += Pack::size) {
          const math::FullLanes<T> lanes{col};
          const Pack weight = math::exp(lanes.load(weights) - log_sum);
          lanes.store(weights, weight);
          lanes.store(d_scores, weight * (lanes.load(d_scores) - mean));
        }
      }
      block_product<true, true>(padded_keys, own.padded_width, queries, constant(own.weights), constant(own.d_out),
                                own.d_v);
      block_product<true, true>(padded_keys, own.padded_width, queries, constant(own.d_scores), constant(own.q),
                                own.d_k);
      block_product<false, false>(padded_queries, own.padded_width, keys, constant(own.d_scores), constant(own.k),
                                  own.d_q);
      const bool start = first == task.first;
      for (Index i = 0; i < queries; ++i) {
        const T* from = own.d_q.data + i * own.padded_width;
        T* to = head_of(d_q, row + i, 1, head, width).data();
        math::for_each_pack<T>(0, width, [&](auto lanes) {
          lanes.store(to, start ? lanes.load(from) : lanes.load(to) + lanes.load(from));
        });
      }
    }
    for (Index i = 0; i < keys; ++i) {
      const T* from_k = own.d_k.data + i * own.padded_width;
      const T* from_v = own.d_v.data + i * own.padded_width;
      T* to_k = head_of(d_k, task.begin + first + i, 1, head, width).data();
      T* to_v = head_of(d_v, task.begin + first + i, 1, head, width).data();
      math::for_each_pack<T>(0, width, [&](auto lanes) {
        lanes.store(to_k, Pack(scale) * lanes.load(from_k));
        lanes.store(to_v, lanes.load(from_v));
      });
    }
  }
}

}  // namespace detail

/// out = attention of q, k, v, all [n x heads k] (rows any stride apart, so columns of one product will do), and
/// `log_sums` [heads x n] what backward needs. `offsets` [sentences + 1]: ascending, first 0, last n. `scale` is
/// k^-1/2 in most models. out must not overlap the others. Throws ShapeError, ValueError.
template <class T>
void attention(CpuContext& context, MatrixView<const std::type_identity_t<T>> q,
               MatrixView<const std::type_identity_t<T>> k, MatrixView<const std::type_identity_t<T>> v,
               std::span<const Index> offsets, Index heads, std::type_identity_t<T> scale, MatrixView<T> out,
               MatrixView<std::type_identity_t<T>> log_sums) {
  const Index width = detail::check_heads<T>("attention", q, k, v, heads);
  require_shape("attention", "out", out, q.rows(), q.cols());
  require_shape("attention", "log_sums", log_sums, heads, q.rows());
  detail::check_offsets("attention", offsets, q.rows());
  if (q.rows() == 0) return;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const auto tasks = detail::attention_task_list(context, offsets, [](Index) { return detail::attention_block; });
  const Index longest = detail::longest_sentence(offsets);
  const auto own = workspace.take<detail::AttentionForward<T>>(context.threads());
  for (int worker = 0; worker < context.threads(); ++worker)
    own[worker] = detail::AttentionForward<T>(workspace, width, longest);
  context.pool().run(tasks.size() * heads, [&](Index index, int worker) {
    const Index head = index % heads;
    detail::attention_task<T>(own[worker], tasks[index / heads], head, q, k, v, scale, out, log_sums.row(head));
  });
}

/// dq, dk, dv from the gradient `d_out` of `out`, all [n x heads k], overwritten; q, k, v, out and log_sums as forward
/// took and left them. dq, dk, dv must not overlap the others. Throws ShapeError, ValueError.
template <class T>
void attention_backward(CpuContext& context, MatrixView<const std::type_identity_t<T>> q,
                        MatrixView<const std::type_identity_t<T>> k, MatrixView<const std::type_identity_t<T>> v,
                        std::span<const Index> offsets, Index heads, std::type_identity_t<T> scale,
                        MatrixView<const std::type_identity_t<T>> out,
                        MatrixView<const std::type_identity_t<T>> log_sums,
                        MatrixView<const std::type_identity_t<T>> d_out, MatrixView<T> d_q,
                        MatrixView<std::type_identity_t<T>> d_k, MatrixView<std::type_identity_t<T>> d_v) {
  const char* const name = "attention_backward";
  const Index width = detail::check_heads<T>(name, q, k, v, heads);
  const Index n = q.rows();
  require_shape(name, "out", out, n, q.cols());
  require_shape(name, "d_out", d_out, n, q.cols());
  require_shape(name, "d_q", d_q, n, q.cols());
  require_shape(name, "d_k", d_k, n, q.cols());
  require_shape(name, "d_v", d_v, n, q.cols());
  require_shape(name, "log_sums", log_sums, heads, n);
  detail::check_offsets(name, offsets, n);
  if (n == 0) return;
  auto& workspace = context.workspace();
  const auto mark = workspace.mark();
  const auto inner = workspace.take<T>(heads, n);
  context.parallel_for(n, 64, [&](Index begin, Index end) {
    for (Index head = 0; head < heads; ++head)
      for (Index r = begin; r < end; ++r) {
        const T* value = detail::head_of(out, r, 1, head, width).data();
        const T* upstream = detail::head_of(d_out, r, 1, head, width).data();
        math::Pack<T> sum(T(0));
        math::for_each_pack<T>(
            0, width, [&](auto lanes) { sum = math::multiply_add(lanes.load(value), lanes.load(upstream), sum); });
        T total = 0;
        for (Index i = 0; i < math::Pack<T>::size; ++i) total += sum.lanes[i];
        inner(head, r) = total;
      }
  });
  const auto part_size = [&](Index length) {
    const Index parts = detail::attention_parts(length, heads);
    return detail::rounded_up((length + parts - 1) / parts, detail::attention_block);
  };
  const auto tasks = detail::attention_task_list(context, offsets, part_size);
  const Index longest = detail::longest_sentence(offsets);
  Index parts = 1;
  for (Index i = 0; i < tasks.size(); ++i) parts = std::max(parts, tasks[i].part + 1);
  const auto copies = workspace.take<T>((parts - 1) * n, q.cols());
  const auto own = workspace.take<detail::AttentionBackward<T>>(context.threads());
  for (int worker = 0; worker < context.threads(); ++worker)
    own[worker] = detail::AttentionBackward<T>(workspace, width, longest);
  context.pool().run(tasks.size() * heads, [&](Index index, int worker) {
    const auto& task = tasks[index / heads];
    const Index head = index % heads;
    const auto target = task.part == 0 ? d_q : copies.middle_rows((task.part - 1) * n, n);
    detail::attention_backward_task<T>(own[worker], task, head, q, k, v, scale, log_sums.row(head),
                                       std::as_const(inner).row(head), d_out, target, d_k, d_v);
  });
  // The parts of dQ, in their order.
  for (Index i = 0; i < tasks.size(); ++i) {
    const auto& task = tasks[i];
    if (task.part == 0) continue;
    const auto copy = copies.middle_rows((task.part - 1) * n + task.begin, task.length);
    const auto target = d_q.middle_rows(task.begin, task.length);
    context.parallel_for(task.length, 64, [&](Index begin, Index end) {
      for (Index r = begin; r < end; ++r) {
        const T* from = copy.row(r).data();
        T* to = target.row(r).data();
        math::for_each_pack<T>(0, q.cols(), [&](auto lanes) { lanes.store(to, lanes.load(to) + lanes.load(from)); });
      }
    });
  }
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/attention.cuh>
#endif
