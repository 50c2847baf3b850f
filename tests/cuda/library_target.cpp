// Counts on the scale of a loss, rows scaled by factors, exponentials, the mean squared error, on the device against
// the processor.

#include <eosin/losses/mean_squared_error.hpp>
#include <eosin/ops/elementwise.hpp>
#include <eosin/ops/library_target.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <optional>
#include <utility>

using namespace eosin;
using namespace eosin::testing;

namespace {

const std::pair<Index, Index> shapes[] = {{1, 1}, {3, 31}, {2, 256}, {9, 257}, {1, 1000}};

/// Counts with a profile that has none, but for one row.
template <class T>
Matrix<T> counts_of(Index rows, Index genes) {
  RandomStream random(5);
  Matrix<T> counts(rows, genes);
  for (Index r = 0; r < rows; ++r)
    for (Index g = 0; g < genes; ++g) counts(r, g) = r == 1 ? T(0) : static_cast<T>(1 + random.poisson(2));
  return counts;
}

}  // namespace

TEST_CASE_TEMPLATE("library_target: device and processor agree, profiles without counts too", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto& [rows, genes] : shapes)
    for (const auto scale : {ops::LibraryScale::counts, ops::LibraryScale::library, ops::LibraryScale::shares})
      for (const auto library : {std::optional<double>(), std::optional<double>(5000)}) {
        CAPTURE(rows);
        CAPTURE(genes);
        auto counts = counts_of<T>(rows, genes);
        if (scale == ops::LibraryScale::shares && rows > 1) counts(1, 0) = 3;
        Matrix<T> target(rows, genes);
        Vector<T> libraries(rows);
        const ops::LibraryTargetOptions options{scale, library};
        ops::library_target<T>(cpu, counts, options, libraries.view(), target.view());
        in_every_order([&] {
          // Rows two elements apart: the view is not contiguous.
          Matrix<T, Device> wide(rows, genes + 2), target_d(rows, genes);
          upload<T>(gpu, counts.view(), wide.view().middle_cols(1, genes));
          Vector<T, Device> libraries_d(rows);
          ops::library_target<T>(gpu, wide.view().middle_cols(1, genes), options, libraries_d.view(), target_d.view());
          CHECK(relative_difference(on_host(gpu, target_d.view()), target) < agreement<T>);
          CHECK(relative_difference(on_host(gpu, libraries_d.view()), libraries) < agreement<T>);
        });
      }
}

TEST_CASE("library_target: what is wrong is said on the processor, NaN on the device") {
  CudaContext gpu;
  CpuContext cpu({.threads = 1});
  const Matrix<float> counts(2, 3);
  Matrix<float> target(2, 3);
  Vector<float> libraries(2);
  CHECK_THROWS_WITH_AS(
      ops::library_target<float>(cpu, counts, {ops::LibraryScale::shares, {}}, libraries.view(), target.view()),
      "library_target: an expression profile has no counts", ValueError);
  CHECK_THROWS_WITH_AS(
      ops::library_target<float>(cpu, counts, {ops::LibraryScale::counts, -1.0}, libraries.view(), target.view()),
      "library_target: the library is not positive", ValueError);
  const auto counts_d = on_device(gpu, counts.view());
  Matrix<float, Device> target_d(2, 3), other(2, 4);
  Vector<float, Device> libraries_d(2);
  ops::library_target<float>(gpu, counts_d, {ops::LibraryScale::shares, {}}, libraries_d.view(), target_d.view());
  CHECK(std::isnan(on_host(gpu, target_d.view())(1, 2)));
  CHECK_THROWS_WITH_AS(
      ops::library_target<float>(gpu, counts_d, {ops::LibraryScale::counts, {}}, libraries_d.view(), other.view()),
      "library_target: target is [2 x 4], expected [2 x 3]", ShapeError);
}

TEST_CASE_TEMPLATE("scale_rows, exponentials: device and processor agree", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto& [rows, cols] : shapes) {
    CAPTURE(rows);
    CAPTURE(cols);
    const auto a = normal_matrix<T>(rows, cols, 1);
    const auto factors = normal_vector<T>(rows, 2);
    Matrix<T> scaled(rows, cols);
    Vector<T> powers(rows);
    ops::scale_rows<T>(cpu, factors.view(), a, scaled.view());
    ops::exponentials<T>(cpu, factors.view(), powers.view());
    in_every_order([&] {
      auto a_d = on_device(gpu, a.view());
      const auto factors_d = on_device(gpu, factors.view());
      Vector<T, Device> powers_d(rows);
      ops::scale_rows<T>(gpu, factors_d.view(), a_d, a_d.view());
      ops::exponentials<T>(gpu, factors_d.view(), powers_d.view());
      CHECK(relative_difference(on_host(gpu, a_d.view()), scaled) < agreement<T>);
      CHECK(relative_difference(on_host(gpu, powers_d.view()), powers) < agreement<T>);
    });
  }
}

TEST_CASE_TEMPLATE("mean_squared_error: device and processor agree, rows that are left out too", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto& [rows, cols] : shapes)
    for (const bool weighted : {false, true}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const auto p = normal_matrix<T>(rows, cols, 1), t = normal_matrix<T>(rows, cols, 2);
      Vector<T> weights(weighted ? rows : 0);
      for (Index r = 0; r < weights.size(); ++r) weights[r] = r == 1 ? T(0) : T(7);
      Matrix<T> gradient(rows, cols);
      const double want = losses::mean_squared_error<T>(
          cpu, p, t, {.scale = T(3), .gradient = gradient.view(), .weights = std::as_const(weights).view()});
      in_every_order([&] {
        const auto p_d = on_device(gpu, p.view()), t_d = on_device(gpu, t.view());
        const auto weights_d = on_device(gpu, weights.view());
        Matrix<T, Device> gradient_d(rows, cols);
        Vector<double, Device> sum(1);
        losses::mean_squared_error<T>(
            gpu, p_d, t_d, {.scale = T(3), .gradient = gradient_d.view(), .weights = weights_d.view()}, sum.view());
        CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(agreement<T>));
        CHECK(relative_difference(on_host(gpu, gradient_d.view()), gradient) < agreement<T>);
        if (weighted && rows > 1) CHECK(on_host(gpu, gradient_d.view())(1, 0) == T(0));
      });
    }
}
