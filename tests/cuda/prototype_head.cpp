// From composition to expression on the device against the processor: all options, a step of two blocks of rows.

#include <eosin/layers/prototype_head.hpp>

#include "support/cuda.hpp"

#include <limits>

using namespace eosin;
using namespace eosin::testing;
using layers::GradientMode;
using layers::PrototypeHeadOptions;

namespace {

template <class T>
struct Results {
  Matrix<T> logs, expression, v, d_composition;
  Vector<T> gradients;
};

/// begin, forward and backward by two blocks, end; the second time on the same cache counts.
template <class T, class C>
Results<T> step(C& context, Index types, Index genes, Index rows, const PrototypeHeadOptions& options,
                GradientMode mode) {
  using Space = typename C::space;
  constexpr bool host = std::is_same_v<Space, Host>;
  auto logs = normal_matrix<double>(types, genes, 1);
  Matrix<double> mask(types, genes);
  mask.fill(1);
  logs(types / 2, genes / 2) = -std::numeric_limits<double>::infinity();
  mask(types - 1, genes - 1) = 0;
  const auto alpha = normal_matrix<double>(1, genes, 2, 0.5);
  Parameters<T, Space> parameters;
  const layers::PrototypeHead<T, Space> head(parameters, logs, mask, alpha.row(0), options);
  parameters.allocate(context, 1);
  typename layers::PrototypeHead<T, Space>::Cache cache;

  const auto here = [&](const Matrix<T>& matrix) {
    if constexpr (host) {
      return matrix;
    } else {
      return on_device(context, matrix.view());
    }
  };
  const auto back = [&](auto view) {
    if constexpr (host) {
      using Element = typename decltype(view)::value_type;
      if constexpr (requires { view.rows(); }) {
        return copy_of<Element>(view);
      } else {
        Vector<Element> copy(view.size());
        for (Index i = 0; i < view.size(); ++i) copy[i] = view[i];
        return copy;
      }
    } else {
      return on_host(context, view);
    }
  };
  const auto composition = here(composition_matrix<T>(rows, types, 3));
  auto v = here(Matrix<T>(rows, genes)), d_composition = here(Matrix<T>(rows, types));
  for (int round = 0; round < 2; ++round) {
    auto dv = here(normal_matrix<T>(rows, genes, 4));
    head.begin(context, cache);
    const Index split = rows / 3;
    for (const auto& [begin, count] : {std::pair{Index{0}, split}, std::pair{split, rows - split}}) {
      if (count == 0) continue;
      const auto p = composition.view().middle_rows(begin, count);
      head.forward(context, p, v.view().middle_rows(begin, count), cache);
      head.backward(context, p, dv.view().middle_rows(begin, count), d_composition.view().middle_rows(begin, count),
                    cache, mode);
    }
    head.end(context, cache);
  }
  return {back(head.log_prototypes()), back(std::as_const(cache.expression).view()), back(std::as_const(v).view()),
          back(std::as_const(d_composition).view()), back(std::as_const(parameters).gradients())};
}

}  // namespace

TEST_CASE_TEMPLATE("layers::PrototypeHead: device and processor agree", T, float, double) {
  CudaContext gpu;
  struct Shape {
    Index types, genes, rows;
  };
  for (const auto& [types, genes, rows] : {Shape{1, 1, 1}, {3, 33, 5}, {5, 257, 300}})
    for (const bool trained : {true, false})
      for (const bool correction : {true, false})
        for (const bool mask_as_one : {false, true})
          for (const auto mode : {GradientMode::overwrite, GradientMode::ignore}) {
            if (rows > 100 && (!trained || mask_as_one)) continue;
            CAPTURE(types);
            CAPTURE(trained);
            CAPTURE(correction);
            CAPTURE(mask_as_one);
            CAPTURE(static_cast<int>(mode));
            const PrototypeHeadOptions options{trained, correction, mask_as_one};
            CpuContext cpu({.threads = 1});
            const auto want = step<T>(cpu, types, genes, rows, options, mode);
            const auto check = [&] {
              const auto have = step<T>(gpu, types, genes, rows, options, mode);
              CHECK(relative_difference(have.logs, want.logs) == 0);
              CHECK(relative_difference(have.expression, want.expression) < agreement<T>);
              CHECK(relative_difference(have.v, want.v) < agreement<T>);
              CHECK(relative_difference(have.d_composition, want.d_composition) < agreement<T>);
              CHECK(relative_difference(have.gradients, want.gradients) < agreement<T>);
            };
            if (rows > 100) {
              check();
            } else {
              in_every_order(check);
            }
          }
}

TEST_CASE("layers::PrototypeHead on the device: errors name what is wrong") {
  CudaContext gpu;
  Matrix<float, Device> matrix(2, 3);
  Vector<float, Device> narrow(2), genes(3);
  CHECK_THROWS_WITH_AS(ops::correct_modality<float>(gpu, matrix, narrow.view(), genes.view(), matrix.view()),
                       "correct_modality: alpha has 2 elements, expected 3 (genes)", ShapeError);
  CHECK_THROWS_AS(ops::correct_modality_backward<float>(gpu, matrix, genes.view(), genes.view(), matrix.view(),
                                                        genes.view(), narrow.view()),
                  ShapeError);
  CHECK_THROWS_AS(ops::correction_factors<float>(gpu, genes.view(), genes.view(), genes.view(), narrow.view()),
                  ShapeError);
}
