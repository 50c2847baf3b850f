#pragma once

// Convolution by its definition, in double: what the blocked paths are tested against.

#include <eosin/core/convolution_backend.hpp>

#include "support/arrays.hpp"

namespace eosin::testing {

/// Calls f(output row, output, input row, channel, weight position) for every product of the convolution.
template <class F>
void for_each_tap(const ConvolutionShape& s, F&& f) {
  for (Index n = 0; n < s.images; ++n)
    for (Index i = 0; i < s.out_height(); ++i)
      for (Index j = 0; j < s.out_width(); ++j)
        for (Index o = 0; o < s.outputs; ++o)
          for (Index c = 0; c < s.channels; ++c)
            for (Index u = 0; u < s.kernel; ++u)
              for (Index v = 0; v < s.kernel; ++v) {
                const Index a = i * s.stride - s.padding + u, b = j * s.stride - s.padding + v;
                if (a < 0 || a >= s.height || b < 0 || b >= s.width) continue;
                f((n * s.out_height() + i) * s.out_width() + j, o, (n * s.height + a) * s.width + b, c,
                  ((o * s.channels + c) * s.kernel + u) * s.kernel + v);
              }
}

struct ConvolutionReference {
  Matrix<double> y, dx, d_weight;
};

inline ConvolutionReference convolution_reference(const ConvolutionShape& s, const Matrix<double>& x,
                                                  const Matrix<double>& weight, const Matrix<double>& dy) {
  ConvolutionReference r{Matrix<double>(s.out_rows(), s.outputs), Matrix<double>(s.in_rows(), s.channels),
                         Matrix<double>(1, s.weights())};
  for_each_tap(s, [&](Index out, Index o, Index in, Index c, Index w) {
    r.y(out, o) += weight(0, w) * x(in, c);
    r.dx(in, c) += weight(0, w) * dy(out, o);
    r.d_weight(0, w) += dy(out, o) * x(in, c);
  });
  return r;
}

}  // namespace eosin::testing
