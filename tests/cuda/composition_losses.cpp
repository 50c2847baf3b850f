// Composition regularisers on the device against the processor: all kinds, rows at once and one by one.

#include <eosin/losses/composition.hpp>

#include "support/cuda.hpp"

#include <limits>

using namespace eosin;
using namespace eosin::testing;
using losses::CompositionLoss;

namespace {

constexpr CompositionLoss kinds[] = {CompositionLoss::off, CompositionLoss::mean_squared_error,
                                     CompositionLoss::mean_absolute_error, CompositionLoss::cross_entropy,
                                     CompositionLoss::cross_entropy_on_probabilities};

}  // namespace

TEST_CASE_TEMPLATE("composition_loss: device and processor agree", T, float, double) {
  CudaContext gpu;
  for (const auto& [rows, types] : {std::pair<Index, Index>{1, 1}, {1, 40}, {7, 31}, {8, 32}, {9, 33}, {17, 70}})
    for (const auto kind : kinds)
      for (const bool gradient : {true, false}) {
        CAPTURE(rows);
        CAPTURE(types);
        CAPTURE(static_cast<int>(kind));
        auto p = composition_matrix<T>(rows, types, 1), reference = composition_matrix<T>(rows, types, 2);
        for (Index i = 0; i < reference.size(); ++i) reference.data()[i] *= T(17);
        if (types > 4) {
          p(0, 2) = 0;
          reference(0, 2) = 0;
          p(rows - 1, 3) = std::numeric_limits<T>::denorm_min();
          reference(rows - 1, 4) = 0;
        }
        const T weight = T(0.7);
        const auto start = normal_matrix<T>(rows, types, 3);
        auto d_p = start;
        double want = 0;
        for (Index r = 0; r < rows; ++r)
          want += losses::composition_loss<T>(kind, std::as_const(p).row(r), std::as_const(reference).row(r), weight,
                                              gradient ? d_p.row(r) : VectorView<T>());
        in_every_order([&] {
          const auto p_d = on_device(gpu, p.view()), reference_d = on_device(gpu, reference.view());
          auto d_p_d = on_device(gpu, start.view());
          Vector<double, Device> sum(1);
          losses::composition_loss<T>(gpu, kind, p_d.view(), reference_d.view(), weight,
                                      gradient ? d_p_d.view() : MatrixView<T, Device>(), sum.view());
          CHECK(on_host(gpu, sum.view())[0] == doctest::Approx(want).epsilon(agreement<T>));
          // The largest slope is that of the probability that underflowed: rows apart.
          const auto have = on_host(gpu, d_p_d.view());
          for (Index r = 0; r < rows; ++r)
            for (Index c = 0; c < types; ++c)
              REQUIRE(have(r, c) == doctest::Approx(d_p(r, c)).epsilon(10 * agreement<T>));
          if (!gradient) return;
          auto one = on_device(gpu, start.view());
          double total = 0;
          for (Index r = 0; r < rows; ++r) {
            losses::composition_loss<T>(gpu, kind, p_d.row(r), reference_d.row(r), weight, one.row(r), sum.view());
            total += on_host(gpu, sum.view())[0];
          }
          CHECK(total == doctest::Approx(want).epsilon(agreement<T>));
          CHECK(same_bits(on_host(gpu, one.view()), have));
        });
      }
}

TEST_CASE("composition_loss on the device: a reference that sums to nothing makes the value NaN") {
  CudaContext gpu;
  const auto p = on_device(gpu, composition_matrix<float>(2, 3, 1).view());
  auto reference = composition_matrix<float>(2, 3, 2);
  for (Index c = 0; c < 3; ++c) reference(1, c) = 0;
  const auto reference_d = on_device(gpu, reference.view());
  Vector<double, Device> sum(1);
  for (const auto kind : kinds) {
    losses::composition_loss<float>(gpu, kind, p.view(), reference_d.view(), 1, {}, sum.view());
    CHECK(std::isnan(on_host(gpu, sum.view())[0]) == (kind != CompositionLoss::off));
  }
  const Matrix<float, Device> none(0, 3), narrow(2, 2);
  losses::composition_loss<float>(gpu, kinds[1], none.view(), none.view(), 1, {}, sum.view());
  CHECK(on_host(gpu, sum.view())[0] == 0);
  CHECK_THROWS_WITH_AS(losses::composition_loss<float>(gpu, kinds[1], p.view(), narrow.view(), 1, {}, sum.view()),
                       "composition_loss: reference has 2 elements, expected 3 (cell types)", ShapeError);
}
