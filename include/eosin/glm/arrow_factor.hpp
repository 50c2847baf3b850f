#pragma once

// Factorisation of X'WX for a model of types and further factors (batch, covariates), X the design of groups, W =
// diag(w) >= 0. A group k has one type t(k) and one column per factor, the 0/1 vector z_k:
//
//   X'WX = [ D  C ]   D_t = sum_{k in t} w_k (diagonal),  C_t = sum_{k in t} w_k z_k = D_t m_t,  B = sum_k w_k z_k z_k'
//          [ C' B ]   Schur complement  M = B - C' D^-1 C = sum_k w_k (z_k - m_t(k)) (z_k - m_t(k))'
//
// over the free columns: those that are neither a reference nor absent. With one factor M is a weighted graph Laplacian
// without the reference rows: its diagonal is summed from the off-diagonal entries (references included), so nothing
// cancels. With several factors the scatter of a type is taken about its heaviest group, which bounds the cancellation
// by the number of groups of the type. M = L L'. For a linear predictor x = sum_t c_t e_t + sum_j p_j e_j:
//
//   x' (X'WX)^-1 x = sum_t c_t^2 / D_t + (p - sum_t c_t m_t)' M^-1 (p - sum_t c_t m_t)
//
// Cost: factor O(groups + types columns^2 + columns^3), solve O(groups + types columns + columns^2).

#include <eosin/core/buffer.hpp>
#include <eosin/core/config.hpp>
#include <eosin/math/pack.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace eosin::glm {

class ArrowFactor {
 public:
  /// The groups that take part: `type` [groups], ascending, numbered from 0 without gaps; `column` [groups x factors];
  /// slots[column] numbers the free columns 0 .. free-1, -1 is a reference or absent column. The arrays must outlive
  /// their use here.
  void reset(const std::vector<Index>& type, const std::vector<Index>& column, Index factors,
             const std::vector<Index>& slots, Index free_columns) {
    type_ = &type;
    column_ = &column;
    slots_ = &slots;
    factors_ = factors;
    groups_ = static_cast<Index>(type.size());
    types_ = groups_ == 0 ? 0 : type.back() + 1;
    columns_ = static_cast<Index>(slots.size());
    free_ = free_columns;
    stride_ = padded(columns_);
    grow(diagonal_, types_);
    grow(type_sum_, types_);
    grow(means_, types_ * stride_);
    grow(inverse_, columns_ * stride_);
    grow(column_sum_, stride_);
    grow(lower_, free_ * free_);
    grow(scratch_, std::max(free_, stride_));
    // A type that has all columns of the only factor finds its row of weights as it stands.
    begin_.assign(size(types_) + 1, 0);
    for (Index k = 0; k < groups_; ++k) begin_[size(type[size(k)]) + 1] = k + 1;
    complete_.assign(size(types_), 0);
    for (Index t = 0; t < types_; ++t)
      complete_[size(t)] = factors_ == 1 && begin_[size(t) + 1] - begin_[size(t)] == columns_;
    column_of_.resize(size(free_));
    for (Index c = 0; c < columns_; ++c)
      if (slots[size(c)] >= 0) column_of_[size(slots[size(c)])] = c;
  }

  /// Takes weights [groups]; every type needs some. False where the matrix is not positive definite to rounding.
  bool factor(const double* weights) {
    for (Index t = 0; t < types_; ++t) {
      double* row = means_.data() + t * stride_;
      const Index begin = begin_[size(t)], end = begin_[size(t) + 1];
      double sum = 0.0;
      if (complete_[size(t)] && columns_ < V::size) {
        // So few that a register's sum across its lanes would cost more.
        for (Index c = 0; c < columns_; ++c) sum += row[c] = weights[begin + c];
        std::fill(row + columns_, row + stride_, 0.0);
      } else if (complete_[size(t)]) {
        math::PackSum<double> total;
        math::for_each_pack<double>(0, columns_, [&](auto lanes) {
          const V w = lanes.load(weights + begin);
          total.add(w);
          math::FullLanes<double>{lanes.index}.store(row, w);
        });
        sum = total.total();
      } else {
        std::fill(row, row + stride_, 0.0);
        for (Index k = begin; k < end; ++k) {
          sum += weights[k];
          for (Index f = 0; f < factors_; ++f) row[column(k, f)] += weights[k];
        }
      }
      if (!(sum > 0.0)) return false;
      diagonal_[t] = sum;
    }
    if (free_ == 0) {
      scale_means();
      return true;
    }
    if (factors_ == 1) {
      assemble_laplacian();
    } else {
      scale_means();
      assemble_scatter(weights);
    }
    return cholesky();
  }

  /// Solves X'WX x = X'g for g [groups]: x as types [types] and columns [columns], 0 for those that are not free.
  void solve(const double* g, double* types, double* columns) {
    double* const sums = column_sum_.data();
    std::fill(sums, sums + stride_, 0.0);
    for (Index t = 0; t < types_; ++t) {
      double sum = 0.0;
      for (Index k = begin_[size(t)]; k < begin_[size(t) + 1]; ++k) {
        sum += g[k];
        for (Index f = 0; f < factors_; ++f) sums[column(k, f)] += g[k];
      }
      type_sum_[t] = sum;
    }
    std::fill(columns, columns + columns_, 0.0);
    if (free_ > 0) {
      for (Index c = 0; c < stride_; c += V::size) {
        const math::FullLanes<double> lanes{c};
        V left(0.0);
        for (Index t = 0; t < types_; ++t)
          left = math::multiply_add(V(type_sum_[t]), lanes.load(means_.data() + t * stride_), left);
        lanes.store(scratch_.data(), left);
      }
      for (Index i = 0; i < free_; ++i) sums[column_of_[size(i)]] -= scratch_[column_of_[size(i)]];
      for (Index i = 0; i < free_; ++i) scratch_[i] = sums[column_of_[size(i)]];
      forward();
      backward();
      for (Index i = 0; i < free_; ++i) columns[column_of_[size(i)]] = scratch_[i];
    }
    for (Index t = 0; t < types_; ++t) {
      double sum = type_sum_[t] / diagonal_[t];
      const double* mean = means_.data() + t * stride_;
      for (Index i = 0; i < free_; ++i) sum -= mean[column_of_[size(i)]] * columns[column_of_[size(i)]];
      types[t] = sum;
    }
  }

  /// log det X'WX over the types and the free columns.
  double log_determinant() const {
    double sum = 0.0;
    for (Index t = 0; t < types_; ++t) sum += std::log(diagonal_[t]);
    for (Index i = 0; i < free_; ++i) sum += 2.0 * std::log(lower_[i * free_ + i]);
    return sum;
  }

  /// Makes M^-1, for what follows.
  void invert() {
    std::fill(inverse_.begin(), inverse_.begin() + columns_ * stride_, 0.0);
    for (Index i = 0; i < free_; ++i) {
      std::fill(scratch_.begin(), scratch_.begin() + free_, 0.0);
      scratch_[i] = 1.0;
      forward();
      backward();
      double* row = inverse_.data() + column_of_[size(i)] * stride_;
      for (Index j = 0; j < free_; ++j) row[column_of_[size(j)]] = scratch_[j];
    }
  }

  /// Variances of the linear predictors of all groups, into `result` [groups]. Cost O(types columns^2 + groups).
  void variances_of_groups(double* result) {
    double* product = scratch_.data();
    Index k = 0;
    for (Index t = 0; t < types_; ++t) {
      const double* mean = means_.data() + t * stride_;
      const double own = 1.0 / diagonal_[t] + multiply(mean, product);
      for (; k < groups_ && type(k) == t; ++k) {
        double sum = own;
        for (Index f = 0; f < factors_; ++f) {
          const Index c = column(k, f);
          sum -= 2.0 * product[c];
          for (Index g = 0; g < factors_; ++g) sum += inverse_[c * stride_ + column(k, g)];
        }
        result[k] = sum;
      }
    }
  }
  /// Variance of beta_t + sum_c shares[c] gamma_c.
  double variance(Index type, const double* shares) {
    column_sum_.fill(0.0);
    const double* mean = means_.data() + type * stride_;
    for (Index c = 0; c < columns_; ++c) column_sum_[c] = shares[c] - mean[c];
    return 1.0 / diagonal_[type] + multiply(column_sum_.data(), scratch_.data());
  }
  /// Variance of beta_t.
  double variance_of_type(Index type) {
    return 1.0 / diagonal_[type] + multiply(means_.data() + type * stride_, scratch_.data());
  }
  double covariance_of_types(Index one, Index other) {
    const double* mean = means_.data() + other * stride_;
    multiply(means_.data() + one * stride_, scratch_.data());
    double sum = one == other ? 1.0 / diagonal_[one] : 0.0;
    for (Index c = 0; c < columns_; ++c) sum += mean[c] * scratch_[c];
    return sum;
  }
  /// Variance of gamma_c, 0 for a reference.
  double variance_of_column(Index column) const { return inverse_[column * stride_ + column]; }
  /// Variance of sum_t c_t beta_t + sum_c p_c gamma_c; either may be null for none.
  double variance_of(const double* types, const double* columns) {
    column_sum_.fill(0.0);
    double sum = 0.0;
    for (Index c = 0; c < columns_ && columns != nullptr; ++c) column_sum_[c] = columns[c];
    for (Index t = 0; t < types_ && types != nullptr; ++t) {
      if (types[t] == 0.0) continue;
      sum += types[t] * types[t] / diagonal_[t];
      add_row(column_sum_.data(), -types[t], means_.data() + t * stride_);
    }
    return sum + multiply(column_sum_.data(), scratch_.data());
  }

 private:
  using V = math::Pack<double>;

  static std::size_t size(Index i) { return static_cast<std::size_t>(i); }
  static Index padded(Index n) { return (n + V::size - 1) / V::size * V::size; }
  static void grow(Buffer<double>& buffer, Index n) {
    if (buffer.size() < n) buffer = Buffer<double>(n);
  }
  Index type(Index k) const { return (*type_)[size(k)]; }
  Index column(Index k, Index f) const { return (*column_)[size(k * factors_ + f)]; }
  Index slot(Index column) const { return (*slots_)[size(column)]; }

  /// row += factor * other, both of stride_ entries.
  void add_row(double* row, double factor, const double* other) const {
    for (Index c = 0; c < stride_; c += V::size) {
      const math::FullLanes<double> lanes{c};
      lanes.store(row, math::multiply_add(V(factor), lanes.load(other), lanes.load(row)));
    }
  }
  /// product := M^-1 x, and x' M^-1 x. M^-1 has zeros where a column is not free.
  double multiply(const double* x, double* product) const {
    for (Index c = 0; c < stride_; c += V::size) {
      const math::FullLanes<double> lanes{c};
      V sum(0.0);
      for (Index i = 0; i < free_; ++i) {
        const Index j = column_of_[size(i)];
        sum = math::multiply_add(V(x[j]), lanes.load(inverse_.data() + j * stride_), sum);
      }
      lanes.store(product, sum);
    }
    double sum = 0.0;
    for (Index i = 0; i < free_; ++i) sum += x[column_of_[size(i)]] * product[column_of_[size(i)]];
    return sum;
  }

  void scale_means() {
    for (Index t = 0; t < types_; ++t)
      for (Index c = 0; c < columns_; ++c) means_[t * stride_ + c] /= diagonal_[t];
  }

  /// One factor: off-diagonal entries sum_t w_tb w_tb' / D_t, collected in inverse_ before it holds the inverse.
  void assemble_laplacian() {
    double* products = inverse_.data();
    for (Index t = 0; t < types_; ++t) type_sum_[t] = 1.0 / diagonal_[t];
    for (Index i = 0; i < free_; ++i) {
      const Index c = column_of_[size(i)];
      for (Index other = 0; other < stride_; other += V::size) {
        const math::FullLanes<double> lanes{other};
        V sum(0.0);
        for (Index t = 0; t < types_; ++t) {
          const double* row = means_.data() + t * stride_;
          sum = math::multiply_add(V(type_sum_[t] * row[c]), lanes.load(row), sum);
        }
        lanes.store(products + c * stride_, sum);
      }
    }
    for (Index t = 0; t < types_; ++t) {
      double* row = means_.data() + t * stride_;
      for (Index c = 0; c < stride_; c += V::size) {
        const math::FullLanes<double> lanes{c};
        lanes.store(row, lanes.load(row) * V(type_sum_[t]));
      }
    }
    for (Index i = 0; i < free_; ++i) {
      const double* row = products + column_of_[size(i)] * stride_;
      double sum = 0.0;
      for (Index c = 0; c < columns_; ++c)
        if (c != column_of_[size(i)]) sum += row[c];
      for (Index j = 0; j < i; ++j) lower_[i * free_ + j] = -row[column_of_[size(j)]];
      lower_[i * free_ + i] = sum;
    }
  }

  /// Several factors: with u_k = z_k - z of the type's heaviest group, sum w u u' - (sum w u) (sum w u)' / D.
  void assemble_scatter(const double* weights) {
    std::fill(lower_.begin(), lower_.begin() + free_ * free_, 0.0);
    const auto add = [&](Index i, Index j, double value) {
      if (i >= j) lower_[i * free_ + j] += value;
    };
    for (Index begin = 0, end = 0; begin < groups_; begin = end) {
      for (end = begin; end < groups_ && type(end) == type(begin);) ++end;
      Index heaviest = begin;
      for (Index k = begin; k < end; ++k)
        if (weights[k] > weights[heaviest]) heaviest = k;
      std::fill(scratch_.begin(), scratch_.begin() + free_, 0.0);
      for (Index k = begin; k < end; ++k) {
        if (weights[k] == 0.0 || k == heaviest) continue;
        for (Index f = 0; f < factors_; ++f) {
          if (column(k, f) == column(heaviest, f)) continue;
          for (const double sign : {1.0, -1.0}) {
            const Index i = slot(column(sign > 0.0 ? k : heaviest, f));
            if (i < 0) continue;
            scratch_[i] += sign * weights[k];
            for (Index g = 0; g < factors_; ++g) {
              if (column(k, g) == column(heaviest, g)) continue;
              if (const Index j = slot(column(k, g)); j >= 0) add(i, j, sign * weights[k]);
              if (const Index j = slot(column(heaviest, g)); j >= 0) add(i, j, -sign * weights[k]);
            }
          }
        }
      }
      const double share = 1.0 / diagonal_[type(begin)];
      for (Index i = 0; i < free_; ++i)
        for (Index j = 0; j <= i && scratch_[i] != 0.0; ++j) lower_[i * free_ + j] -= share * scratch_[i] * scratch_[j];
    }
  }

  bool cholesky() {
    for (Index i = 0; i < free_; ++i) {
      double* row = lower_.data() + i * free_;
      for (Index j = 0; j <= i; ++j) {
        const double* other = lower_.data() + j * free_;
        double sum = row[j];
        for (Index l = 0; l < j; ++l) sum -= row[l] * other[l];
        if (i != j) {
          row[j] = sum * inverse_pivot(j);
        } else {
          if (!(sum > 0.0) || !std::isfinite(sum)) return false;
          row[i] = std::sqrt(sum);
        }
      }
    }
    return true;
  }
  double inverse_pivot(Index i) const { return 1.0 / lower_[i * free_ + i]; }

  /// scratch := L^-1 scratch
  void forward() {
    for (Index i = 0; i < free_; ++i) {
      double sum = scratch_[i];
      for (Index j = 0; j < i; ++j) sum -= lower_[i * free_ + j] * scratch_[j];
      scratch_[i] = sum * inverse_pivot(i);
    }
  }
  /// scratch := L'^-1 scratch
  void backward() {
    for (Index i = free_ - 1; i >= 0; --i) {
      double sum = scratch_[i];
      for (Index j = i + 1; j < free_; ++j) sum -= lower_[j * free_ + i] * scratch_[j];
      scratch_[i] = sum * inverse_pivot(i);
    }
  }

  Index groups_ = 0, factors_ = 1, types_ = 0, columns_ = 0, free_ = 0, stride_ = 0;
  const std::vector<Index>*type_ = nullptr, *column_ = nullptr, *slots_ = nullptr;
  std::vector<Index> column_of_, begin_;
  std::vector<char> complete_;
  Buffer<double> diagonal_, type_sum_, column_sum_, means_, inverse_, lower_, scratch_;
};

}  // namespace eosin::glm
