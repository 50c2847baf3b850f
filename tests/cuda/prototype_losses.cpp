// Prototype regularisers on the device against the processor: all kinds, pieces and tails.

#include <eosin/losses/prototype.hpp>

#include "support/cuda.hpp"

using namespace eosin;
using namespace eosin::testing;
using losses::PrototypeLoss;

TEST_CASE_TEMPLATE("losses::PrototypeRegulariser: device and processor agree", T, float, double) {
  CudaContext gpu;
  for (const auto& [types, genes] : {std::pair<Index, Index>{1, 1}, {3, 31}, {9, 257}, {2, 2049}})
    for (const auto kind :
         {PrototypeLoss::off, PrototypeLoss::softmax_mse, PrototypeLoss::exp_mse, PrototypeLoss::pearson})
      for (const bool gradient : {true, false}) {
        CAPTURE(types);
        CAPTURE(genes);
        CAPTURE(static_cast<int>(kind));
        CAPTURE(gradient);
        auto reference = normal_matrix<double>(types, genes, 1);
        for (Index i = 0; i < reference.size(); ++i) reference.data()[i] = std::exp(reference.data()[i]);
        auto logs = normal_matrix<T>(types, genes, 2, 0.5);
        if (genes > 3) {
          reference(0, 2) = reference(types - 1, genes - 1) = 0;
          logs(0, 2) = 100;  // masked: not the largest of its row, whatever it is
        }
        Matrix<T> expression(types, genes);
        for (Index i = 0; i < logs.size(); ++i)
          expression.data()[i] = reference.data()[i] > 0 ? std::exp(logs.data()[i]) : T(0);
        const T weight = T(3);
        const auto start = normal_matrix<T>(types, genes, 3, 1e-3);
        auto d_log = start, d_expression = start;
        CpuContext cpu({.threads = 1});
        const losses::PrototypeRegulariser<T> loss(kind, reference);
        const MatrixView<T> none;
        const double want =
            loss(cpu, logs, expression, weight, gradient ? d_log.view() : none, gradient ? d_expression.view() : none);
        const auto check = [&] {
          const losses::PrototypeRegulariser<T, Device> loss_d(kind, reference);
          const auto logs_d = on_device(gpu, logs.view()), expression_d = on_device(gpu, expression.view());
          auto d_log_d = on_device(gpu, start.view()), d_expression_d = on_device(gpu, start.view());
          const MatrixView<T, Device> none_d;
          Vector<double, Device> sum(1);
          loss_d(gpu, logs_d, expression_d, weight, gradient ? d_log_d.view() : none_d,
                 gradient ? d_expression_d.view() : none_d, sum.view());
          CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(agreement<T>));
          CHECK(relative_difference(on_host(gpu, d_log_d.view()), d_log) < agreement<T>);
          CHECK(relative_difference(on_host(gpu, d_expression_d.view()), d_expression) < agreement<T>);
        };
        if (genes > 1000) {
          check();
        } else {
          in_every_order(check);
        }
      }
}

TEST_CASE("losses::PrototypeRegulariser on the device: errors name what is wrong") {
  CudaContext gpu;
  Matrix<double> reference(2, 3);
  reference.fill(1);
  const losses::PrototypeRegulariser<float, Device> loss(PrototypeLoss::exp_mse, reference);
  const Matrix<float, Device> narrow(2, 2);
  Vector<double, Device> sum(1);
  CHECK_THROWS_WITH_AS(loss(gpu, narrow, narrow, 1, {}, {}, sum.view()),
                       "PrototypeRegulariser: log_prototypes is [2 x 2], expected [2 x 3]", ShapeError);
}
