#pragma once

// Library sizes of count profiles, and the counts on the scale that an expression loss compares with.
//
//   n_r = sum_g y_rg                       counts of profile r
//   l_r = a given library, or n_r          what the predicted shares are multiplied with
//   t_rg = y_rg f_r                        f_r = 1 (counts), l_r / n_r (library), 1 / n_r (shares)
//
// A profile without counts says nothing: l_r = 0, t_r = 0. It has no shares.

#include <eosin/core/context.hpp>

#include <optional>
#include <type_traits>

namespace eosin::ops {

enum class LibraryScale { counts, library, shares };

struct LibraryTargetOptions {
  LibraryScale scale = LibraryScale::counts;
  std::optional<double> library = std::nullopt;  ///< the same for all profiles; otherwise each has its own
};

inline namespace EOSIN_ISA_NAMESPACE {
namespace detail {

/// l_r and f_r of a profile with `total` counts; `given` is 0 where each has its own.
struct LibraryFactor {
  double library;
  double factor;
};
EOSIN_HOST_DEVICE inline LibraryFactor library_factor(LibraryScale scale, double given, double total) {
  if (!(total > 0)) return {0, 0};
  const double library = given > 0 ? given : total;
  return {library, scale == LibraryScale::shares ? 1 / total : scale == LibraryScale::library ? library / total : 1.0};
}

inline double given_library(const LibraryTargetOptions& options) {
  if (!options.library) return 0;
  require_value(*options.library > 0, "library_target", "the library is not positive");
  return *options.library;
}

}  // namespace detail

/// libraries [R] = l and target [R x G] = t of counts [R x G] >= 0. Throws ValueError where a profile without counts
/// should have shares.
template <class T>
void library_target(CpuContext& context, MatrixView<const std::type_identity_t<T>> counts,
                    const LibraryTargetOptions& options, VectorView<T> libraries, MatrixView<T> target) {
  require_size("library_target", "libraries", "elements", libraries.size(), counts.rows(), "rows of counts");
  require_shape("library_target", "target", target, counts.rows(), counts.cols());
  const double given = detail::given_library(options);
  context.parallel_for(counts.rows(), 16, [&](Index begin, Index end) {
    for (Index r = begin; r < end; ++r) {
      const T* from = counts.row(r).data();
      T* to = target.row(r).data();
      double total = 0;
      for (Index g = 0; g < counts.cols(); ++g) total += static_cast<double>(from[g]);
      require_value(options.scale != LibraryScale::shares || total > 0, "library_target",
                    "an expression profile has no counts");
      const auto [library, factor] = detail::library_factor(options.scale, given, total);
      libraries[r] = static_cast<T>(library);
      for (Index g = 0; g < counts.cols(); ++g) to[g] = static_cast<T>(static_cast<double>(from[g]) * factor);
    }
  });
}

}  // namespace EOSIN_ISA_NAMESPACE
}  // namespace eosin::ops

#if defined(EOSIN_CUDA_KERNELS)
#include <eosin/ops/library_target.cuh>
#endif
