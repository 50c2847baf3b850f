#pragma once

// Factorisation of X'WX for a types x batches model, X the design of groups k = (t, b), W = diag(w) >= 0:
//
//   X'WX = [ D  C ]   D_t = sum_b w_tb (diagonal),  C_tb = w_tb,  B_b = sum_t w_tb (diagonal)
//          [ C' B ]   Schur complement  M = B - C' D^-1 C,  over the batches that are not a reference
//
// M is a weighted graph Laplacian without the reference rows: its diagonal is summed from the off-diagonal entries
// (references included), so nothing cancels. M = L L'. Costs O(types batches^2 + batches^3) for the factor and
// O(batches^2) for the variance of a group's linear predictor:
//
//   x = e_t + sum_b p_b e_b:   x' (X'WX)^-1 x = 1 / D_t + |L^-1 (p - C_t / D_t)|^2

#include <eosin/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace eosin::glm {

class ArrowFactor {
 public:
  /// slots[b] numbers the free batches 0 .. free-1; -1 is a reference or absent batch.
  void reset(Index types, Index batches, Index free_batches, const std::vector<Index>& slots) {
    types_ = types;
    batches_ = batches;
    free_ = free_batches;
    slots_ = &slots;
    cross_.assign(size(types * batches), 0.0);
    diagonal_.assign(size(types), 0.0);
    schur_.assign(size(free_ * free_), 0.0);
    scratch_.assign(size(free_), 0.0);
  }

  /// Forgets the weights.
  void clear() {
    std::fill(cross_.begin(), cross_.end(), 0.0);
    std::fill(diagonal_.begin(), diagonal_.end(), 0.0);
  }
  void add(Index type, Index batch, double weight) {
    cross_[size(type * batches_ + batch)] += weight;
    diagonal_[size(type)] += weight;
  }

  /// False where the matrix is not positive definite to rounding. Types without weight are absent.
  bool factor() {
    std::fill(schur_.begin(), schur_.end(), 0.0);
    for (Index t = 0; t < types_; ++t) {
      const double d = diagonal_[size(t)];
      if (!(d > 0.0) || free_ == 0) continue;
      const double* row = cross_.data() + t * batches_;
      for (Index b = 0; b < batches_; ++b) {
        const Index i = slot(b);
        if (i < 0 || row[b] == 0.0) continue;
        const double share = row[b] / d;
        for (Index other = 0; other < batches_; ++other) {
          if (other == b || row[other] == 0.0) continue;
          const double weight = share * row[other];
          schur_[size(i * free_ + i)] += weight;
          if (slot(other) >= 0) schur_[size(i * free_ + slot(other))] -= weight;
        }
      }
    }
    for (Index i = 0; i < free_; ++i)
      for (Index j = 0; j <= i; ++j) {
        double sum = schur_[size(i * free_ + j)];
        for (Index l = 0; l < j; ++l) sum -= schur_[size(i * free_ + l)] * schur_[size(j * free_ + l)];
        if (i != j) {
          schur_[size(i * free_ + j)] = sum / schur_[size(j * free_ + j)];
        } else {
          if (!(sum > 0.0) || !std::isfinite(sum)) return false;
          schur_[size(i * free_ + i)] = std::sqrt(sum);
        }
      }
    return true;
  }

  /// Solves X'WX x = (type_part, batch_part) in place; entries of absent types and of reference batches become 0.
  void solve(std::vector<double>& type_part, std::vector<double>& batch_part) {
    for (Index t = 0; t < types_; ++t) {
      const double d = diagonal_[size(t)];
      const double share = d > 0.0 ? type_part[size(t)] / d : 0.0;
      if (share == 0.0) continue;
      for (Index b = 0; b < batches_; ++b) batch_part[size(b)] -= cross_[size(t * batches_ + b)] * share;
    }
    for (Index b = 0; b < batches_; ++b)
      if (slot(b) >= 0) scratch_[size(slot(b))] = batch_part[size(b)];
    forward();
    backward();
    for (Index b = 0; b < batches_; ++b) batch_part[size(b)] = slot(b) >= 0 ? scratch_[size(slot(b))] : 0.0;
    for (Index t = 0; t < types_; ++t) {
      const double d = diagonal_[size(t)];
      double sum = type_part[size(t)];
      for (Index b = 0; b < batches_; ++b) sum -= cross_[size(t * batches_ + b)] * batch_part[size(b)];
      type_part[size(t)] = d > 0.0 ? sum / d : 0.0;
    }
  }

  /// log det X'WX over the types that are present and the free batches.
  double log_determinant() const {
    double sum = 0.0;
    for (const double d : diagonal_)
      if (d > 0.0) sum += std::log(d);
    for (Index i = 0; i < free_; ++i) sum += 2.0 * std::log(schur_[size(i * free_ + i)]);
    return sum;
  }

  /// Variance of beta_t + sum_b share[b] gamma_b.
  double variance(Index type, const std::vector<double>& batch_shares) {
    const double d = diagonal_[size(type)];
    for (Index b = 0; b < batches_; ++b)
      if (slot(b) >= 0) scratch_[size(slot(b))] = batch_shares[size(b)] - cross_[size(type * batches_ + b)] / d;
    return 1.0 / d + forward_norm();
  }
  /// Variance of beta_t + gamma_b.
  double variance_of_group(Index type, Index batch) {
    const double d = diagonal_[size(type)];
    for (Index b = 0; b < batches_; ++b)
      if (slot(b) >= 0) scratch_[size(slot(b))] = (b == batch ? 1.0 : 0.0) - cross_[size(type * batches_ + b)] / d;
    return 1.0 / d + forward_norm();
  }
  /// Variance of gamma_b, 0 for a reference.
  double variance_of_batch(Index batch) {
    if (slot(batch) < 0) return 0.0;
    std::fill(scratch_.begin(), scratch_.end(), 0.0);
    scratch_[size(slot(batch))] = 1.0;
    return forward_norm();
  }

 private:
  static std::size_t size(Index i) { return static_cast<std::size_t>(i); }
  Index slot(Index batch) const { return (*slots_)[size(batch)]; }

  /// scratch := L^-1 scratch
  void forward() {
    for (Index i = 0; i < free_; ++i) {
      double sum = scratch_[size(i)];
      for (Index j = 0; j < i; ++j) sum -= schur_[size(i * free_ + j)] * scratch_[size(j)];
      scratch_[size(i)] = sum / schur_[size(i * free_ + i)];
    }
  }
  /// scratch := L'^-1 scratch
  void backward() {
    for (Index i = free_ - 1; i >= 0; --i) {
      double sum = scratch_[size(i)];
      for (Index j = i + 1; j < free_; ++j) sum -= schur_[size(j * free_ + i)] * scratch_[size(j)];
      scratch_[size(i)] = sum / schur_[size(i * free_ + i)];
    }
  }
  double forward_norm() {
    forward();
    double sum = 0.0;
    for (const double x : scratch_) sum += x * x;
    return sum;
  }

  Index types_ = 0, batches_ = 0, free_ = 0;
  const std::vector<Index>* slots_ = nullptr;
  std::vector<double> cross_, diagonal_, schur_, scratch_;
};

}  // namespace eosin::glm
