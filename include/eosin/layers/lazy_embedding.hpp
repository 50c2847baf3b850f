#pragma once

// A trained table whose optimiser step costs what the batch's rows cost, and which is exact nevertheless.
//
//   y_n += E_{rows[n]},      gradient: the rows that the batch uses alone
//
// Adam moves every row in every step, also one with gradient 0: its momentum runs on, and coupled weight decay pulls it
// towards 0 by about the learning rate. These steps depend on the row's own state alone, so they can wait: each row
// remembers how far it is, and the steps it missed are replayed, with the rates they had, before it is next read. The
// table then holds, to the bit, what Adam over the dense table holds. `decay_unused = false` leaves unused rows where
// they are instead (as PyTorch's SparseAdam does): another optimiser, without the replay.
// docs/derivations/embeddings.md
//
// The table is no part of Parameters: values, moments and progress of the rows are its own. Call finish() before values
// or moments are read from outside (a checkpoint).

#include <eosin/layers/embedding.hpp>
#include <eosin/optim/adam.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace eosin::layers {

struct LazyEmbeddingOptions {
  optim::AdamOptions adam{.learning_rate = 1e-4, .weight_decay = 1e-3, .decay = optim::WeightDecay::coupled};
  bool decay_unused = true;
};

template <class T>
class LazyEmbedding {
 public:
  /// A table [rows x width] that starts standard normal from (seed, stream).
  LazyEmbedding(Index rows, Index width, const LazyEmbeddingOptions& options, std::uint64_t seed,
                std::uint64_t stream = 0)
      : options_(options),
        values_(rows, width),
        first_(rows, width),
        second_(rows, width),
        done_(static_cast<std::size_t>(rows), 0),
        slot_(static_cast<std::size_t>(rows), -1) {
    require_value(options.adam.eps > 0, "LazyEmbedding", "eps must be positive");
    const Philox random(seed, stream);
    for (Index i = 0; i < values_.size(); ++i)
      values_.data()[i] = static_cast<T>(random.normal(static_cast<std::uint64_t>(i)));
  }

  Index rows() const { return values_.rows(); }
  Index width() const { return values_.cols(); }
  Index steps() const { return steps_; }

  /// Adds row rows[n] to y_n, y [n x width], after bringing these rows up to date: the cost of the first use of a row
  /// after m steps is that of m of its steps.
  void forward_add(CpuContext& context, std::span<const Index> rows, MatrixView<T> y) {
    ops::detail::check_rows("LazyEmbedding", rows, y.rows(), values_.rows());
    use(rows);
    catch_up(context, used_);
    ops::add_rows<T>(context, values_.view(), rows, y);
  }

  /// The gradient of the used rows from dy [n x width], `rows` being those of the forward pass; dx is dy.
  void backward(CpuContext& context, std::span<const Index> rows, MatrixView<const T> dy) {
    ops::detail::check_rows("LazyEmbedding", rows, dy.rows(), values_.rows());
    use(rows);
    gradient_.resize(static_cast<Index>(used_.size()), width());
    std::fill_n(gradient_.data(), gradient_.size(), T(0));
    slots_.clear();
    for (const Index row : rows) slots_.push_back(slot_[static_cast<std::size_t>(row)]);
    ops::add_to_rows<T>(context, dy, slots_, gradient_.view());
  }

  /// The rows that have a gradient, and it, one row each (for the norm in clipping).
  std::span<const Index> used_rows() const { return used_; }
  MatrixView<const T> gradient() const { return gradient_.view(); }

  /// One step of Adam at the given rate, after backward. Amortised one number of memory per step until finish().
  void step(CpuContext& context, double learning_rate, double gradient_scale = 1.0) {
    require_size("LazyEmbedding::step", "gradient", "rows", gradient_.rows(), static_cast<Index>(used_.size()),
                 "rows of the last forward pass");
    if (options_.decay_unused) catch_up(context, used_);
    ++steps_;
    rates_.push_back(learning_rate);
    const optim::AdamUpdate<T> update(options_.adam, steps_, learning_rate, gradient_scale);
    context.parallel_for(gradient_.rows(), 4, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index row = used_[static_cast<std::size_t>(i)];
        update.update(width(), values_.row(row).data(), gradient_.row(i).data(), first_.row(row).data(),
                      second_.row(row).data());
        done_[static_cast<std::size_t>(row)] = steps_;
      }
    });
  }

  /// Brings every row up to date.
  void finish(CpuContext& context) {
    std::vector<Index> all(static_cast<std::size_t>(rows()));
    for (std::size_t r = 0; r < all.size(); ++r) all[r] = static_cast<Index>(r);
    catch_up(context, all);
    for (auto& done : done_) done = steps_;
    rates_.clear();
    first_rate_ = steps_;
  }

  /// After finish(): the table and the state of its optimiser, to save and restore.
  MatrixView<T> values() { return values_.view(); }
  MatrixView<T> first_moment() { return first_.view(); }
  MatrixView<T> second_moment() { return second_.view(); }
  /// All rows stand at this step.
  void set_steps(Index steps) {
    steps_ = first_rate_ = steps;
    rates_.clear();
    for (auto& done : done_) done = steps;
  }

 private:
  /// Numbers the distinct rows of a batch.
  void use(std::span<const Index> rows) {
    for (const Index row : used_) slot_[static_cast<std::size_t>(row)] = -1;
    used_.clear();
    for (const Index row : rows) {
      Index& slot = slot_[static_cast<std::size_t>(row)];
      if (slot >= 0) continue;
      slot = static_cast<Index>(used_.size());
      used_.push_back(row);
    }
  }

  void catch_up(CpuContext& context, std::span<const Index> rows) {
    if (!options_.decay_unused) return;
    Index earliest = steps_;
    for (const Index row : rows) earliest = std::min(earliest, done_[static_cast<std::size_t>(row)]);
    if (earliest == steps_) return;
    updates_.clear();
    for (Index step = earliest + 1; step <= steps_; ++step)
      updates_.emplace_back(options_.adam, step, rates_[static_cast<std::size_t>(step - first_rate_ - 1)]);
    context.parallel_for(static_cast<Index>(rows.size()), 4, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        const Index row = rows[static_cast<std::size_t>(i)];
        Index& done = done_[static_cast<std::size_t>(row)];
        for (; done < steps_; ++done)
          updates_[static_cast<std::size_t>(done - earliest)].update(width(), values_.row(row).data(), nullptr,
                                                                     first_.row(row).data(), second_.row(row).data());
      }
    });
  }

  LazyEmbeddingOptions options_;
  Matrix<T> values_, first_, second_, gradient_;
  std::vector<Index> done_;  // steps that a row has made
  std::vector<Index> slot_;  // place among the used rows, or -1
  std::vector<Index> used_, slots_;
  std::vector<double> rates_;  // of the steps after first_rate_
  std::vector<optim::AdamUpdate<T>> updates_;
  Index steps_ = 0;
  Index first_rate_ = 0;
};

}  // namespace eosin::layers
