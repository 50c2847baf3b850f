#pragma once

// X'WX of a gene, factored and solved by the threads of a block: the mathematics of arrow_factor.hpp, with its order of
// elimination. All of it lies in the memory of the block. Threads take types, pairs of columns or right-hand sides; the
// Cholesky factor and the substitutions, which are of the size of the free columns, take one warp, a lane per row.
// Operations as on the processor; the depth is what costs: some 3 free^2 dependent multiply-adds for an inverse.

#include <eosin/glm/gene_threads.cuh>

#include <cmath>

namespace eosin::glm::kernels {

class BlockArrowFactor {
 public:
  /// Doubles and ints of memory.
  EOSIN_HOST_DEVICE static Index doubles(Index types, Index columns) {
    return 3 * types + 2 * columns + 2 * types * columns + 2 * columns * columns;
  }
  static Index integers(Index types) { return types; }

  /// What takes part: groups type_range[i] .. type_range[i + 1] of type i, column [groups x factors], slots [columns]
  /// numbers the free columns, column_of_slot [free] back.
  int types, columns, factors, free;
  const int *type_range, *column, *slots, *column_of_slot;

  __device__ void place(double* numbers, int* integers, int most_types) {
    diagonal_ = numbers;
    type_sum_ = diagonal_ + most_types;
    right_ = type_sum_ + 2 * most_types;
    means_ = right_ + 2 * columns;
    products_ = means_ + most_types * columns;
    lower_ = products_ + most_types * columns;
    inverse_ = lower_ + columns * columns;
    heaviest_ = integers;
  }

  /// Takes weights by group. False, in all threads, where the matrix is not positive definite to rounding.
  __device__ bool factor(const double* weights) {
    int positive = 1;
    for (int t = gene_thread(); t < types; t += gene_threads) {
      double* row = means_ + t * columns;
      for (int c = 0; c < columns; ++c) row[c] = 0.0;
      double sum = 0.0;
      int heaviest = type_range[t];
      for (int k = type_range[t]; k < type_range[t + 1]; ++k) {
        sum += weights[k];
        for (int f = 0; f < factors; ++f) row[column[k * factors + f]] += weights[k];
        if (weights[k] > weights[heaviest]) heaviest = k;
      }
      diagonal_[t] = sum;
      heaviest_[t] = heaviest;
      positive = positive && sum > 0.0;
    }
    if (!__syncthreads_and(positive)) return false;
    if (free == 0) {
      scale_means();
      __syncthreads();
      return true;
    }
    if (factors == 1) {
      assemble_laplacian();
    } else {
      scale_means();
      assemble_scatter(weights);
    }
    __syncthreads();
    return cholesky();
  }

  /// Solves X'WX x = X'g for Count right-hand sides g by group; x by type and by column, 0 where that is not free.
  template <int Count>
  __device__ void solve(const double* const (&g)[Count], double* const (&of_types)[Count],
                        double* const (&of_columns)[Count]) {
    for (int task = gene_thread(); task < Count * types; task += gene_threads) {
      const int r = task / types, t = task % types;
      double sum = 0.0;
      for (int k = type_range[t]; k < type_range[t + 1]; ++k) sum += g[r][k];
      type_sum_[task] = sum;
    }
    const int groups = type_range[types], lane = gene_thread() % 32;
    for (int task = gene_thread() / 32; task < Count * free; task += gene_warps) {
      const int r = task / free, c = column_of_slot[task % free];
      double sum = 0.0;
      for (int e = lane; e < groups * factors; e += 32)
        if (column[e] == c) sum += g[r][factors == 1 ? e : e / factors];
      sum = cuda::warp_sum(sum);
      if (lane == 0) right_[task] = sum;
    }
    __syncthreads();
    for (int task = gene_thread(); task < Count * free; task += gene_threads) {
      const int r = task / free, c = column_of_slot[task % free];
      double left = 0.0;
      for (int t = 0; t < types; ++t) left += type_sum_[r * types + t] * means_[t * columns + c];
      right_[task] -= left;
    }
    __syncthreads();
    if (gene_thread() < 32) substitute<Count>();
    __syncthreads();
    for (int task = gene_thread(); task < Count * columns; task += gene_threads) {
      const int r = task / columns, c = task % columns;
      of_columns[r][c] = slots[c] < 0 ? 0.0 : right_[r * free + slots[c]];
    }
    for (int task = gene_thread(); task < Count * types; task += gene_threads) {
      const int r = task / types, t = task % types;
      double sum = type_sum_[task] / diagonal_[t];
      for (int i = 0; i < free; ++i) sum -= means_[t * columns + column_of_slot[i]] * right_[r * free + i];
      of_types[r][t] = sum;
    }
    __syncthreads();
  }

  /// log det X'WX over the types and the free columns, as a sum over the block's threads.
  __device__ double part_of_log_determinant() const {
    double sum = 0.0;
    for (int t = gene_thread(); t < types; t += gene_threads) sum += std::log(diagonal_[t]);
    for (int i = gene_thread(); i < free; i += gene_threads) sum += 2.0 * std::log(lower_[i * free + i]);
    return sum;
  }

  /// Makes M^-1 and its products with the means of the types, for what follows.
  __device__ void invert() {
    for (int i = gene_thread(); i < free; i += gene_threads) {
      double* x = inverse_ + i * free;
      for (int a = 0; a < free; ++a) {
        double sum = a == i ? 1.0 : 0.0;
        for (int b = i; b < a; ++b) sum -= lower_[a * free + b] * x[b];
        x[a] = a < i ? 0.0 : sum / lower_[a * free + a];
      }
      for (int a = free - 1; a >= 0; --a) {
        double sum = x[a];
        for (int b = a + 1; b < free; ++b) sum -= lower_[b * free + a] * x[b];
        x[a] = sum / lower_[a * free + a];
      }
    }
    __syncthreads();
    for (int task = gene_thread(); task < types * free; task += gene_threads) {
      const int t = task / free, i = task % free;
      double sum = 0.0;
      for (int j = 0; j < free; ++j) sum += inverse_[j * free + i] * means_[t * columns + column_of_slot[j]];
      products_[t * columns + i] = sum;
    }
    __syncthreads();
  }

  /// Variance of beta_t.
  __device__ double variance_of_type(int t) const {
    double sum = 0.0;
    for (int i = 0; i < free; ++i) sum += means_[t * columns + column_of_slot[i]] * products_[t * columns + i];
    return 1.0 / diagonal_[t] + sum;
  }
  /// Variance of gamma_c, 0 for a reference.
  __device__ double variance_of_column(int c) const {
    return slots[c] < 0 ? 0.0 : inverse_[slots[c] * free + slots[c]];
  }
  /// Variance of the linear predictor of group k of type t.
  __device__ double variance_of_group(int k, int t) const {
    double sum = variance_of_type(t);
    for (int f = 0; f < factors; ++f) {
      const int i = slots[column[k * factors + f]];
      if (i < 0) continue;
      sum -= 2.0 * products_[t * columns + i];
      for (int g = 0; g < factors; ++g)
        if (const int j = slots[column[k * factors + g]]; j >= 0) sum += inverse_[i * free + j];
    }
    return sum;
  }
  /// Variance of beta_t + sum_c shares[c] gamma_c, for a warp; `shares` are the warp's own and are changed.
  __device__ double variance_of_mixture(int t, double* shares) const {
    const int lane = gene_thread() % 32;
    for (int i = lane; i < free; i += 32) shares[column_of_slot[i]] -= means_[t * columns + column_of_slot[i]];
    __syncwarp();
    double sum = 0.0;
    for (int i = lane; i < free; i += 32) {
      double product = 0.0;
      for (int j = 0; j < free; ++j) product += inverse_[j * free + i] * shares[column_of_slot[j]];
      sum += shares[column_of_slot[i]] * product;
    }
    return 1.0 / diagonal_[t] + cuda::warp_sum(sum);
  }

 private:
  __device__ void scale_means() {
    for (int task = gene_thread(); task < types * columns; task += gene_threads)
      means_[task] /= diagonal_[task / columns];
  }

  /// One factor: off-diagonal entries sum_t w_tb w_tb' / D_t, collected where the inverse will be.
  __device__ void assemble_laplacian() {
    for (int task = gene_thread(); task < free * columns; task += gene_threads) {
      const int c = column_of_slot[task / columns], other = task % columns;
      double sum = 0.0;
      for (int t = 0; t < types; ++t) {
        const double* row = means_ + t * columns;
        sum += row[c] / diagonal_[t] * row[other];
      }
      inverse_[task] = sum;
    }
    __syncthreads();
    scale_means();
    for (int task = gene_thread(); task < free * free; task += gene_threads) {
      const int i = task / free, j = task % free;
      if (j > i) continue;
      const double* row = inverse_ + i * columns;
      double sum = 0.0;
      if (i == j) {
        for (int c = 0; c < columns; ++c)
          if (c != column_of_slot[i]) sum += row[c];
      } else {
        sum = -row[column_of_slot[j]];
      }
      lower_[task] = sum;
    }
  }

  /// Several factors: with u_k = z_k - z of the type's heaviest group, sum w u u' - (sum w u) (sum w u)' / D.
  __device__ void assemble_scatter(const double* weights) {
    for (int task = gene_thread(); task < free * free; task += gene_threads) {
      const int i = task / free, j = task % free;
      if (j > i) continue;
      const int own = column_of_slot[i], other = column_of_slot[j];
      double sum = 0.0;
      for (int t = 0; t < types; ++t) {
        const int base_own = has(heaviest_[t], own), base_other = has(heaviest_[t], other);
        double both = 0.0, of_own = 0.0, of_other = 0.0;
        for (int k = type_range[t]; k < type_range[t + 1]; ++k) {
          const int u = has(k, own) - base_own, v = has(k, other) - base_other;
          both += weights[k] * (u * v);
          of_own += weights[k] * u;
          of_other += weights[k] * v;
        }
        sum += both - of_own * of_other / diagonal_[t];
      }
      lower_[task] = sum;
    }
  }
  __device__ int has(int k, int c) const {
    for (int f = 0; f < factors; ++f)
      if (column[k * factors + f] == c) return 1;
    return 0;
  }

  /// By the first warp, column after column.
  __device__ bool cholesky() {
    int definite = 1;
    if (gene_thread() < 32) {
      const int lane = gene_thread();
      for (int j = 0; j < free && definite; ++j) {
        const double* row = lower_ + j * free;
        double pivot = row[j];
        for (int l = 0; l < j; ++l) pivot -= row[l] * row[l];
        definite = pivot > 0.0 && std::isfinite(pivot);
        const double root = std::sqrt(pivot);
        __syncwarp();
        for (int i = j + lane; i < free && definite; i += 32) {
          double* other = lower_ + i * free;
          double sum = other[j];
          for (int l = 0; l < j; ++l) sum -= other[l] * row[l];
          other[j] = i == j ? root : sum / root;
        }
        __syncwarp();
      }
    }
    return __syncthreads_and(definite) != 0;
  }

  /// right := M^-1 right, by the first warp.
  template <int Count>
  __device__ void substitute() {
    const int lane = gene_thread();
    for (int j = 0; j < free; ++j) {
      double x[Count];
      for (int r = 0; r < Count; ++r) x[r] = right_[r * free + j] / lower_[j * free + j];
      __syncwarp();
      for (int i = j + lane; i < free; i += 32)
        for (int r = 0; r < Count; ++r)
          right_[r * free + i] = i == j ? x[r] : right_[r * free + i] - lower_[i * free + j] * x[r];
      __syncwarp();
    }
    for (int j = free - 1; j >= 0; --j) {
      double x[Count];
      for (int r = 0; r < Count; ++r) x[r] = right_[r * free + j] / lower_[j * free + j];
      __syncwarp();
      for (int i = lane; i <= j; i += 32)
        for (int r = 0; r < Count; ++r)
          right_[r * free + i] = i == j ? x[r] : right_[r * free + i] - lower_[j * free + i] * x[r];
      __syncwarp();
    }
  }

  double *diagonal_, *type_sum_, *right_, *means_, *products_, *lower_, *inverse_;
  int* heaviest_;
};

}  // namespace eosin::glm::kernels
