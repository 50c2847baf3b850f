// Pearson losses on the device against the processor: columns of every kind, both forms.

#include <eosin/losses/composition_pearson.hpp>
#include <eosin/losses/pearson.hpp>

#include "support/cuda.hpp"

using namespace eosin;
using namespace eosin::testing;

namespace {

/// A constant column in the middle.
template <class T>
Matrix<T> target_of(Index rows, Index genes) {
  auto y = normal_matrix<T>(rows, genes, 9, 2, 5);
  for (Index n = 0; n < rows; ++n) y(n, genes / 2) = T(3);
  return y;
}

}  // namespace

TEST_CASE_TEMPLATE("losses::pearson: device and processor agree", T, float, double) {
  CudaContext gpu;
  for (const auto& [rows, genes] : {std::pair<Index, Index>{1, 3}, {7, 1}, {9, 33}, {8, 32}, {50, 70}})
    for (const bool accumulate : {false, true}) {
      CAPTURE(rows);
      CAPTURE(genes);
      CAPTURE(accumulate);
      auto x = normal_matrix<T>(rows, genes, 1, 1, 3);
      for (Index n = 0; n < rows; ++n) x(n, 0) = T(2);
      const auto y = target_of<T>(rows, genes), start = normal_matrix<T>(rows, genes, 3, 0.01);
      auto gradient = start;
      Vector<T> correlation(genes);
      CpuContext cpu({.threads = 1});
      const double want = losses::pearson<T>(
          cpu, x, y, losses::PearsonOptions<T>{1e-8, T(2), correlation.view(), gradient.view(), accumulate});
      in_every_order([&] {
        const auto x_d = on_device(gpu, x.view()), y_d = on_device(gpu, y.view());
        auto gradient_d = on_device(gpu, start.view());
        Vector<T, Device> correlation_d(genes);
        Vector<double, Device> sum(1);
        losses::pearson<T>(
            gpu, x_d, y_d,
            losses::PearsonOptions<T, Device>{1e-8, T(2), correlation_d.view(), gradient_d.view(), accumulate},
            sum.view());
        CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(agreement<T>));
        CHECK(relative_difference(on_host(gpu, correlation_d.view()), correlation) < agreement<T>);
        CHECK(relative_difference(on_host(gpu, gradient_d.view()), gradient) < agreement<T>);
        losses::pearson<T>(gpu, x_d, y_d, losses::PearsonOptions<T, Device>{.eps = 1e-8}, sum.view());
        CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(agreement<T>));
      });
    }
}

TEST_CASE_TEMPLATE("losses::composition_pearson: device and processor agree", T, float, double) {
  CudaContext gpu;
  struct Shape {
    Index rows, types, genes;
  };
  for (const auto& [rows, types, genes] : {Shape{1, 2, 3}, {9, 1, 4}, {20, 3, 33}, {300, 5, 40}, {40, 33, 300}})
    for (const bool equal : {false, true}) {
      if (equal && rows != 20) continue;
      CAPTURE(rows);
      CAPTURE(types);
      CAPTURE(equal);
      auto composition = composition_matrix<T>(rows, types, 1);
      if (equal)
        for (Index n = 0; n < rows; ++n)
          for (Index c = 0; c < types; ++c) composition(n, c) = composition(0, c);
      auto expression = normal_matrix<T>(types, genes, 2, 1, 3);
      for (Index c = 0; c < types; ++c) expression(c, 0) = T(2);
      const auto y = target_of<T>(rows, genes);
      const auto start = normal_matrix<T>(types, genes, 3, 0.01);
      auto d_expression = start;
      Matrix<T> d_composition(rows, types);
      Vector<T> correlation(genes);
      CpuContext cpu({.threads = 1});
      const auto target = losses::pearson_target<T>(cpu, y.view());
      const double want = losses::composition_pearson<T>(
          cpu, composition, expression, target,
          losses::CompositionPearsonOptions<T>{T(2), correlation.view(), d_composition.view(), d_expression.view()});
      const auto check = [&] {
        const auto composition_d = on_device(gpu, composition.view()), expression_d = on_device(gpu, expression.view());
        const auto y_d = on_device(gpu, y.view());
        auto d_expression_d = on_device(gpu, start.view());
        Matrix<T, Device> d_composition_d(rows, types);
        Vector<T, Device> correlation_d(genes);
        Vector<double, Device> sum(1);
        const auto target_d = losses::pearson_target(gpu, y_d.view());
        losses::composition_pearson<T>(gpu, composition_d, expression_d, target_d,
                                       losses::CompositionPearsonOptions<T, Device>{
                                           T(2), correlation_d.view(), d_composition_d.view(), d_expression_d.view()},
                                       sum.view());
        CHECK(relative_difference(on_host(gpu, target_d.unit.view()), target.unit) < agreement<T>);
        const auto defined = on_host(gpu, target_d.defined.view());
        for (Index g = 0; g < genes; ++g)
          CHECK((defined[g] != 0) == (target.defined[static_cast<std::size_t>(g)] != 0));
        // Four products on top of each other, of differences.
        constexpr double tolerance = 10 * agreement<T>;
        CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(tolerance));
        CHECK(relative_difference(on_host(gpu, correlation_d.view()), correlation) < tolerance);
        CHECK(relative_difference(on_host(gpu, d_expression_d.view()), d_expression) < tolerance);
        CHECK(relative_difference(on_host(gpu, d_composition_d.view()), d_composition) < tolerance);
      };
      if (rows > 20) {
        check();
      } else {
        in_every_order(check);
      }
    }
}

TEST_CASE("losses::pearson on the device takes what has no columns, and names what is wrong") {
  CudaContext gpu;
  const Matrix<float, Device> none(4, 0), some(4, 2);
  auto sum = on_device(gpu, normal_vector<double>(1, 1).view());
  losses::pearson<float>(gpu, none, none, {}, sum.view());
  CHECK(on_host(gpu, sum.view())[0] == 0);
  CHECK_THROWS_WITH_AS(losses::pearson<float>(gpu, some, none, {}, sum.view()),
                       "pearson: target is [4 x 0], expected [4 x 2]", ShapeError);
  const auto target = losses::pearson_target(gpu, some.view());
  CHECK_THROWS_WITH_AS(losses::composition_pearson<float>(gpu, some, some, target, {}, sum.view()),
                       "composition_pearson: expression has 4 rows, expected 2 (columns of composition)", ShapeError);
}
