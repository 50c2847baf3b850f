// Symmetric InfoNCE on the device against the processor: tails of warps and tiles, one block of logits and several,
// fixed and learned scales, lengths, lists of positives, views with gaps.

#include <eosin/losses/info_nce.hpp>

#include "support/cuda.hpp"

#include <cmath>
#include <limits>
#include <vector>

using namespace eosin;
using namespace eosin::testing;

namespace {

struct Case {
  Index pairs, width;
  /// Largest edge of the blocks of logits on the device.
  Index block;
  bool normalize, learned, listed;
  double image_weight;
  double deviation;
};

/// Up to five ascending columns per row, some rows without any; own pairs are listed for every third row.
struct Lists {
  std::vector<Index> offsets{0};
  std::vector<std::int32_t> columns;

  explicit Lists(Index pairs) {
    for (Index i = 0; i < pairs; ++i) {
      for (Index j = i * 7 % 13; j < pairs; j += pairs / 4 + 1)
        if (i % 5 != 0 && (j != i || i % 3 == 0)) columns.push_back(static_cast<std::int32_t>(j));
      offsets.push_back(static_cast<Index>(columns.size()));
    }
  }
};

template <class T>
struct Result {
  double loss;
  Matrix<T> d_spot, d_image;
  T d_log_scale;
};

template <class T>
Result<T> on_processor(const Case& c, const Matrix<T>& spot, const Matrix<T>& image, T log_scale, const Lists& lists) {
  CpuContext cpu({.threads = 1});
  losses::InfoNceOptions options{.temperature = 0.7, .normalize = c.normalize, .image_weight = c.image_weight};
  if (c.listed) options.positives = {lists.offsets, lists.columns};
  Result<T> result{0, Matrix<T>(c.pairs, c.width), Matrix<T>(c.pairs, c.width), T(0)};
  result.loss = losses::info_nce<T>(cpu, spot, image, options, result.d_spot.view(), result.d_image.view(),
                                    c.learned ? &log_scale : nullptr, c.learned ? &result.d_log_scale : nullptr);
  return result;
}

template <class T>
Result<T> on_gpu(CudaContext& gpu, const Case& c, const Matrix<T>& spot, const Matrix<T>& image, T log_scale,
                 const Lists& lists) {
  // Rows of a wider matrix, as the halves of a joint embedding are.
  const Index gap = c.pairs % 2 * 3;
  Matrix<T, Device> wide_spot(c.pairs, c.width + gap), wide_gradient(c.pairs, c.width + gap);
  const auto spot_d = wide_spot.view().middle_cols(gap, c.width),
             d_spot = wide_gradient.view().middle_cols(gap, c.width);
  upload<T>(gpu, spot, spot_d);
  const auto image_d = on_device(gpu, image.view());
  Matrix<T, Device> d_image(c.pairs, c.width);
  const auto offsets = on_device(gpu, VectorView<const Index>(lists.offsets));
  const auto columns = on_device(gpu, VectorView<const std::int32_t>(lists.columns));
  const auto scale = on_device(gpu, VectorView<const T>(&log_scale, 1));
  Vector<T, Device> d_scale(1);
  Vector<double, Device> loss(1);
  losses::DeviceInfoNceOptions options{.temperature = 0.7, .normalize = c.normalize, .image_weight = c.image_weight};
  if (c.listed) options.positives = {offsets.view(), columns.view()};
  const VectorView<const T, Device> learned = c.learned ? scale.view() : VectorView<const T, Device>();
  const VectorView<T, Device> d_learned = c.learned ? d_scale.view() : VectorView<T, Device>();
  if (c.block == 0) {
    losses::info_nce<T>(gpu, spot_d, image_d.view(), options, d_spot, d_image.view(), loss.view(), learned, d_learned);
  } else {
    const auto mark = gpu.workspace().mark();
    losses::detail::DeviceInfoNce<T>(gpu, spot_d, image_d.view(), options, learned, c.block)
        .run(d_spot, d_image.view(), loss.view(), d_learned);
  }
  // The value alone is the same value.
  Vector<double, Device> alone(1);
  if (c.block == 0) {
    losses::info_nce<T>(gpu, spot_d, image_d.view(), options, alone.view(), learned);
    CHECK(on_host(gpu, alone.view())[0] == on_host(gpu, loss.view())[0]);
  }
  Result<T> result{on_host(gpu, loss.view())[0], Matrix<T>(c.pairs, c.width), on_host(gpu, d_image.view()),
                   on_host(gpu, d_scale.view())[0]};
  download<T>(gpu, d_spot, result.d_spot.view());
  return result;
}

}  // namespace

TEST_CASE_TEMPLATE("info_nce: device and processor agree", T, float, double) {
  // Gradients are differences of probabilities: rounding is measured by the probabilities.
  const double tolerance = std::is_same_v<T, float> ? 2e-5 : 1e-12;
  for (const Case& c : {Case{1, 3, 0, false, false, false, 0.5, 1}, Case{1, 3, 0, true, true, true, 0.5, 1},
                        Case{2, 1, 0, false, true, false, 0.3, 1}, Case{33, 5, 0, true, false, false, 0.5, 1},
                        Case{64, 8, 0, true, true, true, 0.2, 2}, Case{65, 7, 64, false, true, true, 0.5, 0.5},
                        Case{129, 6, 0, false, true, false, 0, 1}, Case{130, 6, 64, true, true, true, 1, 1},
                        Case{150, 33, 0, true, true, true, 0.5, 1}, Case{259, 16, 128, true, false, false, 0.5, 1},
                        Case{257, 9, 192, false, true, true, 0.7, 0.3}}) {
    if (!affordable(c.pairs * c.pairs)) continue;
    CAPTURE(c.pairs);
    CAPTURE(c.block);
    const auto spot = normal_matrix<T>(c.pairs, c.width, 1, c.deviation);
    const auto image = normal_matrix<T>(c.pairs, c.width, 2, c.deviation);
    const T log_scale = T(0.6);
    const Lists lists(c.pairs);
    const auto want = on_processor<T>(c, spot, image, log_scale, lists);
    in_every_order([&] {
      CudaContext gpu;
      const auto got = on_gpu<T>(gpu, c, spot, image, log_scale, lists);
      CHECK(got.loss == doctest::Approx(want.loss).epsilon(tolerance));
      // One pair: the result is what rounding leaves of zero.
      if (c.pairs == 1) return;
      CHECK(relative_difference(got.d_spot, want.d_spot) < tolerance);
      CHECK(relative_difference(got.d_image, want.d_image) < tolerance);
      if (c.learned)
        CHECK(std::abs(static_cast<double>(got.d_log_scale - want.d_log_scale)) <
              tolerance * (1 + std::abs(static_cast<double>(want.d_log_scale))));
    });
  }
}

TEST_CASE("info_nce on the device: large logits, the same bits every time, single gradients") {
  // Logits of some hundreds: exponentials exist only relative to the largest of their line.
  const Case c{70, 12, 0, false, true, false, 0.5, 8};
  const auto spot = normal_matrix<float>(c.pairs, c.width, 1, c.deviation);
  const auto image = normal_matrix<float>(c.pairs, c.width, 2, c.deviation);
  const Lists lists(c.pairs);
  const auto want = on_processor<float>(c, spot, image, 0.2F, lists);
  CudaContext gpu;
  const auto first = on_gpu<float>(gpu, c, spot, image, 0.2F, lists);
  CHECK(want.loss > 50);
  CHECK(first.loss == doctest::Approx(want.loss).epsilon(1e-5));
  CHECK(relative_difference(first.d_spot, want.d_spot) < 1e-3);
  in_every_order([&] {
    const auto again = on_gpu<float>(gpu, c, spot, image, 0.2F, lists);
    CHECK(again.loss == first.loss);
    CHECK(same_bits(again.d_spot, first.d_spot));
    CHECK(same_bits(again.d_image, first.d_image));
    CHECK(again.d_log_scale == first.d_log_scale);
  });
  const auto spot_d = on_device(gpu, spot.view()), image_d = on_device(gpu, image.view());
  Matrix<float, Device> d_image(c.pairs, c.width);
  Vector<double, Device> loss(1);
  const float log_scale = 0.2F;
  const auto scale = on_device(gpu, VectorView<const float>(&log_scale, 1));
  losses::info_nce<float>(gpu, spot_d.view(), image_d.view(), {}, MatrixView<float, Device>{}, d_image.view(),
                          loss.view(), scale.view());
  CHECK(same_bits(on_host(gpu, d_image.view()), first.d_image));
}

TEST_CASE("info_nce_logits on the device") {
  const auto spot = normal_matrix<double>(35, 4, 1), image = normal_matrix<double>(35, 4, 2);
  CpuContext cpu({.threads = 1});
  Matrix<double> want(35, 35);
  losses::info_nce_logits<double>(cpu, spot, image, {.temperature = 0.1, .normalize = true}, want.view());
  CudaContext gpu;
  Matrix<double, Device> logits(35, 35);
  losses::info_nce_logits<double>(gpu, on_device(gpu, spot.view()).view(), on_device(gpu, image.view()).view(),
                                  {.temperature = 0.1, .normalize = true}, logits.view());
  CHECK(relative_difference(on_host(gpu, logits.view()), want) < 1e-13);
}

TEST_CASE("info_nce on the device: what has no pairs, no columns, no length; what is wrong") {
  CudaContext gpu;
  Matrix<float, Device> none(0, 4), x(3, 4), y(4, 4), narrow(3, 0), d(3, 4), few(2, 4);
  Vector<float, Device> scale(1), d_scale(1), two(2);
  Vector<double, Device> loss(1), losses_of_two(2);
  const MatrixView<float, Device> no_gradient;
  losses::info_nce<float>(gpu, none.view(), none.view(), {}, none.view(), none.view(), loss.view(), scale.view(),
                          d_scale.view());
  CHECK(on_host(gpu, loss.view())[0] == 0);
  losses::info_nce<float>(gpu, narrow.view(), narrow.view(), {}, loss.view());
  CHECK(on_host(gpu, loss.view())[0] == doctest::Approx(std::log(3.0)));
  // Rows of zeros have no direction.
  losses::info_nce<float>(gpu, x.view(), x.view(), {.normalize = true}, d.view(), no_gradient, loss.view());
  CHECK(on_host(gpu, loss.view())[0] == doctest::Approx(std::log(3.0)));
  CHECK(on_host(gpu, d.view())(2, 3) == 0);
  // NaN is not lost on the way.
  Matrix<float> broken(3, 4);
  broken(1, 2) = std::numeric_limits<float>::quiet_NaN();
  for (const bool normalize : {false, true}) {
    losses::info_nce<float>(gpu, on_device(gpu, broken.view()).view(), x.view(), {.normalize = normalize}, loss.view());
    CHECK(std::isnan(on_host(gpu, loss.view())[0]));
  }

  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), y.view(), {}, loss.view()), ShapeError);
  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), x.view(), {}, losses_of_two.view()), ShapeError);
  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), x.view(), {}, few.view(), no_gradient, loss.view()),
                  ShapeError);
  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), x.view(), {}, loss.view(), two.view()), ShapeError);
  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), x.view(), {.temperature = 0}, loss.view()), ValueError);
  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), x.view(), {.image_weight = 2}, loss.view()), ValueError);
  CHECK_THROWS_AS(
      losses::info_nce<float>(gpu, x.view(), x.view(), {}, d.view(), no_gradient, loss.view(), {}, d_scale.view()),
      ValueError);
  Vector<Index, Device> offsets(3);
  losses::DeviceInfoNceOptions options;
  options.positives.row_offsets = offsets.view();
  CHECK_THROWS_AS(losses::info_nce<float>(gpu, x.view(), x.view(), options, loss.view()), ShapeError);
}
