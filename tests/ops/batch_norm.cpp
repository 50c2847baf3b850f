#include <eosin/ops/batch_norm.hpp>

#include "support/arrays.hpp"

#include <doctest/doctest.h>

using namespace eosin;

TEST_CASE_TEMPLATE("ops::BlockMoments: mean and variance far from zero, tails, strided rows, empty blocks", T, float,
                   double) {
  for (const Index channels : {Index{1}, Index{5}, Index{16}, Index{35}}) {
    const Index rows = 700;
    const auto x = testing::normal_matrix<T>(rows, channels + 4, 1, 1, 100);
    const auto view = x.view().middle_cols(3, channels);
    CpuContext context({.threads = 2});
    const auto mark = context.workspace().mark();
    const ops::BlockMoments<T> moments(context.workspace(), 4, channels);  // the last block gets nothing
    for (Index b = 0; b < 3; ++b) moments.add(b, view.middle_rows(b * 250, std::min<Index>(250, rows - b * 250)));
    Vector<T> mean(channels), variance(channels);
    moments.finish(mean.view(), variance.view());
    const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-13;
    for (Index c = 0; c < channels; ++c) {
      double m = 0, v = 0;
      for (Index r = 0; r < rows; ++r) m += static_cast<double>(view(r, c)) / static_cast<double>(rows);
      for (Index r = 0; r < rows; ++r)
        v += std::pow(static_cast<double>(view(r, c)) - m, 2) / static_cast<double>(rows);
      CHECK(static_cast<double>(mean[c]) == doctest::Approx(m).epsilon(tolerance));
      CHECK(static_cast<double>(variance[c]) == doctest::Approx(v).epsilon(10 * tolerance));
    }
  }
}
