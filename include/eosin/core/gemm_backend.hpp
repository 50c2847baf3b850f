#pragma once

// The door through which another library's matrix product takes the place of eosin's own. A context carries a pointer
// to a backend; nothing global is set.

#include <eosin/core/bfloat16.hpp>
#include <eosin/core/view.hpp>

namespace eosin {

/// How matrix products of floats are computed: `full` in float; `bf16` with operands rounded to bfloat16, `tf32` with
/// operands rounded to ten bits of fraction (on CUDA devices; elsewhere it is `full`), both with float accumulation.
/// Products of doubles are always full.
enum class MathMode { full, bf16, tf32 };

enum class Transpose : bool { no, yes };

/// A provider of C = alpha * op(A) op(B) + beta * C, row-major. The library calls it from the tasks of its own thread
/// pool on tiles of C, so an implementation computes on the calling thread alone and must be callable from several
/// threads at once. With beta = 0 the old contents of C are not read.
class GemmBackend {
 public:
  virtual ~GemmBackend() = default;
  virtual const char* name() const = 0;
  virtual void gemm(Transpose transpose_a, Transpose transpose_b, float alpha, MatrixView<const float> a,
                    MatrixView<const float> b, float beta, MatrixView<float> c) const = 0;
  virtual void gemm(Transpose transpose_a, Transpose transpose_b, double alpha, MatrixView<const double> a,
                    MatrixView<const double> b, double beta, MatrixView<double> c) const = 0;
  /// C = op(A) op(B) + beta * C with float accumulation; false if this backend (or this processor) has no such
  /// product, C then being untouched. beta is 0 or 1.
  virtual bool gemm(Transpose, Transpose, MatrixView<const BFloat16>, MatrixView<const BFloat16>, float,
                    MatrixView<float>) const {
    return false;
  }
};

}  // namespace eosin
