// Cross-entropy of the softmax of rows, on the device against the processor.

#include <eosin/losses/softmax_cross_entropy.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <utility>

using namespace eosin;
using namespace eosin::testing;

TEST_CASE_TEMPLATE("softmax_cross_entropy: device and processor agree", T, float, double) {
  CudaContext gpu;
  CpuContext cpu({.threads = 2});
  for (const auto& [rows, classes] : {std::pair<Index, Index>{1, 1}, {3, 31}, {8, 32}, {9, 33}, {17, 200}})
    for (const auto reduction : {losses::Reduction::mean, losses::Reduction::sum, losses::Reduction::none})
      for (const bool by_label : {true, false})
        for (const bool in_place : {true, false}) {
          CAPTURE(rows);
          CAPTURE(classes);
          const auto logits = normal_matrix<T>(rows, classes, 1, 5);
          const auto targets = composition_matrix<T>(rows, classes, 2);
          const auto weights = normal_vector<T>(rows, 3);
          Vector<Index> labels(rows);
          for (Index r = 0; r < rows; ++r) labels[r] = (7 * r) % classes;
          Matrix<T> softmax(rows, classes), gradient(rows, classes);
          Vector<T> per_row(rows);
          losses::SoftmaxCrossEntropyOptions<T> options{.reduction = reduction,
                                                        .weight = T(0.7),
                                                        .row_weights = std::as_const(weights).view(),
                                                        .softmax = softmax.view(),
                                                        .per_row = per_row.view(),
                                                        .gradient = gradient.view()};
          const double want = by_label
                                  ? losses::softmax_cross_entropy<T>(cpu, logits, std::as_const(labels).view(), options)
                                  : losses::softmax_cross_entropy<T>(cpu, logits, targets.view(), options);
          in_every_order([&] {
            auto logits_d = on_device(gpu, logits.view());
            const auto targets_d = on_device(gpu, targets.view());
            const auto weights_d = on_device(gpu, weights.view());
            const auto labels_d = on_device(gpu, labels.view());
            Matrix<T, Device> softmax_d(rows, classes), other(rows, classes);
            Vector<T, Device> per_row_d(rows);
            Vector<double, Device> sum(1);
            const auto gradient_d = in_place ? logits_d.view() : other.view();
            const losses::SoftmaxCrossEntropyOptions<T, Device> options_d{.reduction = reduction,
                                                                          .weight = T(0.7),
                                                                          .row_weights = weights_d.view(),
                                                                          .softmax = softmax_d.view(),
                                                                          .per_row = per_row_d.view(),
                                                                          .gradient = gradient_d};
            if (by_label)
              losses::softmax_cross_entropy<T>(gpu, logits_d, labels_d.view(), options_d, sum.view());
            else
              losses::softmax_cross_entropy<T>(gpu, logits_d, targets_d.view(), options_d, sum.view());
            CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(10 * agreement<T>));
            CHECK(relative_difference(on_host(gpu, softmax_d.view()), softmax) < agreement<T>);
            CHECK(relative_difference(on_host(gpu, per_row_d.view()), per_row) < agreement<T>);
            CHECK(relative_difference(on_host(gpu, gradient_d), gradient) < agreement<T>);
          });
        }
}

TEST_CASE("softmax_cross_entropy on the device: a bad target makes the loss NaN") {
  CudaContext gpu;
  const auto logits = on_device(gpu, normal_matrix<float>(3, 4, 1).view());
  Vector<double, Device> sum(1);
  for (const Index bad : {Index{-1}, Index{4}}) {
    Vector<Index> labels(3);
    labels[1] = bad;
    const auto labels_d = on_device(gpu, labels.view());
    losses::softmax_cross_entropy<float>(gpu, logits, labels_d.view(), {}, sum.view());
    CHECK(std::isnan(on_host(gpu, sum.view())[0]));
  }
  Matrix<float> targets(3, 4);
  targets(2, 3) = -1;
  const auto targets_d = on_device(gpu, targets.view());
  losses::softmax_cross_entropy<float>(gpu, logits, targets_d.view(), {}, sum.view());
  CHECK(std::isnan(on_host(gpu, sum.view())[0]));
  Matrix<float, Device> narrow(3, 3);
  CHECK_THROWS_WITH_AS(losses::softmax_cross_entropy<float>(gpu, logits, narrow.view(), {}, sum.view()),
                       "softmax_cross_entropy: targets is [3 x 3], expected [3 x 4]", ShapeError);
  const Matrix<float, Device> none(0, 4);
  const Vector<Index, Device> no_labels(0);
  losses::softmax_cross_entropy<float>(gpu, none, no_labels.view(), {}, sum.view());
  CHECK(on_host(gpu, sum.view())[0] == 0);
}
