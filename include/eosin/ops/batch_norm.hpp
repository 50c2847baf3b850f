#pragma once

// Batch normalisation of channels (Ioffe and Szegedy 2015), with the ReLU that follows it, over the rows (pixels) of a
// matrix:
//
//   y_nc = relu( s_c x_nc + t_c ),    s_c = gamma_c i_c,    t_c = beta_c - m_c s_c,    i_c = 1 / sqrt(v_c + eps)
//
// m and v are mean and variance (divided by N) of the channel over the batch in training, running statistics otherwise.
// With d_nc = dy_nc where y_nc > 0, else 0 (the derivative of relu at 0 is 0):
//
//   d beta_c = sum_n d_nc,    d gamma_c = i_c sum_n d_nc (x_nc - m_c)
//   training:   dx_nc = s_c ( d_nc - (1/N) sum d_c - (x_nc - m_c) i_c^2 (1/N) sum d_c (x_c - m_c) )
//   otherwise:  dx_nc = s_c d_nc
//
// The functions work on ranges of rows, so that they run on data in the cache before or after a convolution. Statistics
// and sums are taken per block of rows, 128 rows at a time, and joined in order in double (means and squares about them
// by the formula of Chan, Golub and LeVeque 1983): no cancellation, and no dependence on the number of threads.
// Derivation: docs/derivations/batch_norm.md.

#include <eosin/core/context.hpp>
#include <eosin/math/pack.hpp>
#include <eosin/ops/blocks.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace eosin::ops {
inline namespace EOSIN_ISA_NAMESPACE {

/// What a normalisation multiplies and adds per channel, and what its backward pass reads. All [channels], contiguous.
template <class T, class Space = Host>
struct BatchNormCoefficients {
  VectorView<T, Space> mean;
  VectorView<T, Space> inverse_deviation;
  VectorView<T, Space> scale;
  VectorView<T, Space> shift;

  BatchNormCoefficients segment(Index begin, Index count) const {
    return {mean.segment(begin, count), inverse_deviation.segment(begin, count), scale.segment(begin, count),
            shift.segment(begin, count)};
  }
};

/// dx_nc = slope_c d_nc - (offset_c + (x_nc - mean_c) tilt_c).
template <class T, class Space = Host>
struct BatchNormInputGradient {
  VectorView<T, Space> mean;
  VectorView<T, Space> slope;
  VectorView<T, Space> offset;
  VectorView<T, Space> tilt;
};

namespace detail {

/// Rows whose sums are taken in T.
inline constexpr Index rows_per_sum = 128;

template <math::Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V positive_part(V x) {
  return math::select(x > V(0), x, V(0));
}

/// y of one value.
template <bool Relu, math::Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V normalised(V x, std::type_identity_t<V> scale,
                                                          std::type_identity_t<V> shift) {
  const V y = math::multiply_add(x, scale, shift);
  if constexpr (Relu) {
    return positive_part(y);
  } else {
    return y;
  }
}

/// d where relu(scale x + shift) passes, else 0.
template <math::Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V where_relu_passes(V x, std::type_identity_t<V> scale,
                                                                 std::type_identity_t<V> shift,
                                                                 std::type_identity_t<V> d) {
  return math::select(math::multiply_add(x, scale, shift) > V(0), d, V(0));
}

/// dx of one value.
template <math::Number V>
EOSIN_HOST_DEVICE inline EOSIN_ALWAYS_INLINE V input_gradient(V x, std::type_identity_t<V> d,
                                                              std::type_identity_t<V> mean,
                                                              std::type_identity_t<V> slope,
                                                              std::type_identity_t<V> offset,
                                                              std::type_identity_t<V> tilt) {
  const V back = math::multiply_add(x - mean, tilt, offset);
  return slope * d - back;
}

/// Mean, and squares about it, of `before` numbers and of `count` others.
EOSIN_HOST_DEVICE inline void join_moments(double before, double& mean, double& squares, double count,
                                           double other_mean, double other_squares) {
  const double all = before + count, difference = other_mean - mean;
  mean += difference * (count / all);
  squares += other_squares + difference * difference * (before * count / all);
}

}  // namespace detail

// What becomes of d once it has been added to the sums of BlockGradientSums, for rows that start with those of `out`.

/// out = d.
template <class T, class Space = Host>
struct KeepGradient {
  MatrixView<T, Space> out;
  template <class Lanes, class V>
  void operator()(Index row, Lanes lanes, V d) const {
    lanes.store(&out(row, 0), d);
  }
  EOSIN_HOST_DEVICE void operator()(Index row, Index col, T d) const { out(row, col) = d; }
};
/// out = weight d.
template <class T, class Space = Host>
struct KeepWeightedGradient {
  VectorView<const T, Space> weight;
  MatrixView<T, Space> out;
  template <class Lanes, class V>
  void operator()(Index row, Lanes lanes, V d) const {
    lanes.store(&out(row, 0), lanes.load(weight.data()) * d);
  }
  EOSIN_HOST_DEVICE void operator()(Index row, Index col, T d) const { out(row, col) = weight[col] * d; }
};
/// out += weight d.
template <class T, class Space = Host>
struct AddWeightedGradient {
  VectorView<const T, Space> weight;
  MatrixView<T, Space> out;
  template <class Lanes, class V>
  void operator()(Index row, Lanes lanes, V d) const {
    T* total = &out(row, 0);
    lanes.store(total, math::multiply_add(d, lanes.load(weight.data()), lanes.load(total)));
  }
  EOSIN_HOST_DEVICE void operator()(Index row, Index col, T d) const {
    out(row, col) = math::multiply_add(d, weight[col], out(row, col));
  }
};
/// Nothing.
struct DropGradient {
  template <class Lanes, class V>
  EOSIN_HOST_DEVICE void operator()(Index, Lanes, V) const {}
};

/// Mean and variance of channels from blocks of rows.
template <class T, class Space = Host>
class BlockMoments {
 public:
  BlockMoments(CpuContext& context, Index blocks, Index channels)
      : BlockMoments(context.workspace(), blocks, channels) {}
  /// Takes its memory from the workspace, where it stays until the caller's mark dies.
  BlockMoments(Workspace& workspace, Index blocks, Index channels)
      : counts_(workspace.take<double>(blocks)),
        means_(workspace.take<double>(blocks, channels)),
        squares_(workspace.take<double>(blocks, channels)),
        sums_(workspace.take<T>(blocks, 2 * channels)) {
    std::fill_n(counts_.data(), blocks, 0.0);
  }

  /// Adds rows [rows x channels] to a block; one thread at a time per block.
  void add(Index block, MatrixView<const T> x) const {
    const Index channels = means_.cols();
    T* sum = &sums_(block, 0);
    T* square = sum + channels;
    double* mean = &means_(block, 0);
    double* total = &squares_(block, 0);
    for (Index begin = 0; begin < x.rows(); begin += detail::rows_per_sum) {
      const Index rows = std::min(detail::rows_per_sum, x.rows() - begin);
      const T share = T(1) / static_cast<T>(rows);
      std::fill_n(sum, 2 * channels, T(0));
      for (Index r = begin; r < begin + rows; ++r) {
        const T* row = &x(r, 0);
        math::for_each_pack<T>(0, channels, [&](auto lanes) { lanes.store(sum, lanes.load(sum) + lanes.load(row)); });
      }
      math::for_each_pack<T>(0, channels, [&](auto lanes) { lanes.store(sum, lanes.load(sum) * share); });
      for (Index r = begin; r < begin + rows; ++r) {
        const T* row = &x(r, 0);
        math::for_each_pack<T>(0, channels, [&](auto lanes) {
          const auto d = lanes.load(row) - lanes.load(sum);
          lanes.store(square, math::multiply_add(d, d, lanes.load(square)));
        });
      }
      const double before = counts_[block], n = static_cast<double>(rows), all = before + n;
      for (Index c = 0; c < channels; ++c) {
        if (before == 0) {
          mean[c] = static_cast<double>(sum[c]);
          total[c] = static_cast<double>(square[c]);
          continue;
        }
        detail::join_moments(before, mean[c], total[c], n, static_cast<double>(sum[c]), static_cast<double>(square[c]));
      }
      counts_[block] = all;
    }
  }

  /// Joins the blocks in order. `variance` is divided by the number of rows.
  void finish(VectorView<T> mean, VectorView<T> variance) const {
    const Index channels = means_.cols();
    for (Index c = 0; c < channels; ++c) {
      double count = 0, centre = 0, squares = 0;
      for (Index b = 0; b < counts_.size(); ++b) {
        if (counts_[b] == 0) continue;
        detail::join_moments(count, centre, squares, counts_[b], means_(b, c), squares_(b, c));
        count += counts_[b];
      }
      mean[c] = static_cast<T>(centre);
      variance[c] = static_cast<T>(count > 0 ? squares / count : 0);
    }
  }

 private:
  VectorView<double> counts_;
  MatrixView<double> means_;
  MatrixView<double> squares_;
  MatrixView<T> sums_;
};

/// sum_n d_nc and sum_n d_nc (x_nc - m_c) of channels from blocks of rows.
template <class T, class Space = Host>
class BlockGradientSums {
 public:
  BlockGradientSums(CpuContext& context, Index blocks, Index channels)
      : BlockGradientSums(context.workspace(), blocks, channels) {}
  BlockGradientSums(Workspace& workspace, Index blocks, Index channels)
      : channels_(channels),
        totals_(workspace.take<double>(blocks, 2 * channels)),
        sums_(workspace.take<T>(blocks, 2 * channels)) {
    std::fill_n(totals_.data(), totals_.size(), 0.0);
  }

  /// d = `upstream` where relu passes (everywhere without `Relu`), for rows of x; calls take(row, lanes, d) for each
  /// pack and adds to the sums of the block. One thread at a time per block.
  template <bool Relu, class Take>
  void add(Index block, MatrixView<const T> x, MatrixView<const T> upstream, const BatchNormCoefficients<T>& norm,
           Take&& take) const {
    using Pack = math::Pack<T>;
    T* plain = &sums_(block, 0);
    T* centred = plain + channels_;
    const T* mean = norm.mean.data();
    const T* scale = norm.scale.data();
    const T* shift = norm.shift.data();
    double* total = &totals_(block, 0);
    for (Index begin = 0; begin < x.rows(); begin += detail::rows_per_sum) {
      const Index end = std::min(begin + detail::rows_per_sum, x.rows());
      std::fill_n(plain, 2 * channels_, T(0));
      for (Index r = begin; r < end; ++r) {
        const T* in = &x(r, 0);
        const T* up = &upstream(r, 0);
        math::for_each_pack<T>(0, channels_, [&](auto lanes) {
          const Pack value = lanes.load(in);
          Pack d = lanes.load(up);
          if constexpr (Relu) d = detail::where_relu_passes(value, lanes.load(scale), lanes.load(shift), d);
          lanes.store(plain, lanes.load(plain) + d);
          lanes.store(centred, math::multiply_add(d, value - lanes.load(mean), lanes.load(centred)));
          take(r, lanes, d);
        });
      }
      for (Index c = 0; c < 2 * channels_; ++c) total[c] += static_cast<double>(plain[c]);
    }
  }

  /// Joins the blocks in order.
  void finish(VectorView<double> sum, VectorView<double> centred) const {
    for (Index c = 0; c < channels_; ++c) {
      sum[c] = centred[c] = 0;
      for (Index b = 0; b < totals_.rows(); ++b) {
        sum[c] += totals_(b, c);
        centred[c] += totals_(b, channels_ + c);
      }
    }
  }

 private:
  Index channels_;
  MatrixView<double> totals_;
  MatrixView<T> sums_;
};

namespace detail {

/// The coefficients of channel c.
template <class T, class Space>
struct ChannelCoefficients {
  VectorView<const T, Space> mean, variance, weight, bias;
  T eps;
  BatchNormCoefficients<T, Space> norm;

  EOSIN_HOST_DEVICE void operator()(Index c) const {
    norm.mean[c] = mean[c];
    norm.inverse_deviation[c] = T(1) / std::sqrt(variance[c] + eps);
    norm.scale[c] = weight.empty() ? norm.inverse_deviation[c] : weight[c] * norm.inverse_deviation[c];
    norm.shift[c] = (bias.empty() ? T(0) : bias[c]) - norm.mean[c] * norm.scale[c];
  }
};

template <class T, class Space>
struct ChannelInputGradient {
  BatchNormCoefficients<T, Space> norm;
  VectorView<const T, Space> scale;
  VectorView<const double, Space> sum, centred;
  Index rows;
  BatchNormInputGradient<T, Space> gradient;

  EOSIN_HOST_DEVICE void operator()(Index c) const {
    const double share = rows > 0 ? static_cast<double>(scale[c]) / static_cast<double>(rows) : 0;
    const auto deviation = static_cast<double>(norm.inverse_deviation[c]);
    gradient.mean[c] = norm.mean[c];
    gradient.slope[c] = scale[c];
    gradient.offset[c] = static_cast<T>(share * sum[c]);
    gradient.tilt[c] = static_cast<T>(share * deviation * deviation * centred[c]);
  }
};

}  // namespace detail

/// The coefficients from `mean` and `variance`; an empty `weight` is 1, an empty `bias` 0.
template <class T, Context C>
void batch_norm_coefficients(C& context, VectorView<const std::type_identity_t<T>, typename C::space> mean,
                             VectorView<const std::type_identity_t<T>, typename C::space> variance,
                             VectorView<const std::type_identity_t<T>, typename C::space> weight,
                             VectorView<const std::type_identity_t<T>, typename C::space> bias, T eps,
                             const BatchNormCoefficients<T, typename C::space>& norm) {
  for_each_channel(context, "batch_norm_coefficients", norm.mean.size(),
                   detail::ChannelCoefficients<T, typename C::space>{mean, variance, weight, bias, eps, norm});
}

/// y = s x + t, then relu if `Relu`, for a range of rows on the calling thread. y may be x.
template <bool Relu, class T>
void normalise_rows_of_batch(MatrixView<const std::type_identity_t<T>> x, const BatchNormCoefficients<T>& norm,
                             MatrixView<T> y) {
  const T* scale = norm.scale.data();
  const T* shift = norm.shift.data();
  for (Index r = 0; r < x.rows(); ++r) {
    const T* in = &x(r, 0);
    T* out = &y(r, 0);
    math::for_each_pack<T>(0, x.cols(), [&](auto lanes) {
      lanes.store(out, detail::normalised<Relu>(lanes.load(in), lanes.load(scale), lanes.load(shift)));
    });
  }
}

/// d = d where relu(s x + t) passes, else 0, for a range of rows on the calling thread.
template <class T>
void relu_backward_rows(MatrixView<const std::type_identity_t<T>> x, const BatchNormCoefficients<T>& norm,
                        MatrixView<T> d) {
  const T* scale = norm.scale.data();
  const T* shift = norm.shift.data();
  for (Index r = 0; r < x.rows(); ++r) {
    const T* in = &x(r, 0);
    T* out = &d(r, 0);
    math::for_each_pack<T>(0, x.cols(), [&](auto lanes) {
      lanes.store(out,
                  detail::where_relu_passes(lanes.load(in), lanes.load(scale), lanes.load(shift), lanes.load(out)));
    });
  }
}

/// Coefficients of dx from the sums of BlockGradientSums. `rows` is N in training and 0 otherwise, when the statistics
/// do not depend on x; `scale` is s_c, or what multiplies d_nc in its place.
template <class T, Context C>
void batch_norm_input_gradient(C& context, const BatchNormCoefficients<T, typename C::space>& norm,
                               VectorView<const std::type_identity_t<T>, typename C::space> scale,
                               VectorView<const double, typename C::space> sum,
                               VectorView<const double, typename C::space> centred, Index rows,
                               const BatchNormInputGradient<T, typename C::space>& gradient) {
  for_each_channel(context, "batch_norm_input_gradient", norm.mean.size(),
                   detail::ChannelInputGradient<T, typename C::space>{norm, scale, sum, centred, rows, gradient});
}

/// dx for a range of rows on the calling thread; dx may be d.
template <class T>
void batch_norm_backward_rows(MatrixView<const std::type_identity_t<T>> x, MatrixView<const std::type_identity_t<T>> d,
                              const BatchNormInputGradient<T>& gradient, MatrixView<T> dx) {
  const T* mean = gradient.mean.data();
  const T* slope = gradient.slope.data();
  const T* offset = gradient.offset.data();
  const T* tilt = gradient.tilt.data();
  for (Index r = 0; r < x.rows(); ++r) {
    const T* in = &x(r, 0);
    const T* up = &d(r, 0);
    T* out = &dx(r, 0);
    math::for_each_pack<T>(0, x.cols(), [&](auto lanes) {
      lanes.store(out, detail::input_gradient(lanes.load(in), lanes.load(up), lanes.load(mean), lanes.load(slope),
                                              lanes.load(offset), lanes.load(tilt)));
    });
  }
}

// The same behind a context, for code that runs on a device too, where they queue.

template <bool Relu, class T>
void normalise_rows_of_batch(CpuContext&, MatrixView<const std::type_identity_t<T>> x,
                             const BatchNormCoefficients<T>& norm, MatrixView<T> y) {
  normalise_rows_of_batch<Relu, T>(x, norm, y);
}
template <class T>
void relu_backward_rows(CpuContext&, MatrixView<const std::type_identity_t<T>> x, const BatchNormCoefficients<T>& norm,
                        MatrixView<T> d) {
  relu_backward_rows<T>(x, norm, d);
}
template <class T>
void batch_norm_backward_rows(CpuContext&, MatrixView<const std::type_identity_t<T>> x,
                              MatrixView<const std::type_identity_t<T>> d, const BatchNormInputGradient<T>& gradient,
                              MatrixView<T> dx) {
  batch_norm_backward_rows<T>(x, d, gradient, dx);
}

/// A vector of equal numbers in the memory that is named.
template <class T>
Vector<T> constant_vector(Host, Index size, T value) {
  Vector<T> out(size);
  out.fill(value);
  return out;
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/batch_norm.cuh>
#endif
